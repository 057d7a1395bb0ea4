"""Runs the tests of this folder and prints TAP, for test/run to count.

    python tap.py [module ...]
"""
import sys
import unittest
from pathlib import Path


class Result(unittest.TextTestResult):
    """Each test and each subtest is a line.  Errors are printed at the end, as unittest does."""

    count = 0

    def report(self, ok, test, directive=""):
        self.count += 1
        title = (test.shortDescription() or str(test)).encode("ascii", "backslashreplace").decode()
        print(f"{'ok' if ok else 'not ok'} {self.count} - {title.replace('#', '')}{directive}", flush=True)

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
        title = " ".join(str(value) for value in subtest.params.values())
        subtest.shortDescription = lambda: f"{test.shortDescription() or test}: {title}"
        self.report(err is None, subtest)


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(file.stem for file in Path(__file__).parent.glob("test_*.py"))
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    runner = unittest.TextTestRunner(sys.stderr, resultclass=Result, verbosity=0)
    sys.exit(not runner.run(suite).wasSuccessful())
