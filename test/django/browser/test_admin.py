"""A person's way through the admin in a real browser.

With FFLAG_SCREENSHOTS=folder the two pictures of docs/ are left there.
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
from contextlib import closing, contextmanager, suppress

import psycopg
from django.contrib.auth.models import User
from django.db import connection
from django.test import TransactionTestCase
from feature_flag_infra.django.models import FeatureFlag
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

FLAG = "new_checkout"
# root's bucket under the flag is 30, theirs are 72, 9, 18 and 26
PEOPLE = {"root": 1, "alice": 2, "bob": 6, "carol": 8, "dave": 10}


def stop(process):
    """Ends the leader of a process group, and whatever is left of the group."""
    for number in signal.SIGTERM, signal.SIGKILL:
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


@contextmanager
def server(folder):
    """Runs runserver, over the tests' database; gives its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with open(f"{folder}/runserver.log", "w+") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
            env=os.environ | {"PGDATABASE": connection.settings_dict["NAME"]},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            for _ in range(300):
                with suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.1)
            else:
                log.seek(0)
                raise RuntimeError(f"runserver does not answer: {log.read()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            stop(process)


@contextmanager
def chromium(folder):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
            "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run",
            "disable-background-networking", "disable-component-update", "disable-sync",
            f"user-data-dir={folder}/profile", "window-size=1280,990", "lang=en"):
        options.add_argument(f"--{argument}")
    service = webdriver.ChromeService(
        shutil.which("chromedriver"), env=os.environ | {"HOME": folder, "TMPDIR": folder},
        popen_kw={"start_new_session": True})
    try:
        browser = webdriver.Chrome(options, service)
        yield browser
        browser.quit()
    finally:
        if service.process is not None:
            stop(service.process)


@contextmanager
def open_sessions():
    """One that is between transactions and prepares its statement, one that stays in a transaction."""
    parameters = connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}
    with (closing(psycopg.connect(**parameters | {"autocommit": True, "prepare_threshold": 0})) as between,
          closing(psycopg.connect(**parameters | {"autocommit": False})) as within):
        yield between, within


@unittest.skipUnless(shutil.which("chromium") and shutil.which("chromedriver"), "no chromium and chromedriver")
class AdminTest(TransactionTestCase):
    maxDiff = None

    def setUp(self):
        # SIGTERM unwinds like Ctrl-C: nothing is left running
        self.addCleanup(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        for name, number in PEOPLE.items():
            User.objects.create_user(name, id=number, password="sesame" if name == "root" else None,
                                     is_staff=name == "root", is_superuser=name == "root")
        FeatureFlag.objects.create(name="beta_search", staff_only=True, description="Search as you type")
        FeatureFlag.objects.create(name="dark_mode", enabled=True, rollout_percentage=100)
        FeatureFlag.objects.create(name=FLAG, description="One page instead of three")

    def test_way_through(self):
        """Each save in the admin is seen by the next statement of sessions that were open all along."""
        with (tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, open_sessions() as self.sessions,
              server(folder) as self.url, chromium(folder) as self.browser):
            self.way_through()

    def way_through(self):
        self.assert_answers(dict.fromkeys(PEOPLE, "(f,disabled)"))

        self.browser.get(f"{self.url}/admin/")
        self.type("#id_username", "root")
        self.type("#id_password", "sesame")
        self.find("input[type=submit]").click()
        self.find("#user-tools")

        self.open_flag()
        self.find("#id_enabled").click()
        self.save()
        self.assert_answers(dict.fromkeys(PEOPLE, "(f,no_rollout)"))

        self.open_flag()
        self.type("#id_rollout_percentage", "25")
        self.save()
        at_25 = dict.fromkeys(PEOPLE, "(f,rollout)") | {"bob": "(t,rollout)", "carol": "(t,rollout)"}
        self.assert_answers(at_25)

        self.open_flag()
        self.find(".field-users .select2-selection").click()
        self.find(".select2-search__field").send_keys("alice")
        self.wait(lambda: (option := self.find(".select2-results__option--highlighted")).text == "alice" and option).click()
        self.save()
        self.assert_answers(at_25 | {"alice": "(t,allowlist)"})

        # by SQL
        self.sessions[0].execute(
            "UPDATE feature_flag_infra_featureflag SET description = 'Three pages in one' WHERE name = %s", [FLAG])
        self.open_flag()
        self.assert_history([
            ("", "flag updated", "description: One page instead of three → Three pages in one"),
            ("root", "user listed", str(PEOPLE["alice"])),
            ("root", "flag updated", "rollout_percentage: 0 → 25"),
            ("root", "flag updated", "enabled: False → True"),
        ])

        self.open_list()
        self.screenshot("admin-list.png", 790)
        self.open_flag()
        self.screenshot("admin-flag.png", 1300)
        self.find(".select2-selection__choice[title=alice] .select2-selection__choice__remove").click()
        self.find(".select2-search__field").send_keys(Keys.ESCAPE)  # closes the list of users, it may cover what follows
        self.save()
        self.assert_answers(at_25)

        self.open_flag()
        self.find(".deletelink").click()
        self.find("input[type=submit][value^=Yes]").click()
        self.find(".messagelist .success")
        self.assert_answers(dict.fromkeys(PEOPLE, "(f,unknown_flag)"))

    # ---- what fflag says

    def assert_answers(self, expected):
        """Compares everybody's answer and the rule that decided, in all sessions."""
        for session in self.sessions:
            # from no table: to lock one lets messages of changes in
            answers = session.execute(
                """
                SELECT name, (fflag_enabled(%(flag)s, id, name = 'root'), rule)::text
                FROM unnest(%(names)s::text[], %(ids)s::bigint[]) AS u (name, id),
                    fflag_explain(%(flag)s, id, name = 'root')
                """, {"flag": FLAG, "names": [*PEOPLE], "ids": [*PEOPLE.values()]}).fetchall()
            self.assertEqual(dict(answers), expected)

    def assert_history(self, expected):
        """Compares who did what since the flag was created, newest first; there is nothing to click or type."""
        field = self.find(".field-changes")
        rows = [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
                for row in field.find_elements(By.CSS_SELECTOR, "tr:has(td)")]
        *changes, created = [(actor, what, about) for _, actor, _, what, about in rows]
        self.assertEqual(changes, expected)
        self.assertEqual(created[:2], ("", "flag created"))
        self.assertEqual({role for _, _, role, _, _ in rows}, {os.environ["PGUSER"]})
        self.assertEqual(field.find_elements(By.CSS_SELECTOR, "input, textarea, select, a"), [])

    # ---- what a person does

    def wait(self, condition):
        return WebDriverWait(self.browser, 20, ignored_exceptions=[StaleElementReferenceException]).until(
            lambda _: condition(), f"at {self.browser.current_url}")

    def find(self, selector):
        """The first element that is to be seen, once there is one."""
        return self.wait(lambda: next(
            (e for e in self.browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()), None))

    def type(self, selector, text):
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def open_list(self):
        self.browser.get(f"{self.url}/admin/feature_flag_infra/featureflag/")

    def open_flag(self):
        self.open_list()
        self.browser.find_element(By.LINK_TEXT, FLAG).click()
        self.find("#id_rollout_percentage")

    def save(self):
        self.find("input[name=_save]").click()
        self.find(".messagelist .success")

    def screenshot(self, name, height):
        if "FFLAG_SCREENSHOTS" in os.environ:
            self.browser.set_window_size(1280, height)
            self.browser.save_screenshot(os.path.join(os.environ["FFLAG_SCREENSHOTS"], name))
