"""The audit log: who did what to which service, from where, and with which result. Lines are added, never changed;
only age removes them."""

from __future__ import annotations

from typing import TypedDict

from bridge.origin import current as origin
from bridge.store.core import Core

KINDS = {"admin": "staff", "system": "whmcs"}  # WHMCS's words -> ours


class AuditRow(TypedDict):
    """`kind`: client, staff, whmcs, token, command line, schedule or worker; `service`: WHMCS's number, None of what is
    about no service; `subject`: the operation, finding or server; `result`: accepted, done, or why not."""

    id: int
    at: float
    kind: str
    who: str
    address: str
    request: str
    whmcs: str
    service: int | None
    deed: str
    subject: str
    result: str


class Audit(Core):
    def audit(
        self,
        deed: str,
        result: str,
        whmcs: str = "",
        service: int | None = None,
        subject: str = "",
        actor: str = "",
    ) -> None:
        """Add a line, in the transaction that is under way if there is one. Who asked is known from `origin`; `actor`
        says it where nobody called, such as a schedule."""
        who = origin()
        kind, name = KINDS.get(who.kind, who.kind), who.name
        if kind == "worker" and actor:
            word, _, rest = actor.partition(" ")
            kind, name = (KINDS.get(word, word), rest) if word in ("client", "admin") else ("schedule", rest or word)
        self.change(
            "INSERT INTO audit (at, kind, who, address, request, whmcs, service, deed, subject, result)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self.clock.now(),
            kind,
            name[:100],
            who.address[:60],
            who.request[:40],
            whmcs,
            service,
            deed[:80],
            subject[:200],
            result[:80],
        )
        who.noted = True

    def audited(
        self, after: int = 0, since: float = 0.0, service: int | None = None, limit: int = 500
    ) -> list[AuditRow]:
        """Lines behind the one with the id `after`, oldest first; of one service where that is asked."""
        return self.rows_as(
            AuditRow,
            "SELECT id, at, kind, who, address, request, whmcs, service, deed, subject, result FROM audit"
            " WHERE id > ? AND at >= ? AND (? < 0 OR service = ?) ORDER BY id LIMIT ?",
            after,
            since,
            -1 if service is None else service,
            -1 if service is None else service,
            limit,
        )

    def forget_audit(self, before: float, limit: int = 500) -> int:
        """Forget lines older than `before`; how many."""
        return self.change(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? ORDER BY at LIMIT ?)", before, limit
        )
