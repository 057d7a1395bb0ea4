"""A project without feature-flag-infra, on the extension's own tables."""
from project.settings import *  # noqa: F403

INSTALLED_APPS = [
    *(app for app in INSTALLED_APPS if app.startswith("django.")),  # noqa: F405
    "flags",
]
MIDDLEWARE.remove("shop.flags.Middleware")  # noqa: F405
