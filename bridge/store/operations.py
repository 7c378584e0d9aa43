"""Operations as they stand: read, and ended. Ordering them (queue), working on them (leases), places for heavy work
(slots) and lists for staff (worklists) have modules of their own, as have their steps and upstream tasks."""

from __future__ import annotations

import json
from typing import TypedDict

import structlog

from bridge.counts import counts
from bridge.model import Memory, Operation, State
from bridge.store.outbox import Outbox
from bridge.store.services import UNREADABLE

log = structlog.get_logger()
GOOD = {"create": "ready", "suspend": "suspended", "unsuspend": "unsuspended", "terminate": "terminated"}  # webhooks'
BACKUPS = ("take_backup", "scheduled_backup")

COLUMNS = (
    "id, service, kind, state, recipe, step, attempt, data, task, result, fence, stop, due_at, created_at, started_at,"
    " ended_at, error_code, error_text, next_action, note, actor,"
    " request"
)


class OperationRow(TypedDict):
    """`data`: the memory as JSON; `started_at` is None before it began, `ended_at` before it ended."""

    id: str
    service: int
    kind: str
    state: str
    recipe: str
    step: str
    attempt: int
    data: str
    task: str
    result: str
    fence: int
    stop: str
    due_at: float
    created_at: float
    started_at: float | None
    ended_at: float | None
    error_code: str
    error_text: str
    next_action: str
    note: str
    actor: str
    request: str


class Ending(TypedDict):
    """An operation that ends, and whose it is."""

    service: int
    kind: str
    request: str
    created_at: float
    service_id: int
    whmcs: str
    server: str
    node: str
    vm_id: str


def shown(row: OperationRow) -> Operation:
    """To be looked at: of a memory that cannot be read the values stand in `rest`, as they were written."""
    try:
        return operation_of(row)
    except UNREADABLE:
        try:
            rest = json.loads(row["data"])
        except ValueError:
            rest = {}
        return operation_of(row, Memory(rest=rest if isinstance(rest, dict) else {}))


