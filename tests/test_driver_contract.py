"""What the contract of drivers/base.py promises, for every driver alike: each method against its simulator, called twice where it may be."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import NotBuilt, NotFound, NotOurs, Refused, VmbridgeError
from bridge.model import Capability, Order, VmRef
from bridge.orders.wanted import order_of
from drivers import base
from tests.test_hetzner import Cloud
from tests.test_hetzner_images import SOLD
from tests.world import World


class Rig:
    """A machine that was ordered and runs, on one of the back ends."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.order("create")
        world.run()

    @property
    def driver(self) -> Any:
        return self.world.drivers["pve1"]

    @property
    def ref(self) -> VmRef:
        return self.world.store.service(1).ref

    @property
    def order(self) -> Order:
        return order_of(self.world.store.service(1), self.world.store, self.world.config)

    def ended(self, task: str) -> str:
        """The state in which a task ends."""
        for _ in range(600):
            state = str(self.driver.poll([task])[task].state) if task else "done"
            if state != "running":
                return state
            self.world.clock.time += 1.0
        raise AssertionError("it never ended")

    def mutations(self) -> list[Any]:
        return self.world.cloud.mutations() if isinstance(self.world, Cloud) else self.world.cluster.mutations()

    def steal(self) -> None:
        """Somebody else's machine stands under our id."""
        if isinstance(self.world, Cloud):
            next(iter(self.world.cloud.servers.values())).labels = {"vmbridge": "somebody"}
        else:
            self.world.cluster.vms[20000].config["smbios1"] = "uuid=00000000-0000-4000-8000-000000000001"

    def gone(self) -> bool:
        return not (self.world.cloud.servers if isinstance(self.world, Cloud) else self.world.vms())


