"""A driver of a page's length: its machines are records in a dict, and a task has ended before anybody asks.
docs/drivers.md explains it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from marshmallow import Schema, fields

from bridge.errors import Capacity, NotFound, NotOurs, Permanent, Refused, VmbridgeError
from bridge.model import (
    Capability,
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
    Sold,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers.base import NOWHERE, Driver

HOSTS: dict[str, dict[str, dict[str, Any]]] = {}  # the back end: host -> id -> machine
GIB, MIB = 1024**3, 1024**2
SIZES = ("cores", "ram_mib", "disk_gib", "rate_mbit")
POWER = {"start": "running", "reboot": "running", "stop": "stopped", "hard_stop": "stopped", "shut_off": "stopped"}


class Server(Schema):
    host = fields.Str(required=True)
    vm_ids = fields.List(fields.Tuple((fields.Int(), fields.Int())), required=True)


class Plan(Schema):
    most = fields.Int(load_default=10)  # machines on the host


class Trial(Driver):
    name = "trial"
    capabilities = frozenset({Capability.OVERVIEW, Capability.POWER})
    delivers = frozenset({"rate_mbit", "pools"})
    server_schema, plan_schema = Server, Plan
    shows = frozenset({"uptime"})

    @property
    def machines(self) -> dict[str, dict[str, Any]]:
        return HOSTS.setdefault(self.settings["host"], {})

    def _proven(self, ref: VmRef) -> dict[str, Any] | None:
        """The machine when it is ours, None when there is none under the id. Every method begins here."""
        machine = self.machines.get(ref.vm_id)
        if machine is not None and machine["uuid"] not in ref.uuids:
            raise NotOurs(detail=f"machine {ref.vm_id} has another uuid")
        return machine

    def _present(self, ref: VmRef) -> dict[str, Any]:
        machine = self._proven(ref)
        if machine is None:
            raise NotFound("The machine is gone.", code="vm_absent")
        return machine

    # -- birth: each call may come a second time after a lost reply, and then makes nothing twice
    def place(
        self,
        package: Package,
        planned: Sequence[Planned],
        sold: Sequence[Sold] = (),
        full: Mapping[str, str] = NOWHERE,
    ) -> Placement:
        if len({*self.machines, *(p.vm_id for p in planned)}) >= package.options["most"]:
            raise Capacity(detail=f"{self.settings['host']} is full")
        return Placement(self.settings["host"], package.template, "disk")

    def create(self, order: Order, placement: Placement) -> str:
        there = self.machines.setdefault(order.vm_id, {"uuid": order.uuid, "status": "stopped", "autostart": False})
        if there["uuid"] != order.uuid:
            raise Refused("The id is taken.", code="id_taken")
        there |= {"system": placement.source, "since": self.clock.now()}
        return f"created {order.vm_id}"

    def find_create(self, order: Order, placement: Placement, since: float) -> str:
        return f"created {order.vm_id}" if self.machines.get(order.vm_id, {}).get("uuid") == order.uuid else ""

    def identify(self, order: Order, ref: VmRef) -> Vm:
        return Vm(ref.vm_id, self.settings["host"], self._present(ref)["status"])  # the uuid came with `create`

    # -- life
    def look(self, ref: VmRef, obeyed: bool = False) -> Vm | None:
        machine = self._proven(ref)
        return Vm(ref.vm_id, self.settings["host"], machine["status"]) if machine else None

    def converge(self, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
        machine = self._present(ref)
        differing = [d for d in self.compare(order, machine, machine["status"] == "running") if not d.same]
        machine |= {d.word: d.sold for d in differing if not d.refused}
        return Converged(
            changed=tuple(d.word for d in differing if not d.refused),
            refused=tuple(d.refused for d in differing if d.refused),
            seen=self.read(ref),
        )

    def compare(self, order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
        wanted = {word: getattr(order.package, word) for word in SIZES}
        if not order.frozen:
            wanted |= {"name": order.hostname, "addresses": [n.address for n in order.networks if n.role == "main"]}
        shrinks = wanted["disk_gib"] < config.get("disk_gib", 0)
        refused = {"disk_gib": "A disk cannot shrink."} if shrinks else {}
        have = {word: config.get(word) for word in wanted}
        return [Difference(w, v, have[w], v == have[w], refused=refused.get(w, "")) for w, v in wanted.items()]

    @classmethod
    def as_it_is(cls, package: Package, config: Mapping[str, Any]) -> Package:
        return replace(package, **{word: config[word] for word in SIZES})

    def answers(self, ref: VmRef) -> bool | None:
        return None

    def addresses(self, ref: VmRef) -> tuple[str, ...]:
        return ()  # those of our pools are all it has

    def set_autostart(self, ref: VmRef, on: bool) -> bool:
        machine = self._present(ref)
        changed = machine["autostart"] != on
        machine["autostart"] = on
        return bool(changed)

    def power(self, ref: VmRef, verb: str) -> str:
        self._present(ref)["status"] = POWER[verb]
        return f"{verb} {ref.vm_id}"

    def destroy(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        if self._proven(ref) is None:
            return ""
        del self.machines[ref.vm_id]
        return f"destroyed {ref.vm_id}"

    # -- reading
    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        return {t: TaskResult("done" if t.split()[-1].isdigit() else "unknown") for t in tasks}

    def task_error(self, text: str) -> VmbridgeError:
        return Permanent("The host refused it.", detail=text)

    def statuses(self, watched: Sequence[VmRef] = ()) -> list[VmStatus]:
        return [self._line(vm_id, m) for vm_id, m in self.machines.items()]

    def _line(self, vm_id: str, m: Mapping[str, Any]) -> VmStatus:
        age = int(self.clock.now() - m["since"])
        return VmStatus(
            vm_id,
            m["status"],
            self.settings["host"],
            m.get("name", ""),
            uptime=age,
            cores=m.get("cores", 0),
            maxmem=m.get("ram_mib", 0) * MIB,
            maxdisk=m.get("disk_gib", 0) * GIB,
            net_in=age,
            net_out=age * 2,
            counting_since=m["since"],
        )

    def traffic(self, ref: VmRef) -> tuple[int | None, int | None, float]:
        line = self._line(ref.vm_id, self._present(ref))
        return line.net_in, line.net_out, line.counting_since

    def read(self, ref: VmRef) -> Seen:
        return Seen(dict(self._present(ref)), node=self.settings["host"])

    def inspect(self, vm_id: str, node: str = "") -> Machine:
        if vm_id not in self.machines:
            raise NotFound(f"There is no machine {vm_id!r}.", code="vm_absent")
        m = self.machines[vm_id]
        return Machine(vm_id, self.settings["host"], m["uuid"], m["name"], "", tuple(m["addresses"]), config=dict(m))

    def claiming(self, vm_ids: Collection[str]) -> list[Machine]:
        ours = [v for v in self.machines if v in vm_ids and any(a <= int(v) <= b for a, b in self.settings["vm_ids"])]
        return [self.inspect(v) for v in ours]

    # -- what machines left: here nothing outlives its machine
    def listings(self) -> list[str]:
        return []

    def leftovers(self, vm_ids: Collection[str], listing: str = "") -> list[Leftover]:
        return []

    def remove_leftover(self, ref: VmRef, leftover: Leftover) -> str:
        return ""

    def check(self, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
        return [Finding("ok", f"server {self.server}", f"{len(self.machines)} machines on {self.settings['host']}")]


DRIVER = Trial
