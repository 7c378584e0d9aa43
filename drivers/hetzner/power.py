"""On and off. The caller has proven that the server is ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.clock import Clock
from drivers.hetzner import tasks
from drivers.hetzner.api import Api

SHUTDOWN_SECONDS = 60.0
POWER = {"start": "poweron", "stop": "shutdown", "reboot": "reboot", "hard_stop": "poweroff"}


def act(api: Api, clock: Clock, server: Mapping[str, Any], verb: str) -> str:
    word = POWER.get(verb) or _shut_off(api, clock, server)
    if (
        not word
        or (verb == "start" and server["status"] == "running")
        or (verb in ("hard_stop", "shut_off") and server["status"] == "off")
    ):
        return ""
    return tasks.act(api, server["id"], word)


def _shut_off(api: Api, clock: Clock, server: Mapping[str, Any]) -> str:
    """Ask first; what was asked a minute ago and still runs is turned off. Kept by the provider, so it holds over a
    crash."""
    asked = [
        a
        for a in api.get(f"/servers/{server['id']}/actions", sort="started:desc", per_page=25)["actions"]
        if a["command"] in ("shutdown_server", "start_server")
    ]
    if not asked or asked[0]["command"] != "shutdown_server":
        return "shutdown"
    since = clock.now() - datetime.fromisoformat(asked[0]["started"]).timestamp()
    return "poweroff" if since > SHUTDOWN_SECONDS else ""
