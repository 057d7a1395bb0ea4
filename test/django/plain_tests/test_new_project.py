"""A new project, made as docs/django.md says, command by command."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import snippets
from django.db import connection
from django.test import TransactionTestCase, tag

HERE = Path(__file__).resolve().parent
NAME = "regress_fflag_new_project"


@tag("once")
class NewProject(TransactionTestCase):
    def run_in(self, folder, script):
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PIP_NO_INDEX": "1",  # test/run has installed it
        }
        done = subprocess.run(["sh", "-ec", script], cwd=folder, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, f"{script}: {done.stdout}")
        return done.stdout

    def drop_databases(self):
        with connection.cursor() as cursor:
            for name in (NAME, f"test_{NAME}"):
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def test_new_project(self):
        """the page's commands and files make a project; its tests pass, the second time with --keepdb too"""
        self.drop_databases()
        self.addCleanup(self.drop_databases)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {NAME}")
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        make_apps, ask = snippets.blocks("django.md", "sh")
        [settings] = [block for block in snippets.blocks("django.md", "python") if block.startswith("# at the end of settings.py")]
        self.run_in(folder, f"django-admin startproject shop .; {make_apps}")
        with open(folder / "shop" / "settings.py", "a") as file:
            file.write(f'DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "{NAME}"}}}}\n{settings}')
        snippets.write(["django.md"], folder)
        shutil.copy(HERE / "new_project_pages.py", folder / "orders" / "test_pages.py")
        self.assertEqual(self.run_in(folder, ask).splitlines()[-1], "False")
        for run in range(2):
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_database WHERE datname = %s", [f"test_{NAME}"])
                self.assertEqual(cursor.fetchone()[0], run)
            output = self.run_in(folder, "python manage.py test --keepdb --noinput")
            self.assertRegex(output, r"Ran 8 tests in .*\n\nOK\n")
