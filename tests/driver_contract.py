"""What the contract of drivers/base.py promises, as one class that every driver's tests inherit: each method against
its simulated back end, called twice where it may be. What a driver does not declare is left out."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigError, NotFound, NotOurs, Refused, VmbridgeError
from bridge.model import BY_CAPABILITY, LIMITS, SELLABLE, Capability, Order, State, VmRef
from bridge.orders.wanted import order_of
from drivers import folder
from tests.world import World

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
EXAMPLES: dict[str, Any] = {  # a value for each word that a plan can sell
    "rate_mbit": 100,
    "additional_disk_gib": 10,
    **{word: 50 + i for i, word in enumerate(LIMITS)},
    "pools": ["public-v4"],
    "dhcp4": True,
    "dhcp6": True,
    "extra_ipv4": 1,
    "extra_ipv6": 1,
    "locations": ["here"],
    "os_user": "admin",
    "ssh_keys": SSH_KEY,
    "snapshot_memory": True,
    "snapshots": 3,
    "snapshot_lifetime_h": 24,
    "backups": 7,
    "keep_backups": True,
    "rotation": "oldest_first",
    "firewall_rules": 20,
}


class Rig(ABC):
    """A service on one of the back ends, and what a test has to know of that back end itself."""

    def __init__(self, world: World) -> None:
        self.world = world

    def run(self, **params: Any) -> None:
        """Order it, until it runs."""
        self.world.order("create", **params)
        self.world.run()
        newest = self.world.store.operations_of(1)[0]
        assert newest.state is State.DONE, newest

    @property
    def driver(self) -> Any:
        return self.world.drivers["pve1"]

    @property
    def ref(self) -> VmRef:
        return self.world.store.service(1).ref

    @property
    def order(self) -> Order:
        return order_of(self.world.store.service(1), self.world.store, self.world.config)

    def needs(self, capability: Capability) -> None:
        if capability not in self.driver.capabilities:
            pytest.skip(f"not declared: {capability}")

    def ended(self, task: str) -> str:
        """The state in which a task ends."""
        for _ in range(600):
            state = str(self.driver.poll([task])[task].state) if task else "done"
            if state != "running":
                return state
            self.world.clock.time += 1.0
        raise AssertionError("it never ended")

    @abstractmethod
    def mutations(self) -> list[Any]:
        """All that was changed at the back end so far."""

    @abstractmethod
    def steal(self) -> None:
        """Somebody else's machine stands under our id."""

    @abstractmethod
    def gone(self) -> bool:
        """Nothing is left."""

    @abstractmethod
    def has(self, word: str) -> Any:
        """What the machine has of a word that a plan can sell, read from the back end itself, in the word's own
        form."""


