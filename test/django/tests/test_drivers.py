"""What drivers send for a user id; pgbouncer; async.  The other tests run with each driver as well."""
import asyncio
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from uuid import UUID

import psycopg2
from asgiref.sync import sync_to_async
from django.db import OperationalError, ProgrammingError, connection, connections
from django.test import AsyncRequestFactory, RequestFactory, TransactionTestCase, tag

from flags.actor import Middleware as ActorMiddleware
from shop import async_views
from shop.flags import FflagProvider

from .common import FeatureFlag, User, ask, evaluate, make_flag, package

DRIVER = os.environ.get("FFLAG_DRIVER", "psycopg")
try:
    import psycopg

    import psycopg_only
except ImportError:
    psycopg = None

UUIDS = UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), UUID(int=0)
IDS = [1, 255, 32767, 32768, 2147483647, 2147483648, 2**63 - 1, -7, 0]


def conninfo():
    return f"dbname={connection.settings_dict['NAME']}"


class Parameters(TransactionTestCase):
    def test_driver(self):
        """the driver is the one that was asked for"""
        self.assertEqual(connection.Database.__name__, "psycopg2" if DRIVER == "psycopg2" else "psycopg")
        binding = connection.settings_dict["OPTIONS"].get("server_side_binding", False)
        self.assertIs(binding, DRIVER == "server_side_binding")

    def test_integers(self):
        """integers of any size are the user of that number, also as text and as an untyped literal"""
        for user_id in IDS:
            with self.subTest(user_id=user_id):
                expected = ask(f"SELECT fflag_bucket('f', '{user_id}'::bigint)")
                self.assertEqual(ask("SELECT fflag_bucket(%s, %s)", "f", user_id), expected)
                self.assertEqual(ask("SELECT fflag_bucket(%s, %s)", "f", str(user_id)), expected)
                self.assertEqual(ask(f"SELECT fflag_bucket('f', '{user_id}')"), expected)

    def test_uuids(self):
        """a UUID, and its text"""
        for user_id in UUIDS:
            expected = ask("SELECT fflag_bucket('f', %s::uuid)", str(user_id))
            self.assertEqual(ask("SELECT fflag_bucket(%s, %s)", "f", user_id), expected)
            self.assertEqual(ask("SELECT fflag_bucket(%s, %s)", "f", str(user_id)), expected)

    def test_parameters_enabled(self):
        """fflag_enabled and fflag_flags with each of these"""
        make_flag(rollout_percentage=50)
        for user_id in [*IDS, *UUIDS, "alice@example.com", "", None]:
            with self.subTest(user_id=user_id):
                text = None if user_id is None else str(user_id)
                expected = ask("SELECT fflag_enabled('f', %s::text)", text)
                self.assertIs(ask("SELECT fflag_enabled(%s, %s)", "f", user_id), expected)
                self.assertIs(ask("SELECT fflag_enabled(%s, %s, %s)", "f", user_id, True), expected)
                self.assertIs(ask("SELECT fflag_enabled(%s, %s, %s, %s)", "f", user_id, False, True), expected)
                self.assertIs(ask("SELECT enabled FROM fflag_flags(%s, %s)", user_id, False), expected)

    def test_many(self):
        """a list of users in one call"""
        make_flag(rollout_percentage=50)
        answers = ask("SELECT fflag_enabled(%s, %s::bigint[])", "f", list(range(100)))
        self.assertEqual(answers, [ask("SELECT fflag_enabled(%s, %s)", "f", i) for i in range(100)])
        self.assertEqual({*answers}, {True, False})

    def test_lists(self):
        """a list of users is many users if it is cast; untyped, it is one user or an error"""
        user = User.objects.create(username="a")
        make_flag().users.add(user)
        users = [str(user.pk), "alice"]
        self.assertEqual(ask("SELECT fflag_enabled(%s, %s::text[])", "f", users), [True, False])
        self.assertEqual(ask("SELECT fflag_enabled(%s, %s::text[])", "f", []), [])
        self.assertEqual(ask("SELECT fflag_enabled(%s, %s)", "f", [user.pk]), [True])
        untyped = ask("SELECT fflag_enabled(%s, %s)", "f", users)
        self.assertEqual(untyped, [True, False] if DRIVER == "psycopg2" else False)
        self.assertIs(ask("SELECT fflag_enabled(%s, %s)", "f", []), False)
        with self.assertRaisesMessage(ProgrammingError, "is not unique"):
            ask("SELECT fflag_select(%s, %s)", "f", [])

    @tag("psycopg3")
    def test_psycopg(self):
        """psycopg 3 by itself: parameters typed as it types them, prepared, binary"""
        make_flag(rollout_percentage=50)
        with psycopg.connect(conninfo()) as other:
            for user_id in [*IDS, *UUIDS, "alice", None]:
                expected = evaluate_text(user_id)
                for binary in (False, True):
                    for prepare in (False, True):
                        cursor = other.cursor(binary=binary)
                        query = "SELECT fflag_enabled(%b, %b, %b)" if binary else "SELECT fflag_enabled(%s, %s, %s)"
                        cursor.execute(query, ["f", user_id, False], prepare=prepare)
                        self.assertIs(cursor.fetchone()[0], expected, (user_id, binary, prepare))

    def test_psycopg2(self):
        """psycopg 2 by itself"""
        make_flag(rollout_percentage=50)
        other = psycopg2.connect(conninfo())
        self.addCleanup(other.close)
        cursor = other.cursor()
        for user_id in [*IDS, "alice", None]:
            cursor.execute("SELECT fflag_enabled(%s, %s, %s)", ["f", user_id, False])
            self.assertIs(cursor.fetchone()[0], evaluate_text(user_id))

    @tag("psycopg3")
    def test_prepared_untyped(self):
        """three untyped parameters take the text overload, for every kind of id"""
        make_flag(rollout_percentage=50)
        with psycopg.connect(conninfo()) as other:
            other.execute("PREPARE q AS SELECT fflag_enabled($1, $2, $3)")
            types = other.execute("SELECT parameter_types::text FROM pg_prepared_statements WHERE name = 'q'")
            self.assertEqual(types.fetchone()[0], "{text,text,boolean}")
            for user_id in [*IDS, *UUIDS]:
                answer = other.execute(f"EXECUTE q ('f', '{user_id}', false)").fetchone()[0]
                self.assertIs(answer, evaluate_text(user_id))


