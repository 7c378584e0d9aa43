"""Writing out what is wanted, zone by zone: look, record, act. A provider that is down holds up its own zones only,
and everybody who has something to do there goes on when it is back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from bridge import zones
from bridge.config import Config
from bridge.config.dns import kept_at
from bridge.dns import tickets
from bridge.errors import StoreUnavailable, Unknown, UpstreamError, VmbridgeError
from bridge.model import RecordSet
from bridge.store import Store
from bridge.store.records import ADOPTED, RecordRow
from bridge.whmcs import Whmcs
from drivers.calls import within
from drivers.dns import contract
from drivers.dns.contract import BAD_VALUE, NOT_YET, Provider, tidy

log = structlog.get_logger()
OWN = 1  # the customer's act
LEASE = 120.0  # longer than the calls of one record
SECONDS = 45.0  # for them
LOST = 35.0  # longer than any time-out on the way: a call without an answer has ended by then
FIRST, LONGEST = 10.0, 900.0  # seconds between two tries in a zone
ASLEEP = 3600.0  # until a zone that the configuration no longer has is looked for again
MANY = 200  # records in one turn of a zone


def providers_of(config: Config, clock: Any, prepare: Any = None) -> dict[str, Provider]:
    """Zone -> who answers for it, but for those that a person keeps."""
    return {
        name: contract.load(z.provider)(name, z.settings, clock, prepare)
        for name, z in config.dns.items()
        if z.provider != zones.TICKET
    }


def note_places(config: Config, store: Store) -> int:
    """Where the zones are kept now. Records of a zone that is kept elsewhere than before are looked at there, and
    written where they are not; how many. A person who keeps it from now on is asked for nothing."""
    moved = 0
    for zone in config.dns.values():
        at = kept_at(zone)
        if count := store.zone_kept(zone.name, at, look=zone.provider != zones.TICKET):
            log.info("zone_moved", zone=zone.name, to=at, records=count)
        moved += count
    return moved


def write_due(
    zone: str,
    config: Config,
    store: Store,
    providers: Mapping[str, Provider],
    whmcs: Mapping[str, Whmcs],
    many: int = MANY,
) -> int:
    """What is due in a zone, until something there fails; how many records were looked at."""
    for done in range(many):
        row = store.claim_record(zone, LEASE)
        if row is None:
            return done
        try:
            with within(SECONDS, store.clock):
                if department := _department(zone, config):
                    tickets.settle(row, department, store, config, whmcs)
                elif zone in providers:
                    _settle(row, providers[zone], config.dns[zone].ttl, store)
                else:
                    store.record_later(row, ASLEEP, detail=f'there is no [dns."{zone}"] any more')
                    continue
            store.zone_answers(zone)
        except StoreUnavailable:  # ours, not the zone's: what became of it is looked up when the lease is over
            raise
        except VmbridgeError as e:
            log.warning(
                "record_not_written", zone=zone, name=row["name"], type=row["type"], code=e.code, detail=e.detail
            )
            if not _failed(row, zone, e, store):
                return done + 1
        except Exception as e:  # an answer that nobody thought of: this record waits, the zone goes on
            log.exception("record_fault", zone=zone, name=row["name"])
            store.record_later(row, LONGEST, LOST, f"{type(e).__name__}: look at the log")
    return many


def _department(zone: str, config: Config) -> str:
    """Of WHMCS's support, where a person keeps the zone."""
    if zone.startswith(f"{zones.TICKET}:"):
        return zone.partition(":")[2]
    zone_of = config.dns.get(zone)
    return str(zone_of.settings["department"]) if zone_of and zone_of.provider == zones.TICKET else ""


def _settle(row: RecordRow, provider: Provider, ttl: int, store: Store) -> None:
    """One or two calls. What somebody else has written is replaced by the customer's own act alone."""
    kind, wanted = row["type"], [row["wanted"]] if row["wanted"] else []
    seen = provider.get(row["name"], kind)
    there = list(seen.values) if seen else []
    if there == wanted and (seen is None or seen.served):
        store.record_settled(row, row["wanted"], ours=True)
        return
    ours = {tidy(v, kind) for v in (*row["ours"], *wanted)}
    others = [v for v in there if v not in ours]
    if row["own"] == ADOPTED and len(others) == len(there) == 1:
        store.record_taken(row, others[0])
        return
    seen = seen or RecordSet(row["name"], kind, (), ttl)
    if others and row["own"] != OWN:  # somebody else's records stay, ours beside them go
        if len(others) < len(there):
            _put(row, others, seen, provider, ttl, store)
        store.record_settled(row, others[0], ours=False)
        return
    _put(row, wanted, seen, provider, ttl, store)
    store.record_settled(row, row["wanted"], ours=True)


def _put(row: RecordRow, values: list[str], seen: RecordSet, provider: Provider, ttl: int, store: Store) -> None:
    store.record_trying(row)
    if values:
        provider.set(RecordSet(row["name"], row["type"], tuple(values), ttl), seen)
    else:
        provider.remove(row["name"], row["type"], seen)


def _failed(row: RecordRow, zone: str, e: VmbridgeError, store: Store) -> bool:
    """Keep what is to be done; whether others of the zone can go on. What shall be gone is never given up: the next
    customer of the address would find it."""
    detail = f"{e.sentence} {e.detail}".strip()
    if e.code == NOT_YET or (e.code == BAD_VALUE and not row["wanted"]):
        store.record_later(row, LONGEST, detail=detail)
        return True
    if e.code == BAD_VALUE:
        store.record_later(row, 0.0, detail=detail, refused=e.code)
        return True
    pause = min(LONGEST, FIRST * 2 ** min(store.zone_state(zone)["failures"], 10))
    if isinstance(e, UpstreamError) and e.retry_after:
        pause = max(pause, e.retry_after)
    store.record_later(row, pause, LOST if isinstance(e, Unknown) else 0.0, detail)
    store.zone_failed(zone, pause, detail, e.next_action)
    return False
