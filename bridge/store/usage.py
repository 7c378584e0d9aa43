"""Queries of what was used. A mark says up to where a service is booked; the sums are kept for each calendar month, and
beside them what WHMCS was told last of a month and what it still has to be told of the months before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypedDict

from bridge.store.core import Core, bunches, marks

Months = Sequence[tuple[str, float, float]]  # (name, begin, end), without gaps
MONTH = "(?, CAST(? AS DOUBLE PRECISION), CAST(? AS DOUBLE PRECISION))"
MACHINE = "LEFT JOIN vm_status v ON v.server = s.server AND v.vm_id = m.vm_id"
# a row that was forgotten and begun anew is not less than nothing
GREW = "CASE WHEN v.total_{way} > m.base_{way} THEN v.total_{way} - m.base_{way} ELSE 0 END"
GREWN = [f"CASE WHEN m.booked_at >= p.begins THEN {GREW.format(way=w)} ELSE 0 END AS net_{w}" for w in ("in", "out")]
SPENT = (  # seconds of a month that lie between the mark and now
    "CASE WHEN p.ends < n.at THEN p.ends ELSE n.at END - CASE WHEN p.begins > m.booked_at THEN p.begins ELSE"
    " m.booked_at END"
)
SIZES = (
    "coalesce((SELECT sum(n.size) FROM snapshots n WHERE n.service = m.service AND n.state = 'ready'"
    " AND n.foreign_one = 0), 0)",
    "coalesce((SELECT sum(b.size) FROM backups b WHERE b.service = m.service AND b.state = 'ready'"
    " AND b.foreign_one = 0), 0)",
)
LATE = 180.0  # seconds: an idle server is read every minute
KNOWN = (
    "(SELECT v.total_{way} FROM vm_status v JOIN services s ON s.server = v.server WHERE s.id = m.service AND"
    " v.vm_id = m.vm_id AND v.counted_at > 0)"
)


class Used(NamedTuple):
    """One generation of a service in a month: what is booked (None: nothing), what has grown since the mark
    (`booked_at` None: it has none), how its machine was seen, and what is left to be told of the months before
    `settled` (None: that is not known)."""

    service_id: int
    id: int
    server: str
    desired: str
    created_at: float
    net_in: int | None
    net_out: int | None
    snapshot_byte_s: float | None
    backup_byte_s: float | None
    summed_at: float | None
    booked_at: float | None
    snapshot_bytes: int
    backup_bytes: int
    grew_in: int
    grew_out: int
    counted_at: float | None
    seen_at: float | None
    maxdisk: int | None
    disk_gib: int
    additional_gib: int
    given: str | None
    floating: str | None
    settled: str | None
    carried_in: int
    carried_out: int
    carried_snapshot: float
    carried_backup: float


class UsageMark(TypedDict):
    """Up to where a service is booked, and from which counts on; None: begins with the next booking."""

    service: int
    vm_id: str
    base_in: int | None
    base_out: int | None
    snapshot_bytes: int
    backup_bytes: int
    booked_at: float


class Unsettled(TypedDict):
    """`told_month` None: never told; `told_*` None: nothing in that month; `month` None: nothing booked since."""

    service_id: int
    told_month: str | None
    told_in: int | None
    told_out: int | None
    told_snapshot: float | None
    told_backup: float | None
    carried_in: int | None
    carried_out: int | None
    carried_snapshot: float | None
    carried_backup: float | None
    month: str | None
    net_in: int | None
    net_out: int | None
    snapshot_byte_s: float | None
    backup_byte_s: float | None


class Usages(Core):
    def usage_due(self, before: float, limit: int) -> list[tuple[int, float]]:
        """(service, booked up to), longest ago first, of those that were booked before then."""
        rows = self.rows(
            "SELECT service, booked_at FROM usage_marks WHERE booked_at < ? ORDER BY booked_at LIMIT ?", before, limit
        )
        return [(int(r["service"]), float(r["booked_at"])) for r in rows]

    def usage_mark(self, service: int) -> UsageMark | None:
        return self.row_as(UsageMark, "SELECT * FROM usage_marks WHERE service = ?", service)

    def begin_usage(self, service: int, from_now: bool) -> None:
        """The service's machine is the one its row names. What another machine did under the same id is not its own,
        nor, with `from_now`, what it did itself before: where that is not known by a late reading, the next booking is
        where it begins."""
        now = self.clock.now()
        known = (
            f"CASE WHEN v.counted_at > CAST(?1 AS DOUBLE PRECISION) - {LATE!r} THEN v.total_%s END"
            if from_now
            else "coalesce(v.total_%s, 0)"
        )
        self.change(
            "INSERT INTO usage_marks (service, vm_id, base_in, base_out, booked_at) SELECT s.id, s.vm_id,"
            f" {known % 'in'}, {known % 'out'}, CAST(?1 AS DOUBLE PRECISION) FROM services s"
            " LEFT JOIN vm_status v ON v.server = s.server AND v.vm_id = s.vm_id WHERE s.id = ?2"
            " ON CONFLICT (service) DO UPDATE SET vm_id = excluded.vm_id, base_in = excluded.base_in,"
            " base_out = excluded.base_out WHERE usage_marks.vm_id <> excluded.vm_id",
            now,
            service,
        )

    def book_usage(self, services: Iterable[int], months: Months) -> None:
        """Add what has grown since the mark to the month in which the mark lies, and the sizes of the mark times the
        time since to the months they lay in; then move the mark. All or nothing, so a repeat adds nothing."""
        now = self.clock.now()
        with self.write():
            for some in bunches(services):
                self._book(some, months, now)

    def _book(self, services: tuple[int, ...], months: Months, now: float) -> None:
        """`book_usage` of some services in two statements: the sums of each month, then the marks."""
        self.change(
            f"WITH month (name, begins, ends) AS (VALUES {', '.join(MONTH for _ in months)}), now (at) AS (SELECT"
            " CAST(? AS DOUBLE PRECISION)) INSERT INTO usage AS u (service, month, net_in, net_out, snapshot_byte_s,"
            " backup_byte_s, booked_at) SELECT k.service, k.name, k.net_in, k.net_out, k.snapshot_bytes * k.spent,"
            f" k.backup_bytes * k.spent, k.at FROM (SELECT m.service, p.name, {', '.join(GREWN)}, m.snapshot_bytes,"
            f" m.backup_bytes, {SPENT} AS spent, n.at FROM now n JOIN usage_marks m ON m.booked_at <= n.at"
            f" JOIN services s ON s.id = m.service {MACHINE} JOIN month p ON p.begins <= n.at AND p.ends > m.booked_at"
            f" WHERE m.service IN ({marks(services)})) k WHERE true ON CONFLICT (service, month) DO UPDATE"
            " SET net_in = u.net_in + excluded.net_in, net_out = u.net_out + excluded.net_out, snapshot_byte_s ="
            " u.snapshot_byte_s + excluded.snapshot_byte_s, backup_byte_s = u.backup_byte_s +"
            " excluded.backup_byte_s, booked_at = excluded.booked_at",
            *(value for month in months for value in month),
            now,
            *services,
        )
        self.change(
            f"UPDATE usage_marks AS m SET base_in = coalesce({KNOWN.format(way='in')}, base_in), base_out ="
            f" coalesce({KNOWN.format(way='out')}, base_out), snapshot_bytes = {SIZES[0]}, backup_bytes ="
            f" {SIZES[1]}, booked_at = ? WHERE service IN ({marks(services)}) AND booked_at <= ?",
            now,
            *services,
            now,
        )

    def end_usage(self, service: int) -> None:
        """Nothing more is metered of it; what is booked stays."""
        self.change("DELETE FROM usage_marks WHERE service = ?", service)

    def usage_rows(
        self, server: str, whmcs: str, month: str, service_id: int | None = None, carried: bool = False
    ) -> list[Used]:
        """Of the installation's services that were on this server, every generation, the oldest first. With `carried`
        also what is left of the months before."""
        one = "" if service_id is None else " AND t.service_id = ?4"
        args: list[object] = [month, whmcs, server] + ([] if service_id is None else [service_id])
        chosen = f"SELECT t.service_id FROM services t WHERE t.server = ?3 AND t.whmcs = ?2{one}"
        return self._usage_rows(chosen, args, carried)

    def usage_rows_of(self, whmcs: str, month: str, services: Iterable[int]) -> list[Used]:
        """The same of the installation's services with these ids, wherever they are."""
        return [
            row
            for bunch in bunches(services)
            for row in self._usage_rows(
                ", ".join(f"?{n + 3}" for n in range(len(bunch))), [month, whmcs, *bunch], carried=False
            )
        ]

    def _usage_rows(self, chosen: str, args: list[object], carried: bool) -> list[Used]:
        """`chosen`: the service ids or a query of them; `args`: month, installation, and what `chosen` needs."""
        left, join, more = "NULL, 0, 0, 0.0, 0.0", "", ""
        if carried:
            left = "d.month, " + ", ".join(f"coalesce(d.carried_{w}, 0)" for w in ("in", "out", "snapshot", "backup"))
            join = " LEFT JOIN usage_told d ON d.whmcs = s.whmcs AND d.service_id = s.service_id"
            more = " OR (d.month = ?1 AND d.carried_in + d.carried_out + d.carried_snapshot + d.carried_backup > 0)"
        return [
            Used._make(r)
            for r in self.tuples(
                "SELECT s.service_id, s.id, s.server, s.desired, s.created_at, u.net_in, u.net_out,"
                " u.snapshot_byte_s, u.backup_byte_s, u.booked_at, m.booked_at, m.snapshot_bytes, m.backup_bytes,"
                f" {GREW.format(way='in')}, {GREW.format(way='out')}, v.counted_at, v.seen_at, v.maxdisk,"
                " CAST(s.package ->> 'disk_gib' AS BIGINT), CAST(s.package ->> 'additional_disk_gib' AS BIGINT),"
                f" s.build ->> 'addresses', s.build ->> 'floating', {left} FROM services s"
                " LEFT JOIN usage u ON u.service = s.id AND u.month = ?1 LEFT"
                f" JOIN usage_marks m ON m.service = s.id {MACHINE}{join} WHERE s.whmcs = ?2"
                f" AND s.service_id IN ({chosen}) AND (s.desired <> 'terminated' OR u.service IS NOT NULL{more})"
                " ORDER BY s.service_id, s.generation",
                *args,
            )
        ]

    def usage_counts(self) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
        """({service: (IPv4, IPv6)} of our pools' addresses, {service: own snapshots})."""
        given = self.tuples(
            "SELECT service, count(*), count(*) FILTER (WHERE address LIKE '%:%') FROM addresses"
            " WHERE service IS NOT NULL AND role IN ('main', 'extra') GROUP BY service"
        )
        kept = self.tuples(
            "SELECT service, count(*) FROM snapshots WHERE state = 'ready' AND foreign_one = 0 GROUP BY service"
        )
        return {service: (every - six, six) for service, every, six in given}, dict(kept)

    # -- what WHMCS was told ----------------------------------------------------------------------
    def begin_telling(self, whmcs: str, month: str) -> None:
        """The installation asks for the first time: what was used before this month is not its concern. That it asked
        is kept under service 0, since it may have no services yet."""
        if not self.row("SELECT 1 FROM usage_told WHERE whmcs = ? LIMIT 1", whmcs):
            self.change(
                "INSERT INTO usage_told (whmcs, service_id, month) SELECT CAST(?1 AS TEXT), 0, CAST(?2 AS TEXT) UNION"
                " SELECT whmcs, service_id, CAST(?2 AS TEXT) FROM services WHERE whmcs = ?1 ON CONFLICT DO NOTHING",
                whmcs,
                month,
            )

    def told_before(self, whmcs: str, month: str) -> bool:
        """Whether a service was told last in an earlier month."""
        return bool(
            self.row("SELECT 1 FROM usage_told WHERE whmcs = ? AND month < ? AND service_id <> 0 LIMIT 1", whmcs, month)
        )

    def told_ahead(self, month: str, highest: str) -> int:
        """A clock that was ahead has settled months to come: begin with this one anew. Returns how many."""
        return self.change(
            "UPDATE usage_told SET month = ?, net_in = NULL, net_out = NULL, snapshot_byte_s = NULL, backup_byte_s"
            " = NULL, carried_in = 0, carried_out = 0, carried_snapshot = 0, carried_backup = 0 WHERE month > ?",
            month,
            highest,
        )

    def unsettled(self, whmcs: str, month: str, limit: int) -> list[Unsettled]:
        """Services of which it is not known what is left to tell of the months before: what was told in the last month
        that was settled (nulls: nothing), what had been left for that month itself, and a row for each month since then
        with its sums."""
        return self.rows_as(
            Unsettled,
            "WITH open AS (SELECT DISTINCT s.service_id, d.month FROM services s LEFT"
            " JOIN usage_told d ON d.whmcs = s.whmcs AND d.service_id = s.service_id WHERE s.whmcs = ?1"
            " AND (d.month IS NULL OR d.month < ?2) LIMIT ?3) SELECT o.service_id, o.month AS told_month, d.net_in"
            " AS told_in, d.net_out AS told_out, d.snapshot_byte_s AS told_snapshot, d.backup_byte_s AS"
            " told_backup, d.carried_in, d.carried_out, d.carried_snapshot, d.carried_backup, u.month,"
            " sum(u.net_in) AS net_in, sum(u.net_out) AS net_out, sum(u.snapshot_byte_s) AS snapshot_byte_s,"
            " sum(u.backup_byte_s) AS backup_byte_s FROM open o LEFT JOIN usage_told d ON d.whmcs = ?1"
            " AND d.service_id = o.service_id JOIN services s ON s.whmcs = ?1 AND s.service_id = o.service_id LEFT"
            " JOIN usage u ON u.service = s.id AND u.month < ?2 AND u.month >= coalesce(o.month, '')"
            " GROUP BY o.service_id, o.month, d.net_in, d.net_out, d.snapshot_byte_s,"
            " d.backup_byte_s, d.carried_in, d.carried_out, d.carried_snapshot, d.carried_backup, u.month"
            " ORDER BY o.service_id, u.month",
            whmcs,
            month,
            limit,
        )

    def settle(self, whmcs: str, month: str, carried: Iterable[tuple[int, int, int, float, float]]) -> None:
        """(service id, bytes in and out, GB-months of snapshots and backups) left to be told in this month, of which
        nothing was told."""
        with self.write() as db:
            db.conn.executemany(
                "INSERT INTO usage_told (whmcs, month, service_id, carried_in, carried_out, carried_snapshot,"
                " carried_backup) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (whmcs, service_id) DO UPDATE"
                " SET month = excluded.month, net_in = NULL, net_out = NULL, snapshot_byte_s = NULL, backup_byte_s"
                " = NULL, carried_in = excluded.carried_in, carried_out = excluded.carried_out, carried_snapshot ="
                " excluded.carried_snapshot, carried_backup = excluded.carried_backup",
                [(whmcs, month, *c) for c in carried],
            )

    def note_told(self, whmcs: str, month: str, sums: Collection[tuple[int, int, float, float, int]]) -> bool:
        """(bytes in and out, byte-seconds of snapshots and backups, service id) as told of this month, without what is
        carried. False, and nothing is noted, when another month was settled meanwhile."""
        with self.write() as db:
            db.conn.execute("SAVEPOINT told")
            done = db.conn.executemany(
                "UPDATE usage_told SET net_in = ?, net_out = ?, snapshot_byte_s = ?, backup_byte_s = ?"
                " WHERE service_id = ? AND whmcs = ? AND month = ?",
                [(*s, whmcs, month) for s in sums],
            ).rowcount
            whole = max(done, 0) == len(sums)  # -1 of none
            if not whole:
                db.conn.execute("ROLLBACK TO told")
            db.conn.execute("RELEASE told")
        return bool(whole)

    def forget_usage(self, before: str, limit: int = 500) -> int:
        """Forget the sums of months before this one; how many."""
        return self.change(
            "DELETE FROM usage WHERE (service, month) IN (SELECT service, month FROM usage WHERE month < ? LIMIT ?)",
            before,
            limit,
        )
