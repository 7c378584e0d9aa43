"""Two machines at the same row at the same moment: of each thing that may happen once, one of them gets it. On both
engines; on PostgreSQL each machine has its own connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from bridge import services
from bridge.console import codes
from bridge.errors import LeaseLost, VmbridgeError
from bridge.services import Caller
from bridge.store import Store
from drivers.proxmox.driver import Proxmox
from tests.configs import KEY
from tests.world import World

MANY = 4  # threads that come at the same time, by turns of either machine


@pytest.fixture
def other(world: World) -> Iterator[Store]:
    """The store as another machine has it."""
    store = Store(world.store.path, KEY, world.clock)
    yield store
    store.close()


def at_once(stores_of: tuple[Store, Store], act: Callable[[Store], Any]) -> list[Any]:
    """What each got that got anything."""
    gate, got = threading.Barrier(MANY), []

    def run(store: Store) -> None:
        gate.wait()
        if (value := act(store)) not in (None, 0, False, ""):
            got.append(value)

    threads = [threading.Thread(target=run, args=(stores_of[n % 2],)) for n in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_of_each_thing_one_gets_it(world: World, other: Store) -> None:
    both = (world.store, other)
    world.order("create")
    world.store.emit("staff_notice", "main", None, "n", subject="s", text="t", reference="r")
    key = world.store.operations_of(None)[0].id
    for what, act in {
        "operation": lambda s: s.claim(threading.current_thread().name, 30, ["create"]),
        "event": lambda s: s.claim_event(60),
        "nonce": lambda s: s.use_nonce("main-1", "x"),
        "bulk read": lambda s: s.claim_refresh("pve1", 5, 5, 60),
        "sweep": lambda s: s.claim_sweep("pve1", "state", 60),
    }.items():
        assert len(at_once(both, act)) == 1, what
    assert world.store.operation(key).fence == 1
    world.store.budget_at_most("account", 3600, 2)
    assert len(at_once(both, lambda s: s.spend("account", 3600, 0) == 0)) == 2, "two calls are left"


def test_who_has_lost_the_lease_writes_nothing(world: World, other: Store) -> None:
    world.order("create")
    mine = world.store.claim("a", 30, ["create"])
    assert mine is not None
    world.clock.time += 31
    theirs = other.claim("b", 30, ["create"])
    assert theirs is not None
    assert theirs.fence == mine.fence + 1
    for write in (
        lambda: world.store.renew(mine, 30),
        lambda: world.store.advance(mine, "copied"),
        lambda: world.store.await_task(mine, "UPID", 0),
        lambda: world.store.let_go(mine),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert other.operation(mine.id).step == theirs.step


def test_a_worker_leaves_operations_of_kinds_that_it_does_not_know(world: World, other: Store) -> None:
    """Another release beside it knows them."""
    world.order("create")
    assert world.store.claim("old", 30, ["suspend", "terminate"]) is None
    assert other.claim("new", 30, ["create", "suspend"]) is not None


def test_a_console_code_of_one_machine_opens_on_another_once(world: World, other: Store) -> None:
    world.order("create")
    world.run()
    service = world.store.service(1)
    config = world.config
    object.__setattr__(config, "web", {**config.web, "public_url": "https://billing.example.com/vmbridge"})
    code = codes.issue(service, "client Ada", world.store, config, Proxmox.capabilities)

    def redeem(store: Store) -> str:
        with suppress(VmbridgeError):
            return codes.exchange(code, store, config)[1]
        return ""

    nonces = at_once((other, other), redeem)
    assert len(nonces) == 1

    def sit(store: Store) -> int:
        with suppress(VmbridgeError):
            return codes.open_session(nonces[0], "there", store, config).id
        return 0

    assert len(at_once((world.store, other), sit)) == 1


def test_addresses_and_ids_are_given_once(world: World, other: Store) -> None:
    """Orders of different services on two machines."""
    here, there = world.store, other
    given: list[Any] = []
    gate = threading.Barrier(2)

    def order(store: Store, first: int) -> None:
        gate.wait()
        for service in range(first, first + 4):
            values = {"configoption1": "kvm-s", "userid": 7, "domain": f"vm-{service}.example.com", "status": "Pending"}
            asked = ("create", service, "pve1", {**values, "password": "Secret-1"}, Caller("main"))
            services.run(*asked, store, world.config, world.drivers)
            given.append(service)

    threads = [threading.Thread(target=order, args=a) for a in ((here, 100), (there, 200))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 8
    ids = here.column("SELECT vm_id FROM services")
    taken = here.column("SELECT address FROM addresses WHERE service IS NOT NULL")
    numbers = here.column("SELECT number FROM operations ORDER BY number")
    assert len(set(ids)) == len(set(taken)) == 8
    assert numbers == list(range(1, 9))
