"""What reaches into a machine: its agent and its screen. Rules and texts as read from
Proxmox VE's sources and schema."""

from __future__ import annotations

import base64
import hmac
import secrets
from typing import Any

from tests.pve.calls import Calls
from tests.pve.cluster import Error, Vm
from tests.pve.lines import MAC
from tests.pve.vnc import LISTEN, TICKET, Listener


class Guests(Calls):
    # -- guest agent ------------------------------------------------------------------------------
    def _agent(self, w: dict[str, str]) -> Vm:
        vm = self.vm(w)
        if not vm.config.get("agent", "0").startswith(("1", "enabled=1", "yes", "on")):
            raise Error(500, "No QEMU guest agent configured")
        if vm.status != "running":
            raise Error(500, f"VM {vm.vmid} is not running")
        if vm.agent_after is None or self.c.clock.now() - vm.started < vm.agent_after:
            raise Error(500, "QEMU guest agent is not running")
        return vm

    def post_vm_agent_ping(self, w: dict[str, str], p: dict[str, str]) -> Any:
        self._agent(w)
        return {"result": {}}

    def post_vm_agent_set_user_password(self, w: dict[str, str], p: dict[str, str]) -> Any:
        self._agent(w).guest_password = f"{p['username']}:{p['password']}"
        return {"result": {}}

    def get_vm_agent_network_get_interfaces(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """As a guest with containers and a tunnel says it: only one of these is the adapter that it was given."""
        vm = self._agent(w)
        mac = MAC.search(vm.config.get("net0", ""))
        up = self.c.clock.now() - vm.started >= vm.lease_after

        def rows(*addresses: str) -> list[dict[str, Any]]:
            kinds = ["ipv6" if ":" in a else "ipv4" for a in addresses]
            return [
                {"ip-address": a, "ip-address-type": k, "prefix": 24} for a, k in zip(addresses, kinds, strict=True)
            ]

        zero, docker = "00:00:00:00:00:00", "02:42:AC:11:00:01".lower()
        interfaces: list[dict[str, Any]] = [
            {"name": "lo", "hardware-address": zero, "ip-addresses": rows("127.0.0.1", "::1")},
            {"name": "docker0", "hardware-address": docker, "ip-addresses": rows("172.17.0.1")},
            {"name": "wg0", "ip-addresses": rows("10.8.0.2", "fd00::2")},
            {"name": "tun1", "hardware-address": zero, "ip-addresses": []},
        ]
        leases = vm.leases if up else ()
        mine = {"name": "eth0", "hardware-address": mac.group(0).lower() if mac else zero}
        return {
            "result": [
                *interfaces,
                {**mine, "ip-addresses": rows("fe80::1", "169.254.7.7", *leases)},
                {"name": "down0"},
            ]
        }

    # -- console ----------------------------------------------------------------------------------
    def post_vm_vncproxy(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """From 9 on the ticket begins with the password; on 8 the whole ticket is the password unless one is asked
        for."""
        vm = self.vm(w)
        if p.get("websocket") != "1":
            raise Error(400, "Parameter verification failed.", {"websocket": "the simulator has no plain VNC"})
        now, c = self.c.clock.now(), self.c
        port = next((n for n in range(5900, 6000) if n not in c.listeners or not c.listeners[n].open(now)), None)
        if port is None:
            raise Error(500, "unable to find free port (5900-6000)")
        password = secrets.token_urlsafe(6) if c.major >= 9 or p.get("generate-password") == "1" else ""
        ticket = f"PVEVNC:{int(now):08X}::{base64.b64encode(secrets.token_bytes(256)).decode()}"
        ticket = f"{password}:{ticket}" if c.major >= 9 else ticket
        upid = c.start_task("vncproxy", vm.node, vm.vmid, None, end_in=LISTEN)
        c.listeners[port] = Listener(port, vm.vmid, vm.node, c.token, ticket, password or ticket[:8], now, upid)
        return {
            "port": port,
            "ticket": ticket,
            "user": c.token,
            "cert": "-----BEGIN CERTIFICATE-----",
            "upid": upid,
            **({"password": password} if password else {}),
        }

    def get_vm_vncwebsocket(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Checks only; the HTTP server then speaks for the port."""
        vm = self.vm(w)
        listener = self.c.listeners.get(int(p["port"]))
        now = self.c.clock.now()
        if (
            listener is None
            or not hmac.compare_digest(listener.ticket, p["vncticket"])
            or (listener.vmid, listener.node) != (vm.vmid, vm.node)
        ):
            raise Error(401, "permission denied - invalid PVEVNC ticket")
        if now - listener.at > TICKET:
            raise Error(401, "permission denied - invalid PVEVNC ticket")
        if listener.taken or now - listener.at > LISTEN:
            self.c.tasks[listener.upid].status = "connection timed out"
            raise Error(500, "connect to port failed: Connection refused")
        listener.taken = True
        return {"port": str(listener.port)}
