from django.db import connection
from django.test import TestCase


class Scaffold(TestCase):
    def test_evaluates(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT fflag_enabled('no such flag', 42)")
            self.assertIs(cursor.fetchone()[0], False)
