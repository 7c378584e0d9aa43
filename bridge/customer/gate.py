"""What a customer's form is, whose it is, and whether what it asks for may be done now. What is done stands in the
nouns' modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge import limits, obstacles, services
from bridge.config import Config
from bridge.dns.records import offered
from bridge.errors import BadRequest, Forbidden, NotFound, Refused
from bridge.kinds import KINDS
from bridge.model import Capability, Memory, Operation, Sentence, Service
from bridge.orders.wanted import completed
from bridge.permissions import permitted, usable
from bridge.services import Caller
from bridge.store import Store
from drivers.base import Driver

LONGEST_NOTE = 200
DIRECT = (Capability.RDNS, Capability.ISO, Capability.FIREWALL)
Prepared = tuple[Memory, Callable[[str], Any] | None]  # what the operation remembers, and what is done with its id


@dataclass(frozen=True)
class Ask:
    """One form of a customer's page."""

    service: Service
    form: Mapping[str, Any]
    caller: Caller
    store: Store
    config: Config
    drivers: Mapping[str, Driver]

    def text(self, name: str, label: str = "", longest: int = LONGEST_NOTE) -> str:
        """A field as one printable line. Raises BadRequest naming it as the page does when it is too long."""
        value = " ".join("".join(c if c.isprintable() else " " for c in str(self.form.get(name) or "")).split())
        if len(value) > longest:
            raise BadRequest(
                Sentence("%(field)s: at most %(n)d characters.", field=label or name, n=longest),
                code="too_long",
                field=name,
            )
        return value


# (page, `do` of the form) -> (the kind of operation, empty for what is done at once; what checks the form)
Forms = dict[tuple[str, str], tuple[str, Callable[[Ask], Any]]]


def may_see(service: Service, capability: Capability, drivers: Mapping[str, Driver], config: Config) -> bool:
    """Whether the page is part of product and plan; if not, it says Access Denied."""
    driver = drivers[service.server]
    if capability is Capability.FIREWALL and not driver.has_firewall(completed(service.package, config)):
        return False
    has = offered(service, driver.capabilities, config)
    return permitted(service, capability, config.plans[service.package.plan].allow, has)


def reason(
    service: Service,
    capability: Capability,
    drivers: Mapping[str, Driver],
    current: Operation | None,
    store: Store,
    config: Config,
    told: bool = False,
) -> str:
    """Why a capability's actions are refused while `current` runs; empty when they are not. Pages dim them with it,
    `told` what the page says of the host besides."""
    allowed = config.plans[service.package.plan].allow
    has = offered(service, drivers[service.server].capabilities, config)
    why = usable(service, capability, allowed, has, obstacles.busy_words(current))
    if not why and not service.provisioned:
        why = Sentence("The server is not set up yet.")
    if (
        not why
        and service.birth.restoring
        and capability not in (Capability.BACKUPS, Capability.REINSTALL, Capability.RDNS)
    ):
        why = services.UNFINISHED_RESTORE
    if why or (capability in DIRECT and not told):  # a direct edit finds out by itself
        return why
    if capability is Capability.RDNS and capability not in drivers[service.server].capabilities:
        return ""  # the records are kept elsewhere
    return obstacles.unreachable(service, store, told)


def edit_reason(
    service: Service,
    capability: Capability,
    drivers: Mapping[str, Driver],
    store: Store,
    config: Config,
    told: bool = False,
) -> str:
    """As `reason`, for what is changed directly: reverse records are not the machine's, so what runs there is not in
    their way. A firewall is a file beside it: only what makes the machine or writes over it is."""
    current = None if capability is Capability.RDNS else store.current_operation(service.id)
    if capability is Capability.FIREWALL and current and (kind := KINDS.get(current.kind)):
        current = current if kind.billing or kind.watched else None
    return reason(service, capability, drivers, current, store, config, told)


def still_theirs(ask: Ask) -> Service:
    """The service as it is now. Raises NotFound when it became another client's since the form was taken in."""
    service = ask.store.service(ask.service.id)
    if service.client_id != ask.service.client_id:
        raise NotFound(f"Service {service.service_id} is unknown to the bridge.", code="unknown_service")
    return service


def allow_edit(capability: Capability, ask: Ask) -> Service:
    """The service as it is now, for a direct edit. Raises Forbidden (not part of the product) or Refused (not now)."""
    service = still_theirs(ask)
    if not may_see(service, capability, ask.drivers, ask.config):
        raise Forbidden(Sentence("Access Denied"), code="access_denied")
    why = edit_reason(service, capability, ask.drivers, ask.store, ask.config)
    if why:
        raise Refused(why, code="not_now")
    limits.count(capability.value, service.id, ask.caller.client, ask.store, ask.config)
    return service


def full(have: int, quota: int) -> str:
    """Why nothing more can be made; empty when there is room."""
    if quota <= 0:
        return Sentence("Not part of your plan.")
    return Sentence("%(n)d of %(m)d in use: remove one first.", n=have, m=quota) if have >= quota else ""
