"""Why a button cannot be pressed just now, as customers read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bridge import customer, limits
from bridge.kinds import POWER
from bridge.model import Capability, Desired, Operation, Sentence, Service
from bridge.obstacles import unreachable
from bridge.web.auth import context


class Often:
    """Called with what a customer can do, it says why that is dimmed when it was done often enough for this hour;
    `until` is when the first of what was asked for is free again, 0.0 when nothing is dimmed. Asks the store once for
    each limit."""

    def __init__(self, service: Service) -> None:
        self._service, self._known, self.until = service, dict[str, float](), 0.0

    def __call__(self, act: str) -> str:
        at, key = context(), limits.HOURLY[act]
        if key not in self._known:
            self._known[key] = limits.wait(act, self._service.id, at.store, at.config)
        seconds = self._known[key]
        if not seconds:
            return ""
        self.until = min(self.until or math.inf, at.clock.now() + seconds)
        return limits.sentence(seconds)


def power_reasons(
    service: Service, now: dict[str, Any], current: Operation | None, often: Callable[[str], str]
) -> dict[str, str]:
    """Verb -> why it cannot be ordered now, empty where it can."""
    at = context()
    common = customer.reason(service, Capability.POWER, at.drivers, current, at.store, at.config, told=True)
    lost = unreachable(service, at.store, told=True)
    reasons = {}
    for verb in POWER:
        why = common
        if verb == "hard_stop" and current and current.kind in ("stop", "reboot") and service.desired is Desired.ACTIVE:
            why = lost
        reasons[verb] = why or _power_reason(verb, now["status"], bool(service.pending)) or often(verb)
    return reasons


def _power_reason(verb: str, state: str, pending: bool) -> str:
    if verb == "start" and state == "running":
        return Sentence("It is running already.")
    if verb != "start" and state == "stopped" and not (verb == "reboot" and pending):
        return Sentence("Start the server first.")
    return ""
