"""What each simulated call does. Rules and texts as read from Proxmox VE's sources and schema."""

from __future__ import annotations

import base64
import copy
import hmac
import random
import re
import secrets
import uuid
from functools import cache
from typing import Any
from urllib.parse import unquote

from tests.pve import schema, volumes
from tests.pve.archives import Archives
from tests.pve.cluster import GIB, MIB, Cluster, Error, Storage, Task, Vm
from tests.pve.firewalls import Firewalls
from tests.pve.history import Histories
from tests.pve.vnc import LISTEN, TICKET, Listener

IMMEDIATE = re.compile(
    r"^(description|name|onboot|protection|tags|startup|ci\w+|sshkeys|ipconfig\d|nameserver|searchdomain|net\d)$"
)
DISK = re.compile(r"^(scsi|virtio|sata|ide)\d+$")
COLD = ("aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro")  # vmconfig_update_disk
SIZES = {"": 1, "K": 1024, "M": MIB, "G": GIB, "T": GIB * 1024}
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def size_of(line: str) -> int:
    match = re.search(r"size=(\d+)([KMGT]?)", line)
    return int(match.group(1)) * SIZES[match.group(2)] if match else 0


def boot_order(boot: str) -> list[str]:
    """The devices of a boot order that names them; the old words name none."""
    match = re.search(r"(?:^|,)order=([^,]*)", boot)
    return [d for d in match.group(1).split(";") if d] if match else []


def booted(config: dict[str, str]) -> str:
    """The disk that the machine boots (QemuServer.pm, device_bootorder): of an order its first, else what bootdisk
    names."""
    disks = [k for k in config if DISK.match(k) and "media=cdrom" not in config[k]]
    boot = config.get("boot", "cdn")
    named = boot_order(boot) if "order=" in boot else [config.get("bootdisk", "")] if "c" in boot else []
    return next((d for d in named if d in disks), sorted(disks)[0] if disks else "")


def starts_from(config: dict[str, str]) -> str:
    """What is started when it is switched on: the ISO in a CD drive that comes before every disk of the order, else the
    disk's slot. `d` among the old words is every CD drive."""
    cds = sorted(k for k, v in config.items() if DISK.match(k) and volumes.is_cd(v) and volumes.is_iso(v))
    boot, disk = config.get("boot", "cdn"), booted(config)
    if "order=" in boot:
        devices = boot_order(boot)
        first = next((d for d in devices if d in cds or d == disk), disk)
        return config[first].split(",")[0] if first in cds else first
    letters = boot.removeprefix("legacy=")
    before = "d" in letters and (not config.get("bootdisk") or letters.index("d") < (letters + "c").index("c"))
    return config[cds[0]].split(",")[0] if cds and before else disk


def cores_of(config: dict[str, str]) -> int:
    return int(config.get("sockets") or config.get("smp") or 1) * int(config.get("cores", "1"))


def new_mac() -> str:
    return "BC:24:11:" + ":".join(f"{b:02X}" for b in secrets.token_bytes(3))


@cache
def handler_of(method: str, name: str) -> str:
    short = name.replace(schema.VM, "vm").strip("/")
    word = re.sub(r"\W+", "_", re.sub(r"/?\{\w+\}", lambda m: "_" + m.group(0).strip("/{}"), short)).strip("_")
    return f"{method.lower()}_{word}"


