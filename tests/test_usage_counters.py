"""Properties of the counters: whatever happens between two readings, nothing is counted twice, and no more is lost than what a reading
could not have seen."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import usage
from bridge.model import VmStatus
from bridge.packages import of_plan
from bridge.store import Store
from drivers.hetzner import convert as monthly
from drivers.proxmox import convert as tap
from tests.configs import KEY, raw_config
from tests.held import HeldClock

STEPS = settings(max_examples=120, deadline=None)
ZONE = "Europe/Berlin"


class Books:
    """A store with one service, and what its machine really sent."""

    def __init__(self, start: float) -> None:
        from bridge.config import from_dict

        self.folder = tempfile.TemporaryDirectory()
        self.clock = HeldClock(start)
        self.open()
        self.store.migrate()
        package = of_plan(from_dict(raw_config()).plans["kvm-s"])
        self.service = self.store.add_service(package, whmcs="main", service_id=1, generation=1, client_id=7, desired="active", server="pve1",
                                              hostname="vm", vm_id="20000", mac="", uuids=["u"])
        usage.begin(self.service.id, self.store, ZONE)
        self.true = [0, 0]

    def open(self) -> None:
        self.store = Store(Path(self.folder.name) / "vmbridge.db", KEY, self.clock)

    def restart(self) -> None:
        self.store.close()
        self.open()

    def read(self, line: VmStatus) -> None:
        self.store.save_statuses("pve1", [line])

    @property
    def counted(self) -> list[int]:
        """Booked, and waiting to be: of all months."""
        usage.book_one(self.service.id, self.store, ZONE)
        rows = self.store.usage_sums(self.service.id)
        return [sum(r["net_in"] for r in rows), sum(r["net_out"] for r in rows)]

    def close(self) -> None:
        self.store.close()
        self.folder.cleanup()


@dataclass
class Tap:
    """A running machine whose counter begins with its process. `history`: what it sent, as (time, in, out)."""

    books: Books
    started: float
    count: list[int] = field(default_factory=lambda: [0, 0])
    history: list[tuple[float, int, int]] = field(default_factory=list)
    running: bool = True

    def send(self, seconds: float, net_in: int, net_out: int) -> None:
        self.books.clock.time += seconds
        if self.running:
            self.count = [self.count[0] + net_in, self.count[1] + net_out]
            self.books.true = [self.books.true[0] + net_in, self.books.true[1] + net_out]
            self.history.append((self.books.clock.time, net_in, net_out))

    def restart(self, on: bool) -> None:
        self.count, self.started, self.running = [0, 0], self.books.clock.time, on

    def line(self) -> VmStatus:
        up = int(self.books.clock.time - self.started) if self.running else 0
        row = {"vmid": 20000, "status": "running", "uptime": up, "netin": self.count[0], "netout": self.count[1]}
        return tap.status(row, self.books.clock.time)


WAIT = st.sampled_from([1.0, 7.0, 60.0, 400.0, 3600.0, 86400.0])
AMOUNT = st.integers(0, 5_000_000_000)
HAPPENS = st.sampled_from(["read", "again", "gap", "stop", "start", "migrate", "book", "bridge"])
EVENTS = st.lists(st.one_of(st.tuples(st.just("send"), WAIT, AMOUNT, AMOUNT), st.tuples(HAPPENS)), max_size=40)


@STEPS
@given(EVENTS)
def test_a_counter_that_begins_with_the_process(events: list[tuple[object, ...]]) -> None:
    """Never more than was sent. Lost is only what was sent between two readings of which the machine began anew in between, and, where
    the new counter cannot be told from the old one, as much again of the time before."""
    books = Books(1_800_000_000.0)
    machine, last, restarted, forgivable = Tap(books, books.clock.time), books.clock.time, False, [0, 0]
    for kind, *values in events:
        if kind == "send":
            machine.send(*values)  # type: ignore[arg-type]
        elif kind in ("stop", "start", "migrate"):
            restarted = True
            machine.restart(kind != "stop")
        elif kind == "gap":  # the node was away: the row has no counters
            books.read(VmStatus("20000", "unknown", counting_since=0.0))
        elif kind in ("read", "again"):
            if restarted:
                since = last - (books.clock.time - last)
                for at, net_in, net_out in machine.history:
                    if at > since:
                        forgivable = [forgivable[0] + net_in, forgivable[1] + net_out]
            books.read(machine.line())
            if kind == "again":
                books.read(machine.line())
            last, restarted = books.clock.time, False
        elif kind == "book":
            usage.book(books.store, ZONE)
        elif kind == "bridge":
            books.restart()
    unread = [sum(h[way] for h in machine.history if h[0] > last) for way in (1, 2)]
    for way in (0, 1):
        assert books.true[way] - forgivable[way] - unread[way] <= books.counted[way] <= books.true[way], (events, way, books.counted, books.true)
    books.close()


@STEPS
@given(st.lists(st.tuples(st.sampled_from(["send", "read", "null", "lower", "book", "bridge"]), st.sampled_from([60.0, 3600.0, 7200.0, 86400.0]), AMOUNT),
                max_size=60))
def test_a_counter_that_begins_with_the_month(events: list[tuple[str, float, int]]) -> None:
    """The provider tells this month's traffic, at times nothing, at times a corrected number. Never more is counted than it ever told,
    and what it told last of each month is not lost."""
    books = Books(datetime(2027, 1, 30, tzinfo=UTC).timestamp())
    month, count, told = (2027, 1), 0, {}  # type: tuple[tuple[int, int], int, dict[tuple[int, int], int]]
    for kind, seconds, amount in events:
        books.clock.time += seconds
        at = datetime.fromtimestamp(books.clock.time, UTC)
        if (at.year, at.month) != month:
            month, count = (at.year, at.month), 0
        if kind == "send":
            count += amount
        elif kind == "bridge":
            books.restart()
        elif kind == "book":
            usage.book(books.store, ZONE)
        else:
            now = books.clock.time
            settled = now > monthly.traffic_since(now) + monthly.LATE + 86400 and month in told  # a correction does not come with the reset
            value = None if kind == "null" else count - min(count, amount % 1000) if kind == "lower" and settled else count
            since, by = monthly.traffic_since(now), monthly.traffic_by(now)
            books.read(VmStatus("20000", "running", net_in=value, net_out=value, counting_since=since, counting_by=by))
            if value is not None:
                told[month] = max(told.get(month, 0), value)
    assert books.counted[0] <= sum(told.values()), (events, told)
    # a month whose first reading is not below the last of the month before, and came within its first hours, looks like the same month
    missed = sum(min(told[m], told[n]) for m, n in zip(sorted(told), sorted(told)[1:], strict=False))
    assert books.counted[0] >= sum(told.values()) - missed, (events, told)
    books.close()


@STEPS
@given(st.lists(st.tuples(st.sampled_from(["book", "one", "bridge", "size"]), st.floats(0.0, 20 * 86400.0), st.integers(0, 10**14)), max_size=25))
def test_every_byte_second_is_booked_once(events: list[tuple[str, float, int]]) -> None:
    """However the bookings fall, the sums of all months are the sizes times the time since the booking that saw them."""
    books = Books(datetime(2026, 12, 29, 5, tzinfo=UTC).timestamp())
    store, seen, booked_at, expected = books.store, 0, books.clock.time, 0.0
    store.change("INSERT INTO backups (service, archive, made_at, size, state) VALUES (1, 'a', 0, 0, 'ready')")
    size = 0
    for kind, seconds, value in [*events, ("one", 0.0, 0)]:
        books.clock.time += seconds
        if kind == "size":
            size = value
            books.store.change("UPDATE backups SET size = ?", size)
        elif kind == "bridge":
            books.restart()
        else:
            due = kind == "one" or bool(books.store.usage_due(max(books.clock.time - 3600, usage.month_at(books.clock.time, ZONE).begin), 1))
            at = books.clock.time
            if kind == "one":
                usage.book_one(1, books.store, ZONE)
            else:
                usage.book(books.store, ZONE)
            if due:
                expected, booked_at, seen = expected + seen * (at - booked_at), at, size
    rows = books.store.usage_sums(1)
    assert abs(sum(r["backup_byte_s"] for r in rows) - expected) <= expected * 1e-9 + 1.0
    for row in rows:  # no month holds more than its own length of the largest size
        year, number = map(int, row["month"].split("-"))
        month = usage.month_at(datetime(year, number, 15, tzinfo=UTC).timestamp(), ZONE)
        assert row["backup_byte_s"] <= max([0, *(v for k, _, v in events if k == "size")]) * (month.end - month.begin) * (1 + 1e-9)
    books.close()
