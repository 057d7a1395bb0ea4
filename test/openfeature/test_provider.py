"""Users, names, batches, transactions, threads, tasks and processes; what the application does to psycopg."""
import asyncio
import contextvars
import decimal
import json
import multiprocessing
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ProviderFatalError
from openfeature.provider import ProviderStatus
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool

from openfeature.contrib.provider.fflag import FflagProvider, Subject, _batch

from common import CONNINFO, PGBOUNCER, Case, locked, pgbouncer, sql, wait_for

NAMES = [f"page {number}" for number in range(30)]


def user(key=None, **attributes):
    return EvaluationContext(key, attributes)


class PageCase(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        sql("SELECT fflag_register(name, true, 50) FROM unnest(%s::text[]) AS name", NAMES)

    def setUp(self):
        # what others have changed
        sql("UPDATE feature_flag SET enabled = true, rollout_percentage = 50 WHERE name LIKE 'page %%'")

    def expected(self, key, names=NAMES):
        return [row[0] for row in sql("SELECT enabled FROM fflag_evaluate(%s::text[], %s::text)", names, key)]

    def expected_of_all(self, count, names=NAMES):
        """By user, of users 0 to count."""
        return dict(sql("""SELECT key::text, array_agg(e.enabled ORDER BY n) FROM generate_series(0, %s - 1) AS key,
            fflag_evaluate(%s::text[], key::text) WITH ORDINALITY AS
            e (name, enabled, variant, payload, variants, rule, reason, bucket, because, n) GROUP BY key""", count, names))

    def page(self, client, key, names=NAMES):
        return [client.get_boolean_value(name, None, user(key)) for name in names]

    async def page_async(self, client, key, names=NAMES):
        return await asyncio.gather(*(client.get_boolean_value_async(name, None, user(key)) for name in names))


class Users(Case):
    def test_function(self):
        """a function of the application's says who the user is, and who is staff"""
        contexts = []

        def subject(context):
            contexts.append(context)
            return Subject(context.attributes["account"], context.attributes["role"] == "support")

        _, client = self.provide(FflagProvider(CONNINFO, subject=subject))
        self.assertIs(client.get_boolean_value("listed", False, user("7", account="42", role="")), True)
        self.assertIs(client.get_boolean_value("listed", False, user("42", account="7", role="")), False)
        self.assertIs(client.get_boolean_value("staff", False, user("7", account="42", role="support")), True)
        self.assertIs(client.get_boolean_value("staff", True, user("7", account="42", role="", is_staff=True)), False)
        self.assertEqual(contexts[0], user("7", account="42", role=""))

    def test_bad_function(self):
        """what such a function must not return"""
        for returned in Subject("\0"), Subject(42), None, "42":
            _, client = self.provide(FflagProvider(CONNINFO, subject=lambda context: returned))
            self.assertEqual(client.get_boolean_details("on", False).error_code, "INVALID_CONTEXT")
        _, client = self.provide(FflagProvider(CONNINFO, subject=lambda context: Subject("42", "yes")))
        self.assertIs(client.get_boolean_value("staff", True), False)

    def test_keys(self):
        """a key that is no text is refused, and no outage"""
        _, client = self.provide()
        for key in 42, UUID(int=1), True, b"42", "4\x002", "\udfff":
            details = client.get_boolean_details("on", False, user(key))
            self.assertEqual((details.error_code, details.value), ("INVALID_CONTEXT", False), ascii(key))
            self.assertIn("targeting key", details.error_message)
        self.assertIs(client.get_boolean_value("on", False, user("42")), True)
        self.assertEvents("READY")

    def test_names(self):
        """a name that no flag can have is that of no flag, and no outage"""
        provider, client = self.provide()
        for name in "", "\0", "o\ud800n", None, 42, "ON", "x" * 100000, "{on}", '"on"':
            details = client.get_boolean_details(name, True, user("42"))
            self.assertEqual((details.error_code, details.value), ("FLAG_NOT_FOUND", True), ascii(name)[:100])
            with provider.batch():
                self.assertEqual(client.get_boolean_details(name, True, user("42")).error_code, "FLAG_NOT_FOUND")
        self.assertEvents("READY")

    def test_any_name(self):
        """a name is any text"""
        names = ['na\u00efve, {"\U0001f994"} \\ NULL', "NULL", "%s", "a'b"]
        sql("SELECT fflag_register(name, true, 100) FROM unnest(%s::text[]) AS name", names)
        provider, client = self.provide()
        for _ in range(2):
            with provider.batch():
                for name in names:
                    self.assertEqual(client.get_boolean_details(name, False).reason, "STATIC", name)


class Numbers(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        payloads = {"exact": str(2**53 + 1), "long": "12345678901234567890.0", "longest": "1" + "0" * 5000}
        for name, payload in payloads.items():
            sql("SELECT fflag_register(%s, true, 100)", name)
            sql("INSERT INTO feature_flag_variant SELECT id, 'v', 1, %s::jsonb FROM feature_flag WHERE name = %s", payload, name)

    def test_numbers(self):
        """numbers are exact, or an error"""
        provider, client = self.provide()
        with provider.batch():
            self.assertEqual(client.get_integer_value("exact", 0), 2**53 + 1)
            self.assertEqual(client.get_integer_details("long", 0).error_code, "TYPE_MISMATCH")
            self.assertEqual(client.get_float_value("long", 0.0), 12345678901234567890.0)
            details = client.get_integer_details("longest", 7)
            self.assertEqual((details.value, details.error_code), (7, "PARSE_ERROR"))
            self.assertIn('variant "v" of flag "longest"', details.error_message)
            self.assertIs(client.get_boolean_value("longest", False), True)
            self.assertEqual(client.get_integer_value("three", 0), 3)


class Psycopg(Case):
    """How the application uses psycopg does not matter."""

    def check(self, **options):
        with ConnectionPool(CONNINFO, open=True, **options) as pool:
            _, client = self.provide(FflagProvider(pool=pool))
            self.assertIs(client.get_boolean_value("on", False, user("42")), True)
            self.assertEqual(client.get_float_value("one_and_a_half", 0.0, user("42")), 1.5)
            self.assertEqual(client.get_object_value("array", [], user("42")), [1, "two", {"three": 3}])
        self.assertEqual(pool.get_stats().get("requests_errors", 0), 0)

    def test_row_factory(self):
        """a row factory"""
        self.check(kwargs={"row_factory": dict_row})

    def test_cursor_factory(self):
        """cursors that bind differently"""
        for factory in psycopg.ClientCursor, psycopg.RawCursor:
            self.check(kwargs={"cursor_factory": factory})

    def test_json(self):
        """a JSON parser of its own"""
        self.check(configure=lambda connection: set_json_loads(
            lambda data: json.loads(data, parse_float=decimal.Decimal), connection))

    def test_null_pool(self):
        """a pool that keeps no connections"""
        with NullConnectionPool(CONNINFO, open=True) as pool:
            _, client = self.provide(FflagProvider(pool=pool))
            self.assertIs(client.get_boolean_value("on", False), True)

    def test_encoding(self):
        """another client_encoding: an error where it matters, and no outage"""
        with ConnectionPool(CONNINFO + " client_encoding=latin1", open=True) as pool:
            _, client = self.provide(FflagProvider(pool=pool))
            self.assertIs(client.get_boolean_value("listed", False, user("zo\u00eb@example.com")), True)
            details = client.get_boolean_details("on", False, user("\U0001f994"))
            self.assertEqual((details.error_code, details.value), ("GENERAL", False))
            self.assertIn("client_encoding", details.error_message)
            self.assertIs(client.get_boolean_value("on", False), True)
        self.assertEvents("READY")
        _, client = self.provide(FflagProvider(CONNINFO + " client_encoding=latin1 application_name=shop"))
        self.assertIs(client.get_boolean_value("on", False, user("\U0001f994")), True)
        self.assertGreater(sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop'")[0][0], 0)

    def test_pools(self):
        """a pool of the application's stays open, one of the provider's own is closed"""
        with ConnectionPool(CONNINFO, open=True) as pool:
            provider, _ = self.provide(FflagProvider(pool=pool))
            provider.shutdown()
            with pool.connection() as connection:
                self.assertEqual(connection.execute("SELECT 1").fetchone(), (1,))
        provider, client = self.provide()
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'openfeature' AND datname = 'openfeature'"
        self.assertGreater(sql(count)[0][0], 0)
        provider.shutdown()
        self.assertTrue(wait_for(lambda: sql(count)[0][0] == 0))
        details = client.get_boolean_details("on", False)
        self.assertEqual((details.value, details.error_code), (False, "PROVIDER_NOT_READY"))
        provider.initialize(EvaluationContext())
        self.assertIs(client.get_boolean_value("on", False), True)

    def test_closed_pool(self):
        """a pool that is closed, or not open yet, is said to be"""
        with ConnectionPool(CONNINFO, open=True) as pool:
            _, client = self.provide(FflagProvider(pool=pool))
        self.assertIn("already closed", client.get_boolean_details("on", False).error_message)
        self.assertEvents("READY")

    def test_async_pool(self):
        """an asynchronous pool says so to who does not await"""
        async def main():
            async with AsyncConnectionPool(CONNINFO, open=False) as pool:
                _, client = self.provide(FflagProvider(pool=pool))
                details = client.get_boolean_details("on", False)
                self.assertEqual(details.error_code, "GENERAL")
                self.assertIn("_async", details.error_message)
                self.assertIs(await client.get_boolean_value_async("on", False), True)

        asyncio.run(main())


class Mistakes(Case):
    def make_mistake(self, conninfo):
        """The message of set_provider, and of an evaluation."""
        try:
            self.provide(FflagProvider(conninfo))
        except Exception as failure:
            message = str(failure)
        else:
            message = None
        from openfeature import api

        client = api.get_client()
        details = client.get_boolean_details("on", True)
        self.assertIs(details.value, True)
        return message, details, client

    def test_arguments(self):
        """neither a connection string nor a pool, or both, or something else"""
        with ConnectionPool(CONNINFO, open=False) as pool:
            for arguments in {}, {"conninfo": "", "pool": pool}, {"pool": object()}:
                with self.assertRaises(TypeError):
                    FflagProvider(**arguments)

    def test_conninfo(self):
        """a bad connection string is fatal, and shows no password"""
        provider = FflagProvider("postgresql://shop:sec%ret@db/shop")
        with self.assertRaises(ProviderFatalError) as raised:
            provider.initialize(EvaluationContext())
        self.assertNotIn("ret", str(raised.exception.error_message).replace("string", ""))
        self.assertIsNone(raised.exception.__cause__)

    def test_no_extension(self):
        """a database without the extension"""
        message, details, client = self.make_mistake("dbname=template1")
        self.assertIn("CREATE EXTENSION fflag", details.error_message)
        if message is not None:
            self.assertIn("CREATE EXTENSION fflag", message)
        self.assertEqual(client.get_provider_status(), ProviderStatus.ERROR)

    def test_privileges(self):
        """a role without the privilege is told which; once it has it, the provider is ready by itself"""
        sql("DO $$ BEGIN CREATE ROLE regress_fflag_client LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        try:
            _, details, client = self.make_mistake(f"{CONNINFO} user=regress_fflag_client")
            self.assertIn("GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO", details.error_message)
            self.assertEqual(client.get_provider_status(), ProviderStatus.ERROR)
            sql("GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO regress_fflag_client")
            self.assertIs(client.get_boolean_value("on", False), True)
            self.assertEqual(client.get_provider_status(), ProviderStatus.READY)
            sql("REVOKE ALL ON FUNCTION fflag_evaluate(text[], text, boolean) FROM regress_fflag_client")
            self.assertIn("GRANT EXECUTE", client.get_boolean_details("on", True).error_message)
            self.assertEqual(client.get_provider_status(), ProviderStatus.READY)
        finally:
            sql("DROP OWNED BY regress_fflag_client")
            sql("DROP ROLE regress_fflag_client")

    def test_timeout(self):
        """statement_timeout is an error of the evaluation, and no outage"""
        _, client = self.provide(FflagProvider(f"{CONNINFO} options='-c statement_timeout=200'"))
        with locked():
            details = client.get_boolean_details("on", False)
        self.assertEqual((details.error_code, details.value), ("GENERAL", False))
        self.assertIn("statement_timeout", details.error_message)
        self.assertIs(client.get_boolean_value("on", False), True)
        self.assertEvents("READY")

    @unittest.skipUnless(PGBOUNCER, "pgbouncer is not installed")
    def test_prepared(self):
        """a pool of the application's that prepares statements behind pgbouncer is told what to do"""
        with pgbouncer() as conninfo, \
                ConnectionPool(conninfo, min_size=6, open=True, kwargs={"prepare_threshold": 0}) as pool:
            _, client = self.provide(FflagProvider(pool=pool))
            with ThreadPoolExecutor(6) as threads:
                answers = list(threads.map(lambda _: client.get_boolean_details("on", False), range(100)))
        errors = {details.error_message for details in answers if details.error_code}
        self.assertTrue(errors)
        self.assertTrue(all("prepare_threshold=None" in error for error in errors), errors)


class Batches(PageCase):
    def counted(self, **options):
        """A provider whose statements can be counted."""
        pool = ConnectionPool(CONNINFO, min_size=1, open=True, **options)
        self.addCleanup(pool.close)
        provider, client = self.provide(FflagProvider(pool=pool))
        pool.pop_stats()
        return provider, client, lambda: pool.pop_stats().get("requests_num", 0)

    def test_one_statement(self):
        """fetches in one statement what earlier ones asked for; each user apart"""
        provider, client, statements = self.counted()
        with provider.batch():
            self.assertEqual(self.page(client, "1"), self.expected("1"))
        self.assertEqual(statements(), 30)
        for _ in range(2):
            with provider.batch():
                for key in "2", "3", "2", None:
                    self.assertEqual(self.page(client, key), self.expected(key))
            self.assertEqual(statements(), 3)
        with provider.batch():
            self.assertIs(client.get_boolean_value("staff", False, user("2", is_staff=True)), True)
            self.assertIs(client.get_boolean_value("staff", True, user("2")), False)
            self.assertIs(client.get_boolean_value("staff", True, user("2", is_staff=False)), False)
        self.assertEqual(statements(), 2)
        self.assertEqual(self.page(client, "4"), self.expected("4"))
        self.assertEqual(statements(), 30)

    def test_async(self):
        """asynchronous, all at once: one statement, too"""
        async def main():
            async with AsyncConnectionPool(CONNINFO, min_size=1, open=False) as pool:
                provider, client = self.provide(FflagProvider(pool=pool))
                with provider.batch():
                    await self.page_async(client, "1")
                pool.pop_stats()
                with provider.batch():
                    self.assertEqual(await self.page_async(client, "2"), self.expected("2"))
                    self.assertEqual(await self.page_async(client, "2"), self.expected("2"))
                self.assertEqual(pool.pop_stats()["requests_num"], 1)

                # who gives up in the middle does not take the answers from the others
                with provider.batch():
                    with locked():
                        first = asyncio.create_task(client.get_boolean_value_async(NAMES[0], None, user("3")))
                        await asyncio.sleep(0.1)
                        rest = asyncio.create_task(self.page_async(client, "3"))
                        await asyncio.sleep(0.1)
                        first.cancel()
                    await asyncio.gather(first, return_exceptions=True)
                    self.assertEqual(await rest, self.expected("3"))

        asyncio.run(main())

    def test_async_by_threads(self):
        """asynchronous, by a pool that is not: one statement, too"""
        provider, client, statements = self.counted()
        with provider.batch():
            self.page(client, "1")
        statements()

        async def main():
            with provider.batch():
                self.assertEqual(await self.page_async(client, "2"), self.expected("2"))

        asyncio.run(main())
        self.assertEqual(statements(), 1)

    def test_snapshot(self):
        """gives the answers of one moment; the next one gives the next"""
        provider, client, _ = self.counted()
        with provider.batch():
            before = self.page(client, "1")
        with provider.batch():
            client.get_boolean_value(NAMES[0], None, user("1"))
            sql("UPDATE feature_flag SET enabled = false WHERE name LIKE 'page %%'")
            self.assertEqual(self.page(client, "1"), before)
        self.assertIn(True, before)
        with provider.batch():
            self.assertEqual(self.page(client, "1"), [False] * 30)

    def check_afresh(self, evaluate, is_on=True):
        """evaluate() sees a change at once."""
        for enabled in not is_on, is_on:
            sql("UPDATE feature_flag SET rollout_percentage = %s WHERE name = 'page 0'", 100 if enabled else 0)
            self.assertIs(evaluate(), enabled)

    def test_left_behind(self):
        """ends with its block, for threads and generators that go on as well"""
        provider, client, _ = self.counted()

        def evaluate():
            return client.get_boolean_value(NAMES[0], None, user("1"))

        with provider.batch():
            evaluate()
            context = contextvars.copy_context()
        self.check_afresh(lambda: context.run(evaluate))

        def generator():
            with provider.batch():
                yield evaluate()

        started = generator()
        other = contextvars.copy_context()
        other.run(next, started)
        started.close()  # in another context than it began in
        self.check_afresh(lambda: other.run(evaluate))
        with self.assertRaises(ZeroDivisionError):
            with provider.batch():
                evaluate()
                context = contextvars.copy_context()
                1 / 0
        self.check_afresh(lambda: context.run(evaluate))
        self.check_afresh(evaluate)

    def test_tasks_left_behind(self):
        """ends with its block, for tasks that go on as well"""
        async def main():
            async with AsyncConnectionPool(CONNINFO, min_size=1, open=False) as pool:
                provider, client = self.provide(FflagProvider(pool=pool))
                ended = asyncio.Event()

                async def background():
                    await ended.wait()
                    for percentage in 0, 100:
                        sql("UPDATE feature_flag SET rollout_percentage = %s WHERE name = 'page 0'", percentage)
                        value = await client.get_boolean_value_async(NAMES[0], None, user("1"))
                        self.assertIs(value, percentage == 100)

                with provider.batch():
                    await client.get_boolean_value_async(NAMES[0], None, user("1"))
                    task = asyncio.create_task(background())
                ended.set()
                await task

        asyncio.run(main())

    def test_left_open(self):
        """one that is left open asks anew after a while"""
        provider, client, _ = self.counted()
        age, _batch.MAX_AGE = _batch.MAX_AGE, 0.3
        self.addCleanup(setattr, _batch, "MAX_AGE", age)
        sql("UPDATE feature_flag SET rollout_percentage = 100 WHERE name = 'page 0'")
        with provider.batch():
            self.assertIs(client.get_boolean_value(NAMES[0], None, user("1")), True)
            sql("UPDATE feature_flag SET rollout_percentage = 0 WHERE name = 'page 0'")
            self.assertIs(client.get_boolean_value(NAMES[0], None, user("1")), True)
            self.assertTrue(wait_for(lambda: client.get_boolean_value(NAMES[0], None, user("1")) is False, 2))

    def test_nested(self):
        """an inner one has its own moment; one of another provider is another one"""
        provider, client, _ = self.counted()
        other = FflagProvider(CONNINFO)
        other.initialize(EvaluationContext())
        self.addCleanup(other.shutdown)
        sql("UPDATE feature_flag SET rollout_percentage = 100 WHERE name = 'page 0'")

        def evaluate():
            return client.get_boolean_value(NAMES[0], None, user("1"))

        with provider.batch():
            self.assertIs(evaluate(), True)
            sql("UPDATE feature_flag SET rollout_percentage = 0 WHERE name = 'page 0'")
            with other.batch():
                self.assertIs(evaluate(), True)
                self.assertIs(other.resolve_boolean_details(NAMES[0], True, user("1")).value, False)
            with provider.batch():
                self.assertIs(evaluate(), False)
            self.assertIs(evaluate(), True)
        self.assertIs(evaluate(), False)

    def test_usage(self):
        """each flag that it fetches counts once; a name that no batch asks for any more is not fetched"""
        provider, client, _ = self.counted()
        with provider.batch():
            self.page(client, "1", [*NAMES, "typo"])
        sql("SELECT fflag_usage_reset()")
        with provider.batch():
            self.page(client, "2")
        evaluations = "SELECT name, evaluations::int FROM fflag_usage() WHERE evaluations > 0 AND name LIKE ANY ('{page%%,typo,on}')"

        def counts():
            # sessions hand in their counts when a transaction ends
            return dict(sql(evaluations))

        self.assertTrue(wait_for(lambda: counts() == dict.fromkeys(NAMES, 1)), counts())
        for _ in range(100):
            with provider.batch():
                client.get_boolean_value("on", False, user("2"))
        sql("SELECT fflag_usage_reset()")
        with provider.batch():
            client.get_boolean_value("on", False, user("2"))
        self.assertEqual(counts(), {"on": 1})

    def test_bounds(self):
        """remembers a thousand names, no name without a flag, and a thousand users"""
        many = [f"many {number}" for number in range(1100)]
        sql("SELECT fflag_register(name, true, 100) FROM unnest(%s::text[]) AS name", many)
        self.addCleanup(sql, "DELETE FROM feature_flag WHERE name LIKE 'many %%'")
        provider, client, _ = self.counted()
        with provider.batch():
            self.page(client, "1", ["made up", *many, "also made up"])
        sql("SELECT fflag_usage_reset()")
        with provider.batch():
            client.get_boolean_value("on", False, user("1"))
            count = "SELECT count(*) FROM fflag_usage() WHERE evaluations > 0 AND name LIKE '%%ma%%'"
            self.assertEqual(sql(count)[0][0], 1000)
            for number in range(1100):
                provider.resolve_boolean_details("on", False, user(str(number)))
            self.assertEqual(len(_batch.find_scope(provider).batch._users), 1000)

    def test_failure(self):
        """a statement that fails gives defaults, and the next one is asked again"""
        provider, client = self.provide(FflagProvider(f"{CONNINFO} options='-c statement_timeout=200'"))
        with provider.batch():
            with locked():
                self.assertEqual(client.get_boolean_details(NAMES[0], False, user("1")).error_code, "GENERAL")
            self.assertEqual(self.page(client, "1"), self.expected("1"))


class Using(PageCase):
    def test_transaction(self):
        """asks in the application's transaction, on its connection"""
        provider, client = self.provide()
        sql("UPDATE feature_flag SET rollout_percentage = 0 WHERE name = 'page 0'")

        def evaluate():
            return client.get_boolean_value(NAMES[0], None, user("1"))

        with psycopg.connect(CONNINFO, row_factory=dict_row) as connection:
            connection.execute("UPDATE feature_flag SET rollout_percentage = 100 WHERE name = 'page 0'")
            with provider.using(connection):
                self.assertIs(evaluate(), True)
                with provider.batch():
                    self.assertIs(evaluate(), True)
                context = contextvars.copy_context()
                self.assertIs(asyncio.run(client.get_boolean_value_async(NAMES[0], None, user("1"))), True)
            self.assertIs(evaluate(), False)
            self.assertIs(context.run(evaluate), False)
            with provider.batch():
                self.assertIs(evaluate(), False)
                with provider.using(connection):
                    self.assertIs(evaluate(), True)
                self.assertIs(evaluate(), False)
            self.assertEqual(connection.info.transaction_status.name, "INTRANS")
            connection.rollback()
            with provider.using(connection):
                self.assertIs(evaluate(), False)

    def test_async(self):
        """the same with await, whatever the provider's own pool is"""
        async def main(provider):
            provider, client = self.provide(provider)
            async with await psycopg.AsyncConnection.connect(CONNINFO) as connection:
                await connection.execute("UPDATE feature_flag SET enabled = false WHERE name LIKE 'page %%'")
                with provider.using(connection):
                    self.assertEqual(await self.page_async(client, "1"), [False] * 30)
                    with provider.batch():
                        self.assertEqual(await self.page_async(client, "1"), [False] * 30)
                self.assertEqual(await self.page_async(client, "1"), self.expected("1"))
                await connection.rollback()

        asyncio.run(main(FflagProvider(CONNINFO)))

        async def with_pool():
            async with AsyncConnectionPool(CONNINFO, open=False) as pool:
                await main(FflagProvider(pool=pool))

        asyncio.run(with_pool())

    def test_failed(self):
        """an error of that transaction, or of its connection, is not one of the database"""
        provider, client = self.provide()
        with psycopg.connect(CONNINFO, autocommit=True) as connection:
            connection.execute("BEGIN")
            with self.assertRaises(psycopg.errors.DivisionByZero):
                connection.execute("SELECT 1 / 0")
            with provider.using(connection):
                details = client.get_boolean_details("on", False)
                self.assertEqual(details.error_code, "GENERAL")
                self.assertIn("roll that back", details.error_message)
                sql("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
                self.assertEqual(client.get_boolean_details("on", False).error_code, "GENERAL")
            self.assertIs(client.get_boolean_value("on", False), True)
        self.assertEvents("READY")


class Many(PageCase):
    """Threads, tasks and processes."""

    def test_changes(self):
        """the next evaluation sees a change: 300 times"""
        provider, client = self.provide()
        with psycopg.connect(CONNINFO, autocommit=True) as other:
            seen = 0
            for number in range(100):
                enabled = number % 2 == 0
                other.execute("UPDATE feature_flag SET rollout_percentage = %s WHERE name = 'page 0'", [100 if enabled else 0])
                seen += client.get_boolean_value(NAMES[0], None, user("1")) is enabled
                with provider.batch():
                    seen += client.get_boolean_value(NAMES[0], None, user("1")) is enabled
                seen += asyncio.run(client.get_boolean_value_async(NAMES[0], None, user("1"))) is enabled
        self.assertEqual(seen, 300)

    def test_threads(self):
        """200 threads, with batches and without"""
        provider, client = self.provide()
        expected = self.expected_of_all(200)
        wrong = []

        def work(key):
            if self.page(client, key) != expected[key]:
                wrong.append(key)
            with provider.batch():
                if self.page(client, key) != expected[key]:
                    wrong.append(key)

        threads = [threading.Thread(target=work, args=[key]) for key in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEvents("READY")

    def test_tasks(self):
        """200 tasks, with batches and without"""
        expected = self.expected_of_all(200, NAMES[:10])

        async def main():
            async with AsyncConnectionPool(CONNINFO, max_size=10, open=False) as pool:
                provider, client = self.provide(FflagProvider(pool=pool))

                async def work(key):
                    self.assertEqual(await self.page_async(client, key, NAMES[:10]), expected[key])
                    with provider.batch():
                        self.assertEqual(await self.page_async(client, key, NAMES[:10]), expected[key])

                await asyncio.gather(*(work(key) for key in expected))

        asyncio.run(main())
        self.assertEvents("READY")

    @unittest.skipUnless(hasattr(multiprocessing, "get_context") and "fork" in multiprocessing.get_all_start_methods(), "no fork")
    def test_fork(self):
        """processes that are forked while threads evaluate have connections of their own"""
        provider, client = self.provide()
        expected = self.expected_of_all(8)
        fork = multiprocessing.get_context("fork")
        stop = threading.Event()
        wrong = []

        def work():
            while not stop.is_set():
                if self.page(client, "1") != expected["1"]:
                    wrong.append("parent")

        def child(key, results):
            answers = [self.page(client, key) == expected[key] for _ in range(10)]
            with provider.batch():
                answers.append(self.page(client, key) == expected[key])
            results.put((key, all(answers), len(answers)))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        results = fork.SimpleQueue()
        processes = [fork.Process(target=child, args=[key, results]) for key in expected]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual([process.exitcode for process in processes], [0] * 8)
        self.assertEqual(sorted(results.get() for _ in processes), [(key, True, 11) for key in expected])
        self.assertEqual(wrong, [])
        self.assertEqual(self.page(client, "1"), expected["1"])

    @unittest.skipUnless(PGBOUNCER, "pgbouncer is not installed")
    def test_pgbouncer(self):
        """600 evaluations behind pgbouncer in transaction mode, by six threads on three sessions"""
        expected = {key: enabled for key, [enabled] in self.expected_of_all(600, NAMES[:1]).items()}
        with pgbouncer() as conninfo:
            provider, client = self.provide(FflagProvider(conninfo))

            def evaluate(key):
                if int(key) % 2:
                    return client.get_boolean_details(NAMES[0], None, user(key))
                with provider.batch():
                    return client.get_boolean_details(NAMES[0], None, user(key))

            with ThreadPoolExecutor(6) as threads:
                answers = list(threads.map(evaluate, expected))
        self.assertEqual([details.error_message for details in answers if details.error_code], [])
        self.assertEqual([details.value for details in answers], list(expected.values()))
        self.assertEqual({details.value for details in answers}, {True, False})
