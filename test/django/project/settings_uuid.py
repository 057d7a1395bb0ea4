"""The same shop, whose users have UUIDs."""
from project.settings import *  # noqa: F403

AUTH_USER_MODEL = "accounts.User"
INSTALLED_APPS = ["accounts", *INSTALLED_APPS]  # noqa: F405
# feature-flag-infra 0.2.0 names auth.User in its model, but not in its migration;
# accounts.FeatureFlag has its table too
SILENCED_SYSTEM_CHECKS = ["admin.E039", "fields.E301", "fields.E340"]
