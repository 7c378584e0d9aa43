"""Traffic as the simulated project tells it: of the calendar month in UTC, brought up to date once an hour, null at
first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hcloud.project import Server

HOUR = 3600.0


def month_of(at: float) -> float:
    return datetime.fromtimestamp(at, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


def grow(server: Server, now: float) -> None:
    """Called at each request: what has gone since the last full hour that was told."""
    if not server.told_at:
        server.told_at = now
    told = now // HOUR * HOUR
    if told <= server.told_at:
        return
    begin = max(server.told_at, month_of(told))
    anew = month_of(told) > server.told_at
    seconds = told - begin if server.status == "running" else 0.0
    server.ingoing = int((0 if anew else server.ingoing or 0) + server.rates[0] * seconds)
    server.outgoing = int((0 if anew else server.outgoing or 0) + server.rates[1] * seconds)
    server.told_at = told
