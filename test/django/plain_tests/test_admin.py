"""A project without the package: the models and the admin of docs/django.md over the extension's own tables."""
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test import RequestFactory, TestCase

from flags.models import Flag
from shop.actor import Middleware


def ask(query, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


class Admin(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.admin = User.objects.create_superuser("admin")

    def setUp(self):
        self.client.force_login(self.admin)

    def post(self, url, **fields):
        response = self.client.post(url, fields)
        self.assertEqual(response.status_code, 302, getattr(response, "context_data", {}).get("errors"))

    def enabled(self, user_id):
        return ask("SELECT fflag_enabled('new_checkout', %s)", user_id)

    def test_admin(self):
        """added, edited, listed, searched, filtered and deleted in the admin"""
        add = "/admin/flags/flag/add/"
        self.post(add, name="new_checkout", enabled="on", rollout_percentage="0", description="")
        self.assertIs(self.enabled(42), False)
        flag = Flag.objects.get()
        change = f"/admin/flags/flag/{flag.pk}/change/"
        page = {"name": "new_checkout", "enabled": "on", "rollout_percentage": "12.5", "description": "x"}
        self.post(change, **page, allowlist="42\r\nalice@example.com\r\nBob Smith\r\n")
        self.assertEqual(flag.allowlist, ["42", "Bob Smith", "alice@example.com"])
        for user_id in (42, "alice@example.com", "Bob Smith"):
            self.assertIs(self.enabled(user_id), True)
        self.assertEqual(ask("SELECT rollout_percentage FROM feature_flag"), Decimal("12.5"))
        self.assertContains(self.client.get(change), "42\r\nBob Smith\r\nalice@example.com")

        # who changed what, with the middleware's actor
        for line in ("<td>user listed</td><td>3 users</td>", "<td>flag updated</td><td>description:  → x, rollout_percentage: 0 → 12.5</td>"):
            self.assertContains(self.client.get(change), f"<td>admin</td><td>{ask('SELECT session_user')}</td>{line}")

        # who saves without touching the list leaves what others have added meanwhile
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO feature_flag_user (flag_id, user_id) VALUES (%s, '43')", [flag.pk])
        self.post(change, **page, allowlist="42\r\n43\r\nBob Smith\r\nalice@example.com")
        self.assertEqual(len(flag.allowlist), 4)
        self.post(change, **page, allowlist="43")
        self.assertIs(self.enabled(43), True)
        self.assertEqual(flag.allowlist, ["43"])

        Flag.objects.create(name="dark_mode")
        for query, names in (
            ("", {"new_checkout", "dark_mode"}),
            ("?q=dark", {"dark_mode"}),
            ("?enabled__exact=1", {"new_checkout"}),
        ):
            response = self.client.get(f"/admin/flags/flag/{query}")
            self.assertEqual({flag.name for flag in response.context["cl"].queryset}, names)

        response = self.client.post(change, {**page, "rollout_percentage": "101"})
        self.assertContains(response, "less than or equal to 100")
        self.post(f"/admin/flags/flag/{flag.pk}/delete/", post="yes")
        self.assertIs(self.enabled(43), False)
        self.assertEqual(ask("SELECT count(*) FROM feature_flag_user"), 0)

    def test_schedule(self):
        """a schedule and a ramp, and what is no such thing: an error in the form"""
        flag = Flag.objects.create(name="new_checkout", enabled=True)
        change = f"/admin/flags/flag/{flag.pk}/change/"

        def page(**moments):
            fields = {"name": "new_checkout", "enabled": "on", "rollout_percentage": "0"}
            for name, moment in moments.items():
                fields[f"{name}_0"], fields[f"{name}_1"] = moment.split(" ")
            return fields

        self.post(change, **page(ends_at="2001-01-01 00:00"))
        self.assertEqual(ask("SELECT rule FROM fflag_explain('new_checkout', 42)"), "ended")
        self.post(change, **page(starts_at="2999-01-01 00:00"))
        self.assertEqual(ask("SELECT rule FROM fflag_explain('new_checkout', 42)"), "not_started")
        ramp = page(ramp_starts_at="2001-01-01 00:00", ramp_ends_at="2001-01-02 00:00")
        self.post(change, **ramp, ramp_to="100")
        self.assertIs(self.enabled(42), True)
        for fields, error in (
            (page(starts_at="2001-01-02 00:00", ends_at="2001-01-02 00:00"), "would end before it starts"),
            (ramp, "needs a percentage, a start and an end"),
            (page() | {"ramp_to": "50"}, "needs a percentage, a start and an end"),
            (page(ramp_starts_at="2001-01-02 00:00", ramp_ends_at="2001-01-01 00:00") | {"ramp_to": "0"},
             "The ramp would end before it starts"),
            (ramp | {"ramp_to": "101"}, "less than or equal to 100"),
        ):
            with self.subTest(error=error):
                self.assertContains(self.client.post(change, fields), error)
        with connection.cursor() as cursor:
            cursor.execute("SELECT fflag_rollout('new_checkout', 0), fflag_schedule('new_checkout', NULL, NULL)")
        flag.refresh_from_db()
        self.assertEqual({flag.starts_at, flag.ends_at, flag.ramp_to, flag.ramp_starts_at, flag.ramp_ends_at}, {None})

    def test_functions(self):
        """fflag's functions, with the middleware's actor"""
        request = RequestFactory().get("/")
        request.user = self.admin
        Middleware(lambda request: ask("SELECT fflag_register('f')"))(request)
        self.assertEqual(ask("SELECT array_agg(actor) FROM fflag_history('f')"), ["admin"])

    def test_models(self):
        """the database has the last word: percentages, names, updated_at"""
        flag = Flag.objects.create(name="f", rollout_percentage=Decimal("0.125"))
        flag.refresh_from_db()
        self.assertEqual(flag.rollout_percentage, Decimal("0.125"))
        for columns in ({"rollout_percentage": 101}, {"rollout_percentage": -1}, {"name": ""}):
            with self.assertRaises(DatabaseError), transaction.atomic():
                Flag.objects.filter(pk=flag.pk).update(**columns)
        flag.allowlist = ["1", "2"]
        self.assertEqual(flag.allowlist, ["1", "2"])
        flag.allowlist = []
        self.assertEqual(flag.allowlist, [])
        Flag.objects.create(name="g", enabled=True, rollout_percentage=100)
        self.assertIs(ask("SELECT fflag_enabled('g')"), True)
