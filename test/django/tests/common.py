from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from feature_flag_infra.django.models import FeatureFlag
from feature_flag_infra.django.providers import DjangoDBFlagProvider

FLAGS = "feature_flag_infra_featureflag"
LISTS = "feature_flag_infra_featureflag_users"
User = get_user_model()
uuid_users = settings.AUTH_USER_MODEL != "auth.User"


def ask(query, *parameters, using=connection):
    """The only value that a query returns."""
    with using.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


def evaluate(flag, user=None, using=connection):
    """What the database says, of a user as it is passed from SQL."""
    return ask("SELECT fflag_enabled(%s, %s, %s)", flag, user and user.pk, bool(user and user.is_staff), using=using)


def package(flag, user=None, default=False):
    """What the package says when its cache is empty."""
    cache.clear()
    return DjangoDBFlagProvider().is_enabled(flag, user=user, default=default)


class OtherSession:
    """Another open connection to the test's database."""

    def __enter__(self):
        self.connection = connection.copy("other")
        self.connection.ensure_connection()
        return self.connection

    def __exit__(self, *_):
        self.connection.close()


def make_flag(name="f", **columns):
    return FeatureFlag.objects.create(name=name, **{"enabled": True, "rollout_percentage": 0, **columns})
