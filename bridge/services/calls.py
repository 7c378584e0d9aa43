"""Who asks for something, what the answer holds, and which service is meant. What verbs do stands in the other
modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import BadRequest, NotFound
from bridge.model import Desired, Service
from bridge.store import Store
from drivers.base import Driver


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
    address: str = ""  # from which the customer's browser asks, as WHMCS sees it; empty where nobody can tell


Drivers = Mapping[str, Driver]


def unknown(service_id: int) -> NotFound:
    return NotFound(
        f"Service {service_id} is unknown to the bridge; `vmbridge adopt` records an existing machine.",
        code="unknown_service",
    )


def live(service_id: int, whmcs: str, store: Store) -> Service:
    """The service that is not terminated. Raises NotFound."""
    service = store.find_service(whmcs, service_id)
    if service is None or service.desired is Desired.TERMINATED:
        raise unknown(service_id)
    return service


def client_of(params: dict[str, Any]) -> int:
    text = str(params.get("userid") or "")
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise BadRequest("userid: must be the id of WHMCS's client.", code="bad_client")
    return int(text)
