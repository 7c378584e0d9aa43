"""Queries of operations: submit, claim by lease, fence, slots. Their steps and their upstream tasks have modules of
their own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from typing import Any, TypedDict

from bridge.errors import LeaseLost
from bridge.kinds import BILLING, KINDS
from bridge.model import Memory, Operation, Planned, Sold, State
from bridge.store.core import Core
from bridge.store.services import UNREADABLE, package_of

COLUMNS = (
    "id, service, kind, state, recipe, step, attempt, data, task, result, fence, stop, due_at, created_at, started_at,"
    " ended_at, error_code, error_text, next_action, note, actor"
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


class OrderedBy(TypedDict):
    """The service of an operation in a list."""

    service_id: int
    client_id: int
    hostname: str
    server: str
    desired: str
    generation: int


class ListedOperation(OperationRow, OrderedBy):
    pass


class Load(TypedDict):
    server: str
    running: int
    waiting: int
    staff: int


# what nothing newer has put right, and what does not go on as it should
ATTENTION = (
    "(o.state = 'waiting_for_staff' OR (o.state = 'running' AND o.error_code <> '') OR (o.state = 'failed'"
    " AND NOT EXISTS (SELECT 1 FROM operations n WHERE n.service = o.service AND n.rowid > o.rowid"
    " AND n.state IN ('done', 'running', 'waiting'))))"
)


def _listed(
    whmcs: str, states: tuple[str, ...], server: str, service_id: int | None, attention: bool
) -> tuple[str, list[Any]]:
    where, args = ["s.whmcs = ?"], [whmcs]  # type: tuple[list[str], list[Any]]
    if states:
        where, args = [*where, f"o.state IN ({', '.join('?' * len(states))})"], [*args, *states]
    if server:
        where, args = [*where, "s.server = ?"], [*args, server]
    if service_id is not None:
        where, args = [*where, "s.service_id = ?"], [*args, service_id]
    if attention:
        where.append(ATTENTION)
    return " AND ".join(where), args


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
        state=State(row["state"]),
        memory=Memory.read(json.loads(row["data"])) if memory is None else memory,
    )


class Operations(Core):
    # -- submit -----------------------------------------------------------------------------------
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
                "INSERT INTO operations (id, service, kind, state, data, due_at, created_at, actor)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (key, service, kind, state, json.dumps((asked or Memory()).stored()), now, now, actor),
            )
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
            "SELECT o.rowid AS number, o.service, o.kind, o.state, o.stop, s.desired FROM operations o"
            " JOIN services s ON s.id = o.service WHERE o.id = ?",
            key,
        )
        if row is None or row["state"] not in ("failed", "cancelled", "waiting_for_staff", "running"):
            return f"it is {row['state'] if row else 'unknown'}"
        if row["stop"] == State.SUPERSEDED:
            return "a newer order takes its place"
        current = self.current_operation(row["service"])
        if current and current.id != key:
            return f"another operation of the service runs ({current.kind})"
        wants = KINDS[row["kind"]].wants if row["kind"] in KINDS else None
        if wants and row["desired"] != wants:
            return f"the service is ordered to be {row['desired']}"
        newer = self.rows(
            "SELECT kind FROM operations WHERE service = ? AND rowid > ? AND state <> 'cancelled'",
            row["service"],
            row["number"],
        )
        if any(n["kind"] in BILLING or row["kind"] not in BILLING for n in newer):
            return f"a newer operation has taken its place ({newer[-1]['kind']})"
        return ""

    def retry(self, key: str) -> str:
        """Go on with a failed, cancelled or stuck operation; empty, or the reason why not."""
        with self.write():
            reason = self.no_retry(key)
            if not reason:
                self.change(
                    "UPDATE operations SET state = 'running', due_at = ?, stop = '', attempt = 0, error_code = '',"
                    " started_at = NULL, error_text = '', next_action = '', ended_at = NULL, noticed = 0, data ="
                    " json_remove(data, '$.failing', '$.failing_since', '$.ending', '$.unchanged', '$.room_since',"
                    " '$.room_tries', '$.room_due'), step = CASE WHEN json_extract(data, '$.ending') IS NULL THEN"
                    " step WHEN json_extract(data, '$.unchanged') THEN '' ELSE json_extract(data, '$.ending[4]')"
                    " END WHERE id = ?",
                    self.clock.now(),
                    key,
                )
        return reason

    # -- claim ------------------------------------------------------------------------------------
    def claim(self, owner: str, lease: float, blocked: Sequence[str], kinds: Collection[str]) -> Operation | None:
        """Take the operation of these kinds that is longest due; servers in `blocked` are left out, and on a server
        under maintenance all that has not begun."""
        now = self.clock.now()
        where = (
            "o.state = 'running' AND o.due_at <= ? AND o.lease_until <= ? AND o.task = ''"
            f" AND s.server NOT IN ({', '.join('?' * len(blocked))}) AND o.kind IN ({', '.join('?' * len(kinds))})"
            " AND (o.started_at IS NOT NULL OR o.stop <> ''"
            " OR s.server NOT IN (SELECT server FROM server_health WHERE maintenance <> ''))"
        )
        select = (
            f"SELECT o.id FROM operations o JOIN services s ON s.id = o.service WHERE {where} ORDER BY o.due_at LIMIT 1"
        )
        if not self.row(select, now, now, *blocked, *kinds):
            return None  # look without a write lock first: idle workers must not contend
        with self.write() as db:
            row = self.row(select, now, now, *blocked, *kinds)
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

    def free_owner_of(self, pid: int) -> int:
        """Free what a worker process of this machine held that was seen to exit."""
        return self.change("UPDATE operations SET lease_until = 0 WHERE owner LIKE ? AND lease_until > 0", f"{pid}-%")

    def free_owner(self, owner: str) -> int:
        """Free what a worker that stops still holds."""
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
            row = self.row("SELECT service FROM operations WHERE id = ?", key) or {}
            # what a page has read of the machine before is old
            self.change("UPDATE services SET edits = edits + 1 WHERE id = ?", row["service"])
            if state is not State.DONE:
                self._give_back(key)
            if self.current_operation(row["service"]) is None:
                self.change(
                    "UPDATE operations SET state = 'running', due_at = max(?, coalesce(json_extract(data,"
                    " '$.room_due'), 0)) WHERE service = ? AND state = 'waiting'",
                    now,
                    row["service"],
                )

    def _give_back(self, key: str) -> None:
        """What was being made or removed and now is not: its place in the quota is free, or it is there again."""
        name = "(SELECT json_extract(data, '$.name') FROM operations WHERE id = ?)"
        of = "service = (SELECT service FROM operations WHERE id = ?)"
        self.change("DELETE FROM backups WHERE operation = ? AND state = 'creating'", key)
        self.change(f"DELETE FROM snapshots WHERE {of} AND state = 'creating' AND name = {name}", key, key)
        self.change(
            f"UPDATE snapshots SET state = 'ready' WHERE {of} AND state = 'removing' AND name = {name}", key, key
        )

    # -- slots ------------------------------------------------------------------------------------
    def take_slot(self, op: Operation, server: str, node: str, storage: str, per_node: int, per_storage: int) -> bool:
        """Claim a place for heavy work on a node and a storage; true also when it is already held."""
        with self.write():
            row = self.row("SELECT slot_node, slot_storage FROM operations WHERE id = ?", op.id) or {}
            if (row["slot_node"], row["slot_storage"]) == (node, storage):
                return True
            held = self.rows(
                "SELECT o.slot_node, o.slot_storage FROM operations o JOIN services s ON s.id = o.service"
                " WHERE s.server = ? AND o.slot_node <> '' AND o.state = 'running'",
                server,
            )
            on_node = sum(h["slot_node"] == node for h in held)
            on_storage = sum((h["slot_storage"], h["slot_node"]) == (storage, node) for h in held)
            if on_node >= per_node or on_storage >= per_storage:
                return False
            self._fenced(op, "slot_node = ?, slot_storage = ?", node, storage)
        return True

    def free_slot(self, op: Operation) -> None:
        """Give the place back; the longest waiting one is looked at next."""
        with self.write():
            self._fenced(op, "slot_node = '', slot_storage = ''")
            self.change(
                "UPDATE operations SET due_at = ? WHERE id IN (SELECT id FROM operations WHERE state = 'running'"
                " AND note = 'slot' AND lease_until <= ? ORDER BY created_at LIMIT 4)",
                self.clock.now(),
                self.clock.now(),
            )

    def plan_room(self, op: Operation, mib: int, gib: int) -> None:
        self._fenced(op, "planned_mib = ?, planned_gib = ?", mib, gib)

    def planned_room(self, server: str) -> list[Planned]:
        """Machines of creates that are placed and not ended."""
        rows = self.rows(
            "SELECT s.vm_id, s.node, s.package FROM operations o JOIN services s ON s.id = o.service WHERE s.server = ?"
            " AND o.state IN ('running', 'waiting_for_staff') AND o.planned_mib > 0 ORDER BY s.id",
            server,
        )
        return [Planned(r["vm_id"], r["node"], package_of(r["package"])) for r in rows]

    def sold_room(self, server: str) -> list[Sold]:
        """Every machine that stands. One whose growth is not yet found to fit counts as what it is: two orders that
        wait for the same room must not keep each other from it."""
        rows = self.tuples(
            "SELECT s.vm_id, json_extract(s.package, '$.ram_mib'), json_extract(s.package, '$.cores')"
            " FROM services s WHERE s.server = ? AND s.desired <> 'terminated' AND NOT EXISTS (SELECT 1"
            " FROM operations o WHERE o.service = s.id AND o.kind IN ('change_package', 'converge')"
            " AND json_extract(o.data, '$.room') IS NULL AND o.state IN ('running', 'waiting',"
            " 'waiting_for_staff')) ORDER BY s.id",
            server,
        )
        return [Sold(*row) for row in rows]

    # -- reading ----------------------------------------------------------------------------------
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
            f"SELECT {COLUMNS} FROM operations WHERE service = ?{of} ORDER BY created_at DESC, rowid DESC LIMIT 1",
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
        where: list[str] = ["1"]
        args: list[int | str] = []
        if service is not None:
            where, args = [*where, "service = ?"], [service]
        if states:
            where, args = [*where, f"state IN ({', '.join('?' * len(states))})"], [*args, *states]
        rows = self.rows_as(
            OperationRow,
            f"SELECT {COLUMNS} FROM operations WHERE {' AND '.join(where)} ORDER BY created_at DESC, rowid DESC"
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

    # -- lists for staff --------------------------------------------------------------------------
    def operations_listed(
        self,
        whmcs: str,
        states: tuple[str, ...] = (),
        server: str = "",
        service_id: int | None = None,
        attention: bool = False,
        limit: int = 50,
        offset: int = 0,
    ) -> list[tuple[Operation, OrderedBy]]:
        """Newest first, of one installation: each with the row of its service (id, service_id, client_id, hostname,
        server, desired, generation). `attention`: only what staff has to look at."""
        where, args = _listed(whmcs, states, server, service_id, attention)
        columns = ", ".join(f"o.{c.strip()}" for c in COLUMNS.split(","))
        rows = self.rows_as(
            ListedOperation,
            f"SELECT {columns}, s.service_id, s.client_id, s.hostname, s.server, s.desired, s.generation"
            f" FROM operations o JOIN services s ON s.id = o.service WHERE {where}"
            " ORDER BY o.created_at DESC, o.rowid DESC LIMIT ? OFFSET ?",
            *args,
            limit,
            offset,
        )
        return [
            (
                shown(r),
                OrderedBy(
                    service_id=r["service_id"],
                    client_id=r["client_id"],
                    hostname=r["hostname"],
                    server=r["server"],
                    desired=r["desired"],
                    generation=r["generation"],
                ),
            )
            for r in rows
        ]

    def count_operations(self, whmcs: str, states: tuple[str, ...] = (), attention: bool = False) -> int:
        where, args = _listed(whmcs, states, "", None, attention)
        row = (
            self.row(f"SELECT count(*) AS n FROM operations o JOIN services s ON s.id = o.service WHERE {where}", *args)
            or {}
        )
        return int(row["n"])

    def loads(self, whmcs: str = "") -> dict[str, Load]:
        """For each server, of one installation or of all: operations `running` (begun), `waiting` (not begun) and for
        `staff`."""
        rows = self.rows_as(
            Load,
            "SELECT s.server, sum(o.state = 'running' AND o.started_at IS NOT NULL) AS running,"
            " sum(o.state = 'waiting' OR (o.state = 'running' AND o.started_at IS NULL)) AS waiting,"
            " sum(o.state = 'waiting_for_staff') AS staff"
            " FROM operations o JOIN services s ON s.id = o.service"
            " WHERE o.state IN ('running', 'waiting', 'waiting_for_staff') AND ?1 IN ('', s.whmcs) GROUP BY s.server",
            whmcs,
        )
        return {r["server"]: r for r in rows}

    def notice(self, key: str) -> bool:
        """True once per operation and failure: staff hears of it one time."""
        return bool(self.change("UPDATE operations SET noticed = 1 WHERE id = ? AND noticed = 0", key))

    def noticed(self, key: str) -> bool:
        """Whether staff has heard of it."""
        return self.row("SELECT 1 FROM operations WHERE id = ? AND noticed = 1", key) is not None

    def stuck_operations(self, before: float) -> list[Operation]:
        rows = self.rows_as(
            OperationRow,
            f"SELECT {COLUMNS} FROM operations WHERE state = 'running' AND noticed = 0 AND error_code <> ''"
            " AND json_extract(data, '$.failing_since') < ?",
            before,
        )
        return [shown(r) for r in rows]

    def stalled_operations(self, before: float) -> list[Operation]:
        """Whose task has been running since before then."""
        rows = self.rows_as(
            OperationRow,
            f"SELECT {COLUMNS} FROM operations WHERE state = 'running' AND noticed = 0 AND task <> ''"
            " AND task_since < ?",
            before,
        )
        return [shown(r) for r in rows]
