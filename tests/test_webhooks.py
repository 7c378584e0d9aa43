"""Webhooks: what is told, to whom, signed, once per event, and again until it is taken."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bridge.config import from_dict
from bridge.errors import ConfigError, UpstreamError
from bridge.model import State
from hooks import webhook
from tests.configs import raw_config
from tests.world import World

SECRET = "hook-secret-0123456789"


class Ear:
    """An address of the operator's own on this machine. `answers`: statuses, the last of them for ever."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answers, self.drip = [200], False
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ear.heard.append((dict(self.headers), body))
                status = ear.answers.pop(0) if len(ear.answers) > 1 else ear.answers[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{ear.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
def ear() -> Iterator[Ear]:
    made = Ear()
    yield made
    made.server.shutdown()
    made.server.server_close()


def wired(world: World, ear: Ear, **more: Any) -> World:
    """The world as `open_context` opens one whose configuration has this address."""
    hook = {"url": f"http://127.0.0.1:{ear.port}/x", "secret": SECRET, **more}
    config = from_dict(raw_config(webhooks={"chat": hook}))
    world.store.webhooks = tuple(config.webhooks.values())
    world.whmcs.webhooks = {h.name: (h.url, h.secret) for h in world.store.webhooks}
    return world


def test_the_life_of_a_server_is_told_and_signed(world: World, ear: Ear) -> None:
    wired(world, ear)
    for verb in ("create", "suspend", "unsuspend", "terminate"):
        world.order(verb)
        world.run()
    told = ear.told()
    assert [t["event"] for t in told] == ["ready", "suspended", "unsuspended", "terminated"]
    assert {(t["whmcs"], t["server"], t["service_id"]) for t in told} == {("main", "pve1", 1042)}
    assert len({t["id"] for t in told}) == 4
    for headers, body in ear.heard:
        text = headers["Vmbridge-Timestamp"].encode() + b"." + body
        expected = hmac.new(SECRET.encode(), text, "sha256").hexdigest()
        assert headers["Vmbridge-Signature"] == f"v1={expected}"
        assert SECRET.encode() not in body
        assert headers["Vmbridge-Event-Id"] == json.loads(body)["id"]
        assert b"Secret-pass" not in body


@pytest.mark.parametrize("bad", [500, 302, 404])
def test_it_is_told_again_with_the_same_id_until_it_is_taken(world: World, ear: Ear, bad: int) -> None:
    wired(world, ear)
    ear.answers = [bad, bad, 204]
    world.order("create")
    world.run()
    assert [t["event"] for t in ear.told()] == ["ready"] * 3
    assert len({t["id"] for t in ear.told()}) == 1
    assert [e for e in world.store.events() if e["sent_at"] is None] == []
    assert [s for s in world.whmcs.mails()]  # nobody's mail waited for it in vain


def test_failures_backups_and_findings(world: World, ear: Ear) -> None:
    wired(world, ear)
    world.order("create")
    world.run()
    store = world.store
    for kind in ("scheduled_backup", "start"):
        key = store.submit(1, kind, "system: schedule")
        store.end_operation(key, State.FAILED, ("no_space", "the disk of /secret/path is full", "make room"))
    first = store.find("pve1", 1, "differs_from_package", "cores", "t", "f", {})
    store.find("pve1", 1, "differs_from_package", "cores", "t", "f", {})
    store.set_findings("pve1", "unknown_vm", [(None, "9", "t", "f", {})])
    store.set_findings("pve1", "unknown_vm", [])
    store.end_finding(first)
    with pytest.raises(RuntimeError), store.write():
        store.find("pve1", 1, "vm_missing", "x", "t", "f", {})
        raise RuntimeError
    world.run()
    told = [(t["event"], t["kind"], t["service_id"]) for t in ear.told()][1:]
    assert told == [
        ("backup_failed", "scheduled_backup", 1042),
        ("failed", "start", 1042),
        ("finding_opened", "differs_from_package", 1042),
        ("finding_opened", "unknown_vm", None),
        ("finding_closed", "unknown_vm", None),
        ("finding_closed", "differs_from_package", 1042),
    ]
    assert ear.told()[1]["code"] == "no_space"
    assert not [b for _, b in ear.heard if b"/secret/path" in b]


def test_only_what_is_wanted_of_whom_it_is_wanted(world: World, ear: Ear) -> None:
    wired(world, ear, events=["terminated"])
    world.order("create")
    world.run()
    world.order("terminate")
    world.run()
    assert [t["event"] for t in ear.told()] == ["terminated"]
    assert not [
        e for e in world.store.events() if e["event"] == "webhook" and e["dedupe"].startswith("webhook:chat:ready")
    ]


def test_an_address_that_is_gone_is_a_fault_of_the_way_and_one_taken_out_is_none(world: World, ear: Ear) -> None:
    wired(world, ear)
    told = {"id": "1", "event": "ready"}
    world.whmcs.webhooks = {"chat": ("http://127.0.0.1:1/", SECRET)}
    with pytest.raises(UpstreamError, match="refuses connections"):
        webhook.deliver("webhook", {"hook": "chat", "told": told}, world.whmcs)
    webhook.deliver("webhook", {"hook": "gone", "told": told}, world.whmcs)
    assert ear.heard == []


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"url": "http://hooks.example.com/"}, "webhooks.chat.url", "https"),
        ({"url": "http://127.0.0.1.example.com/"}, "webhooks.chat.url", "https"),
        ({"url": "http://localhost/"}, "webhooks.chat.url", "127.0.0.1"),
        ({"url": "ftp://127.0.0.1/"}, "webhooks.chat.url", "https"),
        ({"url": "https://user:word@hooks.example.com/"}, "webhooks.chat.url", "password"),
        ({"secret": "short"}, "webhooks.chat.secret", "16"),
        ({"events": ["readdy"]}, "webhooks.chat.events[0]", "backup_failed"),
        ({"events": []}, "webhooks.chat.events", "at least one"),
        ({"whmcs": ["other"]}, "webhooks.chat.whmcs[0]", "main"),
        ({"uri": "x"}, "webhooks.chat.uri", "url"),
    ],
)
def test_a_wrong_key_is_named_with_what_it_may_be(change: dict[str, Any], path: str, words: str) -> None:
    hook = {"url": "https://hooks.example.com/vmbridge", "secret": SECRET, **change}
    with pytest.raises(ConfigError) as e:
        from_dict(raw_config(webhooks={"chat": hook}))
    assert any(where == path and words in text for where, _, text in e.value.faults), e.value.faults


def test_a_real_context_tells_of_it(tmp_path: Path, ear: Ear) -> None:
    from bridge.context import open_context
    from tests.stores import place

    place(tmp_path / "vmbridge.db")
    hook = {"url": f"http://127.0.0.1:{ear.port}/", "secret": SECRET}
    context = open_context(from_dict(raw_config(webhooks={"chat": hook}), str(tmp_path / "config.toml")))
    assert context.store.webhooks[0].name == "chat"
    assert context.whmcs["main"].webhooks["chat"][1] == SECRET
    assert SECRET in context.config.secrets()
    context.store.close()
