"""Queries of findings (what is not as it should be) and of the sweeps that look for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from bridge.store.core import Core

Found = tuple[int | None, str, str, str, dict[str, Any]]
LAST = "\U0010ffff"  # sorts behind every subject
KEEP = (
    "INSERT INTO findings (server, service, kind, subject, text, fix, data, found_at, seen_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (server, kind, subject) WHERE ended_at IS NULL DO UPDATE"
    " SET text = excluded.text, fix = excluded.fix, data = excluded.data, seen_at = excluded.seen_at, service ="
    " excluded.service"
)
BUSY = (  # an operation is open, or ended so lately that the bulk read may be older
    "EXISTS (SELECT 1 FROM operations o WHERE o.service = s.id"
    " AND (o.state IN ('running', 'waiting', 'waiting_for_staff') OR o.ended_at > ?))"
)
IN_BULK = (
    "EXISTS (SELECT 1 FROM vm_status v JOIN server_health h ON h.server = v.server WHERE v.server = s.server"
    " AND v.vm_id = s.vm_id AND v.seen_at >= h.refreshed_at)"
)
ABOUT = "s.id, s.service_id, s.whmcs, s.vm_id"


class FindingRow(TypedDict):
    """`data`: what its kind keeps for who acts on it."""

    id: int
    server: str
    service: int | None
    kind: str
    subject: str
    text: str
    fix: str
    data: dict[str, Any]
    found_at: float
    seen_at: float
    ended_at: float | None
    dismissed: int


class ListedFinding(FindingRow):
    """With WHMCS's number of the service; None of one that is about no service."""

    service_id: int | None
    whmcs: str | None


class Whose(TypedDict):
    """The service that a finding is about."""

    id: int
    service_id: int
    whmcs: str


class About(Whose):
    vm_id: str


class AboutMachine(About):
    status: str
    node: str


class AboutMissing(About):
    node: str


class AboutAddress(About):
    address: str


class AboutDuplicate(AboutAddress):
    server: str
    pool: str
    foreign_id: str
    foreign_name: str


class AboutEnded(About):
    """`package`: as JSON; `elsewhere`: whether another server has a live machine of the same id."""

    package: str
    created_at: float
    ended_at: float
    elsewhere: int


class ForeignVm(TypedDict):
    vm_id: str
    node: str


