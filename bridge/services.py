"""What WHMCS's verbs mean: check, write the desired state, queue the work, answer at once. No upstream calls."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from bridge import addresses, names, packages, passwords, upgrades, usage
from bridge.config import Config
from bridge.errors import BadRequest, NotBuilt, NotFound, Refused
from bridge.model import BILLING, POWER, Capability, Desired, Machine, Operation, Package, Sentence, Service, State
from bridge.orders import networks_of
from bridge.permissions import usable
from bridge.store import Store
from drivers.base import Driver
from drivers.base import load as load_driver

MAC_PREFIX = "02:56:4d"  # locally administered; the last three octets are random and checked
UNFINISHED_RESTORE = Sentence("The last restore did not end well: restore a backup or reinstall the server first.")


@dataclass(frozen=True)
class Answer:
    """What a verb replies: `operation` is empty when nothing has to run."""

    operation: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    hold_welcome_mail: bool = False


@dataclass(frozen=True)
class Caller:
    """Who asks: the installation, and WHMCS's actor as one word for the log."""

    whmcs: str
    actor: str = "system"
    client: bool = False


Drivers = Mapping[str, Driver]


def run(
    verb: str, service_id: int, server: str, params: dict[str, Any], caller: Caller, store: Store, config: Config, drivers: Drivers
) -> Answer:
    """Carry out one verb of `POST /v1/services/<service_id>/<verb>`."""
    if not caller.client:
        _follow_owner(service_id, params, caller, store)
    if verb == "create":
        return create(service_id, server, params, caller, store, config)
    if verb == "change_package":
        return change_package(service_id, server, params, caller, store, config, drivers)
    if verb == "change_password":
        return change_password(service_id, params, caller, store, config, drivers)
    with store.write():
        service = store.find_service(caller.whmcs, service_id)
        if verb == "terminate" and (service is None or service.desired is Desired.TERMINATED):
            return _terminated_already(service, service_id, params, store, caller)
        if service is None or (service.desired is Desired.TERMINATED and verb not in ("retry", "cancel")):
            raise unknown(service_id)
        if verb in ("suspend", "unsuspend", "terminate"):
            return _order(verb, service, caller, store)
        if verb in ("retry", "cancel"):
            return _staff(verb, service, params, store, config)
        if verb in ("converge", "redeploy"):
            return _repair(verb, service, caller, store)
        if verb in POWER:
            return _customer(verb, service, caller, store)
    raise NotFound(f"There is no action {verb!r}.", code="unknown_verb")


def _follow_owner(service_id: int, params: dict[str, Any], caller: Caller, store: Store) -> None:
    """Staff may have given the service to another client in WHMCS; its pages and open polls are that client's from the next order on."""
    service, given = store.find_service(caller.whmcs, service_id), params.get("userid")
    if service and given not in (None, "") and service.desired is not Desired.TERMINATED and _client(params) != service.client_id:
        store.update_service(service.id, client_id=_client(params))


def unknown(service_id: int) -> NotFound:
    return NotFound(
        f"Service {service_id} is unknown to the bridge; `vmbridge adopt` records an existing machine.", code="unknown_service"
    )


def live(service_id: int, whmcs: str, store: Store) -> Service:
    """The service that is not terminated. Raises NotFound."""
    service = store.find_service(whmcs, service_id)
    if service is None or service.desired is Desired.TERMINATED:
        raise unknown(service_id)
    return service


