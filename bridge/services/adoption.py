"""A machine that exists already becomes a service's. Nothing is written to it, and its package is what it is, until one
is ordered."""

from __future__ import annotations

from dataclasses import replace

from bridge.config import Config
from bridge.dns import records
from bridge.errors import Refused
from bridge.metering import usage
from bridge.model import Birth, Desired, Machine, Package, Service
from bridge.orders import addresses
from bridge.store import Store


def adopt(
    whmcs: str,
    service_id: int,
    client_id: int,
    hostname: str,
    package: Package,
    machine: Machine,
    store: Store,
    config: Config,
    own: tuple[str, ...] = (),
) -> tuple[Service, list[str]]:
    """Record an existing machine by its own uuid; nothing is written upstream. `package` is the one of its plan, which
    an explicit Converge writes; until then or a change of package it has what it has. `own`: addresses to record, else
    the machine's.

    Returns the service and the addresses that no pool has or somebody else holds."""
    driver = config.driver(package.server)
    if not machine.uuid:
        raise Refused(f"VM {machine.vm_id} has no {driver.identity} to recognise it by.", code="no_uuid")
    with store.write():
        known = store.find_service(whmcs, service_id)
        if known and known.desired is not Desired.TERMINATED:
            if known.vm_id != machine.vm_id:
                raise Refused(f"Service {service_id} has VM {known.vm_id} already.", code="already_created")
            uuids = list(dict.fromkeys([*known.uuids, machine.uuid]))
            store.update_service(
                known.id, uuids=uuids, node=machine.node, provisioned=1, birth=replace(known.birth, identified=True)
            )
            return store.service(known.id), []
        other = store.owner_of(package.server, machine.vm_id)
        if other:
            raise Refused(f"VM {machine.vm_id} belongs to service {other.service_id} ({other.whmcs}).", code="vm_taken")
        frozen = driver.as_it_is(package, machine.config) if machine.config else package
        store.audit("adopt", "done", whmcs, service_id, f"{package.server} {machine.vm_id}")
        service = store.add_service(
            frozen,
            whmcs=whmcs,
            service_id=service_id,
            generation=known.generation + 1 if known else 1,
            client_id=client_id,
            desired=Desired.ACTIVE.value,
            server=package.server,
            hostname=hostname or machine.name or f"vm-{service_id}",
            vm_id=machine.vm_id,
            mac=machine.mac,
            uuids=[machine.uuid],
        )
        store.update_service(
            service.id,
            node=machine.node,
            provisioned=1,
            birth=Birth(
                adopted=True,
                identified=True,
                copied=True,
                ordered=package,
                addresses=tuple(own or machine.addresses) if driver.late_addresses else (),
            ),
        )
        usage.adopt(service.id, store)
        outside = [] if driver.late_addresses else addresses.record(service.id, own or machine.addresses, store, config)
        extra = [r["address"] for r in store.addresses_of(service.id) if r["role"] == "extra"]
        six = sum(":" in address for address in extra)
        store.update_service(service.id, package=replace(frozen, extra_ipv4=len(extra) - six, extra_ipv6=six))
        adopted = store.service(service.id)
        records.adjust(adopted, store, config, adopted=True)
        return adopted, outside
