"""What an evaluation costs through OpenFeature's client, as ratios.

Every case runs by turns with its reference, `SELECT true` through the same pool, and the table
shows the median and the middle half of the rounds' ratios; absolute times of a shared machine mean
little.

    python bench.py [PAGE]   libpq's variables say where; makes a database.  Writes the table
                             between the marks in PAGE, too.
    BENCH_ROUNDS=25
"""
import asyncio
import os
import re
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import psycopg
import requests
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from openfeature.contrib.provider.fflag import FflagProvider
from openfeature.contrib.provider.fflag.ofrep import servers

from common import CONNINFO, make_database, sql
from test_ofrep import KEY, PATH, ofrep, served

ROUNDS = int(os.environ.get("BENCH_ROUNDS", 25))
FLAGS = [f"bench {number}" for number in range(30)]
USER = EvaluationContext("42")
TIMES = 3  # that a round asks for all flags


def one_by_one(client):
    return [client.get_boolean_value(flag, None, USER) for flag in FLAGS]


def make_cases(pool, async_pool, loop, url, session):
    """By what is asked, a function that evaluates all flags once."""
    clients = {}
    for name, provider in {
            "memory": InMemoryProvider({flag: InMemoryFlag("on", {"on": True, "off": False}) for flag in FLAGS}),
            "pool": FflagProvider(pool=pool), "async": FflagProvider(pool=async_pool)}.items():
        api.set_provider(provider, name)
        clients[name] = api.get_client(name)
        clients[name].provider_of_bench = provider

    def select():
        for _ in FLAGS:
            with pool.connection() as connection:
                connection.execute("SELECT true").fetchone()

    def batch():
        with clients["pool"].provider_of_bench.batch():
            return one_by_one(clients["pool"])

    async def gather():
        return await asyncio.gather(*(clients["async"].get_boolean_value_async(flag, None, USER) for flag in FLAGS))

    async def gather_in_batch():
        with clients["async"].provider_of_bench.batch():
            return await gather()

    def bulk():
        return session.post(url + PATH, json={"context": {"targetingKey": "42"}}, timeout=60).json()["flags"]

    return select, {
        "the SDK's provider in memory, for comparison": lambda: one_by_one(clients["memory"]),
        "`FflagProvider`": lambda: one_by_one(clients["pool"]),
        "`FflagProvider`, in a batch": batch,
        "`FflagProvider`, 30 tasks at once": lambda: loop.run_until_complete(gather()),
        "`FflagProvider`, 30 tasks in a batch": lambda: loop.run_until_complete(gather_in_batch()),
        "OFREP, in bulk, with its HTTP": bulk,
    }


def measure_by_turns(select, cases):
    references, ratios = [], {name: [] for name in cases}
    for turn in range(ROUNDS + 1):
        for name, case in cases.items():
            seconds = []
            for function in select, case:
                start = perf_counter()
                for _ in range(TIMES):
                    function()
                seconds.append((perf_counter() - start) / TIMES / len(FLAGS))
            if turn > 0:  # the first warms up
                references.append(seconds[0])
                ratios[name].append(seconds[1] / seconds[0])
    return references, ratios


def show(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def measure():
    make_database()
    sql("SELECT fflag_register(name, true, 10) FROM unnest(%s::text[]) AS name", FLAGS)
    # in bulk all flags are asked for
    sql("DELETE FROM feature_flag WHERE name <> ALL (%s)", FLAGS)
    loop = asyncio.new_event_loop()
    options = {"min_size": 10, "max_size": 10, "kwargs": {"autocommit": True}}
    async_pool = AsyncConnectionPool(CONNINFO, open=False, **options)
    loop.run_until_complete(async_pool.open())
    with ConnectionPool(CONNINFO, open=True, **options) as pool, served(ofrep(CONNINFO, servers(KEY))) as url, requests.Session() as session:
        session.headers["X-API-Key"] = KEY
        references, ratios = measure_by_turns(*make_cases(pool, async_pool, loop, url, session))
    loop.run_until_complete(async_pool.close())
    api.clear_providers()
    server = sql("SHOW server_version")[0][0].split()[0]
    circumstances = (
        f"PostgreSQL {server} over a Unix socket, openfeature-sdk {version('openfeature-sdk')}, psycopg {psycopg.__version__},"
        f" Python {sys.version.split()[0]}; {len(FLAGS)} flags for one user."
        f" `SELECT true` by the same pool took {median(references) * 1e6:.0f} µs; {ROUNDS} rounds;"
        f" {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.")
    return [
        textwrap.fill(circumstances, 100),
        "",
        "| an evaluation through | a second | times `SELECT true`, median | middle half |",
        "|---|---|---|---|",
        *("| {0} | {1:.0f} | {3} | {2} to {4} |".format(name, 1 / (median(references) * median(values)), *map(show, quantiles(values)))
          for name, values in ratios.items()),
    ]


def main(page=None):
    table = "\n".join(measure())
    print(table)
    if page is not None:
        text, found = re.subn(
            r"(?s)(<!-- make bench-openfeature -->\n).*?(?=<!-- -->)", lambda mark: f"{mark[1]}{table}\n", Path(page).read_text())
        if not found:
            raise RuntimeError(f"no <!-- make bench-openfeature --> in {page}")
        Path(page).write_text(text)


main(*sys.argv[1:])
