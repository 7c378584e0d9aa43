"""The way to a cloud server's screen: through our relay to a websocket of the provider's, over TLS, on a held clock."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from bridge import assets, budget
from bridge.console.relay import Relay
from bridge.errors import Refused
from drivers.hetzner.driver import Hetzner
from tests.hcloud.http import project_server
from tests.hcloud.project import Fault
from tests.pve.http import certificate
from tests.system import free_port
from tests.test_console import KEY, PUBLIC, Rig, Stream
from tests.test_hetzner import Cloud

REFERENCE = "The server's screen cannot be reached just now. Reference c"


class CloudRig(Rig):
    """A running server, its provider over real HTTPS, and a relay in a thread."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.world = world = Cloud(folder, allow=["console"])
        world.config.web["public_url"] = PUBLIC
        world.order("create")
        world.run()
        self.store, self.config, self.clock, self.project = world.store, world.config, world.clock, world.cloud
        self.pve = project_server(self.project, folder)
        values = {
            **self.config.servers["pve1"],
            "endpoint": f"{self.pve.url}/v1",
            "ca_file": str(self.pve.ca_file),
            **settings,
        }
        self.driver = self.world.context.drivers["pve1"] = Hetzner("pve1", values, self.clock)
        self.loop, self.port = asyncio.new_event_loop(), free_port()
        self.relay = Relay(self.world.context)
        self.sockets = ExitStack()

    def __exit__(self, *args: Any) -> None:
        self.driver._pool = Nothing()
        super().__exit__(*args)

    @property
    def screen(self) -> Any:
        [server] = self.project.servers.values()
        return self.project.screen(server.id)

    def calls(self, word: str) -> int:
        return len([p for _, p, _ in self.project.calls if word in p])