@pytest.fixture(params=["proxmox", "hetzner"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made: World = World(tmp_path) if request.param == "proxmox" else Cloud(tmp_path, **SOLD)
    yield Rig(made)
    made.close()


ALL = frozenset(Capability) - {Capability.OVERVIEW, Capability.POWER, Capability.ACTIVITY}


@pytest.mark.parametrize("capability", sorted(ALL))
def test_what_is_declared_is_built(capability: Capability) -> None:
    """Also what no driver can build yet; the error names the driver, the word and what is missing."""
    with pytest.raises(
        TypeError, match=f"Half.*{capability}|Half.*nothing in the drivers' contract builds {capability}"
    ):
        type("Half", (base.Driver,), {"capabilities": frozenset({capability})})


@pytest.mark.parametrize("capability", sorted(base.NEEDS))
def test_what_is_built_is_declared_and_what_is_not_says_so(capability: Capability) -> None:
    built = dict.fromkeys(base.NEEDS[capability], lambda self, *a: None)
    with pytest.raises(TypeError, match=f"Half: {capability} is built and not declared"):
        type("Half", (base.Driver,), built)
    for name in base.NEEDS[capability]:
        method = getattr(base.Driver, name)
        asked = [None] * sum(p.default is p.empty for p in inspect.signature(method).parameters.values())
        with pytest.raises(NotBuilt, match="does not offer"):
            method(*asked)


def test_a_driver_without_what_every_back_end_needs_cannot_be_made() -> None:
    half = type("Half", (base.Driver,), {"power": lambda *a: ""})
    with pytest.raises(TypeError, match=r"abstract.*converge.*destroy.*look"):
        half("x", {}, None)


class TestContract:
    def test_every_folder_has_a_driver_that_says_what_it_can(self) -> None:
        for name in base.names():
            found = base.load(name)
            assert (
                found.name == name
                and {Capability.OVERVIEW, Capability.POWER} <= found.capabilities
                and found.server_schema
                and found.plan_schema
            )

    def test_look_proves(self, rig: Rig) -> None:
        vm = rig.driver.look(rig.ref)
        assert vm and (vm.vm_id, vm.status) == (rig.ref.vm_id, "running")
        rig.steal()
        before = len(rig.mutations())
        for call in (
            lambda: rig.driver.look(rig.ref),
            lambda: rig.driver.converge(rig.order, rig.ref),
            lambda: rig.driver.power(rig.ref, "hard_stop"),
            lambda: rig.driver.destroy(rig.ref),
            lambda: rig.driver.snapshot(rig.ref, "take", "x"),
            lambda: rig.driver.backup(rig.ref, "take", mark="x"),
            lambda: rig.driver.reinstall(rig.order, rig.ref, {"x": 1}),
        ):
            with pytest.raises(NotOurs):
                call()
        assert len(rig.mutations()) == before

    def test_converge_of_what_is_right_writes_nothing(self, rig: Rig) -> None:
        before = len(rig.mutations())
        found = rig.driver.converge(rig.order, rig.ref)
        assert (found.task, found.changed, found.refused, found.more, found.offline) == ("", (), (), False, "") and len(
            rig.mutations()
        ) == before
        assert (
            all(d.same for d in rig.driver.compare(rig.order, found.seen.config, True))
            and rig.driver.read(rig.ref).config == found.seen.config
        )

    def test_the_bulk_read_has_the_machine(self, rig: Rig) -> None:
        [line] = [s for s in rig.driver.statuses() if s.vm_id == rig.ref.vm_id]
        assert line.status == "running" and line.cores == 2 and line.maxmem > 0 and line.node

    def test_the_traffic_of_one_machine_is_that_of_the_bulk_read(self, rig: Rig) -> None:
        rig.world.clock.time += 7200
        [line] = [s for s in rig.driver.statuses() if s.vm_id == rig.ref.vm_id]
        net_in, net_out, since = rig.driver.traffic(rig.ref)
        assert (
            (net_in, net_out) == (line.net_in, line.net_out)
            and net_in > 0
            and net_out > net_in
            and line.counting_since <= since <= rig.world.clock.time
        )
        rig.steal()
        with pytest.raises(NotOurs):
            rig.driver.traffic(rig.ref)

    def test_watched_machines_are_in_their_read_too(self, rig: Rig) -> None:
        [line] = [s for s in rig.driver.statuses([rig.ref]) if s.vm_id == rig.ref.vm_id]
        assert line == next(s for s in rig.driver.statuses() if s.vm_id == rig.ref.vm_id)
        assert all(age >= 0 for n in (0, 1, 1000) for age in rig.driver.live_ages(n))

    def test_charts_are_what_the_driver_declares(self, rig: Rig) -> None:
        rig.world.clock.time += 3 * 86400
        for period in rig.driver.periods:
            found = rig.driver.charts(rig.ref, period)
            assert set(found.series) == rig.driver.series and 0 < len(found.times) <= 361 and found.step > 0, period
            assert all(len(v) == len(found.times) for v in found.series.values()) and list(found.times) == sorted(
                set(found.times)
            )
            assert all(0 <= v <= 100 for v in found.series["cpu"] if v is not None)
        rig.steal()
        with pytest.raises(NotOurs):
            rig.driver.charts(rig.ref, "hour")

    def test_the_console_of_a_machine_that_runs_and_is_ours(self, rig: Rig) -> None:
        ticket = rig.driver.console(rig.ref)
        assert ticket.url.startswith("wss://") and ticket.password
        assert ticket.url not in repr(ticket) and ticket.password not in repr(ticket)
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
        name = "snap-20261125-120000-abcd"
        assert rig.driver.snapshots(rig.ref) == []
        assert rig.ended(rig.driver.snapshot(rig.ref, "take", name, "before")) == "done"
        [found] = rig.driver.snapshots(rig.ref)
        assert (found.name, found.complete) == (name, True) and abs(found.taken_at - rig.world.clock.time) < 120
        rig.ended(rig.driver.snapshot(rig.ref, "take", name))  # a repeat makes no second one
        assert [s.name for s in rig.driver.snapshots(rig.ref)] == [name]
        assert rig.ended(rig.driver.snapshot(rig.ref, "rollback", name)) == "done"
        now = rig.world.clock.time
        assert rig.driver.find_task(rig.ref, "rollback", now - 300) and not rig.driver.find_task(
            rig.ref, "rollback", now + 300
        )
        assert rig.ended(rig.driver.snapshot(rig.ref, "delete", name)) == "done"
        rig.ended(rig.driver.snapshot(rig.ref, "delete", name))
        assert rig.driver.snapshots(rig.ref) == []

    def test_backups(self, rig: Rig) -> None:
        assert rig.driver.backups(rig.ref) == []
        assert rig.ended(rig.driver.backup(rig.ref, "take", mark="op-1")) == "done"
        [found] = rig.driver.backups(rig.ref)
        assert "op-1" in found.mark and found.size > 0 and found.archive
        rig.world.clock.time += 5
        rig.ended(rig.driver.power(rig.ref, "hard_stop"))
        assert rig.ended(rig.driver.backup(rig.ref, "restore", found.archive)) == "done"
        assert rig.ended(rig.driver.backup(rig.ref, "delete", found.archive)) == "done"
        assert (
            rig.driver.backups(rig.ref) == []
            and rig.ended(rig.driver.backup(rig.ref, "delete", found.archive)) == "done"
        )

    def test_one_listing_says_the_same_as_each_machine(self, rig: Rig) -> None:
        rig.ended(rig.driver.snapshot(rig.ref, "take", "snap-1"))
        rig.ended(rig.driver.backup(rig.ref, "take", mark="op-1"))
        kept = rig.driver.kept()
        if kept is None:
            return
        assert [s for u in rig.ref.uuids for s in kept.snapshots.get(u, [])] == rig.driver.snapshots(rig.ref)
        assert kept.backups[rig.ref.vm_id] == rig.driver.backups(rig.ref)

    def test_tasks_that_nobody_knows(self, rig: Rig) -> None:
        assert rig.driver.poll(["nonsense"])["nonsense"].state == "unknown" and rig.driver.poll([]) == {}
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
        assert (
            rig.gone()
            and rig.driver.look(rig.ref) is None
            and rig.driver.destroy(rig.ref) == "" == rig.driver.sweep(rig.ref)
        )

    def test_nothing_of_ours_is_a_leftover_while_its_machine_is_there(self, rig: Rig) -> None:
        for listing in ("", *rig.driver.listings()):
            assert rig.driver.leftovers(["999999"], listing) == []

    def test_an_order_survives_being_copied(self, rig: Rig) -> None:
        assert copy.deepcopy(rig.order) == rig.order
