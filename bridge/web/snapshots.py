"""The page of snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge import customer
from bridge.model import Capability, Sentence, Service
from bridge.web import language
from bridge.web.auth import context
from bridge.web.page import Page, ordered, register, why


def content(service: Service) -> dict[str, Any]:
    """`rows` the newest first, `lifetime` in seconds (0: for ever), `quota`, and why none can be taken."""
    at = context()
    rows, quota = at.store.snapshots_of(service.id), service.package.snapshots
    return {
        "rows": list(reversed(rows)),
        "quota": quota,
        "full": language.translate(customer.full(len(rows), quota)),
        "why": why(service, Capability.SNAPSHOTS),
        "lifetime": service.package.snapshot_lifetime_h * 3600,
        "with_memory": at.config.plans[service.package.plan].values["snapshot_memory"]
        and not at.drivers[service.server].snapshots_survive,
        "survive": at.drivers[service.server].snapshots_survive,
    }


def about(service: Service, form: Mapping[str, Any]) -> str | None:
    snapshot = context().store.snapshot_row(service.id, str(form.get("name") or ""))
    return snapshot["description"] or snapshot["name"] if snapshot else None


register(
    Page(
        Capability.SNAPSHOTS,
        Sentence("Snapshots"),
        "fas fa-camera",
        50,
        content,
        hindrance=ordered,
        listed=True,
        about=about,
    )
)
