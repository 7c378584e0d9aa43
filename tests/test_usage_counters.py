"""Properties of the counters: whatever happens between two readings, nothing is counted twice, and no more is lost than
what a reading could not have seen."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.metering import usage
from bridge.model import VmStatus
from bridge.orders.packages import of_plan
from bridge.store import Store
from drivers.hetzner import convert as monthly
from drivers.proxmox import convert as tap
from tests import stores
from tests.configs import KEY, raw_config
from tests.held import HeldClock
from tests.stores import place

STEPS = settings(max_examples=120, deadline=None)
ZONE = "Europe/Berlin"


class Books:
    """A store with one service, and what its machine really sent."""

    def __init__(self, start: float) -> None:
        from bridge.config import from_dict

        self.folder = tempfile.TemporaryDirectory()
        self.clock = HeldClock(start)
        place(Path(self.folder.name) / "vmbridge.db")
        self.open()
        package = of_plan(from_dict(raw_config()).plans["kvm-s"])
        self.service = stores.add(self.store, package, 1, vm_id="20000", uuids=["u"])
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
        rows = stores.months(self.store, self.service.id)
        return [sum(r["net_in"] for r in rows), sum(r["net_out"] for r in rows)]

    def __enter__(self) -> Books:
        return self

    def __exit__(self, *_: object) -> None:
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


SHORT = [
    ("send", 60.0, 10, 10),
    ("send", 60.0, 10, 10),
    ("send", 60.0, 10, 10),
    ("read",),
    ("migrate",),
    ("send", 7.0, 50, 50),
    ("read",),
]


@STEPS
@example(SHORT)  # the counter is above what it was, its process is younger
@example([("send", 86400.0, 10, 10), ("read",), ("migrate",), ("send", 86400.0, 10, 10), ("read",)])
@example(
    [
        ("send", 3600.0, 10, 5),
        ("read",),
        ("gap",),
        ("stop",),
        ("read",),
        ("again",),
        ("start",),
        ("send", 400.0, 10, 50),
        ("read",),
    ]
)
@given(EVENTS)
def test_a_counter_that_begins_with_the_process(events: list[tuple[object, ...]]) -> None:
    """Never more than was sent. Lost is only what was sent between two readings of which the machine began anew in
    between, and, where the new counter cannot be told from the old one, as much again of the time before."""
    with Books(1_800_000_000.0) as books:
        machine, last, restarted, forgivable = Tap(books, books.clock.time), books.clock.time, False, [0, 0]
        for kind, *values in events:
            if kind == "send":
                machine.send(*values)
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
            assert books.true[way] - forgivable[way] - unread[way] <= books.counted[way] <= books.true[way], (
                events,
                way,
                books.counted,
                books.true,
            )


TURN = [("send", 3600.0, 1000), ("read", 60.0, 0), ("send", 86400.0, 1), ("read", 82800.0, 0)]


@STEPS
@example([*TURN, ("send", 60.0, 999), ("read", 60.0, 0)])  # one way is below, the other above what it was
@example([("send", 60.0, 5000), ("read", 60.0, 0), ("lower", 3600.0, 7), ("read", 60.0, 0)])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["send", "read", "null", "lower", "book", "bridge"]),
            st.sampled_from([60.0, 3600.0, 7200.0, 86400.0]),
            AMOUNT,
        ),
        max_size=60,
    )
)
def test_a_counter_that_begins_with_the_month(events: list[tuple[str, float, int]]) -> None:
    """The provider tells this month's traffic, at times nothing, at times a corrected number. Never more is counted
    than it ever told, and what it told last of each month is not lost."""
    with Books(datetime(2027, 1, 30, tzinfo=UTC).timestamp()) as books:
        month, count = (2027, 1), [0, 0]
        told: dict[tuple[int, int], list[int]] = {}
        missed, read_at = [0, 0], 0.0
        for kind, seconds, amount in events:
            books.clock.time += seconds
            at = datetime.fromtimestamp(books.clock.time, UTC)
            if (at.year, at.month) != month:
                month, count = (at.year, at.month), [0, 0]
            if kind == "send":
                count = [count[0] + amount, count[1] + amount * 7919 % 4_000_000_007]
            elif kind == "bridge":
                books.restart()
            elif kind == "book":
                usage.book(books.store, ZONE)
            else:
                now = books.clock.time
                since, by = monthly.traffic_since(now), monthly.traffic_by(now)
                corrected = (
                    kind == "lower" and month in told and 0 < by <= read_at
                )  # a correction does not come with the reset
                value = (
                    [None, None]
                    if kind == "null"
                    else [c - amount % 1000 if corrected and c > 1000 else c for c in count]
                )
                books.read(
                    VmStatus(
                        "20000", "running", net_in=value[0], net_out=value[1], counting_since=since, counting_by=by
                    )
                )
                if value[0] is not None:
                    before = told.get(max(told), [0, 0]) if told and month not in told else [0, 0]
                    if before <= value and before[1] <= value[1]:  # nothing tells it from the old month
                        missed = [m + b for m, b in zip(missed, before, strict=True)]
                    read_at = now
                    told[month] = [max(t, v) for t, v in zip(told.get(month, [0, 0]), value, strict=True)]
        for way in (0, 1):
            whole = sum(t[way] for t in told.values())
            assert whole - missed[way] <= books.counted[way] <= whole, (events, told)


@STEPS
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["book", "one", "bridge", "size"]), st.floats(0.0, 20 * 86400.0), st.integers(0, 10**14)
        ),
        max_size=25,
    )
)
def test_every_byte_second_is_booked_once(events: list[tuple[str, float, int]]) -> None:
    """However the bookings fall, the sums of all months are the sizes times the time since the booking that saw
    them."""
    with Books(datetime(2026, 12, 29, 5, tzinfo=UTC).timestamp()) as books:
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
                due = kind == "one" or bool(
                    books.store.usage_due(max(books.clock.time - 3600, usage.month_at(books.clock.time, ZONE).begin), 1)
                )
                at = books.clock.time
                if kind == "one":
                    usage.book_one(1, books.store, ZONE)
                else:
                    usage.book(books.store, ZONE)
                if due:
                    expected, booked_at, seen = expected + seen * (at - booked_at), at, size
        rows = stores.months(books.store, 1)
        assert abs(sum(r["backup_byte_s"] for r in rows) - expected) <= expected * 1e-9 + 1.0
        for row in rows:  # no month holds more than its own length of the largest size
            month = usage.month_named(row["month"], ZONE)
            assert row["backup_byte_s"] <= max([0, *(v for k, _, v in events if k == "size")]) * (
                month.end - month.begin
            ) * (1 + 1e-9)
