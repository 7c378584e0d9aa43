"""usable(): may this be done now, and if not, the reason that people read."""

from __future__ import annotations

from bridge.model import Capability, Desired, Sentence, Service

ALWAYS = frozenset({Capability.OVERVIEW, Capability.POWER})


def permitted(
    service: Service, capability: Capability, allowed: frozenset[str] | tuple[str, ...], has: frozenset[Capability]
) -> bool:
    """Part of what was sold? Overview, power and the console's button always are, where the driver has them."""
    if capability not in has:
        return False
    permission = service.package.permissions.get(capability.value, "plan")
    return capability in ALWAYS or permission == "allow" or (permission == "plan" and capability.value in allowed)


def usable(
    service: Service,
    capability: Capability,
    allowed: frozenset[str] | tuple[str, ...],
    has: frozenset[Capability],
    busy: str = "",
) -> str:
    """Empty when it may be done; else why not."""
    if capability not in has:
        return Sentence("This server does not offer it.")
    if not permitted(service, capability, allowed, has):
        return Sentence("Not part of your plan.")
    if service.desired is Desired.SUSPENDED:
        return Sentence("The service is suspended.")
    if service.desired is Desired.TERMINATED:
        return Sentence("The service has ended.")
    return busy
