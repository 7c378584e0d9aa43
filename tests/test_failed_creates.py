"""A create whose action fails at the provider: what it left goes first, the wait for room is not cut short by that, and
an order that is given up leaves nothing that costs money."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.model import State
from tests.hcloud.project import Fault
from tests.test_hetzner_life import Shop

FULL = {"backups": 7, "firewalls": ["web"], "networks": ["internal"], "extra_ipv4": 1}
FAILING = "failing create_server {}"


def shop(path: Path, code: str, **plan: object) -> Shop:
    world = Shop(path, **FULL, **plan)
    world.cloud.faults = [Fault("POST /servers", FAILING.format(code).strip(), times=10**6)]
    return world


@pytest.mark.parametrize("code", ["", "conflict", "invalid_input"])
def test_an_order_that_is_given_up_leaves_nothing_paid(tmp_path: Path, code: str) -> None:
    world = shop(tmp_path, code)
    world.order("create")
    world.run(3 * 3600)
    op = world.store.operations_of(1)[0]
    assert op.state is State.FAILED, (op, world.paid())
    assert world.paid() == [], (op, world.paid())
    assert [e["event"] for e in world.store.events()] == ["staff_notice"]
    world.cloud.faults = []
    assert world.store.retry(op.id) == ""
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE
    assert len(world.cloud.servers) == 1
    world.close()


def test_an_order_given_up_while_the_provider_holds_the_failed_server(tmp_path: Path) -> None:
    """The removal is refused as long as it is tried for; giving up tries it once more."""
    world = shop(tmp_path, "conflict")
    world.cloud.faults.append(Fault(r"DELETE /servers/\d+", "locked", times=150))
    world.order("create")
    world.run(6 * 3600)
    op = world.store.operations_of(1)[0]
    assert op.state is State.FAILED, (op, world.paid())
    assert world.paid() == [], (op, world.paid())
    world.close()


def test_the_wait_for_room_is_not_cut_short_by_what_has_to_be_removed_on_the_way(tmp_path: Path) -> None:
    world = shop(tmp_path, "resource_unavailable")
    world.order("create")
    world.run(5 * 3600)
    op = world.store.operations_of(1)[0]
    assert op.state is State.RUNNING, op
    assert op.waits_for_room, op
    assert world.paid() == [], op
    world.cloud.faults = []
    world.run(3600)
    assert world.store.operations_of(1)[0].state is State.DONE
    assert [e["event"] for e in world.store.events()].count("staff_notice") == 1
    world.close()
