"""What is ordered: an operation is added, cancelled or tried once more."""

from __future__ import annotations

import json
import secrets

import structlog

from bridge.kinds import BILLING, KINDS, deed
from bridge.model import Memory, Operation, State
from bridge.origin import current as origin
from bridge.store.operations import Ending, Operations

log = structlog.get_logger()


def _accepted(key: str, row: Ending, state: State, actor: str) -> None:
    log.info(
        "operation_accepted",
        operation=key,
        kind=row["kind"],
        state=state.value,
        actor=actor,
        service=row["service_id"],
        whmcs=row["whmcs"],
        server=row["server"],
        node=row["node"],
        vm=row["vm_id"],
        request=row["request"],
    )


NEXT_NUMBER = "(SELECT coalesce(max(number), 0) + 1 FROM operations)"  # the order in which they were given
# of an operation's memory, what a retry forgets
OF_THE_FAILURE = ("failing", "failing_since", "ending", "unchanged", "room_since", "room_tries", "room_due")


class Queue(Operations):
    def submit(self, service: int, kind: str, actor: str, asked: Memory | None = None) -> str:
        """Add an operation: it runs at once when nothing else does, else it waits; the newest billing order
        takes the waiting place and asks a running billing operation to stop at its next step border."""
        now, key = self.clock.now(), secrets.token_hex(6)
        with self.write() as db:
            current = self.current_operation(service)
            waiting = self.row("SELECT id FROM operations WHERE service = ? AND state = 'waiting'", service)
            if waiting:
                self.end_operation(waiting["id"], State.SUPERSEDED, note="A newer order took its place.")
            if current and kind not in BILLING and not waiting and self._steps_aside(current):
                current = None
            state = State.WAITING if current else State.RUNNING
            db.conn.execute(
                "INSERT INTO operations (id, number, service, kind, state, data, due_at, created_at, actor, request)"
                f" VALUES (?, {NEXT_NUMBER}, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    service,
                    kind,
                    state,
                    json.dumps((asked or Memory()).stored()),
                    now,
                    now,
                    actor,
                    origin().request,
                ),
            )
            row = self._ending(key)
            self.after(lambda: _accepted(key, row, state, actor))
            self.audit(kind, "accepted", row["whmcs"], row["service_id"], key, actor)
            if current:
                idle = current.state == State.STAFF or (current.error_code and not current.task)
                if current.kind in BILLING or idle:
                    self._ask_stop(current.id, "superseded")
        return key

    def _steps_aside(self, current: Operation) -> bool:
        """What waits for room lets something else be done, and goes on after it."""
        now = self.clock.now()
        return current.gives_way and bool(
            self.change(
                "UPDATE operations SET state = 'waiting' WHERE id = ? AND state = 'running' AND lease_until <= ?"
                " AND stop = ''",
                current.id,
                now,
            )
        )

    def ask_cancel(self, key: str) -> bool:
        """Stop it at its next step border, a waiting one at once; false when it has ended."""
        with self.write():
            row = self.row("SELECT state FROM operations WHERE id = ?", key)
            if row is None or row["state"] not in ("waiting", "running", "waiting_for_staff"):
                return False
            ends = self._ending(key)
            self.audit(f"cancel {ends['kind']}", "accepted", ends["whmcs"], ends["service_id"], key)
            if row["state"] == State.WAITING:
                self.end_operation(key, State.CANCELLED, note="Cancelled before it began.")
            else:
                self._ask_stop(key, "cancelled")
        return True

    def _ask_stop(self, key: str, how: str) -> None:
        self.change(
            "UPDATE operations SET stop = ?, state = 'running', due_at = CASE WHEN task = '' THEN ? ELSE due_at END"
            " WHERE id = ? AND state IN ('running', 'waiting_for_staff')",
            how,
            self.clock.now(),
            key,
        )

    def no_retry(self, key: str) -> str:
        """Why an operation cannot go on; empty when it can. What newer orders have overtaken stays as it is: an old
        create must not come back to life after a terminate."""
        row = self.row(
            "SELECT o.number, o.service, o.kind, o.state, o.stop, s.desired FROM operations o"
            " JOIN services s ON s.id = o.service WHERE o.id = ?",
            key,
        )
        if row is None or row["state"] not in ("failed", "cancelled", "waiting_for_staff", "running"):
            return f"it is {row['state'] if row else 'unknown'}"
        if row["stop"] == State.SUPERSEDED:
            return "a newer order takes its place"
        current = self.current_operation(row["service"])
        if current and current.id != key:
            return f"another operation of the service runs ({deed(current.kind)})"
        wants = KINDS[row["kind"]].wants if row["kind"] in KINDS else None
        if wants and row["desired"] != wants:
            return f"the service is ordered to be {row['desired']}"
        newer = self.rows(
            "SELECT kind FROM operations WHERE service = ? AND number > ? AND state <> 'cancelled'",
            row["service"],
            row["number"],
        )
        if any(n["kind"] in BILLING or row["kind"] not in BILLING for n in newer):
            return f"a newer operation has taken its place ({deed(newer[-1]['kind'])})"
        return ""

    def retry(self, key: str) -> str:
        """Go on with a failed, cancelled or stuck operation; empty, or the reason why not."""
        with self.write():
            reason = self.no_retry(key)
            if not reason:
                goes_on = self._ending(key)
                self.audit(f"retry {goes_on['kind']}", "accepted", goes_on["whmcs"], goes_on["service_id"], key)
                row = self.row("SELECT step, data FROM operations WHERE id = ?", key) or {}
                data = json.loads(row["data"])
                ending, unchanged = data.get("ending"), data.get("unchanged")
                self.change(
                    "UPDATE operations SET state = 'running', due_at = ?, stop = '', attempt = 0, error_code = '',"
                    " started_at = NULL, error_text = '', next_action = '', ended_at = NULL, noticed = 0, data = ?,"
                    " step = ? WHERE id = ?",
                    self.clock.now(),
                    json.dumps({name: value for name, value in data.items() if name not in OF_THE_FAILURE}),
                    row["step"] if ending is None else "" if unchanged else ending[4],
                    key,
                )
        return reason
