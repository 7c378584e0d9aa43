"""A project's floating and primary IPs, firewalls, networks and placement groups."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from tests.hcloud.failures import Failure
from tests.hcloud.images import selected

if TYPE_CHECKING:
    from tests.hcloud.project import Action, Project, Server

LIST = {"name": str, "label_selector": str, "page": str, "per_page": str}
CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/floating_ips"): LIST,
    ("POST", "/floating_ips"): {"!type": str, "server": int, "name": str, "description": str, "labels": dict},
    ("GET", "/floating_ips/{id}"): {},
    ("DELETE", "/floating_ips/{id}"): {},
    ("POST", "/floating_ips/{id}/actions/assign"): {"!server": int},
    ("POST", "/floating_ips/{id}/actions/unassign"): {},
    ("GET", "/primary_ips"): LIST,
    ("PUT", "/primary_ips/{id}"): {"name": str, "labels": dict, "auto_delete": bool},
    ("GET", "/primary_ips/{id}"): {},
    ("DELETE", "/primary_ips/{id}"): {},
    ("GET", "/networks"): LIST,
    ("POST", "/servers/{id}/actions/attach_to_network"): {"!network": int},
    ("GET", "/placement_groups"): LIST,
    ("GET", "/firewalls"): LIST,
    ("POST", "/firewalls"): {"!name": str, "rules": list, "labels": dict},
    ("DELETE", "/firewalls/{id}"): {},
    ("POST", "/firewalls/{id}/actions/set_rules"): {"!rules": list},
    ("POST", "/firewalls/{id}/actions/apply_to_resources"): {"!apply_to": list},
    ("POST", "/firewalls/{id}/actions/remove_from_resources"): {"!remove_from": list},
}


@dataclass
class Ip:
    """Floating or primary; `owner` is the server it is assigned to."""

    id: int
    name: str
    type: str
    ip: str
    owner: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    auto_delete: bool = True
    ptr: dict[str, str] = field(default_factory=dict)
    created: float = 0.0
    protected: bool = False


@dataclass
class Firewall:
    """`selector`: it is applied to every server with these labels, and cannot be taken from a single one."""

    id: int
    name: str
    rules: list[dict[str, Any]] = field(default_factory=list)
    selector: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass
class Net:
    """`zones`: where it has subnets with room."""

    name: str
    zones: tuple[str, ...] = ("eu-central",)
    range: str = "10.0.0.0/16"


WALLS = 5  # firewalls that a server can have


class Network:
    """Mixed into Project."""

    def _new_ip(self: Project, family: str, owner: int | None, name: str, labels: dict[str, str]) -> Ip:
        self.ids += 1
        self.number += 1
        text = f"198.51.100.{self.number}" if family == "ipv4" else f"2001:db8:f{self.number:x}::/64"
        return Ip(self.ids, name or f"ip-{self.ids}", family, text, owner, labels, created=self.clock.now())

    def _told_floating(self, ip: Ip) -> dict[str, Any]:
        return {
            "id": ip.id,
            "name": ip.name,
            "type": ip.type,
            "ip": ip.ip,
            "server": ip.owner,
            "labels": ip.labels,
            "blocked": False,
            "created": datetime.fromtimestamp(ip.created, UTC).isoformat(timespec="seconds"),
            "dns_ptr": [{"ip": a, "dns_ptr": n} for a, n in ip.ptr.items()],
            "protection": {"delete": ip.protected},
        }

    def _told_primary(self, ip: Ip) -> dict[str, Any]:
        return {
            "id": ip.id,
            "name": ip.name,
            "type": ip.type,
            "ip": ip.ip,
            "assignee_id": ip.owner,
            "labels": ip.labels,
            "auto_delete": ip.auto_delete,
            "protection": {"delete": ip.protected},
            "created": datetime.fromtimestamp(ip.created, UTC).isoformat(timespec="seconds"),
            "assignee_type": "server" if ip.owner else "unassigned",
        }

    def _chosen(self, rows: list[Any], values: dict[str, Any]) -> list[Any]:
        rows = [r for r in rows if values.get("name") in (None, r.name)]
        return [r for r in rows if "label_selector" not in values or selected(r.labels, values["label_selector"])]

    def _get_floating_ips(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        return self._page(
            "floating_ips", self._chosen(list(self.floating_ips.values()), values), values, self._told_floating
        )

    def _post_floating_ips(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        if any(f.name == values.get("name") for f in self.floating_ips.values()):
            raise Failure("uniqueness_error", "name is already used")
        server = self.servers.get(values.get("server", 0))
        if "server" in values and server is None:
            raise Failure("invalid_input", "server not found")
        self.allow("floating_ip_limit", len(self.floating_ips) + 1)
        made = self._new_ip(
            values["type"], server.id if server else None, values.get("name", ""), values.get("labels", {})
        )
        self.floating_ips[made.id] = made
        action = self.act("assign_floating_ip", server, "") if server else None
        if action:
            action.undo = lambda: setattr(made, "owner", None)
        return {"floating_ip": self._told_floating(made), "action": self.told(action) if action else None}

    def _get_floating_ips_one(self: Project, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        return {"floating_ip": self._told_floating(ip)}

    def _delete_floating_ips_one(self: Project, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        if ip.protected:
            raise Failure("protected", "floating IP deletion is protected")
        if ip.owner in self.servers:
            raise Failure("must_be_unassigned", "floating IP is assigned")
        del self.floating_ips[ip.id]
        return {}

    def _post_floating_ips_one_actions_assign(self: Project, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        if values["server"] not in self.servers:
            raise Failure("invalid_input", "server not found")
        if ip.owner is not None:
            raise Failure("floating_ip_assigned", "floating IP is already assigned")
        ip.owner = values["server"]
        action = self.act("assign_floating_ip", self.servers[ip.owner], "")
        action.undo = lambda: setattr(ip, "owner", None)
        return {"action": self.told(action)}

    def _post_floating_ips_one_actions_unassign(self: Project, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        if ip.owner is None:
            raise Failure("invalid_input", "floating IP is not assigned")
        server, ip.owner = self.servers[ip.owner], None
        action = self.act("unassign_floating_ip", server, "")
        action.undo = lambda: setattr(ip, "owner", server.id)
        return {"action": self.told(action)}

    def _get_primary_ips(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        return self._page(
            "primary_ips", self._chosen(list(self.primary_ips.values()), values), values, self._told_primary
        )

    def _get_primary_ips_one(self: Project, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        return {"primary_ip": self._told_primary(ip)}

    def _put_primary_ips_one(self: Project, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        if any(o.name == values.get("name") and o is not ip for o in self.primary_ips.values()):
            raise Failure("uniqueness_error", "name is already used")
        if ip.protected and values.get("auto_delete"):
            raise Failure("protected", "primary IP deletion is protected")
        ip.name, ip.labels, ip.auto_delete = (
            values.get("name", ip.name),
            values.get("labels", ip.labels),
            values.get("auto_delete", ip.auto_delete),
        )
        return {"primary_ip": self._told_primary(ip)}

    def _delete_primary_ips_one(self: Project, values: dict[str, Any], ip: Ip) -> dict[str, Any]:
        if ip.protected:
            raise Failure("protected", "primary IP deletion is protected")
        if ip.owner in self.servers:
            raise Failure("must_be_unassigned", "primary IP is assigned")
        del self.primary_ips[ip.id]
        return {}

    def _plain(self: Project, what: str, names: dict[int, str], values: dict[str, Any]) -> dict[str, Any]:
        return self._page(
            what, [{"id": i, "name": n} for i, n in names.items() if values.get("name") in (None, n)], values
        )

    def _get_networks(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = [
            {
                "id": i,
                "name": n.name,
                "ip_range": n.range,
                "subnets": [
                    {"type": "cloud", "ip_range": f"10.0.{j}.0/24", "network_zone": zone, "gateway": "10.0.0.1"}
                    for j, zone in enumerate(n.zones)
                ],
                "protection": {"delete": False},
            }
            for i, n in self.networks.items()
            if values.get("name") in (None, n.name)
        ]
        return self._page("networks", rows, values)

    def _post_servers_one_actions_attach_to_network(
        self: Project, values: dict[str, Any], server: Server
    ) -> dict[str, Any]:
        self._free(server)
        if values["network"] not in self.networks:
            raise Failure("not_found", "network not found")
        if values["network"] in server.networks:
            raise Failure("server_already_attached", "server is already attached")
        if self.placed(server.location)["network_zone"] not in self.networks[values["network"]].zones:
            raise Failure("no_subnet_available", "no subnet or IP available")
        server.networks.append(values["network"])
        return {"action": self.told(self.attaching(server, values["network"]))}

    def attaching(self: Project, server: Server, network: int) -> Action:
        action = self.act("attach_to_network", server, "")
        action.about, action.undo = network, lambda: server.networks.remove(network)
        return action

    def _get_placement_groups(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        return self._plain("placement_groups", self.placement_groups, values)

    def _get_firewalls(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = [
            {
                "id": f.id,
                "name": f.name,
                "rules": f.rules,
                "labels": f.labels,
                "applied_to": (
                    [{"type": "server", "server": {"id": s.id}} for s in self.servers.values() if f.id in s.firewalls]
                    + ([self._told_selector(f)] if f.selector else [])
                ),
            }
            for f in self._chosen(list(self.firewalls.values()), values)
        ]
        return self._page("firewalls", rows, values)

    def _told_selector(self: Project, wall: Firewall) -> dict[str, Any]:
        servers = [s for s in self.servers.values() if selected(s.labels, wall.selector)]
        return {
            "type": "label_selector",
            "label_selector": {"selector": wall.selector},
            "applied_to_resources": [{"type": "server", "server": {"id": s.id}} for s in servers],
        }

    def walls(self: Project, server: Server) -> list[int]:
        """All that are applied to a server, by itself or by its labels."""
        by_label = [
            f.id
            for f in self.firewalls.values()
            if f.selector and f.id not in server.firewalls and selected(server.labels, f.selector)
        ]
        return [*server.firewalls, *by_label]

    def applying(self: Project, server: Server, wall: int) -> Action:
        action = self.act("apply_firewall", server, "")
        action.about, action.undo = wall, lambda: server.firewalls.remove(wall)
        return action

    def closed(self: Project, server: Server) -> bool:
        """Whether nobody reaches the server by its public addresses: off, or walls without a single way in. Those that
        are being applied do not hold yet; those that are being removed still do."""
        if server.status in ("off", "initializing"):
            return True
        walls = [self.firewalls[f] for f in self.walls(server) if not self.under_way(server, "apply_firewall", f)]
        return bool(walls) and not any(r["direction"] == "in" for w in walls for r in w.rules)

    def _post_firewalls(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        if any(f.name == values["name"] for f in self.firewalls.values()):
            raise Failure("uniqueness_error", "name is already used")
        rules = self._rules(values.get("rules", []))
        self.ids += 1
        self.firewalls[self.ids] = Firewall(self.ids, values["name"], rules, labels=values.get("labels", {}))
        return {"firewall": {"id": self.ids, "name": values["name"]}, "actions": []}

    def _rules(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As the API takes them: each end in its direction alone, networks without host bits, ports for TCP and UDP."""
        if len(rows) > 50:
            raise Failure("invalid_input", "too many rules")
        for rule in rows:
            way, proto = rule.get("direction"), rule.get("protocol")
            known = {"direction", "protocol", "source_ips", "destination_ips", "port", "description"}
            ips = {"in": rule.get("source_ips"), "out": rule.get("destination_ips")}.get(str(way)) or []
            other = {"in": rule.get("destination_ips"), "out": rule.get("source_ips")}.get(str(way))
            port = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", str(rule.get("port", "")))
            span = (int(port.group(1)), int(port.group(2) or port.group(1))) if port else (0, 0)
            good = not set(rule) - known and proto in ("tcp", "udp", "icmp", "esp", "gre") and ips and not other
            good = good and len(ips) <= 100 and len(rule.get("description") or "") <= 255
            good = good and (("port" in rule) == (proto in ("tcp", "udp")))
            good = good and ("port" not in rule or 1 <= span[0] <= span[1] <= 65535)
            try:
                networks = [ip_network(i) for i in ips]
            except ValueError:
                good = False
            if not good or any("/" not in i for i in ips):
                raise Failure("invalid_input", f"invalid rule {rule}")
            rule[{"in": "source_ips", "out": "destination_ips"}[str(way)]] = [str(n) for n in networks]
        return rows

    def _post_firewalls_one_actions_set_rules(self: Project, values: dict[str, Any], wall: Firewall) -> dict[str, Any]:
        wall.rules = self._rules(values["rules"])
        on = [s for s in self.servers.values() if wall.id in self.walls(s)]
        return {"actions": [self.told(self.act("set_firewall_rules", s, "")) for s in on]}

    def _delete_firewalls_one(self: Project, values: dict[str, Any], wall: Firewall) -> dict[str, Any]:
        if any(wall.id in self.walls(s) for s in self.servers.values()):
            raise Failure("resource_in_use", "firewall is still in use")
        del self.firewalls[wall.id]
        return {}

    def _resources(self: Project, rows: list[dict[str, Any]]) -> list[Server]:
        try:
            return [self.servers[r["server"]["id"]] for r in rows if r["type"] == "server"]
        except (KeyError, TypeError):
            raise Failure("invalid_input", "server not found") from None

    def _post_firewalls_one_actions_apply_to_resources(
        self: Project, values: dict[str, Any], wall: Firewall
    ) -> dict[str, Any]:
        resources = self._resources(values["apply_to"])
        for server in resources:
            if wall.id in self.walls(server):
                raise Failure("firewall_already_applied", "firewall is already applied to the resource")
            if len(self.walls(server)) >= WALLS:
                raise Failure("resource_limit_exceeded", "firewall limit exceeded", ("firewall_limit",))
        for server in resources:
            server.firewalls = [*server.firewalls, wall.id]
        return {"actions": [self.told(self.applying(s, wall.id)) for s in resources]}

    def _post_firewalls_one_actions_remove_from_resources(
        self: Project, values: dict[str, Any], wall: Firewall
    ) -> dict[str, Any]:
        resources = self._resources(values["remove_from"])
        for server in resources:
            if wall.selector and wall.id not in server.firewalls and wall.id in self.walls(server):
                raise Failure("firewall_managed_by_label_selector", "firewall is applied via a label selector")
            if wall.id not in server.firewalls:
                raise Failure("firewall_resource_not_found", "firewall is not applied to the resource")
        actions = []
        for server in resources:
            server.firewalls = [f for f in server.firewalls if f != wall.id]
            action = self.act("remove_firewall", server, "")
            action.undo = lambda server=server: server.firewalls.append(wall.id)
            actions.append(action)
        return {"actions": [self.told(a) for a in actions]}
