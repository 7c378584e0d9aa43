"""The driver: what each method of the contract means on Proxmox VE. HTTP is in api.py, texts in convert.py."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import quote

import structlog

from bridge.clock import Clock
from bridge.errors import Busy, Capacity, NotFound, NotOurs, Permanent, Refused, Transient, Unknown, UpstreamError, VmbridgeError
from bridge.model import (
    Backup,
    Capability,
    Charts,
    ConsoleTicket,
    Converged,
    Difference,
    Finding,
    Leftover,
    Machine,
    Order,
    Package,
    Placement,
    Planned,
    Seen,
    Snapshot,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers.base import Driver
from drivers.proxmox import backups, charts, convert, doctor, firewall, goal, leftovers, reinstall, schema, snapshots
from drivers.proxmox.api import Api
from drivers.proxmox.errors import absent, from_text

log = structlog.get_logger()
UPID = re.compile(r"^UPID:([^:]+):[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:([0-9A-Fa-f]{8}):([^:]*):([^:]*):")
GOOD = re.compile(r"^(OK|WARNINGS: \d+)$")
CLOCK_SKEW = 300.0  # a node's clock may be this far from ours when tasks are searched by time
SHUTDOWN_SECONDS = 60
TASKS = {"rollback": "qmrollback", "restore": "qmrestore", "take": "vzdump"}
POWER = {"start": "start", "stop": "shutdown", "reboot": "reboot", "hard_stop": "stop", "shut_off": "shutdown"}


class Proxmox(Driver):
    name = "proxmox"
    capabilities = frozenset({
        Capability.OVERVIEW, Capability.POWER, Capability.CONSOLE, Capability.REINSTALL, Capability.SNAPSHOTS, Capability.BACKUPS,
        Capability.RESET_PASSWORD, Capability.CHARTS,
    })
    optional: ClassVar[Mapping[Capability, tuple[str, ...]]] = {
        Capability.SNAPSHOTS: ("snapshots", "snapshot"), Capability.BACKUPS: ("backups", "backup"), Capability.REINSTALL: ("reinstall",),
        Capability.RESET_PASSWORD: ("set_password",), Capability.CONSOLE: ("console",), Capability.CHARTS: ("charts",),
    }
    server_schema: ClassVar[Any] = schema.Server
    plan_schema: ClassVar[Any] = schema.Plan

    def __init__(self, server: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(server, settings, clock)
        self.api = Api(settings, prepare)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix=f"poll-{server}")

    # -- birth ------------------------------------------------------------------------------------
    def place(self, package: Package, planned: Sequence[Planned]) -> Placement:
        rows = self.api.get("cluster/resources")
        wanted_node = package.location or package.options["node"]
        templates = {
            r["node"]: str(r["vmid"]) for r in rows
            if r.get("type") == "qemu" and int(r.get("template") or 0) and r.get("name") == package.template
        }
        promised = {p.vm_id for p in planned}  # counted with what they will have, whatever the bulk read says of them now
        fits, why = [], []
        for node in (r for r in rows if r.get("type") == "node"):
            name = node["node"]
            if wanted_node and name != wanted_node:
                continue
            free = int(node.get("maxmem") or 0) // convert.MIB - sum(p.package.ram_mib for p in planned if p.node == name) - sum(
                int(r.get("maxmem") or 0) // convert.MIB for r in rows
                if r.get("type") in ("qemu", "lxc") and r.get("node") == name and not int(r.get("template") or 0) and str(r["vmid"]) not in promised
            )
            reason = _unfit(package, name, node, templates, rows, free, planned)
            if reason:
                why.append(f"{name}: {reason}")
            else:
                fits.append((free, name))
        if not fits:
            detail = "; ".join(why) or f"there is no node {wanted_node!r}"
            storages = {r.get("storage") for r in rows if r.get("type") == "storage"}
            down = any(r.get("type") == "node" and r.get("status") != "online" for r in rows)  # its templates have no names meanwhile
            if not why or not (templates or down) or not storages >= set(_storages(package)):
                raise Permanent("The plan names a node, template or storage that is not there.", code="plan_impossible", detail=detail)
            raise Capacity(detail=detail)
        best = max(fits)[1]
        return Placement(best, templates[best], package.options["storage"])

    def create(self, order: Order, placement: Placement) -> str:
        full = order.package.options["clone"] == "full"
        task = self.api.post(
            f"nodes/{placement.node}/qemu/{placement.source}/clone",
            newid=int(order.vm_id), name=convert.host_name(order.hostname), description=convert.description(order),
            full=full, storage=placement.storage if full else None,
        )
        return str(task)

    def find_create(self, order: Order, placement: Placement, since: float) -> str:
        tasks = self.api.get(
            f"nodes/{placement.node}/tasks", source="all", vmid=int(placement.source), typefilter="qmclone",
            since=int(since - CLOCK_SKEW), limit=500,
        )
        named = re.compile(rf"\bID {order.vm_id}\b")
        for task in tasks:
            lines = self.api.get(f"nodes/{placement.node}/tasks/{task['upid']}/log", limit=20)
            if any(named.search(str(line.get("t", ""))) for line in lines):
                return str(task["upid"])
        return ""

    def identify(self, order: Order, ref: VmRef) -> Vm:
        node, config = self._config(ref)
        if config is None:
            raise NotFound("The machine is not there.", code="vm_absent")
        _refuse_locked(node, config)
        if convert.uuid_of(config) != order.uuid:
            if order.uuid not in str(config.get("description", "")):
                raise NotOurs(detail=f"VM {ref.vm_id} does not carry the mark our clone wrote")
            self.api.put(
                f"nodes/{node}/qemu/{ref.vm_id}/config",
                smbios1=convert.with_uuid(str(config.get("smbios1", "")), order.uuid),
            )
        return Vm(ref.vm_id, node, "stopped", agent=bool(convert.AGENT_ON.match(str(config.get("agent", "")))))

    # -- proof ------------------------------------------------------------------------------------
    def _config(self, ref: VmRef) -> tuple[str, dict[str, Any] | None]:
        """(node, config); the config is None when the machine is proven absent."""
        if ref.node:
            try:
                return ref.node, self.api.get(f"nodes/{ref.node}/qemu/{ref.vm_id}/config")
            except VmbridgeError as e:
                if not absent(e):
                    raise
        for row in self.api.get("cluster/resources", type="vm"):
            if str(row["vmid"]) == ref.vm_id:
                if row.get("type") != "qemu":
                    raise NotOurs(detail=f"{ref.vm_id} is a {row.get('type')}")
                return row["node"], self.api.get(f"nodes/{row['node']}/qemu/{ref.vm_id}/config")
        cluster = next((r for r in self.api.get("cluster/status") if r.get("type") == "cluster"), None)
        if cluster and not int(cluster.get("quorate") or 0):
            raise Transient(detail="cluster has no quorum: absence is not proven")
        return ref.node, None

    def _proven(self, ref: VmRef) -> tuple[str, dict[str, Any] | None]:
        node, config = self._config(ref)
        if config is None:
            return node, None
        found = convert.uuid_of(config)
        if found and found in ref.uuids:
            return node, config
        if not found and ref.build.get("restoring"):
            return node, config  # a restore of ours wrote over it and has not ended well
        if not ref.identified and ref.build.get("task"):
            if config.get("lock") == "clone":
                raise Busy(detail="lock clone", lock="clone", node=node)
            if any(u in str(config.get("description", "")) for u in ref.uuids):
                return node, config
        raise NotOurs(detail=f"VM {ref.vm_id} on {node} has uuid {found or 'none'}")

    def look(self, ref: VmRef) -> Vm | None:
        node, config = self._proven(ref)
        if config is None:
            return None
        now = self.api.get(f"nodes/{node}/qemu/{ref.vm_id}/status/current")
        return Vm(
            ref.vm_id, node, str(now.get("qmpstatus") or now.get("status") or "unknown")
            if now.get("status") == "running" else str(now.get("status")),
            lock=str(config.get("lock") or ""), uptime=int(now.get("uptime") or 0),
        )

    # -- life -------------------------------------------------------------------------------------
    def converge(self, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
        """Scalars in one PUT, each disk's limits in its own (a hot-plug error of one must not hold back the others), the
        firewall, a missing disk, and growth last, so that nothing is left to do when the last task ends well."""
        seen = self.read(ref)
        base, todo = f"nodes/{seen.node}/qemu/{ref.vm_id}", goal.changes(order, seen.config)
        changed = [*todo.values, *(f"-{k}" for k in todo.drop)]
        if changed:
            self.api.put(f"{base}/config", **{k: str(v) for k, v in todo.values.items()}, delete=",".join(todo.drop) or None)
        for slot, line in todo.disks.items():
            self.api.put(f"{base}/config", **{slot: line})
            changed.append(slot)
        changed += firewall.converge(self.api, base, order)
        if not convert.system_disk(seen.config):
            raise Permanent(code="no_system_disk", detail=f"VM {ref.vm_id} has no system disk")
        after = self._after(order, ref, seen, todo, bool(changed))
        if todo.allocate:
            return self._allocate(base, todo, allocate, tuple(changed), after)
        if todo.grow:
            slot, gib = todo.grow[0]
            task = self.api.put(f"{base}/resize", disk=slot, size=f"{gib}G")
            return Converged(str(task or ""), (*changed, slot), tuple(todo.refused), more=len(todo.grow) > 1, seen=after)
        return Converged("", tuple(changed), tuple(todo.refused), seen=after)

    def _after(self, order: Order, ref: VmRef, seen: Seen, todo: goal.Changes, changed: bool) -> Seen:
        """The configuration after the writes. At birth it is off, so all of them hold; else only a look tells what waits.
        A growth that is about to begin counts as done: when it fails, the next try looks again."""
        if changed and not order.birth:
            seen = self.read(ref)
        config = dict(seen.config)
        if order.birth:
            secret = {"cipassword": "**********"} if "cipassword" in todo.values else {}
            config = {k: v for k, v in {**config, **todo.values, **todo.disks, **secret}.items() if k not in todo.drop}
        for slot, gib in todo.grow[:1]:
            config[slot] = re.sub(r"size=[^,]+", f"size={gib}G", str(config[slot]))
        return Seen(config, seen.pending, seen.node)

    def _allocate(self, base: str, todo: goal.Changes, allowed: bool, changed: tuple[str, ...], after: Seen) -> Converged:
        slot, line = todo.allocate or ("", "")
        running = self.api.active_task(after.node, base.rsplit("/", 1)[1], "qmconfig")
        if running:  # an earlier call whose reply was lost
            return Converged(running, changed, more=True, seen=after)
        if not allowed:
            return Converged("", changed, missing_disk=True, seen=after)
        task = self.api.post(f"{base}/config", **{slot: line})
        return Converged(str(task or ""), (*changed, slot), more=True, seen=after)

    def compare(self, order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
        return goal.compare(order, config, running)

    def read(self, ref: VmRef) -> Seen:
        node, rows = self._pending(ref)
        config, waiting = _pending_view(rows)
        found = convert.uuid_of(config)
        if found not in ref.uuids and (found or not ref.build.get("restoring")):
            raise NotOurs(detail=f"VM {ref.vm_id} on {node} has uuid {found or 'none'}")
        _refuse_locked(node, config)
        return Seen(config, tuple(dict.fromkeys(goal.WORDS.get(k, k) for k in waiting)), node)

    def set_password(self, order: Order, ref: VmRef) -> bool:
        """The guest's agent where it answers; the hash for cloud-init always, or the two would differ after a restart."""
        seen = self.read(ref)
        base = f"nodes/{seen.node}/qemu/{ref.vm_id}"
        self.api.put(f"{base}/config", cipassword=goal.password(order, seen.config))
        user = str(seen.config.get("ciuser") or order.package.options["os_user"])
        try:
            self.api.post(f"{base}/agent/set-user-password", username=user, password=order.password_plain)
        except UpstreamError as e:
            if e.executed == "unknown":
                raise  # the same password again is harmless
            log.info("agent_password", vm=ref.vm_id, detail=e.detail)
            return False
        return True

    def answers(self, ref: VmRef) -> bool | None:
        try:
            self.api.post(f"nodes/{ref.node}/qemu/{ref.vm_id}/agent/ping")
        except UpstreamError as e:
            return None if e.code == "upstream_privilege" else False
        return True

    def addresses(self, ref: VmRef) -> tuple[str, ...]:
        """What the guest's agent says, without link-local and loopback; empty when it does not answer."""
        try:
            found = self.api.get(f"nodes/{ref.node}/qemu/{ref.vm_id}/agent/network-get-interfaces")
        except UpstreamError:
            return ()
        rows = [a for i in found.get("result", []) if i.get("name") != "lo" for a in i.get("ip-addresses", [])]
        usable = [ipaddress.ip_address(r["ip-address"]) for r in rows]
        return tuple(str(a) for a in sorted(usable, key=lambda a: a.version) if not (a.is_link_local or a.is_loopback))

    def _pending(self, ref: VmRef) -> tuple[str, list[dict[str, Any]]]:
        """(node, the pending view); the node is found anew when the hint is wrong."""
        if ref.node:
            try:
                return ref.node, self.api.get(f"nodes/{ref.node}/qemu/{ref.vm_id}/pending")
            except VmbridgeError as e:
                if not absent(e):
                    raise
        node, _ = self._must(ref)
        return node, self.api.get(f"nodes/{node}/qemu/{ref.vm_id}/pending")

    def _must(self, ref: VmRef) -> tuple[str, dict[str, Any]]:
        node, config = self._proven(ref)
        if config is None:
            raise Permanent("The machine is gone.", code="vm_absent", detail=f"VM {ref.vm_id} is nowhere in the cluster")
        return node, config

    def _unlocked(self, ref: VmRef) -> str:
        """The node of the proven machine. Raises Busy while PVE does something to it."""
        node, config = self._must(ref)
        _refuse_locked(node, config)
        return node

    def set_autostart(self, ref: VmRef, on: bool) -> bool:
        node, config = self._must(ref)
        if int(config.get("onboot") or 0) == int(on):
            return False
        self.api.put(f"nodes/{node}/qemu/{ref.vm_id}/config", onboot=on)
        return True

    def power(self, ref: VmRef, verb: str) -> str:
        node, _ = self._must(ref)
        extra: dict[str, Any] = {}
        if verb in ("stop", "shut_off"):
            extra["timeout"] = SHUTDOWN_SECONDS
        if verb == "shut_off":
            extra["forceStop"] = True
        if verb == "hard_stop":
            extra["overrule__shutdown"] = True
        return str(self.api.post(f"nodes/{node}/qemu/{ref.vm_id}/status/{POWER[verb]}", **extra) or "")

    def destroy(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        node, config = self._proven(ref)
        if config is None:
            return ""
        if int(config.get("protection") or 0):
            self.api.put(f"nodes/{node}/qemu/{ref.vm_id}/config", protection=False)
        return str(self.api.delete(f"nodes/{node}/qemu/{ref.vm_id}", purge=True) or "")

    # -- snapshots, backups, reinstall ------------------------------------------------------------
    def snapshots(self, ref: VmRef) -> list[Snapshot]:
        node, _ = self._must(ref)
        return snapshots.listed(self.api, f"nodes/{node}/qemu/{ref.vm_id}")

    def snapshot(self, ref: VmRef, verb: str, name: str, description: str = "", memory: bool = False) -> str:
        node = self._unlocked(ref)
        return snapshots.act(self.api, f"nodes/{node}/qemu/{ref.vm_id}", verb, name, description, memory)

    def backups(self, ref: VmRef) -> list[Backup]:
        storage = backups.storage_of(self.settings)
        node = backups.node_of(self.api, storage, ref.node)
        found = [b for vm_id in backups.ids_of(ref) for b in backups.listed(self.api, node, storage, vm_id)]
        return sorted(found, key=lambda b: (b.made_at, b.archive))

    def backup(self, ref: VmRef, verb: str, archive: str = "", mark: str = "") -> str:
        storage = backups.storage_of(self.settings)
        if verb == "delete":  # the archive's own id is the proof; the machine may be gone
            return backups.delete(self.api, backups.node_of(self.api, storage, ref.node), storage, archive, backups.ids_of(ref))
        node = self._unlocked(ref)
        if verb == "take":
            return backups.take(self.api, node, storage, ref.vm_id, mark)
        return backups.restore(self.api, node, ref.vm_id, archive, "")

    def find_task(self, ref: VmRef, verb: str, since: float) -> str:
        found = self.api.get(
            f"nodes/{ref.node}/tasks", source="all", vmid=int(ref.vm_id), typefilter=TASKS[verb], since=int(since - CLOCK_SKEW), limit=50,
        )
        mine = [t for t in found if float(t.get("starttime") or 0) >= since - 5]  # an earlier one is another operation's
        return str(mine[0]["upid"]) if mine else ""

    def reinstall(self, order: Order, ref: VmRef, memory: Mapping[str, Any], allocate: bool = False) -> Converged:
        return reinstall.step(self.api, order, self.read(ref), dict(memory), allocate)

    # -- reading ----------------------------------------------------------------------------------
    def charts(self, ref: VmRef, period: str) -> Charts:
        node, _ = self._must(ref)  # PVE answers from the id alone: whose history it is only the uuid tells
        return charts.history(self.api, f"nodes/{node}/qemu/{ref.vm_id}", period)

    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        todo = list(tasks)
        if len(todo) == 1:
            return {todo[0]: self._poll(todo[0])}
        return dict(zip(todo, self._pool.map(self._poll, todo), strict=True))

    def _poll(self, task: str) -> TaskResult:
        match = UPID.match(task)
        if not match:
            return TaskResult("unknown", f"not a task: {task[:80]}")
        try:
            found = self.api.get(f"nodes/{match.group(1)}/tasks/{task}/status")
        except VmbridgeError as e:  # a node keeps its tasks' logs for long, not for ever
            return TaskResult("unknown" if "no such task" in e.detail else "running", e.detail)
        if found.get("status") != "stopped":
            return TaskResult("running")
        text = str(found.get("exitstatus") or "unexpected status")
        if GOOD.match(text):
            return TaskResult("done", text)
        return TaskResult("unknown" if isinstance(from_text(text), Unknown) else "failed", text)

    def task_error(self, text: str) -> VmbridgeError:
        return from_text(text)

    def statuses(self, watched: Sequence[VmRef] = ()) -> list[VmStatus]:
        rows = self.api.get("cluster/resources", type="vm")
        now = self.clock.now()
        return [convert.status(r, now) for r in rows if r.get("type") == "qemu" and not int(r.get("template") or 0)]

    def traffic(self, ref: VmRef) -> tuple[int | None, int | None, float]:
        node, config = self._proven(ref)
        if config is None:
            raise NotFound("The machine is not there.", code="vm_absent")
        return convert.traffic(self.api.get(f"nodes/{node}/qemu/{ref.vm_id}/status/current"), self.clock.now())

    def console(self, ref: VmRef) -> ConsoleTicket:
        """The port is opened by the host that answers, and the ticket is bound to our token: both calls go to the endpoint."""
        vm = self.look(ref)
        if vm is None:
            raise Permanent("The machine is gone.", code="vm_absent", detail=f"VM {ref.vm_id} is nowhere in the cluster")
        if vm.status == "stopped":
            raise Refused("Start the server first.", code="not_running")
        base = f"nodes/{vm.node}/qemu/{ref.vm_id}"
        made = self.api.post(f"{base}/vncproxy", websocket=True, generate__password=True)
        query = f"port={int(made['port'])}&vncticket={quote(str(made['ticket']), safe='')}"
        return ConsoleTicket(
            self.api.socket_url(f"{base}/vncwebsocket?{query}"), str(made.get("password") or made["ticket"]), self.api.authorization(),
            ca_file=str(self.settings.get("ca_file") or ""),
        )

    def inspect(self, vm_id: str, node: str = "") -> Machine:
        node, config = self._config(VmRef(vm_id, (), node))
        if config is None:
            raise NotFound(f"There is no VM {vm_id} on this server.", code="vm_absent")
        if int(config.get("template") or 0):
            raise Refused(f"VM {vm_id} is a template.", code="is_template")
        claimed = convert.claimed_addresses(config) + firewall.claimed_addresses(self.api, f"nodes/{node}/qemu/{vm_id}")
        return Machine(vm_id, node, convert.uuid_of(config), str(config.get("name", "")), convert.mac_of(config),
                       tuple(dict.fromkeys(claimed)), convert.volumes(config))

    # -- what machines left -----------------------------------------------------------------------
    def listings(self) -> list[str]:
        return leftovers.listings(self.api)

    def leftovers(self, vm_ids: Collection[str], listing: str = "") -> list[Leftover]:
        return leftovers.kept(self.api, vm_ids, listing) if listing else leftovers.firewalls(self.api, vm_ids)

    def remove_leftover(self, ref: VmRef, leftover: Leftover) -> str:
        if leftover.vm_id != ref.vm_id:
            raise NotOurs(detail=f"{leftover.name} is not of VM {ref.vm_id}")
        node, config = self._config(ref)
        if config is not None:
            raise NotOurs(detail=f"VM {ref.vm_id} is on {node}: what it has is not left over")
        return leftovers.remove(self.api, leftover)

    def check(self, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
        return doctor.check(self, plans, networks)


def _refuse_locked(node: str, config: Mapping[str, Any]) -> None:
    if config.get("lock"):
        raise Busy(detail=f"lock {config['lock']}", lock=config["lock"], node=node)


def _storages(package: Package) -> dict[str, int]:
    """Storage -> GiB that the package's disks take on it."""
    settings = package.options
    need = {settings["storage"]: package.disk_gib}
    if package.additional_disk_gib:
        other = settings["additional_storage"] or settings["storage"]
        need[other] = need.get(other, 0) + package.additional_disk_gib
    return need


def _unfit(
    package: Package, name: str, node: dict[str, Any], templates: dict[str, str], rows: list[dict[str, Any]], free_mib: int,
    planned: Sequence[Planned],
) -> str:
    """Why a node cannot take the machine; empty when it can."""
    if node.get("status") != "online":
        return f"node is {node.get('status', 'unknown')}"
    if name not in templates:
        return f"no template named {package.template!r}"
    for storage, gib in _storages(package).items():
        store = next((r for r in rows if r.get("type") == "storage" and (r.get("storage"), r.get("node")) == (storage, name)), None)
        if store is None or store.get("status") != "available":
            return f"storage {storage!r} is not available"
        shared = bool(int(store.get("shared") or 0))
        promised = sum(_storages(p.package).get(storage, 0) for p in planned if shared or p.node == name)
        room = (int(store.get("maxdisk") or 0) - int(store.get("disk") or 0)) // 1024**3 - promised
        if room < gib:
            return f"storage {storage!r} has {max(room, 0)} GiB free, {gib} needed"
    if free_mib < package.ram_mib:
        return f"{max(free_mib, 0)} MiB of memory free, {package.ram_mib} needed"
    return ""


def _pending_view(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """/pending -> (the config as it will be, names of what waits for a restart)."""
    config: dict[str, Any] = {}
    waiting = []
    for row in rows:
        key = row["key"]
        if row.get("delete"):
            waiting.append(key)
        elif "pending" in row:
            config[key] = row["pending"]
            waiting.append(key)
        else:
            config[key] = row.get("value")
    return config, waiting