def operation_of(row: OperationRow, memory: Memory | None = None) -> Operation:
    """A row as the engine has it. `memory`: what the caller has read of `data` already."""
    return Operation(
        id=row["id"],
        service=row["service"],
        kind=row["kind"],
        recipe=row["recipe"],
        step=row["step"],
        attempt=row["attempt"],
        task=row["task"],
        result=row["result"],
        fence=row["fence"],
        stop=row["stop"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        error_code=row["error_code"],
        error_text=row["error_text"],
        next_action=row["next_action"],
        note=row["note"],
        actor=row["actor"],
        request=row["request"],
        state=State(row["state"]),
        memory=Memory.read(json.loads(row["data"])) if memory is None else memory,
    )


def _ended(key: str, row: Ending, state: State, error: tuple[str, str, str], now: float) -> None:
    """Told once it stands in the store."""
    labels = {"kind": row["kind"], "state": state.value}
    counts.observe("vmbridge_operation_duration_seconds", labels, now - row["created_at"])
    log.info(
        "operation_superseded" if state is State.SUPERSEDED else "operation_ended",
        operation=key,
        kind=row["kind"],
        state=state.value,
        code=error[0],
        seconds=round(now - row["created_at"], 1),
        service=row["service_id"],
        whmcs=row["whmcs"],
        server=row["server"],
        node=row["node"],
        vm=row["vm_id"],
        request=row["request"],
    )


class Operations(Outbox):
    def end_operation(self, key: str, state: State, error: tuple[str, str, str] = ("", "", ""), note: str = "") -> None:
        """End it and let the waiting one of the same service run."""
        now = self.clock.now()
        with self.write():
            self.change(
                "UPDATE operations SET state = ?, ended_at = ?, error_code = ?, error_text = ?, next_action = ?,"
                " note = ?, task = '', result = '', stop = '', lease_until = 0, slot_node = '', slot_storage = '',"
                " planned_mib = 0, planned_gib = 0 WHERE id = ?",
                state,
                now,
                *error,
                note,
                key,
            )
            row = self._ending(key)
            self.after(lambda: _ended(key, row, state, error, now))
            told = f"{state.value} {error[0]}".strip()
            self._tell_end(key, row, state, error[0], now)
            self.audit(f"{row['kind']} ended", told, row["whmcs"], row["service_id"], key)
            # what a page has read of the machine before is old
            self.change("UPDATE services SET edits = edits + 1 WHERE id = ?", row["service"])
            if state is not State.DONE:
                self._give_back(key)
            if self.current_operation(row["service"]) is None:
                self.change(
                    "UPDATE operations SET state = 'running', due_at = CASE WHEN CAST(data ->> 'room_due' AS DOUBLE"
                    " PRECISION) > ?1 THEN CAST(data ->> 'room_due' AS DOUBLE PRECISION) ELSE ?1 END WHERE service = ?2"
                    " AND state = 'waiting'",
                    now,
                    row["service"],
                )

    def _tell_end(self, key: str, row: Ending, state: State, code: str, now: float) -> None:
        event = GOOD.get(row["kind"]) if state is State.DONE else None
        if state is State.FAILED:
            event = "backup_failed" if row["kind"] in BACKUPS else "failed"
        if event:
            facts = {"service_id": row["service_id"], "operation": key, "kind": row["kind"], "code": code}
            self.tell_webhooks(event, f"{key}:{now:.3f}", row["server"], row["whmcs"], row["service"], **facts)

    def _ending(self, key: str) -> Ending:
        row = self.row_as(
            Ending,
            "SELECT o.service, o.kind, o.request, o.created_at, s.service_id, s.whmcs, s.server, s.node, s.vm_id"
            " FROM operations o JOIN services s ON s.id = o.service WHERE o.id = ?",
            key,
        )
        if row is None:
            raise KeyError(key)
        return row

    def _give_back(self, key: str) -> None:
        """What was being made or removed and now is not: its place in the quota is free, or it is there again."""
        name = "(SELECT data ->> 'name' FROM operations WHERE id = ?)"
        of = "service = (SELECT service FROM operations WHERE id = ?)"
        self.change("DELETE FROM backups WHERE operation = ? AND state = 'creating'", key)
        self.change(f"DELETE FROM snapshots WHERE {of} AND state = 'creating' AND name = {name}", key, key)
        self.change(
            f"UPDATE snapshots SET state = 'ready' WHERE {of} AND state = 'removing' AND name = {name}", key, key
        )

    def operation(self, key: str) -> Operation:
        row = self.row_as(OperationRow, f"SELECT {COLUMNS} FROM operations WHERE id = ?", key)
        if row is None:
            raise KeyError(key)
        return operation_of(row)

    def current_operation(self, service: int) -> Operation | None:
        row = self.row_as(
            OperationRow,
            f"SELECT {COLUMNS} FROM operations WHERE service = ? AND state IN ('running', 'waiting_for_staff')",
            service,
        )
        return shown(row) if row else None

    def open_operation_of(self, whmcs: str, service_id: int) -> Operation | None:
        """The current operation of a WHMCS service, of its newest generation first: an older one may still be
        removed."""
        columns = ", ".join(f"o.{c.strip()}" for c in COLUMNS.split(","))
        row = self.row_as(
            OperationRow,
            f"SELECT {columns} FROM operations o JOIN services s ON s.id = o.service WHERE s.whmcs = ?"
            " AND s.service_id = ? AND o.state IN ('running', 'waiting_for_staff') ORDER BY s.generation DESC"
            " LIMIT 1",
            whmcs,
            service_id,
        )
        return shown(row) if row else None

    def newest(self, service: int, kinds: tuple[str, ...] = ()) -> Operation | None:
        """The newest operation, of these kinds when some are given, in whatever state."""
        of = f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        row = self.row_as(
            OperationRow,
            f"SELECT {COLUMNS} FROM operations WHERE service = ?{of} ORDER BY created_at DESC, number DESC LIMIT 1",
            service,
            *kinds,
        )
        return shown(row) if row else None

    def newest_open(self, service: int) -> Operation | None:
        """What will decide how the service looks: the waiting operation, else the current one."""
        row = self.row_as(
            OperationRow,
            f"SELECT {COLUMNS} FROM operations WHERE service = ? AND state IN ('running', 'waiting',"
            " 'waiting_for_staff') ORDER BY state = 'waiting' DESC LIMIT 1",
            service,
        )
        return shown(row) if row else None

    def operations_of(
        self, service: int | None = None, limit: int = 50, states: tuple[str, ...] = ()
    ) -> list[Operation]:
        """Newest first; all services when `service` is None."""
        where: list[str] = ["1 = 1"]
        args: list[int | str] = []
        if service is not None:
            where, args = [*where, "service = ?"], [service]
        if states:
            where, args = [*where, f"state IN ({', '.join('?' * len(states))})"], [*args, *states]
        rows = self.rows_as(
            OperationRow,
            f"SELECT {COLUMNS} FROM operations WHERE {' AND '.join(where)} ORDER BY created_at DESC, number DESC"
            " LIMIT ?",
            *args,
            limit,
        )
        return [shown(r) for r in rows]

    def past_durations(self, kind: str, limit: int = 20) -> list[float]:
        rows = self.rows(
            "SELECT ended_at - started_at AS took FROM operations WHERE kind = ? AND state = 'done'"
            " AND started_at IS NOT NULL ORDER BY ended_at DESC LIMIT ?",
            kind,
            limit,
        )
        return [float(r["took"]) for r in rows]