# -- billing verbs --------------------------------------------------------------------------------
def create(service_id: int, server: str, params: dict[str, Any], caller: Caller, store: Store, config: Config) -> Answer:
    """Validate, reserve, queue. Repeats are answered by contract.md section 2."""
    if params.get("addonId") not in (None, "", 0, "0"):
        raise Refused("Product addons cannot be servers here; sell it as a product.", code="addon_refused")
    wanted = packages.resolve(params, server, config)
    hostname = _host_name(service_id, wanted.package, params, store, config)
    given = str(params.get("password") or "")
    password = passwords.checked(given) if given else passwords.generate()
    hashed = passwords.hashed(password)
    with store.write():
        known = store.find_service(caller.whmcs, service_id)
        if known and known.desired is not Desired.TERMINATED:
            return _created_already(known, wanted.package, params, caller, store, config)
        service = _reserve(service_id, wanted.package, hostname, params, caller, store, config, known)
        store.set_password(service.id, password, hashed)
        key = store.submit(service.id, "create", caller.actor, {"warnings": list(wanted.warnings)})
        upgrades.tell_unknown_options(wanted.warnings, service, store)
    properties = _properties(service, store, config)
    if hostname != params.get("domain"):
        properties["Domain"] = hostname
    if not given:
        properties["Password"] = password
    return Answer(key, properties, config.whmcs[caller.whmcs]["hold_welcome_mail"])


def _host_name(service_id: int, package: Package, params: dict[str, Any], store: Store, config: Config) -> str:
    """By the plan's rule, else WHMCS's domain, else a plain one. What customers type as domain is taken as it is: the back
    end gets a name made from it. Raises BadRequest when a rule's result is no host name."""
    domain = str(params.get("domain") or "").strip()
    if len(domain) > 253 or not domain.isprintable():
        raise BadRequest("domain: must be at most 253 printable characters.", code="bad_domain")
    rule = config.plans[package.plan].values["vm_name"]
    if not rule:
        return domain or f"vm-{service_id}"
    name = names.from_rule(rule, _client(params), service_id, domain, store.clock.now())
    if not names.is_host_name(name):
        raise BadRequest(f"vm_name: the rule {rule!r} of plan {package.plan!r} gives {name[:80]!r}, which is not a host name.", code="bad_name")
    return name


def _client(params: dict[str, Any]) -> int:
    text = str(params.get("userid") or "")
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise BadRequest("userid: must be the id of WHMCS's client.", code="bad_client")
    return int(text)


def _created_already(
    known: Service, wanted: Package, params: dict[str, Any], caller: Caller, store: Store, config: Config
) -> Answer:
    """WHMCS says Pending: success with the same data. Else only a create that failed or was cancelled is taken up again, as it
    is ordered now."""
    pending = str(params.get("status") or "Pending") == "Pending"
    last = store.newest(known.id, ("create",))
    broken = last is not None and last.state in (State.FAILED, State.CANCELLED) and known.desired is Desired.ACTIVE
    if not pending and not broken:
        reason = "is suspended: unsuspend it instead" if known.desired is Desired.SUSPENDED else "has its server already"
        raise Refused(f"Service {known.service_id} {reason}.", code="already_created")
    if broken and last:
        _order_anew(known, wanted, store, config)
        store.retry(last.id)
    return Answer(last.id if last else "", _properties(known, store, config), config.whmcs[caller.whmcs]["hold_welcome_mail"])


def _order_anew(service: Service, wanted: Package, store: Store, config: Config) -> None:
    """An unfinished server takes what was corrected meanwhile; what is copied keeps its template and place."""
    if service.provisioned or wanted == service.package:
        return
    if service.build.get("task") or service.build.get("sent_at"):
        wanted = replace(wanted, template=service.package.template, location=service.package.location)
    else:
        store.update_service(service.id, node="", build={})
    store.update_service(service.id, package=wanted)
    addresses.adjust(service.id, wanted, store, config)


def _reserve(
    service_id: int, package: Package, hostname: str, params: dict[str, Any], caller: Caller, store: Store, config: Config,
    before: Service | None,
) -> Service:
    mine = str(uuid.uuid4())
    chosen = load_driver(config.servers[package.server]["driver"]).chooses_ids
    service = store.add_service(
        package, whmcs=caller.whmcs, service_id=service_id, generation=before.generation + 1 if before else 1,
        client_id=_client(params), desired=Desired.ACTIVE.value, server=package.server, hostname=hostname,
        vm_id=mine if chosen else new_vm_id(package.server, store, config), mac="" if chosen else _mac(), uuids=[mine],
        welcome_email=str(params.get("welcome_email") or ""),
    )
    addresses.reserve(service.id, package, store, config)
    return service