class Nothing:
    def shutdown(self, wait: bool = True) -> None:
        """There are no threads of the driver's own to end."""


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests need no npm."""
    monkeypatch.setattr(assets, "built", lambda name: True)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CloudRig]:
    with CloudRig(tmp_path) as r:
        yield r


def test_pixels_come_and_keys_go(rig: CloudRig) -> None:
    nonce = rig.nonce()
    assert rig.calls("request_console") == 0  # the page alone asks nothing of the provider: the address lives a minute
    screen = Stream(rig.socket(nonce))
    assert screen.size == (64, 48)
    assert screen.picture() == (55, 127, 26)
    screen.ws.send(KEY)
    assert screen.picture() != (55, 127, 26)
    assert rig.screen.keys == [(ord("a"), True)]
    assert rig.calls("request_console") == 1
    assert [c.used for c in rig.project.consoles.values()] == [True]
    assert rig.project.offered == [""]
    assert all(len(c.password) == 32 for c in rig.project.consoles.values())  # of which VNC takes eight


def test_neither_address_nor_password_is_told(rig: CloudRig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        page = rig.post(rig.code())
        opened = rig.opened()
        opened.picture()
        opened.ws.close()
    [(token, made)] = rig.project.consoles.items()
    tables = ("console_sessions", "console_keys", "operations", "outbox")
    kept = json.dumps([list(map(str, r)) for t in tables for r in rig.store.db.conn.execute(f"SELECT * FROM {t}")])
    told = page.text + str(page.headers) + str(lines) + caplog.text + kept
    assert [
        s for s in (token, made.password, made.password[:8], "hcloud-sim-token", "/console/?server") if s in told
    ] == []
    assert str(rig.pve.port) not in page.text + str(lines) + kept
    assert next(line["event"] for line in lines if line["event"].startswith("console")) == "console_opened"


@pytest.mark.parametrize(
    "kind", ["reset", "lost", "locked", "unavailable", "resource_unavailable", "rate_limit_exceeded"]
)
def test_a_fault_ends_in_a_sentence_and_the_next_try_works(rig: CloudRig, kind: str) -> None:
    rig.project.faults = [Fault("POST .*request_console", kind)]
    with structlog.testing.capture_logs() as lines:
        code, reason = Stream(rig.socket(rig.nonce()), greet=False).closed()
    assert code == 1011
    assert reason.startswith(REFERENCE)
    assert "wss:" not in str(lines)
    assert rig.opened().picture() == (55, 127, 26)
    assert rig.calls("request_console") == 2  # nothing is repeated by itself


def test_an_address_that_was_used_or_is_too_old(rig: CloudRig, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = rig.driver.console

    def late(ref: Any) -> Any:
        made = ask(ref)
        for one in rig.project.consoles.values():
            one.at -= 61
        return made

    monkeypatch.setattr(rig.driver, "console", late)
    with structlog.testing.capture_logs() as lines:
        code, reason = Stream(rig.socket(rig.nonce()), greet=False).closed()
    assert code == 1011
    assert reason.startswith(REFERENCE)
    assert not [t for t in rig.project.consoles if t in str(lines)]


def test_a_wrong_password_is_told_without_it(rig: CloudRig) -> None:
    ask = rig.project._post_servers_one_actions_request_console
    rig.project._post_servers_one_actions_request_console = lambda v, s: {**ask(v, s), "password": "another-password"}
    with structlog.testing.capture_logs() as lines:
        code, reason = Stream(rig.socket(rig.nonce()), greet=False).closed()
    assert code == 1011
    assert reason.startswith(REFERENCE)
    assert "another-" not in str(lines)


def test_an_authority_that_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other")
    with CloudRig(tmp_path) as rig:
        ask = rig.driver.console
        rig.driver.console = lambda ref: replace(ask(ref), ca_file=str(other))
        code, reason = Stream(rig.socket(rig.nonce()), greet=False).closed()
        assert code == 1011
        assert reason.startswith(REFERENCE)
        assert not any(c.used for c in rig.project.consoles.values())


def test_without_a_file_the_usual_authorities_count(rig: CloudRig) -> None:
    ticket = Hetzner("pve1", {**rig.driver.settings, "endpoint": "https://api.test/v1", "ca_file": ""}, rig.clock)
    ticket.api = rig.driver.api
    assert ticket.console(rig.service.ref).ca_file == ""
    rig.driver.console = ticket.console
    code, reason = Stream(rig.socket(rig.nonce()), greet=False).closed()  # the simulated provider's own is none of them
    assert code == 1011
    assert reason.startswith(REFERENCE)


def test_a_server_that_is_off(rig: CloudRig) -> None:
    [server] = rig.project.servers.values()
    server.status = "off"
    code, reason = Stream(rig.socket(rig.nonce()), greet=False).closed()
    assert code == 1011
    assert reason == "Start the server first."
    assert rig.calls("request_console") == 0


def test_suspension_ends_it(rig: CloudRig) -> None:
    nonce, screen = rig.nonce(), rig.opened()
    rig.world.order("suspend")
    with pytest.raises(Refused, match="suspended"):
        rig.code()
    rig.wait(rig.relay.sweep())
    assert screen.closed() == (1008, "The service is suspended.")
    assert Stream(rig.socket(nonce), greet=False).closed()[0] == 1008
    assert rig.calls("request_console") == 1


def test_not_part_of_the_plan(tmp_path: Path) -> None:
    with CloudRig(tmp_path) as rig:
        object.__setattr__(rig.config.plans["kvm-s"], "allow", ())
        with pytest.raises(Refused, match="Not part of your plan"):
            rig.code()
        assert rig.calls("request_console") == 0


def test_without_allowed_calls_it_says_so(rig: CloudRig) -> None:
    budget.give({"pve1": rig.driver}, rig.store)
    rig.store.budget_at_most(rig.driver.account, 3600, 0)
    code, reason = Stream(rig.socket(rig.nonce()), greet=False).closed()
    assert code == 1011
    assert reason.startswith(REFERENCE)
    assert rig.calls("request_console") == 0
