"""Whether this installation can serve: its store takes changes and is of this release, and a worker has been seen
lately."""

from __future__ import annotations

from typing import Any

from bridge.config import Config
from bridge.errors import StoreUnavailable
from bridge.staff import servers
from bridge.store import Store

LATELY = 60.0  # seconds; a worker shows itself every ten


def look(store: Store, config: Config) -> dict[str, Any]:
    """{lacks, store, worker_age, servers}. `lacks`: a sentence for each reason why orders would not be carried out;
    `servers`: each one's state as staff sees it, which is no reason: what is ordered for one that is down waits for
    it."""
    state: dict[str, Any] = {"lacks": [], "store": "ok", "worker_age": None, "servers": {}}
    try:
        _store(state, store)
        if state["store"] != "migrate":
            seen = store.worker_seen()
            age = None if seen is None else max(0.0, store.clock.now() - seen)
            state["worker_age"] = age
            if age is None or age > LATELY:
                state["lacks"].append("No worker has been seen lately: nothing that is ordered begins.")
            state["servers"] = {v.name: v.state for v in servers.views(store, config)}
    except StoreUnavailable as e:
        state["store"] = e.code
        state["lacks"].append("The database cannot be read.")
    return state


def _store(state: dict[str, Any], store: Store) -> None:
    if store.pending_migrations() or store.too_new():
        state["store"] = "migrate"
        state["lacks"].append("The database is not of this release.")
    elif not store.writable():
        state["store"] = "not_writable"
        state["lacks"].append("The database takes no changes: locked for long, its disk is full, or it is read-only.")
