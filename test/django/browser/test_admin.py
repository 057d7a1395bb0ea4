"""A person's way through the admin, in a real browser, and what fflag answers after
each step in sessions that were open all along.

Needs chromium and chromedriver, and a database of its own (the settings').  With
FFLAG_SCREENSHOTS=folder it leaves the two pictures of docs/ there.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import django
import psycopg
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from feature_flag_infra.django.models import FeatureFlag  # noqa: E402

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
FLAG = "new_checkout"
# their buckets under the flag: 72, 9, 18, 26
PEOPLE = {"alice": 2, "bob": 6, "carol": 8, "dave": 10}


def stop(process):
    """Ends a process that leads a group, and what is left of the group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class AdminTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # a signal unwinds too, so that nothing is left running
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)

        call_command("migrate", verbosity=0)
        User.objects.create_superuser("root", password="sesame", id=1)
        for name, number in PEOPLE.items():
            User.objects.create_user(name, id=number)
        FeatureFlag.objects.create(name="beta_search", staff_only=True, description="Search as you type")
        FeatureFlag.objects.create(name="dark_mode", enabled=True, rollout_percentage=100)
        FeatureFlag.objects.create(name=FLAG, description="One page instead of three")

        # one between transactions, with a prepared statement, and one that stays in a transaction
        cls.sessions = []
        for autocommit, threshold in ((True, 0), (False, None)):
            session = psycopg.connect(**connection.get_connection_params() | {
                "cursor_factory": psycopg.Cursor, "autocommit": autocommit, "prepare_threshold": threshold})
            cls.addClassCleanup(session.close)
            cls.sessions.append(session)
        cls.start_server()
        cls.start_browser()

    @classmethod
    def start_server(cls):
        port = free_port()
        cls.url = f"http://127.0.0.1:{port}"
        with open(os.path.join(cls.folder, "runserver.log"), "w+") as log:
            server = subprocess.Popen(
                [sys.executable, MANAGE, "runserver", "--noreload", f"127.0.0.1:{port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            cls.addClassCleanup(stop, server)
            for _ in range(300):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    return
                except ConnectionRefusedError:
                    if server.poll() is not None:
                        break
                    time.sleep(0.1)
            log.seek(0)
            raise RuntimeError(f"runserver does not answer: {log.read()}")

    @classmethod
    def start_browser(cls):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in (
                "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run",
                "disable-background-networking", "disable-component-update", "disable-sync",
                f"user-data-dir={cls.folder}/profile", "window-size=1200,800", "lang=en"):
            options.add_argument(f"--{argument}")
        service = webdriver.ChromeService(
            shutil.which("chromedriver"),
            env=os.environ | {"HOME": cls.folder},
            popen_kw={"start_new_session": True})
        cls.browser = webdriver.Chrome(options, service)
        cls.addClassCleanup(stop, service.process)
        cls.addClassCleanup(cls.browser.quit)

    # ---- what a person does

    def find(self, selector):
        """The element, once it is there to be clicked."""
        return WebDriverWait(self.browser, 20).until(
            lambda browser: next((e for e in browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()), None),
            f"nothing to see of {selector}")

    def type(self, selector, text):
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def open_flag(self):
        self.browser.get(f"{self.url}/admin/feature_flag_infra/featureflag/")
        self.browser.find_element(By.LINK_TEXT, FLAG).click()
        self.find("#id_rollout_percentage")

    def save(self):
        self.find("input[name=_save]").click()
        self.assertIn("successfully", self.find(".messagelist .success").text)

    def screenshot(self, name):
        if "FFLAG_SCREENSHOTS" in os.environ:
            self.browser.save_screenshot(os.path.join(os.environ["FFLAG_SCREENSHOTS"], name))

    # ---- what fflag says

    def assert_answers(self, expected):
        """Compares (enabled, rule) of root, who is staff, and of PEOPLE, in all sessions."""
        users = {"root": 1} | PEOPLE
        for session in self.sessions:
            answers = session.execute(
                """
                SELECT name, (fflag_enabled(%(flag)s, id, name = 'root'), rule)::text
                FROM unnest(%(names)s::text[], %(ids)s::bigint[]) AS u (name, id),
                    fflag_explain(%(flag)s, id, name = 'root')
                """, {"flag": FLAG, "names": list(users), "ids": list(users.values())}).fetchall()
            self.assertEqual(dict(answers), expected)

    def test_way_through(self):
        everybody = ["root", *PEOPLE]
        self.assert_answers(dict.fromkeys(everybody, "(f,disabled)"))

        self.browser.get(f"{self.url}/admin/")
        self.type("#id_username", "root")
        self.type("#id_password", "sesame")
        self.find("input[type=submit]").click()

        self.open_flag()
        self.find("#id_enabled").click()
        self.save()
        self.assert_answers(dict.fromkeys(everybody, "(f,no_rollout)"))

        self.open_flag()
        self.type("#id_rollout_percentage", "25")
        self.save()
        at_25 = dict.fromkeys(everybody, "(f,rollout)") | {"bob": "(t,rollout)", "carol": "(t,rollout)"}
        self.assert_answers(at_25)

        self.open_flag()
        self.find(".field-users .select2-selection").click()
        self.find(".select2-search__field").send_keys("alice")
        WebDriverWait(self.browser, 20).until(lambda _: self.find(".select2-results__option--highlighted").text == "alice")
        self.find(".select2-results__option--highlighted").click()
        self.screenshot("admin-flag.png")
        self.save()
        self.assert_answers(at_25 | {"alice": "(t,allowlist)"})

        self.browser.get(f"{self.url}/admin/feature_flag_infra/featureflag/")
        self.screenshot("admin-list.png")

        self.open_flag()
        self.find(".select2-selection__choice[title=alice] .select2-selection__choice__remove").click()
        self.save()
        self.assert_answers(at_25)

        self.open_flag()
        self.find(".deletelink").click()
        self.find("input[type=submit][value^=Yes]").click()
        self.find(".messagelist .success")
        self.assert_answers(dict.fromkeys(everybody, "(f,unknown_flag)"))


if __name__ == "__main__":
    unittest.main()
