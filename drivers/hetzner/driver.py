"""The driver: what each method of the contract means on Hetzner Cloud. HTTP is in api.py, words in convert.py."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from bridge.clock import Clock
from bridge.errors import Capacity, NotFound, NotOurs, Permanent, Refused, VmbridgeError
from bridge.model import (
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
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers.base import Driver
from drivers.hetzner import convert, doctor, schema, screen
from drivers.hetzner.api import PER_PAGE, Api
from drivers.hetzner.errors import from_text

ASK = 40  # actions in one call; the address must not get too long
SHUTDOWN_SECONDS = 60.0
SOON = 15.0  # seconds; a project that can be read as often as that is read as a whole
POWER = {"start": "poweron", "stop": "shutdown", "reboot": "reboot", "hard_stop": "poweroff"}


class Hetzner(Driver):
    name = "hetzner"
    capabilities = frozenset({Capability.OVERVIEW, Capability.POWER, Capability.CHARTS, Capability.CONSOLE})
    optional: ClassVar[Mapping[Capability, tuple[str, ...]]] = {Capability.CHARTS: ("charts",), Capability.CONSOLE: ("console",)}
    server_schema: ClassVar[Any] = schema.Server
    plan_schema: ClassVar[Any] = schema.Plan
    late_addresses = True
    chooses_ids = True
    shows: ClassVar[frozenset[str]] = frozenset({"image", "place", "traffic"})
    series: ClassVar[frozenset[str]] = frozenset(screen.SERIES.values())
    periods: ClassVar[tuple[str, ...]] = tuple(screen.STEPS)
    charts_age = 120.0

    def __init__(self, server: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(server, settings, clock)
        self.api = Api(settings, prepare, lambda: self.budget)
        self._pages = 1  # of the last bulk read

    @property
    def calls_per_hour(self) -> int:
        return int(self.settings["calls_per_hour"])

    @property
    def account(self) -> str:
        return hashlib.sha256(f"account {self.settings['token']}".encode()).hexdigest()[:16]

    def live_ages(self, watched: int) -> tuple[float, float]:
        """Half of the calls that become possible meanwhile. Few watched servers of a large project get three quarters of that half."""
        call, some = 3600.0 / self.calls_per_hour, math.ceil(watched / PER_PAGE)
        if not some or self._pages < 2 * some or self._pages * 2 * call <= SOON:
            return self._pages * 2 * call, 0.0
        return self._pages * 8 * call, some * 8 / 3 * call

    # -- birth ------------------------------------------------------------------------------------
    def place(self, package: Package, planned: Sequence[Planned]) -> Placement:
        if not_sold := convert.not_sold(package):
            raise Permanent("The plan sells what this provider does not have.", code="plan_impossible", detail=", ".join(not_sold))
        kind, location = package.options["server_type"], package.location or package.options["location"]
        found = self.api.get("/server_types", name=kind)["server_types"]
        if not found:
            raise Permanent("The plan names a type that the provider does not have.", code="plan_impossible", detail=f"server type {kind!r}")
        place = next((p for p in found[0]["locations"] if p["name"] == location), None)
        if place is None:
            raise Permanent("The plan names a location where its type is not sold.", code="plan_impossible", detail=f"{kind} in {location}")
        if not place["available"]:
            raise Capacity(detail=f"{kind} is sold out in {location}")
        if not self.api.get("/images", name=package.template, architecture=found[0]["architecture"], type="system")["images"]:
            raise Permanent("The plan names an image that the provider does not have.", code="plan_impossible",
                            detail=f"image {package.template!r} for {found[0]['architecture']}")
        return Placement(location, package.template, kind)

    def create(self, order: Order, placement: Placement) -> str:
        try:
            made = self.api.post(
                "/servers", name=convert.name(order), server_type=placement.storage, image=placement.source, location=placement.node,
                labels={convert.LABEL: order.uuid}, user_data=convert.user_data(order), start_after_create=False,
            )
        except Refused as e:
            ours = self.find_create(order, placement, 0.0) if e.code == "name_taken" else ""
            if ours:
                return ours
            raise Permanent("Another server of the project has the name.", code="name_taken", detail=convert.name(order)) from None
        actions = [made["action"], *made.get("next_actions", ())]
        return _task(made["server"]["id"], actions)

    def find_create(self, order: Order, placement: Placement, since: float) -> str:
        found = self._labelled((order.uuid,))
        return _task(found["id"], self._running(found["id"])) if found else ""

    def identify(self, order: Order, ref: VmRef) -> Vm:
        """The label came with the create: nothing is written."""
        return convert.vm(self._server(ref))

    # -- life -------------------------------------------------------------------------------------
    def look(self, ref: VmRef) -> Vm | None:
        found = self._found(ref)
        return convert.vm(found) if found else None

    def converge(self, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
        seen = self.read(ref)
        differs = [d for d in self.compare(order, seen.config, False) if not d.same]
        return Converged(refused=tuple(f"{d.word}: {d.refused}" for d in differs), seen=seen)

    def compare(self, order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
        sold, real = order.package.options["server_type"], str(config["server_type"])
        return [Difference("server_type", sold, real, sold == real, refused="" if sold == real else f"it stays {real}: a change of type is not built yet")]

    def answers(self, ref: VmRef) -> bool | None:
        return None

    def addresses(self, ref: VmRef) -> tuple[str, ...]:
        return convert.addresses(self._server(ref))

    def set_autostart(self, ref: VmRef, on: bool) -> bool:
        return False  # there is no node of ours that starts anything

    def power(self, ref: VmRef, verb: str) -> str:
        found = self._server(ref)
        word = POWER.get(verb) or self._shut_off(found)
        if not word or (verb == "start" and found["status"] == "running") or (verb in ("hard_stop", "shut_off") and found["status"] == "off"):
            return ""
        return _task(found["id"], [self.api.post(f"/servers/{found['id']}/actions/{word}")["action"]])

    def _shut_off(self, server: Mapping[str, Any]) -> str:
        """Ask first; what was asked a minute ago and still runs is turned off. Kept by the provider, so it holds over a crash."""
        asked = [a for a in self.api.get(f"/servers/{server['id']}/actions", sort="started:desc", per_page=25)["actions"]
                 if a["command"] in ("shutdown_server", "start_server")]
        if not asked or asked[0]["command"] != "shutdown_server":
            return "shutdown"
        since = self.clock.now() - datetime.fromisoformat(asked[0]["started"]).timestamp()
        return "poweroff" if since > SHUTDOWN_SECONDS else ""

    def destroy(self, ref: VmRef) -> str:
        found = self._found(ref)
        if found is None:
            return ""
        try:
            return _task(found["id"], [self.api.delete(f"/servers/{found['id']}")["action"]])
        except NotFound:
            return ""

    # -- optional, by Capability ------------------------------------------------------------------
    def charts(self, ref: VmRef, period: str) -> Charts:
        return screen.charts(self.api, self._server(ref), period, self.clock.now())

    def console(self, ref: VmRef) -> ConsoleTicket:
        return screen.console(self.api, self._server(ref), self.settings["ca_file"])

    # -- reading ----------------------------------------------------------------------------------
    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        wanted = {t: [a for a in t.partition(":")[2].split(",") if a] for t in tasks}
        ids = sorted({a for actions in wanted.values() for a in actions})
        known: dict[str, dict[str, Any]] = {}
        for i in range(0, len(ids), ASK):
            known |= {str(a["id"]): a for a in self.api.get("/actions", id=ids[i:i + ASK])["actions"]}
        return {t: _result([known.get(a) for a in actions]) for t, actions in wanted.items()}

    def task_error(self, text: str) -> VmbridgeError:
        return from_text(text)

    def statuses(self, watched: Sequence[VmRef] = ()) -> list[VmStatus]:
        now = self.clock.now()
        if watched:
            uuids = sorted({u for ref in watched for u in ref.uuids})
            return [convert.line(s, now) for i in range(0, len(uuids), PER_PAGE) for s in self._with(uuids[i:i + PER_PAGE])]
        found = [convert.line(s, now) for s in self.api.pages("/servers", "servers")]
        self._pages = max(1, math.ceil(len(found) / PER_PAGE))
        return found

    def read(self, ref: VmRef) -> Seen:
        server = self._server(ref)
        kind = server["server_type"]
        return Seen({"server_type": kind["name"], "cores": kind["cores"], "memory_gb": kind["memory"], "disk_gb": server["primary_disk_size"],
                     "name": server["name"]}, node=server["location"]["name"])

    def inspect(self, vm_id: str, node: str = "") -> Machine:
        server = self.api.get(f"/servers/{int(vm_id)}")["server"]
        return Machine(vm_id, server["location"]["name"], server["labels"].get(convert.LABEL, ""), server["name"], "", convert.addresses(server))

    def listings(self) -> list[str]:
        return []

    def leftovers(self, vm_ids: Collection[str], listing: str = "") -> list[Leftover]:
        return []

    def check(self, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
        return doctor.check(self.server, self.api, plans)

    # -- proof ------------------------------------------------------------------------------------
    def _found(self, ref: VmRef) -> dict[str, Any] | None:
        """The proven server; None when it is not there. Before the provider's id is known the label finds it."""
        if not ref.vm_id.isdigit():
            return self._labelled(ref.uuids)
        try:
            server: dict[str, Any] = self.api.get(f"/servers/{ref.vm_id}")["server"]
        except NotFound:
            return None
        if server["labels"].get(convert.LABEL) not in ref.uuids:
            raise NotOurs(detail=f"server {ref.vm_id} carries another label")
        return server

    def _server(self, ref: VmRef) -> dict[str, Any]:
        found = self._found(ref)
        if found is None:
            raise NotFound("The machine is not there.", code="vm_absent", detail=f"server {ref.vm_id}")
        return found

    def _labelled(self, uuids: Collection[str]) -> dict[str, Any] | None:
        found = list(self._with(uuids))
        if len(found) > 1:
            raise NotOurs(detail=f"servers {', '.join(str(s['id']) for s in found)} carry the same label")
        return found[0] if found else None

    def _with(self, uuids: Iterable[str]) -> Iterator[dict[str, Any]]:
        return self.api.pages("/servers", "servers", label_selector=f"{convert.LABEL} in ({','.join(uuids)})")

    def _running(self, server: int) -> list[dict[str, Any]]:
        return list(self.api.pages(f"/servers/{server}/actions", "actions", status="running"))


def _task(server: int, actions: Iterable[Mapping[str, Any]]) -> str:
    """`SERVER:ACTION,ACTION`: all of them have to end."""
    return f"{server}:{','.join(str(a['id']) for a in actions)}"


def _result(actions: Sequence[Mapping[str, Any] | None]) -> TaskResult:
    bad = next((a for a in actions if a and a["status"] == "error"), None)
    if bad:
        error = bad.get("error") or {}
        return TaskResult("failed", f"{error.get('code', 'error')}: {error.get('message', '')}")
    if any(a is None for a in actions):
        return TaskResult("unknown", "an action is not known any more")
    return TaskResult("running" if any(a and a["status"] == "running" for a in actions) else "done")
