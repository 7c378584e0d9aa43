"""Which server is ours: by its id and our label. What it should be: goal.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from bridge.errors import NotFound, NotOurs
from bridge.model import VmRef
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL
from drivers.hetzner.errors import protected


def proven(api: Api, ref: VmRef) -> dict[str, Any] | None:
    """The proven server; None when it is not there. Before the provider's id is known the label finds it."""
    if not ref.vm_id.isdigit():
        return labelled(api, ref.uuids)
    try:
        server: dict[str, Any] = api.get(f"/servers/{ref.vm_id}")["server"]
    except NotFound:
        return None
    if server["labels"].get(LABEL) not in ref.uuids:
        raise NotOurs(detail=f"server {ref.vm_id} carries another label")
    return server


def present(api: Api, ref: VmRef) -> dict[str, Any]:
    """As `proven`, of a server that has to be there. Raises NotFound when it is gone."""
    server = proven(api, ref)
    if server is None:
        raise NotFound("The machine is not there.", code="vm_absent", detail=f"server {ref.vm_id}")
    return server


def labelled(api: Api, uuids: Collection[str]) -> dict[str, Any] | None:
    """The server that carries one of the uuids, as the provider lists it. Raises NotOurs when two do."""
    servers = list(labelled_any(api, uuids))
    if len(servers) > 1:
        raise NotOurs(detail=f"servers {', '.join(str(s['id']) for s in servers)} carry the same label")
    return servers[0] if servers else None


def labelled_any(api: Api, uuids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Servers that carry any of the uuids, as the provider lists them."""
    return api.pages("/servers", "servers", label_selector=f"{LABEL} in ({','.join(uuids)})")


def unprotected(server: Mapping[str, Any]) -> None:
    """Raises Protected: its delete protection is somebody's word that it stays."""
    if server["protection"]["delete"]:
        raise protected(f"server {server['name']} ({server['id']})")
