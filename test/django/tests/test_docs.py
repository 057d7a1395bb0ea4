"""The code of docs/django-package.md: files are imported, SQL and shell blocks run in their order."""
import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q
from django.test import RequestFactory, TestCase, TransactionTestCase, tag
from django.utils.functional import SimpleLazyObject
from feature_flag_infra.django.models import FeatureFlag

import snippets
from flags.acting import acting_as
from flags.actor import CHANGES_FLAGS, Middleware as ActorMiddleware, record_as
from flags.functions import FlagEnabled
from flags.overrides import override_flags
from shop import queries, views
from shop.flags import Middleware
from shop.models import Order, Visitor

from .common import FLAGS, OtherSession, User, ask, evaluate, make_flag, package

HERE = Path(__file__).resolve().parents[1]


@tag("once")
class Commands(TransactionTestCase):
    def test_every_block(self):
        """each Python block is a file that some test has imported"""
        names = {*snippets.files("django-package.md"), *snippets.files("clients.md")}
        blocks = snippets.blocks("django-package.md", "python") + snippets.blocks("clients.md", "python")
        self.assertEqual(len(names), len(blocks) - 1)  # one is lines of the settings
        modules = {name.removesuffix(".py").replace("/", ".") for name in names}
        self.assertLessEqual(modules - {"shop.tests", "shop.test_overrides"}, {*sys.modules})  # these run by themselves

    def test_versions(self):
        """the pages name the versions that are tested"""
        for file in HERE.glob("requirements-*.txt"):
            pinned = dict(re.findall(r"^([\w-]+).*==(.*)$", file.read_text(), re.M))
            for page in ("django.md", "clients.md"):
                self.assertIn(f"sycopg {pinned['psycopg']} and psycopg2 {pinned['psycopg2-binary']}", snippets.text(page))
            self.assertRegex(snippets.text("django.md"), rf"Tested with Django [^p]*{re.escape(pinned['Django'])}")
            self.assertIn(f"Tested with feature-flag-infra {pinned['feature-flag-infra']}", snippets.text("django-package.md"))
        pg = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]["pg"]
        self.assertIn(f"`npm install pg`; {pg} is tested", snippets.text("clients.md"))

    def test_shell(self):
        """the shell commands, on a database that has the package and nothing of fflag"""
        name = owner = "regress_fflag_docs"  # no superuser
        environment = {
            **os.environ,
            "PGDATABASE": name,
            "PGUSER": owner,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",  # test/run has installed it
        }

        def run(script):
            return subprocess.run(
                ["sh", "-ec", script], cwd=HERE, env=environment, text=True, check=True, stdout=subprocess.PIPE
            ).stdout

        ask_elsewhere = connection.copy("postgres")
        ask_elsewhere.settings_dict["NAME"] = "postgres"
        self.addCleanup(ask_elsewhere.close)
        with ask_elsewhere.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"DROP ROLE IF EXISTS {owner}")
            cursor.execute(f"CREATE ROLE {owner} LOGIN")
            cursor.execute(f"CREATE DATABASE {name} OWNER {owner}")
        try:
            run("python manage.py migrate -v 0 shop 0001; python manage.py migrate -v 0 feature_flag_infra")
            run("python manage.py register_feature new_checkout --enable")
            output = "".join(map(run, snippets.blocks("django-package.md", "sh")))
            self.assertEqual(re.findall(r"^ ([tf])$", output, re.M), ["t"])
            # the migration where the command has run, undone, and instead of it
            run("python manage.py migrate -v 0 shop")
            self.assertEqual(run("psql -Atc \"SELECT fflag_enabled('new_checkout', 42)\""), "t\n")
            run("python manage.py migrate -v 0 shop 0001")
            run("python manage.py migrate -v 0 shop; python manage.py makemigrations --check --dry-run shop")
            self.assertEqual(run("psql -Atc \"SELECT fflag_enabled('new_checkout', 42)\""), "t\n")
        finally:
            with ask_elsewhere.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
                cursor.execute(f"DROP ROLE {owner}")


