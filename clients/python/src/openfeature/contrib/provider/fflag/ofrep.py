"""An OFREP server over fflag, for clients that cannot ask the database.

    python -m openfeature.contrib.provider.fflag.ofrep application:who

"who" is the application's: it says on whose behalf a request asks.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import importlib
import inspect
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openfeature.exception import ErrorCode, OpenFeatureError

from ._database import CONNECTION, POOL, BusyError, Database, Row, Subject, UnavailableError
from ._resolve import NOTHING, check_key, check_subject, resolve

__all__ = ["HTTPException", "Request", "Subject", "Who", "ofrep", "servers", "users"]

# The context of a request is what its body says.  Raises HTTPException(401) or (403).
Who = Callable[[Request, Mapping[str, Any]], Subject | Awaitable[Subject]]

MAX_BODY = 65536
PREFIX = "/ofrep/v1/evaluate/flags"

logger = logging.getLogger(__name__)


def servers(*keys: str) -> Who:
    """For servers, which know one of these keys and may ask for anybody.

    They send it as OpenFeature's clients do: "Authorization: Bearer KEY", or "X-API-Key: KEY".
    """
    known = [key.encode() for key in keys]
    if not known or not all(known):
        raise ValueError("servers() takes keys, none of them empty")

    def who(request: Request, context: Mapping[str, Any]) -> Subject:
        key = request.headers.get("X-API-Key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        # each is compared, so that the time says nothing
        if not any([hmac.compare_digest(key.encode(), each) for each in known]):
            raise HTTPException(401)
        return Subject(context.get("targetingKey"), context.get("is_staff") is True)

    return who


def users(user_of: Callable[[Request], str | None | Awaitable[str | None]]) -> Who:
    """For browsers and phones, which ask for their own user, whom user_of() finds in a token that it verifies.

    Their is_staff is not believed, and another targetingKey is refused.
    """

    async def who(request: Request, context: Mapping[str, Any]) -> Subject:
        user = user_of(request)
        if inspect.isawaitable(user):
            user = await user
        if context.get("targetingKey") not in (None, user):
            raise HTTPException(403, "the targetingKey is another user's")
        return Subject(user)

    return who


def ofrep(database: str | AsyncConnectionPool[Any], who: Who, *, flags: Collection[str] | None = None,
          origins: Collection[str] = ()) -> Starlette:
    """The ASGI application.

    database: a connection string, or a pool that the application opens and closes.
    who: says on whose behalf a request asks.
    flags: those that may be asked for, for clients that are not to see the others, nor the
    rules.  None: all flags; in bulk, all but internal ones.
    origins: those whose pages may ask (CORS).
    """
    if not callable(who):
        raise TypeError("who may ask is a function of the application's: servers(), users() or another one")
    if isinstance(flags, str) or isinstance(origins, str):
        raise TypeError("flags and origins are lists")
    own = isinstance(database, str)
    pool = AsyncConnectionPool(database, kwargs=CONNECTION, open=False, **POOL) if isinstance(database, str) else database
    db = Database(
        None, pool, on_outage=lambda message: logger.error("%s", message),
        after_outage=lambda: logger.warning("the database answers again"))
    names = None if flags is None else sorted(set(flags))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if own:
            await pool.open()
        yield
        if own:
            await pool.close()

    async def subject_of(request: Request) -> Subject:
        context = await read_context(request)
        key = context.get("targetingKey")
        if key is not None:
            check_subject(Subject(key))
        subject = who(request, context)
        return check_subject(await subject if inspect.isawaitable(subject) else subject)

    def answer(row: Row) -> dict[str, Any]:
        details = resolve(row, None, NOTHING)
        result: dict[str, Any] = {"key": row.name, "reason": details.reason, "variant": details.variant or ""}
        if details.value is not NOTHING:
            result["value"] = details.value  # otherwise the client uses the default of its code
        if names is None:
            result["metadata"] = details.flag_metadata
        return result

    async def evaluate_one(request: Request) -> Response:
        key = request.path_params["key"]
        subject = await subject_of(request)
        check_key(key)
        if names is not None and key not in names:
            raise HTTPException(404, "this flag cannot be asked for")
        return respond(answer((await db.ask_async([key], subject))[0]))

    async def evaluate_all(request: Request) -> Response:
        rows = await db.ask_async(names, await subject_of(request))
        results = []
        for row in rows:
            if row.rule == "unknown_flag":
                continue
            try:
                results.append(answer(row))
            except OpenFeatureError as error:  # one that cannot be read is no reason to have none
                results.append(failure(error, row.name))
        body = encode({"flags": results})
        # of the answers, and not of a time or a version: a ramp changes them without a write
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"', "Cache-Control": "private, no-cache"}
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
        if headers["ETag"] in known:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    routes = [Route(PREFIX, evaluate_all, methods=["POST"]), Route(PREFIX + "/{key:path}", evaluate_one, methods=["POST"])]
    middleware = []
    if origins:
        middleware.append(Middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["POST"], max_age=3600,
            allow_headers=["Authorization", "X-API-Key", "If-None-Match"], expose_headers=["ETag", "Retry-After"]))
    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan, exception_handlers={
        HTTPException: refuse, OpenFeatureError: fail, Exception: fail})


async def read_context(request: Request) -> Mapping[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the body has more than {MAX_BODY} bytes")
    try:
        question = json.loads(body, parse_constant=no_json)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise OpenFeatureError(ErrorCode.PARSE_ERROR, "the body is no JSON") from None
    if not isinstance(question, dict):
        raise OpenFeatureError(ErrorCode.PARSE_ERROR, "the body is no JSON object")
    context = question.get("context", {})
    if not isinstance(context, dict):
        raise OpenFeatureError(ErrorCode.INVALID_CONTEXT, "the context is no JSON object")
    return context


def no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def encode(value: Any) -> bytes:
    # what a client has sent may hold halves of characters, which ASCII can escape and UTF-8 cannot have
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def respond(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, "application/json")


def failure(error: OpenFeatureError, key: str | None) -> dict[str, Any]:
    result = {"errorCode": error.error_code, "errorDetails": error.error_message or ""}
    return result if key is None else {"key": key, **result}


STATUS = {ErrorCode.FLAG_NOT_FOUND: 404, ErrorCode.PARSE_ERROR: 400, ErrorCode.INVALID_CONTEXT: 400}


async def fail(request: Request, error: Exception) -> Response:
    """The protocol's errors.  What is wrong here, the log says and the client does not learn."""
    key = request.path_params.get("key")
    if isinstance(error, BusyError):
        return respond(failure(BusyError("too many requests"), key), 429, {"Retry-After": "1"})
    if isinstance(error, OpenFeatureError) and error.error_code in STATUS:
        return respond(failure(error, key), STATUS[error.error_code])
    hidden = OpenFeatureError(ErrorCode.GENERAL, "the flags could not be evaluated")
    if isinstance(error, UnavailableError):  # logged when it began
        return respond(failure(hidden, key), 503, {"Retry-After": "1"})
    logger.error("%s", error.error_message if isinstance(error, OpenFeatureError) else error)
    return respond(failure(hidden, key), 500)


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = ErrorCode.FLAG_NOT_FOUND if error.status_code == 404 and "key" in request.path_params else ErrorCode.GENERAL
    return respond(failure(OpenFeatureError(code, error.detail), request.path_params.get("key")),
                   error.status_code, error.headers)


