"""An order that is paid for and finds no room waits for it: on both kinds of servers, over restarts, as long as the
operator says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import services
from bridge.app import create_app
from bridge.errors import Refused
from bridge.model import Desired, State
from tests.hcloud.project import Fault
from tests.test_hetzner import one
from tests.test_hetzner_life import Shop, shops
from tests.test_signature import Shim
from tests.world import World

HOUR = 3600.0
REFUSALS = {  # how the provider says it: at the call, or in an action that ends in error
    "resource_unavailable": Fault("POST /servers", "resource_unavailable", times=3, message="error during placement"),
    "placement_error": Fault("POST /servers", "placement_error", times=3),
    "primary_ip_limit": Fault(
        "POST /servers", "resource_limit_exceeded", times=3, message="limit exceeded", limits=("primary_ip_limit",)
    ),
    "action": Fault("POST /servers", "failing create_server placement_error", times=3),
}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    with shops(tmp_path) as build:
        yield build


def notices(world: World) -> list[str]:
    return [f"{args}" for name, args in world.whmcs.sent if name == "notify_admins"]


def shown(world: World, service: int = 1042) -> str:
    sent = Shim(create_app(world.context).test_client(), world.clock).send(
        "GET", f"/v1/services/{service}/pages/overview?client=7"
    )
    return str(sent.get_json()["html"])


def last(world: World) -> Any:
    return world.store.operations_of(1)[0]


@pytest.mark.parametrize("how", list(REFUSALS))
def test_a_create_waits_and_ends_when_there_is_room(make: Callable[..., Shop], how: str) -> None:
    world = make(order=False, extra_ipv4=1)
    fault = REFUSALS[how]
    world.cloud.faults = [Fault(fault.match, fault.kind, 1, 0, fault.times, fault.message, fault.limits)]
    world.order("create")
    world.run(30)
    assert last(world).waits_for_room
    assert len(notices(world)) == 1
    assert fault.kind.rpartition(" ")[2] in notices(world)[0]
    assert "goes on by itself" in notices(world)[0]
    assert all(limit in notices(world)[0] for limit in fault.limits)
    assert "aiting for room" in shown(world)
    assert "node" not in last(world).next_action
    world.restart()
    world.run(2 * HOUR)
    assert last(world).state is State.DONE
    assert one(world).status == "running"
    assert len(notices(world)) == 1
    assert len(world.paid()) == 4
    assert "aiting for room" not in shown(world)


def test_no_room_on_a_cluster_waits_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cluster.storages["local-lvm"].used = world.cluster.storages["local-lvm"].total
    world.order("create")
    world.run(HOUR)
    assert last(world).waits_for_room
    assert len(notices(world)) == 1
    assert world.vms() == []
    assert "0 GiB free, 20 needed" in notices(world)[0]
    assert "aiting for room" in shown(world)
    world.cluster.storages["local-lvm"].used = 0
    world.run(HOUR)
    assert last(world).state is State.DONE
    assert world.vms() == [20000]
    world.close()


def test_it_is_given_up_after_the_operators_time_and_retried_with_a_new_one(make: Callable[..., Shop]) -> None:
    world = make(order=False)
    world.config.worker["wait_for_room_h"] = 2
    world.cloud.sold["cx23"]["nbg1"] = False
    world.order("create")
    world.run(2 * HOUR + 1200)
    assert last(world).state is State.FAILED
    assert last(world).error_code == "no_capacity"
    assert last(world).next_action
    assert len(notices(world)) == 2
    assert "within 2 h" in notices(world)[1]
    assert world.paid() == []
    assert len(world.cloud.calls) < 60
    world.order("retry")
    world.run(HOUR)
    assert last(world).waits_for_room
    world.cloud.sold["cx23"]["nbg1"] = True
    world.run(HOUR)
    assert last(world).state is State.DONE
    assert len(world.paid()) == 3


def test_nothing_waits_where_the_operator_does_not_want_it(make: Callable[..., Shop]) -> None:
    world = make(order=False)
    world.config.worker["wait_for_room_h"] = 0
    world.cloud.sold["cx23"]["nbg1"] = False
    world.order("create")
    world.run(60)
    assert last(world).state is State.FAILED
    assert len(notices(world)) == 1


@pytest.mark.parametrize("verb", ["suspend", "terminate", "cancel"])
def test_another_order_ends_the_wait_at_once(make: Callable[..., Shop], verb: str) -> None:
    world = make(order=False)
    world.cloud.sold["cx23"]["nbg1"] = False
    world.order("create")
    world.run(3 * HOUR)
    world.order(verb)
    world.run(60)
    if verb == "cancel":
        assert last(world).state is State.CANCELLED
    else:
        assert (last(world).kind, last(world).state) == (verb, State.DONE)
    assert world.paid() == []
    world.cloud.sold["cx23"]["nbg1"] = True
    world.run(2 * HOUR)
    assert world.paid() == []
    if verb == "suspend":  # what makes it active finishes it
        world.order("unsuspend")
        world.run()
        assert one(world).status == "running"
        assert world.store.service(1).provisioned


def test_a_corrected_order_takes_the_place_of_the_one_that_waits(make: Callable[..., Shop]) -> None:
    world = make(order=False, locations=["fsn1"])
    world.cloud.sold["cx23"]["nbg1"] = False
    world.order("create")
    world.run(HOUR)
    world.order("create", configoption2="fsn1", status="Active")
    world.run(60)
    assert last(world).state is State.DONE
    assert one(world).location == "fsn1"
    assert len(world.paid()) == 3


# -- other places -------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["listed", "refused", "action"])
def test_another_location_where_the_plan_allows_it(make: Callable[..., Shop], how: str) -> None:
    world = make(order=False, fallback_locations=["fsn1"])
    if how == "listed":
        world.cloud.sold["cx23"]["nbg1"] = False
    else:
        kind = "resource_unavailable" if how == "refused" else "failing create_server resource_unavailable"
        world.cloud.faults = [Fault("POST /servers", kind)]
    world.order("create")
    world.run(120)
    assert last(world).state is State.DONE
    assert one(world).location == "fsn1"
    assert len(world.paid()) == 3
    assert notices(world) == []


def test_a_location_that_the_order_names_is_kept(make: Callable[..., Shop]) -> None:
    world = make(order=False, fallback_locations=["fsn1"], locations=["nbg1"])
    world.cloud.sold["cx23"]["nbg1"] = False
    world.order("create", configoption2="nbg1")
    world.run(HOUR)
    assert last(world).waits_for_room
    assert world.paid() == []


def test_a_redeploy_stays_where_its_addresses_are(make: Callable[..., Shop]) -> None:
    world = make(fallback_locations=["fsn1"], extra_ipv4=1)
    before = world.store.service(1).birth.addresses
    world.cloud.faults = [
        Fault("POST /servers", "resource_unavailable", times=2),
        Fault("POST /servers", "failing create_server resource_unavailable", nth=3),
    ]
    world.order("redeploy")
    world.run(HOUR)
    assert last(world).state is State.DONE
    assert one(world).location == "nbg1"
    assert one(world).status == "running"
    assert world.store.service(1).birth.addresses == before
    assert len(world.paid()) == 4


# -- changes of a machine that is there ---------------------------------------------------------------
def test_a_change_of_type_waits_while_the_server_stays_as_it_is(make: Callable[..., Shop]) -> None:
    world = make()
    world.cloud.sold["cx33"]["nbg1"] = False
    world.cloud.calls.clear()
    world.change(server_type="cx33")
    world.run(3 * HOUR)
    assert last(world).waits_for_room
    assert world.cloud.mutations() == []
    assert one(world).status == "running"
    assert "aiting for room" in shown(world)
    assert "Your server stays as it is" in shown(world)
    assert len(notices(world)) == 1
    world.cloud.sold["cx33"]["nbg1"] = True
    world.run(HOUR)
    assert last(world).state is State.DONE
    assert (one(world).kind, one(world).status) == ("cx33", "running")


def test_the_server_is_not_switched_off_again_and_again_to_find_out(make: Callable[..., Shop]) -> None:
    world = make()
    world.cloud.faults = [Fault("POST .*/change_type", "resource_unavailable", times=2)]
    world.cloud.calls.clear()
    world.change(server_type="cx33")
    world.run(3 * HOUR)
    assert last(world).waits_for_room
    assert (one(world).kind, one(world).status) == ("cx23", "running")
    assert [p.rpartition("/")[2] for _, p in world.cloud.mutations()] == ["shutdown", "change_type", "poweron"]
    world.run(8 * HOUR)
    assert last(world).state is State.DONE
    assert (one(world).kind, one(world).status) == ("cx33", "running")


def test_the_customer_goes_on_while_a_change_waits(make: Callable[..., Shop]) -> None:
    world = make(snapshots=2, allow=["snapshots"])
    world.cloud.sold["cx33"]["nbg1"] = False
    world.change(server_type="cx33")
    world.run(600)
    assert services.busy_reason(world.store.service(1), world.store) == ""
    world.page("power", "stop")
    world.run(300)
    assert one(world).status == "off"
    world.page("snapshots", "take")
    world.run(300)
    assert len([i for i in world.cloud.images.values() if i.type == "snapshot"]) == 1
    waiting = world.store.current_operation(1)
    assert waiting
    assert waiting.kind == "change_package"
    assert waiting.waits_for_room
    assert len(notices(world)) == 1
    world.cloud.sold["cx33"]["nbg1"] = True
    world.run(HOUR)
    assert (one(world).kind, one(world).status) == ("cx33", "off")


def test_nothing_else_begins_while_a_birth_waits(make: Callable[..., Shop]) -> None:
    world = make(order=False)
    world.cloud.sold["cx23"]["nbg1"] = False
    world.order("create")
    world.run(600)
    with pytest.raises(Refused):
        world.page("power", "start")


def test_a_suspension_in_between_and_the_change_goes_on_afterwards(make: Callable[..., Shop]) -> None:
    world = make()
    world.cloud.faults = [Fault("POST .*/change_type", "resource_unavailable", times=2)]
    world.change(server_type="cx33")
    world.run(600)
    world.order("suspend")
    world.run(300)
    assert one(world).status == "off"
    assert world.store.service(1).desired is Desired.SUSPENDED
    world.order("unsuspend")
    world.run(600)
    assert one(world).status == "running"
    assert last(world).waits_for_room
    world.run(9 * HOUR)
    assert last(world).state is State.DONE
    assert (one(world).kind, one(world).status) == ("cx33", "running")


def test_a_limit_of_addresses_waits_with_the_server_made_once(make: Callable[..., Shop]) -> None:
    world = make(order=False, extra_ipv4=2)
    world.cloud.limits["floating_ip_limit"] = 1
    world.order("create")
    world.run(HOUR)
    assert last(world).waits_for_room
    assert "floating_ip_limit" in last(world).error_text
    assert len(world.paid()) == 4
    world.cloud.limits.clear()
    world.run(HOUR)
    assert last(world).state is State.DONE
    assert len(world.paid()) == 5
    assert one(world).status == "running"


def test_what_a_customer_does_by_hand_does_not_wait(make: Callable[..., Shop]) -> None:
    world = make(snapshots=2, allow=["snapshots"])
    world.cloud.limits["snapshot_limit"] = 0
    world.page("snapshots", "take")
    world.run(300)
    assert last(world).state is State.FAILED
    assert "snapshot_limit" in last(world).error_text
    assert world.store.snapshots_of(1) == []
    assert len(notices(world)) == 1
