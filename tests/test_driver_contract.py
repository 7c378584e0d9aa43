"""What the contract refuses at import, and what it promises: the one class of tests/driver_contract.py, for every
driver that we have."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bridge.errors import NotBuilt
from bridge.model import DISK_LIMITS, Capability
from drivers import base, folder, optional
from drivers.proxmox import convert, goal
from tests.configs import raw_config
from tests.driver_contract import DriverContract, Rig
from tests.test_hetzner import Cloud
from tests.test_hetzner_images import SOLD
from tests.trial import Trial, trial_drivers
from tests.world import World

SIX = {
    "ranges": ["2001:db8:7::10-2001:db8:7::20"],
    "prefix": 64,
    "gateway": "2001:db8:7::1",
    "bridge": "vmbr0",
    "vlan": 40,
}


class OnProxmox(Rig):
    def mutations(self) -> list[Any]:
        return self.world.cluster.mutations()

    def steal(self) -> None:
        self.world.cluster.vms[20000].config["smbios1"] = "uuid=00000000-0000-4000-8000-000000000001"

    def gone(self) -> bool:
        return not self.world.vms()

    def has(self, word: str) -> Any:
        vm = self.world.cluster.vms[20000]
        net, addresses = convert.parse_line(vm.config["net0"]), str(vm.config.get("ipconfig0", ""))
        disk, _, limit = word.rpartition("disk_")
        if limit in DISK_LIMITS:
            return goal.limits_of(vm.config["scsi1" if disk else "scsi0"])[limit]
        if word == "snapshot_memory":
            self.world.page("snapshots", "take")
            self.world.run()
            return self.driver.snapshots(self.ref)[0].with_memory
        own = {a for a in vm.ipsets.get("ipfilter-net0", ()) if f"{a}/" not in addresses}
        return {
            "rate_mbit": lambda: round(float(net["rate"]) * 1024**2 * 8 / 1e6),
            "additional_disk_gib": lambda: convert.disk_gib(vm.config, "scsi1"),
            "pools": lambda: [n for n, start in (("public-v4", "ip=203.0.113.10/24"),) if start in addresses],
            "dhcp4": lambda: "ip=dhcp" in addresses.split(","),
            "dhcp6": lambda: "ip6=dhcp" in addresses.split(","),
            "extra_ipv4": lambda: len([a for a in own if "." in a]),
            "extra_ipv6": lambda: len([a for a in own if a.startswith("2001")]),
            "locations": lambda: [vm.node],
            "os_user": lambda: vm.config["ciuser"],
            "ssh_keys": lambda: unquote(vm.config["sshkeys"]).strip(),
        }[word]()


class TestProxmox(DriverContract):
    driver = "proxmox"
    place = "pve2"

    def make(self, path: Path, **plan: Any) -> Rig:
        raw = raw_config()
        raw["plans"]["kvm-s"] |= plan
        return OnProxmox(World(path, plans=raw["plans"], pools={**raw["pools"], "public-v6": SIX}))


class OnHetzner(Rig):
    world: Cloud

    def mutations(self) -> list[Any]:
        return self.world.cloud.mutations()

    def steal(self) -> None:
        next(iter(self.world.cloud.servers.values())).labels = {"vmbridge": "somebody"}

    def gone(self) -> bool:
        return not self.world.cloud.servers

    def has(self, word: str) -> Any:
        [server] = self.world.cloud.servers.values()
        ours = [f for f in self.world.cloud.floating_ips.values() if f.owner == server.id]
        keys = [
            k
            for u in json.loads(server.user_data.partition("\n")[2]).get("users", ())
            for k in u["ssh_authorized_keys"]
        ]
        return {
            "extra_ipv4": lambda: len([f for f in ours if f.type == "ipv4"]),
            "extra_ipv6": lambda: len([f for f in ours if f.type == "ipv6"]),
            "locations": lambda: [server.location],
            "ssh_keys": lambda: "\n".join(keys),
        }[word]()


class TestHetzner(DriverContract):
    driver = "hetzner"
    place = "fsn1"

    def make(self, path: Path, **plan: Any) -> Rig:
        return OnHetzner(Cloud(path, **{**SOLD, **plan}))


class OnTrial(Rig):
    world: Trial

    @property
    def machine(self) -> dict[str, Any]:
        return self.world.machines["20000"]

    def mutations(self) -> list[Any]:
        return [str(self.world.machines)]

    def steal(self) -> None:
        self.machine["uuid"] = "somebody"

    def gone(self) -> bool:
        return not self.world.machines

    def has(self, word: str) -> Any:
        pools = ["public-v4"] if self.machine["addresses"] == ["203.0.113.10"] else []
        return {"pools": pools, "rate_mbit": self.machine.get("rate_mbit")}[word]


class TestTrial(DriverContract):
    driver = "trial"

    @pytest.fixture(autouse=True)
    def trial_driver(self) -> Iterator[None]:
        with trial_drivers():
            yield

    def make(self, path: Path, **plan: Any) -> Rig:
        return OnTrial(Trial(path, **plan))


def test_a_driver_that_writes_less_than_it_declares_fails_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trial_drivers():
        monkeypatch.setattr(sys.modules[folder.load("trial").__module__], "SIZES", ("cores", "ram_mib", "disk_gib"))
        with pytest.raises(AssertionError, match="100"):
            TestTrial().test_what_it_delivers_is_set_and_what_it_does_not_no_plan_can_sell("rate_mbit", tmp_path)


def test_every_driver_that_is_there_runs_the_contract() -> None:
    text = Path(__file__).read_text("utf-8")
    assert set(re.findall(r"^    driver = \"(\w+)\"", text, re.M)) >= set(folder.names())


ALL = frozenset(Capability) - {Capability.OVERVIEW, Capability.POWER, Capability.ACTIVITY}


@pytest.mark.parametrize("capability", sorted(ALL))
def test_what_is_declared_is_built(capability: Capability) -> None:
    """Also what no driver can build yet; the error names the driver, the word and what is missing."""
    with pytest.raises(
        TypeError, match=f"Half.*{capability}|Half.*nothing in the drivers' contract builds {capability}"
    ):
        type("Half", (base.Driver,), {"capabilities": frozenset({capability})})


@pytest.mark.parametrize("capability", sorted(optional.NEEDS))
def test_what_is_built_is_declared_and_what_is_not_says_so(capability: Capability) -> None:
    built = dict.fromkeys(optional.NEEDS[capability], lambda self, *a: None)
    with pytest.raises(TypeError, match=f"Half: {capability} is built and not declared"):
        type("Half", (base.Driver,), built)
    for name in optional.NEEDS[capability]:
        method = getattr(base.Driver, name)
        asked = [None] * sum(p.default is p.empty for p in inspect.signature(method).parameters.values())
        with pytest.raises(NotBuilt, match="does not offer"):
            method(*asked)


def test_a_driver_without_what_every_back_end_needs_cannot_be_made() -> None:
    half = type("Half", (base.Driver,), {"power": lambda *a: ""})
    with pytest.raises(TypeError, match=r"abstract.*converge.*destroy.*look"):
        half("x", {}, None)
