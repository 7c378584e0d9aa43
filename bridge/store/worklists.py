"""Lists of operations for staff: of an installation, what needs a look, what each server has to do."""

from __future__ import annotations

from typing import Any, TypedDict

from bridge.model import Operation
from bridge.store.core import Core
from bridge.store.operations import COLUMNS, OperationRow, shown


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
    " AND NOT EXISTS (SELECT 1 FROM operations n WHERE n.service = o.service AND n.number > o.number"
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


class Worklists(Core):
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
            " ORDER BY o.created_at DESC, o.number DESC LIMIT ? OFFSET ?",
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
            "SELECT s.server, count(*) FILTER (WHERE o.state = 'running' AND o.started_at IS NOT NULL)"
            " AS running, count(*) FILTER (WHERE o.state = 'waiting' OR (o.state = 'running' AND o.started_at IS NULL))"
            " AS waiting, count(*) FILTER (WHERE o.state = 'waiting_for_staff') AS staff"
            " FROM operations o JOIN services s ON s.id = o.service"
            " WHERE o.state IN ('running', 'waiting', 'waiting_for_staff') AND ?1 IN ('', s.whmcs) GROUP BY s.server",
            whmcs,
        )
        return {r["server"]: r for r in rows}

    def hosts_down(self, whmcs: str = "") -> dict[str, dict[str, int]]:
        """Server -> host of it that the last bulk read found down -> how many services, of one installation or of all,
        stand there."""
        down: dict[str, dict[str, int]] = {}
        for row in self.rows(
            "SELECT v.server, v.node, count(*) AS n FROM vm_status v JOIN services s ON s.server = v.server AND"
            " s.vm_id = v.vm_id WHERE v.status = 'offline' AND s.desired <> 'terminated' AND ?1 IN ('', s.whmcs)"
            " GROUP BY v.server, v.node ORDER BY v.server, v.node",
            whmcs,
        ):
            down.setdefault(row["server"], {})[row["node"]] = row["n"]
        return down

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
            " AND CAST(data ->> 'failing_since' AS DOUBLE PRECISION) < ?",
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
