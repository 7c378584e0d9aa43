"""What was used: traffic, and sizes over time, booked to calendar months; and the answer for WHMCS's metrics, with what
its last collection of a month missed. Reads and writes the store, never the back end."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from bridge.errors import Refused
from bridge.model import Desired
from bridge.store import Store
from bridge.store.usage import Unsettled, Used

GB, MB, GIB = 1e9, 1e6, 1024**3
EVERY = 3600.0
DAY = 86400.0
STALE_AFTER = 3 * 3600.0
SHARE, PAUSE = 1000, 0.02  # services in one transaction; seconds between two, so that others get in
KEPT_MONTHS = 14
Told = tuple[int, int, float, float, int]  # bytes in and out, byte-seconds of snapshots and backups, service id
METRICS = (
    "floating_ipv4",
    "floating_ipv6",
    "ipv4",
    "ipv6",
    "snapshots",
    "bandwidth_in",
    "bandwidth_out",
    "bandwidth_total",
    "snapshot_gb",
    "backup_gb",
)


class Month(NamedTuple):
    """A calendar month of the configured zone; `begin` and `end` are epoch seconds."""

    name: str
    begin: float
    end: float


def month_at(now: float, zone: str) -> Month:
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    return _month(local.year * 12 + local.month - 1, zone)


def month_named(name: str, zone: str) -> Month:
    year, number = map(int, name.split("-"))
    return _month(year * 12 + number - 1, zone)


def _month(number: int, zone: str) -> Month:
    first, following = (
        datetime(n // 12, n % 12 + 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC).timestamp()
        for n in (number, number + 1)
    )
    return Month(f"{number // 12:04d}-{number % 12 + 1:02d}", first, following)


def months(since: float, now: float, zone: str) -> list[Month]:
    """Every month from `since` to `now`."""
    listed = [month_at(since, zone)]
    while listed[-1].end <= now:
        listed.append(month_at(listed[-1].end, zone))
    return listed


# -- booking --------------------------------------------------------------------------------------
def book(store: Store, zone: str, stop: threading.Event | None = None) -> int:
    """Book what is an hour old, and at a month's begin everything; how many services. Whatever was missed is made up
    for."""
    now, count = store.clock.now(), 0
    before = max(now - EVERY, month_at(now, zone).begin)
    while due := store.usage_due(before, SHARE):
        store.book_usage([service for service, _ in due], months(due[0][1], now, zone))
        count += len(due)
        if store.clock.wait(stop or threading.Event(), PAUSE):
            break
    return count


def book_one(service: int, store: Store, zone: str) -> None:
    """Now: its machine is about to go."""
    mark = store.usage_mark(service)
    if mark:
        store.book_usage([service], months(min(mark["booked_at"], store.clock.now()), store.clock.now(), zone))


def begin(service: int, store: Store, zone: str) -> None:
    """A machine of ours begins its life; what its predecessor used is booked first."""
    with store.write():
        book_one(service, store, zone)
        store.begin_usage(service, from_now=False)


def adopt(service: int, store: Store) -> None:
    """What a machine did before it was adopted is nobody's."""
    store.begin_usage(service, from_now=True)


def end(service: int, store: Store, zone: str) -> None:
    """The last booking: nothing more is metered of it, and this month's sums go on being told for this month."""
    with store.write():
        book_one(service, store, zone)
        store.end_usage(service)


def put_right(store: Store, zone: str) -> int:
    """What a clock that was ahead has settled. Returns how many services."""
    now = store.clock.now()
    return store.told_ahead(month_at(now, zone).name, month_at(now + EVERY, zone).name)


def forget(store: Store, zone: str, stop: threading.Event) -> None:
    """Sums of more than 14 months ago."""
    local = datetime.fromtimestamp(store.clock.now(), ZoneInfo(zone))
    oldest = _month(local.year * 12 + local.month - 1 - KEPT_MONTHS, zone).name
    while store.forget_usage(oldest) and not store.clock.wait(stop, PAUSE):
        pass


# -- what WHMCS has not been told yet -------------------------------------------------------------
def _settle(whmcs: str, month: Month, store: Store, zone: str) -> None:
    """What was used after WHMCS's last collection of a month is added to the next month that is collected: WHMCS keeps
    one record for each month and asks for the current one only. Every service is settled once a month, after all that
    belongs to the months before is booked."""
    if store.usage_due(month.begin, 1):
        book(store, zone)
    more = True
    while more:
        with store.write():  # two that ask at once settle it once
            rows = store.unsettled(whmcs, month.name, SHARE)
            store.settle(whmcs, month.name, [(service, *left) for service, left in _left(rows, zone).items()])
        more = bool(rows)