class Handlers(Archives, Histories, Firewalls):
    def __init__(self, cluster: Cluster) -> None:
        self.c = cluster

    def call(self, method: str, name: str, words: dict[str, str], p: dict[str, str]) -> Any:
        return getattr(self, handler_of(method, name))(words, p)

    def vm(self, words: dict[str, str]) -> Vm:
        vm = self.c.vms.get(int(words["vmid"]))
        if vm is None or vm.node != words["node"]:
            raise Error(
                500, f"Configuration file 'nodes/{words['node']}/qemu-server/{words['vmid']}.conf' does not exist"
            )
        return vm

    def unlocked(self, vm: Vm) -> None:
        if vm.lock:
            raise Error(500, f"VM is locked ({vm.lock})")
        if any(
            t.kind in ("qmshutdown", "qmreboot") and t.target == str(vm.vmid) and self.c.running(t)
            for t in self.c.tasks.values()
        ):
            raise Error(500, f"can't lock file '/var/lock/qemu-server/lock-{vm.vmid}.conf' - got timeout")

    # -- cluster and nodes ------------------------------------------------------------------------
    def get_version(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return {"version": f"{self.c.major}.1.2", "release": f"{self.c.major}.1", "repoid": "0"}

    def get_access_permissions(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """With a path what holds there, else every path that an entry names or the tree begins with, if there is
        anything."""
        if "path" in p:
            return {p["path"]: self.c.held(p["path"])}
        tops = {"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
        return {path: held for path in sorted(tops | set(self.c.privileges)) if (held := self.c.held(path))}

    def get_cluster_status(self, w: dict[str, str], p: dict[str, str]) -> Any:
        rows: list[dict[str, Any]] = [
            {"type": "cluster", "name": "sim", "quorate": int(self.c.quorate), "nodes": len(self.c.nodes), "version": 3}
        ]
        return rows + [{"type": "node", "name": n, "online": int(on), "local": 0} for n, on in self.c.nodes.items()]

    def get_cluster_resources(self, w: dict[str, str], p: dict[str, str]) -> Any:
        kind = p.get("type", "")
        rows: list[dict[str, Any]] = []
        if kind in ("", "vm"):
            rows += [r for r in self.c.bulk() if "VM.Audit" in self.c.held(f"/vms/{r['vmid']}")]
        if kind in ("", "node"):
            rows += [
                {
                    "type": "node",
                    "node": n,
                    "id": f"node/{n}",
                    **self._node(n, on),
                }
                for n, on in self.c.nodes.items()
            ]
        if kind in ("", "storage"):
            for s in self.c.storages.values():
                if "Datastore.Audit" not in self.c.held(f"/storage/{s.name}"):
                    continue
                for n in s.nodes:
                    known = s.online and self.c.nodes[n] and n not in self.c.unseen
                    rows.append(
                        {
                            "type": "storage",
                            "storage": s.name,
                            "node": n,
                            "id": f"storage/{n}/{s.name}",
                            "content": s.content,
                            "shared": int(s.shared),
                            "plugintype": s.kind,
                            "status": "available" if known else "unknown",
                            **({"maxdisk": s.total, "disk": s.used} if known else {}),
                        }
                    )
        return rows

    def _node(self, name: str, on: bool) -> dict[str, Any]:
        """What pvestatd last said, and only to who may look at nodes."""
        if name in self.c.unseen:
            return {"status": "unknown" if on else "offline"}
        row: dict[str, Any] = {"status": "online" if on else "offline"}
        if "Sys.Audit" in self.c.held(f"/nodes/{name}"):
            row |= {"maxmem": self.c.memory, "mem": self.c.memory // 4, "maxcpu": self.c.processors, "cpu": 0.1}
        return row

    def get_cluster_nextid(self, w: dict[str, str], p: dict[str, str]) -> Any:
        if "vmid" in p:
            if int(p["vmid"]) in self.c.vms:
                raise Error(400, "Parameter verification failed.", {"vmid": f"VM {p['vmid']} already exists"})
            return p["vmid"]
        return str(next(i for i in range(100, 10**6) if i not in self.c.vms))

    def get_cluster_tasks(self, w: dict[str, str], p: dict[str, str]) -> Any:
        if "Sys.Audit" not in self.c.held("/"):
            return []
        return [self._task(t) for t in self.c.tasks.values() if t.start < self.c.clock.now() - 5][-25:]

    def get_nodes_node_time(self, w: dict[str, str], p: dict[str, str]) -> Any:
        now = int(self.c.clock.now() + self.c.skew[w["node"]])
        return {"time": now, "localtime": now, "timezone": "UTC"}

    def get_nodes_node_network(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Only bridges that our token may use; one that is shown says nothing of its VLANs."""
        zone = "/sdn/zones/localnetwork"
        return [
            {"iface": b, "type": "bridge"}
            for b in sorted(self.c.bridges[w["node"]])
            if any(
                {"SDN.Audit", "SDN.Use"} & set(self.c.held(path))
                for path in [f"{zone}/{b}", *(x for x in self.c.privileges if x.startswith(f"{zone}/{b}/"))]
            )
        ]

    # -- storages ---------------------------------------------------------------------------------
    def _may(self, storage: str, vmid: int, backup: bool) -> bool:
        """Whether the content list shows a volume to our token."""
        held = set(self.c.held(f"/storage/{storage}"))
        one = {"Datastore.AllocateSpace"} <= held and "VM.Backup" in self.c.held(f"/vms/{vmid}")
        disk = {"Datastore.Audit"} <= held and "VM.Config.Disk" in self.c.held(f"/vms/{vmid}")
        return "Datastore.Allocate" in held or (one if backup else disk)

    def _storage(self, w: dict[str, str]) -> str:
        if why := volumes.unavailable(self.c, w["storage"], w["node"]):
            raise Error(500, why)
        return w["storage"]

    def get_nodes_node_storage_storage_content(self, w: dict[str, str], p: dict[str, str]) -> Any:
        storage = self._storage(w)
        rows = self._isos(storage, w["node"], p)
        for name, size in self.c.volumes.items():
            vmid, node, made, notes, protected = self._about(name)
            backup = ":backup/" in name
            if (
                not name.startswith(f"{storage}:")
                or node not in ("", w["node"])
                or p.get("vmid", str(vmid)) != str(vmid)
            ):
                continue
            if p.get("content", "backup" if backup else "images") != (
                "backup" if backup else "images"
            ) or not self._may(storage, vmid, backup):
                continue
            row: dict[str, Any] = {
                "volid": name,
                "size": size,
                "vmid": vmid,
                "content": "backup" if backup else "images",
                "format": "raw",
            }
            row |= {"ctime": int(made)} if made else {}
            row |= {"notes": notes} if notes else {}
            rows.append(row | ({"protected": 1} if protected else {}))
        return rows

    def _isos(self, storage: str, node: str, p: dict[str, str]) -> list[dict[str, Any]]:
        """As `volume_list` and `check_volume_access` have them: they are nobody's, and only of a storage with that
        content."""
        if p.get("content", "iso") != "iso" or "vmid" in p or "iso" not in self.c.storages[storage].content.split(","):
            return []
        rows = [
            {"volid": v, "size": 600 * MIB, "content": "iso", "format": "iso", "ctime": 1_700_000_000}
            for v, nodes in self.c.isos.items()
            if volumes.storage_of(v) == storage and node in nodes
        ]
        return sorted(rows, key=lambda r: str(r["volid"]).lower())

    def _about(self, name: str) -> tuple[int, str, float, str, bool]:
        about = self.c.about.get(name)
        if about:
            return about.vmid, about.node, about.made, about.notes, about.protected
        vmid = int(re.findall(r"vm-(\d+)-", name)[-1])  # a machine's disk: where the machine is
        vm = self.c.vms.get(vmid)
        return vmid, vm.node if vm else "", 0.0, "", False

    def delete_nodes_node_storage_storage_content_volume(self, w: dict[str, str], p: dict[str, str]) -> Any:
        storage, name = self._storage(w), w["volume"]
        backup = ":backup/" in name
        match = re.findall(r"(?:vm-|qemu-|/vm/)(\d+)", name)
        if not name.startswith(f"{storage}:") or not match:
            raise Error(500, f"unable to parse volume ID '{name}'")
        if backup:
            self.c.need(f"/storage/{storage}", "Datastore.AllocateSpace")
            self.c.need(f"/vms/{match[-1]}", "VM.Backup")
        else:
            self.c.need(f"/storage/{storage}", "Datastore.Allocate")
        if name in self.c.about and self.c.about[name].protected:
            raise Error(500, f"cannot remove protected archive '{name}'")

        def effect() -> None:
            if self.c.volumes.pop(name, None) is None and not backup:
                raise Error(500, f"no such logical volume '{name}'")
            self.c.about.pop(name, None)

        return self.c.start_task("imgdel", w["node"], f"{match[-1]}@{storage}", effect)

    # -- tasks ------------------------------------------------------------------------------------
    def _task(self, t: Task) -> dict[str, Any]:
        row: dict[str, Any] = {
            "upid": t.upid,
            "node": t.node,
            "type": t.kind,
            "id": t.target,
            "user": t.user,
            "starttime": int(t.start),
        }
        return {**row, "status": "RUNNING"} if self.c.running(t) else {**row, "status": t.status, "endtime": int(t.end)}

    def get_nodes_node_tasks(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """A token's own, and with Sys.Audit everybody's."""
        source = p.get("source", "archive")
        everybody = "Sys.Audit" in self.c.held(f"/nodes/{w['node']}")
        rows = []
        for t in reversed(self.c.tasks.values()):
            live = self.c.running(t)
            if (
                t.node != w["node"]
                or (t.user != self.c.token and not everybody)
                or (source == "archive" and live)
                or (source == "active" and not live)
            ):
                continue
            if (
                p.get("vmid", t.target) != t.target
                or p.get("typefilter", t.kind) != t.kind
                or t.start < float(p.get("since", 0))
            ):
                continue
            rows.append(self._task(t))
        return rows[: int(p.get("limit", 50))]

    def _find(self, w: dict[str, str]) -> Task:
        t = self.c.tasks.get(w["upid"])
        if t is None:
            raise Error(400, "Parameter verification failed.", {"upid": "no such task"})
        if t.node != w["node"] or t.user != self.c.token:
            raise Error(500, "Permission check failed (/nodes, Sys.Audit)")
        return t

    def get_nodes_node_tasks_upid_status(self, w: dict[str, str], p: dict[str, str]) -> Any:
        t = self._find(w)
        row = {k: v for k, v in self._task(t).items() if k not in ("status", "endtime")}
        return (
            {**row, "status": "running"}
            if self.c.running(t)
            else {**row, "status": "stopped", "exitstatus": t.status or "OK"}
        )

    def get_nodes_node_tasks_upid_log(self, w: dict[str, str], p: dict[str, str]) -> Any:
        t = self._find(w)
        lines = t.log + ([] if self.c.running(t) else [f"TASK {t.status or 'OK'}"])
        return [{"n": i + 1, "t": text} for i, text in enumerate(lines)][: int(p.get("limit", 50)) or None]

    def delete_nodes_node_tasks_upid(self, w: dict[str, str], p: dict[str, str]) -> Any:
        t = self._find(w)
        self.undo(t)
        t.effect, t.end, t.status = None, self.c.clock.now(), "interrupted by signal"

    def undo(self, task: Task, early: bool = False) -> None:
        """A task that fails cleans up behind itself, more or less; `early`: it had not changed anything yet."""
        self.undo_archive(task.kind, task.target, early)
        if task.kind == "qmclone":
            new = re.search(r"with ID (\d+)", " ".join(task.log))
            if new and self.c.vms.get(int(new.group(1)), Vm(0, "", {})).temporary:
                del self.c.vms[int(new.group(1))]

    # -- reading a machine ------------------------------------------------------------------------
    def get_vm_config(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if vm.temporary:
            return {"lock": "clone", "digest": self.c.digest(vm)}
        if name := p.get("snapshot"):
            if name not in vm.snapshots:
                raise Error(500, f"snapshot '{name}' does not exist")
            return {**vm.snapshots[name]["config"], "digest": self.c.digest(vm)}
        merged: dict[str, Any] = dict(vm.config)
        if p.get("current") != "1":
            for key, value in vm.pending.items():
                merged.pop(key, None)
                if value is not None:
                    merged[key] = value
        if "cipassword" in merged:
            merged["cipassword"] = "**********"
        if vm.template:
            merged["template"] = 1
        merged = {k: vm.by_hand.get(str(v), v) for k, v in merged.items()}
        return {**merged, "digest": self.c.digest(vm)}

    def get_vm_pending(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        rows = []
        for key in sorted({*vm.config, *vm.pending}):
            row: dict[str, Any] = {"key": key}
            if key in vm.config:
                row["value"] = "**********" if key == "cipassword" else vm.by_hand.get(vm.config[key], vm.config[key])
            if key in vm.pending:
                if vm.pending[key] is None:
                    row["delete"] = 1
                else:
                    row["pending"] = vm.pending[key]
            rows.append(row)
        return rows

    def get_vm_status_current(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        on = vm.status == "running"
        status: dict[str, Any] = {
            "status": "running" if vm.status in ("running", "paused") else "stopped",
            "vmid": vm.vmid,
            "uptime": int(self.c.clock.now() - vm.started) if on else 0,
            "qmpstatus": vm.status,
            "ha": {"managed": 0},
            **self.c.traffic(vm),
        }
        return {**status, "lock": vm.lock} if vm.lock else status

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

    # -- changing a machine -----------------------------------------------------------------------
    def put_vm_config(self, w: dict[str, str], p: dict[str, str]) -> Any:
        self._may_write(self.vm(w), p)
        self._write(self.vm(w), p)

    def _may_write(self, vm: Vm, p: dict[str, str]) -> None:
        """Who may write which key, and where what it names may be made (API2/Qemu.pm, `check_vm_modify_config_perm`,
        `check_storage_access`, `check_bridge_access`)."""
        for key, value in p.items():
            if re.match(r"^net\d+$", key):
                self.bridge(value)
            if volumes.DISK.match(key) and re.match(r"^[\w.-]+:\d+(,|$)", value) and "media=cdrom" not in value:
                self.c.need(f"/storage/{volumes.storage_of(value)}", "Datastore.AllocateSpace")
            if "import-from=" in value:
                self.c.need(f"/vms/{self._owner(value).vmid}", "VM.Clone")
            if DISK.match(key) and volumes.is_iso(value):
                if "media=cdrom" not in value:
                    text = "explicit 'media=cdrom' is required for iso images"
                    raise Error(400, "Parameter verification failed.", {key: text})
                self.c.need(f"/storage/{volumes.storage_of(value)}", "Datastore.AllocateSpace", "Datastore.Audit")
        gone = [k for k in p.get("delete", "").split(",") if k]
        for key in gone:
            if key.startswith("unused") and key in vm.config:
                self.c.need(f"/storage/{volumes.storage_of(vm.config[key])}", "Datastore.AllocateSpace")
        for key in [k for k in (*p, *gone) if k not in ("delete", "digest", "background_delay")]:
            privilege = next(name for pattern, name in schema.CONFIG_PRIVILEGES if pattern.search(key))
            if DISK.match(key) and all(
                re.search("media=cdrom|:cloudinit|^none$", line) for line in (p.get(key), vm.config.get(key)) if line
            ):
                privilege = "VM.Config.CDROM"
            if privilege == "root" or (
                "/dev/" in f"{p.get(key, '')}{vm.config.get(key, '')}" and key.startswith("serial")
            ):
                raise Error(500, f"only root can set '{key}' config")
            either = ("VM.Config.Network",) if privilege == "VM.Config.Cloudinit" else ()
            self.c.need(f"/vms/{vm.vmid}", "VM.Config.Options" if privilege == "Sys.Modify" else privilege, *either)
            if privilege == "Sys.Modify":
                self.c.need("/", privilege)

    def _write(self, vm: Vm, p: dict[str, str]) -> None:
        p = {k: v for k, v in p.items() if k != "background_delay"}
        gone = [k for k in p.pop("delete", "").split(",") if k]
        digest = p.pop("digest", "")
        self.unlocked(vm)
        if digest and digest != self.c.digest(vm):
            raise Error(500, "checksum mismatch (file change by other user?)")
        memory = int(p.get("memory", vm.config.get("memory", "512")).removeprefix("current="))
        if int(p.get("balloon", vm.config.get("balloon", 0))) > memory and "balloon" not in gone:
            raise Error(
                400,
                "Parameter verification failed.",
                {"balloon": "balloon value too large (must be smaller than assigned memory)"},
            )
        self._named(p)
        there = {*vm.config, *vm.pending, *p} - set(gone)
        missing = [d for d in boot_order(p.get("boot", "")) if d not in there]
        if missing:
            raise Error(500, f"invalid bootorder: device '{missing[0]}' does not exist'")
        before = boot_order(vm.config.get("boot", ""))
        for key in sorted(p, key=lambda k: k != "boot"):  # in any order; here the one that loses most
            self._set(vm, key, p[key])
            if "media=cdrom" in p[key] and before and key not in before:  # a new CD drive is marked bootable
                before.append(key)
                self._set(vm, "boot", "order=" + ";".join(before))
        for key in gone:
            if key in before:
                before.remove(key)
                self._set(vm, "boot", "order=" + ";".join(before))
            if key.startswith("unused") and key in vm.config:
                if any(vm.config[key] in str(s["config"]) for s in vm.snapshots.values()):
                    raise Error(500, f"unable to delete '{vm.config[key]}' - volume is still in use (snapshot?)")
                self.free(vm.config[key])
            if volumes.DISK.match(key) and key in vm.config and "media=cdrom" not in vm.config[key]:
                self._unused(vm, vm.config[key].split(",")[0])
                vm.content.pop(key, None)
            if vm.status == "stopped" or IMMEDIATE.match(key):
                vm.config.pop(key, None)
                vm.pending.pop(key, None)
            elif key in vm.config:
                vm.pending[key] = None

    def free(self, volume: str) -> None:
        store, size = self.c.storages[volumes.storage_of(volume)], self.c.volumes.pop(volume, 0)
        store.used = max(store.used - size, 0)

    def _named(self, p: dict[str, str]) -> None:
        """The format dns-name (pve-common, JSONSchema.pm), with the 63 characters of a label that the rest of the world
        holds to."""
        labels = p.get("name", "x").split(".")
        if not all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label) for label in labels):
            raise Error(
                400,
                "Parameter verification failed.",
                {"name": "invalid format - value does not look like a valid DNS name"},
            )

    def post_vm_config(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """As PUT, in a task: what is refused early is refused at once."""
        vm = self.vm(w)
        self._may_write(vm, p)
        self.unlocked(vm)
        return self.c.start_task("qmconfig", vm.node, vm.vmid, lambda: self._write(self.vm(w), dict(p)))

    def _owner(self, value: str) -> Vm:
        source = value.split("import-from=")[1].split(",")[0]
        owner = next((v for v in self.c.vms.values() if source in " ".join(v.config.values())), None)
        if owner is None:
            raise Error(500, f"volume '{source}' does not exist")
        return owner

    def _set(self, vm: Vm, key: str, value: str) -> None:
        if volumes.DISK.match(key) or re.match(r"net\d", key):
            value = volumes.plain(key, value)
        if key.startswith("net") and not MAC.search(value):
            model, _, rest = value.partition(",")
            value = f"{model}={new_mac()},{rest}"
        if key == "cipassword" and not re.match(r"^\$(1|5|6|2a|2y)\$", value):
            value = f"$5${secrets.token_hex(8)}$hashed"
        if key == "sshkeys":
            if not re.match(r"^(ssh-|ecdsa-)", unquote(value)):
                raise Error(400, "Parameter verification failed.", {"sshkeys": "SSH public key validation error"})
            value = unquote(value)
        if re.fullmatch(r"[\w-]+:cloudinit", value):
            there = next((k for k, v in vm.config.items() if volumes.DISK.match(k) and "cloudinit" in v), "")
            if there:
                raise Error(
                    400, "Parameter verification failed.", {key: f"cloud-init drive is already attached at '{there}'"}
                )
            self.c.need(f"/vms/{vm.vmid}", "VM.Config.Cloudinit")
            self.c.need(f"/storage/{value.split(':')[0]}", "Datastore.AllocateSpace")
            value = f"{value.split(':')[0]}:vm-{vm.vmid}-cloudinit,media=cdrom"
        if volumes.DISK.match(key) and "import-from=" in value:
            self._import(vm, key, value)
            return
        if DISK.match(key) and re.match(r"^[\w-]+:\d+(,|$)", value) and "media=cdrom" not in value:
            storage, _, size = value.partition(":")
            if key in vm.config:
                self._unused(vm, vm.config[key].split(",")[0])
            size, _, options = size.partition(",")
            store = self._disks_on(storage, vm.node)
            volume = volumes.new_name(self.c, store, vm.vmid, self._format(options))
            options = ",".join(o for o in options.split(",") if not o.startswith("format="))
            if store.total - store.used < int(size) * GIB:
                raise Error(500, f"unable to create volume: not enough free space in storage '{storage}'")
            store.used += int(size) * GIB
            self.c.volumes[volume] = int(size) * GIB
            value = ",".join(x for x in (volume, options, f"size={size}G") if x)
            if re.match(r"^(scsi|virtio)", key) and re.search(
                "^1$|disk", vm.config.get("hotplug", "1")
            ):  # these buses take one while it runs
                vm.config[key] = value
                return
        elif DISK.match(key) and volumes.is_cd(value):
            self._disc(vm, key, value)
            return
        elif DISK.match(key) and key in vm.config and value.split(",")[0] == vm.config[key].split(",")[0]:
            self._limits(vm, key, value)
            return
        if key == "tags":
            value = ";".join(sorted({t.lower() for t in re.split(r"[;, ]+", value) if t}))
        hot = key in ("memory", "balloon") and "memory" in vm.config.get("hotplug", "") and vm.config.get("numa") == "1"
        if vm.status == "stopped" or hot or IMMEDIATE.match(key) or value == vm.config.get(key):
            vm.config[key] = value
            vm.pending.pop(key, None)
        else:
            vm.pending[key] = value

    def _disc(self, vm: Vm, key: str, value: str) -> None:
        """Another medium in a drive that is there is there at once; a new drive of a machine that runs waits for its
        restart (create_disks in API2/Qemu.pm, vmconfig_update_disk in QemuServer.pm)."""
        if why := volumes.missing(self.c, value, vm.node):
            raise Error(500, why)
        if volumes.is_iso(value) and "size=" not in value:
            value += ",size=600M"
        there = key in vm.config
        if there and not volumes.is_cd(vm.config[key]) and vm.status != "stopped":
            text = "hotplug problem - unable to change media type"
            raise Error(400, "Parameter verification failed.", {key: text})
        if vm.status == "stopped" or there:
            vm.config[key] = value
            vm.pending.pop(key, None)
        else:
            vm.pending[key] = value

    def _import(self, vm: Vm, key: str, value: str) -> None:
        """A full copy of another machine's disk; the one that was there becomes unused."""
        storage, source = value.split(":")[0], value.split("import-from=")[1].split(",")[0]
        owner = self._owner(value)
        if owner.node != vm.node:
            raise Error(500, f"import failed: owner VM {owner.vmid} not on local node")
        slot = next(k for k, v in owner.config.items() if source in v)
        store = self._disks_on(storage, vm.node)
        volume = volumes.new_name(self.c, store, vm.vmid, self._format(value) or volumes.format_of(source))
        if key in vm.config:
            self._unused(vm, vm.config[key].split(",")[0])
        self.c.volumes[volume] = size_of(owner.config[slot])
        size = re.search(r"size=\w+", owner.config[slot])
        options = [o for o in value.split(",")[1:] if not o.startswith("import-from=")]
        vm.config[key] = ",".join([volume, *options, size.group(0) if size else "size=1G"])
        vm.content[key] = owner.content.get(slot, owner.config["name"])

    @staticmethod
    def _format(line: str) -> str:
        return next((o.partition("=")[2] for o in line.split(",") if o.startswith("format=")), "")

    def _disks_on(self, name: str, node: str) -> Storage:
        store = self.c.storages.get(name)
        if store is None or node not in store.nodes:
            raise Error(500, f"storage '{name}' does not exist")
        if "images" not in store.content.split(","):
            raise Error(
                400, "Parameter verification failed.", {"storage": f"storage '{name}' does not support vm images"}
            )
        if store.kind in ("iscsi", "iscsidirect"):
            raise Error(500, f"can't allocate space in {store.kind} storage")
        return store

    def _unused(self, vm: Vm, volume: str) -> None:
        number = next(i for i in range(100) if f"unused{i}" not in vm.config)
        vm.config[f"unused{number}"] = volume

    def _limits(self, vm: Vm, key: str, value: str) -> None:
        """Limits and most flags are written at once; those that QEMU cannot change live wait for a restart, with the
        whole line."""

        def rest(line: str) -> list[str]:
            return sorted(p for p in line.split(",") if p.split("=")[0] in COLD)

        size = re.search(r"size=\w+", vm.config[key])
        value = re.sub(r",size=\w+", "", value) + (f",{size.group(0)}" if size else "")
        for way in ("mbps", "iops"):
            if re.search(rf"\b{way}=", value) and re.search(rf"\b{way}_(rd|wr)=", value):
                raise Error(400, "Parameter verification failed.", {key: f"{way} and {way}_rd/wr exclude each other"})
        if vm.status == "stopped" or rest(value) == rest(vm.config[key]):
            vm.config[key] = value
            vm.pending.pop(key, None)
        else:
            vm.pending[key] = value

    def put_vm_resize(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        self.unlocked(vm)
        if p["disk"] not in vm.config:
            raise Error(400, "Parameter verification failed.", {"disk": f"disk '{p['disk']}' does not exist"})
        self.c.need(f"/storage/{volumes.storage_of(vm.config[p['disk']])}", "Datastore.AllocateSpace")
        match = re.fullmatch(r"(\+?)(\d+)([KMGT]?)", p["size"])
        if not match:
            raise Error(400, "Parameter verification failed.", {"size": "value does not match the regex pattern"})

        def effect() -> None:
            line = vm.config[p["disk"]]
            wanted = int(match.group(2)) * SIZES[match.group(3)] + (size_of(line) if match.group(1) else 0)
            if wanted < size_of(line):
                raise Error(500, "shrinking disks is not supported")
            vm.config[p["disk"]] = re.sub(r"size=\w+", f"size={wanted // GIB}G", line)

        return self.c.start_task("resize", vm.node, vm.vmid, effect)

    def post_vm_clone(self, w: dict[str, str], p: dict[str, str]) -> Any:
        source, new = self.vm(w), int(p["newid"])
        self.c.need(f"/vms/{new}", "VM.Allocate")
        self._named(p)
        target = p.get("target", source.node)
        if target not in self.c.nodes:
            raise Error(500, f"no such cluster node '{target}'")
        storage = self._disks_on(p["storage"], source.node) if "storage" in p else None
        if storage and target != source.node:
            self._disks_on(storage.name, target)
            if not storage.shared:
                raise Error(500, f"can't clone to non-shared storage '{storage.name}'")
        self.unlocked(source)
        full = p.get("full", "0" if source.template else "1") == "1"
        for word in ("storage", "format"):
            if not full and word in p:
                raise Error(500, f"parameter '{word}' not allowed for linked clones")
        drives = {k: v for k, v in source.config.items() if volumes.DISK.match(k) and ":" in v}
        shared = self._may_copy(source, drives, storage)
        if target != source.node and not shared:
            raise Error(500, f"can't clone VM to node '{target}' (VM uses local storage)")
        if new in self.c.vms:
            raise Error(500, f"unable to create VM {new}: config file already exists")
        for slot, line in drives.items():
            kind = self.c.storages[volumes.storage_of(line)].kind
            if not full and "media=cdrom" not in line and slot != "tpmstate0" and kind not in volumes.LINKED:
                raise Error(500, f"Linked clone feature is not supported for '{line.split(',')[0]}' ({slot})")
        busy = [t for t in self.c.tasks.values() if t.kind == "qmclone" and self.c.running(t) and t.node == source.node]
        disks = [k for k, v in source.config.items() if volumes.DISK.match(k) and "media=cdrom" not in v]
        kind = "full" if full else "linked"
        log = [f"creating a clone of VM {source.vmid} with ID {new}"]
        log += [f"create {kind} clone of drive {d} ({source.config[d].split(',')[0]})" for d in disks]
        if len(busy) >= self.c.parallel_allocations:
            task = self.c.start_task("qmclone", source.node, source.vmid, None, log, 0.0)
            which = storage.name if storage else "local-lvm"
            self.c.tasks[
                task
            ].status = f"clone failed: can't lock file '/var/lock/pve-manager/pve-storage-{which}' - got timeout"
            return task
        made = Vm(new, source.node, {"lock": "clone"}, temporary=True)
        self.c.vms[new] = made

        def effect() -> None:
            config = {
                k: v for k, v in copy.deepcopy(source.config).items() if k != "lock" and not k.startswith("unused")
            }
            for key in list(config):
                if key.startswith("net"):
                    config[key] = MAC.sub(new_mac(), config[key])
            for slot, line in drives.items():
                config[slot] = self._copied(source, made, slot, line, storage, full, p.get("format", ""))
            identity = config.get("smbios1", "uuid=")  # clone_vm makes one where there is none
            config["smbios1"] = re.sub(r"uuid=[^,]*", f"uuid={uuid.uuid4()}", identity)
            config |= {k: p[k] for k in ("name", "description") if k in p}
            made.by_hand = dict(source.by_hand)
            made.agent_after, made.leases, made.lease_after = source.agent_after, source.leases, source.lease_after
            made.content = {d: source.content.get(d, source.config["name"]) for d in disks}
            made.config, made.temporary, made.rules = config, False, copy.deepcopy(source.rules)
            made.ipsets, made.firewall = copy.deepcopy(source.ipsets), dict(source.firewall)
            made.node = target
            self.switched(new, False)

        return self.c.start_task("qmclone", source.node, source.vmid, effect, log)

    def _may_copy(self, source: Vm, drives: dict[str, str], storage: Storage | None) -> bool:
        """The checks of `check_storage_access_clone` and `check_bridge_access`; whether all that it has is shared."""
        for line in drives.values():
            if "media=cdrom" not in line:
                self.c.need(
                    f"/storage/{storage.name if storage else volumes.storage_of(line)}", "Datastore.AllocateSpace"
                )
        for key, line in source.config.items():
            if re.match(r"^net\d+$", key):
                self.bridge(line)
        stores = [self.c.storages.get(volumes.storage_of(line)) for line in drives.values()]
        return all(s is not None and s.shared for s in stores)

    def bridge(self, line: str) -> None:
        """SDN.Use on the VLAN where there is one, else on the whole bridge. Source: `check_vnet_access`."""
        parts = dict(x.partition("=")[::2] for x in line.split(","))
        if "bridge" in parts:
            tag = f"/{parts['tag']}" if parts.get("tag") else ""
            self.c.need(f"/sdn/zones/localnetwork/{parts['bridge']}{tag}", "SDN.Use")

    def _copied(
        self, source: Vm, made: Vm, slot: str, line: str, storage: Storage | None, full: bool, wanted: str
    ) -> str:
        volume, _, rest = line.partition(",")
        old = self.c.storages[volumes.storage_of(volume)]
        if "media=cdrom" in line and "cloudinit" not in line:
            return line
        store = storage if full and storage else old
        if "cloudinit" in line:
            name = f"vm-{made.vmid}-cloudinit"
            return (
                f"{store.name}:{made.vmid}/{name}.qcow2,{rest}"
                if store.kind in volumes.FILES
                else f"{store.name}:{name},{rest}"
            )
        word = (wanted or volumes.format_of(volume)) if full else "qcow2"
        new = volumes.new_name(self.c, store, made.vmid, word)
        if not full and store.kind in volumes.FILES:
            new = f"{store.name}:{source.vmid}/{volume.rpartition('/')[2]}/{new.partition(':')[2]}"
        store.used += size_of(line)
        self.c.volumes[new] = size_of(line)
        return f"{new},{rest}" if rest else new

    def post_vm_migrate(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Of a machine that is off: shared volumes stay, local ones are copied where the target has the storage."""
        vm = self.vm(w)
        self.unlocked(vm)
        target = p["target"]
        if target not in self.c.nodes or target == vm.node:
            raise Error(400, "Parameter verification failed.", {"target": "target is local node."})
        if vm.status != "stopped":
            raise Error(500, "can't migrate running VM without --online")
        for key, line in vm.config.items():
            if volumes.DISK.match(key) and ":" in line:
                store = self.c.storages.get(volumes.storage_of(line))
                if store is None or target not in store.nodes:
                    raise Error(500, f"storage '{volumes.storage_of(line)}' is not available on node '{target}'")
        vm.config["lock"] = "migrate"

        def effect() -> None:
            vm.config.pop("lock", None)
            lines = [v for k, v in vm.config.items() if DISK.match(k) and volumes.is_iso(v)]
            if any(not self.c.storages[volumes.storage_of(line)].shared for line in lines):
                raise Error(500, "migration aborted")  # the log says: local cdrom image
            vm.node = target

        return self.c.start_task("qmmigrate", vm.node, vm.vmid, effect)

    # -- power ------------------------------------------------------------------------------------
    def post_vm_status_start(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)

        def effect() -> None:
            if vm.lock:
                raise Error(500, f"VM is locked ({vm.lock})")
            if vm.status != "stopped":
                raise Error(500, f"VM {vm.vmid} already running")
            wanted = {**vm.config, **{k: v for k, v in vm.pending.items() if v is not None}}
            if (
                int(wanted.get("cores", 1)) * int(wanted.get("sockets", 1)) > self.c.processors
            ):  # QemuServer.pm, config_to_command
                raise Error(500, f"MAX {self.c.processors} vcpus allowed per VM on this node")
            self._boot(vm)

        return self.c.start_task("qmstart", vm.node, vm.vmid, effect)

    def _pend(self, vm: Vm) -> None:
        """What waited for this holds now."""
        for key, value in vm.pending.items():
            vm.config.pop(key, None)
            if value is not None:
                vm.config[key] = value
        vm.pending.clear()

    def _boot(self, vm: Vm) -> None:
        self._pend(vm)
        for why in [volumes.missing(self.c, v, vm.node) for k, v in vm.config.items() if DISK.match(k)]:
            if why:
                vm.status, vm.started = "stopped", 0.0
                raise Error(500, why)
        layout = sum(
            int(n) for k, v in vm.config.items() if re.match(r"numa\d", k) for n in re.findall(r"memory=(\d+)", v)
        )
        if layout and layout != int(vm.config.get("memory", "512").removeprefix("current=")):
            raise Error(500, "total memory for NUMA nodes must be equal to vm static memory")
        vm.status, vm.started, vm.ran = "running", self.c.clock.now(), self._inside(vm)
        self.switched(vm.vmid, True)

    def _inside(self, vm: Vm) -> dict[str, Any]:
        """What the guest has of it: the cores that run, the disk it booted, what cloud-init was told, what it may
        write."""
        c, disk = vm.config, booted(vm.config)
        line = c.get(disk, "")
        files = re.findall(r"(user|network|meta)=", c.get("cicustom", ""))
        drive = any("cloudinit" in v for k, v in c.items() if DISK.match(k))
        return {
            "cores": int(c.get("vcpus", 0)) or cores_of(c),
            "disk": disk,
            "from": starts_from(c),
            "system": vm.content.get(disk, ""),
            "user": c.get("ciuser", "") if drive and "user" not in files else "",
            "password": c.get("cipassword", "") if drive and "user" not in files else "",
            "address": c.get("ipconfig0", "") if drive and "network" not in files else "",
            "halted": c.get("freeze") == "1",
            "online": "link_down=1" not in c.get("net0", ""),
            "writes": not re.search(r"\b(ro|snapshot)=1", line),
        }

    def post_vm_status_stop(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if p.get("overrule-shutdown") == "1":
            for t in self.c.tasks.values():
                if t.kind == "qmshutdown" and t.target == str(vm.vmid) and self.c.running(t):
                    t.effect, t.end, t.status = None, self.c.clock.now(), "interrupted by signal"
        return self.c.start_task("qmstop", vm.node, vm.vmid, lambda: self._off(vm))

    def _off(self, vm: Vm) -> None:
        if vm.lock:
            raise Error(500, f"VM is locked ({vm.lock})")
        if vm.status != "stopped":
            self._pend(vm)
            vm.status, vm.started = "stopped", 0.0
            self.switched(vm.vmid, False)

    def post_vm_status_shutdown(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)

        def effect() -> None:
            if vm.status == "stopped":
                return
            if not vm.acpi and p.get("forceStop") != "1":
                raise Error(500, "VM quit/powerdown failed - got timeout")
            self._off(vm)

        wait = float(p.get("timeout", 60)) if not vm.acpi and vm.status != "stopped" else None
        return self.c.start_task("qmshutdown", vm.node, vm.vmid, effect, end_in=wait)

    def post_vm_status_reboot(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if vm.status == "stopped":
            raise Error(500, f"VM {vm.vmid} not running")

        def effect() -> None:
            if vm.lock:
                raise Error(500, f"VM is locked ({vm.lock})")
            if not vm.acpi:
                raise Error(500, "VM quit/powerdown failed - got timeout")
            try:
                self._boot(vm)
            except Error:  # what starts it again is another task, of qmeventd's
                self.switched(vm.vmid, False)

        wait = None if vm.acpi else float(p.get("timeout", 60))
        return self.c.start_task("qmreboot", vm.node, vm.vmid, effect, end_in=wait)

    def delete_vm(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if vm.status != "stopped":
            raise Error(500, f"VM {vm.vmid} is running - destroy failed")
        if vm.config.get("protection") == "1":
            raise Error(500, f"can't remove VM {vm.vmid} - protection mode enabled")

        def effect() -> None:
            if vm.lock:
                raise Error(500, f"VM is locked ({vm.lock})")
            self.c.vms.pop(vm.vmid, None)
            for volume in [v for v in self.c.volumes if re.search(rf"[:/]vm-{vm.vmid}-[^/]+$", v)]:
                self.free(volume)

        return self.c.start_task("qmdestroy", vm.node, vm.vmid, effect)


def jitter(low: float, high: float) -> float:
    """A task length for benchmarks."""
    return random.uniform(low, high)
