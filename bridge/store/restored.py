"""What putting a copy of the store back does to it before it takes the old store's place, and tells the person who did
it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, cast

from cryptography.fernet import Fernet
from sqlite_utils import Database

from bridge.store.core import Kind
from bridge.store.outbox import HeldEvent
from bridge.store.retold import keep_told
from bridge.store.schema import KEY_FACT, KEY_WORDS, migrations

Ranges = dict[str, list[tuple[int, int]]]
KEEP_FREE = 90 * 86400.0  # addresses that only the replaced store knows stay out of use this long
RESTORED = "The store was put back from a copy; what has happened since then is not known."
NEXT = "Look at the machine, then retry to go on, or cancel."
OVERTAKEN = "Look at the machine, then cancel this one: the newer order behind it goes on."


@dataclass(frozen=True)
class Holdings:
    """What a store holds. `at` is when it last changed, as far as its rows tell; 0 when it is empty."""

    at: float
    services: dict[str, int]  # desired state -> how many
    operations: int
    open_operations: int
    addresses: int
    unsent_events: int
    vm_ids: dict[str, int]  # server -> the next id
    migrations: tuple[str, ...]


class HeldOperation(TypedDict):
    """One that was open in the copy; `later`: its state in the replaced store, empty where that does not know it."""

    id: str
    kind: str
    state: str
    whmcs: str
    service_id: int
    vm_id: str
    server: str
    later: str


class LostService(TypedDict):
    """A generation of a service as the replaced store has it."""

    whmcs: str
    service_id: int
    generation: int
    desired: str
    server: str
    vm_id: str
    plan: str


class ChangedService(LostService):
    """With its desired state and its VM in the copy."""

    here: str
    here_vm: str


class Compared(ChangedService):
    package: str


class Unsent(HeldEvent):
    dedupe: str


@dataclass
class Restored:
    """What putting a copy back has done, for the person who did it."""

    holdings: Holdings
    moved_to: str = ""  # where the store that stood there is now
    replaced_readable: bool = False
    skipped: int = 0
    vm_ids: dict[str, tuple[int, int]] = field(default_factory=dict)  # server -> (next in the copy, next now)
    held_operations: list[HeldOperation] = field(default_factory=list)
    held_events: list[HeldEvent] = field(default_factory=list)
    sent_since: int = 0  # events of the copy that the replaced store had delivered
    unknown_services: list[LostService] = field(default_factory=list)  # only the replaced store has them
    changed_services: list[ChangedService] = field(default_factory=list)  # both have them, of another state or VM
    kept_addresses: list[str] = field(default_factory=list)


def connect(path: str | Path, mode: str = "rw") -> sqlite3.Connection:
    uri = f"{Path(path).resolve().as_uri()}?mode={mode}"
    conn = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)
    conn.execute("PRAGMA busy_timeout = 10000")
    return conn


def _rows(conn: sqlite3.Connection, kind: type[Kind], sql: str, *args: Any) -> list[Kind]:
    cursor = conn.execute(sql, args)
    names = [c[0] for c in cursor.description]
    return cast(list[Kind], [dict(zip(names, row, strict=True)) for row in cursor.fetchall()])


def prepare(
    fresh: Path,
    old: sqlite3.Connection | None,
    restored: Restored,
    key: str,
    ranges: Ranges,
    now: float,
    without_key: bool,
) -> None:
    """Make the copy ready to take the old store's place: migrated, counters moved on, its operations and events
    held."""
    with closing(connect(fresh)) as conn:
        migrations.apply(Database(conn))
        conn.execute("BEGIN IMMEDIATE")
        if without_key:
            _forget_sealed(conn)
        conn.execute(
            "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)",
            (KEY_FACT, Fernet(key).encrypt(KEY_WORDS.encode()).decode()),
        )
        _count_on(conn, old, restored, ranges)
        _hold_operations(conn, old, restored, now)
        _hold_events(conn, old, restored)
        if old:
            _compare(conn, old, restored, now)
            _keep_ours(conn, old)
        keep_told(conn, old, now)
        for sql in (
            "UPDATE server_health SET lease_until = 0, next_at = 0",
            "UPDATE sweeps SET due_at = 0",
            "UPDATE pointer_wishes SET refused = 'restored', task = '', lease_until = 0",
            "UPDATE dns_records SET lease_until = 0, refused = CASE WHEN chosen = 1 AND asked_at IS NULL"
            " AND due_at IS NOT NULL THEN 'restored' ELSE refused END",
            "DELETE FROM firewall_changes",  # nobody knows what has become of them
        ):  # others may have been written since
            conn.execute(sql)
        conn.execute("COMMIT")


def _keep_ours(conn: sqlite3.Connection, old: sqlite3.Connection) -> None:
    """What was written into DNS since the copy is ours too, and goes when its address does."""
    if not old.execute("SELECT 1 FROM sqlite_master WHERE name = 'dns_records'").fetchone():
        return
    for name, kind, text in old.execute("SELECT name, type, ours FROM dns_records WHERE ours <> '[]'"):
        row = conn.execute("SELECT ours FROM dns_records WHERE name = ? AND type = ?", (name, kind)).fetchone()
        if row:
            ours = [*dict.fromkeys([*json.loads(row[0]), *json.loads(text)])]
            conn.execute("UPDATE dns_records SET ours = ? WHERE name = ? AND type = ?", (json.dumps(ours), name, kind))


def _forget_sealed(conn: sqlite3.Connection) -> None:
    conn.execute("UPDATE services SET password = NULL, password_hash = NULL")
    conn.execute("DELETE FROM outbox WHERE sent_at IS NULL")


def _count_on(conn: sqlite3.Connection, old: sqlite3.Connection | None, restored: Restored, ranges: Ranges) -> None:
    """No VM id may be given twice: the counters become the highest that anything tells, and some ids are left out."""
    seen = [conn, old] if old else [conn]
    servers = {*ranges, *(s for c in seen for (s,) in c.execute("SELECT server FROM vm_ids"))}
    for server in sorted(servers):
        spans = ranges.get(server, [])
        counters = [int(r[0]) for c in seen for r in c.execute("SELECT next FROM vm_ids WHERE server = ?", (server,))]
        # machines that were adopted may have any id: only those of our own ranges count
        used = [
            int(r[0])
            for c in seen
            for r in c.execute("SELECT vm_id FROM services WHERE server = ?", (server,))
            if str(r[0]).isdigit()
        ]
        counters += [n + 1 for n in used if any(a <= n <= b for a, b in spans)]
        if not counters and not (restored.skipped and spans):
            continue  # nothing is counted here, as where the provider gives the ids
        low = min((a for a, _ in spans), default=0)
        now = max([low, *counters]) + restored.skipped
        conn.execute(
            "INSERT INTO vm_ids (server, next) VALUES (?, ?) ON CONFLICT (server) DO UPDATE SET next = excluded.next",
            (server, now),
        )
        restored.vm_ids[server] = (restored.holdings.vm_ids.get(server, 0), now)


def _hold_operations(conn: sqlite3.Connection, old: sqlite3.Connection | None, restored: Restored, now: float) -> None:
    rows = _rows(
        conn,
        HeldOperation,
        "SELECT o.id, o.kind, o.state, s.whmcs, s.service_id, s.vm_id, s.server, '' AS later FROM operations o"
        " JOIN services s ON s.id = o.service WHERE o.state IN ('running', 'waiting', 'waiting_for_staff')"
        " ORDER BY o.created_at",
    )
    for row in rows:
        later = old.execute("SELECT state FROM operations WHERE id = ?", (row["id"],)).fetchone() if old else None
        row["later"] = later[0] if later else ""
        restored.held_operations.append(row)
    conn.execute(
        "UPDATE operations SET state = 'waiting_for_staff', error_code = 'restored', error_text = ?, noticed = 1,"
        " due_at = ?, stop = '', next_action = CASE WHEN EXISTS (SELECT 1 FROM operations w"
        " WHERE w.service = operations.service AND w.state = 'waiting') THEN ? ELSE ? END"
        " WHERE state IN ('running', 'waiting_for_staff')",
        (RESTORED, now, OVERTAKEN, NEXT),
    )
    conn.execute("UPDATE operations SET owner = '', lease_until = 0, fence = fence + 1 WHERE ended_at IS NULL")


def _hold_events(conn: sqlite3.Connection, old: sqlite3.Connection | None, restored: Restored) -> None:
    """What was not delivered when the copy was taken may have been since: it is held, unless the replaced store
    knows."""
    for row in _rows(
        conn,
        Unsent,
        "SELECT o.id, o.dedupe, o.event, s.service_id, s.whmcs, o.created_at FROM outbox o LEFT"
        " JOIN services s ON s.id = o.service WHERE o.sent_at IS NULL ORDER BY o.id",
    ):
        sent = (
            old.execute(
                "SELECT sent_at FROM outbox WHERE dedupe = ? AND sent_at IS NOT NULL", (row["dedupe"],)
            ).fetchone()
            if old
            else None
        )
        if sent:
            conn.execute("UPDATE outbox SET sent_at = ?, payload = '', error = '' WHERE id = ?", (sent[0], row["id"]))
            restored.sent_since += 1
        else:
            conn.execute("UPDATE outbox SET held = 1, lease_until = 0 WHERE id = ?", (row["id"],))
            restored.held_events.append(row)


def _compare(conn: sqlite3.Connection, old: sqlite3.Connection, restored: Restored, now: float) -> None:
    """What only the replaced store knows: services to adopt, and their addresses, which nobody else may get
    meanwhile."""
    sql = (
        "SELECT whmcs, service_id, generation, desired, server, vm_id, json_extract(package, '$.plan') AS plan,"
        " '' AS here, '' AS here_vm, package FROM services"
    )
    mine = {(r["whmcs"], r["service_id"], r["generation"]): r for r in _rows(conn, Compared, sql)}
    for row in _rows(old, Compared, sql):
        here = mine.get((row["whmcs"], row["service_id"], row["generation"]))
        if here is None and row["desired"] != "terminated":
            restored.unknown_services.append(row)
        elif here and (here["desired"], here["vm_id"], here["package"]) != (
            row["desired"],
            row["vm_id"],
            row["package"],
        ):
            row["here"], row["here_vm"] = here["desired"], here["vm_id"]
            restored.changed_services.append(row)
    # also what an earlier restore holds, or what still cools down: it may be in use by a machine that no store knows
    # any more
    held = "SELECT address, pool, role, service, free_at FROM addresses WHERE service IS NOT NULL OR free_at > ?"
    for address, pool, role, service, free_at in old.execute(held, (now,)).fetchall():
        until = now + KEEP_FREE if service is not None else free_at
        done = conn.execute(
            "INSERT OR IGNORE INTO addresses (address, pool, service, role, taken_at, free_at)"
            " VALUES (?, ?, NULL, ?, ?, ?)",
            (address, pool, role, now, until),
        )
        freed = conn.execute(
            "UPDATE addresses SET free_at = max(free_at, ?) WHERE address = ? AND service IS NULL",
            (until, address),
        )
        if done.rowcount or freed.rowcount:
            restored.kept_addresses.append(address)
    nonces = old.execute("SELECT key_id, nonce, seen_at FROM nonces").fetchall()
    conn.executemany("INSERT OR IGNORE INTO nonces (key_id, nonce, seen_at) VALUES (?, ?, ?)", nonces)
