"""What OpenFeature calls the answers of fflag_evaluate()."""

from __future__ import annotations

import json
import math
from typing import Any

from openfeature.exception import FlagNotFoundError, InvalidContextError, ParseError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagType, Reason

from ._database import Row, Subject

NOTHING = object()  # a payload that is not there, or is null


def is_text(value: object) -> bool:
    """Whether PostgreSQL can have this as text: no NUL, no half of a character."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_key(key: object) -> None:
    if not is_text(key):
        raise FlagNotFoundError(f"flag {ascii(key)} does not exist: no flag can have this name")


def check_subject(subject: Subject) -> Subject:
    if not isinstance(subject, tuple) or len(subject) != 2:
        raise InvalidContextError(f"the provider's function for the user has returned no Subject: {ascii(subject)[:100]}")
    user_id, is_staff = subject
    if user_id is not None and not is_text(user_id):
        raise InvalidContextError(f"the targeting key {ascii(user_id)[:100]} is no text that PostgreSQL can have")
    return Subject(user_id, is_staff is True)


def resolve(row: Row, kind: FlagType | None, default: Any) -> FlagResolutionDetails[Any]:
    """The details of an evaluation; kind is the type asked, None whichever the flag has.

    A boolean is what fflag_enabled() says, so it is the same here as in SQL.  Any other
    type is the payload of the user's variant; a string without payload is its name.  Who
    gets no variant gets the default.
    """
    if row.rule == "unknown_flag":
        raise FlagNotFoundError(f"flag {json.dumps(row.name, ensure_ascii=False)} does not exist")
    if kind is FlagType.BOOLEAN or (kind is None and row.variants == 0):
        return _details(row, row.enabled, row.variant or ("on" if row.enabled else "off"), row.reason)
    if row.variants == 0:
        raise TypeMismatchError(f'flag "{row.name}" has no variants: it is a boolean')
    if row.variant is None:
        # who gets the flag but no variant: nobody, or no variant has a weight
        return _details(row, default, None, Reason.DEFAULT if row.enabled else row.reason)
    value = _convert(_payload(row), row.variant, kind)
    if value is NOTHING:
        raise TypeMismatchError(
            f'the payload of variant "{row.variant}" of flag "{row.name}" is no {str(kind).lower()}')
    # everybody gets a flag of 100%, but not this variant
    split = row.reason == Reason.STATIC and row.variants > 1
    return _details(row, value, row.variant, Reason.SPLIT if split else row.reason)


def _details(row: Row, value: Any, variant: str | None, reason: str) -> FlagResolutionDetails[Any]:
    metadata: dict[str, bool | int | float | str] = {"rule": row.rule}
    if row.bucket is not None:
        metadata["bucket"] = row.bucket
    if row.because is not None:
        metadata["because"] = row.because
    return FlagResolutionDetails(value=value, variant=variant, reason=Reason(reason), flag_metadata=metadata)


def _payload(row: Row) -> Any:
    try:
        value = None if row.payload is None else json.loads(row.payload)
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets
        raise ParseError(f'the payload of variant "{row.variant}" of flag "{row.name}": {error}') from error
    return NOTHING if value is None else value


def _convert(payload: Any, variant: str, kind: FlagType | None) -> Any:
    """The payload as a value of this type, or NOTHING."""
    number = isinstance(payload, (int, float)) and not isinstance(payload, bool)
    if kind is None:
        return variant if payload is NOTHING else payload
    if kind is FlagType.STRING:
        value = variant if payload is NOTHING else payload
        return value if isinstance(value, str) else NOTHING
    if kind is FlagType.OBJECT:
        return payload if isinstance(payload, (dict, list)) else NOTHING
    if not number:
        return NOTHING
    if kind is FlagType.INTEGER:
        # a float above 2^53 may be another integer than the one in the database
        exact = isinstance(payload, int) or (payload.is_integer() and abs(payload) <= 2**53)
        return int(payload) if exact else NOTHING
    try:
        value = float(payload)
    except OverflowError:
        return NOTHING
    return value if math.isfinite(value) else NOTHING
