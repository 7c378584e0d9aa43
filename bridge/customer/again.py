"""A failed operation ordered once more by its customer, with what was put in then: the same form, so the same guards,
quotas and limits as for a new one."""

from __future__ import annotations

from bridge.customer.gate import Ask
from bridge.customer.reinstall import CONFIRM
from bridge.errors import NotFound, Refused
from bridge.kinds import KINDS, Kind
from bridge.model import Operation, Sentence, State

INPUT = ("description", "name", "note", "backup", "template")  # what an operation remembers of its form
ENDED = (State.FAILED, State.CANCELLED)


def asks(kind: Kind) -> bool:
    """Whether it asks before it is done once more. Who ordered a reinstallation by its form has typed a word; one click
    must ask."""
    return kind.ask is not None and not (kind.by_link and kind.power)


def form_of(op: Operation) -> dict[str, str]:
    """The form that ordered it, without `do`."""
    asked = {name: str(value) for name in INPUT if (value := getattr(op.memory, name))}
    return asked | ({"confirm": CONFIRM} if op.kind == "reinstall" else {})


def operation(key: str, ask: Ask) -> Operation:
    """Raises NotFound for what is not this service's, Refused for what did not end undone."""
    try:
        op = ask.store.operation(key)
    except KeyError:
        op = None
    if op is None or op.service != ask.service.id or op.kind not in KINDS:
        raise NotFound(Sentence("There is no such operation any more."), code="unknown_operation")
    if op.state not in ENDED:
        raise Refused(Sentence("This has not failed: there is nothing to try again."), code="not_failed")
    return op