class Shop(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.users = User.objects.bulk_create(User(id=i, username=f"u{i}", is_staff=i % 10 == 0) for i in range(1, 101))
        cls.flag = make_flag("new_checkout", rollout_percentage=30)
        cls.flag.users.add(1, 2)
        make_flag("beta_search", rollout_percentage=50)
        make_flag("staff_tools", staff_only=True)
        Order.objects.bulk_create(Order(customer=user, total=user.pk) for user in cls.users)
        cls.inside = {user.pk for user in cls.users if package("new_checkout", user)}

    def ids(self, queryset):
        return {user.pk for user in queryset}

    def test_views(self):
        """views, and the middleware's one query a request"""
        make_flag("dark_mode", rollout_percentage=20)
        factory = RequestFactory()
        for user in self.users[:10]:
            request = factory.get("/")
            request.user = user
            flow = "new" if user.pk in self.inside else "legacy"
            self.assertJSONEqual(views.checkout(request).content, {"flow": flow})
            with self.assertNumQueries(1):
                response = Middleware(views.search)(request)
            expected = {"search": "beta" if package("beta_search", user) else "old", "dark": package("dark_mode", user)}
            self.assertJSONEqual(response.content, expected)

    def test_querysets(self):
        """filter, exclude, annotate with Case and When, aggregate"""
        self.assertTrue(2 < len(self.inside) < 100)
        self.assertEqual(self.ids(queries.users_with_new_checkout()), self.inside)
        self.assertEqual(self.ids(queries.users_without_new_checkout()), {*range(1, 101)} - self.inside)
        for user in queries.flows():
            self.assertEqual(user.flow, "new" if user.pk in self.inside else "legacy")
            self.assertIs(user.beta, package("beta_search", user))
        totals = {row["new"]: row["total"] for row in queries.revenue()}
        self.assertEqual(totals, {True: sum(self.inside), False: 5050 - sum(self.inside)})

    def test_more_querysets(self):
        """with Q, order_by, count, update, a related user, a flag from a column, UUIDs"""
        users = User.objects.filter(Q(queries.new_checkout) & Q(pk__gt=50) | Q(pk=3))
        self.assertEqual(self.ids(users), {pk for pk in self.inside if pk > 50} | {3})
        self.assertEqual(User.objects.filter(~queries.new_checkout).count(), 100 - len(self.inside))
        self.assertEqual(User.objects.order_by(queries.new_checkout.desc(), "pk").first().pk, min(self.inside))
        staff = User.objects.filter(FlagEnabled("staff_tools", F("pk"), F("is_staff")))
        self.assertEqual(self.ids(staff), {*range(10, 101, 10)})
        orders = Order.objects.filter(FlagEnabled("new_checkout", F("customer"), F("customer__is_staff")))
        self.assertEqual({order.customer_id for order in orders}, self.inside)
        self.assertEqual(orders.update(total=0), len(self.inside))
        flags = FeatureFlag.objects.annotate(on=FlagEnabled(F("name"), 7)).order_by("name")
        self.assertEqual([flag.on for flag in flags], [package(flag.name, self.users[6]) for flag in flags])
        visitors = Visitor.objects.bulk_create(Visitor() for _ in range(50))
        found = Visitor.objects.filter(FlagEnabled("beta_search", F("pk"), F("is_staff")))
        self.assertEqual({v.pk for v in found}, {v.pk for v in visitors if package("beta_search", v)})
        self.assertTrue(0 < len(found) < 50)

    def test_sql(self):
        """the SQL blocks, and what they are for"""
        results = []
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # ALTER TABLE minds those that wait
            blocks = snippets.blocks("django-package.md", "sql") + snippets.blocks("clients.md", "sql")[-1:]
            for statements in "\n".join(blocks).split("\n\n"):
                cursor.execute(statements)
                if cursor.description is not None:
                    results.append(cursor.fetchall())
        ids, flows, totals, api = results
        self.assertEqual({pk for (pk,) in ids}, self.inside)
        self.assertEqual({(u.username, u.flow, u.beta) for u in queries.flows()}, {*flows})
        self.assertEqual(dict(totals), {True: sum(self.inside), False: 5050 - sum(self.inside)})
        self.assertEqual(api, [(42 in self.inside,)])

        self.check_view()
        self.check_policy()
        self.check_materialized_view()
        self.check_trigger()
        self.check_rpc()

    def column(self, query):
        with connection.cursor() as cursor:
            cursor.execute(query)
            return {value for (value,) in cursor}

    def check_view(self):
        self.assertEqual(self.column("SELECT id FROM new_checkout_users"), self.inside)
        self.flag.users.add(*self.users)
        self.assertEqual(self.column("SELECT id FROM new_checkout_users"), {*range(1, 101)})

    def check_policy(self):
        make_flag("order_history").users.add(5)
        orders = "SELECT customer_id FROM shop_order"
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE regress_fflag_shop")
            cursor.execute("GRANT SELECT ON shop_order TO regress_fflag_shop")
            cursor.execute("SET LOCAL ROLE regress_fflag_shop")
        self.assertEqual(self.column(orders), set())  # never set
        for user, expected in ((self.users[4], {5}), (self.users[5], set())):
            with acting_as(user):
                self.assertEqual(self.column(orders), expected)
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('shop.user_id', '', true)")
            self.assertEqual(self.column(orders), set())
            cursor.execute("RESET ROLE")

    def check_materialized_view(self):
        beta = FeatureFlag.objects.get(name="beta_search")
        inside = {user.pk for user in self.users if package("beta_search", user)}
        self.assertEqual(self.column("SELECT id FROM beta_users"), inside)
        beta.rollout_percentage = 0
        beta.save()
        self.assertEqual(self.column("SELECT id FROM beta_users"), set())
        beta.users.set([3, 4])
        self.assertEqual(self.column("SELECT id FROM beta_users"), {3, 4})
        FeatureFlag.objects.filter(pk=beta.pk).update(rollout_percentage=100)
        self.assertEqual(len(self.column("SELECT id FROM beta_users")), 100)
        beta.delete()
        self.assertEqual(self.column("SELECT id FROM beta_users"), set())

    def check_trigger(self):
        make_flag("large_orders").users.add(7)
        Order.objects.create(customer_id=7, total=5000)
        with self.assertRaisesMessage(DatabaseError, "not open to user 8 yet"), transaction.atomic():
            Order.objects.create(customer_id=8, total=5000)
        Order.objects.create(customer_id=8, total=1000)

    def check_rpc(self):
        """In the form in which PostgREST writes it, with the JSON as a parameter; and by name alone."""
        query = """
            WITH pgrst_source AS (
              SELECT pgrst_call.pgrst_scalar
              FROM (SELECT %s::json AS json_data) pgrst_payload,
                LATERAL (SELECT "name", "user_id" FROM json_to_record(pgrst_payload.json_data)
                         AS _("name" text, "user_id" bigint) LIMIT 1) pgrst_body,
                LATERAL (SELECT "api"."flag"("name" := pgrst_body."name", "user_id" := pgrst_body."user_id")
                         pgrst_scalar) pgrst_call)
            SELECT coalesce(json_agg(_postgrest_t.pgrst_scalar)->0, 'null')
            FROM (SELECT pgrst_source.* FROM pgrst_source) _postgrest_t"""
        self.assertIs(ask(query, '{"name": "large_orders", "user_id": 7}'), True)
        self.assertIs(ask(query, '{"name": "large_orders", "user_id": 8}'), False)
        self.assertIs(ask(query, '{"name": "large_orders", "user_id": null}'), False)
        named = """SELECT * FROM fflag_enabled(name => %s, user_id => %s)"""
        self.assertIs(ask(named, "large_orders", 7), True)
        self.assertIs(ask(named, "large_orders", "7"), True)


class Override(TransactionTestCase):
    def evaluate(self, *names, using=connection):
        return [ask("SELECT fflag_enabled(%s)", name, using=using) for name in names]

    def test_override(self):
        """nested, after errors, with any name, for this connection only; in and outside a transaction"""
        make_flag("a", rollout_percentage=100)
        odd = 'a "name", with = and \N{SNOWMAN}'
        with OtherSession() as other:
            for outer in (transaction.atomic(), override_flags({})):
                with outer:
                    with override_flags({"a": False, odd: True}):
                        self.assertEqual(self.evaluate("a", "b", odd), [False, False, True])
                        self.assertEqual(self.evaluate("a", "b", odd, using=other), [True, False, False])
                        with override_flags({"a": True, "b": True}):
                            self.assertEqual(self.evaluate("a", "b", odd), [True, True, True])
                        self.assertEqual(self.evaluate("a", "b", odd), [False, False, True])
                        with self.assertRaises(DatabaseError), override_flags({"b": True}):
                            self.assertEqual(self.evaluate("a", "b"), [False, True])
                            ask("SELECT 1 / 0")
                        self.assertEqual(self.evaluate("a", "b", odd), [False, False, True])
                    self.assertEqual(self.evaluate("a", "b", odd), [True, False, False])
            self.assertEqual(self.evaluate("a", "b", odd), [True, False, False])
            self.assertEqual(ask("SHOW fflag.override"), "")


def history(name="f"):
    """The actors and what they have done, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT actor, what FROM fflag_history(%s)", [name])
        return cursor.fetchall()[::-1]


class Actor(TransactionTestCase):
    def request(self, user, view):
        request = RequestFactory().get("/")
        request.user = SimpleLazyObject(user if callable(user) else lambda: User.objects.get(username=user))
        return ActorMiddleware(view)(request)

    def setUp(self):
        for name in ("ada", "bob"):
            User.objects.create_user(name)
        ask("SELECT fflag_prune_history('infinity')")  # Django does not empty the history between tests

    def assert_no_name_left(self):
        self.assertEqual(ask("SELECT coalesce(current_setting('fflag.actor', true), '')"), "")

    def test_ways(self):
        """the user of the request, whichever way the flag is changed; in and outside a transaction"""
        flag = make_flag()

        def raw(request):
            with connection.cursor() as cursor:
                cursor.execute(f"/* */ with x as (SELECT 1)\nupdate {FLAGS} SET staff_only = true WHERE name = %s", ["f"])

        def in_transaction(request):
            with transaction.atomic():
                FeatureFlag.objects.filter(name="f").update(rollout_percentage=5)
                FeatureFlag.objects.filter(name="f").update(rollout_percentage=6)
            self.assert_no_name_left()

        flag.enabled = False
        for user, view in (
            ("ada", lambda request: flag.save()),
            ("bob", lambda request: flag.users.add(request.user)),
            ("ada", in_transaction),
            ("bob", raw),
            ("ada", lambda request: flag.users.clear()),
            ("bob", lambda request: flag.delete()),
        ):
            with self.subTest(user=user):
                before = len(history())
                self.request(user, view)
                changes = history()[before:]
                self.assertTrue(changes)
                self.assertEqual({actor for actor, _ in changes}, {user})
                self.assert_no_name_left()
        self.assertEqual(history()[0], (None, "flag created"))

    def test_nobody(self):
        """no actor for visitors, and for what is changed between requests over the same connection"""
        flag = make_flag()
        toggle = FeatureFlag.objects.filter(name="f").update
        self.request("ada", lambda request: toggle(rollout_percentage=1))
        toggle(rollout_percentage=2)
        request = RequestFactory().get("/")
        request.user = AnonymousUser()
        ActorMiddleware(lambda request: toggle(rollout_percentage=3))(request)
        with transaction.atomic():  # a visitor's change after a user's, in the transaction of a test, say
            self.request("bob", lambda request: toggle(rollout_percentage=4))
        flag.delete()
        self.assertEqual([actor for actor, _ in history()], [None, "ada", None, None, "bob", None])

    def test_failure(self):
        """nothing stays of a request that fails; an error in a savepoint is handled as without the middleware"""
        make_flag()

        def fail(request):
            with transaction.atomic():
                make_flag("g")
                raise KeyError

        def handle(request):
            with transaction.atomic():
                with self.assertRaises(DatabaseError), transaction.atomic():
                    make_flag()
                make_flag("h")

        with self.assertRaises(KeyError):
            self.request("ada", fail)
        self.assert_no_name_left()
        self.assertEqual(connection.execute_wrappers, [])
        self.request("bob", handle)
        self.assertEqual(history("h"), [("bob", "flag created")])
        self.assertEqual(history("g"), [])
        self.assert_no_name_left()

    def test_lazy(self):
        """a request that changes no flag costs no query, and does not ask who the user is"""
        make_flag()

        def read(request):
            FeatureFlag.objects.get(name="f")
            ask("SELECT fflag_enabled('f', 1)")
            User.objects.filter(username="bob").update(first_name="Bob")

        with self.assertNumQueries(3):
            self.request(lambda: self.fail("asked for the user"), read)

    def test_task(self):
        """a block of a task"""
        with record_as(lambda: "nightly import"):
            make_flag()
        self.assertEqual(history(), [("nightly import", "flag created")])

    def test_functions(self):
        """fflag's functions that change flags count as statements that do, those that read do not"""
        names = {name for name, in self.rows("SELECT proname FROM pg_proc WHERE proname ~ '^fflag_' AND prorettype <> 'trigger'::regtype")}
        changing = {name for name in names if CHANGES_FLAGS.search(f"SELECT {name}('f')")}
        self.assertEqual(changing, {
            "fflag_register", "fflag_rename", "fflag_enable", "fflag_disable", "fflag_rollout", "fflag_ramp", "fflag_schedule",
            "fflag_require", "fflag_exclude", "fflag_include", "fflag_unrelate", "fflag_group", "fflag_allow", "fflag_disallow", "fflag_deny", "fflag_undeny", "fflag_variants",
            "fflag_import", "fflag_attach", "fflag_detach"})

    def rows(self, query):
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    async def test_async(self):
        """asynchronous views, ten at once, as Django calls them below a synchronous middleware"""
        flags = [f"f{number}" for number in range(10)]

        def make(request):
            async def view(request):
                await asyncio.sleep(0.01)
                flag = await FeatureFlag.objects.acreate(name=request.path)
                await asyncio.sleep(0.01)
                await FeatureFlag.objects.filter(pk=flag.pk).aupdate(enabled=True)

            try:
                async_to_sync(view)(request)
            finally:
                connection.close()  # of this request's thread

        async def ask_for(name):
            request = RequestFactory().get(name)
            request.user = User(username=f"user of {name}")
            async with ThreadSensitiveContext():
                await sync_to_async(ActorMiddleware(make))(request)

        await asyncio.gather(*map(ask_for, [f"/{name}" for name in flags]))
        for name in flags:
            actor = f"user of /{name}"
            found = await sync_to_async(history)(f"/{name}")
            self.assertEqual(found, [(actor, "flag created"), (actor, "flag updated")])


class HistoryInAdmin(TransactionTestCase):
    def test_history(self):
        """a flag's page shows who changed it, by the admin and by SQL, to a role with the page's privilege"""
        grant = re.search(r"`(GRANT EXECUTE ON FUNCTION fflag_history[^`]*) \.\.\.`", snippets.text("django-package.md"))[1]
        root = User.objects.create_superuser("root")
        self.client.force_login(root)
        flag = make_flag("new_checkout")
        page = f"/admin/feature_flag_infra/featureflag/{flag.pk}/change/"
        fields = {"name": "new_checkout", "enabled": "on", "rollout_percentage": "25", "users": [root.pk]}
        self.assertEqual(self.client.post(page, fields).status_code, 302)
        with connection.cursor() as cursor:
            for command in ("SET fflag.actor = '<b>'", f"UPDATE {FLAGS} SET staff_only = true", "RESET fflag.actor"):
                cursor.execute(command)
            cursor.execute(f"UPDATE {FLAGS} SET description = 'not recorded'")
            cursor.execute("INSERT INTO auth_user SELECT id, '', NULL, false, 'u' || id, '', '', '', false, true, now() FROM generate_series(101, 102) AS id")
            cursor.execute(f"INSERT INTO {FLAGS}_users (featureflag_id, user_id) SELECT {flag.pk}, generate_series(101, 102)")
        role = ask("SELECT session_user")
        time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        lines = [
            ("", "user listed", "2 users"),
            ("&lt;b&gt;", "flag updated", "staff_only: False → True"),
            ("root", "user listed", str(root.pk)),
            ("root", "flag updated", "rollout_percentage: 0 → 25"),
            ("", "flag created", ".*, name: new_checkout, .*"),
        ]
        table = "".join(
            f"<tr><td>{time}</td><td>{actor}</td><td>{role}</td><td>{what}</td><td>{about}</td></tr>"
            for actor, what, about in lines
        )
        self.assertRegex(self.client.get(page).content.decode(), f"{table}</table>")
        self.assertContains(self.client.get("/admin/feature_flag_infra/featureflag/add/"), "</th></tr></table>")

        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("CREATE ROLE regress_fflag_shop")
            cursor.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO regress_fflag_shop")
            cursor.execute("REVOKE ALL ON feature_flag_change, feature_flag_history FROM regress_fflag_shop")
            cursor.execute("SET LOCAL ROLE regress_fflag_shop")
            with self.assertRaisesMessage(DatabaseError, "permission denied for function fflag_history"), transaction.atomic():
                self.client.get(page)
            cursor.execute("RESET ROLE")
            cursor.execute(f"{grant} regress_fflag_shop")
            cursor.execute("SET LOCAL ROLE regress_fflag_shop")
            self.assertContains(self.client.get(page), "rollout_percentage: 0 → 25")
            transaction.set_rollback(True)


class NoLeak(TransactionTestCase):
    def test_nothing_leaks(self):
        """a flag that a TestCase flips is seen by nobody else, and by nobody afterwards"""
        user = User.objects.create(username="a")
        flag = make_flag("new_checkout")
        with OtherSession() as other:
            with transaction.atomic():  # what TestCase does
                flag.enabled, flag.rollout_percentage = True, 100
                flag.save()
                self.assertIs(evaluate("new_checkout", user), True)
                self.assertIs(evaluate("new_checkout", user, using=other), False)
                transaction.set_rollback(True)
            self.assertIs(evaluate("new_checkout", user), False)
            self.assertIs(evaluate("new_checkout", user, using=other), False)
