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
    LIMITS,
    Backup,
    Capability,
    Charts,
    ConsoleTicket,
    Converged,
    Difference,
    Drive,
    Finding,
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
    Seen,
    Snapshot,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers.base import Driver
from drivers.hetzner import addresses, convert, doctor, goal, images, isolation, leftovers, media, pointers, prices, schema, screen
from drivers.hetzner.api import PER_PAGE, Api
from drivers.hetzner.convert import LABEL
from drivers.hetzner.errors import from_text

ASK = 40  # actions in one call; the address must not get too long
SHUTDOWN_SECONDS = 60.0
SOON = 15.0  # seconds; a project that can be read as often as that is read as a whole
POWER = {"start": "poweron", "stop": "shutdown", "reboot": "reboot", "hard_stop": "poweroff"}


class Hetzner(Driver):
    name = "hetzner"
    capabilities = frozenset({Capability.OVERVIEW, Capability.POWER, Capability.REINSTALL, Capability.SNAPSHOTS, Capability.BACKUPS,
                              Capability.RESET_PASSWORD, Capability.ISO, Capability.RDNS, Capability.CHARTS, Capability.CONSOLE})
    optional: ClassVar[Mapping[Capability, tuple[str, ...]]] = {
        Capability.ISO: ("drive", "isos", "mount"), Capability.RDNS: ("pointers", "set_pointer"),
        Capability.CHARTS: ("charts",), Capability.CONSOLE: ("console",),
    }
    server_schema: ClassVar[Any] = schema.Server
    plan_schema: ClassVar[Any] = schema.Plan
    identity = f"label {LABEL!r} with a uuid (give it one in the provider's console)"
    late_addresses = True
    chooses_ids = True
    fixed: ClassVar[frozenset[str]] = frozenset({"cores", "ram_gib", "disk_gib", "rate_mbit", "additional_disk_gib", *LIMITS})
    own_backups = doctor.SLOTS
    snapshots_survive = True
    chooses_passwords = True
    shared_hosts = False
    poll_every = 3.0  # a question counts like any other call
    shows: ClassVar[frozenset[str]] = frozenset({"image", "place", "traffic"})
    series: ClassVar[frozenset[str]] = frozenset(screen.SERIES.values())
    periods: ClassVar[tuple[str, ...]] = tuple(screen.STEPS)
    charts_age = 120.0

    def __init__(self, server: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(server, settings, clock)
        self.api = Api(settings, clock, prepare, lambda: self.budget)
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
        found = self._kind(kind)
        place = next((p for p in found["locations"] if p["name"] == location), None)
        if place is None:
            raise Permanent("The plan names a location where its type is not sold.", code="plan_impossible", detail=f"{kind} in {location}")
        if not place["available"]:
            raise Capacity(detail=f"{kind} is sold out in {location}")
        image = images.system(self.api, package.template, package.options["images"], found["architecture"])
        return Placement(location, image["name"] or str(image["id"]), kind)

    def create(self, order: Order, placement: Placement) -> str:
        options, more = order.package.options, self._surroundings(order)
        try:
            made = self.api.post(
                "/servers", name=convert.name(order), server_type=placement.storage, image=placement.source, location=placement.node,
                labels={**options["labels"], LABEL: order.uuid}, user_data=convert.user_data(order), start_after_create=False, **more,
            )
        except Refused as e:
            ours = self.find_create(order, placement, 0.0) if e.code == "name_taken" else ""
            if ours:
                return ours
            raise Permanent("Another server of the project has the name.", code="name_taken", detail=convert.name(order)) from None
        actions = [made["action"], *made.get("next_actions", ())]
        return _task(made["server"]["id"], actions)

    def _surroundings(self, order: Order) -> dict[str, Any]:
        """What the plan puts the server into, and addresses that an earlier server of the service left for it."""
        options = order.package.options
        more: dict[str, Any] = {}
        if options["networks"]:
            more["networks"] = [self._id("/networks", n) for n in options["networks"]]
        if options["firewalls"]:
            more["firewalls"] = [{"firewall": self._id("/firewalls", n)} for n in options["firewalls"]]
        if options["placement_group"]:
            more["placement_group"] = self._id("/placement_groups", options["placement_group"])
        if len(order.uuids) > 1:
            mine = {ip["type"]: ip["id"] for ip in addresses.primary(self.api, order.uuids) if not ip["assignee_id"]}
            if mine:
                more["public_net"] = {"enable_ipv4": True, "enable_ipv6": True, **mine}
        return more

    def _id(self, path: str, name: str) -> int:
        found = self.api.get(path, name=name)[path.strip("/")]
        if not found:
            kind = path.strip("/").rstrip("s").replace("_", " ")
            raise Permanent(f"The plan names a {kind} that the project does not have.", code="plan_impossible", detail=f"{kind} {name!r}")
        return int(found[0]["id"])

    def find_create(self, order: Order, placement: Placement, since: float) -> str:
        found = self._labelled((order.uuid,))
        return _task(found["id"], self._running(found["id"])) if found else ""

    def identify(self, order: Order, ref: VmRef) -> Vm:
        """The label came with the create; the server's own addresses get theirs and a name."""
        server = self._server(ref)
        addresses.mark(self.api, server, order.uuid)
        return convert.vm(server)

    # -- life -------------------------------------------------------------------------------------
    def look(self, ref: VmRef) -> Vm | None:
        found = self._found(ref)
        return convert.vm(found) if found else None

    def converge(self, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
        """One change at a time, each with an action to wait for."""
        server = self._server(ref)
        floating, sid = addresses.floating(self.api, ref.uuids), int(server["id"])
        differs = {d.word: d for d in self.compare(order, goal.seen(server), server["status"] != "off") if not d.same}
        refused = tuple(f"{d.word}: {d.refused}" for d in differs.values() if d.refused)
        retype = "server_type" in differs and not refused
        grows = retype and goal.retyping(order, server, self._kind(order.package.options["server_type"]))  # known before anything is changed
        if change := addresses.next_change(self.api, order, sid, floating):
            return Converged(_task(sid, change[0]), (change[1],), refused, more=True)
        if order.autostart and (missing := self._firewalls_missing(order, server)):
            return Converged(_task(sid, missing), ("firewalls",), refused, more=True)
        if "backups" in differs and order.package.backups:
            return Converged(self._action(sid, "enable_backup"), ("backups",), refused, more=True)
        seen = Seen(goal.seen(server), node=server["location"]["name"], floating=tuple(addresses.shown(floating)))
        if "backups" in differs:
            refused = (*refused, differs["backups"].warning)
        if not retype:
            return Converged(refused=refused, seen=seen)
        if server["status"] != "off":
            return Converged(refused=refused, offline="server_type: the server has to be off for it; a change of package switches it off and on", seen=seen)
        changed = ("server_type", "disk_gib") if grows else ("server_type",)
        task = self._action(sid, "change_type", server_type=order.package.options["server_type"], upgrade_disk=grows)
        return Converged(task, changed, more=True, starts=True)

    def _firewalls_missing(self, order: Order, server: Mapping[str, Any]) -> list[dict[str, Any]]:
        now = isolation.applied(server)
        wanted = [self._id("/firewalls", n) for n in order.package.options["firewalls"]]
        return [a for i in wanted if i not in now for a in isolation.change(self.api, i, server, "apply_to")]

    def _kind(self, name: str) -> dict[str, Any]:
        found = self.api.get("/server_types", name=name)["server_types"]
        if not found:
            raise Permanent("The plan names a type that the provider does not have.", code="plan_impossible", detail=f"server type {name!r}")
        kind: dict[str, Any] = found[0]
        return kind

    def compare(self, order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
        return goal.compare(order, config, running)

    def new_password(self, ref: VmRef) -> tuple[str, str]:
        found = self._server(ref)
        if found["status"] != "running":
            raise Refused("Start the server first.", code="server_off")
        made = self.api.post(f"/servers/{found['id']}/actions/reset_password")
        return _task(found["id"], [made["action"]]), str(made["root_password"])

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
        return self._action(found["id"], word)

    def _action(self, server: int, verb: str, **values: Any) -> str:
        return _task(server, [self.api.post(f"/servers/{server}/actions/{verb}", **values)["action"]])

    def _shut_off(self, server: Mapping[str, Any]) -> str:
        """Ask first; what was asked a minute ago and still runs is turned off. Kept by the provider, so it holds over a crash."""
        asked = [a for a in self.api.get(f"/servers/{server['id']}/actions", sort="started:desc", per_page=25)["actions"]
                 if a["command"] in ("shutdown_server", "start_server")]
        if not asked or asked[0]["command"] != "shutdown_server":
            return "shutdown"
        since = self.clock.now() - datetime.fromisoformat(asked[0]["started"]).timestamp()
        return "poweroff" if since > SHUTDOWN_SECONDS else ""

    def destroy(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        """Floating IPs first, which a deleted server would leave behind unassigned; the newest backup becomes a snapshot where backups
        are to stay, since all of them go with their server."""
        found = self._found(ref)
        if found is None:
            return ""
        sid = int(found["id"])
        if found["protection"]["delete"]:
            return self._action(sid, "change_protection", delete=False, rebuild=False)
        if "addresses" in keep:
            addresses.mark(self.api, found, ref.uuids[0], stay=True)
        elif waiting := [a for ip in addresses.floating(self.api, ref.uuids) for a in addresses.remove(self.api, ip)]:
            return _task(sid, waiting)
        if "backups" in keep:
            images.keep_newest(self.api, str(sid), ref.uuids[0])
        try:
            return _task(sid, [self.api.delete(f"/servers/{sid}")["action"]])
        except NotFound:
            return ""

    def sweep(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        waiting: list[dict[str, Any]] = []
        if "addresses" not in keep:
            waiting = [a for ip in addresses.floating(self.api, ref.uuids) for a in addresses.remove(self.api, ip)]
            addresses.drop(self.api, ref.uuids)
        for image in images.listed(self.api, ref.uuids):
            images.remove(self.api, image)
        return _task(0, waiting) if waiting else ""

    def isolates(self, package: Package) -> bool:
        return bool(package.options["suspend"] == "firewall")

    def isolate(self, ref: VmRef, closed: bool, before: Mapping[str, Any]) -> str:
        server = self._server(ref)
        actions = isolation.close(self.api, server) if closed else isolation.open_again(self.api, server, before.get("firewalls", ()))
        return _task(server["id"], actions) if actions else ""

    # -- optional, by Capability ------------------------------------------------------------------
    def snapshots(self, ref: VmRef) -> list[Snapshot]:
        self._server(ref)
        return images.snapshots(images.listed(self.api, ref.uuids))

    def snapshot(self, ref: VmRef, verb: str, name: str, description: str = "", memory: bool = False) -> str:
        server, found = self._server(ref), images.named(self.api, ref.uuids, name)
        if verb == "rollback":
            if found is None or found["status"] != "available":
                raise Permanent("This snapshot is not there any more.", code="snapshot_gone", detail=name)
            return self._rebuild(server, found["id"])
        if verb == "delete":
            if found:
                images.remove(self.api, found)
            return ""
        if found and found["status"] == "available":
            return ""
        if found and (running := self._running(server["id"], "create_image")):
            return _task(server["id"], running)
        if found:  # what an action that failed has left
            images.remove(self.api, found)
        return self._keep(server, "snapshot", {images.SNAPSHOT: name}, ref, description or name)

    def backups(self, ref: VmRef) -> list[Backup]:
        return images.backups(self.api.pages("/images", "images", type="backup", bound_to=ref.vm_id))

    def backup(self, ref: VmRef, verb: str, archive: str = "", mark: str = "") -> str:
        if verb == "take":
            images.remove_failed(self.api, ref.vm_id, mark)
            return self._keep(self._server(ref), "backup", {images.OPERATION: mark}, ref, f"vmbridge {mark}")
        found = images.proven(self.api, archive, ref.vm_id, ref.uuids)
        if verb == "delete":
            if found:
                images.remove(self.api, found)
            return ""
        if found is None or found["status"] != "available":
            raise Permanent("This backup is not there any more.", code="backup_gone", detail=archive)
        return self._rebuild(self._server(ref), found["id"])

    def _keep(self, server: Mapping[str, Any], kind: str, labels: dict[str, str], ref: VmRef, description: str) -> str:
        return self._action(server["id"], "create_image", type=kind, description=description, labels={LABEL: ref.uuids[0], **labels})

    def _rebuild(self, server: Mapping[str, Any], image: int | str, **values: Any) -> str:
        return self._action(server["id"], "rebuild", image=str(image), **values)

    def kept(self) -> Kept | None:
        return images.kept(self.api)

    def find_task(self, ref: VmRef, verb: str, since: float) -> str:
        command = {"take": "create_image", "rollback": "rebuild_server", "restore": "rebuild_server"}[verb]
        rows = self.api.get(f"/servers/{int(ref.vm_id)}/actions", sort="id:desc", per_page=25)["actions"]
        after = since + self.api.ahead - 2.0  # stamps are whole seconds
        found = [a for a in rows if a["command"] == command and datetime.fromisoformat(a["started"]).timestamp() >= after]
        return _task(int(ref.vm_id), found[:1]) if found else ""

    def reinstall(self, order: Order, ref: VmRef, memory: Mapping[str, Any], allocate: bool = False) -> Converged:
        """First which image it is, then the rebuild until its action has succeeded."""
        server = self._server(ref)
        if not memory:
            kind = server["server_type"]["architecture"]
            image = images.system(self.api, order.package.template, order.package.options["images"], kind)
            if image["disk_size"] > server["primary_disk_size"]:
                raise Refused("This system is not available where your server is.", code="no_template", detail=f"it needs {image['disk_size']} GB")
            return Converged(memory={"image": str(image["name"] or image["id"])})
        task = str(memory.get("task") or "")
        state = self.poll([task])[task].state if task else ""
        if state == "done":
            return Converged(memory=dict(memory))
        running = self._running(server["id"], "rebuild_server")  # also one whose reply was lost
        if server["iso"] and not running:  # it would be started from
            return Converged(self._action(server["id"], "detach_iso"), memory=dict(memory), more=True)
        task = _task(server["id"], running) if running else self._rebuild(server, memory["image"], user_data=convert.user_data(order))
        return Converged(task, memory={**memory, "task": task})

    def charts(self, ref: VmRef, period: str) -> Charts:
        return screen.charts(self.api, self._server(ref), period, self.clock.now())

    def console(self, ref: VmRef) -> ConsoleTicket:
        return screen.console(self.api, self._server(ref), self.settings["ca_file"])

    # -- ISO, reverse records ---------------------------------------------------------------------
    def drive(self, ref: VmRef) -> Drive:
        return media.drive(self._server(ref))

    def isos(self, fits: str) -> list[Iso]:
        return media.fitting(self.api, fits)

    def mount(self, ref: VmRef, iso: str) -> str:
        server = self._server(ref)
        actions = media.mount(self.api, server, iso)
        return _task(server["id"], actions) if actions else ""

    def pointers(self, ref: VmRef) -> Pointers:
        return pointers.read(self.api, ref, self._server(ref))

    def set_pointer(self, ref: VmRef, address: str, name: str) -> str:
        server = self._server(ref)
        actions = pointers.write(self.api, ref, server, address, name)
        return _task(server["id"], actions) if actions else ""

    # -- reading ----------------------------------------------------------------------------------
    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        tasks = list(tasks)
        wanted = {t: [a for a in t.partition(":")[2].split(",") if a] for t in tasks if ":" in t}
        ids = sorted({a for actions in wanted.values() for a in actions})
        known: dict[str, dict[str, Any]] = {}
        for i in range(0, len(ids), ASK):
            known |= {str(a["id"]): a for a in self.api.get("/actions", id=ids[i:i + ASK])["actions"]}
        found = {t: _result([known.get(a) for a in actions]) for t, actions in wanted.items()}
        return found | {t: TaskResult("unknown", f"not a task: {t[:80]}") for t in tasks if t not in found}

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

    def traffic(self, ref: VmRef) -> tuple[int | None, int | None, float]:
        server = self._server(ref)
        return server["ingoing_traffic"], server["outgoing_traffic"], convert.traffic_since(self.clock.now())

    def read(self, ref: VmRef) -> Seen:
        server = self._server(ref)
        return Seen(goal.seen(server), node=server["location"]["name"], floating=tuple(addresses.shown(addresses.floating(self.api, ref.uuids))))

    def inspect(self, vm_id: str, node: str = "") -> Machine:
        if not vm_id.isascii() or not vm_id.isdigit():
            raise NotFound(f"There is no server {vm_id[:40]!r} in this project.", code="vm_absent")
        server = self.api.get(f"/servers/{vm_id}")["server"]
        return Machine(vm_id, server["location"]["name"], server["labels"].get(LABEL, ""), server["name"], "", convert.addresses(server))

    def listings(self) -> list[str]:
        return list(leftovers.LISTINGS)

    def leftovers(self, vm_ids: Collection[str], listing: str = "") -> list[Leftover]:
        return leftovers.listed(self.api, vm_ids, listing) if listing else []

    def remove_leftover(self, ref: VmRef, leftover: Leftover) -> str:
        if self._found(ref) is not None:
            raise NotOurs(detail=f"server {ref.vm_id} is there")
        waiting = leftovers.remove(self.api, leftover, ref.uuids)
        return _task(0, waiting) if waiting else ""

    def offers(self) -> Offers | None:
        return prices.offers(self.api)

    def kinds(self, package: Package) -> tuple[str, str]:
        return package.options["server_type"], package.location or package.options["location"]

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
        if server["labels"].get(LABEL) not in ref.uuids:
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
        return self.api.pages("/servers", "servers", label_selector=f"{LABEL} in ({','.join(uuids)})")

    def _running(self, server: int, command: str = "") -> list[dict[str, Any]]:
        found = self.api.pages(f"/servers/{server}/actions", "actions", status="running")
        return [a for a in found if command in ("", a["command"])]


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
