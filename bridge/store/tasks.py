"""Queries of upstream tasks that operations wait for, for the poller. A task has no table: it stands in its operation's
row."""

from __future__ import annotations

from typing import TypedDict

from bridge.store.core import Core


class TaskRow(TypedDict):
    """`id`: of the operation that waits for `task`, since `task_since`, and stands at `step`."""

    id: str
    kind: str
    step: str
    task: str
    task_since: float
    server: str


class Tasks(Core):
    def open_tasks(self, limit: int = 200) -> list[TaskRow]:
        return self.rows_as(
            TaskRow,
            "SELECT o.id, o.kind, o.step, o.task, o.task_since, s.server FROM operations o JOIN services s"
            " ON s.id = o.service WHERE o.state = 'running' AND o.task <> '' AND o.due_at <= ?"
            " ORDER BY o.due_at LIMIT ?",
            self.clock.now(),
            limit,
        )

    def next_poll(self) -> float | None:
        """When the next open task is due; None when there is none."""
        due = self.column("SELECT min(due_at) FROM operations WHERE state = 'running' AND task <> ''")[0]
        return None if due is None else float(due)

    def poll_now(self) -> None:
        """Ask for every open task at once instead of when it was due."""
        now = self.clock.now()
        self.change("UPDATE operations SET due_at = ? WHERE state = 'running' AND task <> '' AND due_at > ?", now, now)

    def task_ended(self, key: str, task: str, result: str) -> None:
        self.change(
            "UPDATE operations SET task = '', result = ?, due_at = ? WHERE id = ? AND task = ?",
            result,
            self.clock.now(),
            key,
            task,
        )

    def poll_later(self, key: str, task: str, due_at: float) -> None:
        self.change("UPDATE operations SET due_at = ? WHERE id = ? AND task = ?", due_at, key, task)