def load(name: str) -> Who:
    """The callable that "module:name" says."""
    module, _, attribute = name.partition(":")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} is no function")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m openfeature.contrib.provider.fflag.ofrep", description="An OFREP server over fflag.",
        epilog="The database is that of libpq's environment: PGHOST, PGDATABASE, PGUSER, PGSERVICE and so on.")
    parser.add_argument("who", metavar="module:function", help="says who may ask: servers(...), users(...) or another function")
    parser.add_argument("--conninfo", default="", help="a connection string, without a password: others see it")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8016)
    parser.add_argument("--flag", action="append", dest="flags", metavar="NAME", help="only this flag may be asked for; may be repeated")
    parser.add_argument("--origin", action="append", dest="origins", default=[], metavar="URL", help="pages from there may ask; may be repeated")
    arguments = parser.parse_args()
    sys.path.insert(0, "")
    try:
        who = load(arguments.who)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        parser.error(f"{arguments.who} does not say who may ask: {error}")
    try:
        conninfo_to_dict(arguments.conninfo)
    except psycopg.ProgrammingError:
        parser.error("--conninfo is no connection string of libpq's")

    import uvicorn

    uvicorn.run(ofrep(arguments.conninfo, who, flags=arguments.flags, origins=arguments.origins),
                host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
