"""A cloud server's own firewall by the same page: made open, one for each server, changed as a whole, removed at
terminate, kept by a redeploy; without the plan's word there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import worker
from bridge.customer import firewalls
from bridge.errors import Refused
from bridge.model import Rule
from bridge.staff import contents, findings, mending
from drivers.hetzner import walls
from tests.hcloud.network import Firewall
from tests.hcloud.project import Fault
from tests.test_iso import Site

SSH = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, allow=["firewall"], own_firewall=True)
    yield made
    made.close()


def wall(site: Site) -> Firewall:
    [own] = [w for w in site.cloud.firewalls.values() if w.labels]
    return own


def submit(site: Site, do: str, **form: str) -> str:
    reply = site.shim.send("GET", "/v1/services/1042/pages/firewall?client=7")
    version = re.search(r'name="vmb\[version\]"\s+value="([^"]+)"', reply.json["html"])
    assert version
    form = {"way": "in", "action": "accept", **form, "version": version.group(1), "do": do}
    site.shim.count += 1
    body = {"params": {"userid": 7}, "actor": {"kind": "client", "id": 7, "name": ""}, "form": form}
    reply = site.shim.send("POST", "/v1/services/1042/pages/firewall", body)
    if reply.json["redirect"]:
        return ""
    alert = re.search(r'role="alert">([^<]*)<', reply.json["html"])
    return (alert and alert.group(1)) or str(reply.json["html"])


def short(site: Site) -> list[str]:
    return [f"{r['direction']} {r['protocol']} {r.get('port', '')}".strip() for r in wall(site).rules]


def alone(site: Site, *rules: dict[str, Any]) -> None:
    wall(site).rules = [dict(r) for r in rules]
    site.store.edited(1)


def test_one_that_is_not_applied_is_found_and_put_back(site: Site) -> None:
    def look() -> list[str]:
        site.clock.time += 3700
        findings.sweep_state(server, driver, site.store)
        contents.sweep_contents(server, driver, site.store, site.config, everything=True)
        return [f["kind"] for f in site.store.findings()]

    [(server, driver)] = site.drivers.items()
    [machine] = site.cloud.servers.values()
    assert look() == []
    machine.firewalls.clear()
    assert look() == ["firewall_off"]
    mending.fix(site.store.findings()[0]["id"], "test", site.store, site.config, site.drivers)
    site.run()
    assert look() == []
    assert wall(site).id in machine.firewalls


def test_it_is_made_open_and_changed_by_the_page(site: Site) -> None:
    assert short(site) == ["in tcp 1-65535", "in udp 1-65535", "in icmp", "in gre", "in esp"]
    page = site.see("firewall")
    assert "Input policy" not in page
    assert "Only what a rule for IN names gets in." in page
    assert "the first that matches decides" not in page
    assert "Add Rule" in page
    assert "Dropped packets" not in page
    assert submit(site, "add", service="HTTPS", comment="shop") == ""
    assert wall(site).rules[-1]["port"] == "443"
    assert wall(site).rules[-1]["description"].startswith("shop [vmb-")
    assert submit(site, "add", proto="tcp", dport="8000-8100", source="192.0.2.1, 2001:db8::/48") == ""
    assert wall(site).rules[-1]["source_ips"] == ["192.0.2.1/32", "2001:db8::/48"]
    assert submit(site, "delete", rule="3") == ""
    assert "in gre" not in short(site)
    assert "192.0.2.1, 2001:db8::/48" in site.see("firewall")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "drop", "proto": "tcp"}, "Action: “drop”"),
        ({"proto": ""}, "Protocol: “” is not one of: tcp, udp"),
        ({"proto": "tcp", "dport": "80,443"}, "Destination port: one port or one range"),
        ({"proto": "tcp", "source": "192.0.2.1-192.0.2.9"}, "Source: ranges are not taken here"),
        ({"proto": "tcp", "dest": "192.0.2.1"}, "Destination: “192.0.2.1”: here it is always your server"),
        ({"proto": "tcp", "sport": "1"}, "Source port: it cannot be limited here"),
        ({"proto": "icmp", "icmp": "echo-request"}, "ICMP type"),
    ],
)
def test_what_the_provider_does_not_take_is_named(form: dict[str, str], said: str, site: Site) -> None:
    before = short(site)
    assert said in submit(site, "add", **form)
    assert short(site) == before


def test_what_shuts_ssh_out_is_a_trial(site: Site) -> None:
    alone(site, SSH)
    assert "Nobody would be let in by SSH" in submit(site, "delete", rule="0")
    assert short(site) == ["in tcp 22"]
    assert submit(site, "delete", rule="0", sure="1") == ""
    assert short(site) == []
    site.clock.time += 61
    worker.firewall_changes(site.context, "pve1")
    assert short(site) == ["in tcp 22"]
    assert "taken back" in site.see("firewall")


@pytest.mark.parametrize(
    "kind", ["reset", "lost", "locked", "conflict", "rate_limit_exceeded", "unavailable", "server_error"]
)
def test_one_fault_at_the_write(kind: str, site: Site) -> None:
    alone(site, SSH)
    site.cloud.faults.append(Fault("POST .*/set_rules", kind))
    said = submit(site, "add", service="HTTPS")
    for _ in range(8):
        site.clock.time += 60
        worker.firewall_changes(site.context, "pve1")
    assert short(site) in (["in tcp 22"], ["in tcp 22", "in tcp 443"])
    assert said or len(short(site)) == 2


def test_a_change_by_somebody_else_is_not_overwritten(site: Site) -> None:
    driver, service = site.drivers["pve1"], site.store.service(1)
    old = driver.firewall(service.ref).version
    alone(site, SSH)
    with pytest.raises(Refused, match="Somebody else"):
        make = firewalls.add(Rule("in", "accept", proto="tcp", dport="1"), 50)
        firewalls.change(service, make, firewalls.Asked(old), site.reads(), site.store, driver)
    assert short(site) == ["in tcp 22"]


def test_suspended_and_back_with_the_customers_rules(tmp_path: Path) -> None:
    site = Site(tmp_path, allow=["firewall"], own_firewall=True, suspend="firewall")
    alone(site, SSH)
    for verb in ("suspend", "unsuspend"):
        site.order(verb)
        site.run()
    server = next(iter(site.cloud.servers.values()))
    assert server.firewalls == [wall(site).id]
    assert short(site) == ["in tcp 22"]
    site.close()


def test_a_redeploy_keeps_it_and_terminate_removes_it(site: Site) -> None:
    alone(site, SSH)
    site.order("redeploy")
    site.run(1800)
    server = next(iter(site.cloud.servers.values()))
    assert server.firewalls == [wall(site).id]
    assert short(site) == ["in tcp 22"]
    site.order("terminate")
    site.run(1800)
    assert not site.cloud.servers
    assert not [w for w in site.cloud.firewalls.values() if w.labels]


def test_without_the_plans_word_there_is_none(tmp_path: Path) -> None:
    site = Site(tmp_path, allow=["firewall"])
    assert not [w for w in site.cloud.firewalls.values() if w.labels]
    reply = site.shim.send("GET", "/v1/services/1042/pages/firewall?client=7")
    assert reply.json["title"] == "Access Denied"
    site.close()


def test_the_providers_own_limits_are_told_before_it_is_asked(tmp_path: Path) -> None:
    """50 rules whatever the plan sells, 100 networks in one: the simulated API refuses more, as the real one does."""
    site = Site(tmp_path, allow=["firewall"], own_firewall=True, firewall_rules=200)
    try:
        alone(site, *({**SSH, "port": str(1000 + n)} for n in range(49)))
        assert submit(site, "add", service="SSH") == ""
        assert "50 of 50 rules in use" in submit(site, "add", service="HTTPS")
        assert len(wall(site).rules) == 50
        alone(site, SSH)
        many = ",".join(f"{n:x}::" for n in range(1, 102))
        assert "at most 100 addresses" in submit(site, "add", proto="tcp", dport="1", source=many)
        assert submit(site, "add", proto="tcp", dport="1", source=many.rpartition(",")[0]) == ""
        assert len(wall(site).rules[-1]["source_ips"]) == 100
    finally:
        site.close()


def test_two_tabs_lose_no_rule(site: Site) -> None:
    """The second one saves what it saw before the first: it is told, and nothing of either is lost."""
    alone(site, SSH)
    reply = site.shim.send("GET", "/v1/services/1042/pages/firewall?client=7")
    seen = re.search(r'name="vmb\[version\]"\s+value="([^"]+)"', reply.json["html"])
    assert seen
    assert submit(site, "add", proto="tcp", dport="1") == ""
    site.shim.count += 1
    form = {"do": "add", "way": "in", "action": "accept", "proto": "tcp", "dport": "2", "version": seen.group(1)}
    body = {"params": {"userid": 7}, "actor": {"kind": "client", "id": 7, "name": ""}, "form": form}
    reply = site.shim.send("POST", "/v1/services/1042/pages/firewall", body)
    assert "Somebody else has changed the firewall" in reply.json["html"]
    assert short(site) == ["in tcp 22", "in tcp 1"]


def test_a_change_between_the_look_and_the_write_of_ours_is_kept_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes it at the provider's while ours is on its way: it is looked at once more before each write."""
    alone(site, SSH)
    real, done = walls.read, []

    def read(*args: Any) -> Any:
        seen = real(*args)
        if len(done) < 2:
            done.append(1)
            if len(done) == 1:  # behind the page's own look, before the look of the write
                wall(site).rules.append({**SSH, "port": "9"})
        return seen

    version = site.drivers["pve1"].firewall(site.store.service(1).ref).version
    monkeypatch.setattr(walls, "read", read)
    make = firewalls.add(Rule("in", "accept", proto="tcp", dport="1"), 50)
    asked = firewalls.Asked(version)
    firewalls.change(site.store.service(1), make, asked, site.reads(), site.store, site.drivers["pve1"])
    assert sorted(short(site)) == ["in tcp 1", "in tcp 22", "in tcp 9"]
