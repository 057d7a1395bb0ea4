"""Users of a custom model, whose keys are UUIDs."""
import django
from django.db import ProgrammingError, connection, transaction
from django.test import TestCase

from shop.flags import FflagProvider, RequestProvider
from shop.queries import users_with_new_checkout
from tests.common import LISTS, User, ask, evaluate, make_flag, package
from tests.test_differential import Differential  # noqa: F401


class Lists(TestCase):
    def test_lists(self):
        """the package as it is can't read its own lists; SQL and the providers can"""
        user = User.objects.create(username="a")
        flag = make_flag("new_checkout")
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {LISTS} (featureflag_id, user_id) VALUES (%s, %s)", [flag.pk, user.pk])
        if django.VERSION < (5,):
            with self.assertRaisesMessage(ProgrammingError, "uuid = numeric"), transaction.atomic():
                package("new_checkout", user)
        else:
            self.assertIs(package("new_checkout", user), False)
        self.assertIs(evaluate("new_checkout", user), True)
        self.assertIs(ask("SELECT fflag_enabled(%s, %s)", "new_checkout", str(user.pk)), True)
        for provider in (FflagProvider(), RequestProvider()):
            self.assertIs(provider.is_enabled("new_checkout", user=user), True)
            self.assertIs(provider.is_enabled("new_checkout", user=User()), False)
        self.assertEqual([*users_with_new_checkout()], [user])
