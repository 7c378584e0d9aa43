"""How often a failing step is tried, how soon, and what people then read: an unknown cause gets three quick tries more,
a listed refusal none, and next actions are the driver's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.model import State
from tests.pve.cluster import Fault
from tests.world import World

ROOT = Path(__file__).parent.parent
ODD = "malformed JSON string, neither tag, array, object at offset 0"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.order("create")
    made.run()
    made.cluster.calls.clear()
    yield made
    made.close()


def sent(world: World, ending: str) -> list[float]:
    return [at for at, method, path, _ in world.cluster.calls if method == "POST" and path.endswith(ending)]


def last(world: World) -> State:
    return world.store.operations_of(1)[0].state


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("kind", ["status", "fail_task"])
def test_an_unknown_cause_gets_three_quick_tries_more(world: World, kind: str, times: int) -> None:
    world.cluster.faults = [Fault(kind, "POST", "status/reboot$", times=times, reason=ODD)]
    world.page("power", "reboot")
    begun = world.clock.time
    world.run(120)
    assert last(world) is State.DONE
    assert world.clock.time - begun < 60
    assert len(sent(world, "/reboot")) == times + 1
    assert not [e for e in world.store.events() if e["event"] == "staff_notice"], "nobody is called for what passes"


@pytest.mark.parametrize("kind", ["status", "fail_task"])
def test_then_it_is_permanent_and_staff_can_try_again_with_as_many_tries(world: World, kind: str) -> None:
    world.cluster.faults = [Fault(kind, "POST", "status/reboot$", times=99, reason=ODD)]
    operation = world.page("power", "reboot")
    for tries in (4, 8):
        world.run(200)
        failed = world.store.operation(operation)
        assert failed.state is State.FAILED
        assert ODD in failed.error_text
        assert "log" in failed.next_action
        assert len(sent(world, "/reboot")) == tries
        assert world.store.retry(operation) == ""


@pytest.mark.parametrize(("status", "reason"), [(403, "Permission check failed (/vms, VM.PowerMgmt)"), (400, "bad")])
def test_a_listed_refusal_is_not_repeated(world: World, status: int, reason: str) -> None:
    world.cluster.faults = [Fault("status", "POST", "status/reboot$", times=99, status=status, reason=reason)]
    world.page("power", "reboot")
    world.run(200)
    assert last(world) is State.FAILED
    assert len(sent(world, "/reboot")) == 1


def test_a_task_that_fails_again_and_again_is_tried_ever_more_seldom_and_ends(world: World) -> None:
    """Its start succeeds each time, which must not count as an end of the failing."""
    world.cluster.faults = [
        Fault("fail_task", "POST", "status/reboot$", times=9999, reason="cluster not ready - no quorum?")
    ]
    world.page("power", "reboot")
    world.run(3 * 3600)
    assert last(world) is State.FAILED
    at = sent(world, "/reboot")
    assert len(at) < 120
    assert at[-1] - at[-2] > 40


@pytest.mark.parametrize(("status", "reason"), [(500, ODD), (403, "Permission check failed (/vms, VM.PowerMgmt)")])
def test_the_first_tries_of_a_suspension_follow_soon(world: World, status: int, reason: str) -> None:
    world.cluster.faults = [Fault("status", "POST", "status/shutdown$", times=3, status=status, reason=reason)]
    world.order("suspend")
    begun = world.clock.time
    world.run(900)
    assert last(world) is State.DONE
    assert world.clock.time - begun < 120
    world.cluster.faults = [Fault("status", "POST", "status/start$", times=999, status=status, reason=reason)]
    world.order("unsuspend")
    world.run(900)
    world.order("terminate")
    world.cluster.calls.clear()
    world.cluster.faults = [Fault("status", "DELETE", "/qemu/20000$", times=999, status=status, reason=reason)]
    world.run(2 * 3600)
    tries = [at for at, method, path, _ in world.cluster.calls if (method, path[-11:]) == ("DELETE", "/qemu/20000")]
    assert 8 < len(tries) < 16
    assert tries[3] - tries[0] < 60
    assert tries[-1] - tries[-2] > 600


@pytest.mark.parametrize(
    ("path", "orders", "count"),
    [("/rollback$", ("snapshots",), 1), ("/nodes/[^/]+/qemu$", ("backups",), 1), ("/clone$", ("redeploy",), 1)],
)
def test_an_unknown_answer_after_the_begin_is_looked_up(
    world: World, path: str, orders: tuple[str], count: int
) -> None:
    """What was begun all the same is not begun twice."""
    verb, name = {"snapshots": ("rollback", "name"), "backups": ("restore", "backup")}.get(orders[0], ("", ""))
    if verb:
        world.page(orders[0], "take")
        world.run()
        made = world.store.snapshots_of(1)[0]["name"] if verb == "rollback" else world.store.backups_of(1)[0]["id"]
    world.cluster.calls.clear()
    world.cluster.faults = [Fault("status_after", "POST", path, reason=ODD)]
    if verb:
        world.page(orders[0], verb, **{name: made})
    else:
        world.order("redeploy")
    world.run(300)
    assert last(world) is State.DONE
    assert len([p for _, m, p, _ in world.cluster.calls if m == "POST" and re.search(path, p)]) == count


def test_a_machine_that_moves_between_look_and_act_is_found_again(world: World) -> None:
    moved = []

    def move(phase: str, index: int, method: str, path: str) -> None:
        if phase == "before" and path.endswith("/status/reboot") and not moved:
            moved.append(world.cluster.vms[20000].node)
            world.cluster.vms[20000].node = next(n for n in world.cluster.nodes if n != moved[0])

    world.cluster.on_call = move
    world.page("power", "reboot")
    world.run(200)
    assert moved
    assert last(world) is State.DONE


def test_bridge_has_no_words_of_a_back_end() -> None:
    """What a person has to do at a back end is said by its driver."""
    words = re.compile(r"\b(qm|pvesm|pveum|pct) [a-z]|[Ff]ree room|add a node|hcloud|vzdump|\bUPID\b")
    foreign = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted([*(ROOT / "bridge").rglob("*.py"), *(ROOT / "bridge").rglob("*.html")])
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert not foreign


def test_only_a_driver_knows_how_a_stale_lock_is_freed(world: World) -> None:
    world.cluster.hold(20000)
    for held in world.cluster.privileges.values():  # then nobody here can tell whether a task still works on it
        held.discard("Sys.Audit") if isinstance(held, set) else held.pop("Sys.Audit", None)
    world.page("snapshots", "take", description="d")
    world.run(3 * 3600)
    current = world.store.current_operation(1)
    assert current
    assert current.state is State.STAFF
    assert "`qm unlock 20000` on pve" in current.next_action