def new_vm_id(server: str, store: Store, config: Config) -> str:
    """The next id of the server's counter. Raises Refused when all are used."""
    found = store.next_vm_id(server, [(a, b) for a, b in config.servers[server].get("vm_ids", [])])
    if found is None:
        raise Refused(f"All VM ids of server {server!r} are used.", code="vm_ids_exhausted")
    return str(found)


def _mac() -> str:
    return (MAC_PREFIX + "".join(f":{b:02x}" for b in secrets.token_bytes(3))).upper()


def _properties(service: Service, store: Store, config: Config) -> dict[str, str]:
    networks = [n for n in networks_of(service.id, store, config) if n.role != "leaving"]
    found = {"vmbridge_id": str(service.service_id)}
    main = next((n.address for n in networks if n.family == 4), "") or next((n.address for n in networks), "")
    if main:
        found["Dedicated IP"] = main
        # also when there are none: WHMCS must not go on showing what was given back
        found["Assigned IPs"] = "\n".join(n.address for n in networks if n.address != main)
    return found


def _terminated_already(service: Service | None, service_id: int, params: dict[str, Any], store: Store, caller: Caller) -> Answer:
    if service is None and str(params.get("status") or "") != "Pending":
        raise NotFound(
            f"Service {service_id} is unknown to the bridge; `vmbridge adopt` records an existing machine.",
            code="unknown_service",
        )
    if service is not None:
        last = store.newest(service.id, ("terminate",))  # a clean-up may follow it
        if last and last.state in (State.CANCELLED, State.FAILED):
            store.retry(last.id)
            return Answer(last.id)
    return Answer()


def _order(verb: str, service: Service, caller: Caller, store: Store) -> Answer:
    """Write the desired state; queue the work unless it is done or under way."""
    desired = {"suspend": Desired.SUSPENDED, "unsuspend": Desired.ACTIVE, "terminate": Desired.TERMINATED}[verb]
    last = store.newest(service.id, BILLING)
    again = service.desired is desired and last is not None
    if again and last and last.state in (State.RUNNING, State.WAITING, State.STAFF):
        return Answer(last.id)
    if again and last and last.state is State.DONE and verb != "suspend":  # somebody may have started it: suspend looks again
        return Answer()
    if again and last and last.kind == verb and last.state is not State.DONE and not store.retry(last.id):
        return Answer(last.id)
    store.update_service(service.id, desired=desired.value)
    return Answer(store.submit(service.id, verb, caller.actor))


def change_package(
    service_id: int, server: str, params: dict[str, Any], caller: Caller, store: Store, config: Config, drivers: Drivers
) -> Answer:
    """All or nothing: a wish that cannot be had changes neither the machine nor the record."""
    service = live(service_id, caller.whmcs, store)
    if server and server != service.server:
        raise Refused(
            f"The service is on server {service.server!r}; the product's server is {server!r}.", code="plan_server_mismatch"
        )
    wanted = upgrades.preview(service, params, drivers[service.server], store, config)
    if wanted.refused:
        raise upgrades.refuse(service, wanted, store)
    with store.write():
        service = live(service_id, caller.whmcs, store)
        operation = upgrades.order(service, wanted, caller.actor, store, config)
    return Answer(operation, _properties(service, store, config))


def change_password(
    service_id: int, params: dict[str, Any], caller: Caller, store: Store, config: Config, drivers: Drivers
) -> Answer:
    """WHMCS's own password form: the new one goes to the machine, no mail is sent."""
    service = live(service_id, caller.whmcs, store)
    password = passwords.checked(str(params.get("password") or ""))
    driver = drivers[service.server]
    if Capability.RESET_PASSWORD not in driver.capabilities or driver.chooses_passwords:
        raise NotBuilt("A password of your choice cannot be set from outside on this server: change it inside.", code="not_supported")
    if caller.client:
        plan, has = config.plans[service.package.plan], drivers[service.server].capabilities
        reason = usable(service, Capability.RESET_PASSWORD, plan.allow, has)
        if reason:
            raise Refused(reason, code="access_denied")
    hashed = passwords.hashed(password)
    with store.write():
        service = live(service_id, caller.whmcs, store)
        _free_for(service, store)
        store.set_password(service.id, password, hashed)
        return Answer(store.submit(service.id, "change_password", caller.actor))


