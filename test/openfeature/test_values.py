"""The table of scenarios: what OpenFeature's client says of each flag, synchronous and not."""
import asyncio
import json
import unittest

from openfeature.evaluation_context import EvaluationContext
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from openfeature.contrib.provider.fflag import FflagProvider

from common import CONNINFO, PGBOUNCER, Case, pgbouncer, scenarios


def context(scenario):
    attributes = dict(scenario["context"])
    return EvaluationContext(attributes.pop("targetingKey", None), attributes)


def arguments(scenario):
    return scenario["flag"], scenario["default"], context(scenario)


class Table(Case):
    def compare(self, scenario, details):
        expected = {name: scenario[name] for name in ("value", "variant", "reason", "error")}
        found = {"value": details.value, "variant": details.variant, "reason": details.reason and str(details.reason.value),
                 "error": details.error_code and str(details.error_code.value)}
        # as JSON, because 1, 1.0 and True are equal
        self.assertEqual(json.dumps(found, sort_keys=True), json.dumps(expected, sort_keys=True), details.error_message)
        if scenario["metadata"] is not None:
            self.assertEqual(dict(details.flag_metadata), scenario["metadata"])
        if scenario["error"] is not None:
            self.assertTrue(details.error_message)

    def run_table(self, client, *names):
        for scenario in scenarios(*names):
            with self.subTest(what=scenario["what"], type=scenario["type"]):
                details = getattr(client, f"get_{scenario['type']}_details")(*arguments(scenario))
                self.compare(scenario, details)

    async def run_table_async(self, client, *names):
        for scenario in scenarios(*names):
            with self.subTest(what=scenario["what"], type=scenario["type"]):
                details = await getattr(client, f"get_{scenario['type']}_details_async")(*arguments(scenario))
                self.compare(scenario, details)


class Values(Table):
    def test_sync(self):
        """sync"""
        self.run_table(self.provide()[1], "python")

    def test_batch(self):
        """all in one batch, twice"""
        provider, client = self.provide()
        for _ in range(2):
            with provider.batch():
                self.run_table(client, "python")

    def test_async(self):
        """async"""
        async def main():
            async with AsyncConnectionPool(CONNINFO, min_size=1, open=False) as pool:
                provider, client = self.provide(FflagProvider(pool=pool))
                await self.run_table_async(client, "python")
                with provider.batch():
                    await self.run_table_async(client, "python")

        asyncio.run(main())

    def test_async_by_threads(self):
        """async, by a pool that is not"""
        asyncio.run(self.run_table_async(self.provide()[1], "python"))

    @unittest.skipUnless(PGBOUNCER, "pgbouncer is not installed")
    def test_pgbouncer(self):
        """a pool of the provider's own, behind pgbouncer in transaction mode"""
        with pgbouncer() as conninfo:
            self.run_table(self.provide(FflagProvider(conninfo))[1], "python")

    def test_pool_of_the_application(self):
        """a pool of the application's, not autocommit, with statements prepared at once"""
        with ConnectionPool(CONNINFO, min_size=1, open=False, kwargs={"prepare_threshold": 0}) as pool:
            self.run_table(self.provide(FflagProvider(pool=pool))[1], "python")
