"""docs/openfeature.md, "Django": an app of a project has the provider, and each request is a batch."""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from common import DATABASE, Case, make_database, sql

PAGE = (Path(__file__).parents[2] / "docs" / "openfeature.md").read_text()

PROJECT = """
import json, os
import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import path
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

def view(request):
    client = api.get_client()
    user = EvaluationContext(request.GET["user"])
    first = client.get_boolean_value("listed", False, user)
    with connect() as connection:  # of another session, in the middle of the request
        connection.execute("SELECT fflag_disable('listed')")
    try:
        return JsonResponse([first, client.get_boolean_value("listed", False, user)], safe=False)
    finally:
        with connect() as connection:
            connection.execute("SELECT fflag_enable('listed')")

def connect():
    import psycopg
    return psycopg.connect(dbname=os.environ["DATABASE"])

urlpatterns = [path("", view)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], INSTALLED_APPS=["features"], MIDDLEWARE=["features.middleware.batch"],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["DATABASE"]}})
django.setup()
from django.test import Client
import time
until = time.monotonic() + 10
while api.get_client().get_provider_status().name != "READY" and time.monotonic() < until:
    time.sleep(0.05)
print(json.dumps([Client().get("/", {"user": user}).json() for user in ("42", "2", "42")]))
"""


class Django(Case):
    def test_page(self):
        """Django: the app and the middleware of the page; a request has the answers of one moment"""
        files = {re.match(r"# (\S+?)[,;]", block)[1]: block for block in re.findall(r"^```python\n(# features/.*?)^```$", PAGE, re.M | re.S)}
        self.assertEqual(sorted(files), ["features/apps.py", "features/middleware.py"])
        make_database()
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**files, "features/__init__.py": "", "project.py": PROJECT}.items():
                Path(folder, name).parent.mkdir(exist_ok=True)
                Path(folder, name).write_text(text)
            run = subprocess.run([sys.executable, "project.py"], cwd=folder, capture_output=True, text=True, timeout=60,
                                 env={**os.environ, "DATABASE": DATABASE, "PYTHONPATH": os.environ.get("PYTHONPATH", "")})
        self.assertEqual(run.stderr, "")
        self.assertEqual(json.loads(run.stdout), [[True, True], [False, False], [True, True]])