def _left(rows: Iterable[Unsettled], zone: str) -> dict[int, tuple[int, int, float, float]]:
    """Of each service bytes in and out and GB-months of snapshots and backups."""
    left: dict[int, list[float]] = {}
    for r in rows:
        if r["service_id"] not in left:  # what was left for a month in which nothing was told is left still
            carried = (r["carried_in"], r["carried_out"], r["carried_snapshot"], r["carried_backup"])
            left[r["service_id"]] = [(c or 0) if r["told_in"] is None else 0 for c in carried]
        if r["month"] is not None:
            month = month_named(r["month"], zone)
            sums = (r["net_in"], r["net_out"], r["snapshot_byte_s"], r["backup_byte_s"])
            last = (r["told_in"], r["told_out"], r["told_snapshot"], r["told_backup"])
            for i, (used, then) in enumerate(zip(sums, last, strict=True)):
                told = then or 0 if r["month"] == r["told_month"] else 0
                left[r["service_id"]][i] += max(0, (used or 0) - told) / (
                    1 if i < 2 else (month.end - month.begin) * GB
                )
    return {
        service: (int(i), int(o), round(snapshots, 9), round(backups, 9))
        for service, (i, o, snapshots, backups) in left.items()
    }


# -- the answer -----------------------------------------------------------------------------------
def report(
    server: str, whmcs: str, store: Store, zone: str, service_id: int | None = None, billed: bool = False
) -> dict[str, Any]:
    """This month's usage of the installation's services on a server. A service whose newest generation is elsewhere is
    told there. `billed`: the numbers are for WHMCS's records; sums then have what was not told of earlier months, and
    are remembered as told."""
    for _ in range(3):
        counted, told = _report(server, whmcs, store, zone, service_id, billed)
        if not billed or store.note_told(whmcs, counted["month"]["name"], told):
            return counted
    raise Refused("The usage of a month is being settled; ask again.", code="usage_settling")


def _report(
    server: str, whmcs: str, store: Store, zone: str, service_id: int | None, billed: bool
) -> tuple[dict[str, Any], list[Told]]:
    """The answer, and what it tells of the month for WHMCS's records."""
    now = store.clock.now()
    month = month_at(now, zone)
    pools, kept = store.usage_counts()
    last_read = float(store.health(server)["refreshed_at"])
    if billed:
        store.begin_telling(whmcs, month.name)
    if billed and store.told_before(whmcs, month.name):
        _settle(whmcs, month, store, zone)
    rows = store.usage_rows(server, whmcs, month.name, service_id, carried=billed)
    if billed and any(r.settled is None for r in rows):  # some are new
        _settle(whmcs, month, store, zone)
        rows = store.usage_rows(server, whmcs, month.name, service_id, carried=True)
    of = _by_service(rows)
    told: list[Told] = []
    services = {}
    for key, generations in of.items():
        if generations[-1].server == server:
            sums = _sums(generations, month, now)
            services[str(key)] = answer = _tenant(generations, sums, month, now, last_read, pools, kept)
            if billed and not answer["stale"]:
                told.append((*sums, key))
    return {
        "month": {"name": month.name, "start": int(month.begin), "end": int(month.end), "time_zone": zone},
        "time": int(now),
        "services": services,
    }, told


class SoFar(NamedTuple):
    """Of a service: `now`, metric -> this month's sum or today's count; `days`, metric -> what a day of this month and
    one of the month before have come to, for sums alone."""

    now: dict[str, float]
    days: dict[str, list[float]]


def so_far(whmcs: str, services: Iterable[int], store: Store, zone: str) -> dict[int, SoFar]:
    """Of the installation's services with these ids; what the bridge does not meter is not there. A month of which a
    service has had less than a day says nothing of its days."""
    now, counted = store.clock.now(), dict[int, SoFar]()
    month = month_at(now, zone)
    before = month_at(month.begin - 1, zone)
    ids = list(services)
    past = _by_service(store.usage_rows_of(whmcs, before.name, ids))
    pools, kept = store.usage_counts() if ids else ({}, {})
    for service, rows in _by_service(store.usage_rows_of(whmcs, month.name, ids)).items():
        answer = _tenant(rows, _sums(rows, month, now), month, now, 0.0, pools, kept)
        began, days = min(r.created_at for r in past.get(service, rows)), dict[str, list[float]]()
        ends = [(_amounts(rows, month, now), month.begin, now)]
        if service in past:
            booked = [r._replace(booked_at=None) for r in past[service]]  # what has grown since is this month's
            ends.append((_amounts(booked, before, now), before.begin, before.end))
        for amounts, begin, end in ends:
            length = (end - max(begin, began)) / DAY
            for metric, amount in amounts.items() if length >= 1 else ():
                days.setdefault(metric, []).append(amount / length)
        counted[service] = SoFar({metric: float(answer[metric]) for metric in METRICS}, days)
    return counted


