"""What is asked of the system inside, through its agent."""

from __future__ import annotations

import ipaddress

import structlog

from bridge.errors import UpstreamError
from bridge.model import Order, VmRef
from drivers.proxmox import goal, proof
from drivers.proxmox.api import Api

log = structlog.get_logger()


def set_password(api: Api, order: Order, ref: VmRef) -> bool:
    """The guest's agent where it answers; the hash for cloud-init always, or the two would differ after a restart."""
    seen = proof.read(api, ref)
    base = f"nodes/{seen.node}/qemu/{ref.vm_id}"
    api.put(f"{base}/config", cipassword=goal.password(order, seen.config))
    user = str(seen.config.get("ciuser") or order.package.options["os_user"])
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
    """What the guest's agent says, without link-local and loopback; empty when it does not answer."""
    try:
        found = api.get(f"nodes/{ref.node}/qemu/{ref.vm_id}/agent/network-get-interfaces")
    except UpstreamError:
        return ()
    rows = [a for i in found.get("result", []) if i.get("name") != "lo" for a in i.get("ip-addresses", [])]
    usable = [ipaddress.ip_address(r["ip-address"]) for r in rows]
    return tuple(str(a) for a in sorted(usable, key=lambda a: a.version) if not (a.is_link_local or a.is_loopback))
