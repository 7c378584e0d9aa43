"""ISOs and reverse records of a simulated project, as strict as the official description."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from tests.hcloud.failures import Failure

if TYPE_CHECKING:
    from tests.hcloud.network import Ip
    from tests.hcloud.project import Action, Server

LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
NULLABLE = (str, type(None))
CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/isos"): {
        "page": str,
        "per_page": str,
        "name": str,
        "architecture": str,
        "include_architecture_wildcard": str,
    },
    ("POST", "/servers/{id}/actions/attach_iso"): {"!iso": str},
    ("POST", "/servers/{id}/actions/detach_iso"): {},
    ("POST", "/servers/{id}/actions/change_dns_ptr"): {"!ip": str, "!dns_ptr": NULLABLE},
    ("POST", "/floating_ips/{id}/actions/change_dns_ptr"): {"!ip": str, "!dns_ptr": NULLABLE},
}
NAMES = (  # (name, description, architecture)
    *(
        (f"debian-{v}-amd64-netinst.iso", f"Debian {v} (amd64/netinstall)", "x86")
        for v in ("11.11.0", "12.8.0", "13.1.0")
    ),
    ("debian-13.1.0-arm64-netinst.iso", "Debian 13.1 (arm64/netinstall)", "arm"),
    ("Debian-Live-13.iso", "Debian 13 live", "x86"),
    *((f"FreeBSD-{v}-RELEASE-amd64-dvd1.iso", f"FreeBSD {v}", "x86") for v in ("13.4", "14.1", "14.3")),
    ("FreeBSD-14.3-RELEASE-arm64-aarch64-dvd1.iso", "FreeBSD 14.3 (aarch64)", "arm"),
    *((f"AlmaLinux-{v}-latest-x86_64-dvd.iso", f"AlmaLinux {v}", "x86") for v in (8, 9, 10)),
    *((f"virtio-win-0.1.{n}.iso", f"VirtIO drivers 0.1.{n}", "x86") for n in range(221, 272)),
    ("netboot.xyz.iso", "netboot.xyz", None),
    ("systemrescue.iso", "SystemRescue", "x86"),
    ("ubuntu-24.04.3-live-server-amd64.iso", "Ubuntu 24.04 LTS (amd64/server)", "x86"),
)


class Media:
    """A part of Project."""

    servers: dict[int, Server]
    primary_ips: dict[int, Ip]
    durations: dict[str, float]
    _page: Callable[..., dict[str, Any]]
    act: Callable[..., Action]
    told: Callable[[Action], dict[str, Any]]
    _free: Callable[[Server], None]

    def __init__(self) -> None:
        self.isos: list[dict[str, Any]] = [
            {
                "id": 7000 + n,
                "name": name,
                "description": text,
                "type": "public",
                "architecture": arch,
                "deprecation": None,
            }
            for n, (name, text, arch) in enumerate(NAMES)
        ]
        self.isos.append(
            {
                "id": 7999,
                "name": None,
                "description": "somebody's own",
                "type": "private",
                "architecture": None,
                "deprecation": None,
            }
        )
        self.durations = {"attach_iso": 1.0, "detach_iso": 1.0, "change_dns_ptr": 1.0, **self.durations}
        self.mounted: dict[int, int] = {}  # server -> ISO
        self.refuses_names: str = ""  # a pattern of names that the provider does not take

    # -- ISO --------------------------------------------------------------------------------------
    def _get_isos(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        wanted, wild = values.get("architecture"), values.get("include_architecture_wildcard")
        if wanted not in (None, "x86", "arm") or wild not in (None, "true", "false") or (wild and not wanted):
            raise Failure("invalid_input", "invalid input in field 'architecture'")
        rows = [
            i
            for i in self.isos
            if wanted is None or i["architecture"] == wanted or (wild == "true" and i["architecture"] is None)
        ]
        return self._page("isos", rows, values)

    def _post_servers_one_actions_attach_iso(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        iso = next((i for i in self.isos if values["iso"] in (str(i["id"]), i["name"])), None)
        if iso is None:
            raise Failure("not_found", f"iso with ID '{values['iso']}' not found")
        action = self.act("attach_iso", server, "")
        action.undo = self._as_mounted(server)
        self.mounted[server.id] = iso["id"]
        return {"action": self.told(action)}

    def _post_servers_one_actions_detach_iso(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        action = self.act("detach_iso", server, "")
        action.undo = self._as_mounted(server)
        self.mounted.pop(server.id, None)
        return {"action": self.told(action)}

    def _as_mounted(self, server: Server) -> Callable[[], None]:
        before = self.mounted.get(server.id)
        return lambda: (
            self.mounted.update({server.id: before}) if before else self.mounted.pop(server.id, None) and None
        )

    # -- reverse records --------------------------------------------------------------------------
    def _post_servers_one_actions_change_dns_ptr(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        undo = self._point(values, [self.primary_ips[i] for i in server.addresses])
        action = self.act("change_dns_ptr", server, "")
        action.undo = undo
        return {"action": self.told(action)}

    def _post_floating_ips_one_actions_change_dns_ptr(self, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        undo = self._point(values, [ip])
        owner = self.servers.get(ip.owner or 0) or next(iter(self.servers.values()))
        action = self.act("change_dns_ptr", owner, "")
        action.undo = undo
        return {"action": self.told(action)}

    def _point(self, values: dict[str, Any], own: list[Ip]) -> Callable[[], None]:
        """Addresses come back in a form of the provider's own. What to call when the action fails."""
        try:
            address = ip_address(values["ip"])
        except ValueError:
            raise Failure("invalid_input", "invalid input in field 'ip'") from None
        place = next((o for o in own if address in ip_network(o.ip)), None)
        if place is None:
            raise Failure("not_found", "ip not found")
        name = values["dns_ptr"]
        full = name is None or (len(name) <= 253 and re.fullmatch(rf"({LABEL}\.)+(?=[A-Za-z]){LABEL}", name))
        if not full or (name and self.refuses_names and re.search(self.refuses_names, name)):
            raise Failure("invalid_input", "invalid input in field 'dns_ptr'")
        key = str(address) if address.version == 4 else address.exploded.upper()
        before = dict(place.ptr)
        if name is None:
            place.ptr.pop(key, None)
        else:
            place.ptr[key] = name
        return lambda: setattr(place, "ptr", before)

    # -- what a server shows ----------------------------------------------------------------------
    def shown_iso(self, server: Server) -> dict[str, Any] | None:
        mounted = self.mounted.get(server.id)
        return next((i for i in self.isos if i["id"] == mounted), None) if mounted else None
