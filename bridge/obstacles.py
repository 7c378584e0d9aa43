"""What stands in the way of doing anything with a server just now, in its customer's words: what runs there and who
ordered it, a host that does not answer, a machine that is not found."""

from __future__ import annotations

from bridge import kinds
from bridge.kinds import BILLING, KINDS
from bridge.model import Operation, Sentence, Service, State
from bridge.store import Store

FOR_STAFF = Sentence(
    "Our staff has to look at this server first, and has been told. Until then nothing else can be done here."
)
DOWN = Sentence("The host of your server does not answer just now. Please try again in a few minutes.")
MISSING = Sentence("Your server is not found on its host. Our staff has to look at it.")
BUSY = {  # by who ordered what runs
    "you": Sentence("%(what)s, as you ordered; try again when this is done."),
    "staff": Sentence("%(what)s, as our staff ordered; try again when this is done."),
    "schedule": Sentence("%(what)s, by schedule; try again when this is done."),
    "billing": Sentence("%(what)s, as billing ordered; try again when this is done."),
}


def orderer(op: Operation) -> str:
    """Who ordered an operation, as its customer sees it: you, staff, schedule or billing."""
    kind = op.actor.partition(" ")[0]
    if kind == "client":
        return "you"
    if op.actor.startswith("system: "):  # our own jobs
        return "schedule"
    return "billing" if kind == "system" and op.kind in BILLING else "staff"


def busy_words(current: Operation | None) -> str:
    """Why nothing else can be done while this runs; empty when nothing does."""
    if current is None or current.gives_way:
        return ""
    if current.state is State.STAFF:
        return FOR_STAFF
    return Sentence(BUSY[orderer(current)].template, what=kinds.running(current.kind))


def no_screen(current: Operation | None) -> str:
    """Why there is nothing to look at while this runs; empty when there is."""
    away = current is not None and current.kind in KINDS and KINDS[current.kind].away
    return busy_words(current) if away else ""


def unreachable(service: Service, store: Store, told: bool = False) -> str:
    """Why nothing reaches the machine just now; empty when it does. A host counts as down when it was asked in vain
    twice, or when another one of its cluster says so; with `told` from the first time on, when pages say so."""
    health = store.health(service.server)
    if not health["ok"] or (told and health["error"]):
        return DOWN
    if not service.provisioned:
        return ""
    seen = store.status_row(service.server, service.vm_id)
    if seen and seen["status"] == "offline":
        return DOWN
    return MISSING if store.missing(service.server, service.vm_id) else ""
