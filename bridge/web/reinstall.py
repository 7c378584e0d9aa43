"""The pages for a fresh system and for a new password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge import customer
from bridge.model import Capability, Operation, Sentence, Service
from bridge.web import frame, language
from bridge.web.auth import context
from bridge.web.page import Page, ordered, register, why

TOLD_FOR = 24 * 3600.0  # what became of the last new password


def content(service: Service) -> dict[str, Any]:
    """`templates` to choose from, `why` none can be, how many `foreign` snapshots would be lost."""
    at = context()
    foreign = len([r for r in at.store.snapshots_of(service.id, foreign=True) if r["foreign_one"]])
    return {
        "templates": service.package.templates or at.config.plans[service.package.plan].templates,
        "why": why(service, Capability.REINSTALL),
        "foreign": foreign,
        "survive": at.drivers[service.server].snapshots_survive,
    }


def reset_password(service: Service) -> dict[str, Any]:
    """`notes` before it, `why` it is not offered, and after it how the new password comes into use."""
    at = context()
    last = at.store.newest(service.id)
    done = (
        last is not None
        and last.kind == "reset_password"
        and last.state.value == "done"
        and at.store.clock.now() - (last.ended_at or 0) < TOLD_FOR
    )
    at_once = last is not None and last.memory.at_once
    driver = at.drivers[service.server]
    off = language.translate(customer.off_for_password(service, driver, at.store))
    return {
        "why": why(service, Capability.RESET_PASSWORD) or off,
        "notes": [language.translate(note) for note in driver.password_notes],
        "after_restart": done and not at_once,
        "in_use": done and at_once,
    }


def about(service: Service, form: Mapping[str, Any]) -> str | None:
    return frame.system_of(service)(str(form.get("template") or ""))


def off_too(service: Service, capability: Capability, current: Operation | None) -> str:
    at = context()
    return ordered(service, capability, current) or customer.off_for_password(
        service, at.drivers[service.server], at.store
    )


register(Page(Capability.REINSTALL, Sentence("Reinstall"), "fas fa-sync", 40, content, hindrance=ordered, about=about))
register(
    Page(
        Capability.RESET_PASSWORD,
        Sentence("Reset password"),
        "fas fa-key",
        70,
        reset_password,
        hindrance=off_too,
    )
)
