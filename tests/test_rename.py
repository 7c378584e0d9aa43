"""Staff writes another domain into WHMCS's field: the machine's name and its names in DNS follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import services
from bridge.errors import BadRequest, NotFound
from bridge.model import Desired, State
from bridge.services import Caller
from tests.dns import sims
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned
from tests.hcloud.project import Fault
from tests.test_hetzner import Cloud
from tests.world import World


def rename(world: World, domain: str, service: int = 1042) -> str:
    params = {"userid": 7, "domain": domain}
    caller = Caller("main", "admin 1")
    answer = services.run("rename", service, "pve1", params, caller, world.store, world.config, world.drivers)
    return answer.operation


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Zoned]:
    sim = sims.PowerDns(REVERSE, REVERSE6, STATIC, "example.com")
    tables = {z: sim.settings() for z in (REVERSE, REVERSE6, "example.com")}
    made = Zoned(tmp_path, tables, sim.mount, ptr_name="{domain}")
    made.sim = sim
    yield made
    made.close()


def names_of(world: Any) -> set[tuple[str, str]]:
    return {(r["name"], r["written"]) for r in world.store.rows("SELECT * FROM dns_records")}


def test_the_machine_and_its_names_follow(world: Zoned) -> None:
    world.order("create", domain="old.example.com")
    world.run()
    world.write()
    before, calls = names_of(world), len(world.cluster.calls)
    assert ("old.example.com", world.addresses()[0]) in before
    key = rename(world, "new.example.com")
    assert len(world.cluster.calls) == calls  # nothing is asked while WHMCS waits
    world.run()
    world.write()
    assert world.store.operation(key).state is State.DONE
    assert world.store.operation(key).kind == "rename"
    assert world.cluster.vms[20000].config["name"] == "new.example.com"
    assert world.cluster.vms[20000].status == "running"
    after = names_of(world)
    assert {n.replace("old.", "new.") for n, _ in before} == {n for n, _ in after}
    assert {v.replace("old.", "new.") for _, v in before} == {v for _, v in after}
    writes = [c for c in world.cluster.calls[calls:] if c[1] != "GET"]
    assert len(writes) == 1
    assert set(writes[0][3]) <= {"name", "digest"}
    calls = len(world.cluster.calls)
    assert rename(world, "new.example.com") == ""
    assert len(world.cluster.calls) == calls


def test_what_is_no_name_changes_nothing(world: Zoned) -> None:
    world.order("create", domain="old.example.com")
    world.run()
    for bad in ("", "  ", "\n"):
        with pytest.raises(BadRequest, match=r"keeps its name old\.example\.com"):
            rename(world, bad)
    with pytest.raises(NotFound):
        rename(world, "x.example.com", 77)
    assert rename(world, "Ünï çode_1.example.com")
    world.run()
    assert world.cluster.vms[20000].config["name"].isascii()


@pytest.mark.parametrize("when", ["snapshot", "suspended", "suspending", "creating", "terminated"])
def test_busy_never_refuses_and_nothing_else_is_lost(world: Zoned, when: str) -> None:
    vms = len(world.cluster.vms)
    world.order("create", domain="old.example.com")
    if when != "creating":
        world.run()
    service = world.store.find_service("main", 1042)
    assert service
    if when == "snapshot":
        world.store.submit(service.id, "reset_password", "client 7")
    if when in ("suspended", "suspending", "terminated"):
        world.order("terminate" if when == "terminated" else "suspend")
    if when in ("suspended", "terminated"):
        world.run()
    if when == "creating":
        while len(world.cluster.vms) == vms:
            world.engine.tick()
    if when == "terminated":
        with pytest.raises(NotFound):
            rename(world, "new.example.com")
        return
    assert rename(world, "new.example.com")
    world.run()
    vm = world.cluster.vms[20000]
    assert vm.config["name"] == "new.example.com"
    assert vm.status == ("stopped" if when.startswith("suspend") else "running")
    service = world.store.find_service("main", 1042)
    assert service
    assert service.provisioned
    assert service.desired is (Desired.SUSPENDED if when.startswith("suspend") else Desired.ACTIVE)
    assert len(world.cluster.vms) == len({*world.cluster.vms})
    assert not world.store.operations_of(service.id, 9, ("failed",))
    if when == "snapshot":
        assert [o.kind for o in world.store.operations_of(service.id, 9, ("done",))].count("reset_password") == 1


def test_a_converge_by_staff_sends_what_a_save_could_not(world: Zoned) -> None:
    world.order("create", domain="old.example.com")
    world.run()
    world.order("converge", domain="new.example.com")
    world.run()
    assert world.cluster.vms[20000].config["name"] == "new.example.com"
    world.write()
    assert {n for n, _ in names_of(world) if n.endswith("example.com")} == {"new.example.com"}


def test_a_cloud_server_gets_the_name_and_one_that_was_chosen_there_stays(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    try:
        cloud.order("create", domain="old.example.com")
        cloud.run()
        [server] = cloud.cloud.servers.values()
        end = server.name.removeprefix("old-example-com")
        assert end != server.name

        def renamed(domain: str) -> str:
            rename(cloud, domain)
            cloud.run()
            return server.name

        assert renamed("new.example.com") == f"new-example-com{end}"
        server.name = "chosen-by-hand"
        assert renamed("newer.example.com") == "chosen-by-hand"
    finally:
        cloud.close()


def test_a_rename_during_a_create_whose_reply_was_lost_makes_no_second_server(tmp_path: Path) -> None:
    """The name is what makes a repeated create collide: it stays the same at every try."""
    cloud = Cloud(tmp_path)
    try:
        cloud.cloud.faults.append(Fault("POST /servers", "lost"))
        cloud.order("create", domain="old.example.com")
        while not cloud.cloud.servers:
            cloud.engine.tick()
        rename(cloud, "new.example.com")
        cloud.run(4000)
        [server] = cloud.cloud.servers.values()
        assert server.name.startswith("new-example-com-")
        assert [
            o.state for o in cloud.store.operations_of(None, 5) if o.state not in (State.DONE, State.SUPERSEDED)
        ] == []
    finally:
        cloud.close()
