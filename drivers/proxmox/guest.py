"""What is asked of the system inside, through its agent."""

from __future__ import annotations

import ipaddress
from typing import Any

import structlog

from bridge.errors import UpstreamError
from bridge.model import Order, VmRef
from drivers.proxmox import convert, goal, proof
from drivers.proxmox.api import Api

log = structlog.get_logger()


def set_password(api: Api, order: Order, ref: VmRef) -> bool:
    """The guest's agent where it answers; the hash for cloud-init always, or the two would differ after a restart."""
    seen = proof.read(api, ref)
    base = f"nodes/{seen.node}/qemu/{ref.vm_id}"
    api.put(f"{base}/config", cipassword=goal.password(order, seen.config))
    user = str(seen.config.get("ciuser") or order.package.os_user)
    try:
        api.post(f"{base}/agent/set-user-password", username=user, password=order.password_plain)
    except UpstreamError as e:
        if e.executed == "unknown":
            raise  # the same password again is harmless
        log.info("agent_password", vm=ref.vm_id, detail=e.detail)
        return False
    return True


def answers(api: Api, ref: VmRef) -> bool | None:
    try:
        api.post(f"nodes/{ref.node}/qemu/{ref.vm_id}/agent/ping")
    except UpstreamError as e:
        return None if e.code == "upstream_privilege" else False
    return True


def addresses(api: Api, ref: VmRef) -> tuple[str, ...]:
    """What the guest's agent says of the adapter that we gave it, told by net0's MAC; bridges of containers, tunnels
    and adapters that the guest made itself have others, or none. Empty when it does not answer, and while it has no
    lease."""
    node, config = proof.present(api, ref)
    try:
        reply = api.get(f"nodes/{node}/qemu/{ref.vm_id}/agent/network-get-interfaces")
    except UpstreamError:
        return ()
    return leased(reply.get("result"), convert.mac_of(config))


def leased(interfaces: Any, mac: str) -> tuple[str, ...]:
    """The addresses of the interface with this MAC that others can reach it by, IPv4 first. qemu's
    guest-network-get-interfaces leaves out what it cannot tell."""
    rows = interfaces if isinstance(interfaces, list) else []  # an error of the guest's comes as an object
    mine = [i for i in rows if mac and str(i.get("hardware-address") or "").upper() == mac]
    seen = []
    for text in (str(a.get("ip-address") or "") for i in mine for a in i.get("ip-addresses") or ()):
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if not (address.is_link_local or address.is_loopback or address.is_unspecified or address.is_multicast):
            seen.append(address)
    return tuple(dict.fromkeys(str(a) for a in sorted(seen, key=lambda a: a.version)))