def evaluate_text(user_id):
    return ask("SELECT fflag_enabled('f', %s::text)", None if user_id is None else str(user_id))


class Async(TransactionTestCase):
    def setUp(self):
        self.users = [User.objects.create(username=f"u{i}") for i in range(20)]
        self.flag = make_flag("new_checkout", rollout_percentage=50)

    async def test_view(self):
        """an asynchronous view"""
        for user in self.users[:5]:
            request = AsyncRequestFactory().get("/")
            request.user = user
            response = await async_views.checkout(request)
            expected = await sync_to_async(package)("new_checkout", user)
            count = await sync_to_async(lambda: sum(evaluate("new_checkout", user) for user in self.users))()
            self.assertJSONEqual(response.content, {"new": expected, "users": count})

    async def test_orm(self):
        """a change by the asynchronous ORM is seen by what comes next"""
        flag = await FeatureFlag.objects.aget(name="new_checkout")
        for percentage in (0, 100):
            await FeatureFlag.objects.filter(pk=flag.pk).aupdate(rollout_percentage=percentage)
            enabled = await sync_to_async(FflagProvider().is_enabled)("new_checkout", user=self.users[0])
            self.assertIs(enabled, percentage == 100)

    @tag("psycopg3")
    async def test_psycopg(self):
        """psycopg.AsyncConnection, several at once"""
        answers = await asyncio.gather(
            *(psycopg_only.enabled(conninfo(), "new_checkout", user.pk) for user in self.users)
        )
        expected = await sync_to_async(lambda: [package("new_checkout", user) for user in self.users])()
        self.assertEqual(answers, expected)


