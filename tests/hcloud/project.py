"""A Hetzner Cloud project in memory, as awkward as the real one: actions that take time, locked servers, names that
collide, a counter of requests, lost replies. Only the calls that the driver uses; what it sends is checked against
`CALLS`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bridge.clock import Clock
from tests.hcloud import catalogue, images, media, network, screens, traffic
from tests.hcloud.failures import STATUS, Failure, Lost
from tests.hcloud.images import Image, Images
from tests.hcloud.network import Firewall, Ip, Net, Network

TOKEN = "hcloud-sim-token"
CALLS: dict[tuple[str, str], dict[str, Any]] = {  # (method, path) -> {parameter: type}; "!" before a name: required
    ("GET", "/servers"): {"page": str, "per_page": str, "label_selector": str},
    ("POST", "/servers"): {
        "!name": str,
        "!server_type": str,
        "!image": str,
        "location": str,
        "labels": dict,
        "user_data": str,
        "start_after_create": bool,
        "networks": list,
        "firewalls": list,
        "placement_group": int,
        "public_net": dict,
    },
    ("GET", "/servers/{id}"): {},
    ("DELETE", "/servers/{id}"): {},
    ("GET", "/servers/{id}/actions"): {"page": str, "per_page": str, "status": str, "sort": str},
    ("POST", "/servers/{id}/actions/poweron"): {},
    ("POST", "/servers/{id}/actions/poweroff"): {},
    ("PUT", "/servers/{id}"): {"name": str, "labels": dict},
    ("POST", "/servers/{id}/actions/shutdown"): {},
    ("POST", "/servers/{id}/actions/reboot"): {},
    ("GET", "/actions"): {"!id": list},
    ("POST", "/servers/{id}/actions/change_type"): {"!server_type": str, "!upgrade_disk": bool},
    ("POST", "/servers/{id}/actions/change_protection"): {"delete": bool, "rebuild": bool},
    **catalogue.CALLS,
    **images.CALLS,
    **network.CALLS,
    **media.CALLS,
}
CALLS |= screens.CALLS
TYPES = {"cx23": (2, 4.0, 40, "x86"), "cx33": (4, 8.0, 80, "x86"), "cax11": (2, 4.0, 40, "arm")}
SOLD = {"cx23": {"nbg1": True, "fsn1": True}, "cx33": {"nbg1": True}, "cax11": {"fsn1": False}}
IMAGES = {("debian-12", "x86"), ("debian-12", "arm"), ("ubuntu-24.04", "x86")}
RUBBISH = {"page": b"<html>", "page before": b"<html>", "empty": b"", "cut": b'{"server": {"id": 42', "list": b"[]"}


@dataclass
class Fault:
    """What happens to the `nth` call whose `METHOD path` matches: a code, `reset` (before), `lost` (after), a 200 with
    one of RUBBISH in place of the reply, after the work (`page`, `empty`, `cut`, `list`) or before it (`page before`),
    or an action that ends in error: `failing action` (each action of the reply), `failing COMMAND` (those of that
    command), either with ` CODE` behind. An action that failed has changed nothing. `times`: so many calls from the nth
    on."""

    match: str
    kind: str
    nth: int = 1
    seen: int = 0
    times: int = 1
    message: str = ""
    limits: tuple[str, ...] = ()


@dataclass
class Server:
    id: int
    name: str
    kind: str
    image: str
    location: str
    labels: dict[str, str]
    user_data: str
    status: str = "initializing"
    ignores_shutdown: bool = False
    number: int = 0
    disk: int = 40
    content: str = ""  # what is on the disk
    window: str | None = None  # of backups
    networks: list[int] = field(default_factory=list)
    firewalls: list[int] = field(default_factory=list)
    placement_group: int | None = None
    protected: bool = False
    rebuild_protected: bool = False
    volumes: list[int] = field(default_factory=list)
    addresses: list[int] = field(default_factory=list)  # primary IPs
    agent_after: float = 0.0  # when the guest agent answers
    password: str = ""  # as reset
    ingoing: int | None = None  # bytes of this month
    outgoing: int | None = None
    rates: tuple[int, int] = (20_000, 90_000)  # bytes a second in and out while it runs
    told_at: float = 0.0


@dataclass
class Action:
    id: int
    command: str
    server: int
    started: float
    ends: float
    then: str = ""  # the server's status once it has ended
    error: str = ""
    code: str = "action_failed"
    makes: int = 0  # an image
    changes: tuple[str, int] | None = None  # to a type with a disk
    about: int = 0  # the firewall or network
    undo: Callable[[], None] | None = None  # what is not so when it has failed


def _details(e: Failure) -> dict[str, Any]:
    return {"limits": [{"name": n} for n in e.limits]} if e.limits else {}


def system_images() -> dict[int, Image]:
    return {
        n: Image(n, "system", architecture, 5, name, f"{name} standard")
        for n, (name, architecture) in enumerate(sorted(IMAGES), 100)
    }


@dataclass
class Project(Images, Network, media.Media, screens.Screens, catalogue.Catalogue):
    clock: Clock
    limit: int = 3600
    read_only: bool = False
    servers: dict[int, Server] = field(default_factory=dict)
    actions: dict[int, Action] = field(default_factory=dict)
    durations: dict[str, float] = field(
        default_factory=lambda: {
            "create_server": 12.0,
            "start_server": 3.0,
            "stop_server": 2.0,
            "shutdown_server": 1.0,
            "reboot_server": 2.0,
            "delete_server": 2.0,
            "create_image": 20.0,
            "rebuild_server": 15.0,
            "enable_backup": 1.0,
            "disable_backup": 1.0,
            "reset_server_password": 2.0,
            "change_server_type": 30.0,
            "assign_floating_ip": 1.0,
            "unassign_floating_ip": 1.0,
            "apply_firewall": 1.0,
            "remove_firewall": 1.0,
            "set_firewall_rules": 1.0,
            "attach_to_network": 2.0,
            "change_protection": 1.0,
        }
    )
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    on_call: Callable[[str], None] = lambda call: None  # `METHOD path`, before it meets a fault
    ids: int = 4_200_000
    number: int = 0  # of servers ever made
    images: dict[int, Image] = field(default_factory=system_images)
    floating_ips: dict[int, Ip] = field(default_factory=dict)
    primary_ips: dict[int, Ip] = field(default_factory=dict)
    firewalls: dict[int, Firewall] = field(default_factory=lambda: {31: Firewall(31, "web"), 32: Firewall(32, "ssh")})
    networks: dict[int, Net] = field(default_factory=lambda: {41: Net("internal")})
    limits: dict[str, int] = field(
        default_factory=dict
    )  # of the account: the provider's word -> how many; none: no limit
    primary_ips_left: bool = True
    placement_groups: dict[int, str] = field(default_factory=lambda: {51: "spread"})
    retired: dict[tuple[str, str], dict[str, str]] = field(
        default_factory=dict
    )  # (type, location) -> the description's deprecation
    sold: dict[str, dict[str, bool]] = field(default_factory=lambda: {k: dict(v) for k, v in SOLD.items()})
    types: dict[str, tuple[int, float, int, str]] = field(default_factory=lambda: dict(TYPES))
    left: float = 3600.0  # of `limit`
    counted_at: float = 0.0
    refused: int = 0  # calls above the allowance

    def __post_init__(self) -> None:
        super().__init__()

    # -- transport --------------------------------------------------------------------------------
    def handle(
        self, method: str, path: str, query: list[tuple[str, str]], body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        """(status, JSON, headers); raises Lost."""
        self.settle()
        now = self.clock.now()
        self.left, self.counted_at = (
            min(float(self.limit), self.left + (now - self.counted_at) * self.limit / 3600),
            now,
        )
        try:
            if self.left < 1:
                self.refused += 1
                raise Failure("rate_limit_exceeded", f"Limit of '{self.limit}' requests per hour reached.")
            self.left -= 1
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Failure("unauthorized", "unable to authenticate")
            if self.read_only and method != "GET":
                raise Failure("token_readonly", "the token may only read")
            path = path.removeprefix("/v1")
            self.calls.append((method, path, json.loads(body) if body else dict(query)))
            self.on_call(f"{method} {path}")
            fault = self._fault(f"{method} {path}")
            if fault and fault.kind == "reset":
                raise Lost()
            kind = fault.kind if fault else ""
            if fault and kind in STATUS:
                raise Failure(kind, fault.message, fault.limits)
            if kind == "page before":
                return 200, RUBBISH[kind], self._headers()
            reply = self._route(method, path, query, body, kind)
            if kind == "lost":
                raise Lost()
            if kind in RUBBISH:
                return 200, RUBBISH[kind], self._headers()
            return (
                (201 if method == "POST" else 200 if reply else 204),
                json.dumps(reply).encode() if reply else b"",
                self._headers(),
            )
        except Failure as e:
            return (
                STATUS[e.code],
                json.dumps({"error": {"code": e.code, "message": e.message, "details": _details(e)}}).encode(),
                self._headers(),
            )

    def _headers(self) -> dict[str, str]:
        full = self.clock.now() + (self.limit - self.left) * 3600 / self.limit
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(int(self.left)),
            "RateLimit-Reset": str(int(full)),
            "X-Correlation-Id": "c0ffee",
        }

    def _fault(self, call: str) -> Fault | None:
        for fault in self.faults:
            if re.fullmatch(fault.match, call):
                fault.seen += 1
                if fault.nth <= fault.seen < fault.nth + fault.times:
                    return fault
        return None

    def invalid(self, name: str) -> Failure:
        return Failure("invalid_input", f"invalid input in field '{name}'")

    def mutations(self) -> list[tuple[str, str]]:
        return [(m, p) for m, p, _ in self.calls if m != "GET"]

    def _route(self, method: str, path: str, query: list[tuple[str, str]], body: bytes, fault: str) -> dict[str, Any]:
        key = re.sub(r"/\d+", "/{id}", path)
        known = CALLS.get((method, key))
        if known is None:
            raise Failure("not_found", f"no such call: {method} {key}")
        values: dict[str, Any] = json.loads(body) if body else {}
        for name, value in query:
            values[name] = [*values.get(name, []), value] if name == "id" else value
        for name, value in values.items():
            kind = known.get(name) or known.get(f"!{name}")
            if kind is None or not isinstance(value, kind):
                raise Failure("invalid_input", f"invalid input in field '{name}'")
        for name in known:
            if name.startswith("!") and name[1:] not in values:
                raise Failure("invalid_input", f"missing field '{name[1:]}'")
        at = re.search(r"/(\w+)/(\d+)", path)
        thing = getattr(self, at.group(1)).get(int(at.group(2))) if at else None
        if at and thing is None:
            raise Failure("not_found", f"{at.group(1)} with ID '{at.group(2)}' not found")
        handler = getattr(self, f"_{method}_{re.sub(r'/{id}', '_one', key).strip('/').replace('/', '_')}".lower())
        reply: dict[str, Any] = handler(values, thing)
        if fault.startswith("failing "):
            self._fail(reply, *fault.removeprefix("failing ").split(" "))
        return reply

    def _fail(self, reply: dict[str, Any], command: str, code: str = "action_failed") -> None:
        """What these actions were to change stays as it was."""
        told = [reply.get("action"), *reply.get("next_actions", ()), *reply.get("actions", ())]
        for made in (self.actions[a["id"]] for a in told if a):
            if command in ("action", made.command):
                made.error, made.code, made.then, made.changes = "Action failed", code, "", None
                if made.undo:
                    made.undo()

    # -- calls ------------------------------------------------------------------------------------
    def _get_servers(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = list(self.servers.values())
        if "label_selector" in values:
            rows = [s for s in rows if images.selected(s.labels, values["label_selector"])]
        return self._page("servers", rows, values, self.shown)

    def _post_servers(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        kind, location = values["server_type"], values.get("location", "nbg1")
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", values["name"]):
            raise Failure("invalid_input", "invalid input in field 'name'")
        if any(s.name == values["name"] for s in self.servers.values()):
            raise Failure("uniqueness_error", "server name is already used")
        if kind not in self.types or location not in self.sold[kind] or self.ended(self.retired.get((kind, location))):
            raise Failure("invalid_input", "unsupported location for server type")
        image = self._find_image(values["image"], self.types[kind][3])
        if not self.sold[kind][location]:
            raise Failure("resource_unavailable", "error during placement")
        self.allow("server_limit", len(self.servers) + 1)
        if not values.get("public_net"):
            self.allow("primary_ip_limit", len(self.primary_ips) + 2)
        bad = [
            v
            for v in values.get("labels", {}).values()
            if not re.fullmatch(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", v)
        ]
        if bad or len(values.get("user_data", "").encode()) > 32768:
            raise Failure("invalid_input", "invalid input in field 'labels'")
        self.ids += 1
        self.number += 1
        made = self.servers[self.ids] = Server(
            self.ids,
            values["name"],
            kind,
            image.name or "",
            location,
            values.get("labels", {}),
            values.get("user_data", ""),
            number=self.number,
            disk=self.types[kind][2],
            content=image.content or f"fresh {image.name}",
        )
        self._surround(made, values)
        runs = values.get("start_after_create", True)
        action = self.act("create_server", made, "" if runs else "off")
        after = [self.act("start_server", made, "running")] if runs else []
        after += [self.attaching(made, n) for n in made.networks] + [self.applying(made, f) for f in made.firewalls]
        return {
            "server": self.shown(made),
            "action": self.told(action),
            "next_actions": [self.told(a) for a in after],
            "root_password": "one-time-Secret-9",
        }

    def _surround(self, made: Server, values: dict[str, Any]) -> None:
        made.networks, made.placement_group = list(values.get("networks", [])), values.get("placement_group")
        made.firewalls = [f["firewall"] for f in values.get("firewalls", ())]
        unknown = (
            set(made.networks) - set(self.networks)
            or set(made.firewalls) - set(self.firewalls)
            or made.placement_group not in (None, *self.placement_groups)
        )
        zone = self.placed(made.location)["network_zone"]
        if unknown or any(zone not in self.networks[n].zones for n in made.networks):
            del self.servers[made.id]
            if unknown:
                raise Failure("invalid_input", "network, firewall or placement group not found")
            raise Failure("no_subnet_available", "no subnet or IP available in the network zone of the server")
        for family in ("ipv4", "ipv6"):
            given = self.primary_ips.get((values.get("public_net") or {}).get(family, 0))
            if given is None:
                self.ids += 1
                text = f"192.0.2.{made.number}" if family == "ipv4" else f"2001:db8:{made.number:x}::/64"
                given = self.primary_ips[self.ids] = Ip(self.ids, f"primary_ip-{self.ids}", family, text)
            elif given.owner in self.servers or given.type != family:
                raise Failure("invalid_input", "primary IP is assigned")
            given.owner = made.id
            made.addresses.append(given.id)

    def _post_servers_one_actions_change_type(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        kind, upgrade = values["server_type"], values["upgrade_disk"]
        if server.status != "off":
            raise Failure("server_not_stopped", "server must be stopped")
        if (
            kind not in self.types
            or self.retired.get((kind, server.location))
            or self.types[kind][3] != self.types[server.kind][3]
            or self.types[kind][2] < server.disk
            or kind == server.kind
        ):
            raise Failure("invalid_server_type", "server type does not fit")
        if not self.sold[kind].get(server.location):
            raise Failure("resource_unavailable", "error during placement")
        action = self.act("change_server_type", server, "running")
        action.changes = (kind, self.types[kind][2] if upgrade else server.disk)
        return {"action": self.told(action)}

    def _post_servers_one_actions_change_protection(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        if values.get("delete", server.protected) != values.get("rebuild", server.rebuild_protected):
            raise Failure("invalid_input", "delete and rebuild protection must be the same")
        server.protected = server.rebuild_protected = values["delete"]
        return {"action": self.told(self.act("change_protection", server, ""))}

    def _get_servers_one(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        return {"server": self.shown(server)}

    def _put_servers_one(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        name = values.get("name", server.name)
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", name):
            raise Failure("invalid_input", "invalid input in field 'name'")
        if any(s.name == name and s is not server for s in self.servers.values()):
            raise Failure("uniqueness_error", "server name is already used")
        server.name, server.labels = name, values.get("labels", server.labels)
        return {"server": self.shown(server)}

    def _delete_servers_one(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        if server.protected:
            raise Failure("protected", "server deletion is protected")
        before = dict(self.servers), dict(self.primary_ips), dict(self.images)
        owned = {i.id: i.owner for i in (*self.primary_ips.values(), *self.floating_ips.values())}
        del self.servers[server.id]
        self.primary_ips = {k: i for k, i in self.primary_ips.items() if i.owner != server.id or not i.auto_delete}
        for ip in [*self.primary_ips.values(), *self.floating_ips.values()]:
            ip.owner = None if ip.owner == server.id else ip.owner
        self.images = {k: i for k, i in self.images.items() if i.bound_to != server.id}
        action = self.act("delete_server", server, "")

        def undo() -> None:
            self.servers, self.primary_ips, self.images = before
            for ip in (*self.primary_ips.values(), *self.floating_ips.values()):
                ip.owner = owned.get(ip.id, ip.owner)

        action.undo = undo
        return {"action": self.told(action)}

    def _get_servers_one_actions(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        rows = [
            a for a in self.actions.values() if a.server == server.id and values.get("status") in (None, self.state(a))
        ]
        return self._page("actions", sorted(rows, key=lambda a: -a.id), values, self.told)

    def _post_servers_one_actions_poweron(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        return {"action": self.told(self.act("start_server", server, "running"))}

    def _post_servers_one_actions_poweroff(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        return {"action": self.told(self.act("stop_server", server, "off"))}

    def _post_servers_one_actions_shutdown(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        return {"action": self.told(self.act("shutdown_server", server, "" if server.ignores_shutdown else "off"))}

    def _post_servers_one_actions_reboot(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        return {"action": self.told(self.act("reboot_server", server, "running"))}

    def _get_actions(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        return {"actions": [self.told(self.actions[int(i)]) for i in values["id"] if int(i) in self.actions]}

    # -- the project itself -----------------------------------------------------------------------
    def _page(
        self, name: str, rows: list[Any], values: dict[str, Any], told: Callable[[Any], dict[str, Any]] = dict
    ) -> dict[str, Any]:
        page, per = int(values.get("page", 1)), min(50, int(values.get("per_page", 25)))
        more = page * per < len(rows)
        return {
            name: [told(r) for r in rows[(page - 1) * per : page * per]],
            "meta": {
                "pagination": {
                    "page": page,
                    "per_page": per,
                    "previous_page": page - 1 or None,
                    "next_page": page + 1 if more else None,
                    "last_page": -(-len(rows) // per) or 1,
                    "total_entries": len(rows),
                }
            },
        }

    def act(self, command: str, server: Server, then: str) -> Action:
        self.ids += 1
        now = self.clock.now()
        start = max([now, *(a.ends for a in self.actions.values() if a.server == server.id)])
        made = self.actions[self.ids] = Action(self.ids, command, server.id, now, start + self.durations[command], then)
        return made

    def allow(self, limit: str, wanted: int) -> None:
        if wanted > self.limits.get(limit, 1_000_000):
            raise Failure("resource_limit_exceeded", f"{limit.removesuffix('_limit')} limit exceeded", (limit,))

    def ended(self, deprecation: dict[str, str] | None) -> bool:
        """Past the day of its removal: not listed any more, and not sold."""
        after = (deprecation or {}).get("unavailable_after")
        return bool(after) and datetime.fromisoformat(str(after)).timestamp() <= self.clock.now()

    def under_way(self, server: Server, command: str, about: int) -> bool:
        return any(
            a.server == server.id and a.command == command and a.about == about and self.state(a) == "running"
            for a in self.actions.values()
        )

    def settle(self) -> None:
        """What has ended shows in the server."""
        now = self.clock.now()
        hour = max(now // traffic.HOUR * traffic.HOUR, 1e-9)
        for server in self.servers.values():
            if server.told_at < hour:
                traffic.grow(server, now)
        for action in self.actions.values():
            server = self.servers.get(action.server)
            if action.then and server and self.clock.now() >= action.ends:
                server.status, action.then = action.then, ""
            if action.changes and server and not action.error and self.clock.now() >= action.ends:
                (server.kind, server.disk), action.changes = action.changes, None
            image = self.images.get(action.makes)
            if image and image.status == "creating" and self.clock.now() >= action.ends:
                image.status = "unavailable" if action.error else "available"

    def state(self, action: Action) -> str:
        return "running" if self.clock.now() < action.ends else "error" if action.error else "success"

    def told(self, action: Action) -> dict[str, Any]:
        state = self.state(action)
        stamp = datetime.fromtimestamp(action.started, UTC).isoformat(timespec="seconds")
        return {
            "id": action.id,
            "command": action.command,
            "status": state,
            "progress": 100 if state != "running" else 50,
            "started": stamp,
            "finished": None if state == "running" else stamp,
            "resources": [{"id": action.server, "type": "server"}],
            "error": {"code": action.code, "message": action.error} if state == "error" else None,
        }

    def locked(self, server: Server) -> bool:
        return any(a.server == server.id and self.state(a) == "running" for a in self.actions.values())

    def _free(self, server: Server) -> None:
        if self.locked(server):
            raise Failure("locked", "cannot perform operation because server is locked")

    def shown(self, server: Server) -> dict[str, Any]:
        cores, memory, disk, architecture = self.types[server.kind]
        return {
            "id": server.id,
            "name": server.name,
            "status": server.status,
            "locked": self.locked(server),
            "labels": server.labels,
            "server_type": {
                "name": server.kind,
                "cores": cores,
                "memory": memory,
                "disk": disk,
                "architecture": architecture,
            },
            "primary_disk_size": server.disk,
            "backup_window": server.window,
            "ingoing_traffic": server.ingoing,
            "outgoing_traffic": server.outgoing,
            "included_traffic": 21990232555520,
            "location": self.placed(server.location),
            "image": self.pictured(server.image),
            "iso": self.shown_iso(server),
            "volumes": server.volumes,
            "private_net": [
                {"network": n, "ip": f"10.0.0.{i + 2}", "alias_ips": [], "mac_address": "86:00:ff:2a:7d:e1"}
                for i, n in enumerate(server.networks)
                if not self.under_way(server, "attach_to_network", n)
            ],
            "placement_group": {"id": server.placement_group} if server.placement_group else None,
            "protection": {"delete": server.protected, "rebuild": server.rebuild_protected},
            "public_net": self._public_net(server),
        }

    def _public_net(self, server: Server) -> dict[str, Any]:
        net: dict[str, Any] = {
            "ipv4": None,
            "ipv6": None,
            "floating_ips": [f.id for f in self.floating_ips.values() if f.owner == server.id],
            "firewalls": [
                {"id": f, "status": "pending" if self.under_way(server, "apply_firewall", f) else "applied"}
                for f in self.walls(server)
            ],
        }
        for ip in (self.primary_ips[i] for i in server.addresses):
            pointers: Any = (
                ip.ptr.get(ip.ip, "static.example")
                if ip.type == "ipv4"
                else [{"ip": a, "dns_ptr": n} for a, n in ip.ptr.items()]
            )
            net[ip.type] = {"id": ip.id, "ip": ip.ip, "blocked": False, "dns_ptr": pointers}
        return net
