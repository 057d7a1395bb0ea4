"""Asks the database, and says what it means if there is no answer.

Three kinds of failure are told apart, because the wrong one serves the defaults of the
code where the database had an answer:

- the connection was lost: another one is tried, once;
- the database is down: for a second nobody asks, then one evaluation tries;
- the statement failed, or no connection was free: only this evaluation fails.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from openfeature.exception import GeneralError, ProviderNotReadyError

# payload as text: a pool of the application's may have a JSON parser of its own, and one
# payload that cannot be read must not fail the other flags of a batch
QUERY = """SELECT name, enabled, variant, payload::text, variants, rule, reason, bucket, because
FROM fflag_evaluate(%s::text[], %s::text, %s)"""

# what a pool of ours is made of
POOL: dict[str, Any] = {
    "min_size": 1,
    "max_size": 10,
    "timeout": 2.0,
    # the pool gives up soon, and the next evaluation that tries makes it begin anew;
    # otherwise it would try ever more rarely, and know minutes later that the database is back
    "reconnect_timeout": 2.0,
}
CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,  # prepared statements fail behind pgbouncer in transaction mode
    "client_encoding": "utf8",
    "fallback_application_name": "openfeature",
}

Result = TypeVar("Result")

PAUSE = 1.0  # seconds for which nobody asks a database that is down


class Subject(NamedTuple):
    """Whom a flag is evaluated for."""

    user_id: str | None
    is_staff: bool = False


class Row(NamedTuple):
    """A row of fflag_evaluate()."""

    name: str
    enabled: bool
    variant: str | None
    payload: str | None
    variants: int
    rule: str
    reason: str
    bucket: int | None
    because: str | None


class UnavailableError(GeneralError):
    """The database is down."""


class BusyError(GeneralError):
    """No connection of the pool was free in time."""


HINTS = {
    "42883": "Create the extension in this database: CREATE EXTENSION fflag. If it is there, in another"
    " schema, put that into the role's search_path and grant USAGE on it.",
    "42501": "Run: GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO the role that connects.",
    "25P02": "The provider was given the connection of a transaction that has failed; roll that back.",
    "26000": "Behind pgbouncer, connect with prepare_threshold=None.",
    "42P05": "Behind pgbouncer, connect with prepare_threshold=None.",
    "57014": "statement_timeout is shorter than the evaluation, or somebody cancelled it.",
}


def describe(error: psycopg.Error) -> str:
    """The error in a line, with what to do about it."""
    text = " ".join((error.diag.message_primary or str(error)).split())
    hint = HINTS.get(error.sqlstate or "")
    if error.sqlstate == "42501" and "feature_flag_change" in text:
        hint = "To poll, the role that connects needs GRANT SELECT ON feature_flag_change."
    return f"{text}. {hint}" if hint else text


def is_lost(error: psycopg.Error) -> bool:
    """Whether the error is one of the connection, and not of the statement."""
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate.startswith(("08", "57P")))


def run(connection: psycopg.Connection[Any], names: list[str] | None, subject: Subject) -> list[Row]:
    # not connection.cursor(), which the application may have made something else
    with psycopg.Cursor(connection, row_factory=args_row(Row)) as cursor, readable():
        return cursor.execute(QUERY, (names, *subject)).fetchall()


async def run_async(connection: psycopg.AsyncConnection[Any], names: list[str] | None, subject: Subject) -> list[Row]:
    async with psycopg.AsyncCursor(connection, row_factory=args_row(Row)) as cursor:
        with readable():
            await cursor.execute(QUERY, (names, *subject))
            return await cursor.fetchall()


@contextmanager
def readable() -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        raise GeneralError(f"the connection needs client_encoding=UTF8: {error}") from error


@contextmanager
def failing_alone() -> Iterator[None]:
    """An error of the application's own connection says nothing about others."""
    try:
        yield
    except psycopg.Error as error:
        raise GeneralError(describe(error)) from error


