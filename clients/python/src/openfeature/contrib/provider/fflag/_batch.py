"""What holds for a part of the application: a batch, or a connection of its own.

In a batch, one statement fetches the flags that earlier batches have asked for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ._database import Row, Subject

MAX_NAMES = 1000  # that one statement fetches
MAX_USERS = 1000  # whose answers a batch keeps
FORGET = 100  # batches after which a name that none has asked for is not fetched any more
MAX_AGE = 10.0  # seconds for which a batch keeps an answer, should it be left open


class Names:
    """The flags that recent batches have asked for."""

    def __init__(self) -> None:
        self._batches: dict[str, int] = {}  # the last that asked for it; the latest at the end
        self._batch = 0
        self.make_lock()

    def make_lock(self) -> None:
        """For a child process, too: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    def wanted(self, key: str) -> list[str]:
        """What to fetch when a batch first asks for something, which is key."""
        with self._lock:
            self._batch += 1
            names = [name for name, batch in self._batches.items() if batch > self._batch - FORGET]
            if len(names) < len(self._batches):
                self._batches = {name: self._batches[name] for name in names}
        return names if key in names else [*names, key]

    def note(self, row: Row) -> None:
        """A batch has asked for this."""
        if row.rule == "unknown_flag":
            return
        with self._lock:
            self._batches.pop(row.name, None)
            self._batches[row.name] = self._batch
            if len(self._batches) > MAX_NAMES:
                del self._batches[next(iter(self._batches))]


class Answers:
    """One user's, in one batch.  Whoever fetches holds a lock, so that others find what came."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.until = time.monotonic() + MAX_AGE
        self.lock = threading.Lock()
        self.async_lock = asyncio.Lock()


class Batch:
    """The answers of a batch, by user."""

    def __init__(self) -> None:
        self._users: dict[Subject, Answers] = {}
        self._lock = threading.Lock()

    def of(self, subject: Subject) -> Answers:
        with self._lock:
            answers = self._users.get(subject)
            if answers is None or answers.until < time.monotonic():
                answers = self._users[subject] = Answers()
                if len(self._users) > MAX_USERS:
                    del self._users[next(iter(self._users))]
            return answers


@dataclass(eq=False)
class Scope:
    """A "with" block of a provider's, and those around it."""

    provider: object
    batch: Batch | None
    connection: Any
    outer: Scope | None
    is_open: bool = True


# One for all providers, because a context variable is never freed.
_innermost: ContextVar[Scope | None] = ContextVar("openfeature.contrib.provider.fflag", default=None)


def find_scope(provider: object) -> Scope | None:
    """The innermost open block of this provider in the current context.

    Tasks and threads that were started in a block have its context, and may outlive it.
    """
    scope = _innermost.get()
    while scope is not None and not (scope.is_open and scope.provider is provider):
        scope = scope.outer
    return scope


@contextmanager
def open_scope(provider: object, connection: Any = None) -> Iterator[None]:
    """A block that asks by this connection; without one, a batch, by the connection of the block around it."""
    if connection is not None:
        scope = Scope(provider, None, connection, _innermost.get())
    else:
        around = find_scope(provider)
        scope = Scope(provider, Batch(), around and around.connection, _innermost.get())
    token = _innermost.set(scope)
    try:
        yield
    finally:
        scope.is_open = False
        try:
            _innermost.reset(token)
        except ValueError:
            pass  # a generator may end in another context than it began in