# -- staff and customers --------------------------------------------------------------------------
def _staff(verb: str, service: Service, params: dict[str, Any], store: Store, config: Config) -> Answer:
    """Retry and cancel act on what is open, of any generation, else retry on the newest that can go on."""
    open_now = store.open_operation_of(service.whmcs, service.service_id)
    if verb == "cancel":
        if open_now is None or not store.ask_cancel(open_now.id):
            raise Refused("Nothing is running that could be cancelled.", code="nothing_to_cancel")
        return Answer(open_now.id)
    if params.get("configoption1") and service.desired is Desired.ACTIVE:
        _order_anew(service, packages.resolve(params, service.server, config).package, store, config)
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
            raise Refused(f"This operation cannot be {'retried' if verb == 'retry' else 'cancelled'}: {reason}.", code=f"no_{verb}")
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


def _customer(verb: str, service: Service, caller: Caller, store: Store) -> Answer:
    current = store.current_operation(service.id)
    if verb == "hard_stop" and current and current.kind in ("stop", "reboot") and service.desired is Desired.ACTIVE:
        store.end_operation(current.id, State.SUPERSEDED, note="A hard stop took its place.")  # its task is ended by the hard stop
        return Answer(store.submit(service.id, verb, caller.actor))
    _free_for(service, store)
    row = store.status_row(service.server, service.vm_id)
    if verb == "reboot" and row and row["status"] == "stopped" and not service.pending:
        raise Refused(CUSTOMERS_OWN["not_running"], code="not_running")
    return Answer(store.submit(service.id, verb, caller.actor))


def _repair(verb: str, service: Service, caller: Caller, store: Store) -> Answer:
    """Staff's own: also for a suspended service, which then stays off."""
    reason = busy_reason(service, store)
    if reason:
        raise Refused(reason, code="service_busy")
    if verb == "redeploy" and service.desired is not Desired.ACTIVE:
        raise Refused("Redeploy needs an active service.", code="suspended")
    return Answer(store.submit(service.id, verb, caller.actor))


def _free_for(service: Service, store: Store) -> None:
    """Raises Refused while the service is suspended, unfinished or busy."""
    if service.desired is Desired.SUSPENDED:
        raise Refused(Sentence("The service is suspended."), code="suspended")
    reason = busy_reason(service, store)
    if reason:
        raise Refused(reason, code="service_busy")
    if not service.provisioned:
        raise Refused(Sentence("The server is not set up yet."), code="not_ready")
    if service.build.get("restoring"):
        raise Refused(UNFINISHED_RESTORE, code="restore_unfinished")


CUSTOMERS_OWN = {  # failures that customers are told in full
    "not_running": Sentence("The server is off: start it instead."),
    "server_off": Sentence("Start the server first."),
    "no_reaction": Sentence("The system inside did not react; a hard stop turns it off."),
    "backup_gone": Sentence("This backup is not on the storage any more."),
    "restore_failed": Sentence("The restore did not work; it can be tried again, or the server reinstalled."),
    "backup_failed": Sentence("The backup could not be made."),
    "no_agent": Sentence("The system inside runs no guest agent (qemu-guest-agent) that could set a password. Install it there, or reinstall the server."),
    "snapshot_gone": Sentence("This snapshot is not there any more."),
    "no_template": Sentence("This system is not available where your server is."),
}
WORDS = {
    "create": Sentence("The server is being set up"), "suspend": Sentence("The server is being suspended"),
    "unsuspend": Sentence("The server is being switched on again"), "terminate": Sentence("The server is being removed"),
    "start": Sentence("The server is starting"), "stop": Sentence("The server is stopping"), "reboot": Sentence("The server is restarting"),
    "hard_stop": Sentence("The server is being switched off"), "converge": Sentence("The configuration is being checked"),
    "change_package": Sentence("The package is being changed"), "change_password": Sentence("The password is being changed"),
    "redeploy": Sentence("The server is being set up anew"), "take_snapshot": Sentence("A snapshot is being taken"),
    "rollback": Sentence("The server goes back to a snapshot"),
    "delete_snapshot": Sentence("A snapshot is being removed"), "take_backup": Sentence("A backup is being made"),
    "scheduled_backup": Sentence("The scheduled backup is running"),
    "delete_backup": Sentence("A backup is being removed"), "restore": Sentence("A backup is being restored"),
    "reinstall": Sentence("The server is being reinstalled"),
    "reset_password": Sentence("A new password is being set"), "clean_up": Sentence("What the server left is being removed"),
}


