"""What systemd is told: ready, alive, stopping; and nothing any more when a process hangs."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import alive, worker
from bridge.operations import Engine
from tests.processes import child, children
from tests.system import System
from tests.world import World


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(60)
        monkeypatch.setenv(alive.SOCKET, str(tmp_path / "notify"))
        yield line


def test_states_arrive_and_nobody_there_is_no_fault(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert alive.notify("READY=1")
    assert systemd.recv(100) == b"READY=1"
    monkeypatch.setenv(alive.SOCKET, "/nowhere/at/all")
    assert not alive.notify("READY=1")
    monkeypatch.delenv(alive.SOCKET)
    assert not alive.notify("READY=1")
    assert not alive.watched()


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0vmbridge-test-{os.getpid()}")
        monkeypatch.setenv(alive.SOCKET, f"@vmbridge-test-{os.getpid()}")
        assert alive.notify("WATCHDOG=1")
        assert line.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("told", "wanted"), [("", 10.0), ("6000000", 2.0), ("60000000", 10.0), ("x", 10.0), ("0", 10.0)]
)
def test_signs_come_thrice_in_the_time_that_systemd_waits(
    told: str, wanted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(alive.WATCHDOG, told)
    assert alive.every() == wanted


def test_an_engine_that_stands_still_gives_no_sign(systemd: socket.socket, world: World) -> None:
    engine: Engine = world.engine
    worker.signs(world.context, engine)
    assert systemd.recv(100) == b"READY=1\nWATCHDOG=1"
    world.clock.time += worker.STANDS_STILL
    worker.signs(world.context, engine)
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)
    stop = threading.Event()
    stop.set()
    engine.run_forever(stop, 1)


def test_serve_tells_systemd_and_falls_silent_with_a_stopped_web(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(alive.WATCHDOG, "600000")  # a sign every 0.2 s
    with System(tmp_path, speed=0.05) as s:
        assert systemd.recv(100) == b"READY=1\nWATCHDOG=1"
        serve = s.processes["serve"]
        web = child(serve.pid, "web")
        group = [web, *children(web)]
        for pid in group:
            os.kill(pid, signal.SIGSTOP)
        try:
            systemd.settimeout(3)  # less than the five seconds that one question may take
            with pytest.raises(TimeoutError):
                for _ in range(100):
                    systemd.recv(100)
        finally:
            for pid in group:
                os.kill(pid, signal.SIGCONT)
        systemd.settimeout(60)
        assert systemd.recv(100) == b"READY=1\nWATCHDOG=1"
    said = []
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            said.append(systemd.recv(100))
    assert said[-1] == b"STOPPING=1"
