"""A store that takes no changes for a while holds up whoever works with it, and ends nobody: pages go on being served
meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import worker
from bridge.clock import Clock
from bridge.console.relay import Relay
from bridge.errors import StoreDamaged, StoreUnavailable
from bridge.model import State
from tests.test_reads import full, locked, read_only
from tests.world import World


class Quick(Clock):
    """The machine's clock, whose pauses are short."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(min(seconds, 0.02))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.store.close()
    made.store.patience = 0.02
    made.order("create")
    made.run()
    yield made
    made.close()


def refused(store: Any, times: int, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The next changes are refused as those of a locked store; set when there were that many."""
    seen, real, left = threading.Event(), store.database._begin, [times]

    def begin(conn: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise StoreUnavailable(detail="database is locked")
        seen.set()
        real(conn)

    monkeypatch.setattr(store.database, "_begin", begin)
    return seen


def test_the_worker_outlives_a_store_that_takes_no_changes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first look on: an order that waits is taken up as soon as it can be noted."""
    key = world.order("stop").operation
    stop, ended = threading.Event(), []
    engine, engine.clock = world.engine, Quick()
    refused(world.store, 5, monkeypatch)

    def run() -> None:
        try:
            engine.run_forever(stop, 2)
        except Exception as e:
            ended.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    while world.store.operation(key).started_at is None and thread.is_alive():
        thread.join(0.02)
    stop.set()
    thread.join()
    assert ended == []
    assert world.store.operation(key).started_at is not None


def test_leases_are_renewed_again_after_a_store_that_took_no_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that holds them must not end unseen: every long step would lose its operation from then on."""
    key = world.order("stop").operation
    op = world.engine._claim()
    assert op
    assert op.id == key
    engine, stop, renewed = world.engine, threading.Event(), []
    engine.clock = Quick()
    engine._active[op.id] = op
    real = world.store.renew

    def renew(one: Any, lease: float) -> float:
        renewed.append(one.id)
        if len(renewed) == 1:
            raise StoreUnavailable(detail="database is locked")
        stop.set()
        return real(one, lease)

    monkeypatch.setattr(world.store, "renew", renew)
    thread = threading.Thread(target=engine._keep_leases, args=(stop,), daemon=True)
    thread.start()
    thread.join()
    assert len(renewed) == 2


@pytest.mark.parametrize("state", [locked, full, read_only])
def test_a_stop_while_nothing_can_be_saved_is_a_stop(world: World, state: Any) -> None:
    """What it held is free when its lease runs out."""
    key = world.order("stop").operation
    assert world.engine._claim()
    stop = threading.Event()
    stop.set()
    with state(world):
        world.engine.run_forever(stop, 1)
    world.restart()
    world.run()
    assert world.store.operation(key).state is State.DONE


def test_showing_that_it_lives_may_fail_and_a_damaged_store_ends_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop: threading.Event = threading.Event()
    faults: list[StoreDamaged] = []
    with locked(world):
        worker.live(world.context, stop, faults)
    assert not stop.is_set()
    assert faults == []
    monkeypatch.setattr(world.store, "worker_lives", lambda: (_ for _ in ()).throw(StoreDamaged()))
    worker.live(world.context, stop, faults)
    assert stop.is_set()
    assert len(faults) == 1


@pytest.mark.parametrize("state", [locked, full, read_only])
def test_a_start_needs_no_place_to_write_when_nothing_has_to_be_brought_up(world: World, state: Any) -> None:
    """Pages can be served then; `/ready` says what is lacking."""
    with state(world):
        assert world.store.migrate() == []
        world.store.fit()


def test_a_console_that_ends_meanwhile_is_noted_as_ended_later(world: World) -> None:
    """Its open record would count against the service's limit for as long as its process lives."""
    service = world.store.find_service("main", 1042)
    assert service

    async def look() -> None:
        relay = Relay(world.context)
        key = world.store.open_console(service.id, service.client_id, "client 7", relay.owner, 1)
        assert key
        relay.unnoted[key] = "The connection was closed."
        with locked(world):
            await relay.sweep()
        assert world.store.open_console(service.id, service.client_id, "client 7", relay.owner, 1) is None
        await relay.sweep()
        assert world.store.open_console(service.id, service.client_id, "client 7", relay.owner, 1)

    asyncio.run(look())


def test_a_job_that_cannot_save_anything_waits_for_its_next_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: dict[str, Callable[[], None]] = {}

    class Table:
        def __init__(self, **options: Any) -> None:
            pass

        def add_job(self, job: Callable[..., None], trigger: str, args: list[Any], **options: Any) -> None:
            jobs[options["id"]] = lambda: job(*args)

        def start(self) -> None:
            pass

        def shutdown(self, wait: bool) -> None:
            pass

    monkeypatch.setattr(worker, "BackgroundScheduler", Table)
    stop = threading.Event()
    stop.set()
    worker.run(world.context, stop)
    assert {"look_up", "book", "firewall_changes-pve1", "sweep_state-pve1"} <= set(jobs)
    with locked(world):
        for job in jobs.values():
            job()
