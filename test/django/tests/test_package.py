"""What the README of feature-flag-infra 0.2.0 says of its behaviour, asked of the package, of SQL and of FflagProvider."""
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.core.management import call_command
from django.test import TestCase
from feature_flag_infra.django.models import FeatureFlag
from feature_flag_infra.django.providers import DjangoDBFlagProvider
from feature_flag_infra.django.service import get_feature_flags
from feature_flag_infra.service import FeatureFlagService

from shop.flags import FflagProvider, RequestProvider

from .common import User, ask, evaluate, make_flag, package


class Documented(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.users = [User.objects.create(username=f"user {i}") for i in range(20)]
        cls.user, cls.listed, cls.staff, cls.listed_staff = cls.users[:4]
        for user in (cls.staff, cls.listed_staff):
            user.is_staff = True
            user.save()

    def flag(self, **columns):
        flag = make_flag(**columns)
        flag.users.add(self.listed, self.listed_staff)
        return flag

    def check(self, expected, user=None, flag="f", default=False):
        who = user and (user.username or "anonymous")
        self.assertIs(package(flag, user, default), expected, f"package, {who}")
        in_sql = None if user is None else user.pk
        staff = bool(user and user.is_staff)
        self.assertIs(ask("SELECT fflag_enabled(%s, %s, %s, %s)", flag, in_sql, staff, default), expected, f"SQL, {who}")
        for provider in (FflagProvider(), RequestProvider()):
            answer = FeatureFlagService(provider).enabled(flag, user=user, default=default)
            self.assertIs(answer, expected, f"{type(provider).__name__}, {who}")

    def test_staff_only(self):
        """1. staff_only: only staff, whatever the other columns say"""
        for enabled in (True, False):
            for percentage in (0, 50, 100):
                with self.subTest(enabled=enabled, percentage=percentage):
                    flag = self.flag(staff_only=True, enabled=enabled, rollout_percentage=percentage)
                    self.check(True, self.staff)
                    self.check(True, self.listed_staff)
                    self.check(False, self.user)
                    self.check(False, self.listed)
                    self.check(False, AnonymousUser())
                    self.check(False)
                    flag.delete()

    def test_disabled(self):
        """2. enabled=False: off"""
        for percentage in (0, 50, 100):
            with self.subTest(percentage=percentage):
                flag = self.flag(enabled=False, rollout_percentage=percentage)
                for user in (*self.users, AnonymousUser(), None):
                    self.check(False, user)
                flag.delete()

    def test_full(self):
        """3. rollout_percentage >= 100: on, for anonymous users too"""
        for percentage in (100, 150):  # forms take no more than 100, the table does
            flag = self.flag(rollout_percentage=percentage)
            for user in (*self.users, AnonymousUser(), None):
                self.check(True, user)
            flag.delete()

    def test_allowlist(self):
        """4. listed users: on, even at 0%"""
        self.flag(rollout_percentage=0)
        self.check(True, self.listed)
        self.check(True, self.listed_staff)
        self.check(False, self.user)
        self.check(False, self.staff)

    def test_none(self):
        """5. rollout_percentage <= 0: off"""
        make_flag(rollout_percentage=0)
        for user in (*self.users, AnonymousUser(), None):
            self.check(False, user)

    def test_partial(self):
        """6. otherwise by bucket; more users with every percent, none is lost"""
        flag = make_flag()
        before = set()
        for percentage in range(0, 101, 5):
            flag.rollout_percentage = percentage
            flag.save()
            now = {user.username for user in self.users if evaluate("f", user)}
            for user in self.users:
                self.check(user.username in now, user)
            self.assertLessEqual(before, now)
            before = now
        self.assertEqual(len(before), len(self.users))

    def test_anonymous(self):
        """anonymous users are in no partial rollout"""
        make_flag(rollout_percentage=99)
        self.check(False, AnonymousUser())
        self.check(False)

    def test_unknown(self):
        """a flag that is missing gets the default, one that is there does not"""
        for user in (self.user, AnonymousUser(), None):
            self.check(True, user, flag="missing", default=True)
            self.check(False, user, flag="missing")
        make_flag(rollout_percentage=0)
        self.check(False, self.user, default=True)

    def test_register_feature(self):
        """flags of the management command"""
        call_command("register_feature", "a", "b", "--enable", "--rollout", "50", stdout=open("/dev/null", "w"))
        for flag in ("a", "b"):
            for user in self.users:
                self.check(evaluate(flag, user), user, flag=flag)


class Providers(TestCase):
    def test_unsaved(self):
        """users who are not saved yet: staff is staff; nobody is in a list or in a partial rollout"""
        for staff in (True, False):
            user = User(is_staff=staff)
            for columns in (
                {"staff_only": True},
                {"staff_only": True, "enabled": False},
                {"enabled": False},
                {"rollout_percentage": 100},
                {"rollout_percentage": 99},
                {"rollout_percentage": 0},
            ):
                with self.subTest(staff=staff, **columns):
                    flag = make_flag(**columns)
                    flag.users.add(User.objects.get_or_create(username="listed")[0])
                    for provider in (FflagProvider(), RequestProvider()):
                        self.assertIs(provider.is_enabled("f", user=user), package("f", user))
                    flag.delete()

    def test_unsaved_difference(self):
        """users who are not saved yet, and an empty list: the package takes them for listed"""
        make_flag()
        self.assertIs(package("f", User()), True)
        self.assertIs(FflagProvider().is_enabled("f", user=User()), False)

    def test_through_the_service(self):
        """the providers take and return what the package's own does"""
        user = User.objects.create(username="x")
        make_flag(rollout_percentage=100)
        for provider in (DjangoDBFlagProvider(), FflagProvider(), RequestProvider()):
            service = FeatureFlagService(provider)
            self.assertIs(service.enabled("f"), True)
            self.assertIs(service.enabled("f", user=user, default=False), True)
            self.assertIs(service.enabled("missing", user=user, default=True), True)
            self.assertIs(service.enabled("missing", user=user), False)

    def test_queries(self):
        """one query a check, or one for all checks of a request"""
        user = User.objects.create(username="x")
        for i in range(50):
            make_flag(f"f{i}", rollout_percentage=i)
        single, request = FeatureFlagService(FflagProvider()), FeatureFlagService(RequestProvider())
        with self.assertNumQueries(50):
            answers = [single.enabled(f"f{i}", user=user) for i in range(50)]
        with self.assertNumQueries(1):
            self.assertEqual([request.enabled(f"f{i}", user=user) for i in range(50)], answers)
        self.assertEqual([package(f"f{i}", user) for i in range(50)], answers)
        self.assertIn(True, answers)
        self.assertIn(False, answers)


class Late(TestCase):
    def test_thirty_seconds(self):
        """what the package says 30 seconds late, SQL says in the next statement"""
        cache.clear()
        user = User.objects.create(username="x")
        flag = make_flag(rollout_percentage=100)
        service, fresh = get_feature_flags(), FeatureFlagService(FflagProvider())
        self.assertIs(service.enabled("f", user=user), True)
        FeatureFlag.objects.filter(pk=flag.pk).update(enabled=False)
        self.assertIs(fresh.enabled("f", user=user), False)
        self.assertIs(service.enabled("f", user=user), True)  # stale
        cache.clear()
        self.assertIs(service.enabled("f", user=user), False)
