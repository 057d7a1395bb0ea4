"""The server of test/run, its database, and who stops and starts it."""
import json
import logging
import os
import re
import shutil
import subprocess
import time
import unittest
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import psycopg
from openfeature import api
from openfeature.contrib.provider.fflag import FflagProvider
from openfeature.event import ProviderEvent

# of lost connections and failures, which are what is tested
for logger in "psycopg.pool", "openfeature":
    logging.getLogger(logger).setLevel(logging.CRITICAL)

HERE = Path(__file__).resolve().parent
DATABASE = "openfeature"
CONNINFO = f"dbname={DATABASE}"
OWNER = os.environ.get("FFLAG_USER", "postgres")  # of the server's process
os.environ.setdefault("PGUSER", "postgres")
SCENARIOS = json.loads((HERE / "scenarios.json").read_text())["scenarios"]


def scenarios(*clients):
    """Those that a client is asked, as it is to answer them; later names are put over earlier ones."""
    for scenario in SCENARIOS:
        changes = [scenario[client] for client in clients if client in scenario]
        if None in changes:
            continue
        for change in changes:
            scenario = {**scenario, **change}
        yield scenario


@cache
def make_database():
    """Once, by whoever comes first: the tests use flags of different names."""
    with psycopg.connect("dbname=postgres", autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE} ENCODING 'UTF8' TEMPLATE template0")
    with psycopg.connect(CONNINFO, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("CREATE EXTENSION fflag")
        connection.execute((HERE / "flags.sql").read_text())


def sql(query, *parameters, conninfo=CONNINFO):
    """The rows of a query, in a session of its own."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        cursor = connection.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else None


def as_owner(*command):
    if os.geteuid() == 0:
        command = ["runuser", "-u", OWNER, "--", *command]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def pg_ctl(action):
    """start, stop or restart of the server, at once."""
    data = sql("SELECT current_setting('data_directory')", conninfo="dbname=postgres")[0][0] if action != "start" else pg_ctl.data
    pg_ctl.data = data
    log = Path(os.environ["PGHOST"], "server.log")
    as_owner("pg_ctl", "-D", data, "-l", str(log), "-m", "fast", "-w", action)


@contextmanager
def locked():
    """Evaluations wait here, because they have to read the flag anew."""
    sql("UPDATE feature_flag SET description = description || 'x' WHERE name = 'on'")
    with psycopg.connect(CONNINFO) as connection:
        connection.execute("LOCK TABLE feature_flag")
        try:
            yield
        finally:
            connection.rollback()


def wait_for(condition, seconds=10.0):
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


class Case(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        make_database()

    def provide(self, provider=None, wait=True, **options):
        """Sets a provider and gives it, and a client; the events that it emits are in self.events."""
        self.events = []
        provider = provider or FflagProvider(CONNINFO, **options)
        api.clear_providers()
        self.addCleanup(api.clear_providers)  # and handlers
        for event in ProviderEvent:
            def handler(details, events=self.events, name=event.name.removeprefix("PROVIDER_")):
                if details.provider_name == "fflag":  # and not of the one that is there if no provider is set
                    events.append((name, details.message))

            api.add_handler(event, handler)
        set_provider(provider, wait)
        return provider, api.get_client()


    def assertEvents(self, *names):
        """SDK 0.10 calls handlers in threads of its own, a moment later."""
        wait_for(lambda: len(self.events) >= len(names))
        time.sleep(0.05)
        self.assertEqual([name for name, _ in self.events], list(names), self.events)


def set_provider(provider, wait=True):
    """SDK 0.10 initializes in the background, earlier ones at once."""
    if hasattr(api, "set_provider_and_wait"):
        (api.set_provider_and_wait if wait else api.set_provider)(provider)
    else:
        api.set_provider(provider)


PGBOUNCER = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")


@contextmanager
def pgbouncer(pool_size=3, **settings):
    """Runs pgbouncer in transaction mode; gives a connection string."""
    folder = Path(mkdtemp(prefix="bouncer", dir="/tmp"))
    user, port = sql("SELECT current_user, current_setting('port')")[0]
    # earlier ones know no prepared statements, and not this setting
    version = subprocess.run([PGBOUNCER, "--version"], capture_output=True, text=True).stdout
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) >= (1, 21):
        settings = {"max_prepared_statements": 0, **settings}
    (folder / "users.txt").write_text(f'"{user}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host={os.environ["PGHOST"]} port={port} user={user} pool_size={pool_size}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
auth_file = {folder}/users.txt
pool_mode = transaction
server_round_robin = 1
{"user = " + OWNER if os.geteuid() == 0 else ""}
""" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        shutil.chown(folder, OWNER)
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([PGBOUNCER, folder / "pgbouncer.ini"], stdout=log, stderr=log)
        try:
            if not wait_for((folder / f".s.PGSQL.{port}").exists):
                raise RuntimeError((folder / "log").read_text())
            yield f"host={folder} {CONNINFO}"
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder)
