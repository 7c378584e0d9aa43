"""Whose turn it is: sweeps, services and storage lists by when they were last visited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.store.findings import ABOUT, BUSY, IN_BULK, LAST, About, Findings


class AboutEnded(About):
    """`package`: as JSON; `elsewhere`: whether another server has a live machine of the same id."""

    package: str
    created_at: float
    ended_at: float
    elsewhere: int


class Sweeps(Findings):
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

    def claim_sweep(self, server: str, name: str, lease: float) -> bool:
        """Take a sweep that is due; whether it was. One that is not ended within `lease` seconds is due again."""
        now = self.clock.now()
        row = self.row("SELECT due_at FROM sweeps WHERE server = ? AND name = ?", server, name)
        if row and row["due_at"] > now:
            return False
        with self.write() as db:
            db.conn.execute(
                "INSERT INTO sweeps (server, name, due_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (server, name, now)
            )
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
