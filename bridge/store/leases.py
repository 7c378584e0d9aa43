"""What a worker writes of the operation that it holds: each change stands under its fence, so that who has lost the
lease writes nothing."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from bridge.errors import LeaseLost
from bridge.model import Memory, Operation, State
from bridge.store.core import marks
from bridge.store.operations import Operations
from bridge.store.services import UNREADABLE


class Leases(Operations):
    # -- claim ------------------------------------------------------------------------------------
    def claim(self, owner: str, lease: float, kinds: Collection[str]) -> Operation | None:
        """Take the operation of these kinds that is longest due; servers that do not answer are left out, and on a
        server under maintenance all that has not begun. One read where nothing is due: it is asked all the time."""
        now = self.clock.now()
        where = (
            "o.state = 'running' AND o.due_at <= ? AND o.lease_until <= ? AND o.task = ''"
            f" AND o.kind IN ({marks(kinds)})"
            " AND (o.started_at IS NOT NULL OR o.stop <> ''"
            " OR s.server NOT IN (SELECT server FROM server_health WHERE maintenance <> ''))"
            " AND s.server NOT IN (SELECT server FROM server_health WHERE ok = 0)"
        )
        select = (
            f"SELECT o.id FROM operations o JOIN services s ON s.id = o.service WHERE {where} ORDER BY o.due_at LIMIT 1"
        )
        if not self.row(select, now, now, *kinds):
            return None  # look without a write lock first: idle workers must not contend
        with self.write() as db:
            row = self.row(select, now, now, *kinds)
            if row is None:
                return None
            db.conn.execute(
                "UPDATE operations SET owner = ?, lease_until = ?, fence = fence + 1,"
                " started_at = coalesce(started_at, ?) WHERE id = ?",
                (owner, now + lease, now, row["id"]),
            )
            try:
                return self.operation(row["id"])
            except UNREADABLE as e:  # it alone waits for a person; the others go on
                self.change(
                    "UPDATE operations SET state = 'waiting_for_staff', error_code = 'unreadable', error_text = ?,"
                    " next_action = ?, owner = '', lease_until = 0 WHERE id = ?",
                    f"What the operation remembers cannot be read: {e}"[:500],
                    "Put the value right in the store, then retry it.",
                    row["id"],
                )
                return None

    def renew(self, op: Operation, lease: float) -> float:
        """Hold the lease for `lease` seconds more. Raises LeaseLost when another worker has it."""
        until = self.clock.now() + lease
        self._fenced(op, "lease_until = ?", until)
        return until

    def _fenced(self, op: Operation, sets: str, *args: Any) -> None:
        done = self.change(
            f"UPDATE operations SET {sets} WHERE id = ? AND fence = ? AND state = 'running'", *args, op.id, op.fence
        )
        if not done:
            raise LeaseLost()

    def free_owner(self, owner: str) -> int:
        """Free what a worker that stops, or was seen to exit, still holds."""
        return self.change("UPDATE operations SET lease_until = 0 WHERE owner = ? AND lease_until > 0", owner)

    def let_go(self, op: Operation) -> None:
        """Another worker may go on at once."""
        self._fenced(op, "lease_until = 0")

    # -- progress ---------------------------------------------------------------------------------
    def save_memory(self, op: Operation, memory: Memory) -> None:
        self._fenced(op, "data = ?", json.dumps(memory.stored()))

    def stand(self, op: Operation, recipe: str, step: str) -> None:
        """It begins with this recipe, or goes on at a step that has another name now."""
        self._fenced(op, "recipe = ?, step = ?", recipe, step)

    def advance(self, op: Operation, step: str) -> None:
        """The step of this name is next; END behind the last."""
        self._fenced(
            op,
            "step = ?, attempt = 0, error_code = '', error_text = '', result = ''",
            step,
        )

    def await_task(self, op: Operation, task: str, due_at: float) -> None:
        """Let go of the operation until the poller has seen the end of the task."""
        self._fenced(
            op, "task = ?, task_since = ?, result = '', due_at = ?, lease_until = 0", task, self.clock.now(), due_at
        )

    def put_off(self, op: Operation, due_at: float, note: str, attempt: int, error: tuple[str, str, str]) -> None:
        self._fenced(
            op,
            "due_at = ?, result = '', lease_until = 0, note = ?, attempt = ?, error_code = ?, error_text = ?,"
            " next_action = ?",
            due_at,
            note,
            attempt,
            *error,
        )

    def wait_for_staff(self, op: Operation, error: tuple[str, str, str]) -> None:
        self._fenced(
            op,
            "state = 'waiting_for_staff', result = '', lease_until = 0, error_code = ?, error_text = ?, next_action"
            " = ?",
            *error,
        )

    def finish(self, op: Operation, state: State, error: tuple[str, str, str] = ("", "", ""), note: str = "") -> None:
        with self.write():
            self._fenced(op, "lease_until = 0")
            self.end_operation(op.id, state, error, note)
