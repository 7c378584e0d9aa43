"""What somebody wants to keep is never removed while its protection lasts: it is named, waited for, and removed when
the protection is off. And what is said of a machine that is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import services
from bridge.app import create_app
from bridge.customer.snapshots import expire_snapshots
from bridge.errors import Refused
from bridge.metering import status
from bridge.model import Operation, State
from bridge.staff import findings
from tests.hcloud.project import Fault
from tests.test_hetzner import one
from tests.test_hetzner_images import kept
from tests.test_hetzner_life import RICH, Shop, full
from tests.test_signature import Shim
from tests.world import World

HOUR = 3600.0


@pytest.fixture
def rich(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, **RICH)
    shop.order("create")
    shop.run()
    full(shop)
    yield shop
    shop.close()


def last(world: World) -> Any:
    return world.store.operations_of(1)[0]


def newest_of(world: World, kind: str) -> Operation:
    return next(op for op in world.store.operations_of(1) if op.kind == kind)


def notices(world: World) -> list[str]:
    return [f"{args}" for name, args in world.whmcs.sent if name == "notify_admins"]


def page(world: World) -> str:
    shim = Shim(create_app(world.context).test_client(), world.clock)
    return str(shim.send("GET", "/v1/services/1042/pages/overview?client=7").get_json()["html"])


def primary(world: Shop, on: bool) -> None:
    ip = next(iter(world.cloud.primary_ips.values()))
    ip.protected, ip.auto_delete = on, False


def on_all(things: Callable[[Shop], list[Any]]) -> Callable[[Shop, bool], None]:
    return lambda w, on: [setattr(t, "protected", on) for t in things(w)] and None


THINGS: dict[str, tuple[Callable[[Shop, bool], None], str]] = {
    "server": (on_all(lambda w: list(w.cloud.servers.values())), "server vm-1042"),
    "floating IP": (on_all(lambda w: [next(iter(w.cloud.floating_ips.values()))]), "floating IP 198.51.100."),
    "primary IP": (primary, "primary IP 192.0.2."),
    "snapshot": (on_all(lambda w: kept(w, "snapshot")), "snapshot 42"),
}


@pytest.mark.parametrize("what", list(THINGS))
def test_terminate_names_it_waits_and_goes_on_when_it_is_lifted(rich: Shop, what: str) -> None:
    protect, words = THINGS[what]
    protect(rich, True)
    rich.order("terminate")
    rich.run(2 * HOUR)
    assert last(rich).state is State.RUNNING
    assert last(rich).error_code == "protected"
    assert words in last(rich).error_text
    assert "protection off" in last(rich).next_action
    said = "nothing of it was removed" if what == "server" else "The server is removed, and what went with it"
    assert said in last(rich).error_text
    assert len(notices(rich)) == 1
    assert words in notices(rich)[0]
    assert "provider" in notices(rich)[0]
    left = rich.paid()
    assert len(left) == 1 or (what == "server" and one(rich).status == "off")
    rich.restart()
    protect(rich, False)
    rich.run(HOUR)
    assert last(rich).state is State.DONE
    assert rich.paid() == []
    assert len(notices(rich)) == 1


def test_a_redeploy_touches_nothing_while_the_server_is_protected(rich: Shop) -> None:
    before = one(rich)
    before.protected = True
    rich.cloud.calls.clear()
    rich.order("redeploy")
    rich.run(2 * HOUR)
    assert last(rich).error_code == "protected"
    assert last(rich).state is State.RUNNING
    assert len(notices(rich)) == 1
    assert rich.cloud.mutations() == []
    assert before.status == "running"
    assert services.busy_reason(rich.store.service(1), rich.store) == ""
    rich.page("power", "stop")  # what the customer does meanwhile comes first
    rich.run(120)
    assert before.status == "off"
    assert last(rich).kind == "stop"
    assert last(rich).state is State.DONE
    rich.page("power", "start")
    rich.run(120)
    before.protected = False
    rich.run(2 * HOUR)
    assert newest_of(rich, "redeploy").state is State.DONE
    assert one(rich).id != before.id
    assert one(rich).status == "running"


def test_a_snapshot_that_is_protected(rich: Shop) -> None:
    [image] = kept(rich, "snapshot")
    image.protected = True
    [row] = rich.store.snapshots_of(1)
    rich.page("snapshots", "delete", name=row["name"], confirmed="1")
    rich.run(600)
    assert last(rich).state is State.FAILED
    assert last(rich).error_code == "protected"
    assert len(notices(rich)) == 1
    assert "ask our staff to take the protection off" in page(rich)
    assert rich.store.snapshots_of(1)[0]["state"] == "ready"
    rich.store.change("UPDATE snapshots SET expires_at = ?", rich.clock.now())
    begun = 0
    for _ in range(120):  # its lifetime is over: not once a minute
        rich.clock.time += 60
        begun += expire_snapshots(rich.store)
        rich.run(60)
    assert begun == 0
    assert kept(rich, "snapshot") == [image]
    image.protected = False
    rich.clock.time += 86400
    expire_snapshots(rich.store)
    rich.run(600)
    assert kept(rich, "snapshot") == []
    assert rich.store.snapshots_of(1) == []


# -- a machine that is gone ---------------------------------------------------------------------------
def cloud(path: Path) -> World:
    return Shop(path)


def vanish(world: World) -> None:
    if isinstance(world, Shop):
        world.cloud._delete_servers_one({}, one(world))
    else:
        world.cluster.vms.pop(20000)
    for _ in range(3):
        world.clock.time += 400
        world.store.want_status("pve1")
        status.refresh("pve1", world.drivers["pve1"], world.store)
    findings.sweep_state("pve1", world.drivers["pve1"], world.store, now=True)


@pytest.mark.parametrize("build", [cloud, World])
def test_a_machine_that_vanished_is_told_to_everybody(tmp_path: Path, build: Callable[[Path], World]) -> None:
    world = build(tmp_path)
    world.order("create")
    world.run()
    assert "not found on its host" not in page(world)
    vanish(world)
    assert [f["kind"] for f in world.store.findings(1)] == ["vm_missing"]
    html = page(world)
    assert "Your server is not found on its host" in html
    assert html.count('aria-disabled="true"') >= 4
    with pytest.raises(Refused, match="not found on its host"):
        world.page("power", "start")
    for verb, state in (("suspend", State.DONE), ("unsuspend", State.FAILED), ("change_package", State.FAILED)):
        world.order(verb)
        world.run(2 * HOUR)
        assert last(world).state is state, verb
        if state is State.FAILED:
            assert last(world).error_code == "vm_absent"
            assert last(world).next_action
    assert len(notices(world)) == 2
    world.order("terminate")
    world.run()
    assert last(world).state is State.DONE
    assert not isinstance(world, Shop) or world.paid() == []
    world.close()


# -- an action that fails at the provider ---------------------------------------------------------------
ACTIONS: dict[str, tuple[dict[str, Any], Callable[[Shop], Any]]] = {
    "create_server": ({}, lambda w: w.order("create")),
    "apply_firewall": ({"firewalls": ["web"]}, lambda w: w.order("create")),
    "attach_to_network": ({"networks": ["internal"]}, lambda w: w.order("create")),
    "enable_backup": ({"backups": 7}, lambda w: w.order("create")),
    "start_server": ({}, lambda w: w.order("create")),
    "assign_floating_ip": ({"extra_ipv4": 2}, lambda w: w.order("create")),
}


@pytest.mark.parametrize("command", list(ACTIONS))
@pytest.mark.parametrize("times", [1, 2])
def test_an_action_of_a_birth_that_fails_is_tried_again(tmp_path: Path, command: str, times: int) -> None:
    plan, do = ACTIONS[command]
    world = Shop(tmp_path, **plan)
    world.cloud.faults = [Fault("POST .*", f"failing {command}", n, 0, 1) for n in range(1, 30)][: 3 * times]
    do(world)
    world.run(2 * HOUR)
    assert last(world).state is State.DONE, last(world).error_text
    server = one(world)
    assert server.status == "running"
    assert (server.window is not None) == ("backups" in plan)
    assert server.firewalls == ([31] if "firewalls" in plan else [])
    assert server.networks == ([41] if "networks" in plan else [])
    if command != "create_server":  # what follows a server that is there is tried again beside it
        assert world.cloud.mutations().count(("POST", "/servers")) == 1
    assert len(world.paid()) == 3 + plan.get("extra_ipv4", 0)
    assert all(f.owner == server.id for f in world.cloud.floating_ips.values())
    world.close()


def test_a_create_whose_reply_was_lost_and_that_failed_is_made_again(tmp_path: Path) -> None:
    world = Shop(tmp_path)
    world.cloud.faults = [Fault("POST /servers", "lost")]
    world.order("create")
    world.run(5)
    action = next(iter(world.cloud.actions.values()))
    action.error, action.then = "Action failed", ""
    world.run(2 * HOUR)
    assert last(world).state is State.DONE
    assert one(world).status == "running"
    assert len(world.paid()) == 3
    assert world.cloud.mutations().count(("POST", "/servers")) == 2
    world.close()


VERBS: dict[str, Callable[[Shop], Any]] = {
    "snapshot": lambda w: w.page("snapshots", "take"),
    "rollback": lambda w: w.page("snapshots", "rollback", name=w.store.snapshots_of(1)[0]["name"], confirmed="1"),
    "backup": lambda w: w.page("backups", "take"),
    "restore": lambda w: w.page("backups", "restore", backup=str(w.store.backups_of(1)[0]["id"]), confirmed="1"),
    "reinstall": lambda w: w.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL"),
    "reset_password": lambda w: w.page("reset_password", "reset"),
    "stop": lambda w: w.order("stop"),
    "reboot": lambda w: w.order("reboot"),
    "suspend": lambda w: w.order("suspend"),
    "terminate": lambda w: w.order("terminate"),
}


@pytest.mark.parametrize("verb", list(VERBS))
def test_an_action_that_fails_once_is_no_end(tmp_path: Path, verb: str) -> None:
    world = Shop(tmp_path, **{**RICH, "snapshots": 5, "allow": ["snapshots", "backups", "reinstall", "reset_password"]})
    world.order("create")
    world.run()
    full(world)
    world.cloud.faults = [Fault("(POST /servers/.*|DELETE /servers/.*)", "failing action")]
    VERBS[verb](world)
    world.run(2 * HOUR)
    assert world.cloud.faults[0].seen, (last(world).kind, last(world).error_text)
    assert last(world).state is State.DONE, (last(world).kind, last(world).error_text)
    assert notices(world) == []
    assert verb != "terminate" or world.paid() == []
    world.close()


def test_a_redeploy_keeps_a_protected_address(rich: Shop) -> None:
    primary(rich, True)
    before = rich.store.service(1).birth.addresses
    rich.order("redeploy")
    rich.run(2 * HOUR)
    assert last(rich).state is State.DONE
    assert rich.store.service(1).birth.addresses == before
    rich.order("terminate")
    rich.run(HOUR)
    assert last(rich).error_code == "protected"
    assert "primary IP 192.0.2." in last(rich).error_text
    primary(rich, False)
    rich.run(HOUR)
    assert last(rich).state is State.DONE
    assert [p for p in rich.paid() if p not in kept(rich, "snapshot")] == []


# -- what is on a server ----------------------------------------------------------------------------------
@pytest.mark.parametrize("verb", ["rollback", "restore", "reinstall"])
def test_protected_content_is_told_as_what_it_is(tmp_path: Path, verb: str) -> None:
    world = Shop(tmp_path, **{**RICH, "snapshots": 5, "allow": ["snapshots", "backups", "reinstall", "reset_password"]})
    world.order("create")
    world.run()
    full(world)
    one(world).rebuild_protected = True
    VERBS[verb](world)
    world.run(2 * HOUR)
    op = last(world)
    assert op.state is State.FAILED
    assert op.error_code == "rebuild_protected"
    assert one(world).status == "running"
    assert "rebuild protection" in op.next_action
    assert "by itself" not in op.next_action
    world.close()


@pytest.mark.parametrize("verb", ["terminate", "redeploy"])
def test_what_was_attached_by_hand_is_named_and_stays(tmp_path: Path, verb: str) -> None:
    world = Shop(tmp_path, **RICH)
    world.order("create")
    world.run()
    one(world).volumes.append(4711)
    before = len(notices(world))
    world.order(verb)
    world.run(2 * HOUR)
    assert last(world).state is State.DONE
    [said] = notices(world)[before:]
    assert "volume 4711 stays" in str(said)
    assert ("new server" in str(said)) == (verb == "redeploy")
    world.close()


@pytest.mark.parametrize("code", ["conflict", "action_failed"])
def test_a_create_that_fails_for_long_does_not_make_a_server_a_minute(tmp_path: Path, code: str) -> None:
    world = Shop(tmp_path)
    world.cloud.faults = [Fault("POST /servers", f"failing create_server {code}", times=999)]
    world.order("create")
    world.run(3 * HOUR)
    assert last(world).state is State.FAILED
    assert world.paid() == []
    assert 3 <= world.cloud.mutations().count(("POST", "/servers")) <= 8
    world.close()
