"""A project's metrics and consoles."""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.pve.history import Spans, within
from tests.pve.vnc import Screen

CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/servers/{id}/metrics"): {"!type": str, "!start": str, "!end": str, "step": str},
    ("POST", "/servers/{id}/actions/request_console"): {},
}
NAMES = {
    "cpu": ("cpu",),
    "disk": ("disk.0.iops.read", "disk.0.iops.write", "disk.0.bandwidth.read", "disk.0.bandwidth.write"),
    "network": ("network.0.pps.in", "network.0.pps.out", "network.0.bandwidth.in", "network.0.bandwidth.out"),
}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
USUAL, MOST, KEPT = 200, 500, 30 * 86400.0  # samples without a step, samples at most, seconds
GOOD_FOR = 60.0
PLACES = {
    "nbg1": ("Nuremberg", "DE", "Nuremberg DC Park 1", "eu-central"),
    "fsn1": ("Falkenstein", "DE", "Falkenstein DC Park 1", "eu-central"),
    "hel1": ("Helsinki", "FI", "Helsinki DC Park 1", "eu-central"),
}


@dataclass
class History:
    """What was measured of a server. `holes`: samples absent; `odd`: samples that are no numbers; `cpu`: a fixed
    percentage, summed over cores."""

    since: float = 0.0
    holes: Spans = field(default_factory=list)
    odd: Spans = field(default_factory=list)
    cpu: float | None = None


@dataclass
class Console:
    server: int
    password: str
    at: float
    used: bool = False


@dataclass(kw_only=True)
class Screens:
    """Mixed into Project. `host` is where the consoles' websockets are served."""

    histories: dict[int, History] = field(default_factory=dict)
    screens: dict[int, Screen] = field(default_factory=dict)
    consoles: dict[str, Console] = field(default_factory=dict)
    offered: list[str] = field(default_factory=list)  # subprotocols that the consoles' clients named
    host: str = "console.test"

    def screen(self, server: int) -> Screen:
        return self.screens.setdefault(server, Screen())

    def placed(self, name: str) -> dict[str, Any]:
        city, country, description, zone = PLACES[name]
        return {
            "id": 1,
            "name": name,
            "description": description,
            "country": country,
            "city": city,
            "latitude": 49.4,
            "longitude": 11.0,
            "network_zone": zone,
        }

    def pictured(self, name: str) -> dict[str, Any]:
        """A system image."""
        return {
            "id": 1,
            "type": "system",
            "status": "available",
            "name": name,
            "description": name.replace("-", " ").title(),
        }

    # -- calls ------------------------------------------------------------------------------------
    def _get_servers_one_metrics(self, values: dict[str, Any], server: Any) -> dict[str, Any]:
        kinds = values["type"].split(",")
        for name, good in (
            ("type", set(kinds) <= set(NAMES)),
            ("start", RFC3339.fullmatch(values["start"])),
            ("end", RFC3339.fullmatch(values["end"])),
            ("step", values.get("step", "1").isdigit() and int(values.get("step", "1")) > 0),
        ):
            if not good:
                raise self.invalid(name)
        start, end = (datetime.fromisoformat(values[w]).timestamp() for w in ("start", "end"))
        if end <= start:
            raise self.invalid("start")
        step = (
            max(int(values["step"]), math.ceil((end - start) / (MOST - 1)))
            if "step" in values
            else max(1, math.ceil((end - start) / (USUAL - 1)))
        )
        history, now = self.histories.setdefault(server.id, History()), self.clock.now()
        times = [
            t
            for t in (start + n * step for n in range(int((end - start) // step) + 1))
            if max(history.since, now - KEPT) <= t <= now and not within(t, history.holes)
        ]
        series = {
            name: {
                "values": [[t, "NaN" if within(t, history.odd) else str(self._sample(name, t, history))] for t in times]
            }
            for kind in kinds
            for name in NAMES[kind]
        }
        return {"metrics": {"start": values["start"], "end": values["end"], "step": step, "time_series": series}}

    def _sample(self, name: str, t: float, history: History) -> float:
        """Of two cores; a day's wave, with a busy quarter of an hour every six hours."""
        day, wave, busy = (
            0.5 - 0.5 * math.cos(2 * math.pi * t / 86400),
            math.sin(t / 97) * math.sin(t / 613),
            1.0 if t % 21600 < 900 else 0.0,
        )
        if name == "cpu":
            return history.cpu if history.cpu is not None else max(0.0, 12 + 60 * day + 10 * wave + 80 * busy)
        size = 4e5 + 2e6 * day + 3e5 * abs(wave) + 6e6 * busy * ("disk" in name)
        return (
            size / 4096 if "iops" in name or "pps" in name else size * (1.8 if name.endswith(("out", "write")) else 1.0)
        )

    def _post_servers_one_actions_request_console(self, values: dict[str, Any], server: Any) -> dict[str, Any]:
        self.durations.setdefault("request_console", 0.0)
        token, password = secrets.token_hex(16), secrets.token_hex(16)
        self.consoles[token] = Console(server.id, password, self.clock.now())
        action = self.told(self.act("request_console", server, ""))
        return {
            "wss_url": f"wss://{self.host}/console/?server_id={server.id}&token={token}",
            "password": password,
            "action": action,
        }

    def take_console(self, token: str) -> tuple[Screen, str] | None:
        """(screen, password) for the first who comes within the minute, while the server runs."""
        screen = self.consoles.get(token)
        if (
            screen is None
            or screen.used
            or self.clock.now() - screen.at > GOOD_FOR
            or self.servers[screen.server].status != "running"
        ):
            return None
        screen.used = True
        return self.screen(screen.server), screen.password
