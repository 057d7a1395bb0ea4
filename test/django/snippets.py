"""Puts the code of docs/django.md, docs/django-package.md and docs/clients.md where a project can import it.

A code block that begins with a comment that names a file is that file.
"""
import re
from pathlib import Path

here = Path(__file__).resolve().parent
docs = here.parents[1] / "docs"
PAGES = ["django.md", "django-package.md", "clients.md"]


def text(page):
    return (docs / page).read_text()


def blocks(page, language):
    """The code blocks of a page in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.M | re.S)


def files(page):
    """The files of a page: {name: content}."""
    named = [
        (re.match(r"(?:# |{# )(\S+\.(?:py|html))(?: #})?\n", block), block)
        for language in ("python", "html")
        for block in blocks(page, language)
    ]
    return {name[1]: block for name, block in named if name}


def write(pages=PAGES, folder=here):
    for page in pages:
        for name, content in files(page).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists() or file.read_text() != content:
                file.write_text(content)
