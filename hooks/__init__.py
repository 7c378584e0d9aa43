"""Reactions to our own events. Each module has `EVENTS` and `deliver(event, payload, whmcs)`.

Modules are found by being here; they are called from the outbox and may be called twice.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from bridge.whmcs import Whmcs

Deliver = Callable[[str, dict[str, Any], Whmcs], None]


def load() -> dict[str, Deliver]:
    """event -> the function that delivers it."""
    hooks: dict[str, Deliver] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"hooks.{info.name}")
        for event in module.EVENTS:
            hooks[event] = module.deliver
    return hooks
