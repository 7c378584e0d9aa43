"""A simulated Proxmox VE cluster: state, tasks, dispatch. What a call does to a machine stands in vms.py.

As awkward as the real thing: tasks run on after the reply, effects come when they end, bulk status is old,
ids are reused by others, locks time out, nodes and quorum go away.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from bridge.clock import Clock
from tests.pve import schema, volumes

if TYPE_CHECKING:
    from tests.pve.history import History
from tests.pve.vnc import Listener, Screen

GIB, MIB = 1024**3, 1024**2
PROXY_SECONDS = 30.0
ROLE = {
    "VM.Audit",
    "VM.Clone",
    "VM.Allocate",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Disk",
    "VM.Config.Options",
    "VM.Config.HWType",
    "VM.Config.Cloudinit",
    "VM.Config.CDROM",
    "VM.PowerMgmt",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
    "VM.Backup",
    "VM.Console",
    "VM.Migrate",
}
AGENT = {"VM.GuestAgent.Audit": "VM.Monitor", "VM.GuestAgent.Unrestricted": "VM.Monitor"}  # name on 9: name on 8
DURATIONS = {
    "qmclone": 6.0,
    "qmmigrate": 2.0,
    "resize": 1.0,
    "qmstart": 2.0,
    "qmstop": 1.0,
    "qmshutdown": 3.0,
    "qmreboot": 3.0,
    "qmdestroy": 2.0,
    "qmconfig": 1.0,
    "imgdel": 1.0,
    "qmsnapshot": 2.0,
    "qmdelsnapshot": 1.0,
    "qmrollback": 3.0,
    "vzdump": 5.0,
    "qmrestore": 5.0,
}


class Error(Exception):
    """A refusal: HTTP status, reason phrase, errors by parameter."""

    def __init__(self, status: int, reason: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.errors = status, reason, errors


@dataclass
class Reply:
    status: int
    reason: str
    body: bytes


@dataclass
class Vm:
    vmid: int
    node: str
    config: dict[str, str]
    pending: dict[str, str | None] = field(default_factory=dict)  # None = to be deleted
    status: str = "stopped"
    started: float = 0.0
    template: bool = False
    acpi: bool = True
    agent_after: float | None = None  # seconds after the start until the guest agent answers; None = not installed
    guest_password: str = ""
    leases: tuple[str, ...] = ()  # addresses the guest says it has
    lease_after: float = 0.0  # seconds after the start until it has them
    rules: list[dict[str, Any]] = field(default_factory=list)
    ipsets: dict[str, list[str]] = field(default_factory=dict)
    firewall: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    content: dict[str, str] = field(default_factory=dict)  # slot -> what is on the disk, one word
    rolled_back: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)  # what a task that has begun would put back if it ended now
    screen: Screen = field(default_factory=Screen)
    rates: tuple[int, int] = (20_000, 90_000)  # bytes a second in and out
    ran: dict[str, Any] = field(default_factory=dict)  # what the guest had at its last start
    temporary: bool = False  # a full clone still running: only the lock is readable
    by_hand: dict[str, str] = field(default_factory=dict)  # line -> how somebody wrote it into the file

    @property
    def lock(self) -> str:
        return self.config.get("lock", "")

    def edit(self, key: str, text: str) -> None:
        """As staff edits the file: what the API tells is what stands there, whichever way it is written."""
        self.config[key] = volumes.plain(key, text)
        self.by_hand[self.config[key]] = text


STATS_KEPT = 300.0  # seconds that the cluster's file system keeps what a node told (pmxcfs, status.c)


@dataclass
class Task:
    upid: str
    kind: str
    node: str
    target: str
    user: str
    start: float
    end: float
    effect: Callable[[], None] | None
    log: list[str]
    status: str = ""  # exit status, when stopped


@dataclass
class Storage:
    name: str
    nodes: tuple[str, ...]
    content: str
    total: int
    used: int
    shared: bool = False
    online: bool = True
    prune: str = ""  # the storage's own retention, e.g. keep-last=3
    kind: str = "lvmthin"  # its plugin
    chain: bool = False  # thick LVM with snapshot-as-volume-chain


@dataclass
class Volume:
    """What the content list tells of a volume beside its name and size. `node` is empty on a shared storage."""

    vmid: int
    node: str
    made: float
    notes: str = ""
    protected: bool = False


@dataclass
class Fault:
    """kind: status (status, reason), status_after (the same once the work was done or begun), reset_before,
    reset_after, timeout_after, slow (seconds; above 30 the proxy answers 596 while the work goes on), fail_task
    (reason; `early`: before it has changed anything), unexpected_status; body_before and body_after (body: what comes
    with a 200 in place of the reply, with the work not begun or done)."""

    kind: str
    method: str = ""
    path: str = ""
    nth: int = 1
    times: int = 1
    status: int = 500
    reason: str = "got timeout"
    seconds: float = 0.0
    body: bytes = b""
    seen: int = 0
    early: bool = False

    def hits(self, method: str, path: str) -> bool:
        if (self.method and self.method != method) or not re.search(self.path, path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class Cut(Exception):
    """The client sees a broken connection (`kind` reset_before, reset_after, timeout_after)."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Cluster:
    def __init__(
        self,
        clock: Clock,
        nodes: tuple[str, ...] = ("pve1", "pve2"),
        major: int = 9,
        token: str = "vmbridge@pve!bridge",
        secret: str = "sim-secret",
        bulk_age: float = 10.0,
        memory: int = 64 * GIB,
    ) -> None:
        self.clock, self.major, self.token, self.secret, self.bulk_age, self.memory = (
            clock,
            major,
            token,
            secret,
            bulk_age,
            memory,
        )
        self.nodes = dict.fromkeys(nodes, True)
        self.processors = 32  # of each
        self.bridges = {n: {"vmbr0"} for n in nodes}
        self.skew = dict.fromkeys(nodes, 0.0)
        self.vms: dict[int, Vm] = {}
        self.storages: dict[str, Storage] = {}
        self.tasks: dict[str, Task] = {}
        self.volumes: dict[str, int] = {}
        self.pools: dict[int, str] = {}  # VM id -> its pool
        self.about: dict[str, Volume] = {}  # of volumes that add_volume made
        self.isos: dict[str, set[str]] = {}  # volume, e.g. `local:iso/debian.iso` -> the nodes that have the file
        self.old_firewalls: dict[int, Vm] = {}  # firewall files without a machine
        self.archives: dict[str, dict[str, Any]] = {}  # archive -> what it holds
        self.histories: dict[int, History] = {}  # RRD files by VM id
        self.unseen: set[str] = set()  # nodes whose pvestatd does not report
        self.meanwhile: list[tuple[Task, float, Callable[[], None]]] = []  # what a task does before it ends, and when
        self.notes_fail = False  # archives get no notes, which vzdump only warns of
        self.prunes = False  # whether the backup storage removes old archives by itself
        self.listeners: dict[int, Listener] = {}  # port -> what vncproxy opened there
        self.holding: dict[int, Task] = {}  # by machine: somebody else's task at work on it
        self.quorate, self.firewall_on = True, True
        self.dc_sets: list[str] = []  # of the datacenter's own firewall: sets and aliases that rules may name
        self.dc_aliases: list[str] = []
        self.node_firewalls: dict[str, dict[str, Any]] = {}  # options of nodes' own firewalls; absent: PVE's defaults
        self.firewall_log: list[tuple[float, str]] = []  # (when, line) of all machines
        self.privileges: dict[str, set[str]] = {
            "/": {"Sys.Audit"},
            "/vms": ROLE | ({"VM.Monitor"} if major < 9 else set(AGENT)),
            "/nodes": {"Sys.Audit"},
            "/storage": {"Datastore.AllocateSpace", "Datastore.Audit"},
            "/sdn/zones": {"SDN.Use"},
        }
        self.unpropagated: set[str] = set()  # paths whose privileges do not reach further down
        self.asked: set[tuple[str, str, str, tuple[str, ...]]] = (
            set()
        )  # (method, call, path, privileges of which one is enough)
        self.route = ("", "")  # the call that is being answered
        self.durations: dict[str, float] = dict(DURATIONS)
        self.duration: Callable[[str], float] = lambda kind: self.durations[kind]
        self.storage_locks: dict[str, int] = {}
        self.parallel_allocations = 99
        self.faults: list[Fault] = []
        self.calls: list[tuple[float, str, str, dict[str, str]]] = []
        self.on_call: Callable[[str, int, str, str], None] | None = None
        self._bulk: list[dict[str, Any]] = []
        self._bulk_at = -1e9
        self._heard: dict[str, float] = {}  # node -> when pvestatd last told of its machines
        self._stats: dict[int, dict[str, Any]] = {}
        self._serial = 0x1000
        self.guard = threading.RLock()
        from tests.pve.vms import Handlers

        self.handlers = Handlers(self)

    # -- set-up -----------------------------------------------------------------------------------
    def add_storage(
        self,
        name: str,
        nodes: tuple[str, ...],
        content: str = "images",
        total: int = 500,
        used: int = 10,
        shared: bool = False,
        kind: str = "",
        chain: bool = False,
    ) -> None:
        kind = kind or (("nfs", "rbd") if shared else ("dir", "lvmthin"))["images" in content.split(",")]
        self.storages[name] = Storage(name, nodes, content, total * GIB, used * GIB, shared, kind=kind, chain=chain)

    def add_template(self, vmid: int, name: str, node: str, storage: str = "local-lvm", **config: str) -> Vm:
        store = self.storages.get(storage)
        files = store is not None and store.kind in volumes.FILES
        disk = f"{storage}:{vmid}/base-{vmid}-disk-0.qcow2" if files else f"{storage}:base-{vmid}-disk-0"
        ci = f"{storage}:{vmid}/vm-{vmid}-cloudinit.qcow2" if files else f"{storage}:vm-{vmid}-cloudinit"
        vm = Vm(
            vmid,
            node,
            {
                "name": name,
                "description": "golden image",
                "memory": "1024",
                "cores": "1",
                "balloon": "512",
                "ostype": "l26",
                "scsihw": "virtio-scsi-single",
                "boot": "order=scsi0",
                "onboot": "0",
                "scsi0": f"{disk},size=2252M",
                "ide2": f"{ci},media=cdrom",
                "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0",
                "cipassword": "$5$salt$templatehash",
                "sshkeys": "ssh-ed25519%20AAAA%20old",
                "protection": "1",
                "smbios1": f"uuid={uuid.uuid4()},serial=c2VyaWFs,base64=1",
                "vga": "serial0",
                "serial0": "socket",
                "tags": "golden",
                **config,
            },
            template=True,
            rules=[{"type": "in", "action": "ACCEPT", "enable": 1, "comment": "template's"}],
        )
        self.vms[vmid] = vm
        return vm

    def add_vm(self, vmid: int, node: str, status: str = "running", **config: str) -> Vm:
        vm = Vm(
            vmid,
            node,
            {
                "name": f"vm{vmid}",
                "memory": "1024",
                "cores": "1",
                "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=10G",
                "smbios1": f"uuid={uuid.uuid4()}",
                "net0": "virtio=BC:24:11:00:00:02,bridge=vmbr0",
                **config,
            },
            status=status,
            started=self.clock.now(),
        )
        self.vms[vmid] = vm
        return vm

    def add_volume(self, name: str, node: str = "", gib: int = 10, **about: Any) -> None:
        """A volume or archive by its full name, e.g. `local-lvm:vm-20000-disk-0`, made now unless `made` says
        otherwise."""
        vmid = int(re.findall(r"(?:vm-|qemu-|/vm/)(\d+)", name)[-1])
        self.volumes[name] = gib * GIB
        self.about[name] = Volume(vmid, node, about.pop("made", self.clock.now()), **about)

    def add_iso(self, name: str, *nodes: str, storage: str = "local") -> str:
        """A file of content `iso`; without nodes on all that have the storage. Returns its volume."""
        volume = f"{storage}:iso/{name}"
        self.isos.setdefault(volume, set()).update(nodes or self.storages[storage].nodes)
        return volume

    # -- dispatch ---------------------------------------------------------------------------------
    def mutations(self) -> list[tuple[str, str]]:
        """Calls that may change something; asking the guest agent whether it is there is none."""
        return [(m, p) for _, m, p, _ in self.calls if m != "GET" and not p.endswith("/agent/ping")]

    def handle(self, method: str, path: str, params: dict[str, str], headers: dict[str, str]) -> Reply:
        """One request. Raises Cut when the connection breaks instead of a reply."""
        path = unquote(path.removeprefix("/api2/json"))
        with self.guard:
            self.calls.append((self.clock.now(), method, path, dict(params)))
            index = len(self.calls)
            if self.on_call:
                self.on_call("before", index, method, path)
            self.settle()
            fault = next((f for f in self.faults if f.hits(method, path)), None)
            if fault and fault.kind == "reset_before":
                raise Cut(fault.kind)
            if fault and fault.kind == "status":
                return self._reply(fault.status, fault.reason, None)
            if fault and fault.kind == "body_before":
                return Reply(200, "OK", fault.body)
            try:
                data = self._call(method, path, params, headers)
                if fault and fault.kind in ("fail_task", "unexpected_status") and str(data).startswith("UPID"):
                    task = self.tasks[data]
                    if fault.kind == "fail_task":
                        self.handlers.undo(task, fault.early)
                        task.effect, task.status = None, fault.reason
                    else:
                        task.status = "unexpected status"
                reply = self._reply(200, "OK", data)
            except Error as e:
                reply = self._reply(e.status, e.reason, None, e.errors)
            if self.on_call:
                self.on_call("after", index, method, path)
            if fault and fault.kind in ("reset_after", "timeout_after"):
                raise Cut(fault.kind)
            if fault and fault.kind == "status_after":
                return self._reply(fault.status, fault.reason, None)
            if fault and fault.kind == "body_after":
                return Reply(200, "OK", fault.body)
            if fault and fault.kind == "slow":
                self.clock.sleep(min(fault.seconds, PROXY_SECONDS))
                if fault.seconds > PROXY_SECONDS:
                    return self._reply(596, "Connection timed out", None)
            return reply

    @staticmethod
    def _reply(status: int, reason: str, data: Any, errors: dict[str, str] | None = None) -> Reply:
        body: dict[str, Any] = {"data": data}
        if status >= 400:
            body["message"] = reason + "\n"
        if errors:
            body["errors"] = errors
        return Reply(status, reason, json.dumps(body).encode())

    def _call(self, method: str, path: str, params: dict[str, str], headers: dict[str, str]) -> Any:
        wanted = f"PVEAPIToken={self.token}={self.secret}"
        if headers.get("Authorization") != wanted:
            raise Error(401, "Authentication failed!")
        for pattern, name in schema.ROUTES_OF.get(method, ()):  # noqa: B007 - used after the loop
            if match := pattern.match(path):
                break
        else:
            raise Error(501, f"Method '{method} {path}' not implemented")
        from tests.pve import firewalls

        words = match.groupdict()
        known, where, privileges = schema.CALLS[(method, name)]
        errors = {}
        for key, value in params.items():
            if key not in known or (self.major < 9 and key in schema.ONLY_9):
                errors[key] = "property is not defined in schema and the schema does not allow additional properties"
            elif schema.fault(known[key], str(value)):
                errors[key] = schema.fault(known[key], str(value))
        if "/firewall/" in name:
            right = {k: str(v) for k, v in params.items() if k not in errors}
            errors |= firewalls.schema_faults(right) if "/rules" in name else firewalls.faults_elsewhere(name, right)
        if errors:
            raise Error(400, "Parameter verification failed.", errors)
        node = words.get("node", "")
        if node and node not in self.nodes:
            raise Error(500, f"hostname lookup '{node}' failed - failed to get address info")
        if node and not self.nodes[node]:
            raise Error(595, "No route to host")
        self.route = (method, name)
        if privileges:
            self.need(where.format(**words), *privileges)
        if method != "GET" and not self.quorate:
            raise Error(500, "cluster not ready - no quorum?")
        return self.handlers.call(method, name, words, {k: str(v) for k, v in params.items()})

    def held(self, path: str) -> dict[str, int]:
        """The privileges on a path, each with whether it propagates. The deepest entry replaces those above it.
        Source: pve-access-control's AccessControl.pm, `roles`."""
        granted: dict[str, int] = {}
        parts = [p for p in path.split("/") if p]
        for i in range(len(parts) + 1):
            here = "/" + "/".join(parts[:i])
            ends = here in self.unpropagated
            if here in self.privileges and (i == len(parts) or not ends):
                granted = dict.fromkeys(self.privileges[here], int(not ends))
        return granted

    def need(self, path: str, *privileges: str) -> None:
        """One of them is enough."""
        wanted = tuple(AGENT.get(p, p) if self.major < 9 else p for p in privileges)
        self.asked.add((*self.route, path, wanted))
        if not set(wanted) & set(self.held(path)):
            raise Error(403, f"Permission check failed ({path}, {'|'.join(wanted)})")

    # -- tasks ------------------------------------------------------------------------------------
    def start_task(
        self,
        kind: str,
        node: str,
        target: int | str,
        effect: Callable[[], None] | None,
        log: list[str] | None = None,
        end_in: float | None = None,
    ) -> str:
        now = self.clock.now()
        self._serial += 1
        upid = (
            f"UPID:{node}:{self._serial:08X}:{int(now) & 0xFFFFFFFF:08X}:{int(now):08X}:{kind}:{target}:{self.token}:"
        )
        took = self.duration(kind) if end_in is None else end_in
        self.tasks[upid] = Task(upid, kind, node, str(target), self.token, now, now + took, effect, log or [])
        return upid

    def hold(self, vmid: int, kind: str = "vzdump", lock: str = "backup", user: str = "root@pam") -> None:
        """Somebody else's task is at work on a machine and holds its lock; `let_go` ends it."""
        vm = self.vms[vmid]
        task = self.tasks[self.start_task(kind, vm.node, vmid, None, end_in=1e9)]
        task.user, vm.config["lock"], self.holding[vmid] = user, lock, task

    def let_go(self, vmid: int) -> None:
        self.vms[vmid].config.pop("lock", None)
        if task := self.holding.pop(vmid, None):
            task.end, task.status = self.clock.now(), "OK"

    def settle(self) -> None:
        """Apply what has ended by now, in order, and what tasks do before they end."""
        now = self.clock.now()
        for entry in [m for m in self.meanwhile if m[1] <= now]:
            self.meanwhile.remove(entry)
            if entry[0].effect:
                entry[2]()
        for task in sorted((t for t in self.tasks.values() if t.effect and t.end <= now), key=lambda t: t.end):
            effect, task.effect = task.effect, None
            try:
                if effect:
                    effect()
                task.status = task.status or "OK"
            except Error as e:
                task.status = e.reason

    def running(self, task: Task) -> bool:
        return task.end > self.clock.now()

    # -- bulk -------------------------------------------------------------------------------------
    def bulk(self) -> list[dict[str, Any]]:
        """Machines as pvestatd last saw them; existence, lock and tags are live."""
        now = self.clock.now()
        if now - self._bulk_at >= self.bulk_age:
            self._bulk_at = now
            for node, on in self.nodes.items():
                if on:
                    self._heard[node] = now
            self._stats = {
                v.vmid: self._sample(v, now)
                if self.nodes[v.node] or v.vmid not in self._stats
                else self._stats[v.vmid]  # what is not told anew stays for five minutes
                for v in self.vms.values()
            }
        rows = []
        for vm in self.vms.values():
            row: dict[str, Any] = {
                "id": f"qemu/{vm.vmid}",
                "vmid": vm.vmid,
                "node": vm.node,
                "type": "qemu",
                "template": int(vm.template),
            }
            if vm.lock:
                row["lock"] = vm.lock
            if vm.config.get("tags"):
                row["tags"] = vm.config["tags"]
            pool = self.pools.get(vm.vmid)
            if pool and "Pool.Audit" in self.held(f"/pool/{pool}"):
                row["pool"] = pool
            if now - self._heard.get(vm.node, now) > STATS_KEPT or vm.node in self.unseen:
                row.pop("template")  # told by pvestatd too
                row["status"] = "unknown"
            else:
                row |= self._stats.get(vm.vmid, {"status": "stopped"})
                if vm.template:
                    row["name"] = vm.config["name"]
            rows.append(row)
        return rows

    def _sample(self, vm: Vm, now: float) -> dict[str, Any]:
        from tests.pve.lines import cores_of

        on = vm.status == "running"
        size = int(vm.config.get("memory", "128").removeprefix("current=")) * MIB
        return {
            "status": vm.status,
            "name": vm.config.get("name", f"VM{vm.vmid}"),
            "maxmem": size,
            "mem": size // 3 if on else 0,
            "maxcpu": int(vm.config.get("vcpus", 0)) or cores_of(vm.config),
            "cpu": 0.07 if on else 0,
            "uptime": int(now - vm.started) if on else 0,
            "maxdisk": 20 * GIB,
            "disk": 0,
            **self.traffic(vm),
            "diskread": int(now - vm.started) * 3_000_000 if on else 0,
            "diskwrite": int(now - vm.started) * 1_000_000 if on else 0,
        }

    def traffic(self, vm: Vm) -> dict[str, int]:
        """Counters of the tap device: they begin with the process, so anew at each start and migration."""
        up = self.clock.now() - vm.started if vm.status != "stopped" else 0.0
        return {"netin": int(up * vm.rates[0]), "netout": int(up * vm.rates[1])}

    def migrate(self, vmid: int, node: str) -> None:
        """As HA or staff do it, while it runs."""
        vm = self.vms[vmid]
        vm.node, vm.started = node, self.clock.now()

    def digest(self, vm: Vm) -> str:
        return hashlib.sha1(json.dumps(vm.config, sort_keys=True).encode()).hexdigest()


def default_cluster(clock: Clock, **options: Any) -> Cluster:
    """Two nodes with local disks, a shared backup storage and two templates on each."""
    c = Cluster(clock, **options)
    nodes = tuple(c.nodes)
    c.add_storage("local-lvm", nodes)
    c.add_storage("local", nodes, "iso,vztmpl,import,snippets", 100, 5)
    c.add_storage("nfs-backup", nodes, "backup", 2000, 100, shared=True)
    for i, node in enumerate(nodes):
        c.add_template(9000 + i, "debian-12", node, agent="enabled=1").agent_after = 5.0
        c.add_template(9100 + i, "ubuntu-24.04", node)
    return c
