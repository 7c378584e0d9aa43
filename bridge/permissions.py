"""usable(): may this be done now, and if not, the reason that people read."""

from __future__ import annotations

from bridge.model import Capability, Desired, Service

ALWAYS = frozenset({Capability.OVERVIEW, Capability.POWER})


def usable(
    service: Service, capability: Capability, allowed: frozenset[str] | tuple[str, ...], has: frozenset[Capability], busy: str = ""
) -> str:
    """Empty when it may be done; else why not. Overview and power are always part of the plan."""
    if capability not in has:
        return "This server does not offer it."
    if capability not in ALWAYS:
        permission = service.package.permissions.get(capability.value, "plan")
        if permission == "deny" or (permission == "plan" and capability.value not in allowed):
            return "Not part of your plan."
    if service.desired is Desired.SUSPENDED:
        return "The service is suspended."
    if service.desired is Desired.TERMINATED:
        return "The service has ended."
    return busy
