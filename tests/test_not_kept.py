"""Answers of 200 to what was not done: nothing is believed that was not seen, and nobody is asked for what passes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.model import State
from tests.pve.cluster import Fault
from tests.world import World

DONE = b'{"data":null}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path)
    yield w
    w.close()


def test_a_mark_that_was_answered_and_not_made_is_given_again(world: World) -> None:
    world.cluster.faults = [Fault("body_before", "PUT", "/config$", body=DONE)]
    world.order("create")
    world.run()
    [op] = world.store.operations_of(1)
    config = next(v for v in world.cluster.vms.values() if not v.template).config
    assert op.state is State.DONE and world.store.service(1).uuids[0] in config["smbios1"], op.error_text
    assert (config["cores"], config["memory"], config["onboot"]) == ("2", "2048", "1") and "size=20G" in config["scsi0"]


def test_a_mark_that_is_never_kept_ends_with_its_name(world: World) -> None:
    world.cluster.faults = [Fault("body_before", "PUT", "/config$", body=DONE, times=9999)]
    world.order("create")
    world.run(3 * 3600)
    [op] = world.store.operations_of(1)
    assert op.state is State.FAILED and op.error_code == "transient" and "uuid" in op.error_text


def test_a_machine_that_somebody_else_put_there_is_for_a_person(world: World) -> None:
    def other(when: str, index: int, method: str, path: str) -> None:
        if when == "after" and method == "PUT" and 20000 in world.cluster.vms:
            world.cluster.vms[20000].config |= {
                "smbios1": "uuid=00000000-0000-0000-0000-000000000001",
                "description": "x",
            }

    world.cluster.on_call = other
    world.order("create")
    world.run(600)
    [op] = world.store.operations_of(1)
    assert op.state is State.STAFF and op.error_code == "not_ours"