class Database:
    """Evaluates flags by a pool, which is the application's, or is made of conninfo.

    Used by many threads, or many tasks.  on_outage and after_outage are called outside of any
    lock, in the order of what happened.
    """

    def __init__(self, conninfo: str | None, pool: ConnectionPool[Any] | AsyncConnectionPool[Any] | None, *,
                 on_outage: Callable[[str], None] = lambda message: None,
                 after_outage: Callable[[], None] = lambda: None,
                 in_child: Callable[[], None] = lambda: None) -> None:
        self._conninfo = conninfo
        self._pool: Any = pool
        self.is_async = isinstance(pool, AsyncConnectionPool)
        self._on_outage, self._after_outage, self._in_child = on_outage, after_outage, in_child
        self._is_open = conninfo is None
        self._events: deque[Callable[[], None]] = deque()
        self._emitting = False
        self._retry_at: float | None = None  # None: nothing says that it is down
        self.troubled = False  # OpenFeature has been told ERROR, and is owed READY
        self._errors = 0  # of connecting, when a connection was last waited for in vain
        self._answered_at = 0.0
        self._lock = threading.Lock()
        _databases.add(self)

    # -- a pool of our own --

    def open(self) -> None:
        """Opens the pool of conninfo, which connects in the background."""
        with self._lock:
            self._is_open = True
            if self._pool is None and self._conninfo is not None:
                self._pool = ConnectionPool(self._conninfo, kwargs=CONNECTION, open=True, **POOL)

    def take_pool(self) -> Any:
        """The pool that close() is to close: none if it is the application's."""
        if self._conninfo is None:
            return None
        with self._lock:
            pool, self._pool, self._is_open = self._pool, None, False
        return pool

    def after_fork(self) -> None:
        """The child gets a pool of its own: threads, connections and held locks are the parent's."""
        if self._conninfo is not None:
            _of_parents.append(self._pool)
            self._pool = None
        self._lock = threading.Lock()
        self._events.clear()
        self._emitting = False
        self._in_child()

    # -- asking --

    def ask(self, names: list[str] | None, subject: Subject, given: Any = None) -> list[Row]:
        """A row for each name, in their order; for all flags if names is None.

        given: a connection to ask by, instead of the pool.
        """
        if given is not None:
            with failing_alone():
                return run(given, names, subject)
        if self.is_async:
            raise GeneralError("the provider's pool is an AsyncConnectionPool: use the methods that end in _async")
        return self.do(lambda connection: run(connection, names, subject))

    def do(self, work: Callable[[psycopg.Connection[Any]], Result]) -> Result:
        """Does something by a connection of the pool; twice, if the first one was lost."""
        pool = self._admit()
        began, retry = time.monotonic(), True
        while True:
            try:
                with pool.connection() as connection:
                    result = work(connection)
            except psycopg.Error as error:
                self._judge(error, pool, began, retry)
                retry = False
                pool.check()  # drops others that were lost; once for each, as it is gone then
            else:
                self._note_answer(pool)
                return result

    async def ask_async(self, names: list[str] | None, subject: Subject, given: Any = None) -> list[Row]:
        """The same by an AsyncConnectionPool, or an AsyncConnection."""
        if given is not None:
            with failing_alone():
                return await run_async(given, names, subject)
        pool = self._admit()
        began, retry = time.monotonic(), True
        while True:
            try:
                async with pool.connection() as connection:
                    rows = await run_async(connection, names, subject)
            except psycopg.Error as error:
                self._judge(error, pool, began, retry)
                retry = False
                await pool.check()
            else:
                self._note_answer(pool)
                return rows

    def _admit(self) -> Any:
        """Gives the pool, unless the database was down a moment ago."""
        if not self._is_open:
            raise ProviderNotReadyError("the provider has not been initialized, or has been shut down")
        pool = self._pool
        if pool is None:  # of a child process
            self.open()
            pool = self._pool
        if self._retry_at is not None:
            with self._lock:
                if self._retry_at is not None:
                    now = time.monotonic()
                    if now < self._retry_at:
                        raise UnavailableError("the database did not answer a moment ago")
                    self._retry_at = now + PAUSE  # one tries; the others do not wait for it
        return pool

    def _judge(self, error: psycopg.Error, pool: Any, began: float, retry: bool) -> None:
        """Returns if another connection is worth a try; raises what OpenFeature is to be told."""
        message = describe(error)
        if isinstance(error, PoolClosed):
            raise GeneralError(message) from error
        if isinstance(error, (PoolTimeout, TooManyRequests)):
            # Out of connections because others use them, or because none can be made?
            errors = pool.get_stats().get("connections_errors", 0)
            down = not retry or self._retry_at is not None or errors > self._errors
            self._errors = errors
            if not down or self._answered_at > began:
                raise BusyError(f"no connection was free: {message}") from error
            message = f"no connection could be made, the log of psycopg.pool says why: {message}"
        elif not is_lost(error):
            self._retry_at = None  # it is there, and says no
            raise GeneralError(message) from error
        elif retry:
            return
        with self._lock:
            self._retry_at = time.monotonic() + PAUSE
            if not self.troubled:
                self.troubled = True
                self._events.append(lambda: self._on_outage(message))
        self._emit()
        raise UnavailableError(message) from error

    def _note_answer(self, pool: Any) -> None:
        self._answered_at = time.monotonic()
        if not self.troubled:
            return
        with self._lock:
            if not self.troubled:
                return
            self.troubled, self._retry_at = False, None
            self._errors = pool.get_stats().get("connections_errors", 0)
            self._events.append(self._after_outage)
        self._emit()

    def _emit(self) -> None:
        """Emits what has happened, one thread at a time: READY must not overtake ERROR."""
        while True:
            with self._lock:
                if self._emitting or not self._events:
                    return
                self._emitting, event = True, self._events.popleft()
            try:
                event()
            finally:
                self._emitting = False


_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_of_parents: list[Any] = []  # never finalized: their locks may be held by threads that are not here


def _after_fork() -> None:
    for database in list(_databases):
        database.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
