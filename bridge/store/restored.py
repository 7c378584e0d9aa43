"""What putting a copy of the store back does to it before it takes the old store's place, and tells the person who did
it: the same rules for a file and for a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from cryptography.fernet import Fernet, InvalidToken

from bridge.errors import Refused
from bridge.store.holdings import (
    Compared,
    HeldOperation,
    Holdings,
    Ranges,
    Restored,
    Unsent,
)
from bridge.store.retold import keep_told
from bridge.store.schema import KEY_FACT, KEY_WORDS, migrations
from bridge.store.sides import Side

Kind = TypeVar("Kind")
KEEP_FREE = 90 * 86400.0  # addresses that only the replaced store knows stay out of use this long
RESTORED = "The store was put back from a copy; what has happened since then is not known."
NEXT = "Look at the machine, then retry to go on, or cancel."
OVERTAKEN = "Look at the machine, then cancel this one: the newer order behind it goes on."


def _rows(side: Side, kind: type[Kind], sql: str, *args: Any) -> list[Kind]:
    cursor = side.execute(sql, args)
    names = [c[0] for c in cursor.description or ()]
    return cast(list[Kind], [dict(zip(names, row, strict=True)) for row in cursor.fetchall()])


def holdings(side: Side) -> Holdings:
    """What a store has in it, counted: for people to know it by before they put it back."""

    def one(sql: str) -> Any:
        return side.execute(sql).fetchone()[0]

    changed = (
        "SELECT max(updated_at) FROM services",
        "SELECT max(created_at) FROM operations",
        "SELECT max(ended_at) FROM operations",
    )
    return Holdings(
        at=max(float(one(sql) or 0.0) for sql in changed),
        services=dict(
            side.execute("SELECT desired, count(*) FROM services GROUP BY desired ORDER BY desired").fetchall()
        ),
        operations=one("SELECT count(*) FROM operations"),
        open_operations=one(
            "SELECT count(*) FROM operations WHERE state IN ('running', 'waiting', 'waiting_for_staff')"
        ),
        addresses=one("SELECT count(*) FROM addresses WHERE service IS NOT NULL"),
        unsent_events=one("SELECT count(*) FROM outbox WHERE sent_at IS NULL"),
        vm_ids=dict(side.execute("SELECT server, next FROM vm_ids ORDER BY server").fetchall()),
        migrations=tuple(side.migrated()),
    )


# -- whose it is ------------------------------------------------------------------------------------
def fits(side: Side, key: str) -> bool:
    """The canary decides; a copy from before there was one is judged by anything that is sealed in it."""
    if side.has("facts"):
        row = side.execute("SELECT value FROM facts WHERE name = ?", (KEY_FACT,)).fetchone()
        if row:
            return opens(row[0], key)
    row = None
    if side.has("outbox") and side.has("services"):
        row = side.execute(
            "SELECT payload FROM outbox WHERE payload <> '' UNION ALL SELECT password FROM services"
            " WHERE password IS NOT NULL LIMIT 1"
        ).fetchone()
    return row is None or _unsealed(row[0], key) is not None


def opens(sealed: str, key: str) -> bool:
    return _unsealed(sealed, key) == KEY_WORDS


def _unsealed(sealed: str, key: str) -> str | None:
    try:
        return Fernet(key).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


def may_be_put_back(copy: str, held: Sequence[str], sealed_with_ours: bool) -> None:
    """Raises Refused for a copy, named `copy`, that has seen migrations which this release does not know, or none, or
    that is sealed with another key."""
    newer = [name for name in held if name not in {m.name for m in migrations._migrations}]
    if newer:
        raise Refused(
            f"{copy} is of a newer release of vmbridge; install that one first.", code="newer", detail=", ".join(newer)
        )
    if not held:
        raise Refused(f"{copy} is not a store of vmbridge.", code="not_a_store")
    if not sealed_with_ours:
        raise Refused(
            "The configured secret_key is not the one this copy was sealed with.",
            code="wrong_key",
            detail="Put the right key into [store] secret_key; `--without-key` gives up what is sealed: first"
            " passwords and unsent events",
        )


# -- the rules --------------------------------------------------------------------------------------


def prepare(
    fresh: Side,
    old: Side | None,
    restored: Restored,
    key: str,
    ranges: Ranges,
    now: float,
    without_key: bool,
) -> None:
    """Make the copy, which is of this release by now, ready to take the old store's place: counters moved on, its
    operations and events held. In the transaction of whoever calls."""
    if without_key:
        _forget_sealed(fresh)
    fresh.execute(
        "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (KEY_FACT, Fernet(key).encrypt(KEY_WORDS.encode()).decode()),
    )
    _count_on(fresh, old, restored, ranges)
    _hold_operations(fresh, old, restored, now)
    _hold_events(fresh, old, restored)
    if old:
        _compare(fresh, old, restored, now)
        _keep_ours(fresh, old)
    keep_told(fresh, old, now)
    for sql in (
        "UPDATE server_health SET lease_until = 0, next_at = 0",
        "UPDATE sweeps SET due_at = 0",
        "UPDATE pointer_wishes SET refused = 'restored', task = '', lease_until = 0",
        "UPDATE dns_records SET lease_until = 0, refused = CASE WHEN chosen = 1 AND asked_at IS NULL"
        " AND due_at IS NOT NULL THEN 'restored' ELSE refused END",
        "UPDATE dns_zones SET kept_at = ''",  # or names of before would be written to a provider of since
        "DELETE FROM firewall_changes",  # nobody knows what has become of them
    ):  # others may have been written since
        fresh.execute(sql)


def _keep_ours(conn: Side, old: Side) -> None:
    """What was written into DNS since the copy is ours too, and goes when its address does."""
    if not old.has("dns_records"):
        return
    for name, kind, text in old.execute("SELECT name, type, ours FROM dns_records WHERE ours <> '[]'").fetchall():
        row = conn.execute("SELECT ours FROM dns_records WHERE name = ? AND type = ?", (name, kind)).fetchone()
        if row:
            ours = [*dict.fromkeys([*json.loads(row[0]), *json.loads(text)])]
            conn.execute("UPDATE dns_records SET ours = ? WHERE name = ? AND type = ?", (json.dumps(ours), name, kind))


def _forget_sealed(conn: Side) -> None:
    conn.execute("UPDATE services SET password = NULL, password_hash = NULL")
    conn.execute("DELETE FROM outbox WHERE sent_at IS NULL")


def _count_on(conn: Side, old: Side | None, restored: Restored, ranges: Ranges) -> None:
    """No VM id may be given twice: the counters become the highest that anything tells, and some ids are left out."""
    seen = [conn, old] if old else [conn]
    servers = {*ranges, *(s for c in seen for (s,) in c.execute("SELECT server FROM vm_ids").fetchall())}
    for server in sorted(servers):
        spans = ranges.get(server, [])
        at = "SELECT next FROM vm_ids WHERE server = ?"
        counters = [int(r[0]) for c in seen for r in c.execute(at, (server,)).fetchall()]
        # machines that were adopted may have any id: only those of our own ranges count
        used = [
            int(r[0])
            for c in seen
            for r in c.execute("SELECT vm_id FROM services WHERE server = ?", (server,)).fetchall()
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


def _hold_operations(conn: Side, old: Side | None, restored: Restored, now: float) -> None:
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


def _hold_events(conn: Side, old: Side | None, restored: Restored) -> None:
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


def _compare(conn: Side, old: Side, restored: Restored, now: float) -> None:
    """What only the replaced store knows: services to adopt, and their addresses, which nobody else may get
    meanwhile."""
    sql = (
        "SELECT whmcs, service_id, generation, desired, server, vm_id, package ->> 'plan' AS plan,"
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
            "INSERT INTO addresses (address, pool, service, role, taken_at, free_at)"
            " VALUES (?, ?, NULL, ?, ?, ?) ON CONFLICT (address) DO NOTHING",
            (address, pool, role, now, until),
        )
        freed = conn.execute(
            "UPDATE addresses SET free_at = CASE WHEN free_at > ?1 THEN free_at ELSE ?1 END"
            " WHERE address = ?2 AND service IS NULL",
            (until, address),
        )
        if done.rowcount or freed.rowcount:
            restored.kept_addresses.append(address)
    for nonce in old.execute("SELECT key_id, nonce, seen_at FROM nonces").fetchall():
        conn.execute("INSERT INTO nonces (key_id, nonce, seen_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", nonce)
