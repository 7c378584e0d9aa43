"""The driver: what each method of the contract means on Proxmox VE, in a few lines; longer ones stand in the module of
their noun. HTTP is in api.py, texts in convert.py."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

from bridge.clock import Clock
from bridge.errors import NotFound, NotOurs, VmbridgeError
from bridge.model import (
    SELLABLE,
    Backup,
    Capability,
    Charts,
    ConsoleTicket,
    Converged,
    Difference,
    Drive,
    Dropped,
    Finding,
    Firewall,
    Iso,
    Lack,
    Leftover,
    Machine,
    Order,
    Package,
    Placement,
    Planned,
    Seen,
    Sentence,
    Snapshot,
    Sold,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers import reads
from drivers.base import NOWHERE, Driver
from drivers.proxmox import (
    archives,
    backups,
    birth,
    charts,
    choice,
    converge,
    convert,
    differences,
    doctor,
    frozen,
    guest,
    leftovers,
    machines,
    macros,
    media,
    proof,
    reinstall,
    room,
    rules,
    schema,
    screen,
    snapshots,
    tasks,
)
from drivers.proxmox.api import Api
from drivers.proxmox.errors import from_text

SHUTDOWN_SECONDS = 60
POWER = {"start": "start", "stop": "shutdown", "reboot": "reboot", "hard_stop": "stop", "shut_off": "shutdown"}


class Proxmox(Driver):
    name = "proxmox"
    capabilities = frozenset(
        {
            Capability.OVERVIEW,
            Capability.POWER,
            Capability.CONSOLE,
            Capability.REINSTALL,
            Capability.SNAPSHOTS,
            Capability.BACKUPS,
            Capability.RESET_PASSWORD,
            Capability.CHARTS,
            Capability.FIREWALL,
            Capability.ISO,
        }
    )
    delivers = frozenset(SELLABLE)
    firewall_can = frozenset(
        {"policies", "order", "drop", "sport", "lists", "ranges", "both_ends", "icmp", "switch", "log"}
    )
    firewall_services = macros.MACROS
    firewall_in_machine = True
    firewall_by_hand = rules.BY_HAND
    default_port = 8006
    server_schema: ClassVar[Any] = schema.Server
    plan_schema: ClassVar[Any] = schema.Plan
    pins_templates = True
    password_notes = (
        Sentence(
            "Password reset requires cloud-init packages installed on the VM. If reset succeeds but password doesn't"
            " change, connect via noVNC and change manually."
        ),
        Sentence(
            "Without a running guest agent it takes effect after the next restart, when cloud-init runs again;"
            " the server's SSH host keys may change then."
        ),
    )
    boots_once = True
    present = frozenset({"template_ids", "template_pool"})

    def __init__(self, server: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(server, settings, clock)
        self.api = Api(settings, prepare, server)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix=f"poll-{server}")

    @classmethod
    def adapter(cls, package: Package) -> str:
        return str(package.options["nic_model"])

    @property
    def keeps_backups(self) -> bool:
        return bool(self.settings["backup_storage"])

    # -- birth ------------------------------------------------------------------------------------
    def place(
        self,
        package: Package,
        planned: Sequence[Planned],
        sold: Sequence[Sold] = (),
        full: Mapping[str, str] = NOWHERE,
    ) -> Placement:
        return birth.place(self.api, package, planned, sold, self.settings.get("overcommit", {}), full)

    def resources(self) -> str:
        return json.dumps(room.kept(self.api.get("cluster/resources")))

    def systems(self, package: Package, resources: str) -> tuple[str, ...]:
        rows = json.loads(resources) if resources else []
        sold = [replace(package, template=t) for t in package.templates or (package.template,)]
        return tuple(choice.listed(rows, p) for p in sold) if rows else ()

    def lacks(
        self,
        order: Order,
        config: Mapping[str, Any],
        ref: VmRef,
        resources: str,
        planned: Sequence[Planned],
        sold: Sequence[Sold],
    ) -> Lack | None:
        overcommit = self.settings.get("overcommit", {})
        return room.lacks(order, config, ref.node, json.loads(resources or "[]"), planned, sold, overcommit)

    def create(self, order: Order, placement: Placement) -> str:
        return birth.create(self.api, order, placement)

    def find_create(self, order: Order, placement: Placement, since: float) -> str:
        return birth.find_create(self.api, order, placement, since)

    def identify(self, order: Order, ref: VmRef) -> Vm:
        return birth.identify(self.api, order, ref)

    # -- life -------------------------------------------------------------------------------------
    def look(self, ref: VmRef, obeyed: bool = False) -> Vm | None:
        if obeyed and ref.node:
            try:
                return convert.machine(ref.vm_id, ref.node, self.api.once(_current(ref.node, ref)))
            except NotFound:
                pass  # it is looked for elsewhere
        node, config = proof.proven(self.api, ref)
        if config is None:
            return None
        return convert.machine(ref.vm_id, node, {**self.api.once(_current(node, ref)), "lock": config.get("lock")})

    def converge(self, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
        return converge.step(self.api, order, ref, allocate)

    @classmethod
    def as_it_is(cls, package: Package, config: Mapping[str, Any]) -> Package:
        return frozen.as_it_is(package, config)

    def compare(self, order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
        return differences.compare(order, config, running)

    def read(self, ref: VmRef) -> Seen:
        return proof.read(self.api, ref)

    def set_password(self, order: Order, ref: VmRef) -> bool:
        return guest.set_password(self.api, order, ref)

    def answers(self, ref: VmRef) -> bool | None:
        return guest.answers(self.api, ref)

    def addresses(self, ref: VmRef) -> tuple[str, ...]:
        return guest.addresses(self.api, ref)

    def set_autostart(self, ref: VmRef, on: bool) -> bool:
        node, config = proof.present(self.api, ref)
        if int(config.get("onboot") or 0) == int(on):
            return False
        proof.refuse_locked(self.api, ref, node, config)
        proof.write(self.api, ref, node, config, onboot=int(on))
        return True

    def power(self, ref: VmRef, verb: str) -> str:
        node = proof.unlocked(self.api, ref)
        extra: dict[str, Any] = {}
        if verb in ("stop", "shut_off"):
            extra["timeout"] = SHUTDOWN_SECONDS
        if verb == "shut_off":
            extra["forceStop"] = True
        if verb == "hard_stop":
            extra["overrule__shutdown"] = True
        return str(self.api.post(f"nodes/{node}/qemu/{ref.vm_id}/status/{POWER[verb]}", **extra) or "")

    def unlock_hint(self, ref: VmRef, lock: str) -> str:
        """A token can never unlock: only root on the node."""
        return f"qm unlock {ref.vm_id}"

    def destroy(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        reads.forget()
        node, config = proof.proven(self.api, ref)
        if config is None:
            return ""
        if config.get("lock") != "suspended":  # that one destroys as well
            proof.refuse_locked(self.api, ref, node, config)
        if int(config.get("protection") or 0):
            self.api.put(f"nodes/{node}/qemu/{ref.vm_id}/config", protection=False)
        return str(self.api.delete(f"nodes/{node}/qemu/{ref.vm_id}", purge=True) or "")

    # -- snapshots, backups, reinstall ------------------------------------------------------------
    def snapshots(self, ref: VmRef) -> list[Snapshot]:
        node, config = proof.present(self.api, ref)
        listed, lock = snapshots.listed(self.api, f"nodes/{node}/qemu/{ref.vm_id}"), str(config.get("lock") or "")
        if all(s.complete for s in listed) or (lock and tasks.holder(self.api, node, ref.vm_id, lock)):
            return listed
        return [replace(s, broken=not s.complete) for s in listed]

    def snapshot(self, ref: VmRef, verb: str, name: str, description: str = "", memory: bool = False) -> str:
        node = proof.unlocked(self.api, ref)
        return snapshots.act(self.api, f"nodes/{node}/qemu/{ref.vm_id}", verb, name, description, memory)

    def backups(self, ref: VmRef) -> list[Backup]:
        storage = backups.storage_of(self.settings)
        node = backups.node_of(self.api, storage, ref.node)
        listed = [b for vm_id in backups.ids_of(ref) for b in backups.listed(self.api, node, storage, vm_id)]
        return sorted(listed, key=lambda b: (b.made_at, b.archive))

    def backup(self, ref: VmRef, verb: str, archive: str = "", mark: str = "") -> str:
        storage = backups.storage_of(self.settings)
        if verb == "delete":  # the archive's own id is the proof; the machine may be gone
            return backups.delete(
                self.api, backups.node_of(self.api, storage, ref.node), storage, archive, backups.ids_of(ref)
            )
        node = proof.unlocked(self.api, ref)
        if verb == "take":
            return backups.take(self.api, node, storage, ref.vm_id, mark)
        return backups.restore(self.api, node, ref.vm_id, archive, "")

    def archive_of(self, task: str) -> str:
        return backups.archive_of(self.api, backups.storage_of(self.settings), task)

    def left_out(self, order: Order, ref: VmRef, archive: str = "") -> tuple[str, ...]:
        additional = bool(order.package.additional_disk_gib)
        if not archive:
            return archives.left_out(proof.present(self.api, ref)[1], additional)
        node = backups.node_of(self.api, backups.storage_of(self.settings), ref.node)
        return archives.lacking(self.api, node, archive, additional)

    def find_task(self, ref: VmRef, verb: str, since: float) -> str:
        return tasks.find(self.api, ref, verb, since)

    def contents(self, ref: VmRef) -> dict[str, Any]:
        node, config = proof.present(self.api, ref)
        proof.refuse_locked(self.api, ref, node, config)
        return convert.contents(config)

    def reinstall(self, order: Order, ref: VmRef, memory: Mapping[str, Any], allocate: bool = False) -> Converged:
        converged = reinstall.step(self.api, order, ref, self.read(ref), dict(memory), allocate)
        return replace(converged, written=bool(converged.memory.get("written")))

    # -- firewall ---------------------------------------------------------------------------------
    def has_firewall(self, package: Package) -> bool:
        return bool(package.options.get("firewall"))

    def firewall(self, ref: VmRef) -> Firewall:
        return rules.read(self.api, ref)

    def change_firewall(self, ref: VmRef, now: Firewall, wanted: Firewall) -> bool:
        return rules.change(self.api, ref, now, wanted)

    def firewall_log(self, ref: VmRef) -> list[Dropped]:
        return rules.log(self.api, ref, self.clock.now())

    def firewall_off(self, ref: VmRef, seen: Seen) -> str:
        return rules.off(self.api, ref, seen.node, seen.config)

    def firewall_switches(self) -> dict[str, str]:
        return rules.switches(self.api)

    # -- drive ------------------------------------------------------------------------------------
    def drive(self, ref: VmRef) -> Drive:
        return media.drive(self.api, ref)

    def isos(self, fits: str) -> list[Iso]:
        return media.fitting(self.api, str(self.settings.get("iso_storage") or ""), fits)

    def all_isos(self) -> list[Iso]:
        return media.everywhere(self.api, str(self.settings.get("iso_storage") or ""))

    def mount(self, ref: VmRef, iso: str) -> str:
        return media.mount(self.api, str(self.settings.get("iso_storage") or ""), ref, iso)

    def boot_first(self, ref: VmRef, disc: bool) -> bool:
        return media.boot_first(self.api, ref, disc)

    def take_out_missing(self, ref: VmRef) -> str:
        return media.take_out_missing(self.api, ref)

    # -- reading ----------------------------------------------------------------------------------
    def charts(self, ref: VmRef, period: str) -> Charts:
        node, _ = proof.present(self.api, ref)  # PVE answers from the id alone: whose history it is only the uuid tells
        return charts.history(self.api, f"nodes/{node}/qemu/{ref.vm_id}", period)

    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        todo = list(tasks)
        if len(todo) == 1:
            return {todo[0]: self._poll(todo[0])}
        return dict(zip(todo, self._pool.map(self._poll, todo), strict=True))

    def _poll(self, task: str) -> TaskResult:
        return tasks.look(self.api, task)

    def task_error(self, text: str) -> VmbridgeError:
        return from_text(text)

    def statuses(self, watched: Sequence[VmRef] = ()) -> list[VmStatus]:
        """All kinds of rows in one call: PVE goes on telling for five minutes what a node said last, so whether it is
        there is told by its own row alone."""
        rows = self.api.get("cluster/resources")
        now = self.clock.now()
        lines = [convert.status(r, now) for r in rows if r.get("type") == "qemu" and not int(r.get("template") or 0)]
        down = {r["node"] for r in rows if r.get("type") == "node" and r.get("status") == "offline"}
        return [convert.offline(s) if s.node in down else s for s in lines] if down else lines

    def traffic(self, ref: VmRef) -> tuple[int | None, int | None, float]:
        node, config = proof.proven(self.api, ref)
        if config is None:
            raise NotFound("The machine is not there.", code="vm_absent")
        return convert.traffic(self.api.once(_current(node, ref)), self.clock.now())

    def console(self, ref: VmRef) -> ConsoleTicket:
        return screen.ticket(self.api, ref, self.look(ref), str(self.settings.get("ca_file") or ""))

    def inspect(self, vm_id: str, node: str = "") -> Machine:
        return machines.inspect(self.api, vm_id, node)

    def claiming(self, vm_ids: Collection[str]) -> list[Machine]:
        return machines.claiming(self.api, self.settings["vm_ids"], vm_ids)

    # -- what machines left -----------------------------------------------------------------------
    def listings(self) -> list[str]:
        return leftovers.listings(self.api)

    def leftovers(self, vm_ids: Collection[str], listing: str = "") -> list[Leftover]:
        return leftovers.kept(self.api, vm_ids, listing) if listing else leftovers.firewalls(self.api, vm_ids)

    def remove_leftover(self, ref: VmRef, leftover: Leftover) -> str:
        if leftover.vm_id != ref.vm_id:
            raise NotOurs(detail=f"{leftover.name} is not of VM {ref.vm_id}")
        node, config = proof.config_of(self.api, ref)
        if config is not None:
            raise NotOurs(detail=f"VM {ref.vm_id} is on {node}: what it has is not left over")
        return leftovers.remove(self.api, leftover)

    def check(self, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
        return doctor.check(self.server, self.api, self.clock, self.settings, plans, networks)


def _current(node: str, ref: VmRef) -> str:
    return f"nodes/{node}/qemu/{ref.vm_id}/status/current"
