"""A person at a browser, and sessions that were open before.

With FFLAG_SCREENSHOTS=folder the pictures of docs/ are left there.
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
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

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
class PersonTest(TransactionTestCase):
    """Subclasses say where the list of flags is, in "flags", and what one flag is called, in "flag"."""

    maxDiff = None

    def setUp(self):
        # SIGTERM unwinds like Ctrl-C: nothing is left running
        self.addCleanup(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        for name, number in PEOPLE.items():
            User.objects.create_user(name, id=number, password="sesame" if name == "root" else None,
                                     is_staff=name == "root", is_superuser=name == "root")

    @contextmanager
    def at_browser(self):
        with (tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, open_sessions() as self.sessions,
              server(folder) as self.url, chromium(folder) as self.browser):
            yield

    def log_in(self):
        self.browser.get(f"{self.url}/admin/")
        self.type("#id_username", "root")
        self.type("#id_password", "sesame")
        self.find("input[type=submit]").click()
        self.find("#user-tools")

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
        self.browser.get(f"{self.url}/admin/{self.flags}/")

    def open_flag(self, name=None):
        self.open_list()
        self.browser.find_element(By.LINK_TEXT, name or self.flag).click()
        self.find("#id_rollout_percentage")

    def save(self):
        self.find("input[name=_save]").click()
        self.find(".messagelist .success")

    def screenshot(self, name, height):
        if "FFLAG_SCREENSHOTS" in os.environ:
            self.browser.set_window_size(1280, height)
            self.browser.save_screenshot(os.path.join(os.environ["FFLAG_SCREENSHOTS"], name))
