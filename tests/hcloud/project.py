"""A Hetzner Cloud project in memory, as awkward as the real one: actions that take time, locked servers, names that collide, a counter
of requests, lost replies. Only the calls that the driver uses; what it sends is checked against `CALLS`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bridge.clock import Clock
from tests.hcloud import screens

TOKEN = "hcloud-sim-token"
CALLS: dict[tuple[str, str], dict[str, Any]] = {  # (method, path) -> {parameter: type}; "!" before a name: required
    ("GET", "/servers"): {"page": str, "per_page": str, "label_selector": str},
    ("POST", "/servers"): {"!name": str, "!server_type": str, "!image": str, "location": str, "labels": dict, "user_data": str, "start_after_create": bool},
    ("GET", "/servers/{id}"): {},
    ("DELETE", "/servers/{id}"): {},
    ("GET", "/servers/{id}/actions"): {"page": str, "per_page": str, "status": str, "sort": str},
    ("POST", "/servers/{id}/actions/poweron"): {},
    ("POST", "/servers/{id}/actions/poweroff"): {},
    ("POST", "/servers/{id}/actions/shutdown"): {},
    ("POST", "/servers/{id}/actions/reboot"): {},
    ("GET", "/actions"): {"!id": list},
    ("GET", "/server_types"): {"page": str, "per_page": str, "name": str},
    ("GET", "/images"): {"name": str, "architecture": str, "type": str},
}
CALLS |= screens.CALLS
TYPES = {"cx23": (2, 4.0, 40, "x86"), "cx33": (4, 8.0, 80, "x86"), "cax11": (2, 4.0, 40, "arm")}
SOLD = {"cx23": {"nbg1": True, "fsn1": True}, "cx33": {"nbg1": True}, "cax11": {"fsn1": False}}
IMAGES = {("debian-12", "x86"), ("debian-12", "arm"), ("ubuntu-24.04", "x86")}
STATUS = {"unauthorized": 401, "forbidden": 403, "resource_limit_exceeded": 403, "not_found": 404, "uniqueness_error": 409, "conflict": 409,
          "resource_unavailable": 412, "invalid_input": 422, "locked": 423, "rate_limit_exceeded": 429, "server_error": 500, "unavailable": 503}


class Failure(Exception):
    def __init__(self, code: str, message: str = "") -> None:
        self.code, self.message = code, message or code


class Lost(Exception):
    """The connection is cut; `after` tells whether the work was done."""


@dataclass
class Fault:
    """What happens to the `nth` call whose `METHOD path` matches: a code, `reset` (before), `lost` (after), or `failing action`."""

    match: str
    kind: str
    nth: int = 1
    seen: int = 0


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
    ingoing: int | None = None  # bytes of this month
    outgoing: int | None = None


@dataclass
class Action:
    id: int
    command: str
    server: int
    started: float
    ends: float
    then: str = ""  # the server's status once it has ended
    error: str = ""


@dataclass
class Project(screens.Screens):
    clock: Clock
    limit: int = 3600
    servers: dict[int, Server] = field(default_factory=dict)
    actions: dict[int, Action] = field(default_factory=dict)
    durations: dict[str, float] = field(default_factory=lambda: {"create_server": 12.0, "start_server": 3.0, "stop_server": 2.0, "shutdown_server": 1.0,
                                                                  "reboot_server": 2.0, "delete_server": 2.0})
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ids: int = 4_200_000
    left: float = 3600.0  # of `limit`
    counted_at: float = 0.0
    refused: int = 0  # calls above the allowance

    # -- transport --------------------------------------------------------------------------------
    def handle(self, method: str, path: str, query: list[tuple[str, str]], body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """(status, JSON, headers); raises Lost."""
        self.settle()
        now = self.clock.now()
        self.left, self.counted_at = min(float(self.limit), self.left + (now - self.counted_at) * self.limit / 3600), now
        try:
            if self.left < 1:
                self.refused += 1
                raise Failure("rate_limit_exceeded", f"Limit of '{self.limit}' requests per hour reached.")
            self.left -= 1
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Failure("unauthorized", "unable to authenticate")
            path = path.removeprefix("/v1")
            self.calls.append((method, path, json.loads(body) if body else dict(query)))
            fault = self._fault(f"{method} {path}")
            if fault == "reset":
                raise Lost()
            if fault in STATUS:
                raise Failure(fault)
            found = self._route(method, path, query, body, fault)
            if fault == "lost":
                raise Lost()
            return (201 if method == "POST" else 200), json.dumps(found).encode(), self._headers()
        except Failure as e:
            return STATUS[e.code], json.dumps({"error": {"code": e.code, "message": e.message, "details": {}}}).encode(), self._headers()

    def _headers(self) -> dict[str, str]:
        full = self.clock.now() + (self.limit - self.left) * 3600 / self.limit
        return {"RateLimit-Limit": str(self.limit), "RateLimit-Remaining": str(int(self.left)), "RateLimit-Reset": str(int(full)), "X-Correlation-Id": "c0ffee"}

    def _fault(self, call: str) -> str:
        for fault in self.faults:
            if re.fullmatch(fault.match, call):
                fault.seen += 1
                if fault.seen == fault.nth:
                    return fault.kind
        return ""

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
        at = re.search(r"/servers/(\d+)", path)
        server = self.servers.get(int(at.group(1))) if at else None
        if at and server is None:
            raise Failure("not_found", f"server with ID '{at.group(1)}' not found")
        handler = getattr(self, f"_{method}_{re.sub(r'/{id}', '_one', key).strip('/').replace('/', '_')}".lower())
        found: dict[str, Any] = handler(values, server)
        if fault == "failing action":
            made = self.actions[found["action"]["id"]]
            made.error, made.then = "action_failed", ""
        return found

    # -- calls ------------------------------------------------------------------------------------
    def _get_servers(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = list(self.servers.values())
        if "label_selector" in values:
            match = re.fullmatch(r"([\w-]+) in \(([\w,-]+)\)", values["label_selector"])
            if not match:
                raise Failure("invalid_input", "invalid input in field 'label_selector'")
            rows = [s for s in rows if s.labels.get(match.group(1)) in match.group(2).split(",")]
        return self._page("servers", rows, values, self.shown)

    def _post_servers(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        kind, location = values["server_type"], values.get("location", "nbg1")
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", values["name"]):
            raise Failure("invalid_input", "invalid input in field 'name'")
        if any(s.name == values["name"] for s in self.servers.values()):
            raise Failure("uniqueness_error", "server name is already used")
        if kind not in TYPES or (values["image"], TYPES[kind][3]) not in IMAGES or location not in SOLD[kind]:
            raise Failure("invalid_input", "unsupported location for server type")
        if not SOLD[kind][location]:
            raise Failure("resource_unavailable", "error during placement")
        bad = [v for v in values.get("labels", {}).values() if not re.fullmatch(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", v)]
        if bad or len(values.get("user_data", "").encode()) > 32768:
            raise Failure("invalid_input", "invalid input in field 'labels'")
        self.ids += 1
        made = self.servers[self.ids] = Server(self.ids, values["name"], kind, values["image"], location, values.get("labels", {}), values.get("user_data", ""),
                                               number=len(self.servers) + 1)
        runs = values.get("start_after_create", True)
        action = self.act("create_server", made, "" if runs else "off")
        after = [self.act("start_server", made, "running")] if runs else []
        return {"server": self.shown(made), "action": self.told(action), "next_actions": [self.told(a) for a in after], "root_password": "one-time-Secret-9"}

    def _get_servers_one(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        return {"server": self.shown(server)}

    def _delete_servers_one(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        del self.servers[server.id]
        return {"action": self.told(self.act("delete_server", server, ""))}

    def _get_servers_one_actions(self, values: dict[str, Any], server: Server) -> dict[str, Any]:
        rows = [a for a in self.actions.values() if a.server == server.id and values.get("status") in (None, self.state(a))]
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

    def _get_server_types(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = [{"id": n, "name": name, "cores": c, "memory": m, "disk": d, "architecture": a,
                 "locations": [{"id": i, "name": where, "available": there, "deprecation": None} for i, (where, there) in enumerate(SOLD[name].items())]}
                for n, (name, (c, m, d, a)) in enumerate(TYPES.items()) if values.get("name") in (None, name)]
        return self._page("server_types", rows, values)

    def _get_images(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = [{"id": i, "name": n, "architecture": a, "type": "system", "status": "available"} for i, (n, a) in enumerate(sorted(IMAGES))
                if values.get("name") in (None, n) and values.get("architecture") in (None, a)]
        return self._page("images", rows, values)

    # -- the project itself -----------------------------------------------------------------------
    def _page(self, name: str, rows: list[Any], values: dict[str, Any], told: Callable[[Any], dict[str, Any]] = dict) -> dict[str, Any]:
        page, per = int(values.get("page", 1)), min(50, int(values.get("per_page", 25)))
        more = page * per < len(rows)
        return {name: [told(r) for r in rows[(page - 1) * per:page * per]], "meta": {"pagination": {
            "page": page, "per_page": per, "previous_page": page - 1 or None, "next_page": page + 1 if more else None,
            "last_page": -(-len(rows) // per) or 1, "total_entries": len(rows)}}}

    def act(self, command: str, server: Server, then: str) -> Action:
        self.ids += 1
        now = self.clock.now()
        start = max([now, *(a.ends for a in self.actions.values() if a.server == server.id)])
        made = self.actions[self.ids] = Action(self.ids, command, server.id, now, start + self.durations[command], then)
        return made

    def settle(self) -> None:
        """What has ended shows in the server."""
        for action in self.actions.values():
            server = self.servers.get(action.server)
            if action.then and server and self.clock.now() >= action.ends:
                server.status, action.then = action.then, ""

    def state(self, action: Action) -> str:
        return "running" if self.clock.now() < action.ends else "error" if action.error else "success"

    def told(self, action: Action) -> dict[str, Any]:
        state = self.state(action)
        stamp = datetime.fromtimestamp(action.started, UTC).isoformat(timespec="seconds")
        return {"id": action.id, "command": action.command, "status": state, "progress": 100 if state != "running" else 50, "started": stamp,
                "finished": None if state == "running" else stamp, "resources": [{"id": action.server, "type": "server"}],
                "error": {"code": action.error, "message": "Action failed"} if state == "error" else None}

    def locked(self, server: Server) -> bool:
        return any(a.server == server.id and self.state(a) == "running" for a in self.actions.values())

    def _free(self, server: Server) -> None:
        if self.locked(server):
            raise Failure("locked", "cannot perform operation because server is locked")

    def shown(self, server: Server) -> dict[str, Any]:
        cores, memory, disk, architecture = TYPES[server.kind]
        return {"id": server.id, "name": server.name, "status": server.status, "locked": self.locked(server), "labels": server.labels,
                "server_type": {"name": server.kind, "cores": cores, "memory": memory, "disk": disk, "architecture": architecture},
                "primary_disk_size": disk, "ingoing_traffic": server.ingoing, "outgoing_traffic": server.outgoing, "included_traffic": 21990232555520,
                "location": self.placed(server.location), "image": self.pictured(server.image),
                "public_net": {"ipv4": {"id": 1, "ip": f"192.0.2.{server.number}", "blocked": False, "dns_ptr": "x"},
                               "ipv6": {"id": 2, "ip": f"2001:db8:{server.number:x}::/64", "blocked": False, "dns_ptr": []}, "floating_ips": []}}
