"""Queries of findings (what is not as it should be) and of the sweeps that look for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

from bridge.store.core import bunches, marks
from bridge.store.outbox import Outbox

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


class OpenFinding(TypedDict):
    id: int
    server: str
    kind: str
    subject: str
    service: int | None
    service_id: int | None
    whmcs: str | None


class Findings(Outbox):
    @contextmanager
    def _telling(self, server: str = "") -> Iterator[Any]:
        """Around a change of findings, of one server or of all: webhooks hear which are new and which have ended."""
        with self.write() as db:
            before = self._open_ones(server) if self.webhooks else {}
            yield db
            now = self._open_ones(server) if self.webhooks else {}
            for event, some in (("finding_opened", now.keys() - before), ("finding_closed", before.keys() - now)):
                for row in ((now | before)[key] for key in sorted(some)):
                    self.tell_webhooks(
                        event,
                        str(row["id"]),
                        row["server"],
                        row["whmcs"],
                        row["service"],
                        service_id=row["service_id"],
                        finding=row["id"],
                        kind=row["kind"],
                        subject=row["subject"],
                    )

    def _open_ones(self, server: str) -> dict[int, OpenFinding]:
        rows = self.rows_as(
            OpenFinding,
            "SELECT f.id, f.server, f.kind, f.subject, f.service, s.service_id, s.whmcs FROM findings f"
            " LEFT JOIN services s ON s.id = f.service WHERE f.ended_at IS NULL AND ?1 IN ('', f.server)",
            server,
        )
        return {r["id"]: r for r in rows}

    def find(
        self, server: str, service: int | None, kind: str, subject: str, text: str, fix: str, data: dict[str, Any]
    ) -> int:
        """Keep a finding, or that it is still so; one open row for each (server, kind, subject). Returns its id."""
        now = self.clock.now()
        with self._telling(server) as db:
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
        with self._telling(server) as db:
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
        with self._telling():
            self.change("UPDATE findings SET ended_at = ? WHERE id = ? AND ended_at IS NULL", self.clock.now(), key)

    def end_findings_of_ended(self, server: str, kinds: Sequence[str]) -> int:
        """Those about live services end with their service."""
        with self._telling(server):
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
        with self.write():
            done = self.change(
                "UPDATE findings SET dismissed = 1 WHERE id = ? AND ended_at IS NULL AND dismissed = 0", key
            )
            if done:
                self.audit("dismiss finding", "done", subject=str(key))
        return bool(done)

    # -- machines, from the last bulk read ---------------------------------------------------------
    def suspended_running(self, server: str, read_at: float, settled: float) -> list[AboutMachine]:
        """Suspended services whose machine is not off. `settled`: operations that ended after it count as open."""
        return self.rows_as(
            AboutMachine,
            f"SELECT {ABOUT}, v.status, v.node FROM services s JOIN vm_status v ON v.server = s.server"
            " AND v.vm_id = s.vm_id WHERE s.server = ? AND s.desired = 'suspended' AND v.seen_at >= ?"
            " AND v.status NOT IN ('stopped', 'unknown', 'offline') AND (s.build ->> 'closed' IS NULL"
            f" OR s.build ->> 'off_instead' IS NOT NULL) AND NOT {BUSY}",
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

    def strangers(self, server: str, read_at: float) -> set[str]:
        """Ids in the bulk read that no service has, of whatever state."""
        return set(
            self.column(
                "SELECT vm_id FROM vm_status v WHERE server = ? AND seen_at >= ? AND NOT EXISTS"
                " (SELECT 1 FROM services s WHERE s.server = v.server AND s.vm_id = v.vm_id)",
                server,
                read_at,
            )
        )

    def known_machines(
        self, server: str, vm_ids: Iterable[str], uuids: Iterable[str] = ()
    ) -> tuple[set[str], set[str]]:
        """Of these ids and uuids those that any service has, of whatever state: (ids of machines of this server,
        uuids)."""
        had: set[str] = set()
        for some in bunches(vm_ids):
            had.update(
                self.column(f"SELECT vm_id FROM services WHERE server = ? AND vm_id IN ({marks(some)})", server, *some)
            )
        told: set[str] = set()
        for some in bunches(uuids):
            told.update(self.column(f"SELECT uuid FROM service_uuids WHERE uuid IN ({marks(some)})", *some))
        return had, told

    def missing_vms(self, server: str, vm_ids: Iterable[str], settled: float) -> list[AboutMissing]:
        """Live services of these machines that were set up."""
        return [
            row
            for some in bunches(vm_ids)
            for row in self.rows_as(
                AboutMissing,
                f"SELECT {ABOUT}, s.node FROM services s WHERE s.server = ? AND s.vm_id IN ({marks(some)})"
                f" AND s.desired <> 'terminated' AND s.provisioned = 1 AND NOT {BUSY}",
                server,
                *some,
                settled,
            )
        ]

    def leftover_addresses(self, server: str, settled: float) -> list[AboutAddress]:
        """Addresses that terminated services still hold."""
        return self.rows_as(
            AboutAddress,
            f"SELECT {ABOUT}, a.address FROM services s JOIN addresses a ON a.service = s.id"
            f" WHERE s.server = ? AND s.desired = 'terminated' AND NOT {BUSY}",
            server,
            settled,
        )
