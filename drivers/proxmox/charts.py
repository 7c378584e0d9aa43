"""`rrddata` as it comes -> our series. Shapes of PVE 8 (70 points each) and 9 (60 to 1440 points); texts as read in
RRD.pm."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from statistics import median_high
from typing import Any

from bridge.errors import Transient, VmbridgeError
from bridge.model import Charts
from drivers.proxmox.api import Api

NO_FILE = re.compile(
    r"RRD error.*No such file|No DS called|opening .*rrd.*: No such file", re.I
)  # a machine of the last minutes has none
WORDS = {
    "cpu": 100.0,
    "mem": 1.0,
    "maxmem": 1.0,
    "diskread": 1.0,
    "diskwrite": 1.0,
    "netin": 1.0,
    "netout": 1.0,
}  # times this: our unit
LATEST, HIGHEST = 2**33, 1e18  # a time in seconds, and any value: more is rubbish
MOST_POINTS = 360
MOST_FILLED = 5000  # gap rows: a reply with absurd times must not fill the memory
NEIGHBOURS = 3
Row = dict[str, Any]


def history(api: Api, base: str, period: str) -> Charts:
    try:
        rows = api.get(f"{base}/rrddata", timeframe=period, cf="AVERAGE")
    except VmbridgeError as e:
        if NO_FILE.search(e.detail):
            return Charts()
        raise
    return series_of(rows or [])


def series_of(rows: Any) -> Charts:
    """Keys that are absent, values that are no numbers and rows that are missing become None. Raises Transient when
    nothing of a reply can be read."""
    readable = [measured(r) for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
    known = [r for r in readable if r]
    if rows and not known:
        raise Transient(
            "The node's records could not be read.", code="bad_reply", detail=f"rrddata: {type(rows).__name__}"
        )
    step, whole = filled(sorted(known, key=lambda r: r["time"]))
    if not any(word in r for r in whole for word in WORDS):
        return Charts()
    step, groups = thinned(step, whole)
    return Charts(
        step,
        tuple(t for t, _ in groups),
        {w: tuple(mean(group, w, factor) for _, group in groups) for w, factor in WORDS.items()},
    )


def measured(row: Row) -> Row:
    """What of a row is a number; empty without a time."""
    time = number(row.get("time"))
    if time is None or not 1 <= time < LATEST:
        return {}
    return {"time": int(time), **{w: v for w in WORDS if w in row and (v := number(row[w])) is not None}}


def number(value: Any) -> float | None:
    """None for what is no finite number of a believable size."""
    try:
        parsed = float(value) if not isinstance(value, bool) and value is not None else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) and abs(parsed) < HIGHEST else None


def filled(rows: list[Row]) -> tuple[int, list[Row]]:
    """(seconds between two rows at the end, rows with an empty one for each that is missing). After an upgrade from 8
    to 9 old rows are farther apart than new ones, so a hole is measured by its neighbours."""
    gaps = [b["time"] - a["time"] for a, b in pairwise(rows)]
    if not gaps:
        return 60, rows
    whole = [rows[0]]
    usual = gaps[0]
    for i, gap in enumerate(gaps):
        usual = median_high([*gaps[max(0, i - NEIGHBOURS) : i], *gaps[i + 1 : i + 1 + NEIGHBOURS]] or [gap])
        if usual and gap > 1.5 * usual:
            missing = min(round(gap / usual) - 1, MOST_FILLED - len(whole))
            whole += [{"time": rows[i]["time"] + n * usual} for n in range(1, missing + 1)]
        whole.append(rows[i + 1])
    return max(1, usual), whole


def thinned(step: int, rows: list[Row]) -> tuple[int, list[tuple[int, list[Row]]]]:
    """Neighbours in groups of equal length in time, so many that some MOST_POINTS remain; their borders stand still
    from read to read."""
    span = rows[-1]["time"] - rows[0]["time"] + step
    width = step * max(1, -(-span // (step * MOST_POINTS)))
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["time"] // width * width, []).append(row)
    return width, sorted(groups.items())


def mean(group: list[Row], word: str, factor: float) -> float | None:
    """None where at least half of the group was not measured: a gap stays one, however the points are thinned."""
    values = [float(r[word]) for r in group if r.get(word) is not None]
    return round(factor * sum(values) / len(values), 2) if values and 2 * len(values) > len(group) else None
