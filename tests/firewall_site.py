"""A running server on a simulated cluster whose product has the firewall's page, and the page over HTTP, in process
on the held clock."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from bridge import worker
from bridge.app import create_app
from bridge.model import Rule
from drivers.proxmox import rules
from tests.configs import raw_config
from tests.pve.cluster import Vm
from tests.test_iso import words
from tests.test_signature import Shim
from tests.world import World


class Site(World):
    def __init__(self, path: Path, **plan: Any) -> None:
        raw = raw_config()
        raw["plans"]["kvm-s"]["allow"].append("firewall")
        raw["plans"]["kvm-s"] |= plan
        super().__init__(path, plans=raw["plans"], web={"edits_per_hour": 1000})
        self.order("create")
        self.run()
        self.shim = self.process()
        self.html = ""
        self.cluster.calls.clear()

    def process(self) -> Shim:
        """Another process of the bridge on the same store."""
        return Shim(create_app(self.context).test_client(), self.clock)

    @property
    def vm(self) -> Vm:
        return self.cluster.vms[int(self.store.service(1).vm_id or 20000)]

    def rules(self) -> list[Rule]:
        """As the file has them."""
        rows = self.cluster.handlers.loaded(self.vm)
        return [rules.rule_of(r) for r in rows]

    def lines(self) -> list[str]:
        """In short: `in accept SSH`, `out drop tcp 25 off`."""
        return [line_of(r) for r in self.rules()]

    def see(self, shim: Shim | None = None, service: int = 1042) -> str:
        reply = (shim or self.shim).send("GET", f"/v1/services/{service}/pages/firewall?client=7")
        assert reply.status_code == 200, reply.text
        self.html = reply.json["html"]
        return words(self.html)

    def version(self) -> str:
        """Of the page that was seen last; one is looked at when none was."""
        if 'name="vmb[version]"' not in re.sub(r"\s+", " ", self.html):
            self.see()
        field = re.search(r'name="vmb\[version\]"\s+value="([^"]+)"', self.html)
        return field.group(1) if field else ""

    def until(self) -> str:
        """Which trial the page that was seen last shows; empty when it shows none."""
        field = re.search(r'name="vmb\[until\]" value="([^"]+)"', self.html)
        return field.group(1) if field else ""

    def form(self, do: str, shim: Shim | None = None, kind: str = "client", **form: str) -> Any:
        self.shim.count += 1
        return (shim or self.shim).send(
            "POST",
            "/v1/services/1042/pages/firewall",
            {"params": {"userid": 7}, "actor": {"kind": kind, "id": 7, "name": ""}, "form": {"do": do, **form}},
        )

    def submit(self, do: str, shim: Shim | None = None, fresh: bool = True, **form: str) -> str:
        """As a customer who has just looked; the page's message, empty when it went well."""
        if fresh and "version" not in form:
            self.html = ""
            form["version"] = self.version()
        if do in ("keep", "back") and "until" not in form:
            form["until"] = self.until()
        reply = self.form(do, shim, **form)
        assert reply.status_code == 200, reply.text
        if reply.json["redirect"]:
            assert reply.json["redirect"] == "firewall"
            return ""
        self.html = reply.json["html"]
        alert = re.search(r'role="alert">([^<]*)<', self.html)
        return html.unescape(alert.group(1)) if alert else words(self.html)

    def add(self, **fields: str) -> str:
        return self.submit("add", **{"way": "in", "action": "accept", **fields})

    def work(self, seconds: float = 0.0) -> None:
        """The worker's jobs, after some time."""
        self.clock.time += seconds
        for name in self.drivers:
            worker.firewall_changes(self.context, name)
            worker.firewall_switches(self.context, name)

    def down(self, ok: int) -> None:
        """The host as the worker's health row has it."""
        self.store.set_maintenance("pve1", "")  # it has a row
        self.store.change("UPDATE server_health SET ok = ?", ok)

    def phase(self) -> str:
        row = self.store.firewall_change(1)
        return str(row["phase"]) if row else ""

    def as_staff(self, method: str, path: str, **values: str) -> None:
        """Somebody in the hypervisor's own pages."""
        head = {"Authorization": f"PVEAPIToken={self.cluster.token}={self.cluster.secret}"}
        path = f"/api2/json/nodes/{self.vm.node}/qemu/20000/firewall/{path}"
        reply = self.cluster.handle(method, path, values, head)
        assert reply.status == 200, reply.reason + str(reply.body)


def line_of(rule: Rule) -> str:
    fields = (
        rule.way,
        rule.action,
        rule.service,
        rule.proto,
        rule.source,
        rule.sport,
        rule.dest,
        rule.dport,
        rule.icmp,
    )
    return " ".join([*(f for f in fields if f), *(["off"] if not rule.on else [])])
