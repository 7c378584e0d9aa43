"""Answers of 200 to what was not done: nothing is believed that was not seen, and nobody is asked for what passes by
itself."""

from __future__ import annotations

import pytest

from bridge.model import State
from tests.pve.cluster import Fault
from tests.world import World

DONE = b'{"data":null}'


def test_a_mark_that_was_answered_and_not_made_is_given_again(world: World) -> None:
    world.cluster.faults = [Fault("body_before", "PUT", "/config$", body=DONE)]
    world.order("create")
    world.run()
    [op] = world.store.operations_of(1)
    config = next(v for v in world.cluster.vms.values() if not v.template).config
    assert op.state is State.DONE, op.error_text
    assert world.store.service(1).uuids[0] in config["smbios1"], op.error_text
    assert (config["cores"], config["memory"], config["onboot"]) == ("2", "2048", "1")
    assert "size=20G" in config["scsi0"]


def test_a_mark_that_is_never_kept_ends_with_its_name(world: World) -> None:
    world.cluster.faults = [Fault("body_before", "PUT", "/config$", body=DONE, times=9999)]
    world.order("create")
    world.run(3 * 3600)
    [op] = world.store.operations_of(1)
    assert op.state is State.FAILED
    assert op.error_code == "transient"
    assert "uuid" in op.error_text


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
    assert op.state is State.STAFF
    assert op.error_code == "not_ours"


WRITES = ("PUT .*/config$", "PUT .*/resize$", "POST .*/ipset$", "POST .*/ipfilter-net0$", "PUT .*/firewall/options$")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("write", WRITES)
def test_what_was_sold_is_there_when_ready_is_said(world: World, write: str, times: int) -> None:
    method, path = write.split(" ")
    world.cluster.faults = [Fault("body_before", method, path, nth=1 + (path == ".*/config$"), times=times, body=DONE)]
    world.order("create")
    world.run()
    [op] = world.store.operations_of(1)
    vm = next(v for v in world.cluster.vms.values() if not v.template)
    assert op.state is State.DONE, op.error_text
    assert vm.status == "running", op.error_text
    assert (vm.config["cores"], vm.config["memory"], vm.config["onboot"]) == ("2", "2048", "1")
    assert "size=20G" in vm.config["scsi0"]
    assert vm.config["cipassword"].startswith("$6$")
    assert vm.ipsets == {"ipfilter-net0": ["203.0.113.10"]}
    assert vm.firewall["enable"] == "1"


@pytest.mark.parametrize("write", ["PUT .*/config$", "PUT .*/resize$"])
def test_what_was_ordered_more_is_there_when_it_is_said(world: World, write: str) -> None:
    world.order("create")
    world.run()
    method, path = write.split(" ")
    world.cluster.faults = [Fault("body_before", method, path, times=2, body=DONE)]
    world.order("change_package", configoptions={"CPU": 4, "Disk": 40})
    world.run()
    vm = next(v for v in world.cluster.vms.values() if not v.template)
    assert world.store.operations_of(1)[0].state is State.DONE
    assert {**vm.config, **vm.pending}["cores"] == "4"
    assert "size=40G" in vm.config["scsi0"]


def test_what_is_never_kept_is_named_and_never_said_to_be_ready(world: World) -> None:
    world.cluster.faults = [Fault("body_before", "PUT", "/config$", nth=2, body=DONE, times=9999)]
    world.order("create")
    world.run(3 * 3600)
    [op] = world.store.operations_of(1)
    assert op.state is State.FAILED, op.error_text
    assert "cores is 1 instead of 2" in op.error_text, op.error_text
    assert not world.whmcs.mails(), op.error_text
