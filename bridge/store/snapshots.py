"""Queries of snapshots. The back end is the truth; rows mirror it, with what only we know (whose, how long)."""

from __future__ import annotations

from typing import TypedDict

from bridge.model import Snapshot
from bridge.store.core import Core


class SnapshotRow(TypedDict):
    """`state`: creating, ready, deleting or unfinished; `expires_at` is None where it stays."""

    service: int
    name: str
    description: str
    taken_at: float
    expires_at: float | None
    with_memory: int
    state: str
    foreign_one: int
    size: int


class UnfinishedSnapshot(TypedDict):
    id: int
    service_id: int
    whmcs: str
    vm_id: str
    name: str
    foreign_one: int


class ExpiredSnapshot(TypedDict):
    service: int
    name: str


class Snapshots(Core):
    def add_snapshot(self, service: int, name: str, description: str, with_memory: bool) -> None:
        """One that is being made; it counts for the quota from now on."""
        self.change(
            "INSERT INTO snapshots (service, name, description, taken_at, with_memory, state)"
            " VALUES (?, ?, ?, ?, ?, 'creating')",
            service,
            name,
            description,
            self.clock.now(),
            int(with_memory),
        )

    def snapshots_of(self, service: int, foreign: bool = False) -> list[SnapshotRow]:
        """Ours, oldest first; with `foreign` also what others made."""
        return self.rows_as(
            SnapshotRow,
            "SELECT * FROM snapshots WHERE service = ? AND (foreign_one = 0 OR ? = 1) ORDER BY taken_at, name",
            service,
            int(foreign),
        )

    def snapshot_row(self, service: int, name: str) -> SnapshotRow | None:
        return self.row_as(SnapshotRow, "SELECT * FROM snapshots WHERE service = ? AND name = ?", service, name)

    def snapshot_ready(self, service: int, name: str, snapshot: Snapshot, lifetime: float) -> None:
        """It exists; `lifetime` in seconds, 0 = it stays."""
        self.change(
            "UPDATE snapshots SET state = 'ready', taken_at = ?, expires_at = ?, size = ?, with_memory = ?"
            " WHERE service = ? AND name = ?",
            snapshot.taken_at,
            snapshot.taken_at + lifetime if lifetime else None,
            snapshot.size,
            int(snapshot.with_memory),
            service,
            name,
        )

    def snapshot_state(self, service: int, name: str, state: str) -> None:
        self.change("UPDATE snapshots SET state = ? WHERE service = ? AND name = ?", state, service, name)

    def forget_snapshot(self, service: int, name: str) -> None:
        self.change("DELETE FROM snapshots WHERE service = ? AND name = ?", service, name)

    def forget_snapshots(self, service: int) -> None:
        self.change("DELETE FROM snapshots WHERE service = ?", service)

    def mirror_snapshots(self, service: int, snapshots: list[Snapshot]) -> None:
        """What is gone is forgotten, unless it is being made; what no operation of the service's has made is somebody
        else's. What was never finished is marked so: state `unfinished`."""
        with self.write() as db:
            known = {r["name"]: r for r in self.snapshots_of(service, foreign=True)}
            for name, row in known.items():
                if name not in {s.name for s in snapshots} and row["state"] != "creating":
                    self.forget_snapshot(service, name)
            for s in snapshots:
                state = "unfinished" if s.broken else "ready"
                if s.name in known and {known[s.name]["state"], state} == {"ready", "unfinished"}:
                    self.snapshot_state(service, s.name, state)
                about = (s.size, int(s.with_memory))
                if s.name in known and about != (known[s.name]["size"], known[s.name]["with_memory"]):
                    db.conn.execute(
                        "UPDATE snapshots SET size = ?, with_memory = ? WHERE service = ? AND name = ?",
                        (*about, service, s.name),
                    )
                if s.name not in known and (s.complete or s.broken):
                    db.conn.execute(
                        "INSERT INTO snapshots (service, name, description, taken_at, with_memory, state,"
                        " foreign_one, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        (
                            service,
                            s.name,
                            s.description[:1000],
                            s.taken_at,
                            int(s.with_memory),
                            state,
                            int(not self._took(service, s.name)),
                            s.size,
                        ),
                    )

    def _took(self, service: int, name: str) -> bool:
        """Whether an operation of the service took it: one that was cancelled has given its row back."""
        return bool(
            self.row(
                "SELECT 1 FROM operations WHERE service = ? AND kind = 'take_snapshot' AND data ->> 'name' = ?",
                service,
                name,
            )
        )

    def unfinished_snapshots(self, server: str) -> list[UnfinishedSnapshot]:
        """Of live services where nothing is open: {id, service_id, whmcs, vm_id, name, foreign_one}."""
        return self.rows_as(
            UnfinishedSnapshot,
            "SELECT s.id, s.service_id, s.whmcs, s.vm_id, n.name, n.foreign_one FROM snapshots n"
            " JOIN services s ON s.id = n.service WHERE s.server = ? AND n.state = 'unfinished'"
            " AND s.desired <> 'terminated' AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.service = s.id"
            " AND o.state IN ('running', 'waiting', 'waiting_for_staff')) ORDER BY s.id, n.name",
            server,
        )

    def mirrored(self, service: int) -> None:
        """Its turn is over."""
        self.change("UPDATE services SET mirrored_at = ? WHERE id = ?", self.clock.now(), service)

    def expired_snapshots(self, limit: int = 50) -> list[ExpiredSnapshot]:
        """Past their lifetime, of services where nothing is open: {service, name}. One that could not be removed has
        its next try a day later."""
        return self.rows_as(
            ExpiredSnapshot,
            "SELECT service, name FROM (SELECT n.service, n.name, n.expires_at, row_number() OVER (PARTITION BY"
            " n.service ORDER BY n.expires_at, n.name) AS place FROM snapshots n"
            " JOIN services s ON s.id = n.service WHERE n.expires_at <= ?"
            " AND n.state = 'ready' AND n.foreign_one = 0 AND s.desired <> 'terminated' AND NOT EXISTS (SELECT 1"
            " FROM operations o WHERE o.service = n.service AND o.state IN ('running', 'waiting',"
            " 'waiting_for_staff')) AND NOT EXISTS (SELECT 1 FROM operations f WHERE f.service = n.service"
            " AND f.kind = 'delete_snapshot' AND f.state = 'failed' AND f.ended_at > ?"
            " AND f.data ->> 'name' = n.name)) t WHERE place = 1 ORDER BY expires_at LIMIT ?",
            self.clock.now(),
            self.clock.now() - 86400.0,
            limit,
        )
