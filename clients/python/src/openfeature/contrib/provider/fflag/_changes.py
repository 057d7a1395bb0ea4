"""Finds changes of flags, each once, by a poll.

PostgreSQL's NOTIFY would tell at once, but cannot be prepared, makes writers wait for each
other, and does not pass pgbouncer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from psycopg.rows import tuple_row

# Whether a transaction that an earlier snapshot does not show has changed flags.  All such
# transactions began after %(since)s, and so did their commit or PREPARE, whose time has an index;
# the minute is for a clock that is set back.
QUERY = """SELECT pg_current_snapshot()::text, age('3'::xid), statement_timestamp()::text, EXISTS (
    SELECT FROM feature_flag_change
    WHERE (at >= %(since)s::timestamptz - interval '1 minute' OR at IS NULL)
        AND NOT begins AND NOT pg_visible_in_snapshot(transaction, %(snapshot)s::pg_snapshot))"""


class Seen(NamedTuple):
    """What a poll has to remember for the next one."""

    snapshot: str | None = None
    since: str = "-infinity"
    # The next transaction id, at this time.  Once all before it have ended, those that a snapshot
    # does not show have begun after this time.  It is not the snapshot's xmax, which is behind the
    # last one that has ended: one prepared yesterday may be the next.
    next: int | None = None
    time: str = "-infinity"


def look(connection: psycopg.Connection[Any], seen: Seen) -> tuple[Seen, bool]:
    """What there is to see now, and whether there is a change that "seen" does not show."""
    with psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute(QUERY, {"since": seen.since, "snapshot": seen.snapshot})
        [(snapshot, age, now, changed)] = cursor.fetchall()
    xmin, xmax = map(int, snapshot.split(":")[:2])
    if seen.next is None or xmin >= seen.next:
        # an age is that of an id of 32 bits, counted from the next one
        return Seen(snapshot, seen.time, xmax + (3 + age - xmax) % 2**32, now), changed
    return seen._replace(snapshot=snapshot), changed
