"""The page of what was done with a server: what, who, when, how long, and how it ended."""

from __future__ import annotations

from typing import Any

from bridge import causes, kinds, room
from bridge.model import Capability, Operation, Sentence, Service, State
from bridge.obstacles import orderer
from bridge.web import frame, language
from bridge.web.auth import context
from bridge.web.page import Page, register

SHOWN = 50
WHO = {
    "you": Sentence("You"),
    "staff": Sentence("Our staff"),
    "schedule": Sentence("Schedule"),
    "billing": Sentence("Billing"),
}
RESULTS = {
    State.WAITING: Sentence("Waiting"),
    State.RUNNING: Sentence("Running"),
    State.STAFF: Sentence("Waiting for our staff"),
    State.DONE: Sentence("Done"),
    State.FAILED: Sentence("Did not work"),
    State.CANCELLED: Sentence("Cancelled"),
    State.SUPERSEDED: Sentence("A newer order took its place."),
}
TONES = {State.DONE: "good", State.FAILED: "bad", State.STAFF: "bad"}


def activity(service: Service) -> dict[str, Any]:
    """What templates/activity.html needs: `rows` newest first, whether there are `more`, and after how many `days` they
    are removed."""
    at = context()
    recent = at.store.operations_of(service.id, SHOWN + 1)
    newest: set[str] = set()
    rows = []
    for op in recent[:SHOWN]:
        rows.append(_row(op, service, op.kind not in newest))
        newest.add(op.kind)
    return {"rows": rows, "more": len(recent) > SHOWN, "days": at.config.worker["history_days"]}


def _row(op: Operation, service: Service, newest: bool) -> dict[str, Any]:
    """`newest` of its kind: only that can be tried again."""
    wrong = bool(op.error_code) and op.state is not State.DONE
    told = [room.sentence(op, service) or causes.cause(op)] if wrong else []
    if newest and op.state in (State.FAILED, State.STAFF):
        told = [s for s in frame.said(op, "") if s]
    why = " ".join(language.translate(s) for s in told)
    nothing: dict[str, Any] = {"again": None, "ticket": ""}
    return {
        "op": op,
        "what": language.translate(kinds.title(op.kind)),
        "about": frame.about(op, service),
        "who": language.translate(WHO[orderer(op)]),
        "took": max(1, round(op.ended_at - op.started_at)) if op.ended_at and op.started_at else None,
        "result": language.translate(RESULTS[op.state]),
        "tone": TONES.get(op.state, "quiet"),
        "why": why,
        **(frame.next_steps(op, service) if newest else nothing),
    }


register(Page(Capability.ACTIVITY, Sentence("Activity"), "fas fa-history", 110, activity))
