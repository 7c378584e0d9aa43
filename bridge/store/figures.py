"""Numbers for who watches: what is counted in the tables as they stand, and counters that all processes add to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypedDict

from bridge.store.console import ALIVE
from bridge.store.core import Core


class OperationCount(TypedDict):
    """Open operations; `oldest` is when the first of them was ordered."""

    server: str
    kind: str
    state: str
    n: int
    oldest: float
    failing: int


class EventCount(TypedDict):
    """Events that were not delivered yet; `failing`: tried at least once."""

    event: str
    n: int
    oldest: float
    failing: int
    held: int


class FindingCount(TypedDict):
    server: str
    kind: str
    n: int


class Figures(Core):
    def open_operations(self) -> list[OperationCount]:
        return self.rows_as(
            OperationCount,
            "SELECT s.server, o.kind, o.state, count(*) AS n, min(o.created_at) AS oldest,"
            " sum(CASE WHEN o.error_code <> '' THEN 1 ELSE 0 END) AS failing"
            " FROM operations o JOIN services s ON s.id = o.service"
            " WHERE o.state IN ('running', 'waiting', 'waiting_for_staff') GROUP BY s.server, o.kind, o.state",
        )

    def longest_due(self) -> float | None:
        """Since when the operation waits that is longest due and that nobody works on; None when none waits. Those of
        servers that do not answer, or under maintenance, wait for these."""
        now = self.clock.now()
        row = self.row(
            "SELECT min(o.due_at) AS due FROM operations o JOIN services s ON s.id = o.service"
            " LEFT JOIN server_health h ON h.server = s.server WHERE o.state = 'running' AND o.due_at <= ?"
            " AND o.lease_until <= ? AND o.task = '' AND coalesce(h.ok, 1) = 1 AND coalesce(h.maintenance, '') = ''",
            now,
            now,
        )
        return row["due"] if row else None

    def open_events(self) -> list[EventCount]:
        return self.rows_as(
            EventCount,
            "SELECT event, count(*) AS n, min(created_at) AS oldest,"
            " sum(CASE WHEN error <> '' THEN 1 ELSE 0 END) AS failing, sum(held) AS held"
            " FROM outbox WHERE sent_at IS NULL GROUP BY event",
        )

    def finding_counts(self) -> list[FindingCount]:
        """Open ones that nobody has dismissed."""
        return self.rows_as(
            FindingCount,
            "SELECT server, kind, count(*) AS n FROM findings WHERE ended_at IS NULL AND dismissed = 0"
            " GROUP BY server, kind",
        )

    def consoles_open(self) -> int:
        row = self.row(
            "SELECT count(*) AS n FROM console_sessions WHERE closed_at IS NULL AND seen_at > ?",
            self.clock.now() - ALIVE,
        )
        return int(row["n"]) if row else 0

    # -- counters ---------------------------------------------------------------------------------
    def add_counts(self, counted: Mapping[tuple[str, str], float]) -> None:
        """Add what a process has counted; keys are (name, labels as JSON)."""
        with self.write() as db:
            db.conn.executemany(
                "INSERT INTO counters (name, labels, value) VALUES (?, ?, ?)"
                " ON CONFLICT (name, labels) DO UPDATE SET value = counters.value + excluded.value",
                [(*key, value) for key, value in sorted(counted.items())],
            )

    def counters(self) -> list[tuple[str, dict[str, str], float]]:
        """(name, labels, value)"""
        rows = self.tuples("SELECT name, labels, value FROM counters ORDER BY name, labels")
        return [(str(name), json.loads(labels), float(value)) for name, labels, value in rows]