PGBOUNCER = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


@unittest.skipUnless(PGBOUNCER, "pgbouncer is not installed")
class Pool(TransactionTestCase):
    """Django behind pgbouncer in transaction mode: statements of a client go to any of three server sessions."""

    def setUp(self):
        folder = Path(tempfile.mkdtemp(prefix="pool", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder)
        owner = os.environ.get("FFLAG_USER", "postgres")
        parameters = ask("SELECT json_build_object('user', current_user, 'port', current_setting('port'))")
        host = os.environ["PGHOST"]
        (folder / "users.txt").write_text(f'"{parameters["user"]}" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"""[databases]
* = host={host} port={parameters["port"]} user={parameters["user"]} pool_size=3
[pgbouncer]
listen_addr =
listen_port = {parameters["port"]}
unix_socket_dir = {folder}
auth_type = any
auth_file = {folder}/users.txt
pool_mode = transaction
server_round_robin = 1
{"user = " + owner if os.geteuid() == 0 else ""}
"""
        )
        if os.geteuid() == 0:
            shutil.chown(folder, owner)
        log = open(folder / "log", "w")
        self.addCleanup(log.close)
        pool = subprocess.Popen([PGBOUNCER, folder / "pgbouncer.ini"], stdout=log, stderr=log)
        self.addCleanup(pool.wait)
        self.addCleanup(pool.terminate)
        self.clients = []
        for number in range(6):
            client = connection.copy(f"client {number}")
            client.settings_dict["HOST"] = str(folder)
            client.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
            self.addCleanup(client.close)
            self.clients.append(client)
        self.wait_for_pool(folder)
        for client in self.clients[:3]:  # three at a time open three sessions
            client.set_autocommit(False)
            ask("SELECT 1", using=client)
        for client in self.clients[:3]:
            client.commit()
            client.set_autocommit(True)

    def wait_for_pool(self, folder):
        for attempt in range(100):
            try:
                self.clients[0].ensure_connection()
                break
            except OperationalError:
                time.sleep(0.05)
        else:
            self.fail((folder / "log").read_text())

    def test_pool(self):
        """100 changes, each seen at once through pgbouncer by six clients on three sessions"""
        user = User.objects.create(username="a")
        flag = make_flag(rollout_percentage=0)
        sessions = set()
        for number in range(100):
            enabled = number % 2 == 0
            if number % 4 < 2:
                flag.users.set([user] if enabled else [])
            else:
                with self.clients[number % 6].cursor() as cursor:
                    cursor.execute(f"UPDATE {flag._meta.db_table} SET rollout_percentage = %s", [100 if enabled else 0])
            for client in self.clients:
                self.assertIs(evaluate("f", user, using=client), enabled)
                sessions.add(ask("SELECT pg_backend_pid()", using=client))
        self.assertEqual(len(sessions), 3)

    def test_actor(self):
        """requests of six users in turn, over three sessions, are recorded under their own names"""
        users = [User(username=f"u{i}") for i in range(6)]
        flag = make_flag()
        ask("SELECT fflag_prune_history('infinity')")
        self.addCleanup(connections.__setitem__, "default", connections["default"])
        sessions, expected = set(), []
        for number in range(60):
            request = RequestFactory().get("/")
            request.user = users[number % 5]
            connections["default"] = self.clients[number % 6]

            def toggle(request):
                FeatureFlag.objects.filter(pk=flag.pk).update(enabled=number % 2)

            if number % 4 == 3:  # without a request
                toggle(None)
                expected.append(None)
            else:
                ActorMiddleware(toggle)(request)
                expected.append(request.user.username)
            for client in self.clients:
                self.assertIn(ask("SELECT current_setting('fflag.actor', true)", using=client), (None, ""))
                sessions.add(ask("SELECT pg_backend_pid()", using=client))
        self.assertEqual(len(sessions), 3)
        query = "SELECT array_agg(actor) FROM (SELECT actor FROM fflag_history('f') ORDER BY at) AS h"
        self.assertEqual(ask(query), expected)
