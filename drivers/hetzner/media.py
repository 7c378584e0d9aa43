"""ISOs: what the provider lists for an architecture, and what lies in a server's drive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.errors import NotFound, Permanent, Refused
from bridge.model import Drive, Iso
from drivers.hetzner.api import Api


def iso(row: Mapping[str, Any]) -> Iso:
    """A private one has no name."""
    return Iso(str(row["id"]), row["name"] or row["description"], row["description"] or "")


def drive(server: Mapping[str, Any]) -> Drive:
    """A server starts from what is mounted as long as it is."""
    disc = iso(server["iso"]) if server["iso"] else None
    return Drive(disc, server["server_type"]["architecture"], starts=disc is not None)


def fitting(api: Api, architecture: str) -> list[Iso]:
    """The provider's own. Private ones were uploaded for the project, which is no reason to show them to each of its
    customers."""
    rows = api.pages("/isos", "isos", architecture=architecture, include_architecture_wildcard="true")
    return [iso(row) for row in rows if row["type"] == "public"]


def everything(api: Api) -> list[Iso]:
    return [iso(row) for row in api.pages("/isos", "isos") if row["type"] == "public"]


def mount(api: Api, server: Mapping[str, Any], wanted: str) -> list[dict[str, Any]]:
    """The action that puts it in or takes it out; none when it is so. The provider takes out what lies there by
    itself."""
    have = str(server["iso"]["id"]) if server["iso"] else ""
    if have == wanted:
        return []
    path = f"/servers/{server['id']}/actions"
    if not wanted:
        return [api.post(f"{path}/detach_iso")["action"]]
    try:
        return [api.post(f"{path}/attach_iso", iso=wanted)["action"]]
    except NotFound as e:
        raise Refused("There is no such ISO.", code="iso_gone", detail=e.detail) from None
    except Permanent as e:
        if e.code != "upstream_parameter":
            raise
        raise Refused("There is no such ISO.", code="iso_gone", detail=e.detail) from None
