"""What one run of an operation reads of its machine: once, anew after a change, before an end and in the next run."""

from __future__ import annotations

import pytest

from bridge.clock import Clock
from bridge.model import State
from drivers import reads
from tests.held import HeldClock
from tests.world import World

CALLS = {"create": 20, "suspend": 5, "unsuspend": 7, "terminate": 9}  # of the hypervisor, undisturbed


def asked(world: World) -> list[tuple[str, str]]:
    """Calls apart from those about tasks and the guest's agent, which are repeated while something lasts."""
    return [(m, p) for _, m, p, _ in world.cluster.calls if "/tasks/" not in p and "/agent/" not in p]


@pytest.mark.parametrize("last", CALLS)
def test_an_undisturbed_order_takes_so_many_calls(world: World, last: str) -> None:
    for verb in list(CALLS)[: list(CALLS).index(last) + 1]:
        world.cluster.calls.clear()
        world.order(verb)
        world.run()
    assert world.store.operations_of(None, 1)[0].state is State.DONE
    assert len(asked(world)) <= CALLS[last], asked(world)


def test_a_configuration_that_was_written_by_somebody_else_meanwhile_is_read_again(world: World) -> None:
    """Staff saves the machine's settings between our look and our write: the digest is another, nothing is lost."""
    world.order("create")
    world.run()
    vm = world.cluster.vms[world.vms()[0]]

    def border(name: str) -> None:
        if name == "suspend.autostart_off" and "described" not in vm.config.get("description", ""):
            vm.config["description"] += "\ndescribed by staff"

    world.border = border
    world.order("suspend")
    world.run()
    assert world.store.operations_of(None, 1)[0].state is State.DONE
    assert "described by staff" in vm.config["description"]
    assert vm.config["onboot"] in (0, "0")
    assert vm.status == "stopped"


def test_what_is_destroyed_is_proven_anew(world: World) -> None:
    """The machine becomes somebody else's right before the step that removes it."""
    world.order("create")
    world.run()
    vm_id = world.vms()[0]

    def border(name: str) -> None:
        if name == "terminate.destroy":
            world.cluster.vms[vm_id].config["smbios1"] = "uuid=00000000-0000-4000-8000-000000000001"

    world.border = border
    world.order("terminate")
    world.run()
    assert vm_id in world.cluster.vms
    assert world.store.operations_of(None, 1)[0].error_code == "not_ours"


def test_nothing_is_kept_outside_of_a_run() -> None:
    reads.keep(("a",), 1)
    assert reads.find(("a",)) is None


def test_a_run_forgets_at_its_end_and_what_it_gives_is_a_copy() -> None:
    with reads.kept(Clock()):
        reads.keep(("a",), {"b": 1})
        reads.find(("a",))["b"] = 2
        assert reads.find(("a",)) == {"b": 1}
    with reads.kept(Clock()):
        assert reads.find(("a",)) is None


def test_a_look_is_kept_for_a_second() -> None:
    clock = HeldClock()
    with reads.kept(clock):
        reads.keep(("a",), 1)
        clock.time += reads.SECONDS
        assert reads.find(("a",)) is None
