"""Lists for the operator's own scripts, a page at a time: what comes behind a row that was seen."""

from __future__ import annotations

from typing import TypedDict

from bridge.store.core import Core


class ServiceLine(TypedDict):
    """`id`: the row's, where the next page goes on; `status`: as the last bulk read had it, None of one never seen."""

    id: int
    whmcs: str
    service: int
    generation: int
    client: int
    desired: str
    plan: str
    server: str
    node: str
    vm: str
    hostname: str
    provisioned: int
    created_at: float
    updated_at: float
    status: str | None
    seen_at: float | None


class OperationLine(TypedDict):
    """`number`: in the order in which they were given, where the next page goes on."""

    number: int
    id: str
    whmcs: str
    service: int
    server: str
    kind: str
    state: str
    step: str
    attempt: int
    actor: str
    request: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    error_code: str
    error: str
    next_action: str


class FindingLine(TypedDict):
    """`service` and `whmcs` are None of one that is about no service."""

    id: int
    whmcs: str | None
    service: int | None
    server: str
    kind: str
    subject: str
    text: str
    fix: str
    found_at: float
    seen_at: float
    dismissed: int


class Reports(Core):
    def service_lines(
        self, whmcs: str, after: int, limit: int, server: str = "", desired: str = "", service: int = 0
    ) -> list[ServiceLine]:
        """Of one installation, or of all where `whmcs` is empty; by id."""
        return self.rows_as(
            ServiceLine,
            "SELECT s.id, s.whmcs, s.service_id AS service, s.generation, s.client_id AS client, s.desired,"
            " s.package ->> 'plan' AS plan, s.server, s.node, s.vm_id AS vm, s.hostname, s.provisioned, s.created_at,"
            " s.updated_at, v.status, v.seen_at FROM services s"
            " LEFT JOIN vm_status v ON v.server = s.server AND v.vm_id = s.vm_id"
            " WHERE s.id > ?1 AND ?2 IN ('', s.whmcs) AND ?3 IN ('', s.server) AND ?4 IN ('', s.desired)"
            " AND ?5 IN (0, s.service_id) ORDER BY s.id LIMIT ?6",
            after,
            whmcs,
            server,
            desired,
            service,
            limit,
        )

    def operation_lines(
        self, whmcs: str, after: int, limit: int, server: str = "", state: str = "", service: int = 0
    ) -> list[OperationLine]:
        """Likewise, in the order in which they were given."""
        return self.rows_as(
            OperationLine,
            "SELECT o.number, o.id, s.whmcs, s.service_id AS service, s.server, o.kind, o.state, o.step, o.attempt,"
            " o.actor, o.request, o.created_at, o.started_at, o.ended_at, o.error_code, o.error_text AS error,"
            " o.next_action FROM operations o JOIN services s ON s.id = o.service"
            " WHERE o.number > ?1 AND ?2 IN ('', s.whmcs) AND ?3 IN ('', s.server) AND ?4 IN ('', o.state)"
            " AND ?5 IN (0, s.service_id) ORDER BY o.number LIMIT ?6",
            after,
            whmcs,
            server,
            state,
            service,
            limit,
        )

    def finding_lines(
        self, whmcs: str, after: int, limit: int, server: str = "", service: int = 0
    ) -> list[FindingLine]:
        """Open ones. Those about no service are of every installation that has the server."""
        return self.rows_as(
            FindingLine,
            "SELECT f.id, s.whmcs, s.service_id AS service, f.server, f.kind, f.subject, f.text, f.fix, f.found_at,"
            " f.seen_at, f.dismissed FROM findings f LEFT JOIN services s ON s.id = f.service"
            " WHERE f.ended_at IS NULL AND f.id > ?1 AND ?2 IN ('', coalesce(s.whmcs, ?2)) AND ?3 IN ('', f.server)"
            " AND ?4 IN (0, s.service_id) ORDER BY f.id LIMIT ?5",
            after,
            whmcs,
            server,
            service,
            limit,
        )
