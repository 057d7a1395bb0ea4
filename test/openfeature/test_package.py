"""The page of the package: its code runs; the types are what mypy --strict wants."""
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg_pool import ConnectionPool

from openfeature.contrib.provider import fflag

from common import HERE, Case

CLIENT = HERE.parents[1] / "clients" / "python"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (CLIENT / "README.md").read_text(), re.M | re.S)
APPLICATION = """
from typing import assert_type

from openfeature import api
from openfeature.contrib.provider.fflag import FflagProvider, Subject
from openfeature.contrib.provider.fflag.ofrep import Request, ofrep, servers, users
from openfeature.evaluation_context import EvaluationContext
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool


def subject(context: EvaluationContext) -> Subject:
    return Subject(context.targeting_key, is_staff=True)


async def user_of(request: Request) -> str | None:
    return request.headers.get("Authorization")


def main(pool: ConnectionPool, async_pool: AsyncConnectionPool, connection: Connection, async_connection: AsyncConnection) -> None:
    provider = FflagProvider("", subject=subject, poll=5)
    api.set_provider(provider)
    api.set_provider(FflagProvider(pool=async_pool))
    with provider.batch(), provider.using(connection), provider.using(async_connection):
        assert_type(provider.resolve_boolean_details("f", False).value, bool)
        assert_type(provider.resolve_string_details("f", "").value, str)
    ofrep("", servers("key"))
    ofrep(async_pool, users(user_of), flags=["f"], origins=("https://shop.example",))
    FflagProvider(pool=connection)  # type: ignore[arg-type]
    ofrep(pool, servers("key"))  # type: ignore[arg-type]
"""


class Package(Case):
    def setUp(self):
        with psycopg.connect("dbname=postgres", autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
            connection.execute("CREATE DATABASE shop")
        with psycopg.connect("dbname=shop") as connection:
            connection.execute("CREATE EXTENSION fflag")
            connection.execute("SELECT fflag_register('new_checkout', true, 100)")

    def test_first(self):
        """the first program of the page prints the flag"""
        program = subprocess.run([sys.executable, "-c", BLOCKS[0]], capture_output=True, text=True, timeout=60)
        self.assertEqual((program.stdout, program.stderr, program.returncode), ("True\n", "", 0))
        self.assertLess(BLOCKS[0].count("\n"), 10)

    def test_blocks(self):
        """the others run, too"""
        os.environ["FLAG_KEY"] = "sesame"
        rendered = []
        names = {"render": rendered.append, "request": "a request", "sessions": {}}
        with redirect_stdout(StringIO()):
            for block in BLOCKS:
                exec(block, names)
        self.addCleanup(names["pool"].close)
        self.addCleanup(names["api"].clear_providers)
        self.assertEqual(rendered, ["a request"])
        self.assertIsInstance(names["pool"], ConnectionPool)
        self.assertEqual(names["subject"](names["EvaluationContext"]("7", {"role": "support"})), fflag.Subject("7", True))

    def test_types(self):
        """mypy --strict: the package, and an application"""
        installed = Path(fflag.__file__).parents[4]
        self.assertTrue((installed / "openfeature/contrib/provider/fflag/py.typed").exists())
        with TemporaryDirectory() as folder:
            Path(folder, "application.py").write_text(APPLICATION)
            for arguments in ["-p", "openfeature.contrib.provider.fflag"], ["application.py"]:
                mypy = subprocess.run(
                    [sys.executable, "-m", "mypy", "--strict", "--namespace-packages", "--explicit-package-bases", *arguments],
                    cwd=folder, env=os.environ | {"MYPYPATH": str(installed)}, capture_output=True, text=True, timeout=300)
                self.assertEqual(mypy.returncode, 0, mypy.stdout + mypy.stderr)
