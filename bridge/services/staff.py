"""Staff's own: retry and cancel an operation, converge and redeploy a machine."""

from __future__ import annotations

from typing import Any

from bridge.config import Config
from bridge.errors import NotFound, Refused
from bridge.model import Desired, Operation, Service, State
from bridge.orders import addresses, packages
from bridge.orders.wanted import thawed
from bridge.services.billing import order_anew
from bridge.services.calls import Answer, Caller
from bridge.services.sentences import busy_reason
from bridge.store import Store


def order(verb: str, service: Service, params: dict[str, Any], store: Store, config: Config) -> Answer:
    """Retry and cancel act on what is open, of any generation, else retry on the newest that can go on."""
    open_now = store.open_operation_of(service.whmcs, service.service_id)
    if verb == "cancel":
        if open_now is None or not store.ask_cancel(open_now.id):
            raise Refused("Nothing is running that could be cancelled.", code="nothing_to_cancel")
        return Answer(open_now.id)
    if params.get("configoption1") and service.desired is Desired.ACTIVE:
        order_anew(service, packages.resolve(params, service.server, config).package, store, config)
    reason = "the last operation is done"
    for op in [open_now] if open_now else store.operations_of(service.id, 10):
        reason = store.retry(op.id)
        if not reason:
            return Answer(op.id)
        if op.state is State.DONE:
            break
    raise Refused(f"There is nothing to retry: {reason}.", code="nothing_to_retry")


def no_retry(op: Operation, store: Store) -> str:
    """Why staff cannot take up this very operation again; empty when they can."""
    return "it is under way" if op.state is State.RUNNING and not op.error_code else store.no_retry(op.id)


def no_cancel(op: Operation) -> str:
    """Why staff cannot cancel this operation; empty when they can."""
    if op.state not in (State.WAITING, State.RUNNING, State.STAFF):
        return "it has ended"
    return "it stops at its next step already" if op.stop else ""


def act_on(verb: str, key: str, caller: Caller, store: Store) -> Operation:
    """`retry` or `cancel` one operation, old ones too. Raises NotFound for another installation's."""
    with store.write():
        op, _ = operation_for(key, caller.whmcs, store)
        reason = no_retry(op, store) if verb == "retry" else no_cancel(op)
        if reason:
            raise Refused(
                f"This operation cannot be {'retried' if verb == 'retry' else 'cancelled'}: {reason}.",
                code=f"no_{verb}",
            )
        if verb == "retry":
            store.retry(op.id)
        else:
            store.ask_cancel(op.id)
    return op


def operation_for(key: str, whmcs: str, store: Store) -> tuple[Operation, Service]:
    """An operation of this installation with its service. Raises NotFound."""
    try:
        op = store.operation(key)
        service = store.service(op.service)
    except KeyError:
        service = None
    if service is None or service.whmcs != whmcs:
        raise NotFound("There is no such operation.", code="unknown_operation")
    return op, service


def repair(verb: str, service: Service, caller: Caller, store: Store, config: Config) -> Answer:
    """Staff's own: also for a suspended service, which then stays off. Converge of an adopted one writes the package of
    its plan."""
    reason = busy_reason(service, store)
    if reason:
        raise Refused(reason, code="service_busy")
    if verb == "redeploy" and service.desired is not Desired.ACTIVE:
        raise Refused("Redeploy needs an active service.", code="suspended")
    if verb == "converge" and service.birth.ordered:
        whole = thawed(service)
        addresses.adjust(service.id, whole.package, store, config)
        store.update_service(service.id, package=whole.package, birth=whole.birth)
    return Answer(store.submit(service.id, verb, caller.actor))
