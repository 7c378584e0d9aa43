"""Queries of backups and their schedules. The storage is the truth; rows mirror it, with the customer's note."""

from __future__ import annotations

import json
from typing import Any, TypedDict

from bridge.model import Backup
from bridge.store.core import Core


class BackupRow(TypedDict):
    """`archive` is empty and `state` creating while it is made, then ready; `operation`: which made it, or empty."""

    id: int
    service: int
    archive: str
    note: str
    made_at: float
    size: int
    operation: str
    local_date: str
    state: str
    foreign_one: int


class Maker(TypedDict):
    """The operation that made a backup."""

    id: str
    note: str
    date: str


class ScheduleRow(TypedDict):
    """`days`: {"0": "02:30"} by weekday with Monday 0; `next_due_at` is None where no day is chosen."""

    service: int
    time_zone: str
    days: dict[str, str]
    next_due_at: float | None
    last_date: str


def _schedule(row: ScheduleRow) -> ScheduleRow:
    return {**row, "days": json.loads(str(row["days"]))}


class Backups(Core):
    def add_backup(self, service: int, operation: str, note: str, local_date: str = "") -> int:
        """One that is being made; it counts for the quota from now on. `local_date`: of a scheduled one."""
        return self.insert(
            "INSERT INTO backups (service, operation, note, made_at, local_date, state)"
            " VALUES (?, ?, ?, ?, ?, 'creating')",
            service,
            operation,
            note,
            self.clock.now(),
            local_date,
        )

    def backups_of(self, service: int, foreign: bool = False) -> list[BackupRow]:
        """Ours, newest first; with `foreign` also what others made."""
        return self.rows_as(
            BackupRow,
            "SELECT * FROM backups WHERE service = ? AND (foreign_one = 0 OR ? = 1) ORDER BY made_at DESC, id DESC",
            service,
            int(foreign),
        )

    def backup_row(self, service: int, key: int) -> BackupRow | None:
        return self.row_as(BackupRow, "SELECT * FROM backups WHERE service = ? AND id = ?", service, key)

    def backup_of_operation(self, operation: str) -> BackupRow | None:
        return self.row_as(BackupRow, "SELECT * FROM backups WHERE operation = ?", operation)

    def backup_made(self, key: int, backup: Backup) -> None:
        """It is there. A look at the storage that saw it first has taken it for another one's: that row goes."""
        with self.write() as db:
            db.conn.execute(
                "DELETE FROM backups WHERE archive = ? AND id <> ? AND service = (SELECT service FROM backups WHERE"
                " id = ?)",
                (backup.archive, key, key),
            )
            db.conn.execute(
                "UPDATE backups SET archive = ?, made_at = ?, size = ?, state = 'ready' WHERE id = ?",
                (backup.archive, backup.made_at, backup.size, key),
            )

    def forget_backup(self, key: int) -> None:
        self.change("DELETE FROM backups WHERE id = ?", key)

    def mirror_backups(self, service: int, backups: list[Backup], since: float) -> None:
        """What is listed is there; what carries the mark of an operation of ours is ours, the rest others'. `since`:
        archives older than the service are another owner's and not shown at all. A list without anything is not
        believed when there was something: a storage that is not mounted looks like that."""
        listed = {b.archive: b for b in backups if b.made_at >= since}
        with self.write() as db:
            known = {r["archive"]: r for r in self.backups_of(service, foreign=True)}
            for archive, row in known.items():
                if archive and listed and archive not in listed:
                    self.forget_backup(row["id"])
            for archive, b in listed.items():
                operation = self._maker(service, b.mark)
                theirs = archive in known and bool(known[archive]["foreign_one"])
                if theirs and operation and self.backup_of_operation(operation["id"]) is None:
                    self.forget_backup(known.pop(archive)["id"])  # it was listed before it had its mark
                if archive in known:
                    db.conn.execute(
                        "UPDATE backups SET size = ? WHERE service = ? AND archive = ?", (b.size, service, archive)
                    )
                elif operation is None or self.backup_of_operation(operation["id"]) is None:
                    db.conn.execute(
                        "INSERT INTO backups (service, archive, note, made_at, size, operation, local_date, state,"
                        " foreign_one) VALUES (?, ?, ?, ?, ?, ?, ?, 'ready', ?)",
                        (
                            service,
                            archive,
                            operation["note"] if operation else b.mark[:500],
                            b.made_at,
                            b.size,
                            operation["id"] if operation else "",
                            operation["date"] if operation else "",
                            int(operation is None and not b.automatic),
                        ),
                    )

    def _maker(self, service: int, mark: str) -> Maker | None:
        """The operation of the service that made an archive, by the mark beside it: {id, note, date}."""
        name, _, key = mark.partition(" ")
        return (
            self.row_as(
                Maker,
                "SELECT id, coalesce(data ->> 'note', '') AS note, coalesce(data ->> 'date', '') AS date"
                " FROM operations WHERE id = ? AND service = ?"
                " AND kind IN ('take_backup', 'scheduled_backup')",
                key.strip(),
                service,
            )
            if name == "vmbridge"
            else None
        )

    # -- schedules --------------------------------------------------------------------------------
    def schedule(self, service: int) -> ScheduleRow | None:
        row = self.row_as(ScheduleRow, "SELECT * FROM schedules WHERE service = ?", service)
        return _schedule(row) if row else None

    def save_schedule(self, service: int, time_zone: str, days: dict[str, str], next_due_at: float | None) -> None:
        self.change(
            "INSERT INTO schedules (service, time_zone, days, next_due_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (service) DO UPDATE SET time_zone = excluded.time_zone, days = excluded.days, next_due_at"
            " = excluded.next_due_at",
            service,
            time_zone,
            json.dumps(days),
            next_due_at,
        )

    def due_schedules(self, limit: int = 100) -> list[ScheduleRow]:
        """Schedules whose time has come, of active services where nothing is open; longest due first."""
        rows = self.rows_as(
            ScheduleRow,
            "SELECT c.* FROM schedules c JOIN services s ON s.id = c.service WHERE c.next_due_at <= ?"
            " AND s.desired = 'active' AND s.provisioned = 1 AND s.build ->> 'restoring' IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.service = c.service"
            " AND o.state IN ('running', 'waiting', 'waiting_for_staff')) ORDER BY c.next_due_at LIMIT ?",
            self.clock.now(),
            limit,
        )
        return [_schedule(r) for r in rows]

    def schedule_done(self, service: int, local_date: str, next_due_at: float | None) -> None:
        self.change(
            "UPDATE schedules SET last_date = ?, next_due_at = ? WHERE service = ?", local_date, next_due_at, service
        )

    def mirrors_due(self, server: str, before: float, limit: int) -> list[int]:
        """Services whose snapshots and backups were last looked at before then."""
        rows = self.rows(
            "SELECT id FROM services WHERE server = ? AND desired <> 'terminated' AND provisioned = 1"
            " AND mirrored_at < ? ORDER BY mirrored_at LIMIT ?",
            server,
            before,
            limit,
        )
        return [int(r["id"]) for r in rows]

    def costly_since(self, service: int, kinds: tuple[str, ...], since: float) -> list[float]:
        """When the customer began operations of these kinds, oldest first."""
        marks: list[Any] = [*kinds]
        rows = self.rows(
            f"SELECT created_at FROM operations WHERE service = ? AND kind IN ({', '.join('?' * len(kinds))})"
            " AND created_at > ? AND actor LIKE 'client%' ORDER BY created_at",
            service,
            *marks,
            since,
        )
        return [float(r["created_at"]) for r in rows]
