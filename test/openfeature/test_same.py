"""The same user gets the same answer, whoever asks: SQL, Django, Python, Node, OFREP."""
import json
import os
import random
import subprocess
import unittest

import psycopg
import requests
from openfeature.evaluation_context import EvaluationContext

from openfeature.contrib.provider.fflag.ofrep import servers

from common import CONNINFO, DATABASE, Case, sql
from test_ofrep import KEY, PATH, ofrep, served

QUESTIONS = int(os.environ.get("FFLAG_OPENFEATURE_QUESTIONS", 10000))
SEED = int(os.environ.get("FFLAG_OPENFEATURE_SEED", 0)) or random.randrange(10**9)


def make_flags(random):
    """Forty flags of all kinds; the lists have some of the users."""
    sql("SELECT setseed(0.5)")
    flags = [f"same {number}" for number in range(40)]
    with psycopg.connect(CONNINFO, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        for flag in flags:
            connection.execute(
                "INSERT INTO feature_flag (name, enabled, rollout_percentage, staff_only, seed) VALUES (%s, %s, %s, %s, %s)",
                [flag, random.random() < 0.9, random.choice([0, 100, 50, 12.345, 99.999]), random.random() < 0.1, random.choice([None, "seed"])])
            if random.random() < 0.4:
                connection.execute("SELECT fflag_allow(%s, VARIADIC %s::text[])", [flag, random.sample(USERS, 20)])
            if random.random() < 0.4:
                connection.execute("SELECT fflag_deny(%s, VARIADIC %s::text[])", [flag, random.sample(USERS, 20)])
            if random.random() < 0.4:
                connection.execute("SELECT fflag_variants(%s, '{\"a\": 1, \"b\": 2}')", [flag])
        for flag, other in zip(flags, flags[1:]):
            relate = random.choice(["require", "exclude", "include", None, None])
            if relate:
                connection.execute(f"SELECT fflag_{relate}(%s, %s)", [flag, other])
    return flags


USERS = [*map(str, range(100)), "007", "-7", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "zoë@example.com", "🦔", " ", "A", "a", "NULL", "true",
         "9223372036854775807", "{1,2}", "o'hara", 'quote "', "back\\slash", "%s", "\n", "x" * 200]


class Same(Case):
    def test_same(self):
        chance = random.Random(SEED)
        flags = make_flags(chance)
        questions = [(chance.choice(flags), chance.choice([*USERS, None]), chance.random() < 0.3) for _ in range(QUESTIONS)]
        expected = [enabled for enabled, in sql(
            """SELECT fflag_enabled(flag, "user", staff) FROM unnest(%s::text[], %s::text[], %s::boolean[])
            WITH ORDINALITY AS question (flag, "user", staff, n) ORDER BY n""", *map(list, zip(*questions)))]
        self.assertEqual(set(expected), {True, False})
        for title, ask in [("Django", self.ask_django), ("Python", self.ask_python), ("Python, in batches", self.ask_batches),
                           ("Node", self.ask_node), ("OFREP", self.ask_ofrep)]:
            with self.subTest(title=title, questions=f"{QUESTIONS} questions, FFLAG_OPENFEATURE_SEED={SEED}"):
                answers = ask(questions)
                self.assertEqual(len(answers), len(expected))
                different = [question for question, answer, wanted in zip(questions, answers, expected) if answer is not wanted]
                self.assertEqual(different[:5], [], f"{len(different)} different")

    test_same.__doc__ = __doc__

    def ask_django(self, questions):
        import django  # here, because the loader of tests would look into its settings
        from django.conf import settings

        if not settings.configured:
            settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": DATABASE}})
            django.setup()
        from django.db import connection

        with connection.cursor() as cursor:
            answers = []
            for question in questions:
                cursor.execute("SELECT fflag_enabled(%s, %s, %s)", question)
                answers.append(cursor.fetchone()[0])
        connection.close()
        return answers

    def ask_python(self, questions):
        _, client = self.provide()
        return [client.get_boolean_value(flag, None, EvaluationContext(user, {"is_staff": staff})) for flag, user, staff in questions]

    def ask_batches(self, questions):
        provider, client = self.provide()
        answers = []
        for number in range(0, len(questions), 100):
            with provider.batch():
                for flag, user, staff in questions[number:number + 100]:
                    answers.append(client.get_boolean_value(flag, None, EvaluationContext(user, {"is_staff": staff})))
        return answers

    def ask_node(self, questions):
        if "FFLAG_ANSWERS" not in os.environ:
            raise unittest.SkipTest(os.environ.get("FFLAG_NO_NODE", "FFLAG_ANSWERS is not set"))
        lines = "".join(json.dumps({"flag": flag, "user": user, "staff": staff}) + "\n" for flag, user, staff in questions)
        node = subprocess.run(["node", os.environ["FFLAG_ANSWERS"]], input=lines, env=os.environ | {"PGDATABASE": DATABASE},
                              capture_output=True, text=True, encoding="utf-8", timeout=120)
        self.assertEqual((node.returncode, node.stderr), (0, ""))
        return [json.loads(line)["enabled"] for line in node.stdout.splitlines()]

    def ask_ofrep(self, questions):
        """In bulk, for each user and is_staff.  Of a flag with variants: whoever has one has the flag."""
        bulk = {}
        with served(ofrep(CONNINFO, servers(KEY))) as url, requests.Session() as session:
            session.headers["X-API-Key"] = KEY
            for _, user, staff in questions:
                if (user, staff) not in bulk:
                    context = {"is_staff": staff} | ({} if user is None else {"targetingKey": user})
                    flags = session.post(url + PATH, json={"context": context}, timeout=30).json()["flags"]
                    bulk[user, staff] = {flag["key"]: flag for flag in flags}
        answers = []
        for flag, user, staff in questions:
            found = bulk[user, staff][flag]
            value = found.get("value")
            # who gets the flag but none of two variants is nobody: the reason tells
            answers.append(value if isinstance(value, bool) else found["variant"] != "" or
                           (user is None and found["reason"] == "DEFAULT" and found["metadata"]["rule"] not in ("no_rollout", "no_user")))
        return answers
