"""One customer who asks for much at once: a few of their reads are waited for, the rest is answered at once, and nobody
else waits."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from bridge.clock import Clock
from bridge.customer import direct
from bridge.errors import Transient
from bridge.model import Charts
from tests.test_signature import Shim
from tests.world import World

PERIODS = ("hour", "day", "week", "month", "year")


def get(world: World, app: Any, target: str) -> Any:
    return Shim(app.test_client(), world.clock).send("GET", target).get_json()


def test_eighty_reads_of_one_client_hold_three_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, go = World(tmp_path), threading.Event()
    world.order("create")
    world.order("create", 1043, userid=8)
    world.run()
    app = create_app(world.context)
    app.extensions["vmbridge_reads"] = direct.Reads(Clock())
    slow = threading.Semaphore(0)

    def charts(ref: Any, period: str) -> Charts:
        slow.release()
        assert go.wait(60)
        return Charts(60, (int(world.clock.time) + 60,), {"cpu": (0.5,)})

    monkeypatch.setattr(world.drivers["pve1"], "charts", charts)
    said: list[str] = []

    def ask(n: int) -> None:
        target = f"/v1/services/1042/charts?client=7&period={PERIODS[n % 5]}&language=english"
        said.append(get(world, app, target)["message"])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(80)]
    for thread in threads:
        thread.start()
    assert slow.acquire(timeout=60)  # the node is being asked
    # all but those who hold a seat end by themselves while the node is silent
    while len([t for t in threads if t.is_alive()]) > direct.PER_CLIENT:
        next(t for t in threads if t.is_alive()).join(0.01)
    assert len(said) >= 80 - direct.PER_CLIENT
    assert set(said) <= {direct.SEVERAL, direct.CROWDED}
    # meanwhile another client's pages and live status are there, and what was read for everybody is too
    other = json.dumps(get(world, app, "/v1/services/1043/pages/overview?client=8&language=english"))
    assert "vm-1043" in other
    assert get(world, app, "/status/v1/services/1043?client=8")["status"] == "running"
    go.set()
    for thread in threads:
        thread.join(60)
    assert said.count("") == 80 - len([s for s in said if s]) >= 1
    ask(0)
    assert said[-1] in ("", direct.SEVERAL)
    world.close()


def test_the_sentence_is_in_the_clients_language(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.order("create")
    world.run()
    app, reads = create_app(world.context), direct.Reads(Clock())
    app.extensions["vmbridge_reads"] = reads
    reads._seats["main 7"] = direct.PER_CLIENT
    reply = get(world, app, "/v1/services/1042/charts?client=7&period=hour&language=pseudo")
    assert reply["failed"]
    assert reply["message"].startswith("[")
    assert reply["message"] != direct.SEVERAL
    world.close()


def test_seats(tmp_path: Path) -> None:
    world = World(tmp_path)
    reads = direct.Reads(Clock(), threads=8)  # half of them at most
    held = [reads.seat(f"main {n}") for n in range(4)]
    outcome: list[str] = []

    def one(client: str) -> None:
        try:
            with reads.seat(client):
                outcome.append("")
        except Transient as e:
            outcome.append(e.code)

    def many() -> None:
        ready = threading.Barrier(5)
        done = threading.Event()

        def sit(seat: Any) -> None:
            with seat:
                ready.wait(20)
                done.wait(20)

        sitting = [threading.Thread(target=sit, args=(s,)) for s in held]
        for thread in sitting:
            thread.start()
        ready.wait(20)
        one("main 9")
        done.set()
        for thread in sitting:
            thread.join()

    many()
    assert outcome == ["too_many_reads"]
    assert reads._seats.total() == 0
    reads._seats["main 7"] = direct.PER_CLIENT
    one("main 7")
    one("other 7")  # another installation's client of the same number
    assert outcome[1:] == ["too_many_of_one", ""]
    reads._kept["k",] = (Clock().monotonic() + 60, 5)
    assert reads.shared(("k",), 60, lambda: 6, "main 7") == 5  # what is known needs no seat
    with pytest.raises(Transient), reads.seat("main 7"):
        pass
    with reads.seat("main 1"), reads.seat("main 7"):  # an edit and the page that answers it are one
        assert reads._seats["main 1"] == 1
    world.close()


@pytest.mark.parametrize("threads", [1, 2, 4, 32, 256])
def test_there_are_always_threads_left(threads: int) -> None:
    most = direct.Reads(Clock(), threads)._most
    assert 1 <= most <= max(1, threads // 2)
    assert most <= direct.SEATS
