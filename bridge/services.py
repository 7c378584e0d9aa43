"""What WHMCS's verbs mean: check, write the desired state, queue the work, answer at once. No upstream calls."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

from passlib.hash import sha512_crypt

from bridge import packages
from bridge.config import Config
from bridge.errors import BadRequest, NotFound, Refused
from bridge.model import BILLING, POWER, Desired, Operation, Package, Service, State
from bridge.orders import networks_of
from bridge.store import Store

ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.+="
MAC_PREFIX = "02:56:4d"  # locally administered; the last three octets are random and checked


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


def run(verb: str, service_id: int, server: str, params: dict[str, Any], caller: Caller, store: Store, config: Config) -> Answer:
    """Carry out one verb of `POST /v1/services/<service_id>/<verb>`."""
    if verb == "create":
        return create(service_id, server, params, caller, store, config)
    with store.write():
        service = store.find_service(caller.whmcs, service_id)
        if verb == "terminate" and (service is None or service.desired is Desired.TERMINATED):
            return _terminated_already(service, service_id, params, store, caller)
        if service is None or (service.desired is Desired.TERMINATED and verb not in ("retry", "cancel")):
            raise NotFound(
                f"Service {service_id} is unknown to the bridge; `vmbridge adopt` records an existing machine.",
                code="unknown_service",
            )
        if verb in ("suspend", "unsuspend", "terminate"):
            return _order(verb, service, caller, store)
        if verb in ("retry", "cancel"):
            return _staff(verb, service, store)
        if verb in POWER or verb == "converge":
            return _customer(verb, service, caller, store)
    raise NotFound(f"There is no action {verb!r}.", code="unknown_verb")


# -- billing verbs --------------------------------------------------------------------------------
def create(service_id: int, server: str, params: dict[str, Any], caller: Caller, store: Store, config: Config) -> Answer:
    """Validate, reserve, queue. Repeats are answered by contract.md section 2."""
    if params.get("addonId") not in (None, "", 0, "0"):
        raise Refused("Product addons cannot be servers here; sell it as a product.", code="addon_refused")
    package = packages.resolve(params, server, config)
    password, generated = _password(params)
    hashed = sha512_crypt.using(rounds=5000).hash(password)  # slow: outside the transaction
    with store.write():
        known = store.find_service(caller.whmcs, service_id)
        if known and known.desired is not Desired.TERMINATED:
            return _created_already(known, params, caller, store, config)
        service = _reserve(service_id, package, params, caller, store, config, known)
        store.set_password(service.id, password, hashed)
        key = store.submit(service.id, "create", caller.actor)
    properties = _properties(service, store, config)
    if generated:
        properties["Password"] = password
    return Answer(key, properties, config.whmcs[caller.whmcs]["hold_welcome_mail"])


def _password(params: dict[str, Any]) -> tuple[str, bool]:
    text = str(params.get("password") or "")
    if not text:
        return generate_password(), True
    if not 5 <= len(text) <= 72 or not all(32 < ord(c) < 127 for c in text):
        raise BadRequest("password: must be 5 to 72 printable ASCII characters without blanks.", code="bad_password")
    return text, False


def _client(params: dict[str, Any]) -> int:
    text = str(params.get("userid") or "")
    if not text.isascii() or not text.isdigit():
        raise BadRequest("userid: must be the id of WHMCS's client.", code="bad_client")
    return int(text)


def generate_password(length: int = 16) -> str:
    """No characters that Smarty or a shell would read."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _created_already(known: Service, params: dict[str, Any], caller: Caller, store: Store, config: Config) -> Answer:
    pending = str(params.get("status") or "Pending") == "Pending"
    last = next((o for o in store.operations_of(known.id) if o.kind == "create"), None)
    broken = last and last.state in (State.FAILED, State.CANCELLED)
    if not pending and not broken:
        raise Refused(f"Service {known.service_id} has its server already.", code="already_created")
    if broken and last:
        store.retry(last.id)
    return Answer(last.id if last else "", _properties(known, store, config), config.whmcs[caller.whmcs]["hold_welcome_mail"])


def _reserve(
    service_id: int, package: Package, params: dict[str, Any], caller: Caller, store: Store, config: Config,
    before: Service | None,
) -> Service:
    vm_id = store.next_vm_id(package.server, [(a, b) for a, b in config.servers[package.server].get("vm_ids", [])])
    if vm_id is None:
        raise Refused(f"All VM ids of server {package.server!r} are used.", code="vm_ids_exhausted")
    service = store.add_service(
        package, whmcs=caller.whmcs, service_id=service_id, generation=before.generation + 1 if before else 1,
        client_id=_client(params), desired=Desired.ACTIVE.value, server=package.server,
        hostname=str(params.get("domain") or f"vm-{service_id}"), vm_id=str(vm_id), mac=_mac(),
        uuids=[str(uuid.uuid4())], welcome_email=str(params.get("welcome_email") or ""),
    )
    families: set[int] = set()
    for name in config.plans[package.plan].pools:
        pool = config.pools[name]
        if pool.family in families:
            continue
        taken = None
        for other in config.plans[package.plan].pools:
            candidate = config.pools[other]
            if candidate.family == pool.family and taken is None:
                taken = store.take_address(other, pool.family, candidate.ranges, candidate.excluded, service.id, "main")
        if taken is None:
            raise Refused(f"No free IPv{pool.family} address in pool {name!r}.", code="pool_empty")
        families.add(pool.family)
    return service


