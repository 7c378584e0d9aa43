"""What the provider sells until a day, and what a plan names that an order could not have: `check` and the order judge
alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from bridge.metering import status
from bridge.model import State
from bridge.staff import doctor, servers
from tests.hcloud.network import Net
from tests.test_hetzner import Cloud, one
from tests.test_signature import Shim

SOON = {"announced": "2026-12-01T00:00:00+00:00", "unavailable_after": "2027-03-01T00:00:00+00:00"}
PAST = {"announced": "2026-06-01T00:00:00+00:00", "unavailable_after": "2026-12-31T00:00:00+00:00"}


def told(world: Cloud) -> dict[str, tuple[str, str]]:
    return {f.subject: (f.level, f.text) for f in doctor.check(world.context)}


def made(world: Cloud) -> list[Any]:
    """All changes but the question whether the token may write."""
    return [c for c in world.cloud.mutations() if c[1] != "/servers/0/actions/poweron"]


def ordered(world: Cloud) -> Any:
    world.order("create")
    world.run()
    return world.store.operations_of(1)[0]


def test_an_image_whose_end_is_announced_is_sold_until_then(tmp_path: Path) -> None:
    world = Cloud(tmp_path)
    image = next(i for i in world.cloud.images.values() if (i.name, i.architecture) == ("debian-12", "x86"))
    image.deprecation = SOON
    level, text = told(world)["plan kvm-s templates"]
    assert level == "warning"
    assert "2027-03-01" in text
    assert "debian-12" in text
    assert ordered(world).state is State.DONE
    assert one(world).image == "debian-12"
    image.deprecation = PAST  # gone from the lists
    level, text = told(world)["plan kvm-s templates"]
    assert level == "fault"
    assert "debian-12" in text
    world.cloud.calls.clear()
    world.order("create", 1043)
    world.run()
    operation = world.store.operations_of(2)[0]
    assert (operation.state, operation.error_code) == (State.FAILED, "plan_impossible")
    assert "debian-12" in operation.error_text
    assert made(world) == []
    assert len(world.cloud.servers) == 1
    world.close()


@pytest.mark.parametrize("end", [SOON, PAST])
def test_a_type_that_ends_in_one_location(tmp_path: Path, end: dict[str, str]) -> None:
    world = Cloud(tmp_path)
    world.cloud.retired["cx23", "nbg1"] = end
    level, text = told(world)["plan kvm-s server_type"]
    assert level == ("warning" if end is SOON else "fault")
    assert end["unavailable_after"][:10] in text
    operation = ordered(world)
    if end is SOON:
        assert operation.state is State.DONE
    else:
        assert (operation.state, operation.error_code) == (State.FAILED, "plan_impossible")
        assert made(world) == []
        assert "cx23 in nbg1, since 2026-12-31" in operation.error_text
    world.close()


def test_nothing_is_stopped_for_a_type_that_no_server_can_become_any_more(tmp_path: Path) -> None:
    world = Cloud(tmp_path)
    ordered(world)
    world.cloud.retired["cx33", "nbg1"] = SOON
    world.config.plans["kvm-s"].driver_values["server_type"] = "cx33"
    world.cloud.calls.clear()
    world.order("change_package")
    world.run()
    operation = world.store.operations_of(1)[0]
    assert operation.state is State.FAILED
    assert "cx33" in operation.error_text
    assert "2027-03-01" in operation.error_text
    assert made(world) == []
    assert one(world).status == "running"
    world.close()


@pytest.mark.parametrize("zones", [(), ("us-east",)])
def test_a_network_without_a_subnet_where_the_server_would_be(tmp_path: Path, zones: tuple[str, ...]) -> None:
    world = Cloud(tmp_path, networks=["internal"])
    world.cloud.networks[41] = Net("internal", zones)
    level, text = told(world)["plan kvm-s networks"]
    assert level == "fault"
    assert "'internal'" in text
    assert "eu-central" in text
    operation = ordered(world)
    assert (operation.state, operation.error_code) == (State.FAILED, "plan_impossible")
    assert text in operation.error_text
    assert made(world) == []
    world.cloud.networks[41] = Net("internal", (*zones, "eu-central"))
    assert told(world)["plan kvm-s networks"] == ("ok", "the provider's firewalls do not cover private networks")
    world.store.retry(operation.id)
    world.run()
    assert one(world).networks == [41]
    world.close()


def test_a_token_that_may_only_read_fails_the_test_of_the_connection(tmp_path: Path) -> None:
    world = Cloud(tmp_path)
    shim = Shim(create_app(world.context).test_client(), world.clock)

    def tested() -> tuple[int, str]:
        world.store.want_status("pve1")
        world.clock.time += 70
        status.refresh("pve1", world.drivers["pve1"], world.store)
        reply = shim.send("POST", "/v1/servers/pve1/test", {})
        return reply.status_code, str(reply.get_json())

    world.cloud.read_only = True
    code, text = tested()
    assert code == 409
    assert "may only read" in text
    assert "read and write" in text
    assert world.cloud.servers == {}
    assert servers.views(world.store, world.config)[0].state == "trouble"
    assert told(world)["server pve1"][0] == "fault"
    calls = len(world.cloud.calls)
    world.cloud.read_only = False
    assert tested()[0] == 200
    assert told(world)["server pve1"][0] == "ok"
    world.cloud.calls.clear()
    for _ in range(5):
        tested()
    assert len([c for c in world.cloud.calls if c[0] == "POST"]) == 0
    assert calls
    world.close()
