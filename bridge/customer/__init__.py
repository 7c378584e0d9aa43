"""What customers do on their pages: may it be done now, is the wish in order, then queue the work. No upstream calls.

Each noun has a module of its own with its FORMS; what others call is called by this package's name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from bridge import limits, services
from bridge.customer import again
from bridge.customer.backups import WEEK, chosen_backup, no_room, start_backups
from bridge.customer.discs import put_disks_first
from bridge.customer.gate import Ask, Forms, allow_edit, edit_reason, full, may_see, reason, still_theirs
from bridge.customer.mirror import renew_mirror
from bridge.customer.reinstall import off_for_password
from bridge.customer.snapshots import expire_snapshots
from bridge.errors import Forbidden, Refused
from bridge.kinds import KINDS, POWER, Kind
from bridge.model import Capability, Desired, Sentence

__all__ = [
    "ACTIONS",
    "ORDERED_BY",
    "WEEK",
    "Ask",
    "act",
    "again",
    "allow_edit",
    "asking",
    "chosen_backup",
    "edit_reason",
    "expire_snapshots",
    "full",
    "may_see",
    "no_room",
    "off_for_password",
    "put_disks_first",
    "reason",
    "renew_mirror",
    "start_backups",
    "still_theirs",
]


def act(capability: str, action: str, ask: Ask) -> str:
    """Carry out one form. Returns the operation, empty when the change is done at once. Raises Forbidden (not part of
    the product), Refused (not now) or BadRequest (naming the field)."""
    service = ask.service
    if capability == Capability.POWER and action in POWER:
        still_theirs(ask)
        return services.run(
            action, service.service_id, service.server, {}, ask.caller, ask.store, ask.config, ask.drivers
        ).operation
    run = ACTIONS.get((capability, action))
    if run is None or not may_see(service, Capability(capability), ask.drivers, ask.config):
        raise Forbidden(Sentence("Access Denied"), code="access_denied")
    kind, prepare = run
    if kind == "":  # changes nothing on the machine: allowed while it is busy
        service = still_theirs(ask)
        if service.desired is not Desired.ACTIVE:
            raise Refused(Sentence("The service is suspended."), code="suspended")
        limits.count(action, service.id, ask.caller.client, ask.store, ask.config)
        prepare(ask)
        return ""
    with ask.store.write():
        fresh = still_theirs(ask)
        current = ask.store.current_operation(service.id)
        why = reason(fresh, Capability(capability), ask.drivers, current, ask.store, ask.config)
        if why:
            raise Refused(why, code="service_busy" if current else "not_now")
        limits.count(kind, service.id, ask.caller.client, ask.store, ask.config)
        data, after = prepare(ask)
        operation = ask.store.submit(service.id, kind, ask.caller.actor, data)
        if after:
            after(operation)
    return operation


def _forms() -> Forms:
    """Those of every module of this folder."""
    names = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__")
    return {k: v for n in names for k, v in getattr(import_module(f"{__name__}.{n}"), "FORMS", {}).items()}


ACTIONS: Forms = _forms()
ORDERED_BY = {kind: form for form, (kind, _) in ACTIONS.items() if kind} | {
    verb: (str(Capability.POWER), verb) for verb in POWER
}  # kind -> the form that orders it; what is not here no page of a customer's orders


def asking() -> dict[tuple[str, str], Kind]:
    """The forms that ask before they are carried out, as (capability, action)."""
    kinds = {(str(Capability.POWER), verb): KINDS[verb] for verb in POWER}
    kinds |= {form: KINDS[kind] for form, (kind, _) in ACTIONS.items() if kind}
    return {form: kind for form, kind in kinds.items() if kind.ask}
