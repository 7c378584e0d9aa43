"""What a service's machine has to look like, from its row, its addresses and the pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from marshmallow import Schema

from bridge import names
from bridge.config import Config
from bridge.model import Desired, Network, Order, Package, Service
from bridge.store import Store


def networks_of(service: int, store: Store, config: Config) -> tuple[Network, ...]:
    networks = []
    for row in store.addresses_of(service):
        pool = config.pools[row["pool"]]
        networks.append(
            Network(
                address=row["address"],
                pool=pool.name,
                prefix=pool.prefix,
                gateway=pool.gateway,
                dns=pool.dns,
                bridge=pool.bridge,
                vlan=pool.vlan,
                role=row["role"],
            )
        )
    return tuple(networks)


@lru_cache(maxsize=32)
def _optional(schema: type[Schema]) -> Mapping[str, Any]:
    """Key -> its field, for keys that need not be written. Making a schema takes longer than all else of a page's
    view: once is enough."""
    return {key: field for key, field in schema().fields.items() if not field.required}


def completed(package: Package, config: Config) -> Package:
    """A package that an earlier release wrote, with the driver's keys that came later at their defaults; and with the
    plan's present words for what says how the back end is, such as which template a name means."""
    driver = config.driver(package.server)
    plan = config.plans.get(package.plan)
    missing = {
        k: f.load_default() if callable(f.load_default) else f.load_default
        for k, f in _optional(driver.plan_schema).items()
        if k not in package.options
    }
    present = {k: plan.driver_values[k] for k in driver.present if plan and k in plan.driver_values}
    options = {**missing, **package.options, **present}
    return replace(package, options=options) if options != package.options else package


def thawed(service: Service, package: Package | None = None) -> Service:
    """An adopted machine from the moment on when a package is ordered for it, `package` or the one that it was adopted
    for."""
    birth = replace(service.birth, ordered=None)
    return replace(service, birth=birth, package=package or service.birth.ordered or service.package)


def order_of(service: Service, store: Store, config: Config, **changes: Any) -> Order:
    """`changes` override fields of the order (set_password, birth)."""
    order = Order(
        vm_id=service.vm_id,
        uuid=service.uuids[0],
        uuids=service.uuids,
        hostname=names.host_name(service.hostname, f"vm-{service.service_id}"),
        typed=service.hostname,
        mac=service.mac,
        package=completed(service.package, config),
        networks=networks_of(service.id, store, config),
        autostart=service.desired is Desired.ACTIVE,
        adopted=service.birth.adopted,
        frozen=service.birth.ordered is not None,
        disc_was_first=service.birth.disc_was_first,
        label=f"WHMCS {service.whmcs}, service {service.service_id}, client {service.client_id}",
    )
    if changes.get("set_password"):
        changes["password"] = store.password_hash(service.id)
        changes["password_plain"] = store.password(service.id)
        changes["set_password"] = bool(changes["password"])
    return replace(order, **changes)
