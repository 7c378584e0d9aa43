"""Start, stop, reboot, hard_stop and WHMCS's password form: refused while the service is suspended, unfinished or
busy."""

from __future__ import annotations

from typing import Any

from bridge import limits, passwords
from bridge.causes import CAUSES
from bridge.config import Config
from bridge.errors import NotBuilt, Refused
from bridge.model import Capability, Desired, Sentence, Service, State
from bridge.obstacles import MISSING, unreachable
from bridge.permissions import usable
from bridge.services.calls import Answer, Caller, Drivers, live
from bridge.services.sentences import UNFINISHED_RESTORE, busy_reason
from bridge.store import Store


def order(verb: str, service: Service, caller: Caller, store: Store, config: Config) -> Answer:
    current = store.current_operation(service.id)
    if caller.client and service.desired is Desired.ACTIVE:
        _reaches(service, store)
    if verb == "hard_stop" and current and current.kind in ("stop", "reboot") and service.desired is Desired.ACTIVE:
        limits.count(verb, service.id, caller.client, store, config)
        store.end_operation(
            current.id, State.SUPERSEDED, note="A hard stop took its place."
        )  # its task is ended by the hard stop
        return Answer(store.submit(service.id, verb, caller.actor))
    _free_for(service, store)
    if store.missing(service.server, service.vm_id):
        raise Refused(MISSING, code="vm_missing")
    row = store.status_row(service.server, service.vm_id)
    if verb == "reboot" and row and row["status"] == "stopped" and not service.pending:
        raise Refused(CAUSES["not_running"], code="not_running")
    limits.count(verb, service.id, caller.client, store, config)
    return Answer(store.submit(service.id, verb, caller.actor))


def change_password(
    service_id: int, params: dict[str, Any], caller: Caller, store: Store, config: Config, drivers: Drivers
) -> Answer:
    """WHMCS's own password form: the new one goes to the machine, no mail is sent."""
    service = live(service_id, caller.whmcs, store)
    password = passwords.checked(str(params.get("password") or ""))
    driver = drivers[service.server]
    if Capability.RESET_PASSWORD not in driver.capabilities or driver.chooses_passwords:
        raise NotBuilt(
            "A password of your choice cannot be set from outside on this server: change it inside.",
            code="not_supported",
        )
    if caller.client:
        plan, has = config.plans[service.package.plan], drivers[service.server].capabilities
        reason = usable(service, Capability.RESET_PASSWORD, plan.allow, has)
        if reason:
            raise Refused(reason, code="access_denied")
    _may_change(service, caller, store, config)
    hashed = passwords.hashed(
        password
    )  # costs much, so only for what is not refused already, and outside of the transaction
    with store.write():
        service = live(service_id, caller.whmcs, store)
        _may_change(service, caller, store, config)
        store.set_password(service.id, password, hashed)
        return Answer(store.submit(service.id, "change_password", caller.actor))


def _may_change(service: Service, caller: Caller, store: Store, config: Config) -> None:
    """Raises Refused while the service is not free for it, or when its client has done it often enough."""
    _free_for(service, store)
    if caller.client:
        _reaches(service, store)
    limits.count("change_password", service.id, caller.client, store, config)


def _reaches(service: Service, store: Store) -> None:
    """Raises Refused while what a customer orders would only wait: the host does not answer, or the machine is not
    there."""
    if service.provisioned and (why := unreachable(service, store)):
        raise Refused(why, code="vm_missing" if why == MISSING else "server_down")


def _free_for(service: Service, store: Store) -> None:
    """Raises Refused while the service is suspended, unfinished or busy."""
    if service.desired is Desired.SUSPENDED:
        raise Refused(Sentence("The service is suspended."), code="suspended")
    reason = busy_reason(service, store)
    if reason:
        raise Refused(reason, code="service_busy")
    if not service.provisioned:
        raise Refused(Sentence("The server is not set up yet."), code="not_ready")
    if service.birth.restoring:
        raise Refused(UNFINISHED_RESTORE, code="restore_unfinished")
