"""What WHMCS's verbs mean: check, write the desired state, queue the work, answer at once. No upstream calls.

Here stands which verb goes where; each group of verbs has a module of its own, and all are called by this package's
name."""

from __future__ import annotations

from typing import Any

from bridge.config import Config
from bridge.errors import NotFound
from bridge.kinds import POWER
from bridge.model import Desired
from bridge.services import billing, power, staff
from bridge.services.adoption import adopt
from bridge.services.calls import Answer, Caller, Drivers, client_of, live, unknown
from bridge.services.sentences import UNFINISHED_RESTORE, busy_reason
from bridge.services.staff import act_on, no_cancel, no_retry, operation_for
from bridge.services.views import accounts, operation_view
from bridge.store import Store

__all__ = [
    "UNFINISHED_RESTORE",
    "Answer",
    "Caller",
    "accounts",
    "act_on",
    "adopt",
    "busy_reason",
    "live",
    "no_cancel",
    "no_retry",
    "operation_for",
    "operation_view",
    "run",
]


def run(
    verb: str,
    service_id: int,
    server: str,
    params: dict[str, Any],
    caller: Caller,
    store: Store,
    config: Config,
    drivers: Drivers,
) -> Answer:
    """Carry out one verb of `POST /v1/services/<service_id>/<verb>`."""
    if caller.client:
        _owner_only(service_id, params, caller, store)
    else:
        _follow_owner(service_id, params, caller, store)
    if verb == "create":
        return billing.create(service_id, server, params, caller, store, config)
    if verb == "change_package":
        return billing.change_package(service_id, server, params, caller, store, config, drivers)
    if verb == "rename":
        return billing.rename(service_id, params, caller, store, config)
    if verb == "change_password":
        return power.change_password(service_id, params, caller, store, config, drivers)
    with store.write():
        service = store.find_service(caller.whmcs, service_id)
        if verb == "terminate" and (service is None or service.desired is Desired.TERMINATED):
            return billing.terminated_already(service, service_id, params, store, caller)
        if service is None or (service.desired is Desired.TERMINATED and verb not in ("retry", "cancel")):
            raise unknown(service_id)
        if verb in ("suspend", "unsuspend", "terminate"):
            return billing.order(verb, service, caller, store)
        if verb in ("retry", "cancel"):
            return staff.order(verb, service, params, store, config)
        if verb in ("converge", "redeploy"):
            answer = staff.repair(verb, service, caller, store, config)
            if verb == "converge":  # also what a save of the domain could not send
                billing.take_name(service, params, store, config)
            return answer
        if verb in POWER:
            return power.order(verb, service, caller, store, config)
    raise NotFound(f"There is no action {verb!r}.", code="unknown_verb")


def _follow_owner(service_id: int, params: dict[str, Any], caller: Caller, store: Store) -> None:
    """Staff may have given the service to another client in WHMCS; its pages and open polls are that client's from the
    next order on."""
    service, given = store.find_service(caller.whmcs, service_id), params.get("userid")
    if (
        service
        and given not in (None, "")
        and service.desired is not Desired.TERMINATED
        and client_of(params) != service.client_id
    ):
        store.give_to(service.id, client_of(params))


def _owner_only(service_id: int, params: dict[str, Any], caller: Caller, store: Store) -> None:
    """A client's own verbs are for the client whose service it is. Raises NotFound as for one that does not exist."""
    service, given = store.find_service(caller.whmcs, service_id), params.get("userid")
    if service and given not in (None, "") and client_of(params) != service.client_id:
        raise unknown(service_id)
