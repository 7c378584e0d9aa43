"""Queries of operations' steps: what was tried, when, and how it went. Where an operation stands is told by its own
row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from bridge.store.core import Core, bunches, marks


class StepRow(TypedDict):
    """`ended_at` is None while it runs or waits; `technical` is for staff only."""

    id: int
    operation: str
    name: str
    state: str
    attempt: int
    started_at: float
    ended_at: float | None
    message: str
    technical: str


class Steps(Core):
    def step_started(self, key: str, name: str) -> None:
        with self.write():
            row = self.row(
                "SELECT id, attempt FROM steps WHERE operation = ? AND name = ? AND ended_at IS NULL",
                key,
                name,
            )
            if row:  # a step that merely waited goes on; only a failure makes it another attempt
                self.change(
                    "UPDATE steps SET attempt = CASE WHEN state = 'retrying' THEN attempt + 1 ELSE attempt END,"
                    " state = 'running' WHERE id = ?",
                    row["id"],
                )
            else:
                self.change(
                    "INSERT INTO steps (operation, name, state, attempt, started_at) VALUES (?, ?, 'running', 1, ?)",
                    key,
                    name,
                    self.clock.now(),
                )

    def step_note(self, key: str, name: str, state: str, message: str, technical: str, ended: bool) -> None:
        self.change(
            "UPDATE steps SET state = ?, message = ?, technical = CASE WHEN ? = '' THEN technical ELSE ? END,"
            " ended_at = ? WHERE operation = ? AND name = ? AND ended_at IS NULL",
            state,
            message[:500],
            technical,
            technical[:1000],
            self.clock.now() if ended else None,
            key,
            name,
        )

    def steps(self, key: str) -> list[StepRow]:
        return self.rows_as(StepRow, "SELECT * FROM steps WHERE operation = ? ORDER BY id", key)

    def steps_of(self, keys: Sequence[str]) -> dict[str, list[StepRow]]:
        """The steps of many operations in one query."""
        steps: dict[str, list[StepRow]] = {k: [] for k in keys}
        for some in bunches(keys):
            for row in self.rows_as(
                StepRow, f"SELECT * FROM steps WHERE operation IN ({marks(some)}) ORDER BY id", *some
            ):
                steps[row["operation"]].append(row)
        return steps
