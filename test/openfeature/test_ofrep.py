"""The OFREP server: values through the official clients, the protocol, who may ask what, bad requests."""
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import requests
import uvicorn
from openfeature.contrib.provider.ofrep import OFREPProvider
from psycopg_pool import AsyncConnectionPool

from openfeature.contrib.provider.fflag.ofrep import HTTPException, Subject, ofrep, servers, users

from common import CONNINFO, locked, sql, wait_for
from test_outages import stopped
from test_values import Table

KEY = "sesame"
PATH = "/ofrep/v1/evaluate/flags"


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


@contextmanager
def served(app):
    """Runs the application with uvicorn, in a thread; gives its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        if not wait_for(lambda: server.started):
            raise RuntimeError("uvicorn does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class OfrepCase(Table):
    def serve(self, who=servers(KEY), database=CONNINFO, **options):
        self.url = self.enterContext(served(ofrep(database, who, **options)))
        self.session = self.enterContext(requests.Session())
        self.session.headers["Authorization"] = f"Bearer {KEY}"

    def ask(self, path="", body=None, **options):
        """body: text or bytes as they are, or a context."""
        data = json.dumps({"context": body or {}}) if not isinstance(body, (str, bytes)) else body
        return self.session.post(f"{self.url}{PATH}{path}", data=data, timeout=30, **options)

    def assertError(self, response, status, code=None, key=None):
        self.assertEqual(response.status_code, status, response.text)
        self.assertEqual(response.headers["Content-Type"], "application/json")
        found = response.json()
        self.assertLessEqual({"errorCode", "errorDetails"}, found.keys())
        if code:
            self.assertEqual(found["errorCode"], code)
        if key is not None:
            self.assertEqual(found["key"], key)


class Values(OfrepCase):
    def setUp(self):
        self.serve()

    def test_client(self):
        """openfeature-provider-ofrep"""
        provider = OFREPProvider(self.url, headers_factory=lambda: {"X-API-Key": KEY})
        self.run_table(self.provide(provider)[1], "ofrep", "ofrep-python")

    def test_bulk(self):
        """in bulk, each flag has the answer that it has alone; internal ones have none"""
        names = {name for name, in sql("SELECT name FROM feature_flag WHERE NOT internal")}
        for context in {}, {"targetingKey": "42"}, {"targetingKey": "2", "is_staff": True}, {"targetingKey": ""}:
            flags = self.ask(body=context).json()["flags"]
            self.assertEqual({flag["key"] for flag in flags}, names)
            for flag in flags:
                alone = self.ask(f"/{quote(flag['key'], safe='')}", context)
                self.assertEqual(alone.json(), flag)
        self.assertEqual(self.ask("/internal").json()["value"], True)

    def test_etag(self):
        """ETag: not modified until an answer is another"""
        context = {"targetingKey": "7"}
        first = self.ask(body=context)
        tag = first.headers["ETag"]
        self.assertEqual(first.headers["Cache-Control"], "private, no-cache")
        for known in tag, f"W/{tag}", f'"x", {tag}':
            again = self.ask(body=context, headers={"If-None-Match": known})
            self.assertEqual((again.status_code, again.content, again.headers["ETag"]), (304, b"", tag))
        self.assertEqual(self.ask(body={"targetingKey": "8"}, headers={"If-None-Match": tag}).status_code, 200)
        for enabled in False, True:
            sql("UPDATE feature_flag SET enabled = %s WHERE name = 'on'", enabled)
            changed = self.ask(body=context, headers={"If-None-Match": tag})
            self.assertEqual(changed.status_code, 304 if enabled else 200)
        # a ramp changes answers without a write: half a second later, user 7 is in
        sql("""SELECT fflag_register('ramp', true, 0);
            UPDATE feature_flag SET ramp_to = 100, ramp_starts_at = now(), ramp_ends_at = now() + interval '2 seconds' WHERE name = 'ramp'""")
        self.addCleanup(sql, "DELETE FROM feature_flag WHERE name = 'ramp'")
        tag = self.ask(body=context).headers["ETag"]
        self.assertTrue(wait_for(lambda: self.ask(body=context, headers={"If-None-Match": tag}).status_code == 200, 5))


class Requests(OfrepCase):
    def setUp(self):
        self.serve()

    def test_bodies(self):
        """bodies that are wrong"""
        for body, code in [
                ("", "PARSE_ERROR"), ("{", "PARSE_ERROR"), ("[]", "PARSE_ERROR"), ("null", "PARSE_ERROR"), ("42", "PARSE_ERROR"),
                (b"\xff\xfe", "PARSE_ERROR"), ("\0", "PARSE_ERROR"), ('{"context": NaN}', "PARSE_ERROR"), ("[" * 60000, "PARSE_ERROR"),
                ("1" * 60000, "PARSE_ERROR"), ('{"context": []}', "INVALID_CONTEXT"), ('{"context": "x"}', "INVALID_CONTEXT"),
                ('{"context": null}', "INVALID_CONTEXT"), ('{"context": {"targetingKey": 42}}', "INVALID_CONTEXT"),
                ('{"context": {"targetingKey": {}}}', "INVALID_CONTEXT"), ('{"context": {"targetingKey": "\\u0000"}}', "INVALID_CONTEXT"),
                ('{"context": {"targetingKey": "\\ud800"}}', "INVALID_CONTEXT"), ('{"context": {"targetingKey": true}}', "INVALID_CONTEXT")]:
            with self.subTest(body=ascii(body)[:50]):
                for path in "/on", "":
                    self.assertError(self.ask(path, body), 400, code, "on" if path else None)

    def test_good_bodies(self):
        """bodies that are right: no context, other attributes, halves of characters in them, an empty user"""
        for body in "{}", '{"context": {}}', '{"context": {"targetingKey": null}}', '{"context": {"x": "\\ud800", "y": [1, {}]}}', '{"context": {"targetingKey": "%s"}}' % ("x" * 60000):
            self.assertIs(self.ask("/on", body).json()["value"], True, body[:50])
        self.assertIs(self.ask("/listed", {"targetingKey": ""}).json()["value"], True)

    def test_large(self):
        """10 MB, announced or not"""
        body = json.dumps({"context": {"targetingKey": "x" * 10_000_000}})
        for data in body, iter([body.encode()]):
            try:
                response = self.session.post(f"{self.url}{PATH}/on", data=data, timeout=30)
            except requests.ConnectionError:
                continue  # it did not read on
            self.assertError(response, 413)
        self.assertIs(self.ask("/on").json()["value"], True)

    def test_names(self):
        """names that no flag has"""
        for path in "/typo", "/", "/%00", "/o%00n", "/%ED%A0%80", "/%FF", "/on/", "/on%2F", "/" + "x" * 10000, "/on%3F", "/%22":
            self.assertError(self.ask(path), 404, "FLAG_NOT_FOUND")
        self.assertError(self.ask("/d%C3%ADa"), 404, "FLAG_NOT_FOUND", "día")

    def test_methods(self):
        """other methods, other paths"""
        for method in "GET", "PUT", "DELETE":
            for path in "", "/on":
                self.assertError(self.session.request(method, f"{self.url}{PATH}{path}"), 405)
        self.assertError(self.session.post(f"{self.url}/ofrep/v2/evaluate/flags/on"), 404)

    def test_unreadable(self):
        """a payload that cannot be read is an error of its flag, and not of the others"""
        sql("SELECT fflag_register('digits', true, 100)")
        sql("INSERT INTO feature_flag_variant SELECT id, 'v', 1, %s::jsonb FROM feature_flag WHERE name = 'digits'", "1" * 5000)
        self.addCleanup(sql, "DELETE FROM feature_flag WHERE name = 'digits'")
        self.assertError(self.ask("/digits"), 400, "PARSE_ERROR", "digits")
        flags = {flag["key"]: flag for flag in self.ask().json()["flags"]}
        self.assertEqual(flags["digits"]["errorCode"], "PARSE_ERROR")
        self.assertIs(flags["on"]["value"], True)
        self.assertEqual(self.ask("/huge").json()["value"], 10**400)


class Access(OfrepCase):
    def test_servers(self):
        """servers know a key, and may ask for anybody"""
        self.serve(servers("other", KEY))
        for headers in {"X-API-Key": KEY}, {"X-API-Key": "other"}, {"Authorization": f"Bearer {KEY}"}:
            response = requests.post(f"{self.url}{PATH}/staff", json={"context": {"targetingKey": "42", "is_staff": True}}, headers=headers)
            self.assertIs(response.json()["value"], True)
        for headers in {}, {"X-API-Key": ""}, {"X-API-Key": "Sesame"}, {"Authorization": "Basic sesame"}, {"Authorization": "Bearer "}, {"X-API-Key": "\xe9".encode()}:
            for path in "", "/on", "/typo":
                self.assertError(requests.post(f"{self.url}{PATH}{path}", json={"context": {}}, headers=headers), 401)
        for keys in (), ("",), (KEY, ""):
            with self.assertRaises(ValueError):
                servers(*keys)

    def test_users(self):
        """browsers ask for the user of their token, and for the flags of a list; they are not told the rules"""
        tokens = {"token of 42": "42", "token of 7": "7", "token of nobody": None}

        async def user_of(request):
            await asyncio.sleep(0)
            try:
                return tokens[request.headers["Authorization"].removeprefix("Bearer ")]
            except KeyError:
                raise HTTPException(401) from None

        self.serve(users(user_of), flags=["listed", "staff", "on", "color", "internal", "typo"])

        def ask(token, path, context):
            return self.ask(path, context, headers={"Authorization": f"Bearer {token}"})

        self.assertIs(ask("token of 42", "/listed", {"targetingKey": "42"}).json()["value"], True)
        self.assertIs(ask("token of 42", "/listed", {}).json()["value"], True)
        self.assertIs(ask("token of 42", "/listed", {"targetingKey": None}).json()["value"], True)
        self.assertIs(ask("token of 7", "/listed", {}).json()["value"], False)
        self.assertIs(ask("token of 42", "/staff", {"is_staff": True}).json()["value"], False)
        self.assertIs(ask("token of nobody", "/listed", {}).json()["value"], False)
        self.assertError(ask("token of 7", "/listed", {"targetingKey": "42"}), 403)
        self.assertError(ask("token of 7", "", {"targetingKey": "42"}), 403)
        self.assertError(ask("token of nobody", "", {"targetingKey": "42"}), 403)
        self.assertError(ask("made up", "/listed", {}), 401)
        # one that is not in the list cannot be told from one that is not there
        hidden, unknown = ask("token of 42", "/half", {}), ask("token of 42", "/nope", {})
        self.assertError(hidden, 404, "FLAG_NOT_FOUND", "half")
        self.assertEqual(hidden.text.replace("half", "nope"), unknown.text)
        flags = ask("token of 42", "", {}).json()["flags"]
        self.assertEqual([flag["key"] for flag in flags], ["color", "internal", "listed", "on", "staff"])
        for flag in flags:
            self.assertEqual(flag.keys(), {"key", "value", "variant", "reason"})

    def test_refused(self):
        """without a function that says who may ask, it does not start"""
        for who in None, "servers", KEY:
            with self.assertRaises(TypeError):
                ofrep(CONNINFO, who)
        with self.assertRaises(TypeError):
            ofrep(CONNINFO, servers(KEY), flags="on")
        with self.assertRaises(TypeError):
            ofrep(CONNINFO, servers(KEY), origins="https://shop.example")

    def test_broken(self):
        """a function that fails, or returns nonsense, says nothing to the client"""
        def who(request, context):
            return {"fail": lambda: 1 / 0, "none": lambda: None, "nul": lambda: Subject("\0")}[context["do"]]()

        self.serve(who)
        for do, status in ("fail", 500), ("none", 400), ("nul", 400):
            response = requests.post(f"{self.url}{PATH}/on", json={"context": {"do": do}}, timeout=30)
            self.assertError(response, status)
            self.assertNotIn("Zero", response.text)

    def test_cors(self):
        """pages of a listed origin may ask and read ETag; others may not"""
        self.serve(origins=["https://shop.example"])
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,if-none-match"}
        for origin in "https://shop.example", "https://evil.example":
            allowed = origin if "shop" in origin else None
            preflight = self.session.options(f"{self.url}{PATH}", headers={"Origin": origin, **asked})
            self.assertEqual(preflight.status_code, 200 if allowed else 400)
            self.assertEqual(preflight.headers.get("Access-Control-Allow-Origin"), allowed)
            response = self.ask(headers={"Origin": origin})
            self.assertEqual(response.headers.get("Access-Control-Allow-Origin"), allowed)
        self.assertIn("ETag", self.ask(headers={"Origin": "https://shop.example"}).headers["Access-Control-Expose-Headers"])
        refused = requests.post(f"{self.url}{PATH}", json={}, headers={"Origin": "https://shop.example"})
        self.assertError(refused, 401)
        self.assertEqual(refused.headers["Access-Control-Allow-Origin"], "https://shop.example")


class Outages(OfrepCase):
    def test_exhausted(self):
        """an exhausted pool: 429 with Retry-After, and the official client waits"""
        pool = AsyncConnectionPool(CONNINFO, min_size=1, max_size=1, timeout=0.5, open=False)
        app = ofrep(pool, servers(KEY))

        @asynccontextmanager
        async def lifespan(app):
            async with pool:
                yield

        app.router.lifespan_context = lifespan
        self.url = self.enterContext(served(app))
        self.session = self.enterContext(requests.Session())
        self.session.headers["X-API-Key"] = KEY
        client = self.provide(OFREPProvider(self.url, headers_factory=lambda: {"X-API-Key": KEY}))[1]
        with locked():
            first = threading.Thread(target=self.ask, args=["/on"])
            first.start()
            self.assertTrue(wait_for(lambda: pool.get_stats()["pool_available"] == 0))
            for path in "/on", "":
                response = self.ask(path)
                self.assertError(response, 429)
                self.assertEqual(response.headers["Retry-After"], "1")
            self.assertIn("ate limited", client.get_boolean_details("on", False).error_message)
        first.join()
        self.assertIs(self.ask("/on").json()["value"], True)
        self.assertTrue(wait_for(lambda: client.get_boolean_value("on", False)))

    def test_stop(self):
        """while the server is down: 503, at once; afterwards answers by itself"""
        self.serve()
        self.assertIs(self.ask("/on").json()["value"], True)
        with stopped():
            for path in "/on", "":
                response = self.ask(path)
                self.assertError(response, 503)
                self.assertEqual(response.headers["Retry-After"], "1")
                self.assertNotIn(os.environ["PGHOST"], response.text)
            began = time.monotonic()
            self.assertError(self.ask("/on"), 503)
            self.assertLess(time.monotonic() - began, 0.5)
        self.assertTrue(wait_for(lambda: self.ask("/on").status_code == 200))

    def test_privileges(self):
        """what is missing is in the log, and not in the answer"""
        self.serve(database="dbname=template1")
        with self.assertLogs("openfeature.contrib.provider.fflag.ofrep") as logs:
            response = self.ask("/on")
        self.assertError(response, 500, "GENERAL", "on")
        self.assertNotIn("fflag", response.text)
        self.assertIn("CREATE EXTENSION fflag", logs.output[0])


class Command(OfrepCase):
    def run_command(self, *arguments, folder="."):
        return subprocess.run([sys.executable, "-m", "openfeature.contrib.provider.fflag.ofrep", *arguments],
                              capture_output=True, text=True, cwd=folder, timeout=60)

    def test_refused(self):
        """the command does not start without the application's function"""
        with TemporaryDirectory() as folder:
            Path(folder, "shop.py").write_text("nothing = None\n")
            for arguments in (), ("nowhere:who",), ("shop",), ("shop:nothing",):
                command = self.run_command(*arguments, folder=folder)
                self.assertEqual(command.returncode, 2, command)
                self.assertIn("error:", command.stderr)
                self.assertNotIn("Traceback", command.stderr)

    def test_run(self):
        """the command, with the environment of libpq"""
        port = free_port()
        with TemporaryDirectory() as folder, open(Path(folder, "log"), "w+") as log:
            Path(folder, "shop.py").write_text(
                "from openfeature.contrib.provider.fflag.ofrep import servers\nwho = servers('sesame')\n")
            process = subprocess.Popen(
                [sys.executable, "-m", "openfeature.contrib.provider.fflag.ofrep", "shop:who", "--port", str(port), "--flag", "on", "--flag", "a/b"],
                stdout=log, stderr=log, cwd=folder, env=os.environ | {"PGDATABASE": "openfeature"})
            try:
                self.url = f"http://127.0.0.1:{port}"
                self.session = self.enterContext(requests.Session())
                self.session.headers["X-API-Key"] = KEY

                def answers():
                    try:
                        return self.ask().status_code
                    except requests.ConnectionError:
                        return False

                self.assertTrue(wait_for(answers), Path(folder, "log").read_text())
                self.assertEqual([flag["key"] for flag in self.ask().json()["flags"]], ["a/b", "on"])
            finally:
                process.terminate()
                process.wait()
