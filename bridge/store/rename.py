"""An installation, a server, a plan or a pool has another name in the configuration: the store follows, all of it or
nothing.

Nobody may use the store meanwhile: whoever runs has read the configuration under the old names.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from bridge.errors import Refused
from bridge.store import Store

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
    with store.database.alone(), store.write():
        _free(store, kind, new)
        done = _all(store, kind, old, new)
        if not done:
            raise Refused(f"The store knows no {kind} {old!r}.", code="unknown_name")
        judge(store)
        return done


def _free(store: Store, kind: str, new: str) -> None:
    for table in OWNED.get(kind, ()):
        if store.rows(f"SELECT 1 FROM {table} WHERE {KINDS[kind]} = ? LIMIT 1", new):
            raise Refused(f"The store has a {kind} {new!r} already: two cannot become one.", code="name_taken")


def _all(store: Store, kind: str, old: str, new: str) -> dict[str, int]:
    counts, column = {}, KINDS[kind]
    for table in [t for t, columns in store.database.tables().items() if column in columns] if column else []:
        if kind == "server" and table not in OWNED["server"]:  # what is noted of a server without services gives way
            store.change(f"DELETE FROM {table} WHERE server = ?", new)
        counts[table] = store.change(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", new, old)
    if kind in IN_PACKAGE:
        rows = store.tuples(f"SELECT id, package FROM services WHERE package ->> '{kind}' = ?", old)
        for key, package in rows:
            text = json.dumps({**json.loads(package), kind: new})
            store.change("UPDATE services SET package = ? WHERE id = ?", text, key)
        counts["services"] = len(rows)
    return {table: count for table, count in counts.items() if count}
