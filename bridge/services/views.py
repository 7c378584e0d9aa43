"""Services and operations as WHMCS, pages and the command line get them. Only reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bridge.model import Desired, Operation, Service
from bridge.store import Store


def accounts(server: str, whmcs: str, store: Store) -> list[dict[str, str]]:
    """One line per service for WHMCS's Server Sync; times are UTC, the status is WHMCS's word."""
    return [
        {
            "uniqueIdentifier": str(row["service_id"]),
            "domain": row["hostname"],
            "username": "",
            "email": "",
            "product": row["plan"],
            "primaryip": row["address"] or "",
            "created": datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "status": "Suspended" if row["desired"] == Desired.SUSPENDED else "Active",
        }
        for row in store.account_rows(server, whmcs)
    ]


def operation_view(op: Operation, service: Service, store: Store) -> dict[str, Any]:
    """An operation with its steps, for pages, the status reply and the command line."""
    return {
        "id": op.id,
        "kind": op.kind,
        "state": op.state.value,
        "service_id": service.service_id,
        "created_at": op.created_at,
        "started_at": op.started_at,
        "ended_at": op.ended_at,
        "attempt": op.attempt,
        "error_code": op.error_code,
        "error": op.error_text,
        "next_action": op.next_action,
        "note": op.note,
        "actor": op.actor,
        "warnings": op.memory.warnings,
        "steps": store.steps(op.id),
    }
