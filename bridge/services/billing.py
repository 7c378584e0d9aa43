"""Create, suspend, unsuspend, change_package and terminate: the desired state is written, never refused because the
machine is busy. The steps that follow are recipes."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace
from typing import Any

from bridge import names, passwords
from bridge.config import Config
from bridge.dns import records
from bridge.errors import BadRequest, NotFound, Refused
from bridge.kinds import BILLING
from bridge.model import Birth, Desired, Memory, Package, Service, State
from bridge.orders import addresses, packages, upgrades
from bridge.orders.wanted import networks_of
from bridge.services.calls import Answer, Caller, Drivers, client_of, live
from bridge.store import Store

LONGEST_DOMAIN = 253
MAC_PREFIX = "02:56:4d"  # locally administered; the last three octets are random and checked


def create(
    service_id: int, server: str, params: dict[str, Any], caller: Caller, store: Store, config: Config
) -> Answer:
    """Validate, reserve, queue. Repeats are answered by contract.md section 2."""
    if params.get("addonId") not in (None, "", 0, "0"):
        raise Refused("Product addons cannot be servers here; sell it as a product.", code="addon_refused")
    wanted = packages.resolve(params, server, config)
    hostname = _host_name(service_id, wanted.package, params, store, config)
    given = str(params.get("password") or "")
    password = passwords.checked(given) if given else passwords.generate()
    known = store.find_service(caller.whmcs, service_id)
    hashed = "" if known and known.desired is not Desired.TERMINATED else passwords.hashed(password)
    with store.write():
        known = store.find_service(caller.whmcs, service_id)
        if known and known.desired is not Desired.TERMINATED:
            return _created_already(known, wanted.package, params, caller, store, config)
        hashed = hashed or passwords.hashed(password)  # it has ended meanwhile
        service = _reserve(service_id, wanted.package, hostname, params, caller, store, config, known)
        store.set_password(service.id, password, hashed)
        key = store.submit(service.id, "create", caller.actor, Memory(warnings=wanted.warnings))
        if known or len(_held(service, store, config)) > 1:
            _tell_addresses(service, key, store, config)
        upgrades.tell_unknown_options(wanted.warnings, service, store)
    properties = _properties(service, store, config)
    if hostname != params.get("domain"):
        properties["Domain"] = hostname
    if not given:
        properties["Password"] = password
    return Answer(key, properties, config.whmcs[caller.whmcs]["hold_welcome_mail"])


def _host_name(service_id: int, package: Package, params: dict[str, Any], store: Store, config: Config) -> str:
    """By the plan's rule, else WHMCS's domain, else a plain one. What customers type as domain is shown as they wrote
    it: the back end gets the host name made from it. No order fails because of a name."""
    domain, rule = _typed(params), config.plans[package.plan].values["vm_name"]
    if not rule:
        return domain or f"vm-{service_id}"
    made = names.from_rule(rule, client_of(params), service_id, domain, store.clock.now())
    return names.host_name(made, f"vm-{service_id}")


def _created_already(
    known: Service, wanted: Package, params: dict[str, Any], caller: Caller, store: Store, config: Config
) -> Answer:
    """WHMCS says Pending: success with the same data. Else only a create that failed or was cancelled is taken up
    again, as it is ordered now."""
    pending = str(params.get("status") or "Pending") == "Pending"
    last = store.newest(known.id, ("create",))
    broken = (
        last is not None
        and (last.state in (State.FAILED, State.CANCELLED) or last.waits_for_room)
        and known.desired is Desired.ACTIVE
    )
    if not pending and not broken:
        reason = (
            "is suspended: unsuspend it instead" if known.desired is Desired.SUSPENDED else "has its server already"
        )
        raise Refused(f"Service {known.service_id} {reason}.", code="already_created")
    if broken and last:
        order_anew(known, wanted, store, config)
        store.retry(last.id)
        _tell_addresses(known, last.id, store, config)
    return Answer(
        last.id if last else "", _properties(known, store, config), config.whmcs[caller.whmcs]["hold_welcome_mail"]
    )


def order_anew(service: Service, wanted: Package, store: Store, config: Config) -> None:
    """An unfinished server takes what was corrected meanwhile; what is copied keeps its template and place."""
    if service.provisioned or wanted == service.package:
        return
    if service.birth.task or service.birth.sent_at:
        wanted = replace(wanted, template=service.package.template, location=service.package.location)
    else:
        store.update_service(service.id, node="", birth=Birth())
    store.update_service(service.id, package=wanted)
    addresses.adjust(service.id, wanted, store, config)


def _reserve(
    service_id: int,
    package: Package,
    hostname: str,
    params: dict[str, Any],
    caller: Caller,
    store: Store,
    config: Config,
    before: Service | None,
) -> Service:
    """A new generation of the service: its uuid, VM id or none where the back end chooses, MAC and addresses."""
    mine = str(uuid.uuid4())
    chosen = config.driver(package.server).chooses_ids
    service = store.add_service(
        package,
        whmcs=caller.whmcs,
        service_id=service_id,
        generation=before.generation + 1 if before else 1,
        client_id=client_of(params),
        desired=Desired.ACTIVE.value,
        server=package.server,
        hostname=hostname,
        vm_id=mine if chosen else new_vm_id(package.server, store, config),
        mac="" if chosen else _mac(),
        uuids=[mine],
        welcome_email=str(params.get("welcome_email") or ""),
    )
    addresses.reserve(service.id, package, store, config)
    return service


def new_vm_id(server: str, store: Store, config: Config) -> str:
    """The next id of the server's counter. Raises Refused when all are used."""
    number = store.next_vm_id(server, config.id_ranges(server))
    if number is None:
        raise Refused(f"All VM ids of server {server!r} are used.", code="vm_ids_exhausted")
    return str(number)