class Findings(Core):
    def find(
        self, server: str, service: int | None, kind: str, subject: str, text: str, fix: str, data: dict[str, Any]
    ) -> int:
        """Keep a finding, or that it is still so; one open row for each (server, kind, subject). Returns its id."""
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute(KEEP, (server, service, kind, subject, text, fix, json.dumps(data), now, now))
            row = (
                self.row(
                    "SELECT id FROM findings WHERE server = ? AND kind = ? AND subject = ? AND ended_at IS NULL",
                    server,
                    kind,
                    subject,
                )
                or {}
            )
        return int(row["id"])

    def set_findings(self, server: str, kind: str, entries: Iterable[Found], low: str = "", high: str = LAST) -> int:
        """These are the open ones of a kind now, among the subjects from `low` to `high`; the others there end. Returns
        how many ended. Each is (service, subject, text, what helps, data)."""
        now = self.clock.now()
        rows = [
            (server, service, kind, subject, text, fix, json.dumps(data), now, now)
            for service, subject, text, fix, data in entries
        ]
        still = {r[3] for r in rows}
        with self.write() as db:
            db.conn.executemany(KEEP, rows)
            before = self.rows(
                "SELECT id, subject FROM findings WHERE server = ? AND kind = ? AND subject >= ? AND subject <= ?"
                " AND ended_at IS NULL",
                server,
                kind,
                low,
                high,
            )
            gone = [(now, r["id"]) for r in before if r["subject"] not in still]
            db.conn.executemany("UPDATE findings SET ended_at = ? WHERE id = ?", gone)
        return len(gone)

    def end_finding(self, key: int) -> None:
        self.change("UPDATE findings SET ended_at = ? WHERE id = ? AND ended_at IS NULL", self.clock.now(), key)

    def end_findings_of_ended(self, server: str, kinds: Sequence[str]) -> int:
        """Those about live services end with their service."""
        return self.change(
            f"UPDATE findings SET ended_at = ? WHERE server = ? AND kind IN ({', '.join('?' * len(kinds))})"
            " AND ended_at IS NULL AND service IN (SELECT id FROM services WHERE desired = 'terminated')",
            self.clock.now(),
            server,
            *kinds,
        )

    def findings(self, service: int | None = None, server: str = "", dismissed: bool = False) -> list[ListedFinding]:
        """Open ones, newest first, with WHMCS's number of the service; `service`: of every generation of the same
        one."""
        where, args = ["f.ended_at IS NULL"], []  # type: tuple[list[str], list[Any]]
        if service is not None:
            same = (
                "SELECT t.id FROM services t JOIN services u ON u.whmcs = t.whmcs AND u.service_id = t.service_id"
                " WHERE u.id = ?"
            )
            where, args = [*where, f"f.service IN ({same})"], [*args, service]
        if server:
            where, args = [*where, "f.server = ?"], [*args, server]
        if not dismissed:
            where.append("f.dismissed = 0")
        rows = self.rows_as(
            ListedFinding,
            "SELECT f.*, s.service_id, s.whmcs FROM findings f LEFT JOIN services s ON s.id = f.service"
            f" WHERE {' AND '.join(where)} ORDER BY f.found_at DESC, f.id DESC",
            *args,
        )
        return [{**r, "data": json.loads(str(r["data"]))} for r in rows]

    def finding(self, key: int) -> FindingRow | None:
        row = self.row_as(FindingRow, "SELECT * FROM findings WHERE id = ?", key)
        return {**row, "data": json.loads(str(row["data"]))} if row else None

    def dismiss_finding(self, key: int) -> bool:
        """Keep it out of sight until it ends."""
        return bool(
            self.change("UPDATE findings SET dismissed = 1 WHERE id = ? AND ended_at IS NULL AND dismissed = 0", key)
        )

    # -- machines, from the last bulk read ---------------------------------------------------------
    def suspended_running(self, server: str, read_at: float, settled: float) -> list[AboutMachine]:
        """Suspended services whose machine is not off. `settled`: operations that ended after it count as open."""
        return self.rows_as(
            AboutMachine,
            f"SELECT {ABOUT}, v.status, v.node FROM services s JOIN vm_status v ON v.server = s.server"
            " AND v.vm_id = s.vm_id WHERE s.server = ? AND s.desired = 'suspended' AND v.seen_at >= ?"
            " AND v.status NOT IN ('stopped', 'unknown') AND (json_extract(s.build, '$.closed') IS NULL"
            f" OR json_extract(s.build, '$.off_instead') IS NOT NULL) AND NOT {BUSY}",
            server,
            read_at,
            settled,
        )

    def leftover_vms(self, server: str, read_at: float, settled: float) -> list[AboutMachine]:
        """Machines under the ids of terminated services."""
        return self.rows_as(
            AboutMachine,
            f"SELECT {ABOUT}, v.status, v.node FROM services s JOIN vm_status v ON v.server = s.server"
            " AND v.vm_id = s.vm_id WHERE s.server = ? AND s.desired = 'terminated' AND v.seen_at >= ?"
            f" AND NOT {BUSY}",
            server,
            read_at,
            settled,
        )

    def apart(self, server: str, read_at: float) -> tuple[set[str], set[str]]:
        """Ids that only one side has: (of live services, not in the bulk read; in the bulk read, of no live
        service)."""
        ours = set(
            self.column("SELECT vm_id FROM services WHERE server = ? AND desired IN ('active', 'suspended')", server)
        )
        there = set(self.column("SELECT vm_id FROM vm_status WHERE server = ? AND seen_at >= ?", server, read_at))
        return ours - there, there - ours

    def known_machines(
        self, server: str, vm_ids: Iterable[str], uuids: Iterable[str] = ()
    ) -> tuple[set[str], set[str]]:
        """Of these ids and uuids those that any service has, of whatever state: (ids of machines of this server,
        uuids)."""
        had = self.column(
            "SELECT vm_id FROM services WHERE server = ? AND vm_id IN (SELECT value FROM json_each(?))",
            server,
            json.dumps(sorted(vm_ids)),
        )
        told = self.column(
            "SELECT u.value FROM services s, json_each(s.uuids) u WHERE u.value IN (SELECT value FROM json_each(?))",
            json.dumps(sorted(uuids)),
        )
        return set(had), set(told)

    def missing_vms(self, server: str, vm_ids: Iterable[str], settled: float) -> list[AboutMissing]:
        """Live services of these machines that were set up."""
        return self.rows_as(
            AboutMissing,
            f"SELECT {ABOUT}, s.node FROM services s WHERE s.server = ? AND s.vm_id IN (SELECT value FROM json_each(?))"
            f" AND s.desired <> 'terminated' AND s.provisioned = 1 AND NOT {BUSY}",
            server,
            json.dumps(sorted(vm_ids)),
            settled,
        )

    def leftover_addresses(self, server: str, settled: float) -> list[AboutAddress]:
        """Addresses that terminated services still hold."""
        return self.rows_as(
            AboutAddress,
            f"SELECT {ABOUT}, a.address FROM services s JOIN addresses a ON a.service = s.id"
            f" WHERE s.server = ? AND s.desired = 'terminated' AND NOT {BUSY}",
            server,
            settled,
        )

    # -- machines that are not ours ----------------------------------------------------------------
    def note_foreign_vms(self, server: str, vm_ids: set[str], settled: float) -> None:
        """The machines there are that belong to no live service, without those under removal."""
        going = set(
            self.column(
                "SELECT s.vm_id FROM operations o JOIN services s ON s.id = o.service WHERE s.server = ?"
                " AND s.desired = 'terminated' AND (o.state IN ('running', 'waiting_for_staff') OR o.ended_at > ?)",
                server,
                settled,
            )
        )
        known = set(self.column("SELECT vm_id FROM foreign_vms WHERE server = ?", server))
        if known == vm_ids - going:
            return
        with self.write() as db:
            db.conn.executemany(
                "DELETE FROM foreign_vms WHERE server = ? AND vm_id = ?",
                [(server, v) for v in known - (vm_ids - going)],
            )
            db.conn.executemany(
                "INSERT INTO foreign_vms (server, vm_id) VALUES (?, ?)", [(server, v) for v in vm_ids - going - known]
            )
            db.conn.execute(
                "DELETE FROM foreign_addresses AS a WHERE server = ?"
                " AND NOT EXISTS (SELECT 1 FROM foreign_vms f WHERE f.server = a.server AND f.vm_id = a.vm_id)",
                (server,),
            )

    def foreign_vms_due(self, server: str, before: float, limit: int) -> list[ForeignVm]:
        return self.rows_as(
            ForeignVm,
            "SELECT f.vm_id, v.node FROM foreign_vms f JOIN vm_status v ON v.server = f.server AND v.vm_id = f.vm_id"
            " WHERE f.server = ? AND f.turn_at < ? ORDER BY f.turn_at LIMIT ?",
            server,
            before,
            limit,
        )

    def save_foreign_vm(
        self, server: str, vm_id: str, name: str, volumes: Sequence[str], addresses: Iterable[str], read_at: float
    ) -> None:
        with self.write() as db:
            db.conn.execute(
                "UPDATE foreign_vms SET name = ?, volumes = ?, read_at = ?, turn_at = ? WHERE server = ? AND vm_id = ?",
                (name, json.dumps(list(volumes)), read_at, read_at, server, vm_id),
            )
            db.conn.execute("DELETE FROM foreign_addresses WHERE server = ? AND vm_id = ?", (server, vm_id))
            db.conn.executemany(
                "INSERT OR IGNORE INTO foreign_addresses VALUES (?, ?, ?)", [(a, server, vm_id) for a in addresses]
            )

    def foreign_vm_unread(self, server: str, vm_id: str, turn_at: float) -> None:
        """Its next turn comes as if it had been read then; what was known of it stays."""
        self.change("UPDATE foreign_vms SET turn_at = ? WHERE server = ? AND vm_id = ?", turn_at, server, vm_id)

    def duplicate_addresses(self, server: str) -> list[AboutDuplicate]:
        """Addresses of live services that a foreign machine of this server claims too."""
        return self.rows_as(
            AboutDuplicate,
            f"SELECT {ABOUT}, s.server, a.address, a.pool, f.vm_id AS foreign_id, v.name AS foreign_name"
            " FROM foreign_addresses f JOIN addresses a ON a.address = f.address"
            " JOIN services s ON s.id = a.service JOIN foreign_vms v ON v.server = f.server AND v.vm_id = f.vm_id"
            " WHERE f.server = ? AND s.desired <> 'terminated'",
            server,
        )

    def volume_user(self, server: str, volume: str) -> str:
        """Who names a volume that is taken for left over: a foreign machine's id, a live service's machine; empty when
        nobody. `?` while not every foreign machine has been read."""
        quoted = json.dumps(volume)
        row = self.row(
            "SELECT vm_id FROM foreign_vms WHERE server = ?1 AND instr(volumes, ?2) > 0"
            " UNION ALL SELECT vm_id FROM services WHERE server = ?1 AND desired <> 'terminated'"
            " AND (instr(seen, ?2) > 0 OR instr(seen, ?3) > 0)"
            " UNION ALL SELECT '?' FROM foreign_vms WHERE server = ?1 AND read_at = 0 LIMIT 1",
            server,
            quoted,
            quoted[:-1] + ",",
        )
        return str(row["vm_id"]) if row else ""

    # -- services in turn ----------------------------------------------------------------------------
    def count_in_turn(self, server: str) -> tuple[int, int]:
        """How many have their turn each day: (live services, foreign machines)."""
        row = (
            self.row(
                "SELECT (SELECT count(*) FROM services WHERE server = ?1"
                " AND desired IN ('active', 'suspended')) AS live, (SELECT count(*) FROM foreign_vms"
                " WHERE server = ?1) AS outside",
                server,
            )
            or {}
        )
        return int(row["live"]), int(row["outside"])

    def live_due(self, server: str, before: float, limit: int) -> list[int]:
        """Never read ones first, then the longest not visited; without those that something is being done to."""
        rows = self.rows(
            "SELECT s.id FROM services s WHERE s.server = ? AND s.swept_at < ? AND s.desired <> 'terminated'"
            f" AND s.provisioned = 1 AND NOT {BUSY} ORDER BY s.swept_at, s.id LIMIT ?",
            server,
            before,
            self.clock.now(),
            limit,
        )
        return [int(r["id"]) for r in rows]

    def ended_due(self, server: str, before: float, since: float, limit: int) -> list[About]:
        """Services terminated after `since` that were not visited lately; the bulk read has no machine under their
        ids."""
        return self.rows_as(
            About,
            f"SELECT {ABOUT} FROM services s WHERE s.server = ? AND s.swept_at < ? AND s.desired = 'terminated'"
            f" AND s.updated_at > ? AND NOT {IN_BULK} AND NOT {BUSY} ORDER BY s.swept_at LIMIT ?",
            server,
            before,
            since,
            self.clock.now(),
            limit,
        )

    def ended_services(self, server: str) -> list[AboutEnded]:
        """Terminated services without a machine, with the times of their birth and their proven end, for what they left
        on storages; `elsewhere`: another server has a live machine of the same id, and a shared storage may hold its
        disks."""
        return self.rows_as(
            AboutEnded,
            f"SELECT {ABOUT}, s.package, s.created_at, max(o.ended_at) AS ended_at, EXISTS (SELECT 1 FROM services t"
            " WHERE t.vm_id = s.vm_id AND t.server <> s.server AND t.desired <> 'terminated') AS elsewhere"
            " FROM services s JOIN operations o ON o.service = s.id AND o.kind = 'terminate' AND o.state = 'done'"
            f" WHERE s.server = ? AND s.desired = 'terminated' AND NOT {IN_BULK} AND NOT {BUSY} GROUP BY s.id",
            server,
            self.clock.now(),
        )

    def swept(self, keys: Iterable[int], at: float) -> None:
        with self.write() as db:
            db.conn.executemany("UPDATE services SET swept_at = ? WHERE id = ?", [(at, k) for k in keys])

    # -- sweeps ----------------------------------------------------------------------------------------
    def claim_sweep(self, server: str, name: str, lease: float) -> bool:
        """Take a sweep that is due; whether it was. One that is not ended within `lease` seconds is due again."""
        now = self.clock.now()
        row = self.row("SELECT due_at FROM sweeps WHERE server = ? AND name = ?", server, name)
        if row and row["due_at"] > now:
            return False
        with self.write() as db:
            db.conn.execute("INSERT OR IGNORE INTO sweeps (server, name, due_at) VALUES (?, ?, ?)", (server, name, now))
            done = db.conn.execute(
                "UPDATE sweeps SET due_at = ? WHERE server = ? AND name = ? AND due_at <= ?",
                (now + lease, server, name, now),
            )
            return bool(done.rowcount)

    def end_sweep(self, server: str, name: str, due_at: float) -> None:
        self.change("UPDATE sweeps SET due_at = ? WHERE server = ? AND name = ?", due_at, server, name)

    def set_listings(self, server: str, names: Sequence[str], period: float) -> None:
        """The lists there are now; new ones get their first turn spread over the period, those gone end with their
        findings."""
        now, wanted = self.clock.now(), {f"list {n}" for n in names}
        with self.write() as db:
            known = {
                r["name"] for r in self.rows("SELECT name FROM sweeps WHERE server = ? AND name LIKE 'list %'", server)
            }
            db.conn.executemany(
                "DELETE FROM sweeps WHERE server = ? AND name = ?", [(server, n) for n in known - wanted]
            )
            fresh = sorted(wanted - known)
            db.conn.executemany(
                "INSERT INTO sweeps (server, name, due_at) VALUES (?, ?, ?)",
                [(server, n, now + i * period / len(fresh)) for i, n in enumerate(fresh)],
            )
            for name in known - wanted:
                for kind in ("leftover_disk", "leftover_backup", "leftover_snapshot", "leftover_floating"):
                    self.set_findings(server, kind, [], f"{name[5:]} ", f"{name[5:]} {LAST}")

    def claim_listing(self, server: str, lease: float) -> str:
        """Take the longest due list; empty when none is."""
        row = self.row(
            "SELECT name FROM sweeps WHERE server = ? AND name LIKE 'list %' AND due_at <= ? ORDER BY due_at LIMIT 1",
            server,
            self.clock.now(),
        )
        return str(row["name"][5:]) if row and self.claim_sweep(server, row["name"], lease) else ""

    def all_due(self, server: str) -> None:
        """Everything is visited at the next occasion."""
        with self.write():
            self.change("UPDATE sweeps SET due_at = 0 WHERE server = ?", server)
            self.change("UPDATE services SET swept_at = 0 WHERE server = ?", server)
            self.change("UPDATE foreign_vms SET turn_at = 0 WHERE server = ?", server)