class DriverContract:
    """Inherit it as `Test...` in a driver's tests, with `driver` (its folder's name) and `make`, a rig on the driver's
    simulated back end whose plan sells what is given beside what it needs."""

    driver: str
    place = "here"  # one that the driver knows, to order a machine there

    def make(self, path: Path, **plan: Any) -> Rig:
        raise NotImplementedError

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[Rig]:
        made = self.make(tmp_path)
        made.run()
        yield made
        made.world.close()

    def test_the_folder_has_a_driver_that_says_what_it_can(self) -> None:
        driver = folder.load(self.driver)
        assert driver.name == self.driver
        assert driver.server_schema
        assert driver.plan_schema
        assert {Capability.OVERVIEW, Capability.POWER} <= driver.capabilities

    @pytest.mark.parametrize("word", [*SELLABLE, *BY_CAPABILITY])
    def test_what_it_delivers_is_set_and_what_it_does_not_no_plan_can_sell(self, word: str, tmp_path: Path) -> None:
        """The back end itself has it: a driver that says so and writes nothing would sell it all the same."""
        delivered, value = folder.load(self.driver).delivered(), {**EXAMPLES, "locations": [self.place]}[word]
        if word not in delivered:
            with pytest.raises(ConfigError) as caught:
                self.make(tmp_path, **{word: value})
            assert [f[0] for f in caught.value.faults if f[1] == "not_delivered"] == [f"plans.kvm-s.{word}"]
            return
        if word not in SELLABLE:
            return  # a capability's words are the bridge's own doing, by methods that stand below
        rig = self.make(tmp_path, **self.sold(word))
        rig.run(**({"configoption2": self.place} if word == "locations" else {}))
        assert rig.has(word) == value
        rig.world.close()

    def sold(self, word: str) -> dict[str, Any]:
        """The keys of a plan that sells the word: what it needs beside it comes with it."""
        sold = {word: [self.place] if word == "locations" else EXAMPLES[word]}
        if word.startswith("additional_disk_") and word != "additional_disk_gib":
            sold["additional_disk_gib"] = 10
        if word in ("extra_ipv4", "extra_ipv6") and "pools" in folder.load(self.driver).delivers:
            sold["pools"] = ["public-v4", "public-v6"]
        return {**sold, "pools": []} if word in ("dhcp4", "dhcp6") else sold

    def test_look_proves(self, rig: Rig) -> None:
        vm = rig.driver.look(rig.ref)
        assert vm
        assert (vm.vm_id, vm.status) == (rig.ref.vm_id, "running")
        rig.steal()
        before = len(rig.mutations())
        calls = [
            lambda: rig.driver.look(rig.ref),
            lambda: rig.driver.converge(rig.order, rig.ref),
            lambda: rig.driver.power(rig.ref, "hard_stop"),
            lambda: rig.driver.destroy(rig.ref),
            lambda: rig.driver.read(rig.ref),
        ]
        if Capability.SNAPSHOTS in rig.driver.capabilities:
            calls.append(lambda: rig.driver.snapshot(rig.ref, "take", "x"))
        if Capability.BACKUPS in rig.driver.capabilities:
            calls.append(lambda: rig.driver.backup(rig.ref, "take", mark="x"))
        if Capability.REINSTALL in rig.driver.capabilities:
            calls.append(lambda: rig.driver.reinstall(rig.order, rig.ref, {"x": 1}))
        for call in calls:
            with pytest.raises(NotOurs):
                call()
        assert len(rig.mutations()) == before

    def test_converge_of_what_is_right_writes_nothing(self, rig: Rig) -> None:
        before = len(rig.mutations())
        converged = rig.driver.converge(rig.order, rig.ref)
        assert (converged.task, converged.changed, converged.refused, converged.more, converged.offline) == (
            "",
            (),
            (),
            False,
            "",
        )
        assert len(rig.mutations()) == before
        assert all(d.same for d in rig.driver.compare(rig.order, converged.seen.config, True))
        assert rig.driver.read(rig.ref).config == converged.seen.config

    def test_the_bulk_read_has_the_machine(self, rig: Rig) -> None:
        [line] = [s for s in rig.driver.statuses() if s.vm_id == rig.ref.vm_id]
        assert line.status == "running"
        assert line.cores == 2
        assert line.maxmem > 0
        assert line.node

    def test_the_traffic_of_one_machine_is_that_of_the_bulk_read(self, rig: Rig) -> None:
        rig.world.clock.time += 7200
        [line] = [s for s in rig.driver.statuses() if s.vm_id == rig.ref.vm_id]
        net_in, net_out, since = rig.driver.traffic(rig.ref)
        assert (net_in, net_out) == (line.net_in, line.net_out)
        assert net_in > 0
        assert net_out > net_in
        assert line.counting_since <= since <= rig.world.clock.time
        rig.steal()
        with pytest.raises(NotOurs):
            rig.driver.traffic(rig.ref)

    def test_watched_machines_are_in_their_read_too(self, rig: Rig) -> None:
        [line] = [s for s in rig.driver.statuses([rig.ref]) if s.vm_id == rig.ref.vm_id]
        assert line == next(s for s in rig.driver.statuses() if s.vm_id == rig.ref.vm_id)
        assert all(age >= 0 for n in (0, 1, 1000) for age in rig.driver.live_ages(n))

    def test_charts_are_what_the_driver_declares(self, rig: Rig) -> None:
        rig.needs(Capability.CHARTS)
        rig.world.clock.time += 3 * 86400
        for period in rig.driver.periods:
            series = rig.driver.charts(rig.ref, period)
            assert set(series.series) == rig.driver.series, period
            assert 0 < len(series.times) <= 361, period
            assert series.step > 0, period
            assert all(len(v) == len(series.times) for v in series.series.values())
            assert list(series.times) == sorted(set(series.times))
            assert all(0 <= v <= 100 for v in series.series["cpu"] if v is not None)
        rig.steal()
        with pytest.raises(NotOurs):
            rig.driver.charts(rig.ref, "hour")

    def test_the_console_of_a_machine_that_runs_and_is_ours(self, rig: Rig) -> None:
        rig.needs(Capability.CONSOLE)
        ticket = rig.driver.console(rig.ref)
        assert ticket.url.startswith("wss://")
        assert ticket.password
        assert ticket.url not in repr(ticket)
        assert ticket.password not in repr(ticket)
        rig.ended(rig.driver.power(rig.ref, "hard_stop"))
        rig.world.clock.time += 5
        with pytest.raises(Refused, match="Start the server first"):
            rig.driver.console(rig.ref)
        rig.steal()
        with pytest.raises(NotOurs):
            rig.driver.console(rig.ref)

    @pytest.mark.parametrize(
        ("verb", "then"),
        [
            ("start", "running"),
            ("stop", "stopped"),
            ("hard_stop", "stopped"),
            ("reboot", "running"),
            ("shut_off", "stopped"),
        ],
    )
    def test_power(self, rig: Rig, verb: str, then: str) -> None:
        assert (
            rig.ended(rig.driver.power(rig.ref, verb)) == "done" or verb == "start"
        )  # of a machine that runs it may say so
        rig.world.clock.time += 5
        assert rig.driver.look(rig.ref).status == then
        if verb != "reboot":  # what is so already is no error
            rig.ended(rig.driver.power(rig.ref, verb) if verb in ("start", "hard_stop", "shut_off") else "")
            assert rig.driver.look(rig.ref).status == then

    def test_snapshots(self, rig: Rig) -> None:
        rig.needs(Capability.SNAPSHOTS)
        name = "snap-20261125-120000-abcd"
        assert rig.driver.snapshots(rig.ref) == []
        assert rig.ended(rig.driver.snapshot(rig.ref, "take", name, "before")) == "done"
        [snapshot] = rig.driver.snapshots(rig.ref)
        assert (snapshot.name, snapshot.complete) == (name, True)
        assert abs(snapshot.taken_at - rig.world.clock.time) < 120
        rig.ended(rig.driver.snapshot(rig.ref, "take", name))  # a repeat makes no second one
        assert [s.name for s in rig.driver.snapshots(rig.ref)] == [name]
        assert rig.ended(rig.driver.snapshot(rig.ref, "rollback", name)) == "done"
        now = rig.world.clock.time
        assert rig.driver.find_task(rig.ref, "rollback", now - 300)
        assert not rig.driver.find_task(rig.ref, "rollback", now + 300)
        assert rig.ended(rig.driver.snapshot(rig.ref, "delete", name)) == "done"
        rig.ended(rig.driver.snapshot(rig.ref, "delete", name))
        assert rig.driver.snapshots(rig.ref) == []

    def test_backups(self, rig: Rig) -> None:
        rig.needs(Capability.BACKUPS)
        assert rig.driver.backups(rig.ref) == []
        assert rig.ended(rig.driver.backup(rig.ref, "take", mark="op-1")) == "done"
        [backup] = rig.driver.backups(rig.ref)
        assert "op-1" in backup.mark
        assert backup.size > 0
        assert backup.archive
        rig.world.clock.time += 5
        rig.ended(rig.driver.power(rig.ref, "hard_stop"))
        assert rig.ended(rig.driver.backup(rig.ref, "restore", backup.archive)) == "done"
        assert rig.ended(rig.driver.backup(rig.ref, "delete", backup.archive)) == "done"
        assert rig.driver.backups(rig.ref) == []
        assert rig.ended(rig.driver.backup(rig.ref, "delete", backup.archive)) == "done"

    def test_one_listing_says_the_same_as_each_machine(self, rig: Rig) -> None:
        rig.needs(Capability.BACKUPS)
        rig.ended(rig.driver.snapshot(rig.ref, "take", "snap-1"))
        rig.ended(rig.driver.backup(rig.ref, "take", mark="op-1"))
        kept = rig.driver.kept()
        if kept is None:
            return
        assert [s for u in rig.ref.uuids for s in kept.snapshots.get(u, [])] == rig.driver.snapshots(rig.ref)
        assert kept.backups[rig.ref.vm_id] == rig.driver.backups(rig.ref)

    def test_tasks_that_nobody_knows(self, rig: Rig) -> None:
        assert rig.driver.poll(["nonsense"])["nonsense"].state == "unknown"
        assert rig.driver.poll([]) == {}
        assert isinstance(rig.driver.task_error("something went wrong"), VmbridgeError)

    def test_destroy_until_nothing_is_left(self, rig: Rig) -> None:
        rig.ended(rig.driver.power(rig.ref, "hard_stop"))
        for _ in range(10):
            task = rig.driver.destroy(rig.ref)
            if not task:
                break
            assert rig.ended(task) == "done"
        with pytest.raises(NotFound):
            rig.driver.traffic(rig.ref)
        assert rig.gone()
        assert rig.driver.look(rig.ref) is None
        assert rig.driver.destroy(rig.ref) == "" == rig.driver.sweep(rig.ref)

    def test_nothing_of_ours_is_a_leftover_while_its_machine_is_there(self, rig: Rig) -> None:
        for listing in ("", *rig.driver.listings()):
            assert rig.driver.leftovers(["999999"], listing) == []

    def test_an_order_survives_being_copied(self, rig: Rig) -> None:
        assert copy.deepcopy(rig.order) == rig.order
