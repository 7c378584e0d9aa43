"""Suspension by firewall: closed means seen closed; what cannot be closed is switched off; unsuspend puts back exactly
what was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from bridge.metering import status
from bridge.model import State
from bridge.staff import doctor, findings
from drivers.hetzner.doctor import matches
from tests.hcloud.network import Firewall
from tests.hcloud.project import Fault
from tests.test_hetzner import Cloud, one
from tests.test_hetzner_life import Shop
from tests.test_signature import Shim

WEB = [{"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"]}]


def shop(path: Path, **plan: Any) -> Shop:
    made = Shop(path, suspend="firewall", **plan)
    made.cloud.firewalls = {i: Firewall(i, n, WEB) for i, n in enumerate(("web", "ssh", "a", "b", "c", "d"), 31)}
    made.order("create")
    made.run()
    return made


def last(world: Cloud) -> Any:
    return world.store.operations_of(1)[0]


def log(world: Cloud) -> str:
    return str(world.store.steps(last(world).id))


def tab(world: Cloud) -> str:
    shim = Shim(create_app(world.context).test_client(), world.clock)
    return str(shim.send("GET", "/v1/services/1042/pages/admin?admin=1").get_json()["html"])


HINDRANCES: dict[str, tuple[dict[str, Any], Any, str]] = {
    "five of the plan": ({"firewalls": ["web", "ssh", "a", "b", "c"]}, lambda w: None, "as many as a server can have"),
    "five by hand": ({}, lambda w: one(w).firewalls.extend([31, 32, 33, 34, 35]), "as many as a server can have"),
    "by label": (
        {"firewalls": ["web"], "labels": {"team": "x"}},
        lambda w: setattr(w.cloud.firewalls[32], "selector", "team=x"),
        "applied by a label",
    ),
    "by our label": ({}, lambda w: setattr(w.cloud.firewalls[32], "selector", "vmbridge"), "applied by a label"),
    "rules changed": (
        {"firewalls": ["web"]},
        lambda w: w.cloud.firewalls.update({40: Firewall(40, "vmbridge-suspended", WEB)}),
        "changed its rules",
    ),
    "refused": (
        {"firewalls": ["web"]},
        lambda w: w.cloud.faults.append(Fault("POST .*apply_to_resources", "resource_limit_exceeded", times=9)),
        "resource_limit_exceeded",
    ),
    "fails": (
        {"firewalls": ["web"]},
        lambda w: w.cloud.faults.append(Fault("POST .*apply_to_resources", "failing action", times=9)),
        "action_failed",
    ),
}


@pytest.mark.parametrize("how", list(HINDRANCES))
def test_what_cannot_be_closed_is_switched_off_and_comes_back_as_it_was(tmp_path: Path, how: str) -> None:
    plan, hinder, why = HINDRANCES[how]
    world = shop(tmp_path, **plan)
    hinder(world)
    before = list(one(world).firewalls)
    world.order("suspend")
    world.run()
    assert last(world).state is State.DONE
    assert one(world).status == "off"
    assert world.cloud.closed(one(world))
    assert why in log(world)
    assert "switched off instead" in log(world)
    assert "by switching it off" in tab(world)
    world.order("suspend")  # again
    world.run()
    assert one(world).status == "off"
    world.order("unsuspend")
    world.run()
    assert last(world).state is State.DONE
    assert one(world).status == "running"
    assert sorted(one(world).firewalls) == sorted(before)
    assert world.store.service(1).birth.closed is None
    assert not world.store.service(1).birth.off_instead
    assert "by switching it off" not in tab(world)
    world.close()


def test_closed_only_when_the_firewall_holds(tmp_path: Path) -> None:
    world = shop(tmp_path, firewalls=["web", "ssh"], networks=["internal"])
    world.cloud.durations["apply_firewall"] = 20.0
    world.order("suspend")
    for _ in range(400):
        if last(world).state is State.DONE:
            break
        world.engine.tick() or setattr(world.clock, "time", world.clock.time + 1)
        world.cloud.settle()
        assert one(world).firewalls  # there is no moment without one
    assert last(world).state is State.DONE
    assert one(world).status == "running"
    assert world.cloud.closed(one(world))
    assert "private networks are not covered (internal)" in log(world)
    assert "do not cover them" in tab(world)
    world.order("unsuspend")
    world.run()
    assert sorted(one(world).firewalls) == [31, 32]
    world.close()


def test_a_firewall_that_is_gone_meanwhile_does_not_hold_up_the_unsuspend(tmp_path: Path) -> None:
    world = shop(tmp_path, firewalls=["web"])
    one(world).firewalls.append(33)
    world.order("suspend")
    world.run()
    del world.cloud.firewalls[33]
    world.order("unsuspend")
    world.run()
    assert last(world).state is State.DONE
    assert one(world).firewalls == [31]
    assert one(world).status == "running"
    world.close()


def test_the_sweep_finds_one_that_was_switched_off_and_runs_again(tmp_path: Path) -> None:
    world = shop(tmp_path, firewalls=["web", "ssh", "a", "b", "c"])
    world.order("suspend")
    world.run()
    one(world).status = "running"
    world.clock.time += 4000
    status.refresh("pve1", world.drivers["pve1"], world.store)
    findings.sweep_state("pve1", world.drivers["pve1"], world.store, now=True)
    assert [f["kind"] for f in world.store.findings(1)] == ["suspended_but_running"]
    world.close()


def test_check_foretells_it(tmp_path: Path) -> None:
    def told(**plan: Any) -> str:
        world = Shop(tmp_path / str(len(list(tmp_path.iterdir()))), **plan)
        world.cloud.firewalls = {i: Firewall(i, n) for i, n in enumerate(("web", "ssh", "a", "b", "c"), 31)}
        world.cloud.firewalls[35].selector = "team in (x,y),!old"
        warnings = [f"{f.subject}: {f.text} {f.fix}" for f in doctor.check(world.context) if f.level == "warning"]
        world.close()
        return "\n".join(warnings)

    assert "switched off instead" in told(suspend="firewall", firewalls=["web", "ssh", "a", "b", "c"])
    assert "'team in (x,y),!old'" in told(suspend="firewall", labels={"team": "y"})
    assert told(suspend="firewall", labels={"team": "z"}) == ""
    assert told(labels={"team": "y"}) == ""
    assert told(networks=["internal"]) == ""  # said, and no fault of the plan
    assert "still reached there" in told(networks=["internal"], suspend="firewall")


@pytest.mark.parametrize(
    ("selector", "takes"),
    [
        ("a", True),
        ("!a", False),
        ("a=1", True),
        ("a==2", False),
        ("a!=2", True),
        ("b!=2", True),
        ("a in (1,2)", True),
        ("a notin (1,2)", False),
        ("a=1,b", False),
        ("vmbridge", True),
        ("vmbridge=some-uuid", True),
        ("!vmbridge", False),
    ],
)
def test_label_selectors(selector: str, takes: bool) -> None:
    assert matches(selector, {"a": "1", "vmbridge": "any"}) is takes
