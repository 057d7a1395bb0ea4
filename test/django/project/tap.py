"""A test runner that prints TAP, for test/run to count."""
import sys
import unittest

from django.test.runner import DiscoverRunner


class Result(unittest.TextTestResult):
    """Errors are printed at the end, as unittest does."""

    def report(self, ok, test, directive=""):
        title = (test.shortDescription() or str(test)).replace("#", "")
        self.count = getattr(self, "count", 0) + 1
        print(f"{'ok' if ok else 'not ok'} {self.count} - {title}{directive}", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.report(True, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.report(True, test, f" # SKIP {reason}")

    def addError(self, test, err):
        super().addError(test, err)
        self.report(False, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(False, test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.report(False, subtest)


class Runner(DiscoverRunner):
    def __init__(self, **options):
        super().__init__(**{**options, "verbosity": 0, "interactive": False})

    def get_resultclass(self):
        return Result

    def log(self, msg, level=None):
        print(msg, file=sys.stderr)