def busy_reason(service: Service, store: Store) -> str:
    return busy_words(store.current_operation(service.id))


def busy_words(current: Operation | None) -> str:
    """Why nothing else can be done while this runs; empty when nothing does."""
    return Sentence("%(what)s; try again when this is done.", what=WORDS.get(current.kind, current.kind)) if current else ""


def adopt(
    whmcs: str, service_id: int, client_id: int, hostname: str, package: Package, machine: Machine, store: Store, config: Config,
    own: tuple[str, ...] = (),
) -> tuple[Service, list[str]]:
    """Record an existing machine by its own uuid; nothing is written upstream. `own`: addresses to record, else the machine's.

    Returns the service and the addresses that no pool has or somebody else holds."""
    driver = load_driver(config.servers[package.server]["driver"])
    if not machine.uuid:
        raise Refused(f"VM {machine.vm_id} has no {driver.identity} to recognise it by.", code="no_uuid")
    with store.write():
        known = store.find_service(whmcs, service_id)
        if known and known.desired is not Desired.TERMINATED:
            if known.vm_id != machine.vm_id:
                raise Refused(f"Service {service_id} has VM {known.vm_id} already.", code="already_created")
            uuids = list(dict.fromkeys([*known.uuids, machine.uuid]))
            store.update_service(known.id, uuids=uuids, node=machine.node, provisioned=1, build={**known.build, "identified": True})
            return store.service(known.id), []
        other = store.owner_of(package.server, machine.vm_id)
        if other:
            raise Refused(f"VM {machine.vm_id} belongs to service {other.service_id} ({other.whmcs}).", code="vm_taken")
        service = store.add_service(
            package, whmcs=whmcs, service_id=service_id, generation=known.generation + 1 if known else 1,
            client_id=client_id, desired=Desired.ACTIVE.value, server=package.server, hostname=hostname or machine.name or f"vm-{service_id}",
            vm_id=machine.vm_id, mac=machine.mac, uuids=[machine.uuid],
        )
        given = {"addresses": list(own or machine.addresses)} if driver.late_addresses else {}
        store.update_service(
            service.id, node=machine.node, provisioned=1, build={"adopted": True, "identified": True, "copied": True, **given}
        )
        usage.adopt(service.id, store)
        outside = [] if driver.late_addresses else addresses.record(service.id, own or machine.addresses, store, config)
        return store.service(service.id), outside


def accounts(server: str, whmcs: str, store: Store) -> list[dict[str, str]]:
    """One line per service for WHMCS's Server Sync; times are UTC, the status is WHMCS's word."""
    return [
        {
            "uniqueIdentifier": str(row["service_id"]), "domain": row["hostname"], "username": "", "email": "", "product": row["plan"],
            "primaryip": row["address"] or "", "created": datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "status": "Suspended" if row["desired"] == Desired.SUSPENDED else "Active",
        }
        for row in store.account_rows(server, whmcs)
    ]


def operation_view(op: Operation, service: Service, store: Store) -> dict[str, Any]:
    """An operation with its steps, for pages, the status reply and the command line."""
    return {
        "id": op.id, "kind": op.kind, "state": op.state.value, "service_id": service.service_id,
        "created_at": op.created_at, "started_at": op.started_at, "ended_at": op.ended_at, "attempt": op.attempt,
        "error_code": op.error_code, "error": op.error_text, "next_action": op.next_action, "note": op.note,
        "actor": op.actor, "warnings": op.data.get("warnings", []), "steps": store.steps(op.id),
    }
