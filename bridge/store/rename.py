"""An installation, a server, a plan or a pool has another name in the configuration: the store follows, all of it or
nothing.

Nobody may use the store meanwhile: whoever runs has read the configuration under the old names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bridge.errors import Refused
from bridge.store import Store
from bridge.store.archive import Use
from bridge.store.faults import read
from bridge.store.restored import connect

KINDS = {  # kind -> the column that any table keeps it in
    "whmcs": "whmcs",
    "server": "server",
    "plan": "",  # only in packages
    "pool": "pool",
}
IN_PACKAGE = ("plan", "server")  # what stands in each service's package too
OWNED = {  # kind -> one row of these under the new name, and two things would become one
    "whmcs": ("services", "usage_told"),
    "server": ("services", "vm_ids"),
}


def rename(store: Store, kind: str, old: str, new: str, judge: Callable[[Store], None]) -> dict[str, int]:
    """{table: rows}. Raises Refused when nothing bears the old name or something bears the new one already, or the
    store is in use; nothing is changed then. `judge` looks at the store as it would be, and raises what stands against
    it."""
    path = store.path
    if not Path(path).exists():
        raise Refused(f"There is no store at {path}.", code="no_store")
    use = Use(path)
    use.alone()
    try:
        with read(), closing(connect(path)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            _free(conn, kind, new)
            done = _all(conn, kind, old, new)
            if not done:
                raise Refused(f"The store knows no {kind} {old!r}.", code="unknown_name")
            judge(store.as_seen_by(conn))
            conn.execute("COMMIT")
            return done
    finally:
        use.free()


def columns(conn: sqlite3.Connection, name: str) -> list[str]:
    """The tables that have a column of this name."""
    tables = [r[0] for r in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    return [t for t in tables if any(c[1] == name for c in conn.execute(f"PRAGMA table_info({t})"))]


def _free(conn: sqlite3.Connection, kind: str, new: str) -> None:
    for table in OWNED.get(kind, ()):
        if conn.execute(f"SELECT 1 FROM {table} WHERE {KINDS[kind]} = ? LIMIT 1", (new,)).fetchone():
            raise Refused(f"The store has a {kind} {new!r} already: two cannot become one.", code="name_taken")


def _all(conn: sqlite3.Connection, kind: str, old: str, new: str) -> dict[str, int]:
    counts, column = {}, KINDS[kind]
    for table in columns(conn, column) if column else []:
        if kind == "server" and table not in OWNED["server"]:  # what is noted of a server without services gives way
            conn.execute(f"DELETE FROM {table} WHERE server = ?", (new,))
        counts[table] = conn.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old)).rowcount
    if kind in IN_PACKAGE:
        sold = "UPDATE services SET package = json_set(package, ?1, ?2) WHERE json_extract(package, ?1) = ?3"
        counts["services"] = conn.execute(sold, (f"$.{kind}", new, old)).rowcount
    return {table: count for table, count in counts.items() if count}
