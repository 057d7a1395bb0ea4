"""What a check costs in Django, as ratios.

Every case runs by turns with its reference, `SELECT true` through the same connection, and the
table shows the median and the middle half of the rounds' ratios; absolute times of a shared
machine mean little.

    python -m bench.roundtrip [PAGE]   libpq's variables say where; makes a database.  Writes
                                       the table between the marks in PAGE, too.
    BENCH_ROUNDS=25 BENCH_BLOCKS=4
"""
import os
import re
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import psycopg

os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
os.environ["PGDATABASE"] = "bench"
with closing(psycopg.connect(dbname="postgres", autocommit=True)) as session:
    session.execute("CREATE DATABASE bench")

import snippets

snippets.write()

import django

django.setup()

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from feature_flag_infra.django.models import FeatureFlag
from feature_flag_infra.django.providers import DjangoDBFlagProvider
from shop.flags import FflagProvider, RequestProvider

ROUNDS = int(os.environ.get("BENCH_ROUNDS", 25))
BLOCKS = int(os.environ.get("BENCH_BLOCKS", 4))
FIFTY = [f"flag_{n}" for n in range(50)]

settings.DEBUG = False  # which keeps a log of queries
call_command("migrate", verbosity=0)
User.objects.bulk_create(User(username=f"user {n}") for n in range(1000))
user = User.objects.last()
FeatureFlag.objects.create(name="everybody", enabled=True, rollout_percentage=100)
for name in FIFTY:
    FeatureFlag.objects.create(name=name, enabled=True, rollout_percentage=10).users.set(User.objects.all()[:10])
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")

package = DjangoDBFlagProvider(cache_ttl=3600)
ours = FflagProvider()


def ask(query, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


def floor():
    return ask("SELECT true")


def emptied(flag):
    cache.clear()
    return package.is_enabled(flag, user=user)


def cached(flag):
    return package.is_enabled(flag, user=user)


def provider(flag):
    return ours.is_enabled(flag, user=user)


def fifty(check):
    return lambda: [check(flag) for flag in FIFTY]


def in_one_call():
    request = RequestProvider()
    return [request.is_enabled(flag, user=user) for flag in FIFTY]


# what is asked for, through what, how, and how many checks that is
CASES = {
    "one flag": {
        "`fflag_enabled(...)` through the same cursor":
            (lambda: ask("SELECT fflag_enabled(%s, %s, %s)", "flag_1", user.pk, user.is_staff), 1),
        "the package's provider, flag not in its cache": (lambda: emptied("flag_1"), 1),
        "the package's provider, flag in its cache": (lambda: cached("flag_1"), 1),
        "the package's provider, flag at 100% and in its cache": (lambda: cached("everybody"), 1),
        "`FflagProvider`": (lambda: provider("flag_1"), 1),
    },
    "fifty flags": {
        "the package's provider, none in its cache": (fifty(emptied), 50),
        "the package's provider, all in its cache": (fifty(cached), 50),
        "`FflagProvider`, one by one": (fifty(provider), 50),
        "`RequestProvider`, one `fflag_flags`": (in_one_call, 50),
    },
}


def seconds(function, times):
    """Of one call."""
    begun = perf_counter()
    for _ in range(times):
        function()
    return (perf_counter() - begun) / times


def show(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def measure():
    """Prints progress, returns the lines of the table."""
    for cases in CASES.values():
        answers = [function() for name, (function, _) in cases.items() if "100%" not in name]
        if any(answer != answers[0] for answer in answers):
            raise RuntimeError(f"different answers: {answers}")
    ratios = {(asked, name): [] for asked, cases in CASES.items() for name in cases}
    floors = []
    for turn in range(ROUNDS + 1):
        print(f"round {turn} of {ROUNDS}", file=sys.stderr)
        for asked, name in ratios:
            function, checks = CASES[asked][name]
            below = above = 0
            for _ in range(BLOCKS):  # of fifty checks each, after as many of the reference
                below += seconds(floor, 50)
                above += seconds(function, 50 // checks)
            if turn > 0:  # the first warms up
                floors.append(below / BLOCKS)
                ratios[asked, name].append(above / below)
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        server = cursor.fetchone()[0].split()[0]
    circumstances = (
        f"PostgreSQL {server} over a Unix socket, Django {django.__version__}, psycopg {psycopg.__version__},"
        f" Python {sys.version.split()[0]}, the cache in local memory."
        f" `SELECT true` took {median(floors) * 1e6:.0f} µs; {ROUNDS} rounds;"
        f" {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}."
    )
    return [
        textwrap.fill(circumstances, 100),
        "",
        "| asked for | through | times `SELECT true`, median | middle half |",
        "|---|---|---|---|",
        *("| {0} | {1} | {3} | {2} to {4} |".format(asked, name, *map(show, quantiles(values)))
          for (asked, name), values in ratios.items()),
    ]


def main(page=None):
    table = "\n".join(measure())
    print(table)
    if page is not None:
        text, found = re.subn(
            r"(?s)(<!-- make bench-django -->\n).*?(?=<!-- -->)", lambda mark: f"{mark[1]}{table}\n", Path(page).read_text())
        if not found:
            raise RuntimeError(f"no <!-- make bench-django --> in {page}")
        Path(page).write_text(text)


main(*sys.argv[1:])
