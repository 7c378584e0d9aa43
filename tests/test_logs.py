"""What the log tells of an incident, read from the log of real processes and from held clocks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import structlog

from bridge import config as config_module
from bridge import logs
from bridge.errors import ConfigError, Unreachable
from bridge.metering import status
from bridge.origin import Origin
from tests.configs import raw_config
from tests.conftest import plain_lines
from tests.stores import asked_by
from tests.system import API_SECRET, SHIM_SECRET, System
from tests.world import World

ABOUT = ("operation", "service", "whmcs", "server", "node", "vm", "request")


def lines(s: System) -> list[dict[str, Any]]:
    text = (s.folder / "serve.log").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_one_request_is_followed_from_whmcs_to_the_call_of_the_server(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.05, more='[log]\nlevel = "debug"\nformat = "json"\n') as s:
        s.wait_for(lambda: s.order(1) == "success", 30)
        key = s.wait_for(lambda: s.operation(1).get("state") == "done" and s.operation(1)["id"], 60)
        s.wait_for(lambda: [x for x in lines(s) if x["event"] == "mail_sent"], 30)
        told = lines(s)
        module_log = json.dumps(s.state())
        text = (s.folder / "serve.log").read_text("utf-8")
    mine = [x for x in told if x.get("operation") == key]
    events = [x["event"] for x in mine]
    assert events[0] == "operation_accepted"
    assert {"operation_begun", "upstream_call", "operation_ended"} <= set(events)
    request = mine[0]["request"]
    assert re.fullmatch("[0-9a-f]{12}", request)
    assert {x["request"] for x in mine} == {request}
    clone = next(x for x in mine if x["event"] == "upstream_call" and x["path"].endswith("/clone"))
    assert {k: clone[k] for k in ("server", "service", "whmcs", "method", "outcome", "level")} == {
        "server": "pve1",
        "service": 1,
        "whmcs": "main",
        "method": "POST",
        "outcome": "ok",
        "level": "info",
    }
    last = next(x for x in mine if x["event"] == "operation_ended")
    assert all(last.get(k) not in ("", None) for k in ABOUT)
    assert last["state"] == "done"
    assert {x["level"] for x in mine if x["event"] == "upstream_call" and x["method"] == "GET"} == {"debug"}
    mail = next(x for x in told if x["event"] == "mail_sent")
    assert {k: mail[k] for k in ABOUT} == {**{k: last[k] for k in ABOUT}}
    assert SHIM_SECRET not in text
    assert API_SECRET not in text
    assert "sim-secret" not in text
    assert "nonce" not in text
    assert module_log


def test_a_server_that_goes_and_comes_back_is_told_once_each(world: World) -> None:
    driver = world.drivers["pve1"]
    good = driver.statuses

    def gone(*_: Any) -> Any:
        raise Unreachable(code="connection_refused")

    with structlog.testing.capture_logs() as told:
        driver.statuses = gone
        for _ in range(4):
            world.clock.time += 120
            status.refresh("pve1", driver, world.store)
        driver.statuses = good
        for _ in range(2):
            world.clock.time += 120
            status.refresh("pve1", driver, world.store)
    events = [x["event"] for x in told if x["event"].startswith("server_")]
    assert events == ["server_down", "server_recovered"]
    assert next(x for x in told if x["event"] == "server_down")["code"] == "connection_refused"


def test_what_takes_the_place_of_another_is_told(world: World) -> None:
    with structlog.testing.capture_logs() as told, asked_by(Origin("system", request="0123456789ab")):
        world.order("create")
        world.order("suspend")
        world.order("terminate")
        world.run()
    assert "operation_superseded" in [x["event"] for x in told]
    ends = [x for x in told if x["event"] in ("operation_ended", "operation_superseded")]
    assert all(x["request"] == "0123456789ab" and x["service"] == 1042 for x in ends)


def test_nothing_is_told_of_a_change_that_does_not_come_to_be(world: World) -> None:
    with structlog.testing.capture_logs() as told, pytest.raises(RuntimeError), world.store.write():
        world.order("create")
        raise RuntimeError
    assert [x for x in told if x["event"] == "operation_accepted"] == []
    with structlog.testing.capture_logs() as told:
        world.order("create")
    assert [x["event"] for x in told] == ["operation_accepted"]


def test_lines_have_their_form_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger()
    try:
        logs.setup(["a-secret-word"], "warning", "json")
        with logs.bound(service=7, node=""):
            log.info("unheard")
            log.warning("heard", text="has a-secret-word in it")
        logs.setup([], "info", "text")
        with logs.bound(service=7):
            log.info("heard", code="x")
    finally:
        plain_lines()
        logs.clear()
    first, second = capsys.readouterr().err.strip().splitlines()
    assert json.loads(first)["service"] == 7
    assert json.loads(first)["text"] == "has *** in it"
    assert "node" not in json.loads(first)
    assert re.fullmatch(r"timestamp=\S+Z level=info event=heard .*", second)


@pytest.mark.parametrize(("key", "allowed"), [("level", "debug, info, warning, error"), ("format", "text, json")])
def test_an_unknown_word_is_refused_with_those_there_are(key: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as e:
        config_module.from_dict(raw_config(log={key: "loud"}))
    assert f"log.{key}" in str(e.value)
    assert allowed in str(e.value)
