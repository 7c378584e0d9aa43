"""A machine's screen."""

from __future__ import annotations

from urllib.parse import quote

from bridge.errors import Permanent, Refused
from bridge.model import ConsoleTicket, Vm, VmRef
from drivers.proxmox.api import Api


def ticket(api: Api, ref: VmRef, vm: Vm | None, ca_file: str) -> ConsoleTicket:
    """The port is opened by the host that answers, and the ticket is bound to our token: both calls go to the
    endpoint."""
    if vm is None:
        raise Permanent("The machine is gone.", code="vm_absent", detail=f"VM {ref.vm_id} is nowhere in the cluster")
    if vm.status == "stopped":
        raise Refused("Start the server first.", code="not_running")
    base = f"nodes/{vm.node}/qemu/{ref.vm_id}"
    made = api.post(f"{base}/vncproxy", websocket=True, generate__password=True)
    query = f"port={int(made['port'])}&vncticket={quote(str(made['ticket']), safe='')}"
    return ConsoleTicket(
        api.socket_url(f"{base}/vncwebsocket?{query}"),
        str(made.get("password") or made["ticket"]),
        api.authorization(),
        ca_file=ca_file,
    )
