"""Restarts, stops, exhausted pools, connections that are lost: when defaults are served, and when not."""
import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import ProviderStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from openfeature.contrib.provider.fflag import FflagProvider

from common import CONNINFO, Case, locked, pg_ctl, sql, wait_for

USER = EvaluationContext("42")


def evaluate(client):
    return client.get_boolean_details("on", False, USER)


def evaluate_by_threads(client, count):
    """The details, how long each took; all at once."""
    start = threading.Barrier(count)

    def work(_):
        start.wait()
        began = time.monotonic()
        return evaluate(client), time.monotonic() - began

    with ThreadPoolExecutor(count) as threads:
        return list(zip(*threads.map(work, range(count))))


def errors(answers):
    return [details.error_message for details in answers if details.error_code or details.value is not True]


@contextmanager
def stopped():
    pg_ctl("stop")
    try:
        yield
    finally:
        pg_ctl("start")


def waiting():
    return [pid for pid, in sql("""SELECT pid FROM pg_stat_activity WHERE query LIKE '%%fflag_evaluate%%'
        AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()""")]


class CountingPool(ConnectionPool):
    """Counts how often it is checked."""

    checks = 0

    def check(self):
        self.checks += 1
        super().check()


class Outages(Case):
    def test_restart(self):
        """after a restart each evaluation has its answer, of ten threads as of one"""
        _, client = self.provide()
        for count in 10, 1, 10:
            self.assertEqual(errors(evaluate_by_threads(client, count)[0]), [])
            pg_ctl("restart")
            self.assertEqual(errors(evaluate_by_threads(client, count)[0]), [])
        self.assertEvents("READY")

    def test_storm(self):
        """200 threads and a pool of lost connections: it is checked once for each of these at most"""
        with CountingPool(CONNINFO, min_size=10, max_size=10, timeout=10, open=True) as pool:
            pool.wait()
            _, client = self.provide(FflagProvider(pool=pool))
            sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            self.assertEqual(errors(evaluate_by_threads(client, 200)[0]), [])
            self.assertGreater(pool.checks, 0)
            self.assertLessEqual(pool.checks, 10)
        self.assertEvents("READY")

    def test_stop(self):
        """while the server is down, defaults at once; one ERROR; one READY when it is back"""
        _, client = self.provide()
        with stopped():
            began = time.monotonic()
            self.assertEqual(len(errors([evaluate(client)])), 1)
            self.assertLess(time.monotonic() - began, 4)
            took = []
            for _ in range(20):
                began = time.monotonic()
                self.assertEqual(len(errors([evaluate(client)])), 1)
                took.append(time.monotonic() - began)
            self.assertLess(sorted(took)[10], 0.05)
            self.assertEvents("READY", "ERROR")
            self.assertEqual(client.get_provider_status(), ProviderStatus.ERROR)
        self.assertTrue(wait_for(lambda: not errors([evaluate(client)]), 5))
        self.assertEvents("READY", "ERROR", "READY")
        self.assertEqual(client.get_provider_status(), ProviderStatus.READY)

    def test_long_stop(self):
        """200 threads are not held up by an outage of some seconds, and it is over soon after its end"""
        _, client = self.provide()
        with stopped():
            evaluate(client)
            until = time.monotonic() + 7  # the pool's second pause would be 2 s, the third 4 s
            held_up = []
            while time.monotonic() < until:
                answers, took = evaluate_by_threads(client, 200)
                self.assertEqual(len(errors(answers)), 200)
                held_up.append(sum(seconds > 1 for seconds in took))
                time.sleep(0.3)
            self.assertLessEqual(max(held_up), 2)  # those that tried
        began = time.monotonic()
        self.assertTrue(wait_for(lambda: not errors([evaluate(client)]), 5))
        self.assertLess(time.monotonic() - began, 3.5)
        answers, _ = evaluate_by_threads(client, 200)
        self.assertEqual(errors(answers), [])
        self.assertEvents("READY", "ERROR", "READY")

    def test_down_at_first(self):
        """a server that is down at first is found later"""
        with stopped():
            try:
                self.provide()
            except Exception as error:
                self.assertIn("onn", str(error))
            client = api.get_client()
            self.assertEqual(client.get_provider_status(), ProviderStatus.ERROR)
            self.assertEqual(len(errors([evaluate(client)])), 1)
        self.assertTrue(wait_for(lambda: not errors([evaluate(client)]), 5))
        self.assertEvents("ERROR", "READY")

    def test_killed(self):
        """a connection that is killed in mid-statement: the statement is run again, once"""
        _, client = self.provide()
        with ThreadPoolExecutor(1) as thread:
            with locked():
                answer = thread.submit(evaluate, client)
                self.assertTrue(wait_for(waiting))
                first = waiting()
                sql("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", first)
                self.assertTrue(wait_for(lambda: waiting() and waiting() != first))
            self.assertEqual(errors([answer.result()]), [])
            self.assertEvents("READY")
            with locked():
                answer = thread.submit(evaluate, client)
                killed = []
                while not answer.done():
                    for pid in waiting():
                        killed.append(pid)
                        sql("SELECT pg_terminate_backend(%s)", pid)
                    time.sleep(0.02)
                self.assertEqual(len(set(killed)), 2)
            self.assertEqual(len(errors([answer.result()])), 1)
        self.assertTrue(wait_for(lambda: not errors([evaluate(client)]), 3))
        self.assertEvents("READY", "ERROR", "READY")

    def test_exhausted(self):
        """an exhausted pool is no outage, and not asked twice"""
        with ConnectionPool(CONNINFO, min_size=1, max_size=2, timeout=0.3, open=True) as pool:
            _, client = self.provide(FflagProvider(pool=pool))
            with pool.connection():
                self.assertEqual(errors([evaluate(client)]), [])
                with pool.connection():
                    for _ in range(2):
                        began = time.monotonic()
                        [message] = errors([evaluate(client)])
                        self.assertIn("no connection was free", message)
                        self.assertLess(abs(time.monotonic() - began - 0.3), 0.2)
                self.assertEqual(errors([evaluate(client)]), [])
        with ConnectionPool(CONNINFO, min_size=1, max_size=1, max_waiting=1, timeout=1, open=True) as pool:
            _, client = self.provide(FflagProvider(pool=pool))
            with pool.connection():
                messages = errors(evaluate_by_threads(client, 3)[0])
            self.assertEqual(len(messages), 3)
            self.assertEqual(errors([evaluate(client)]), [])
        self.assertEvents("READY")


    def test_limit(self):
        """a pool that may have fewer connections than it wants is no outage, as long as there are answers"""
        sql("DO $$ BEGIN CREATE ROLE regress_fflag_limit LOGIN CONNECTION LIMIT 1; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        try:
            sql("GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO regress_fflag_limit")
            with ConnectionPool(f"{CONNINFO} user=regress_fflag_limit", min_size=1, max_size=4, timeout=0.1, open=True) as pool:
                _, client = self.provide(FflagProvider(pool=pool))
                messages = []
                for _ in range(5):
                    messages += errors(evaluate_by_threads(client, 100)[0])
                self.assertGreater(pool.get_stats()["connections_errors"], 0)
                self.assertEqual([message for message in messages if "no connection was free" not in message], [])
            self.assertEvents("READY")
        finally:
            wait_for(lambda: not sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'regress_fflag_limit'"))
            sql("DROP OWNED BY regress_fflag_limit")
            sql("DROP ROLE regress_fflag_limit")


class AsyncOutages(Case):
    def run_with_pool(self, main, **options):
        async def outer():
            async with AsyncConnectionPool(CONNINFO, open=False, **options) as pool:
                _, client = self.provide(FflagProvider(pool=pool))
                await main(client)

        asyncio.run(outer())

    async def many(self, client, count):
        return errors(await asyncio.gather(*(client.get_boolean_details_async("on", False, USER) for _ in range(count))))

    def test_restart(self):
        """asynchronous: after a restart each evaluation has its answer"""
        async def main(client):
            for _ in range(2):
                self.assertEqual(await self.many(client, 200), [])
                pg_ctl("restart")
            self.assertEqual(await self.many(client, 200), [])

        self.run_with_pool(main, min_size=10, timeout=10)
        self.assertEvents("READY")

    def test_stop(self):
        """asynchronous: defaults at once, one ERROR, one READY"""
        async def main(client):
            self.assertEqual(await self.many(client, 1), [])
            with stopped():
                self.assertEqual(len(await self.many(client, 200)), 200)
                began = time.monotonic()
                self.assertEqual(len(await self.many(client, 200)), 200)
                self.assertLess(time.monotonic() - began, 1)
                self.assertEvents("READY", "ERROR")
            deadline = time.monotonic() + 10
            while await self.many(client, 1):
                self.assertLess(time.monotonic(), deadline)
                await asyncio.sleep(0.1)
            self.assertEqual(await self.many(client, 200), [])

        self.run_with_pool(main, timeout=1, reconnect_timeout=2)
        self.assertEvents("READY", "ERROR", "READY")

    def test_killed(self):
        """asynchronous: a connection that is killed in mid-statement"""
        async def main(client):
            self.assertEqual(await self.many(client, 1), [])
            with locked():
                tasks = asyncio.create_task(self.many(client, 4))
                while len(waiting()) < 4:
                    await asyncio.sleep(0.02)
                sql("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", waiting())
                await asyncio.sleep(0.2)
            self.assertEqual(await tasks, [])

        self.run_with_pool(main, timeout=10)
        self.assertEvents("READY")

    def test_exhausted(self):
        """asynchronous: an exhausted pool is no outage"""
        async def outer():
            async with AsyncConnectionPool(CONNINFO, min_size=1, max_size=1, timeout=0.3, open=False) as pool:
                _, client = self.provide(FflagProvider(pool=pool))
                async with pool.connection():
                    [message] = await self.many(client, 1)
                    self.assertIn("no connection was free", message)
                self.assertEqual(await self.many(client, 1), [])

        asyncio.run(outer())
        self.assertEvents("READY")
