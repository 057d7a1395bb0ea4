"""What a check costs in Django, as ratios.

Every case runs by turns with its reference, `SELECT true` through the same connection, and the
table shows the median and the spread of the ratios of neighbours; absolute times of a
shared machine mean little.

    python -m bench.roundtrip [PAGE]   libpq's variables say where; makes a database.  Writes
                                       the table between the marks in PAGE, too.
    BENCH_ROUNDS=25 BENCH_CHECKS=200
"""
import os
import re
import sys
from contextlib import closing
from pathlib import Path
from statistics import median
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

from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from feature_flag_infra.django.models import FeatureFlag
from feature_flag_infra.django.providers import DjangoDBFlagProvider
from shop.flags import FflagProvider, RequestFlags

ROUNDS = int(os.environ.get("BENCH_ROUNDS", 25))
CHECKS = int(os.environ.get("BENCH_CHECKS", 200))
FIFTY = [f"flag {n}" for n in range(50)]

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


def forgetful(flag):
    cache.clear()
    return package.is_enabled(flag, user=user)


# what is asked, how, and how many checks that is
CASES = [
    ("one flag: `SELECT fflag_enabled(...)` through the cursor",
     lambda: ask("SELECT fflag_enabled(%s, %s, %s)", "flag 1", user.pk, user.is_staff), 1),
    ("one flag: the package's provider, flag not in its cache", lambda: forgetful("flag 1"), 1),
    ("one flag: the package's provider, flag in its cache", lambda: package.is_enabled("flag 1", user=user), 1),
    ("one flag: the same, at 100%: no query", lambda: package.is_enabled("everybody", user=user), 1),
    ("one flag: `FflagProvider`", lambda: ours.is_enabled("flag 1", user=user), 1),
    ("fifty flags: the package's provider, none in its cache", lambda: [forgetful(flag) for flag in FIFTY], 50),
    ("fifty flags: the package's provider, all in its cache", lambda: [package.is_enabled(flag, user=user) for flag in FIFTY], 50),
    ("fifty flags: `FflagProvider`, one by one", lambda: [ours.is_enabled(flag, user=user) for flag in FIFTY], 50),
    ("fifty flags: `RequestFlags`, one `fflag_flags`", lambda: [(flags := RequestFlags(user))] and [flags.is_enabled(flag) for flag in FIFTY], 50),
]


def seconds(function, times):
    """Of one call."""
    begun = perf_counter()
    for _ in range(times):
        function()
    return (perf_counter() - begun) / times


def show(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def table():
    ratios = {what: [] for what, _, _ in CASES}
    floors = []
    for _, function, _ in CASES:
        seconds(function, 10)
    for _ in range(ROUNDS):
        for what, function, checks in CASES:
            floors.append(seconds(floor, CHECKS))
            ratios[what].append(seconds(function, max(1, CHECKS // checks)) / floors[-1])
    yield "| | times `SELECT true` | spread |"
    yield "|---|---|---|"
    for what, values in ratios.items():
        yield f"| {what} | {show(median(values))} | {show(min(values))} to {show(max(values))} |"
