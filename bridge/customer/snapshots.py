"""Snapshots as customers order them, and those past their lifetime. How one is taken stands in recipes."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from bridge.customer.gate import Ask, Forms, Prepared, full
from bridge.errors import NotFound, Refused
from bridge.model import Memory, Sentence
from bridge.store import Store


def take_snapshot(ask: Ask) -> Prepared:
    why = full(len(ask.store.snapshots_of(ask.service.id)), ask.service.package.snapshots)
    if why:
        raise Refused(why, code="quota_full")
    stamp = datetime.fromtimestamp(ask.store.clock.now(), UTC).strftime("%Y%m%d-%H%M%S")
    name = f"snap-{stamp}-{secrets.token_hex(2)}"
    description = ask.text("description", Sentence("Snapshot description"))
    ask.store.add_snapshot(ask.service.id, name, description, False)
    return Memory(name=name, description=description), None


def chosen_or_unfinished(ask: Ask) -> Prepared:
    return chosen(ask, ("ready", "unfinished"))


def chosen(ask: Ask, states: tuple[str, ...] = ("ready",)) -> Prepared:
    row = ask.store.snapshot_row(ask.service.id, ask.text("name"))
    if row is None or row["foreign_one"] or row["state"] not in states:
        raise NotFound(Sentence("This snapshot is not there any more."), code="unknown_snapshot")
    return Memory(name=row["name"]), None


def expire_snapshots(store: Store) -> int:
    """Past their lifetime: removed, one of a service at a time, when nothing else runs there."""
    rows = store.expired_snapshots()
    for row in rows:
        with store.write():
            if store.current_operation(row["service"]) is None and store.snapshot_row(row["service"], row["name"]):
                store.snapshot_state(row["service"], row["name"], "removing")
                store.submit(row["service"], "delete_snapshot", "system: lifetime", Memory(name=row["name"]))
    return len(rows)


FORMS: Forms = {
    ("snapshots", "take"): ("take_snapshot", take_snapshot),
    ("snapshots", "rollback"): ("rollback", chosen),
    ("snapshots", "delete"): ("delete_snapshot", chosen_or_unfinished),
}
