"""Puts the code of docs/django.md where the project can import it.

A code block that begins with a comment that names a file is that file.
"""
import re
from pathlib import Path

here = Path(__file__).resolve().parent
page = here.parents[1] / "docs" / "django.md"


def blocks(language):
    """The code blocks of the page in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S)


def write():
    for block in blocks("python"):
        name = re.match(r"# (\S+\.py)\n", block)
        if name is None:
            continue
        file = here / name[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text() != block:
            file.write_text(block)
