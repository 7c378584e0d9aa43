"""A Hetzner product through the same orders: from order to running, suspend, unsuspend, power and terminate, with every
kind of lost reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import budget, services
from bridge.errors import Capacity, NotBuilt, NotFound, NotOurs, Refused
from bridge.metering import status
from bridge.model import Desired, State, VmRef
from bridge.orders import packages
from bridge.staff import servers
from bridge.worker import tell_stuck
from drivers.hetzner.driver import Hetzner
from tests.branches import Branches, Killed
from tests.hcloud.http import ProjectAdapter
from tests.hcloud.matrix import BY_THEMSELVES
from tests.hcloud.project import CALLS, TOKEN, Fault, Project, Server
from tests.slices import covering
from tests.world import World

PLAN = {
    "server": "pve1",
    "cores": 2,
    "ram_mib": 4096,
    "disk_gib": 40,
    "server_type": "cx23",
    "location": "nbg1",
    "templates": ["debian-12", "ubuntu-24.04"],
    "allow": [],
}
WALK = ("create", "suspend", "unsuspend", "terminate")


class Cloud(World):
    """An installation that sells servers of a simulated project."""

    def __init__(self, path: Path, **plan: Any) -> None:
        self.project: Project | None = None
        super().__init__(
            path, servers={"pve1": {"driver": "hetzner", "token": TOKEN}}, plans={"kvm-s": {**PLAN, **plan}}, pools={}
        )

    def drivers_of(self, mount: Callable[[Any], None]) -> dict[str, Any]:
        self.project = self.project or Project(self.clock)
        adapter = ProjectAdapter(self.project)
        made: dict[str, Any] = {
            n: Hetzner(n, s, self.clock, lambda session: session.mount("https://", adapter))
            for n, s in self.config.servers.items()
        }
        budget.give(made, self.store)
        return made

    @property
    def cloud(self) -> Project:
        assert self.project
        return self.project

    def close(self) -> None:
        self.store.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path)
    yield made
    made.close()


def one(world: Cloud) -> Any:
    [server] = world.cloud.servers.values()
    return server


def test_an_order_becomes_a_running_server(world: Cloud) -> None:
    answer = world.order("create")
    assert "Dedicated IP" not in answer.properties  # the provider chooses it
    world.run()
    server, service = one(world), world.store.service(1)
    assert (server.status, server.kind, server.location, server.image) == ("running", "cx23", "nbg1", "debian-12")
    assert service.vm_id == str(server.id)
    assert server.labels == {"vmbridge": service.uuids[0]}
    assert service.provisioned
    assert list(service.birth.addresses) == ["192.0.2.1", "2001:db8:1::1"]
    assert ("update_service", (1042,)) in world.whmcs.sent
    assert [a["primaryip"] for a in services.accounts("pve1", "main", world.store)] == ["192.0.2.1"]
    wanted = json.loads(server.user_data.partition("\n")[2])
    assert wanted["fqdn"] == "vm-1042.example.com"
    assert wanted["chpasswd"]["users"][0]["password"].startswith("$6$")
    assert "Secret-pass-1" not in server.user_data
    assert len(world.whmcs.mails()) == 1
    assert [m for m in world.cloud.mutations() if m[1] == "/servers"] == [("POST", "/servers")]
    labels = {"vmbridge": service.uuids[0], "vmbridge-server": str(server.id)}
    assert [(p.name, p.labels, p.auto_delete) for p in world.cloud.primary_ips.values()] == [
        (f"{server.name}-p4", labels, True),
        (f"{server.name}-p6", labels, True),
    ]


def test_suspend_unsuspend_and_terminate(world: Cloud) -> None:
    for verb, there in (("create", "running"), ("suspend", "off"), ("unsuspend", "running")):
        world.order(verb)
        world.run()
        assert one(world).status == there, verb
        assert world.store.operations_of(1)[0].state is State.DONE, verb
    world.order("terminate")
    world.run()
    assert world.cloud.servers == {}
    assert world.store.service(1).desired is Desired.TERMINATED
    world.order("create")  # a new generation
    world.run()
    assert one(world).status == "running"


def test_a_system_that_ignores_the_shutdown_is_turned_off(world: Cloud) -> None:
    world.order("create")
    world.run()
    one(world).ignores_shutdown = True
    world.order("suspend")
    world.run()
    assert one(world).status == "off"
    sent = [p.rpartition("/")[2] for _, p in world.cloud.mutations() if "/actions/" in p]
    assert sent == ["poweron", "shutdown", "poweroff"]


def test_a_system_that_ignores_a_stop_is_told_with_the_way_out(world: Cloud) -> None:
    world.order("create")
    world.run()
    one(world).ignores_shutdown = True
    world.cloud.calls.clear()
    world.order("stop")
    world.run()
    last = world.store.operations_of(1)[0]
    assert last.state is State.FAILED
    assert last.error_code == "no_reaction"
    assert one(world).status == "running"
    assert len(world.cloud.calls) < 75
    world.order("hard_stop")
    world.run()
    assert one(world).status == "off"


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("stop", "running", "off"),
        ("reboot", "running", "running"),
        ("hard_stop", "running", "off"),
        ("start", "off", "running"),
    ],
)
def test_power(world: Cloud, verb: str, before: str, after: str) -> None:
    world.order("create")
    world.run()
    one(world).status = before
    world.order(verb)
    world.run()
    assert one(world).status == after
    assert world.store.operations_of(1)[0].state is State.DONE


KINDS = ("reset", "lost", "locked", "conflict", "rate_limit_exceeded", "unavailable", "server_error")
ANSWERS = ("page", "a_code_of_tomorrow", "page before", "empty", "cut", "list", "forbidden")
WHOLE = 1000  # more calls than a life has


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.matrix)], ids=["slice", "whole"])
def test_a_fault_on_any_call(tmp_path: Path, whole: bool) -> None:
    """Each call of create, suspend, unsuspend and terminate: the end is the same, nothing is made twice, nothing is
    left."""
    world = Cloud(tmp_path)
    branches, kind = Branches(world, tmp_path), ""
    kinds = covering((*KINDS, *ANSWERS), range(1, WHOLE), WHOLE if whole else 3)

    def on_call(call: str) -> None:
        nonlocal kind
        for name in kinds[len(world.cloud.calls)]:
            if branches.branch((name, len(world.cloud.calls), call)):
                kind, world.cloud.faults = name, [Fault(".*", name)]
                return

    def play() -> int:
        failures = 0
        for verb in WALK:
            world.order(verb)
            world.run()
            last = world.store.operations_of(1)[0]
            if last.state is State.FAILED:
                assert kind not in BY_THEMSELVES
                assert last.error_text
                assert last.next_action
                failures += 1
                world.store.retry(last.id)
                world.run()
            assert world.store.operations_of(1)[0].state is State.DONE, (verb, world.store.operations_of(1)[0])
            assert len(world.cloud.servers) == (verb != "terminate"), verb
        made = [m for m in world.cloud.mutations() if m == ("POST", "/servers")]
        assert world.cloud.servers == {}
        assert len(world.whmcs.mails()) == 1
        assert len(made) <= 2
        return failures

    world.cloud.on_call = on_call
    assert branches.grow(play) == 0
    calls = len(world.cloud.calls)
    assert calls > 20
    assert {number for _, number, _ in branches.ends} == set(range(1, calls + 1))
    assert len(branches.ends) == calls * (len((*KINDS, *ANSWERS)) if whole else 3)
    assert {name for name, *_ in branches.ends} == {*KINDS, *ANSWERS}
    world.close()


def test_killed_at_every_border(tmp_path: Path) -> None:
    """The worker dies before every border of a life; another goes on to the same end."""
    world = Cloud(tmp_path)
    branches, names = Branches(world, tmp_path), []  # type: tuple[Branches, list[str]]

    def border(name: str) -> None:
        names.append(name)
        if branches.branch((len(names), name)):
            raise Killed

    def play() -> None:
        for verb in WALK:
            world.order(verb)
            try:
                world.run()
            except Killed:
                world.restart()
                world.run()
            assert len(world.cloud.servers) == (verb != "terminate"), verb
            assert world.store.operations_of(1)[0].state is State.DONE, verb

    world.border = border
    branches.grow(play)
    assert len(branches.ends) == len(names) > 20
    world.close()


def test_a_create_action_that_fails_leaves_nothing_behind(world: Cloud) -> None:
    world.cloud.faults = [
        Fault("POST /servers", "failing action") for _ in range(4)
    ]  # of an unknown cause: three tries more
    world.order("create")
    world.run()
    last = world.store.operations_of(1)[0]
    assert last.state is State.FAILED
    assert "action_failed" in str(world.store.steps(last.id))
    assert world.cloud.servers == {}
    world.store.retry(last.id)
    world.run()
    assert one(world).status == "running"
    assert world.store.operations_of(1)[0].state is State.DONE


def test_an_action_that_never_ends_is_told_once(world: Cloud) -> None:
    world.cloud.durations["create_server"] = 10.0**9
    world.order("create")
    world.run(3600)
    tell_stuck(world.context)
    assert [e for e in world.store.events() if e["event"] == "staff_notice"] == []
    world.clock.time += 6 * 3600
    for _ in range(2):
        tell_stuck(world.context)
    assert len([e for e in world.store.events() if e["event"] == "staff_notice"]) == 1
    assert "more than 6 hours" in world.store.unseal(
        world.store.column("SELECT payload FROM outbox WHERE event = 'staff_notice'")[0]
    )
    assert world.store.operations_of(1)[0].state is State.RUNNING
    for action in world.cloud.actions.values():
        action.ends = world.clock.time
    world.run()
    assert one(world).status == "running"
    assert world.store.operations_of(1)[0].state is State.DONE


def test_what_a_failed_create_left_is_removed_when_it_is_free_again(world: Cloud) -> None:
    world.cloud.faults = [*(Fault("POST /servers", "failing action") for _ in range(4)), Fault("DELETE .*", "locked")]
    world.order("create")
    world.run()
    assert world.store.operations_of(1)[0].state is State.FAILED
    assert world.cloud.servers == {}


def test_a_name_that_somebody_else_has(world: Cloud) -> None:
    world.order("create")
    uuid = world.store.service(1).uuids[0]
    world.cloud.handle(
        "POST",
        "/v1/servers",
        [],
        json.dumps({"name": f"vm-1042-example-com-{uuid[:8]}", "server_type": "cx23", "image": "debian-12"}).encode(),
        {"Authorization": f"Bearer {TOKEN}"},
    )
    world.run()
    last = world.store.operations_of(1)[0]
    assert last.state is State.FAILED
    assert last.error_code == "name_taken"
    assert one(world).labels == {}
    world.order("terminate")
    world.run()
    assert len(world.cloud.servers) == 1  # not ours: untouched


def test_adopting_a_server_that_staff_labelled(world: Cloud) -> None:
    uuid, package = "11111111-2222-4333-8444-555555555555", packages.of_plan(world.config.plans["kvm-s"])
    server = Server(77, "old-shop", "cx23", "debian-12", "nbg1", {"team": "x"}, "", "running")
    world.cloud.servers[77] = server
    driver = world.drivers["pve1"]
    with pytest.raises(Refused, match="no label 'vmbridge'"):
        services.adopt("main", 7, 7, "", package, driver.inspect("77"), world.store, world.config)
    with pytest.raises(NotFound):
        driver.inspect("seventy")
    server.labels["vmbridge"] = uuid
    world.cloud.calls.clear()
    service, outside = services.adopt("main", 7, 7, "", package, driver.inspect("77"), world.store, world.config)
    assert (service.vm_id, service.uuids, service.hostname, outside) == (
        "77",
        (uuid,),
        "old-shop",
        [],
    )
    assert world.cloud.mutations() == []
    for verb, there in (("suspend", "off"), ("unsuspend", "running")):
        world.order(verb, 7)
        world.run()
        assert server.status == there
        assert server.labels == {"team": "x", "vmbridge": uuid}
    world.order("terminate", 7)
    world.run()
    assert world.cloud.servers == {}


def test_another_label_is_not_ours(world: Cloud) -> None:
    world.order("create")
    world.run()
    one(world).labels = {"vmbridge": "somebody"}
    world.cloud.calls.clear()
    with pytest.raises(NotOurs):
        world.drivers["pve1"].look(VmRef(str(one(world).id), world.store.service(1).uuids))
    for verb in ("suspend", "terminate"):
        world.order(verb)
        world.run(60)
    assert world.cloud.mutations() == []
    assert len(world.cloud.servers) == 1


def test_sold_out_says_so_and_retry_heals(tmp_path: Path) -> None:
    world = Cloud(tmp_path, server_type="cax11", location="fsn1")
    world.order("create")
    world.run()
    last = world.store.operations_of(1)[0]
    assert last.state is State.RUNNING
    assert last.error_code == Capacity.code
    assert "cax11 is sold out in fsn1" in str(world.store.steps(last.id))
    world.cloud.sold["cax11"]["fsn1"] = True
    world.order("retry")
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE
    assert one(world).status == "running"
    world.close()


def test_the_bulk_read_is_one_call_for_fifty_servers(world: Cloud) -> None:
    world.order("create")
    world.run()
    world.store.want_status("pve1")
    world.clock.time += 100
    world.cloud.calls.clear()
    assert status.refresh("pve1", world.drivers["pve1"], world.store)
    row = world.store.status_row("pve1", world.store.service(1).vm_id)
    assert row
    assert (row["status"], row["cores"], row["maxmem"]) == ("running", 2, 4 * 1024**3)
    assert len(world.cloud.calls) == 1


def test_the_doctor_names_each_fault_with_its_fix(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"server_type": "cx99"}, "plan kvm-s server_type", "there is no type 'cx99'"),
        ({"location": "hel1"}, "plan kvm-s location", "not sold in hel1"),
        ({"cores": 4}, "plan kvm-s", "sells 4 cores"),
        ({"templates": ["plan9"]}, "plan kvm-s templates", "no image 'plan9'"),
        ({"backups": 3}, "plan kvm-s backups", "keeps the newest 7"),
        ({"firewalls": ["none"]}, "plan kvm-s firewalls", "none called 'none'"),
        ({"placement_group": "x"}, "plan kvm-s placement_group", "none called 'x'"),
        ({}, "plan kvm-s", "cx23 in nbg1"),
        ({"disk_gib": 20}, "plan kvm-s", "cx23 in nbg1"),
    ]
    for plan, subject, text in cases:
        world = Cloud(tmp_path / str(plan), **plan)
        findings = world.drivers["pve1"].check({"kvm-s": packages.of_plan(world.config.plans["kvm-s"])}, [])
        assert any(f.subject == subject and text in f.text and (f.fix or f.level == "ok") for f in findings), (
            plan,
            findings,
        )
        world.close()


def test_the_doctor_tells_of_a_key_that_may_only_read_and_of_a_retired_type(world: Cloud) -> None:
    plans = {"kvm-s": packages.of_plan(world.config.plans["kvm-s"])}
    world.cloud.retired["cx23", "nbg1"] = {
        "announced": "2026-10-01T00:00:00Z",
        "unavailable_after": "2027-01-01T00:00:00Z",
    }
    findings = {f.subject: f for f in world.drivers["pve1"].check(plans, [])}
    assert findings["server pve1"].level == "ok"
    assert "retired in nbg1 after 2027-01-01" in findings["plan kvm-s server_type"].text
    world.cloud.read_only = True
    assert "may only read" in world.drivers["pve1"].check(plans, [])[0].text


def test_staff_sees_stock_and_prices(world: Cloud) -> None:
    world.cloud.retired["cx33", "nbg1"] = {
        "announced": "2026-10-01T00:00:00Z",
        "unavailable_after": "2027-01-01T00:00:00Z",
    }
    assert servers.stock("pve1", {}, world.store) is None
    assert servers.read_offers("pve1", world.drivers["pve1"], world.store)
    assert not servers.read_offers("pve1", world.drivers["pve1"], world.store)
    stock = servers.stock("pve1", {("cx23", "nbg1"): ["kvm-s"]}, world.store)
    assert stock
    assert stock.currency == "EUR"
    assert stock.rows[0] == {
        "name": "cx23",
        "location": "nbg1",
        "cores": 2.0,
        "ram_gib": 4.0,
        "disk_gib": 40,
        "available": True,
        "retired": "",
        "price": "6.49",
        "traffic": 21990232555520,
        "plans": ["kvm-s"],
    }
    assert {(r["name"], r["retired"]) for r in stock.rows if r["retired"]} == {("cx33", "2027-01-01")}
    assert [
        "IPv4 address",
        "0.50",
    ] in stock.extras
    assert world.drivers["pve1"].kinds(packages.of_plan(world.config.plans["kvm-s"])) == ("cx23", "nbg1")
    world.clock.time += 3601
    world.cloud.left = 0.0
    world.drivers["pve1"].budget.told(0)
    assert not servers.read_offers("pve1", world.drivers["pve1"], world.store)  # no calls left: the old list stays
    assert servers.stock("pve1", {}, world.store)


def test_what_the_provider_cannot_change_is_refused_beforehand(world: Cloud) -> None:
    world.order("create")
    world.run()
    with pytest.raises(NotBuilt, match="cannot be set from outside"):
        world.order("change_password", password="Another-pass-2")
    assert world.order("change_package").operation == "" or world.run() is None
    assert [m for m in world.cloud.mutations() if m[0] == "POST"] == [
        ("POST", "/servers"),
        ("POST", f"/servers/{one(world).id}/actions/poweron"),
    ]


def test_the_table_of_calls_is_the_official_one() -> None:
    """Every call, parameter and body field of the simulator stands in the official description, when that is there."""
    file = Path(__file__).parent.parent.parent / "shared/reference/hetzner-cloud.spec.json"
    if not file.exists():
        pytest.skip("the official description is not here")
    paths = json.loads(file.read_text("utf-8"))["paths"]
    for (method, path), values in CALLS.items():
        official = paths[path][method.lower()]
        named = {p["name"] for p in official.get("parameters", [])}
        body = official.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        named |= set(body.get("properties", {}))
        assert {v.strip("!") for v in values} <= named, (method, path, named)
        assert set(body.get("required", ())) <= {v[1:] for v in values if v.startswith("!")}, (method, path)


# -- the allowance of calls ---------------------------------------------------------------------------
def crowded(world: Cloud, count: int) -> None:
    """A fleet that somebody looks at all the time."""
    for i in range(count):
        world.cloud.servers[i] = Server(i, f"s{i}", "cx23", "debian-12", "nbg1", {"vmbridge": f"u{i}"}, "", "running")


def test_a_watched_fleet_of_two_thousand_leaves_room_for_customers(world: Cloud) -> None:
    """Two hours, somebody always looking: never above the allowance, and every order goes through as if it were
    alone."""
    crowded(world, 2000)
    started, took, refreshed = world.clock.time, [], 0
    while world.clock.time < started + 2 * 3600:
        world.store.want_status("pve1")
        refreshed += status.refresh("pve1", world.drivers["pve1"], world.store)
        if (world.clock.time - started) % 900 < 1:
            key = 5000 + len(took)
            world.order("create", key)
            begun = world.clock.time
            world.run()
            took.append(world.clock.time - begun)
        world.clock.time += 1.0
    assert world.cloud.refused == 0, (world.cloud.refused, took)
    assert len(took) >= 7, (world.cloud.refused, took)
    assert max(took) < 40, (world.cloud.refused, took)
    assert refreshed >= 2 * 3600 / 100
    assert not world.store.health("pve1")["error"]


def test_when_others_use_the_key_too_live_data_waits_and_orders_go_on(world: Cloud) -> None:
    world.order("create")
    world.run()
    world.cloud.left = 300.0  # somebody else has used most of it
    world.drivers["pve1"].look(world.store.service(1).ref)  # here it is noticed
    world.cloud.calls.clear()
    world.store.want_status("pve1")
    world.clock.time += 10
    assert status.refresh("pve1", world.drivers["pve1"], world.store)
    assert world.cloud.calls == []
    health = world.store.health("pve1")
    assert not health["error"]
    assert health["ok"]
    assert health["next_at"] > world.clock.time + 300
    world.order("stop")
    world.run()
    assert one(world).status == "off"
    assert world.cloud.refused == 0


def test_an_order_waits_when_nothing_is_left(world: Cloud) -> None:
    world.cloud.left = 0.0
    world.store.spend(world.drivers["pve1"].account, 3600, 0.0)
    world.store.budget_at_most(world.drivers["pve1"].account, 3600, 0)
    world.order("create")
    world.run()
    assert one(world).status == "running"
    assert world.cloud.refused == 0


def test_only_the_driver_knows_its_provider() -> None:
    root = Path(__file__).parent.parent
    files = [
        f
        for top in ("bridge", "hooks", "whmcs-shim")
        for f in (root / top).rglob("*")
        if f.is_file() and "static" not in f.parts
    ]
    assert len(files) > 100
    assert [str(f) for f in files if re.search(rb"hetzner|hcloud", f.read_bytes(), re.I)] == []
