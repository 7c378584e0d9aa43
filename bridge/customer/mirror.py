"""Snapshots and backups as the back end has them, written to the store; nothing is changed there."""

from __future__ import annotations

import structlog

from bridge.errors import StoreUnavailable, VmbridgeError
from bridge.model import Capability, Kept, Operation, Service
from bridge.store import Store
from drivers.base import Driver
from drivers.calls import in_background

log = structlog.get_logger()
EVERY = 1_000_000  # services


def renew_mirror(server: str, driver: Driver, store: Store, limit: int = 20, now: bool = False) -> int:
    """Snapshots and backups as the back end has them, each service once an hour or `now`; returns how many were looked
    at. One that cannot be read has its next turn later and holds up nobody. Where one listing has all of them, all have
    their turn at once."""
    due, limit = (store.clock.now(), EVERY) if now else (store.clock.now() - 3600, limit)
    keys = store.mirrors_due(server, due, limit)
    if not keys:
        return 0
    began = store.clock.now()
    try:
        with in_background():
            everything = driver.kept()
    except VmbridgeError as e:
        log.warning("mirror_failed", server=server, code=e.code, detail=e.detail)
        return 0
    if everything is not None:
        keys = store.mirrors_due(server, due, EVERY)
    for key in keys:
        store.mirrored(key)
    for service in store.services_by(keys):
        last = store.newest(service.id)
        if last is not None and (last.ended_at is None or last.ended_at > began):
            continue  # what it makes or removes meanwhile is not in the listing
        try:
            _mirror(service, last, driver, everything, store)
        except StoreUnavailable:
            raise
        except VmbridgeError as e:
            log.warning("mirror_failed", service=service.service_id, code=e.code, detail=e.detail)
    return len(keys)


def _mirror(service: Service, last: Operation | None, driver: Driver, everything: Kept | None, store: Store) -> None:
    """Each list as soon as it is read: the next one may stand on a storage that is away."""
    if Capability.SNAPSHOTS in driver.capabilities:
        snapshots = (
            driver.snapshots(service.ref)
            if everything is None
            else [s for u in service.uuids for s in everything.snapshots.get(u, ())]
        )
        with store.write():
            if _still(last, service, store):
                store.mirror_snapshots(service.id, snapshots)
    if driver.keeps_backups:
        backups = driver.backups(service.ref) if everything is None else everything.backups.get(service.vm_id, [])
        with store.write():
            if _still(last, service, store):
                store.mirror_backups(service.id, backups, service.created_at)


def _still(last: Operation | None, service: Service, store: Store) -> bool:
    """Whether nothing was ordered while a list was read: it may be older than what an operation did."""
    now = store.newest(service.id)
    return (now and (now.id, now.ended_at)) == (last and (last.id, last.ended_at))
