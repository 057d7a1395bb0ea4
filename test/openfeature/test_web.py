"""OFREP from a browser: @openfeature/ofrep-web-provider in headless Chromium, on a page of another origin."""
import json
import os
import shutil
import threading
import time
import unittest
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from tempfile import TemporaryDirectory

from selenium import webdriver

from openfeature.contrib.provider.fflag.ofrep import HTTPException, ofrep, servers, users

from common import CONNINFO, scenarios, sql
from test_ofrep import served
from test_values import Table

PAGE = b"""<!doctype html><meta charset="utf-8"><title>flags</title>
<script type="importmap">{"imports": {
	"@openfeature/core": "/@openfeature/core/dist/esm/index.js",
	"@openfeature/web-sdk": "/@openfeature/web-sdk/dist/esm/index.js",
	"@openfeature/ofrep-core": "/@openfeature/ofrep-core/index.esm.js",
	"@openfeature/ofrep-web-provider": "/@openfeature/ofrep-web-provider/index.esm.js"}}</script>
<script type="module">
import { OpenFeature } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
window.OpenFeature = OpenFeature;
window.OFREPWebProvider = OFREPWebProvider;
</script>"""

ASK = """
const [json, baseUrl, key, done] = arguments;
const method = { boolean: 'Boolean', string: 'String', integer: 'Number', float: 'Number', object: 'Object' };
(async () => {
	await OpenFeature.setContext({});
	await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl, pollInterval: 0, cacheMode: 'disabled', headers: [['Authorization', `Bearer ${key}`]] }));
	const found = [];
	for (const { flag, context, type, default: value } of JSON.parse(json)) {
		await OpenFeature.setContext(context);
		found.push(OpenFeature.getClient()[`get${method[type]}Details`](flag, value));
	}
	await OpenFeature.clearProviders();
	return found;
})().then((found) => done(JSON.stringify({ found })), (error) => done(JSON.stringify({ error: `${error.stack ?? error}` })));
"""


class Pages(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@contextmanager
def pages():
    """Serves the page, and what npm has installed; gives its origin."""
    handler = partial(Pages, directory=os.environ["FFLAG_WEB_MODULES"])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for argument in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run",
                         "disable-background-networking", "disable-component-update", "disable-sync", f"user-data-dir={folder}/profile"):
            options.add_argument(f"--{argument}")
        service = webdriver.ChromeService(shutil.which("chromedriver"), env=os.environ | {"HOME": folder, "TMPDIR": folder})
        browser = webdriver.Chrome(options, service)
        try:
            yield browser
        finally:
            browser.quit()


class Details:
    """As Python's SDK has them."""

    def __init__(self, found):
        self.value, self.variant = found["value"], found.get("variant")
        self.reason, self.error_code = Word(found.get("reason")), found.get("errorCode") and Word(found["errorCode"])
        self.error_message, self.flag_metadata = found.get("errorMessage"), found.get("flagMetadata")


class Word(str):
    value = property(str)


@unittest.skipUnless(shutil.which("chromium") and shutil.which("chromedriver"), "no chromium and chromedriver")
@unittest.skipUnless("FFLAG_WEB_MODULES" in os.environ, os.environ.get("FFLAG_NO_WEB", "FFLAG_WEB_MODULES is not set"))
class Web(Table):
    def setUp(self):
        self.origin = self.enterContext(pages())
        self.browser = self.enterContext(chromium())
        self.browser.get(self.origin)
        self.browser.set_script_timeout(60)

    def run_script(self, script, *arguments):
        deadline = time.monotonic() + 20
        while not self.browser.execute_script("return 'OFREPWebProvider' in window"):
            self.assertLess(time.monotonic(), deadline, self.browser.get_log("browser"))
            time.sleep(0.05)
        return self.browser.execute_async_script(script, *arguments)

    def ask(self, questions, url, key="sesame"):
        # as text, because the driver takes no halves of characters
        outcome = json.loads(self.run_script(ASK, json.dumps(questions), url, key))
        self.assertNotIn("error", outcome)
        return [Details(found) for found in outcome["found"]]

    def test_table(self):
        """the table of values"""
        table = list(scenarios("ofrep", "ofrep-web"))
        with served(ofrep(CONNINFO, servers("sesame"), origins=[self.origin])) as url:
            answers = self.ask(table, url)
        self.assertEqual(len(answers), len(table))
        for scenario, details in zip(table, answers):
            with self.subTest(what=scenario["what"], type=scenario["type"]):
                # JavaScript has one kind of number
                details.value, scenario["value"] = json.loads(json.dumps([details.value, scenario["value"]]), parse_float=number)
                self.compare(scenario, details)

    def test_users(self):
        """a browser asks for its own user; polls, and sees a change"""
        def user_of(request):
            if request.headers.get("Authorization") != "Bearer sesame":
                raise HTTPException(401)
            return "42"

        statuses = []

        async def app(scope, receive, send):
            async def watch(message):
                if message["type"] == "http.response.start" and scope["method"] == "POST":
                    statuses.append(message["status"])
                await send(message)

            await inner(scope, receive, watch)

        inner = ofrep(CONNINFO, users(user_of), flags=["listed", "web"], origins=[self.origin])
        sql("SELECT fflag_register('web', true, 0)")
        with served(app) as url:
            [listed, hidden] = self.ask([{"flag": "listed", "context": {"targetingKey": "42", "is_staff": True}, "type": "boolean", "default": False},
                                         {"flag": "on", "context": {"targetingKey": "42"}, "type": "boolean", "default": False}], url)
            self.assertEqual((listed.value, listed.variant), (True, "on"))
            self.assertEqual((hidden.value, hidden.error_code), (False, "FLAG_NOT_FOUND"))
            self.assertNotIn("rule", listed.flag_metadata or {})
            self.assertIn("error", self.run_script(ASK, "[]", url, "wrong"))
            statuses.clear()
            self.run_script("""
                const [baseUrl, done] = arguments;
                window.seen = [];
                OpenFeature.addHandler('PROVIDER_CONFIGURATION_CHANGED', ({ flagsChanged }) => { window.seen.push(...flagsChanged); });
                OpenFeature.setContext({ targetingKey: '42' })
                    .then(() => OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl, pollInterval: 200, headers: [['Authorization', 'Bearer sesame']] })))
                    .then(() => done(), (error) => done(`${error}`));""", url)
            deadline = time.monotonic() + 20
            while 304 not in statuses:
                self.assertLess(time.monotonic(), deadline, statuses)
                time.sleep(0.05)
            variant = "return OpenFeature.getClient().getBooleanDetails('web', false).variant"
            self.assertEqual(self.browser.execute_script(variant), "off")
            sql("UPDATE feature_flag SET rollout_percentage = 100 WHERE name = 'web'")
            while self.browser.execute_script(variant) != "on":
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            self.assertIn("web", self.browser.execute_script("return window.seen"))


def number(text):
    return int(float(text)) if float(text).is_integer() else float(text)
