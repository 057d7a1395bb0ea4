"""Events of changed flags, for who asks for them by poll=..."""
import multiprocessing
import time
import unittest

import psycopg
from openfeature import api
from openfeature.event import ProviderEvent
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from openfeature.contrib.provider.fflag import FflagProvider, _changes

from common import CONNINFO, Case, sql, wait_for
from test_outages import stopped

POLL = 0.02
CHANGE = "UPDATE feature_flag SET description = description || 'x' WHERE name = 'on'"


def polls():
    """Time for some of them."""
    time.sleep(10 * POLL)


class Changes(Case):
    def poll(self, **options):
        provider = FflagProvider(CONNINFO, poll=POLL, **options)
        self.provide(provider)
        self.addCleanup(provider.shutdown)
        wait_for(lambda: self.events)
        self.events.clear()
        return provider

    def assertChanges(self, count):
        polls()
        wait_for(lambda: len(self.events) >= count, 2)
        self.assertEqual([name for name, _ in self.events], ["CONFIGURATION_CHANGED"] * count)
        self.events.clear()

    def session(self):
        connection = psycopg.connect(CONNINFO)
        self.addCleanup(connection.close)
        return connection

    def test_each(self):
        """one for each change, none without, none for what is rolled back"""
        self.poll()
        self.assertChanges(0)
        for _ in range(5):
            sql(CHANGE)
            self.assertChanges(1)
        sql("SELECT fflag_allow('half', '77')")
        self.assertChanges(1)
        other = self.session()
        other.execute(CHANGE)
        self.assertChanges(0)
        other.rollback()
        sql("UPDATE feature_flag SET enabled = true WHERE name = 'typo'")
        sql("CREATE TABLE changes_other ()")
        sql("DROP TABLE changes_other")
        self.assertChanges(0)

    def test_order(self):
        """the order of commits does not matter, nor transactions that have nothing to do with flags"""
        early, late, bystander = self.session(), self.session(), self.session()
        bystander.execute("CREATE TABLE changes_bystander ()")
        early.execute("SELECT fflag_register('changes early')")
        self.poll()
        late.execute("SELECT fflag_register('changes late')")
        self.assertChanges(0)
        late.commit()
        self.assertChanges(1)
        sql(CHANGE)
        self.assertChanges(1)
        early.commit()
        self.assertChanges(1)
        bystander.rollback()
        self.assertChanges(0)

    def test_prepared(self):
        """a change that was prepared long ago is found when it is committed"""
        other = psycopg.connect(CONNINFO, autocommit=True)
        self.addCleanup(other.close)
        other.execute("BEGIN")
        other.execute("SELECT fflag_register('changes prepared')")
        other.execute("PREPARE TRANSACTION 'openfeature'")
        try:
            # long ago, for who does not have that minute
            query, _changes.QUERY = _changes.QUERY, _changes.QUERY.replace("interval '1 minute'", "interval '0'")
            self.addCleanup(setattr, _changes, "QUERY", query)
            self.assertNotEqual(query, _changes.QUERY)
            polls()
            self.poll()
            self.assertChanges(0)
            sql(CHANGE)
            self.assertChanges(1)
        finally:
            other.execute("COMMIT PREPARED 'openfeature'")
        self.assertChanges(1)

    def test_outage(self):
        """what happens during an outage is found; ERROR and READY come without an evaluation"""
        self.poll()
        with stopped():
            self.assertTrue(wait_for(lambda: self.events, 5))
            self.assertEqual([name for name, _ in self.events], ["ERROR"])
        sql(CHANGE)
        self.assertTrue(wait_for(lambda: len(self.events) >= 3, 6))
        self.assertEqual([name for name, _ in self.events], ["ERROR", "READY", "CONFIGURATION_CHANGED"])

    def test_privilege(self):
        """without the privilege to look, it says which"""
        sql("DO $$ BEGIN CREATE ROLE regress_fflag_poll LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        try:
            sql("GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO regress_fflag_poll")
            provider = FflagProvider(f"{CONNINFO} user=regress_fflag_poll", poll=POLL)
            self.addCleanup(provider.shutdown)
            try:
                self.provide(provider)
            except Exception as error:
                self.assertIn("GRANT SELECT ON feature_flag_change", str(error))
            self.assertTrue(wait_for(lambda: any("GRANT SELECT ON feature_flag_change" in str(message) for _, message in self.events)), self.events)
            sql("GRANT SELECT ON feature_flag_change TO regress_fflag_poll")
            self.assertTrue(wait_for(lambda: self.events and self.events[-1][0] == "READY"))
            self.events.clear()
            sql(CHANGE)
            self.assertChanges(1)
        finally:
            api.clear_providers()
            provider.shutdown()
            sql("DROP OWNED BY regress_fflag_poll")
            wait_for(lambda: not sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'regress_fflag_poll'"))
            sql("DROP ROLE regress_fflag_poll")

    def test_unasked(self):
        """nobody looks unasked, nor after the end"""
        looks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%feature_flag_change%%' AND pid <> pg_backend_pid() AND datname = 'openfeature'"
        self.provide()
        polls()
        self.assertEqual(sql(looks)[0][0], 0)
        provider = self.poll()
        self.assertGreater(sql(looks)[0][0], 0)
        provider.shutdown()
        sql(CHANGE)
        self.assertChanges(0)

    def test_arguments(self):
        """what poll takes"""
        for poll in 0, -1:
            with self.assertRaises(ValueError):
                FflagProvider(CONNINFO, poll=poll)
        with self.assertRaises(ValueError):
            FflagProvider(pool=AsyncConnectionPool(CONNINFO, open=False), poll=1)

    @unittest.skipUnless("fork" in multiprocessing.get_all_start_methods(), "no fork")
    def test_fork(self):
        """a child process looks for itself"""
        provider = self.poll()
        fork = multiprocessing.get_context("fork")
        ready, found = fork.Event(), fork.Event()

        def child():
            provider.emit = lambda event, details: event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED and found.set()
            ready.set()
            time.sleep(5)

        process = fork.Process(target=child)
        process.start()
        self.addCleanup(process.join)
        self.addCleanup(process.terminate)
        self.assertTrue(ready.wait(10))
        sql(CHANGE)
        self.assertTrue(found.wait(5))
        self.assertChanges(1)

    def test_pool(self):
        """by a pool of the application's"""
        with ConnectionPool(CONNINFO, open=True) as pool:
            provider = FflagProvider(pool=pool, poll=POLL)
            self.provide(provider)
            self.addCleanup(provider.shutdown)
            wait_for(lambda: self.events)
            self.events.clear()
            sql(CHANGE)
            self.assertChanges(1)
            provider.shutdown()
