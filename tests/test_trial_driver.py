"""A driver that nobody knows: found by its folder alone, it sells an order from WHMCS's signed call to the end, and its
pages are there. What it does not deliver is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import drivers
from bridge import config
from bridge.app import create_app
from bridge.errors import ConfigError, Refused
from bridge.metering import status
from bridge.model import LIMITS
from drivers import folder
from drivers.dns import contract
from tests.test_packages import KEY
from tests.test_signature import Shim
from tests.trial import FOLDER, Trial, trial_drivers

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def trial_driver() -> Iterator[None]:
    with trial_drivers():
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Trial]:
    made = Trial(tmp_path, rate_mbit=200, pools=["public-v4"])
    yield made
    made.close()


def shim(world: Trial) -> Shim:
    """One for each installation: it counts its nonces."""
    known: Shim = world.__dict__.setdefault("shim", Shim(create_app(world.context).test_client(), world.clock))
    return known


def page(world: Trial, name: str = "overview") -> Any:
    return shim(world).send("GET", f"/v1/services/1/pages/{name}?client=7&theme=bs4")


def ordered(world: Trial, verb: str, **params: Any) -> None:
    reply = shim(world).order(verb, **params)
    assert reply.status_code == 202, (verb, reply.get_json())
    world.run()
    newest = world.store.operations_of(1)[0]
    assert newest.state == "done", (verb, newest.error_text, newest.next_action)


def test_an_order_from_the_signed_call_to_the_end(world: Trial) -> None:
    ordered(world, "create")
    [machine] = world.machines.values()
    assert (machine["status"], machine["cores"], machine["ram_mib"]) == ("running", 2, 2048)
    assert (machine["rate_mbit"], machine["addresses"]) == (200, ["203.0.113.10"])
    assert len(world.whmcs.mails()) == 1
    world.clock.time += 60
    assert status.refresh("pve1", world.drivers["pve1"], world.store)
    shown = page(world).get_data(as_text=True)
    assert "203.0.113.10" in shown
    assert "Debian 12" in shown
    assert "Access Denied" not in shown
    for verb, then in (("stop", "stopped"), ("start", "running"), ("reboot", "running"), ("hard_stop", "stopped")):
        ordered(world, verb)
        assert machine["status"] == then, verb
    ordered(world, "suspend")
    assert machine["status"] == "stopped"
    assert not machine["autostart"]
    ordered(world, "unsuspend")
    ordered(world, "change_package", configoptions={"CPU": "4", "Network": "500", "Disk": "40"})
    assert (machine["cores"], machine["rate_mbit"], machine["disk_gib"]) == (4, 500, 40)
    ordered(world, "terminate")
    assert world.machines == {}
    assert world.store.addresses_of(1) == []


def test_what_it_cannot_has_no_page(world: Trial) -> None:
    ordered(world, "create")
    assert "Access Denied" in page(world, "snapshots").get_data(as_text=True)
    assert "pages/snapshots" not in page(world).get_data(as_text=True)


PLANS: list[tuple[str, Any]] = [
    ("rate_mbit", 200),
    ("pools", ["public-v4"]),
    ("dhcp4", True),
    ("dhcp6", True),
    ("extra_ipv4", 1),
    ("extra_ipv6", 1),
    ("additional_disk_gib", 10),
    *((word, 100) for word in LIMITS),
    ("locations", ["here"]),
    ("os_user", "admin"),
    ("ssh_keys", KEY),
    ("ssh_keys_field", "SSH key"),
    ("snapshots", 3),
    ("snapshot_lifetime_h", 24),
    ("snapshot_memory", True),
    ("backups", 7),
    ("keep_backups", True),
    ("rotation", "oldest_first"),
    ("firewall_rules", 20),
]


@pytest.mark.parametrize(("word", "value"), PLANS)
def test_a_plan_cannot_sell_what_its_driver_does_not_deliver(tmp_path: Path, word: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Trial(tmp_path, "sloppy", **{word: value})
    [fault] = [f for f in caught.value.faults if f[1] == "not_delivered"]
    assert fault[0] == f"plans.kvm-s.{word}"
    assert "driver 'sloppy' does not deliver this" in fault[2]
    with pytest.raises(ConfigError) as caught:
        Trial(tmp_path, "trial", **{word: value}, most="many")
    named = [f for f in caught.value.faults if f[1] == "not_delivered"]
    assert bool(named) == (word not in ("rate_mbit", "pools"))
    assert all("it delivers pools, rate_mbit" in f[2] for f in named)


def test_nothing_sold_may_stand_there(tmp_path: Path) -> None:
    nothing = {
        "rate_mbit": 0,
        "pools": [],
        "extra_ipv4": 0,
        "snapshots": 0,
        "snapshot_memory": False,
        "os_user": "root",
    }
    world = Trial(tmp_path, "sloppy", **nothing)
    assert world.config.plans["kvm-s"].values["snapshot_memory"] is False
    world.close()


ORDERS = [
    ({"configoption8": "200"}, "network Mbit/s"),
    ({"configoptions": {"Network": "200"}}, "'Network'"),
    ({"configoptions": {"Additional disk": "10"}}, "'Additional disk'"),
    ({"configoption9": "1"}, "extra IPv4"),
    ({"configoptions": {"System disk read IOPS": "100"}}, "'System disk read IOPS'"),
    ({"configoption11": "7"}, "backup quota"),
    ({"configoption12": "3"}, "snapshot quota"),
    ({"configoptions": {"Location": "here"}}, "'Location'"),
]


@pytest.mark.parametrize(("params", "name"), ORDERS)
def test_an_order_cannot_have_what_the_driver_does_not_deliver(tmp_path: Path, params: Any, name: str) -> None:
    world = Trial(tmp_path, "sloppy")
    reply = shim(world).order("create", **params)
    assert reply.status_code in (400, 422), reply.get_json()
    assert name in reply.get_json()["error"]["message"], reply.get_json()
    assert world.store.rows("SELECT id FROM services") == []
    assert world.machines == {}
    ordered(world, "create")
    refused = shim(world).order("change_package", **params)
    assert refused.status_code in (400, 422)
    assert name in refused.get_json()["error"]["message"]
    world.close()


def test_a_driver_declares_only_what_can_be_sold_and_its_schemas_hold_its_own_keys() -> None:
    from marshmallow import Schema, fields

    with pytest.raises(TypeError, match="Odd delivers wings, which no plan can sell"):
        type("Odd", (folder.load("trial"),), {"delivers": frozenset({"wings"})})
    taken = type("Taken", (Schema,), {"rate_mbit": fields.Int()})
    with pytest.raises(TypeError, match="Odd: rate_mbit is of every plan"):
        type("Odd", (folder.load("trial"),), {"plan_schema": taken})
    with pytest.raises(TypeError, match="Odd: its servers have `vm_ids`"):
        type("Odd", (folder.load("trial"),), {"chooses_ids": True})


def test_the_document_is_the_driver() -> None:
    text = (ROOT / "docs/drivers.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.S)
    assert code == (ROOT / "tests/trial_drivers/trial/__init__.py").read_text("utf-8")


def test_outside_of_these_tests_it_is_not_found() -> None:
    assert {"trial", "sloppy"} <= set(folder.names())
    assert not [
        p for p in (ROOT / "bridge").rglob("*.py") if re.search(r"drivers[./]trial|sloppy", p.read_text("utf-8"))
    ]
    assert not [d for d in (ROOT / "drivers").iterdir() if d.name in ("trial", "sloppy")]


def test_an_unknown_driver_is_named_beside_those_that_are_found() -> None:
    with pytest.raises(ConfigError, match="found: hetzner, proxmox, sloppy, trial"):
        config.from_dict({"servers": {"x": {"driver": "trail"}}})


def test_a_folder_of_drivers_is_read_once_and_another_path_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which driver a server has is asked for each service in each sweep."""
    listed: list[list[str]] = []
    real = folder.pkgutil.iter_modules
    monkeypatch.setattr(folder.pkgutil, "iter_modules", lambda path: listed.append(list(path)) or real(path))
    folder._modules.cache_clear()
    for _ in range(3):
        assert folder.load("trial")
        assert folder.load("proxmox")
        assert "trial" in folder.names()
    assert len(listed) == 1
    assert contract.load("powerdns") is contract.load("powerdns")
    assert "web" not in contract.names()
    assert len(listed) == 2
    monkeypatch.setattr(drivers, "__path__", [p for p in drivers.__path__ if p != str(FOLDER)])
    with pytest.raises(Refused, match="no driver 'trial'"):
        folder.load("trial")
    assert len(listed) == 3
    assert "proxmox" in folder.names()
