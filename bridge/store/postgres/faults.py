"""What PostgreSQL's errors mean for whoever asked, in words of people: wait and ask again, or a person has to act.

Codes of postgresql.org/docs/15/errcodes-appendix.html. What a connection is refused with has none on the client's
side, only the server's sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from bridge.errors import StoreDamaged, StoreUnavailable

STARTING = "PostgreSQL is starting or stopping; this goes on by itself"
BROKEN = "the connection to PostgreSQL broke: it was restarted, or the way to it was cut; this goes on by itself"
NO_SLOT = (
    "PostgreSQL has no connection left: raise its max_connections, or lower [store] connections, of which each process"
    " takes that many"
)
READ_ONLY = (
    "this PostgreSQL takes no changes: it is a standby, or default_transaction_read_only is on; [store] url must lead"
    " to the one that is written to"
)
RIGHTS = (
    "the user of [store] url lacks a right; let it own the database: ALTER DATABASE ... OWNER TO ..., and what stands"
    " in it"
)
# sqlstate -> words; of these a later try may do
LATER = {
    r"53300": NO_SLOT,
    r"53100": "the disk of PostgreSQL is full: make room there",
    r"53...": "PostgreSQL is out of memory or of another resource: look at its log",
    r"57P0[1-5]|57P03": STARTING,
    r"57014": "PostgreSQL was told to cancel it",
    r"25006": READ_ONLY,
    r"25P03|25P04": "PostgreSQL ended a change in which nothing had been said for long",
    r"55P03": "another change has not ended for as long as this one may wait",
    r"08...": BROKEN,
    r"40001|40P01": "changes got in each other's way",
}
# sqlstate -> (our code, words); a person has to act
NEVER = {
    r"XX00[12]": ("store_damaged", "PostgreSQL found it damaged: look at its log, and put a backup back"),
    r"28...": ("store_denied", "PostgreSQL does not let the user of [store] url in: look at name and password"),
    r"3D000": ("no_database", "PostgreSQL has no such database; `createdb -E UTF8 -T template0 -O USER NAME` makes it"),
    r"3F000": ("no_database", "the schema that the user of [store] url looks into is not there: CREATE SCHEMA"),
    r"42501": ("store_denied", RIGHTS),
    r"42P01|42703": ("not_begun", "it lacks what this release has in it: run `vmbridge migrate`"),
}
# the sentence that a connection is refused with -> sqlstate
REFUSED = {
    r"too many (clients|connections)|remaining connection slots|connection limit exceeded": "53300",
    r"starting up|shutting down|not yet accepting|in recovery mode": "57P03",
    r"read-only|session is not read-write|server is in hot standby": "25006",
    r"database .* does not exist": "3D000",
    r"authentication failed|no pg_hba.conf entry|role .* does not exist|no password supplied|pg_hba|not permitted to"
    r" log in|permission denied for database": "28000",
}


def meaning(e: psycopg.Error | PoolTimeout) -> Exception:
    """Our own error where the store as a whole is concerned; else the error itself."""
    code = getattr(e, "sqlstate", None) or ""
    at_once = not code and isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout))
    if at_once:
        code = next((c for pattern, c in REFUSED.items() if re.search(pattern, str(e))), "")
    for pattern, (ours, words) in NEVER.items():
        if re.fullmatch(pattern, code):
            return StoreDamaged(code=ours, detail=f"{words} ({line(e)})")
    for pattern, words in LATER.items():
        if re.fullmatch(pattern, code):
            return StoreUnavailable(detail=f"{words} ({line(e)})")
    return StoreUnavailable(detail=f"PostgreSQL does not answer ({line(e)})") if at_once else e


def line(e: Exception) -> str:
    return " ".join(str(e).split())[:300]


@contextmanager
def told() -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, PoolTimeout) as e:
        raise meaning(e) from e
