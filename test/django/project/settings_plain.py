"""A project without feature-flag-infra, on the extension's own tables."""
from project.settings import *  # noqa: F403

INSTALLED_APPS = [
    *(app for app in INSTALLED_APPS if app.startswith("django.")),  # noqa: F405
    "flags",
]
MIDDLEWARE[MIDDLEWARE.index("shop.flags.Middleware")] = "flags.ask.Middleware"  # noqa: F405
TEMPLATES[0]["OPTIONS"]["context_processors"].append("flags.ask.context")  # noqa: F405