def _mac() -> str:
    return (MAC_PREFIX + "".join(f":{b:02x}" for b in secrets.token_bytes(3))).upper()


def _properties(service: Service, store: Store, config: Config) -> dict[str, str]:
    properties = {"vmbridge_id": str(service.service_id)}
    held = _held(service, store, config)
    if held:
        properties["Dedicated IP"] = held[0]
    return properties


def _held(service: Service, store: Store, config: Config) -> list[str]:
    """The service's addresses of our pools, the one that WHMCS calls dedicated first: IPv4 before IPv6."""
    networks = [n for n in networks_of(service.id, store, config) if n.role != "leaving"]
    first = next((n for n in networks if n.family == 4), networks[0] if networks else None)
    return [n.address for n in sorted(networks, key=lambda n: n is not first)]


def _tell_addresses(service: Service, operation: str, store: Store, config: Config) -> None:
    """WHMCS has no service property for its "Assigned IPs" (one of that name would make a custom field): the columns
    are written by its API, all of them, so that nothing that was given back stays there."""
    if _held(service, store, config):
        store.tell_addresses(service, operation, addresses.told(service, store))


def rename(service_id: int, params: dict[str, Any], caller: Caller, store: Store, config: Config) -> Answer:
    """Another domain of a living service: what is made of it follows, the machine's name by an operation, names in DNS
    by their own. The same name again is nothing to do. Raises BadRequest for none at all."""
    with store.write():
        service = live(service_id, caller.whmcs, store)
        if not _typed(params):
            raise BadRequest(
                f"domain: must not be empty. The server keeps its name {service.hostname}.", code="bad_domain"
            )
        if not take_name(service, params, store, config):
            return Answer()
        open_now = store.newest_open(service.id)
        if not _stands(service) and open_now is None:  # what makes it later makes it with this name
            return Answer()
        # in the place of a billing order its work has to be done too
        kind = "change_package" if open_now and open_now.kind in BILLING and open_now.kind != "rename" else "rename"
        return Answer(store.submit(service.id, kind, caller.actor))


def take_name(service: Service, params: dict[str, Any], store: Store, config: Config) -> bool:
    """The domain that WHMCS has now becomes the service's name, names in DNS with it; whether it is another one. An
    empty domain is none."""
    typed, plan = _typed(params), config.plans.get(service.package.plan)
    name = names.host_name(typed) if typed and plan and plan.values["vm_name"] else typed
    if name in ("", service.hostname):
        return False
    store.update_service(service.id, hostname=name)
    if _stands(service):
        records.adjust(store.service(service.id), store, config)
    return True


def _stands(service: Service) -> bool:
    return service.provisioned or service.birth.adopted


def _typed(params: dict[str, Any]) -> str:
    text = "".join(c for c in str(params.get("domain") or "") if c.isprintable())
    return text.strip()[:LONGEST_DOMAIN].strip()


def terminated_already(
    service: Service | None, service_id: int, params: dict[str, Any], store: Store, caller: Caller
) -> Answer:
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


def order(verb: str, service: Service, caller: Caller, store: Store) -> Answer:
    """Write the desired state; queue the work unless it is done or under way."""
    desired = {"suspend": Desired.SUSPENDED, "unsuspend": Desired.ACTIVE, "terminate": Desired.TERMINATED}[verb]
    last = store.newest(service.id, BILLING)
    again = service.desired is desired and last is not None
    if again and last and last.state in (State.RUNNING, State.WAITING, State.STAFF):
        return Answer(last.id)
    if (
        again and last and last.state is State.DONE and verb != "suspend"
    ):  # somebody may have started it: suspend looks again
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
            f"The service is on server {service.server!r}; the product's server is {server!r}.",
            code="plan_server_mismatch",
        )
    wanted = upgrades.preview(service, params, drivers[service.server], store, config)
    if wanted.refused:
        raise upgrades.refuse(service, wanted, store)
    with store.write():
        service = live(service_id, caller.whmcs, store)
        operation = upgrades.order(service, wanted, caller.actor, store, config)
        last = store.newest(service.id)
        _tell_addresses(service, operation or (last.id if last else ""), store, config)
    return Answer(operation, _properties(service, store, config))
