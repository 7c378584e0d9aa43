"""The driver: what each method of the contract means on Hetzner Cloud, in a few lines; longer ones stand in the module
of their noun. HTTP is in api.py, words in convert.py."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from bridge.clock import Clock
from bridge.errors import NotFound, NotOurs, Refused, VmbridgeError
from bridge.model import (
    Backup,
    Capability,
    Charts,
    ConsoleTicket,
    Converged,
    Difference,
    Drive,
    Finding,
    Firewall,
    Iso,
    Kept,
    Leftover,
    Machine,
    Offers,
    Order,
    Package,
    Placement,
    Planned,
    Pointers,
    Rule,
    Seen,
    Sentence,
    Snapshot,
    Sold,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers.base import NOWHERE, Driver
from drivers.hetzner import (
    addresses,
    birth,
    converge,
    convert,
    doctor,
    goal,
    images,
    isolation,
    key,
    leftovers,
    media,
    pointers,
    power,
    prices,
    proof,
    reinstall,
    removal,
    schema,
    screen,
    tasks,
    walls,
)
from drivers.hetzner.api import PER_PAGE, Api
from drivers.hetzner.convert import LABEL
from drivers.hetzner.errors import from_text
from drivers.hetzner.tasks import results

SOON = 15.0  # seconds; a project that can be read as often as that is read as a whole


class Hetzner(Driver):
    name = "hetzner"
    capabilities = frozenset(
        {
            Capability.OVERVIEW,
            Capability.POWER,
            Capability.REINSTALL,
            Capability.SNAPSHOTS,
            Capability.BACKUPS,
            Capability.RESET_PASSWORD,
            Capability.ISO,
            Capability.RDNS,
            Capability.CHARTS,
            Capability.CONSOLE,
            Capability.FIREWALL,
        }
    )
    firewall_can = frozenset({"mixed"})
    firewall_most = 50
    firewall_services = walls.SERVICES
    firewall_by_hand = walls.BY_HAND
    firewall_protocols = ("tcp", "udp", "icmp", "gre", "esp")
    server_schema: ClassVar[Any] = schema.Server
    plan_schema: ClassVar[Any] = schema.Plan
    identity = f"label {LABEL!r} with a uuid (give it one in the provider's console)"
    late_addresses = True
    chooses_ids = True
    delivers = frozenset({"extra_ipv4", "extra_ipv6", "locations", "ssh_keys"})
    fixed: ClassVar[frozenset[str]] = frozenset({"cores", "ram_gib", "disk_gib"})
    own_backups = doctor.SLOTS
    snapshots_survive = True
    switches_off = True
    chooses_passwords = True
    password_notes = (
        Sentence(
            "The server has to run, with its guest agent (qemu-guest-agent), which the images for Linux bring along."
            " The new password holds at once."
        ),
    )
    shared_hosts = False
    poll_every = 3.0  # a question counts like any other call
    shows: ClassVar[frozenset[str]] = frozenset({"image", "place", "traffic"})
    series: ClassVar[frozenset[str]] = frozenset(screen.SERIES.values())
    periods: ClassVar[tuple[str, ...]] = tuple(screen.STEPS)
    charts_age = 120.0

    def __init__(self, server: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(server, settings, clock)
        self.api = Api(settings, clock, prepare, lambda: self.budget, server)
        self._pages = 1  # of the last bulk read

    @property
    def calls_per_hour(self) -> int:
        return int(self.settings["calls_per_hour"])

    @property
    def account(self) -> str:
        return hashlib.sha256(f"account {self.settings['token']}".encode()).hexdigest()[:16]

    def live_ages(self, watched: int) -> tuple[float, float]:
        """Half of the calls that become possible meanwhile. Few watched servers of a large project get three quarters
        of that half."""
        call, some = 3600.0 / self.calls_per_hour, math.ceil(watched / PER_PAGE)
        if not some or self._pages < 2 * some or self._pages * 2 * call <= SOON:
            return self._pages * 2 * call, 0.0
        return self._pages * 8 * call, some * 8 / 3 * call

    @classmethod
    def open_networks(cls, package: Package) -> tuple[str, ...]:
        return tuple(package.options["networks"])

    @classmethod
    def backup_window(cls, config: Mapping[str, Any]) -> str:
        return str(config.get("backups") or "")

    # -- birth ------------------------------------------------------------------------------------
    def place(
        self,
        package: Package,
        planned: Sequence[Planned],
        sold: Sequence[Sold] = (),
        full: Mapping[str, str] = NOWHERE,
    ) -> Placement:
        return birth.place(self.api, package, full)

    def create(self, order: Order, placement: Placement) -> str:
        return birth.create(self.api, order, placement)

    def find_create(self, order: Order, placement: Placement, since: float) -> str:
        return birth.find_create(self.api, order)

    def identify(self, order: Order, ref: VmRef) -> Vm:
        return birth.identify(self.api, order, ref)

    # -- life -------------------------------------------------------------------------------------
    def look(self, ref: VmRef, obeyed: bool = False) -> Vm | None:
        server = proof.proven(self.api, ref)
        return convert.vm(server) if server else None

    def converge(self, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
        return converge.step(self.api, order, ref)

    @classmethod
    def as_it_is(cls, package: Package, config: Mapping[str, Any]) -> Package:
        return goal.as_it_is(package, config, cls.own_backups)

    def compare(self, order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
        return goal.compare(order, config, running)

    def new_password(self, ref: VmRef) -> tuple[str, str]:
        server = proof.present(self.api, ref)
        if server["status"] != "running":
            raise Refused("Start the server first.", code="server_off")
        made = self.api.post(f"/servers/{server['id']}/actions/reset_password")
        return tasks.of(server["id"], [made["action"]]), str(made["root_password"])

    def answers(self, ref: VmRef) -> bool | None:
        return None

    def addresses(self, ref: VmRef) -> tuple[str, ...]:
        return convert.addresses(proof.present(self.api, ref))

    def set_autostart(self, ref: VmRef, on: bool) -> bool:
        return False  # there is no node of ours that starts anything

    def power(self, ref: VmRef, verb: str) -> str:
        return power.act(self.api, self.clock, proof.present(self.api, ref), verb)

    def destroy(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        return removal.destroy(self.api, ref, keep)

    def removable(self, ref: VmRef) -> None:
        if server := proof.proven(self.api, ref):
            proof.unprotected(server)

    def outlasting(self, ref: VmRef) -> tuple[str, ...]:
        server = proof.proven(self.api, ref) or {}
        return tuple(f"volume {number}" for number in server.get("volumes") or ())

    def sweep(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        return removal.sweep(self.api, ref, keep)

    def isolates(self, package: Package) -> bool:
        return bool(package.options["suspend"] == "firewall")

    def isolate(self, ref: VmRef, closed: bool, before: Mapping[str, Any]) -> str:
        server = proof.present(self.api, ref)
        actions = (
            isolation.close(self.api, server)
            if closed
            else isolation.open_again(self.api, server, before.get("firewalls", ()))
        )
        return tasks.of(server["id"], actions) if actions else ""

    def reachable(self, ref: VmRef) -> str:
        return isolation.reaching(self.api, proof.present(self.api, ref))

    # -- optional, by Capability ------------------------------------------------------------------
    def snapshots(self, ref: VmRef) -> list[Snapshot]:
        proof.present(self.api, ref)
        return images.snapshots(images.listed(self.api, ref.uuids))

    def snapshot(self, ref: VmRef, verb: str, name: str, description: str = "", memory: bool = False) -> str:
        return images.snapshot(self.api, ref, verb, name, description)

    def backups(self, ref: VmRef) -> list[Backup]:
        return images.backups(self.api.pages("/images", "images", type="backup", bound_to=ref.vm_id))

    def backup(self, ref: VmRef, verb: str, archive: str = "", mark: str = "") -> str:
        return images.backup(self.api, ref, verb, archive, mark)

    def kept(self) -> Kept | None:
        return images.kept(self.api)

    def find_task(self, ref: VmRef, verb: str, since: float) -> str:
        return tasks.find(self.api, ref, verb, since)

    def contents(self, ref: VmRef) -> dict[str, Any]:
        server = proof.present(self.api, ref)
        return {"server": server["id"], "rebuilt": tasks.newest(self.api, server["id"], "rebuild_server")}

    def reinstall(self, order: Order, ref: VmRef, memory: Mapping[str, Any], allocate: bool = False) -> Converged:
        converged = reinstall.step(self.api, order, proof.present(self.api, ref), memory)
        return replace(converged, written=bool(converged.memory.get("written")))

    def charts(self, ref: VmRef, period: str) -> Charts:
        return screen.charts(self.api, proof.present(self.api, ref), period, self.clock.now())

    def console(self, ref: VmRef) -> ConsoleTicket:
        return screen.console(self.api, proof.present(self.api, ref), self.settings["ca_file"])

    # -- firewall ---------------------------------------------------------------------------------
    def has_firewall(self, package: Package) -> bool:
        return bool(package.options["own_firewall"])

    def plain_rule(self, rule: Rule) -> Rule:
        return walls.plain(rule)

    def firewall(self, ref: VmRef) -> Firewall:
        return walls.read(self.api, ref)

    def firewall_off(self, ref: VmRef, seen: Seen) -> str:
        return walls.off(self.api, ref, seen.config)

    def change_firewall(self, ref: VmRef, now: Firewall, wanted: Firewall) -> bool:
        return walls.change(self.api, ref, now, wanted)

    # -- ISO, reverse records ---------------------------------------------------------------------
    def drive(self, ref: VmRef) -> Drive:
        return media.drive(proof.present(self.api, ref))

    def isos(self, fits: str) -> list[Iso]:
        return media.fitting(self.api, fits)

    def all_isos(self) -> list[Iso]:
        return media.everything(self.api)

    def mount(self, ref: VmRef, iso: str) -> str:
        server = proof.present(self.api, ref)
        actions = media.mount(self.api, server, iso)
        return tasks.of(server["id"], actions) if actions else ""

    def pointers(self, ref: VmRef) -> Pointers:
        return pointers.read(self.api, ref, proof.present(self.api, ref))

    def set_pointer(self, ref: VmRef, address: str, name: str) -> str:
        server = proof.present(self.api, ref)
        actions = pointers.write(self.api, ref, server, address, name)
        return tasks.of(server["id"], actions) if actions else ""

    # -- reading ----------------------------------------------------------------------------------
    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        return results(self.api, tasks)

    def prove_key(self) -> None:
        key.writes(self.api)

    def task_error(self, text: str) -> VmbridgeError:
        return from_text(text)

    def statuses(self, watched: Sequence[VmRef] = ()) -> list[VmStatus]:
        now = self.clock.now()
        if watched:
            uuids = sorted({u for ref in watched for u in ref.uuids})
            return [
                convert.line(s, now)
                for i in range(0, len(uuids), PER_PAGE)
                for s in proof.labelled_any(self.api, uuids[i : i + PER_PAGE])
            ]
        lines = [convert.line(s, now) for s in self.api.pages("/servers", "servers")]
        self._pages = max(1, math.ceil(len(lines) / PER_PAGE))
        return lines

    def traffic(self, ref: VmRef) -> tuple[int | None, int | None, float]:
        server = proof.present(self.api, ref)
        return server["ingoing_traffic"], server["outgoing_traffic"], convert.traffic_since(self.clock.now())

    def read(self, ref: VmRef) -> Seen:
        server = proof.present(self.api, ref)
        return Seen(
            goal.seen(server),
            node=server["location"]["name"],
            floating=tuple(addresses.shown(addresses.floating(self.api, ref.uuids))),
        )

    def inspect(self, vm_id: str, node: str = "") -> Machine:
        if not vm_id.isascii() or not vm_id.isdigit():
            raise NotFound(f"There is no server {vm_id[:40]!r} in this project.", code="vm_absent")
        server = self.api.get(f"/servers/{vm_id}")["server"]
        return Machine(
            vm_id,
            server["location"]["name"],
            server["labels"].get(LABEL, ""),
            server["name"],
            "",
            convert.addresses(server),
            config=goal.seen(server),
        )

    def claiming(self, vm_ids: Collection[str]) -> list[Machine]:
        return [
            Machine(str(s["id"]), s["location"]["name"], s["labels"][LABEL], s["name"], "", convert.addresses(s))
            for s in self.api.pages("/servers", "servers", label_selector=LABEL)
            if str(s["id"]) in vm_ids
        ]

    def listings(self) -> list[str]:
        return list(leftovers.LISTINGS)

    def leftovers(self, vm_ids: Collection[str], listing: str = "") -> list[Leftover]:
        return leftovers.listed(self.api, vm_ids, listing) if listing else []

    def remove_leftover(self, ref: VmRef, leftover: Leftover) -> str:
        if proof.proven(self.api, ref) is not None:
            raise NotOurs(detail=f"server {ref.vm_id} is there")
        waiting = leftovers.remove(self.api, leftover, ref.uuids)
        return tasks.of(0, waiting) if waiting else ""

    def offers(self) -> Offers | None:
        return prices.offers(self.api)

    def kinds(self, package: Package) -> tuple[str, str]:
        return package.options["server_type"], package.location or package.options["location"]

    def check(self, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
        return doctor.check(self.server, self.api, plans)
