"""Queries of the bulk status table and of server health."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple, TypedDict

from bridge.model import VmRef, VmStatus
from bridge.store.core import bunches, marks
from bridge.store.health import Healths

COLUMNS = "server, vm_id, status, node, name, uptime, cpu, cores, mem, maxmem, maxdisk, lock, disk_io, seen_at"
# bytes a second between two samples; a sample that pvestatd repeats (same uptime) tells nothing new
DISK_RATE = (
    "CASE WHEN excluded.uptime = vm_status.disk_io_uptime THEN vm_status.disk_rate"
    " WHEN excluded.uptime > vm_status.disk_io_uptime AND excluded.disk_io >= vm_status.disk_io"
    " THEN (excluded.disk_io - vm_status.disk_io) * 1.0 / (excluded.uptime - vm_status.disk_io_uptime) ELSE 0 END"
)


# -- traffic. A bulk read's numbers are the parameters ?2 to ?18 of save_statuses: ?6 uptime, ?14 in, ?15 out, ?16 not
# begun before, ?17 begun by then, ?18 now. Both ways have one counter: they begin anew together.
UP, IN, OUT = (f"CAST(?{n} AS BIGINT)" for n in (6, 14, 15))  # their type stands even where they are NULL
SINCE, BY, NOW = (f"CAST(?{n} AS DOUBLE PRECISION)" for n in (16, 17, 18))
LOWER = (
    f"(({IN} < vm_status.net_in) IS TRUE OR ({OUT} < vm_status.net_out) IS TRUE) AND NOT ({BY} > 0 AND {BY} <="
    " vm_status.counted_at)"
)
# what the last reading showed had begun by then; where no uptime is told, an unchanged number may still be the old
# counter's
LATER = (
    f"{SINCE} > vm_status.counted_at - vm_status.net_uptime AND ({UP} > 0 OR {IN} <> vm_status.net_in OR {OUT} <>"
    " vm_status.net_out)"
)
YOUNGER = f"({UP} > 0 AND {UP} < vm_status.net_uptime) OR ({LATER})"
ANEW = f"({LOWER}) OR {YOUNGER}"
# a look of our own just before the end holds: the bulk read is older
COUNTS = f"{IN} IS NOT NULL AND vm_status.net_held_until <= {NOW}"


def _total(way: str, new: str) -> str:
    """All bytes that ever went one way. What a counter that began anew says is all new: at most what went between two
    reads is lost, and nothing is counted twice. The first reading of a machine counts whole: it is as old as its
    counter. A counter that certainly did not begin anew and is lower all the same was corrected: it counts again once
    it is above what it was."""
    old = f"coalesce(vm_status.net_{way}, 0)"
    return (
        f"vm_status.total_{way} + CASE WHEN NOT ({COUNTS}) OR {new} IS NULL THEN 0 WHEN {ANEW} THEN {new}"
        f" WHEN {new} > {old} THEN {new} - {old} ELSE 0 END"
    )


def _last(way: str, new: str) -> str:
    old = f"vm_status.net_{way}"
    return (
        f"CASE WHEN NOT ({COUNTS}) THEN {old} WHEN {ANEW} THEN coalesce({new}, {old}) WHEN {new} > {old}"
        f" OR {old} IS NULL THEN {new} ELSE {old} END"
    )


COUNTED = "net_in, net_out, total_in, total_out, counted_at, net_uptime"
FIRST_COUNT = (
    f"{IN}, {OUT}, coalesce({IN}, 0), coalesce({OUT}, 0), CASE WHEN {IN} IS NULL THEN 0 ELSE {NOW} END,"
    f" CASE WHEN {IN} IS NULL THEN 0 ELSE {UP} END"
)
COUNT = ", ".join(
    (
        f"total_in = {_total('in', IN)}",
        f"total_out = {_total('out', OUT)}",
        f"net_in = {_last('in', IN)}",
        f"net_out = {_last('out', OUT)}",
        f"counted_at = CASE WHEN {COUNTS} THEN {NOW} ELSE vm_status.counted_at END",
        f"net_uptime = CASE WHEN {COUNTS} THEN {UP} ELSE vm_status.net_uptime END",
    )
)
LOOK_HOLDS = 15.0  # seconds; PVE's own samples are up to 10 s old
NO_BACKUP = 7.5 * 86400  # a schedule has a day a week at least; half a day for the backup itself
SCHEDULED = "SELECT 1 FROM schedules p WHERE p.service = s.id AND p.next_due_at IS NOT NULL"
COUNT_HOLDS = 300.0  # after this no bulk read shows an older counter than we saw ourselves


class Machine(NamedTuple):
    """`status` as last seen at `seen_at`, empty where it never was; `failed`: what was ordered last did not succeed, or
    waits for staff; `no_backup`: it has a schedule and no backup for 7 days; then its snapshots and backups with how
    many of each are sold, and whether they make room by themselves: by a lifetime, by a schedule."""

    service_id: int
    server: str
    status: str
    seen_at: float
    failed: bool
    no_backup: bool
    snapshots: int
    snapshots_sold: int
    snapshots_go: bool
    backups: int
    backups_sold: int
    backups_go: bool


class StatusRow(TypedDict):
    """A machine as last seen: sizes in bytes, `cpu` in parts of `cores`; `net_in` and `net_out` are None where its
    counter is not known."""

    server: str
    vm_id: str
    status: str
    node: str
    name: str
    uptime: int
    cpu: float
    cores: float
    mem: int
    maxmem: int
    maxdisk: int
    lock: str
    seen_at: float
    disk_io: int
    disk_io_uptime: int
    disk_rate: float
    looked_at: float
    net_in: int | None
    net_out: int | None
    counted_at: float
    total_in: int
    total_out: int
    told_at: float
    watched_at: float
    net_uptime: int
    net_held_until: float


class PolledMachine(TypedDict):
    """`status` is None, and all of the machine with it, where no bulk read ever showed it."""

    error: str
    maintenance: str
    wanted_at: float
    apart: int
    status: str | None
    uptime: int
    cpu: float
    mem: int
    maxmem: int
    lock: str
    disk_rate: float
    net_in: int | None
    net_out: int | None
    seen_at: float
    told_at: float
    watched_at: float | None
    missing: int | None


class PolledRow(PolledMachine):
    """With the current operation: its id as `operation`, None without; then the others are None too."""

    operation: str | None
    kind: str
    state: str
    step: str
    error_code: str


class Statuses(Healths):
    def save_statuses(self, server: str, lines: list[VmStatus], whole: bool = True) -> None:
        """One bulk read, `whole` or of some machines. A machine that a whole one does not have is unknown, not deleted.
        What an operation has just seen with its own eyes holds: the bulk read is some seconds old."""
        now = self.clock.now()
        newer = f"vm_status.looked_at > {NOW} - {LOOK_HOLDS!r}"
        with self.write() as db:
            db.conn.executemany(
                f"INSERT INTO vm_status ({COLUMNS}, disk_io_uptime, {COUNTED})"
                f" VALUES (?1, ?2, ?3, ?4, ?5, {UP}, ?7, ?8, ?9, ?10, ?11, ?12, ?13, {NOW}, {UP}, {FIRST_COUNT})"
                f" ON CONFLICT (server, vm_id) DO UPDATE SET status = CASE WHEN {newer} THEN vm_status.status ELSE"
                f" excluded.status END, node = excluded.node, name = excluded.name, uptime = CASE WHEN {newer} THEN"
                " vm_status.uptime ELSE excluded.uptime END, cpu = excluded.cpu, cores = excluded.cores, mem ="
                " excluded.mem, maxmem = excluded.maxmem, maxdisk = excluded.maxdisk, lock = excluded.lock,"
                f" disk_rate = {DISK_RATE}, disk_io = excluded.disk_io, disk_io_uptime = excluded.disk_io_uptime,"
                f" seen_at = excluded.seen_at, {COUNT}",
                [(server, *s[:-1], now) for s in lines],
            )
            self._save_about(server, lines)
            self._begin_health(server)
            if not whole:
                db.conn.execute(
                    "UPDATE server_health SET ok = 1, error = '', failures = 0, lease_until = 0, next_at = 0"
                    " WHERE server = ?",
                    (server,),
                )
                return
            db.conn.execute("UPDATE vm_status SET status = 'unknown' WHERE server = ? AND seen_at < ?", (server, now))
            db.conn.execute(
                "UPDATE server_health SET ok = 1, error = '', failures = 0, refreshed_at = ?, lease_until = 0,"
                " next_at = 0 WHERE server = ?",
                (now, server),
            )

    def note_traffic(self, server: str, vm_id: str, net_in: int | None, net_out: int | None, since: float) -> None:
        """What a direct look just before the counter's end saw. Bulk reads of the next minutes are older and do not
        count."""
        now = self.clock.now()
        values = (server, vm_id, "unknown", "", "", 0, 0, 0, 0, 0, 0, "", 0, net_in, net_out, since, 0, now)
        with self.write() as db:
            db.conn.execute("UPDATE vm_status SET net_held_until = 0 WHERE server = ? AND vm_id = ?", (server, vm_id))
            db.conn.execute(
                f"INSERT INTO vm_status ({COLUMNS}, {COUNTED}) VALUES (?1, ?2, ?3, ?4, ?5, {UP}, ?7, ?8, ?9, ?10, ?11,"
                f" ?12, ?13, {NOW}, {FIRST_COUNT}) ON CONFLICT (server, vm_id) DO UPDATE SET {COUNT}",
                values,
            )
            db.conn.execute(
                "UPDATE vm_status SET net_held_until = ? WHERE server = ? AND vm_id = ? AND counted_at = ?",
                (now + COUNT_HOLDS, server, vm_id, now),
            )

    def _save_about(self, server: str, lines: list[VmStatus]) -> None:
        """Written only where it changed: it is long, and the same for months."""
        told = [(server, s.vm_id, s.about) for s in lines if s.about]
        if not told:
            return
        known = {
            r["vm_id"]: r["about"] for r in self.rows("SELECT vm_id, about FROM vm_about WHERE server = ?", server)
        }
        new = [row for row in told if known.get(row[1]) != row[2]]
        if new:
            now = self.clock.now()
            with self.write() as db:
                db.conn.executemany(
                    "INSERT INTO vm_about (server, vm_id, about) VALUES (?, ?, ?)"
                    " ON CONFLICT (server, vm_id) DO UPDATE SET about = excluded.about",
                    new,
                )
                db.conn.executemany(
                    "UPDATE vm_status SET told_at = ? WHERE server = ? AND vm_id = ?", [(now, *row[:2]) for row in new]
                )

    def about(self, server: str, vm_id: str) -> dict[str, Any]:
        """What the bulk read told of a machine for people; empty where it tells nothing."""
        row = self.row("SELECT about FROM vm_about WHERE server = ? AND vm_id = ?", server, vm_id)
        facts: dict[str, Any] = json.loads(row["about"]) if row else {}
        return facts

    def note_status(self, server: str, vm_id: str, node: str, status: str, uptime: int) -> None:
        """What a direct look saw."""
        now = self.clock.now()
        self.change(
            f"INSERT INTO vm_status ({COLUMNS}, looked_at) VALUES (?, ?, ?, ?, '', ?, 0, 0, 0, 0, 0, '', 0, ?, ?)"
            " ON CONFLICT (server, vm_id) DO UPDATE SET status = excluded.status, node = excluded.node, uptime ="
            " excluded.uptime, seen_at = excluded.seen_at, looked_at = excluded.looked_at, cpu = CASE WHEN"
            " excluded.status = 'running' THEN vm_status.cpu ELSE 0 END, mem = CASE WHEN excluded.status ="
            " 'running' THEN vm_status.mem ELSE 0 END",
            server,
            vm_id,
            status,
            node,
            uptime,
            now,
            now,
        )

    def machines(self, whmcs: str, services: Iterable[int]) -> list[Machine]:
        """Of the installation's services with these ids that are not ended."""
        late = self.clock.now() - NO_BACKUP
        return [
            Machine._make(row)
            for bunch in bunches(services)
            for row in self.tuples(
                "SELECT s.service_id, s.server, coalesce(v.status, ''), coalesce(v.seen_at, 0.0), EXISTS (SELECT 1 FROM"
                " operations o WHERE o.service = s.id AND (o.state = 'waiting_for_staff' OR (o.state = 'failed' AND NOT"
                " EXISTS (SELECT 1 FROM operations n WHERE n.service = o.service AND n.number > o.number"
                f" AND n.state IN ('done', 'running', 'waiting'))))), s.created_at < ? AND EXISTS ({SCHEDULED})"
                " AND NOT EXISTS (SELECT 1 FROM backups b WHERE b.service = s.id AND b.state = 'ready'"
                " AND b.made_at > ?), (SELECT COUNT(*) FROM snapshots n WHERE n.service = s.id AND n.foreign_one = 0),"
                " coalesce(CAST(s.package ->> 'snapshots' AS INTEGER), 0), EXISTS (SELECT 1 FROM snapshots n"
                " WHERE n.service = s.id AND n.foreign_one = 0 AND n.expires_at IS NOT NULL),"
                " (SELECT COUNT(*) FROM backups b WHERE b.service = s.id AND b.foreign_one = 0),"
                f" coalesce(CAST(s.package ->> 'backups' AS INTEGER), 0), EXISTS ({SCHEDULED}) FROM services s"
                " LEFT JOIN vm_status v ON v.server = s.server AND v.vm_id = s.vm_id WHERE s.whmcs = ?"
                f" AND s.desired <> 'terminated' AND s.service_id IN ({marks(bunch)})",
                late,
                late,
                whmcs,
                *bunch,
            )
        ]

    def status_row(self, server: str, vm_id: str) -> StatusRow | None:
        return self.row_as(StatusRow, "SELECT * FROM vm_status WHERE server = ? AND vm_id = ?", server, vm_id)

    def polled(self, service: int, server: str, vm_id: str) -> PolledRow:
        """All that a browser's poll asks for in one read: `error`, `maintenance` and `wanted_at` of the server, the
        machine's columns (`status` is None where no bulk read ever showed it), and the service's current operation
        (`operation` is None without)."""
        row = self.row_as(
            PolledRow,
            "SELECT coalesce(h.error, '') AS error, coalesce(h.maintenance, '') AS maintenance,"
            " coalesce(h.wanted_at, 0) AS wanted_at, v.status, v.uptime, v.cpu, v.mem, v.maxmem, v.lock,"
            " v.disk_rate, v.net_in, v.net_out, v.seen_at, v.told_at, v.watched_at, coalesce(h.apart, 0) AS apart,"
            " v.status = 'unknown' AND v.seen_at < h.refreshed_at AS missing, o.id AS operation, o.kind, o.state,"
            " o.step, o.error_code FROM (SELECT ? AS server) q LEFT JOIN server_health h ON h.server = q.server"
            " LEFT JOIN vm_status v ON v.server = q.server AND v.vm_id = ? LEFT JOIN operations o ON o.service = ?"
            " AND o.state IN ('running', 'waiting_for_staff')",
            server,
            vm_id,
            service,
        )
        assert row is not None  # of one row, and outer joins
        return row

    def missing(self, server: str, vm_id: str) -> bool:
        """Whether a machine that was there is not in the last whole bulk read."""
        row = self.row(
            "SELECT 1 FROM vm_status v JOIN server_health h ON h.server = v.server WHERE v.server = ? AND v.vm_id = ?"
            " AND v.status = 'unknown' AND v.seen_at < h.refreshed_at",
            server,
            vm_id,
        )
        return row is not None

    def watch(self, server: str, vm_id: str) -> None:
        """Somebody looks at this machine. May be lost."""
        self.note("UPDATE vm_status SET watched_at = ? WHERE server = ? AND vm_id = ?", self.clock.now(), server, vm_id)

    def watched_count(self, server: str, seconds: float) -> int:
        row = self.row(
            "SELECT count(*) AS n FROM vm_status WHERE server = ? AND watched_at > 0 AND watched_at >= ?",
            server,
            self.clock.now() - seconds,
        )
        return int(row["n"]) if row else 0

    def watched(self, server: str, seconds: float) -> list[VmRef]:
        """Machines of living services that somebody looked at in the last `seconds`."""
        rows = self.rows(
            "SELECT s.vm_id, s.uuids FROM vm_status v JOIN services s ON s.server = v.server AND s.vm_id = v.vm_id"
            " WHERE v.server = ? AND v.watched_at > 0 AND v.watched_at >= ? AND s.desired <> 'terminated'",
            server,
            self.clock.now() - seconds,
        )
        return [VmRef(r["vm_id"], tuple(json.loads(r["uuids"]))) for r in rows]

    def claim_watched(self, server: str, age: float, lease: float) -> bool:
        """Take the right to read the watched machines alone, so long after they were read last, alone or with all."""
        now = self.clock.now()
        return bool(
            self.change(
                "UPDATE server_health SET lease_until = ?, watched_read_at = ? WHERE server = ?"
                " AND lease_until <= ? AND next_at <= ? AND watched_read_at <= ? AND refreshed_at <= ?",
                now + lease,
                now,
                server,
                now,
                now,
                now - age,
                now - age,
            )
        )