def _by_service(rows: Iterable[Used]) -> dict[int, list[Used]]:
    of: dict[int, list[Used]] = {}
    for row in rows:
        of.setdefault(row.service_id, []).append(row)
    return of


def _amounts(rows: list[Used], month: Month, now: float) -> dict[str, float]:
    """The metrics that are sums of a month."""
    net_in, net_out, snapshots, backups = _sums(rows, month, now)
    length = (month.end - month.begin) * GB
    return {
        "bandwidth_in": net_in / GB,
        "bandwidth_out": net_out / GB,
        "bandwidth_total": (net_in + net_out) / GB,
        "snapshot_gb": snapshots / length,
        "backup_gb": backups / length,
    }


def _tenant(
    rows: list[Used],
    sums: tuple[int, int, float, float],
    month: Month,
    now: float,
    last_read: float,
    pools: Mapping[int, tuple[int, int]],
    kept: Mapping[int, int],
) -> dict[str, Any]:
    """All generations together; counts, sizes and freshness are the newest one's."""
    newest, length = rows[-1], (month.end - month.begin) * GB
    net_in, net_out, snapshots, backups = sums
    late_in, late_out = newest.carried_in, newest.carried_out
    four, six, floating_four, floating_six = _addresses(newest, pools)
    alive, metered = newest.desired != Desired.TERMINATED, newest.booked_at is not None
    counted, read = newest.counted_at or 0.0, newest.seen_at or 0.0
    further = newest.additional_gib * GIB
    sold = round((newest.disk_gib * GIB + further) / MB) if alive else 0
    disk = (
        round((newest.maxdisk + further) / MB) if alive and newest.maxdisk else sold
    )  # as big as the system disk really is
    # one that is gone has its last numbers, and one that is not there yet has none
    stale = (counted < now - STALE_AFTER or read < last_read) if metered else alive
    stale = (
        stale or (newest.settled or "") > month.name
    )  # the clock went back over a month's border: what is told now was told already
    collected = counted if metered else newest.summed_at or 0.0
    return {
        "floating_ipv4": floating_four,
        "floating_ipv6": floating_six,
        "ipv4": four,
        "ipv6": six,
        "snapshots": kept.get(newest.id, 0) if alive else 0,
        "bandwidth_in": (net_in + late_in) / GB,
        "bandwidth_out": (net_out + late_out) / GB,
        "bandwidth_total": (net_in + net_out + late_in + late_out) / GB,
        "snapshot_gb": snapshots / length + newest.carried_snapshot,
        "backup_gb": backups / length + newest.carried_backup,
        "disk_mb": disk,
        "disk_limit_mb": sold,
        "bandwidth_mb": round((net_in + net_out) / MB),
        "bandwidth_limit_mb": 0,
        "collected_at": int(
            collected if stale else max(collected, month.begin)
        ),  # with an older time it could pass for the month before
        "stale": stale,
        "new": stale and not collected and newest.created_at > now - STALE_AFTER,
    }


def _sums(rows: Iterable[Used], month: Month, now: float) -> tuple[int, int, float, float]:
    """Bytes in and out, byte-seconds of snapshots and backups: what is booked and what has grown since the mark."""
    net_in = net_out = 0
    snapshots = backups = 0.0
    for r in rows:
        net_in, net_out = net_in + (r.net_in or 0), net_out + (r.net_out or 0)
        snapshots, backups = snapshots + (r.snapshot_byte_s or 0.0), backups + (r.backup_byte_s or 0.0)
        if r.booked_at is None:
            continue
        since = max(0.0, now - max(r.booked_at, month.begin))
        snapshots, backups = snapshots + r.snapshot_bytes * since, backups + r.backup_bytes * since
        if r.booked_at >= month.begin:  # else it belongs to the month before, whose booking is due
            net_in, net_out = net_in + r.grew_in, net_out + r.grew_out
    return net_in, net_out, snapshots, backups


def _addresses(row: Used, pools: Mapping[int, tuple[int, int]]) -> tuple[int, int, int, int]:
    """(IPv4, IPv6, floating IPv4, floating IPv6); our pools' addresses and those that the provider gave."""
    four, six = pools.get(row.id, (0, 0))
    if not row.given and not row.floating:
        return four, six, 0, 0
    floating: list[str] = json.loads(row.floating) if row.floating else []
    given: list[str] = json.loads(row.given) if row.given else []
    if floating and given:
        given = list(_without(given, floating))
    given_six, floating_six = (sum(":" in a for a in every) for every in (given, floating))
    return four + len(given) - given_six, six + given_six, len(floating) - floating_six, floating_six


def _without(given: Iterable[str], floating: Iterable[str]) -> Iterable[str]:
    nets = [ipaddress.ip_network(f, strict=False) for f in floating]
    return (a for a in given if not any(ipaddress.ip_interface(a).ip in n for n in nets))