def _mac() -> str:
    return (MAC_PREFIX + "".join(f":{b:02x}" for b in secrets.token_bytes(3))).upper()


def _properties(service: Service, store: Store, config: Config) -> dict[str, str]:
    networks = networks_of(service.id, store, config)
    found = {"vmbridge_id": str(service.service_id)}
    main = next((n.address for n in networks if n.family == 4), "") or next((n.address for n in networks), "")
    if main:
        found["Dedicated IP"] = main
    others = [n.address for n in networks if n.address != main]
    if others:
        found["Assigned IPs"] = "\n".join(others)
    return found


def _terminated_already(service: Service | None, service_id: int, params: dict[str, Any], store: Store, caller: Caller) -> Answer:
    if service is None and str(params.get("status") or "") != "Pending":
        raise NotFound(
            f"Service {service_id} is unknown to the bridge; `vmbridge adopt` records an existing machine.",
            code="unknown_service",
        )
    if service is not None:
        last = store.operations_of(service.id, 1)
        if last and last[0].kind == "terminate" and last[0].state in (State.CANCELLED, State.FAILED):
            store.retry(last[0].id)
            return Answer(last[0].id)
    return Answer()


def _order(verb: str, service: Service, caller: Caller, store: Store) -> Answer:
    """Write the desired state; queue the work unless it is done or under way."""
    desired = {"suspend": Desired.SUSPENDED, "unsuspend": Desired.ACTIVE, "terminate": Desired.TERMINATED}[verb]
    last = next((o for o in store.operations_of(service.id) if o.kind in BILLING), None)
    if service.desired is desired and last and last.state in (State.DONE, State.RUNNING, State.WAITING, State.STAFF):
        return Answer(last.id if last.state is not State.DONE else "")
    if service.desired is desired and last and last.kind == verb and store.retry(last.id):
        return Answer(last.id)
    store.update_service(service.id, desired=desired.value)
    return Answer(store.submit(service.id, verb, caller.actor))


# -- staff and customers --------------------------------------------------------------------------
def _staff(verb: str, service: Service, store: Store) -> Answer:
    newest = next(iter(store.operations_of(service.id, 1)), None)
    current = store.current_operation(service.id)
    if verb == "cancel":
        if current is None:
            raise Refused("Nothing is running that could be cancelled.", code="nothing_to_cancel")
        store.ask_cancel(current.id)
        return Answer(current.id)
    target = current or newest
    if target is None or target.state is State.DONE or not store.retry(target.id):
        raise Refused("There is nothing to retry.", code="nothing_to_retry")
    return Answer(target.id)


def _customer(verb: str, service: Service, caller: Caller, store: Store) -> Answer:
    reason = busy_reason(service, store)
    if service.desired is Desired.SUSPENDED:
        raise Refused("The service is suspended.", code="suspended")
    if reason:
        raise Refused(reason, code="service_busy")
    return Answer(store.submit(service.id, verb, caller.actor))


WORDS = {
    "create": "The server is being set up", "suspend": "The server is being suspended",
    "unsuspend": "The server is being switched on again", "terminate": "The server is being removed",
    "start": "The server is starting", "stop": "The server is stopping", "reboot": "The server is restarting",
    "hard_stop": "The server is being switched off", "converge": "The configuration is being checked",
    "change_package": "The package is being changed",
}


def busy_reason(service: Service, store: Store) -> str:
    current = store.current_operation(service.id)
    return f"{WORDS.get(current.kind, current.kind)}; try again when this is done." if current else ""


def adopt(
    whmcs: str, service_id: int, client_id: int, hostname: str, package: Package, vm_id: str, found: tuple[str, str],
    mac: str, store: Store,
) -> Service:
    """Record an existing machine by its own uuid; nothing is written upstream."""
    node, machine = found
    with store.write():
        known = store.find_service(whmcs, service_id)
        if known and known.desired is not Desired.TERMINATED:
            if known.vm_id != vm_id:
                raise Refused(f"Service {service_id} has VM {known.vm_id} already.", code="already_created")
            store.update_service(known.id, uuids=list({*known.uuids, machine}), node=node, provisioned=1)
            return store.service(known.id)
        service = store.add_service(
            package, whmcs=whmcs, service_id=service_id, generation=known.generation + 1 if known else 1,
            client_id=client_id, desired=Desired.ACTIVE.value, server=package.server, hostname=hostname,
            vm_id=vm_id, mac=mac, uuids=[machine],
        )
        store.update_service(
            service.id, node=node, provisioned=1, build={"adopted": True, "identified": True, "copied": True}
        )
        return store.service(service.id)


def operation_view(op: Operation, service: Service, store: Store) -> dict[str, Any]:
    """An operation with its steps, for pages, the status reply and the command line."""
    return {
        "id": op.id, "kind": op.kind, "state": op.state.value, "service_id": service.service_id,
        "created_at": op.created_at, "started_at": op.started_at, "ended_at": op.ended_at, "attempt": op.attempt,
        "error_code": op.error_code, "error": op.error_text, "next_action": op.next_action, "note": op.note,
        "actor": op.actor, "steps": store.steps(op.id),
    }
