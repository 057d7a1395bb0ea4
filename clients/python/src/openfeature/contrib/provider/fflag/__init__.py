"""OpenFeature provider for fflag, feature flags in PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, OpenFeatureError, ProviderFatalError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagType, FlagValueType
from openfeature.provider import AbstractProvider, Metadata

from ._batch import Answers, Names, find_scope, open_scope
from ._changes import Seen, look
from ._database import Database, Row, Subject
from ._resolve import check_key, check_subject, resolve

__all__ = ["FflagProvider", "Subject"]

Object = Sequence[FlagValueType] | Mapping[str, FlagValueType]


def subject_of(context: EvaluationContext) -> Subject:
    """The user of an evaluation context: the default of FflagProvider(subject=...)."""
    return Subject(context.targeting_key, context.attributes.get("is_staff") is True)


class FflagProvider(AbstractProvider):
    """Asks the database for each evaluation.  It caches nothing, so no answer is stale.

    conninfo: a connection string of libpq, for a pool of the provider's own; "" takes
    everything from the environment (PGHOST and so on).
    pool: instead of it, a psycopg_pool.ConnectionPool, or an AsyncConnectionPool, with which
    only the asynchronous methods of OpenFeature's client work.  The application opens and
    closes it.
    subject: says whom an evaluation context is about.
    poll: seconds between looks for changes of flags, of which OpenFeature's event
    PROVIDER_CONFIGURATION_CHANGED tells.  None: nobody looks, as nothing is cached.
    """

    def __init__(self, conninfo: str | None = None, *,
                 pool: ConnectionPool[Any] | AsyncConnectionPool[Any] | None = None,
                 subject: Callable[[EvaluationContext], Subject] = subject_of,
                 poll: float | None = None) -> None:
        super().__init__()
        if (conninfo is None) == (pool is None):
            raise TypeError("FflagProvider() takes a connection string or a pool")
        if pool is not None and not isinstance(pool, (ConnectionPool, AsyncConnectionPool)):
            raise TypeError("the pool is not one of psycopg_pool's")
        if poll is not None and (poll <= 0 or isinstance(pool, AsyncConnectionPool)):
            raise ValueError("poll takes seconds, and a pool that is not asynchronous")
        self._conninfo = conninfo
        self._subject = subject
        self._names = Names()
        self._initializing = False
        self._poll = poll
        self._seen = Seen()
        self._stop = threading.Event()
        self._stop.set()  # nobody looks yet
        self._database = Database(
            conninfo, pool, on_outage=self._tell_error, after_outage=self._tell_ready, in_child=self._begin_in_child)

    def get_metadata(self) -> Metadata:
        return Metadata(name="fflag")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Opens the pool, and asks once whether everything is there and granted."""
        if self._conninfo is not None:
            try:
                psycopg.conninfo.conninfo_to_dict(self._conninfo)
            except psycopg.Error:
                # the message might show a part of the password
                raise ProviderFatalError("the connection string is not one of libpq's") from None
        self._database.open()
        if self._database.is_async:
            return  # there may be no event loop yet
        self._initializing = True  # whatever comes of it, OpenFeature itself tells
        try:
            self._database.ask([], Subject(None))
            if self._poll is not None:
                self._look()
        except OpenFeatureError:
            self._database.troubled = True  # READY comes later
            raise
        finally:
            self._initializing = False
            self._start_polls()

    def shutdown(self) -> None:
        self._stop.set()
        pool = self._database.take_pool()
        if pool is not None:
            pool.close()

    def batch(self) -> AbstractContextManager[None]:
        """For a request: "with provider.batch(): ..." gives each user the flags of one moment.

        A user's first evaluation in it fetches all flags that recent batches have asked for.
        """
        return open_scope(self)

    def using(self, connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> AbstractContextManager[None]:
        """In "with provider.using(connection): ..." evaluations take part in that connection's transaction."""
        return open_scope(self, connection)

    def _tell_error(self, message: str) -> None:
        if not self._initializing:
            self.emit_provider_error(ProviderEventDetails(message=message, error_code=ErrorCode.GENERAL))

    def _tell_ready(self) -> None:
        if not self._initializing:
            self.emit_provider_ready(ProviderEventDetails())

    # -- changes --

    def _look(self) -> bool:
        self._seen, changed = self._database.do(lambda connection: look(connection, self._seen))
        return changed

    def _start_polls(self) -> None:
        self._stop.set()  # of an earlier thread
        if self._poll is not None:
            self._stop = threading.Event()
            threading.Thread(target=self._look_again, args=[self._stop, self._poll], daemon=True, name="fflag-poll").start()

    def _begin_in_child(self) -> None:
        self._names.make_lock()
        if self._conninfo is not None and not self._stop.is_set():
            self._start_polls()

    def _look_again(self, stop: threading.Event, seconds: float) -> None:
        while not stop.wait(seconds):
            try:
                changed = self._look()
            except OpenFeatureError:
                continue  # the next one finds what this one did not
            if changed and not stop.is_set():
                self.emit_provider_configuration_changed(ProviderEventDetails())

    # -- evaluation --

    def _begin(self, key: str, context: EvaluationContext | None) -> tuple[Subject, Answers | None, Any]:
        check_key(key)
        subject = check_subject(self._subject(context or EvaluationContext()))
        scope = find_scope(self)
        if scope is None:
            return subject, None, None
        return subject, None if scope.batch is None else scope.batch.of(subject), scope.connection

    def _wanted(self, key: str, answers: Answers) -> list[str]:
        return [key] if answers.rows else self._names.wanted(key)

    def _keep(self, key: str, answers: Answers, rows: list[Row]) -> Row:
        answers.rows.update((row.name, row) for row in rows)
        return answers.rows[key]

    def _find(self, key: str, context: EvaluationContext | None) -> Row:
        subject, answers, connection = self._begin(key, context)
        if answers is None:
            return self._database.ask([key], subject, connection)[0]
        with answers.lock:
            row = answers.rows.get(key)
            if row is None:
                rows = self._database.ask(self._wanted(key, answers), subject, connection)
                row = self._keep(key, answers, rows)
        self._names.note(row)
        return row

    async def _find_async(self, key: str, context: EvaluationContext | None) -> Row:
        subject, answers, connection = self._begin(key, context)
        if not (self._database.is_async if connection is None else isinstance(connection, psycopg.AsyncConnection)):
            # the thread gets a copy of the context, with the batch
            return await asyncio.to_thread(self._find, key, context)
        if answers is None:
            return (await self._database.ask_async([key], subject, connection))[0]
        async with answers.async_lock:
            row = answers.rows.get(key)
            if row is None:
                rows = await self._database.ask_async(self._wanted(key, answers), subject, connection)
                row = self._keep(key, answers, rows)
        self._names.note(row)
        return row

    # -- what OpenFeature calls --

    def resolve_boolean_details(
            self, flag_key: str, default_value: bool,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[bool]:
        return resolve(self._find(flag_key, evaluation_context), FlagType.BOOLEAN, default_value)

    def resolve_string_details(
            self, flag_key: str, default_value: str,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[str]:
        return resolve(self._find(flag_key, evaluation_context), FlagType.STRING, default_value)

    def resolve_integer_details(
            self, flag_key: str, default_value: int,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[int]:
        return resolve(self._find(flag_key, evaluation_context), FlagType.INTEGER, default_value)

    def resolve_float_details(
            self, flag_key: str, default_value: float,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[float]:
        return resolve(self._find(flag_key, evaluation_context), FlagType.FLOAT, default_value)

    def resolve_object_details(
            self, flag_key: str, default_value: Object,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[Object]:
        return resolve(self._find(flag_key, evaluation_context), FlagType.OBJECT, default_value)

    async def resolve_boolean_details_async(
            self, flag_key: str, default_value: bool,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[bool]:
        return resolve(await self._find_async(flag_key, evaluation_context), FlagType.BOOLEAN, default_value)

    async def resolve_string_details_async(
            self, flag_key: str, default_value: str,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[str]:
        return resolve(await self._find_async(flag_key, evaluation_context), FlagType.STRING, default_value)

    async def resolve_integer_details_async(
            self, flag_key: str, default_value: int,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[int]:
        return resolve(await self._find_async(flag_key, evaluation_context), FlagType.INTEGER, default_value)

    async def resolve_float_details_async(
            self, flag_key: str, default_value: float,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[float]:
        return resolve(await self._find_async(flag_key, evaluation_context), FlagType.FLOAT, default_value)

    async def resolve_object_details_async(
            self, flag_key: str, default_value: Object,
            evaluation_context: EvaluationContext | None = None) -> FlagResolutionDetails[Object]:
        return resolve(await self._find_async(flag_key, evaluation_context), FlagType.OBJECT, default_value)
