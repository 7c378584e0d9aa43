"""Queries of snapshots. The back end is the truth; rows mirror it, with what only we know (whose, how long)."""

from __future__ import annotations

from bridge.model import Snapshot
from bridge.store.core import Core, Row


class Snapshots(Core):
    def add_snapshot(self, service: int, name: str, description: str, with_memory: bool) -> None:
        """One that is being made; it counts for the quota from now on."""
        self.change(
            "INSERT INTO snapshots (service, name, description, taken_at, with_memory, state) VALUES (?, ?, ?, ?, ?, 'creating')",
            service,
            name,
            description,
            self.clock.now(),
            int(with_memory),
        )

    def snapshots_of(self, service: int, foreign: bool = False) -> list[Row]:
        """Ours, oldest first; with `foreign` also what others made."""
        return self.rows(
            "SELECT * FROM snapshots WHERE service = ? AND (foreign_one = 0 OR ?) ORDER BY taken_at, name",
            service,
            int(foreign),
        )

    def snapshot_row(self, service: int, name: str) -> Row | None:
        return self.row("SELECT * FROM snapshots WHERE service = ? AND name = ?", service, name)

    def snapshot_ready(self, service: int, name: str, found: Snapshot, lifetime: float) -> None:
        """It exists; `lifetime` in seconds, 0 = it stays."""
        self.change(
            "UPDATE snapshots SET state = 'ready', taken_at = ?, expires_at = ?, size = ? WHERE service = ? AND name = ?",
            found.taken_at,
            found.taken_at + lifetime if lifetime else None,
            found.size,
            service,
            name,
        )

    def snapshot_state(self, service: int, name: str, state: str) -> None:
        self.change("UPDATE snapshots SET state = ? WHERE service = ? AND name = ?", state, service, name)

    def forget_snapshot(self, service: int, name: str) -> None:
        self.change("DELETE FROM snapshots WHERE service = ? AND name = ?", service, name)

    def forget_snapshots(self, service: int) -> None:
        self.change("DELETE FROM snapshots WHERE service = ?", service)

    def mirror_snapshots(self, service: int, found: list[Snapshot]) -> None:
        """What is gone is forgotten, unless it is being made; what we do not know is somebody else's."""
        with self.write() as db:
            known = {r["name"]: r for r in self.snapshots_of(service, foreign=True)}
            for name, row in known.items():
                if name not in {s.name for s in found} and row["state"] != "creating":
                    self.forget_snapshot(service, name)
            for s in found:
                if s.name in known and s.size != known[s.name]["size"]:
                    db.conn.execute(
                        "UPDATE snapshots SET size = ? WHERE service = ? AND name = ?", (s.size, service, s.name)
                    )
                if s.name not in known and s.complete:
                    db.conn.execute(
                        "INSERT INTO snapshots (service, name, description, taken_at, with_memory, state, foreign_one, size)"
                        " VALUES (?, ?, ?, ?, ?, 'ready', 1, ?)",
                        (service, s.name, s.description[:1000], s.taken_at, int(s.with_memory), s.size),
                    )

    def mirrored(self, service: int) -> None:
        """Its turn is over."""
        self.change("UPDATE services SET mirrored_at = ? WHERE id = ?", self.clock.now(), service)

    def expired_snapshots(self, limit: int = 50) -> list[Row]:
        """Past their lifetime, of services where nothing is open: {service, name}."""
        return self.rows(
            "SELECT n.service, n.name FROM snapshots n JOIN services s ON s.id = n.service WHERE n.expires_at <= ? AND n.state = 'ready'"
            " AND n.foreign_one = 0 AND s.desired <> 'terminated' AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.service = n.service"
            " AND o.state IN ('running', 'waiting', 'waiting_for_staff')) GROUP BY n.service ORDER BY n.expires_at LIMIT ?",
            self.clock.now(),
            limit,
        )
