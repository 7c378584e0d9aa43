"""The driver: what each method of the contract means on Proxmox VE. HTTP is in api.py, texts in convert.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from bridge.clock import Clock
from bridge.errors import Busy, Capacity, NotFound, NotOurs, Permanent, Refused, Transient, Unknown, VmbridgeError
from bridge.model import (
    Capability,
    Converged,
    Finding,
    Order,
    Package,
    Placement,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers.base import Driver
from drivers.proxmox import convert, doctor, firewall, schema
from drivers.proxmox.api import Api
from drivers.proxmox.errors import absent, from_text

UPID = re.compile(r"^UPID:([^:]+):[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:([0-9A-Fa-f]{8}):([^:]*):([^:]*):")
GOOD = re.compile(r"^(OK|WARNINGS: \d+)$")
CLOCK_SKEW = 300.0  # a node's clock may be this far from ours when tasks are searched by time
SHUTDOWN_SECONDS = 60
POWER = {"start": "start", "stop": "shutdown", "reboot": "reboot", "hard_stop": "stop", "shut_off": "shutdown"}


class Proxmox(Driver):
    name = "proxmox"
    capabilities = frozenset({Capability.OVERVIEW, Capability.POWER})
    server_schema: ClassVar[Any] = schema.Server
    plan_schema: ClassVar[Any] = schema.Plan

    def __init__(self, server: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(server, settings, clock)
        self.api = Api(settings, prepare)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix=f"poll-{server}")

    # -- birth ------------------------------------------------------------------------------------
    def place(self, package: Package, planned_mib: Mapping[str, int]) -> Placement:
        rows = self.api.get("cluster/resources")
        wanted_node, storage = package.options["node"], package.options["storage"]
        templates = {
            r["node"]: str(r["vmid"]) for r in rows
            if r.get("type") == "qemu" and int(r.get("template") or 0) and r.get("name") == package.template
        }
        stores = {r["node"]: r for r in rows if r.get("type") == "storage" and r.get("storage") == storage}
        fits, why = [], []
        for node in (r for r in rows if r.get("type") == "node"):
            name = node["node"]
            if wanted_node and name != wanted_node:
                continue
            free = int(node.get("maxmem") or 0) // convert.MIB - planned_mib.get(name, 0) - sum(
                int(r.get("maxmem") or 0) // convert.MIB for r in rows
                if r.get("type") == "qemu" and r.get("node") == name and not int(r.get("template") or 0)
            )
            reason = self._unfit(package, name, node, templates, stores.get(name), free)
            if reason:
                why.append(f"{name}: {reason}")
            else:
                fits.append((free, name))
        if not fits:
            raise Capacity(detail="; ".join(why) or f"there is no node {wanted_node!r}")
        best = max(fits)[1]
        return Placement(best, templates[best], storage)

    @staticmethod
    def _unfit(
        package: Package, name: str, node: dict[str, Any], templates: dict[str, str],
        store: dict[str, Any] | None, free_mib: int,
    ) -> str:
        """Why a node cannot take the machine; empty when it can."""
        storage = package.options["storage"]
        if node.get("status") != "online":
            return f"node is {node.get('status', 'unknown')}"
        if name not in templates:
            return f"no template named {package.template!r}"
        if store is None or store.get("status") != "available":
            return f"storage {storage!r} is not available"
        room = int(store.get("maxdisk") or 0) - int(store.get("disk") or 0)
        if room < package.disk_gib * 1024**3:
            return f"storage {storage!r} has {room // 1024**3} GiB free, {package.disk_gib} needed"
        if free_mib < package.ram_mib:
            return f"{max(free_mib, 0)} MiB of memory free, {package.ram_mib} needed"
        return ""

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
        if config.get("lock"):
            raise Busy(detail=f"lock {config['lock']}", lock=config["lock"], node=node)
        if convert.uuid_of(config) != order.uuid:
            if order.uuid not in str(config.get("description", "")):
                raise NotOurs(detail=f"VM {ref.vm_id} does not carry the mark our clone wrote")
            self.api.put(
                f"nodes/{node}/qemu/{ref.vm_id}/config",
                smbios1=convert.with_uuid(str(config.get("smbios1", "")), order.uuid),
            )
        return Vm(ref.vm_id, node, "stopped", config=config)

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
            lock=str(config.get("lock") or ""), config={**config, "uptime": int(now.get("uptime") or 0)},
        )

    # -- life -------------------------------------------------------------------------------------
    def converge(self, order: Order, ref: VmRef) -> Converged:
        node, rows = self._pending(ref)
        base = f"nodes/{node}/qemu/{ref.vm_id}"
        config, pending = _pending_view(rows)
        if convert.uuid_of(config) not in ref.uuids:
            raise NotOurs(detail=f"VM {ref.vm_id} on {node} changed its uuid")
        if config.get("lock"):
            raise Busy(detail=f"lock {config['lock']}", lock=config["lock"], node=node)
        want, drop = convert.wanted(order, dict(order.package.options), config)
        changes = {k: v for k, v in want.items() if k == "cipassword" or convert.differs(k, v, config.get(k))}
        changed = [*changes, *(f"-{k}" for k in drop)]
        if changed:
            self.api.put(f"{base}/config", **{k: str(v) for k, v in changes.items()}, delete=",".join(drop) or None)
        slot = convert.system_disk(config)
        if not slot:
            raise Permanent(code="no_system_disk", detail=f"VM {ref.vm_id} has no system disk")
        size = convert.size_bytes(convert.parse_line(config[slot]).get("size", ""))
        goal = order.package.disk_gib * 1024**3
        changed += firewall.converge(self.api, base, order)
        if size < goal:  # last, so that nothing is left to do when this task ends well
            task = self.api.put(f"{base}/resize", disk=slot, size=f"{order.package.disk_gib}G")
            return Converged(str(task or ""), (*changed, slot), tuple(pending))
        if size > goal:
            pending.append("disk_bigger_than_sold")
        return Converged("", tuple(changed), tuple(pending))

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

    def destroy(self, ref: VmRef) -> str:
        node, config = self._proven(ref)
        if config is None:
            return ""
        if int(config.get("protection") or 0):
            self.api.put(f"nodes/{node}/qemu/{ref.vm_id}/config", protection=False)
        return str(self.api.delete(f"nodes/{node}/qemu/{ref.vm_id}", purge=True) or "")

    # -- reading ----------------------------------------------------------------------------------
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
        except VmbridgeError as e:
            return TaskResult("running", e.detail)
        if found.get("status") != "stopped":
            return TaskResult("running")
        text = str(found.get("exitstatus") or "unexpected status")
        if GOOD.match(text):
            return TaskResult("done", text)
        return TaskResult("unknown" if isinstance(from_text(text), Unknown) else "failed", text)

    def task_error(self, text: str) -> VmbridgeError:
        return from_text(text)

    def statuses(self) -> list[VmStatus]:
        rows = self.api.get("cluster/resources", type="vm")
        return [convert.status(r) for r in rows if r.get("type") == "qemu" and not int(r.get("template") or 0)]

    def inspect(self, vm_id: str) -> tuple[str, str]:
        node, config = self._config(VmRef(vm_id, ()))
        if config is None:
            raise NotFound(f"There is no VM {vm_id} on this server.", code="vm_absent")
        if not convert.uuid_of(config):
            raise Refused(f"VM {vm_id} has no smbios uuid to recognise it by.", code="no_uuid")
        return node, convert.uuid_of(config)

    def check(self, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
        return doctor.check(self, plans, networks)


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
