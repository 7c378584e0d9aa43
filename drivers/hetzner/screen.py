"""What a server shows: its history as charts, and the way to its screen. The caller has proven that the server is
ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from bridge.errors import Permanent, Refused, Transient
from bridge.model import PERIODS, Charts, ConsoleTicket
from drivers.hetzner.api import Api

STEPS = {
    "hour": 30,
    "day": 300,
    "week": 1800,
    "month": 7200,
}  # seconds between two points: 120 to 360 of them; the provider gives 500
SERIES = {  # its word -> ours
    "cpu": "cpu",
    "disk.0.bandwidth.read": "diskread",
    "disk.0.bandwidth.write": "diskwrite",
    "network.0.bandwidth.in": "netin",
    "network.0.bandwidth.out": "netout",
}
LATEST = 2**33  # seconds; a later time is rubbish
MOST_POINTS = 1000  # a reply with absurd times must not fill the memory


def charts(api: Api, server: Mapping[str, Any], period: str, now: float) -> Charts:
    step = STEPS[period]
    end = int(now) // step * step
    reply = api.get(
        f"/servers/{server['id']}/metrics",
        type="cpu,disk,network",
        start=stamp(end - PERIODS[period] + step),
        end=stamp(end),
        step=str(step),
    )
    try:
        return series_of(reply["metrics"], float(server["server_type"]["cores"]))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as e:
        raise Transient(
            "The metrics could not be read.", code="bad_reply", detail=f"metrics: {type(e).__name__}"
        ) from None


def stamp(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def series_of(metrics: Mapping[str, Any], cores: float) -> Charts:
    """CPU comes as percent of one core, summed over all. The step is the one that was given, which may be longer than
    asked for; a sample that is missing, or is no number, is a gap."""
    step = max(1, round(float(metrics["step"])))
    given = {word: _samples(metrics["time_series"].get(name), step) for name, word in SERIES.items()}
    slots = sorted({slot for values in given.values() for slot in values})
    if not slots:
        return Charts()
    every = range(max(slots[0], slots[-1] - MOST_POINTS + 1), slots[-1] + 1)
    factors = {"cpu": 1.0 / max(1.0, cores)}
    return Charts(
        step,
        tuple(n * step for n in every),
        {
            word: tuple(round(values[n] * factors.get(word, 1.0), 2) if n in values else None for n in every)
            for word, values in given.items()
        },
    )


def _samples(series: Mapping[str, Any] | None, step: int) -> dict[int, float]:
    """Number of the step -> value."""
    samples = {}
    for time, text in (series or {}).get("values") or ():
        try:
            value = float(text)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value) and 0 < float(time) < LATEST:
            samples[int(float(time) // step)] = max(0.0, value)
    return samples


def console(api: Api, server: Mapping[str, Any], ca_file: str) -> ConsoleTicket:
    """The address is good for a minute and for whoever has it: it goes to our relay only. The provider documents no
    subprotocol."""
    if server["status"] != "running":
        raise Refused("Start the server first.", code="not_running")
    made = api.post(f"/servers/{server['id']}/actions/request_console")
    url, action = str(made["wss_url"]), made.get("action") or {}
    if action.get("status") == "error":
        raise Permanent(
            "The console was refused.", code="console_refused", detail=str((action.get("error") or {}).get("code", ""))
        )
    if urlsplit(url).scheme != "wss":
        raise Permanent("The console's address is not an encrypted one.", code="console_address")
    return ConsoleTicket(url, str(made["password"]), subprotocol="", ca_file=ca_file)
