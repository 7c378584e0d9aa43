"""Queries of what was used. A mark says up to where a service is booked; the sums are kept for each calendar month."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from bridge.store.core import Core, Row

Months = Sequence[tuple[str, float, float]]  # (name, begin, end), without gaps
MONTHS = (
    "WITH month (name, begins, ends) AS"
    " (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?1))"
)
MACHINE = "LEFT JOIN vm_status v ON v.server = s.server AND v.vm_id = m.vm_id"
GREW = "max(0, coalesce(v.total_{way} - m.base_{way}, 0))"  # a row that was forgotten and begun anew is not less than nothing
SIZES = (
    "coalesce((SELECT sum(n.size) FROM snapshots n WHERE n.service = m.service AND n.state = 'ready' AND n.foreign_one = 0), 0)",
    "coalesce((SELECT sum(b.size) FROM backups b WHERE b.service = m.service AND b.state = 'ready' AND b.foreign_one = 0), 0)",
)
LATE = 180.0  # seconds: an idle server is read every minute
KNOWN = "(SELECT v.total_{way} FROM vm_status v JOIN services s ON s.server = v.server WHERE s.id = m.service AND v.vm_id = m.vm_id AND v.counted_at > 0)"


class Usages(Core):
    def usage_due(self, before: float, limit: int) -> list[tuple[int, float]]:
        """(service, booked up to), longest ago first, of those that were booked before then."""
        found = self.rows("SELECT service, booked_at FROM usage_marks WHERE booked_at < ? ORDER BY booked_at LIMIT ?", before, limit)
        return [(int(r["service"]), float(r["booked_at"])) for r in found]

    def usage_mark(self, service: int) -> Row | None:
        return self.row("SELECT * FROM usage_marks WHERE service = ?", service)

    def begin_usage(self, service: int, from_now: bool) -> None:
        """The service's machine is the one its row names. What another machine did under the same id is not its own, nor, with
        `from_now`, what it did itself before: where that is not known by a late reading, the next booking is where it begins."""
        now = self.clock.now()
        known = f"CASE WHEN v.counted_at > {now - LATE!r} THEN v.total_%s END" if from_now else "coalesce(v.total_%s, 0)"
        self.change(
            f"INSERT INTO usage_marks (service, vm_id, base_in, base_out, booked_at) SELECT s.id, s.vm_id, {known % 'in'}, {known % 'out'}, ?"
            " FROM services s LEFT JOIN vm_status v ON v.server = s.server AND v.vm_id = s.vm_id WHERE s.id = ?"
            " ON CONFLICT (service) DO UPDATE SET vm_id = excluded.vm_id, base_in = excluded.base_in, base_out = excluded.base_out"
            " WHERE vm_id <> excluded.vm_id", now, service,
        )

    def book_usage(self, services: Iterable[int], months: Months) -> None:
        """Add what has grown since the mark to the month in which the mark lies, and the sizes of the mark times the time since to
        the months they lay in; then move the mark. All or nothing, so a repeat adds nothing."""
        now, keys, when = self.clock.now(), json.dumps(list(services)), json.dumps(list(months))
        grew = ", ".join(f"CASE WHEN m.booked_at >= p.begins THEN {GREW.format(way=w)} ELSE 0 END" for w in ("in", "out"))
        spent = "max(0, min(p.ends, ?2) - max(p.begins, m.booked_at))"
        with self.write() as db:
            db.conn.execute(
                f"{MONTHS} INSERT INTO usage (service, month, net_in, net_out, snapshot_byte_s, backup_byte_s, booked_at)"
                f" SELECT m.service, p.name, {grew}, m.snapshot_bytes * {spent}, m.backup_bytes * {spent}, ?2"
                f" FROM json_each(?3) k JOIN usage_marks m ON m.service = k.value JOIN services s ON s.id = m.service {MACHINE}"
                " JOIN month p ON p.begins <= ?2 AND p.ends > m.booked_at WHERE m.booked_at <= ?2"
                " ON CONFLICT (service, month) DO UPDATE SET net_in = net_in + excluded.net_in, net_out = net_out + excluded.net_out,"
                " snapshot_byte_s = snapshot_byte_s + excluded.snapshot_byte_s, backup_byte_s = backup_byte_s + excluded.backup_byte_s,"
                " booked_at = excluded.booked_at", (when, now, keys),
            )
            db.conn.execute(
                f"UPDATE usage_marks AS m SET base_in = coalesce({KNOWN.format(way='in')}, base_in), base_out = coalesce({KNOWN.format(way='out')}, base_out),"
                f" snapshot_bytes = {SIZES[0]}, backup_bytes = {SIZES[1]}, booked_at = ?"
                " WHERE service IN (SELECT value FROM json_each(?)) AND booked_at <= ?", (now, keys, now),
            )

    def end_usage(self, service: int) -> None:
        """Nothing more is metered of it; what is booked stays."""
        self.change("DELETE FROM usage_marks WHERE service = ?", service)

    def usage_sums(self, service: int) -> list[Row]:
        """Every month of a service row, oldest first."""
        return self.rows("SELECT * FROM usage WHERE service = ? ORDER BY month", service)

    def usage_rows(self, server: str, whmcs: str, month: str, service_id: int | None = None) -> list[Row]:
        """What is booked of this month and what waits to be, one row for each generation of the installation's services that were on
        this server, oldest generation first."""
        one = "" if service_id is None else " AND t.service_id = ?4"
        args: list[object] = [month, whmcs, server] + ([] if service_id is None else [service_id])
        return self.rows(
            "SELECT s.service_id, s.id, s.server, s.desired, u.net_in, u.net_out, u.snapshot_byte_s, u.backup_byte_s, u.booked_at AS summed_at,"
            f" m.booked_at, m.snapshot_bytes, m.backup_bytes, {GREW.format(way='in')} AS grew_in, {GREW.format(way='out')} AS grew_out,"
            " v.counted_at, v.seen_at, v.maxdisk, json_extract(s.package, '$.disk_gib') AS disk_gib,"
            " json_extract(s.package, '$.additional_disk_gib') AS additional_gib,"
            " json_extract(s.build, '$.addresses') AS given, json_extract(s.build, '$.floating') AS floating"
            " FROM services s LEFT JOIN usage u ON u.service = s.id AND u.month = ?1 LEFT JOIN usage_marks m ON m.service = s.id"
            f" {MACHINE} WHERE s.whmcs = ?2 AND s.service_id IN (SELECT t.service_id FROM services t WHERE t.server = ?3 AND t.whmcs = ?2{one})"
            " AND (s.desired <> 'terminated' OR u.service IS NOT NULL) ORDER BY s.service_id, s.generation", *args,
        )

    def usage_counts(self) -> tuple[dict[int, tuple[int, int]], dict[int, int]]:
        """({service: (IPv4, IPv6)} of our pools' addresses, {service: own snapshots})."""
        given = self.rows(
            "SELECT service, sum(address NOT LIKE '%:%') AS four, sum(address LIKE '%:%') AS six FROM addresses"
            " WHERE service IS NOT NULL AND role IN ('main', 'extra') GROUP BY service"
        )
        kept = self.rows("SELECT service, count(*) AS n FROM snapshots WHERE state = 'ready' AND foreign_one = 0 GROUP BY service")
        return {r["service"]: (r["four"], r["six"]) for r in given}, {r["service"]: r["n"] for r in kept}

    def forget_usage(self, before: str, limit: int = 500) -> int:
        """Forget the sums of months before this one; how many."""
        return self.change(
            "DELETE FROM usage WHERE (service, month) IN (SELECT service, month FROM usage WHERE month < ? LIMIT ?)", before, limit
        )
