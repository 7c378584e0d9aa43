"""Charts: a machine's history as pages and tables show it. Reads through bridge.direct, nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.customer.direct import FOREIGN, Reads, sentence, whose
from bridge.errors import BadRequest, NotFound, StoreUnavailable, UpstreamError
from bridge.model import PERIODS, Charts, Sentence, Service
from bridge.store import Store
from drivers.base import Driver
from drivers.calls import in_background

KEPT = {"hour": 30.0, "day": 60.0, "week": 300.0, "month": 600.0, "year": 1800.0}  # seconds one read serves everybody
EMPTY = Sentence("There are no values for this time. They appear some minutes after the server has started.")
NOT_BUILT = Sentence("The server is not set up yet.")
NOT_KEPT = Sentence("Only the last %(n)d days are kept.")
NOT_MEASURED = Sentence("%(title)s: this cannot be measured from outside the server. The system inside can tell it.")


@dataclass(frozen=True)
class Chart:
    """One card: `lines` are (word of the series, label); `unit` percent, size or rate."""

    name: str
    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]


CHARTS = (
    Chart("cpu", Sentence("CPU"), "percent", (("cpu", Sentence("Used")),)),
    Chart("memory", Sentence("RAM"), "size", (("mem", Sentence("Used")), ("maxmem", Sentence("Available")))),
    Chart("disk", Sentence("Disk I/O"), "rate", (("diskread", Sentence("Read")), ("diskwrite", Sentence("Write")))),
    Chart("network", Sentence("Network"), "rate", (("netin", Sentence("In")), ("netout", Sentence("Out")))),
)


def period_of(text: str) -> str:
    """Raises BadRequest naming the words."""
    if text not in PERIODS:
        raise BadRequest(f"period: must be one of {', '.join(PERIODS)}.", code="bad_period")
    return text


def not_kept(period: str, driver: Driver) -> str:
    """Why a period is not offered; empty when it is."""
    return (
        ""
        if period in driver.periods
        else Sentence(NOT_KEPT.template, n=max(PERIODS[p] for p in driver.periods) // 86400)
    )


def measured(driver: Driver) -> tuple[list[Chart], list[Chart]]:
    """The charts there can be, and those there cannot."""
    has = [any(word in driver.series for word, _ in c.lines) for c in CHARTS]
    return [c for c, there in zip(CHARTS, has, strict=True) if there], [
        c for c, there in zip(CHARTS, has, strict=True) if not there
    ]


def view(service: Service, period: str, reads: Reads, store: Store, driver: Driver) -> dict[str, Any]:
    """{period, from, until, step, times, series, message}; times in epoch seconds, series as in model.Charts. With a
    `message` (a sentence for people) there is nothing to draw."""
    now = int(store.clock.now())
    shown: dict[str, Any] = {
        "period": period,
        "from": now - PERIODS[period],
        "until": now,
        "step": 0,
        "times": [],
        "series": {},
        "message": "",
    }
    if not service.provisioned:
        return shown | {"message": NOT_BUILT}
    if why := not_kept(period, driver):
        return shown | {"message": why}

    def once() -> Charts:
        with (
            reads.turn(service.server, service.node, store),
            in_background(),
        ):  # who looks leaves the last calls to who acts
            return driver.charts(service.ref, period)

    try:
        kept = max(KEPT[period], driver.charts_age)
        charts = since(
            reads.shared((service.id, service.client_id, service.vm_id, period), kept, once, whose(service)),
            service.created_at,
        )
    except (UpstreamError, StoreUnavailable) as e:
        return shown | {"message": sentence(e), "failed": True}
    except NotFound:
        return shown | {"message": FOREIGN, "failed": True}
    if not any(v is not None for word, values in charts.series.items() if word != "maxmem" for v in values):
        return shown | {"message": EMPTY}
    return shown | {
        "step": charts.step,
        "times": list(charts.times),
        "series": {w: list(v) for w, v in charts.series.items()},
    }


def since(charts: Charts, birth: float) -> Charts:
    """Without what is older than the service: it would be another machine's."""
    first = next((i for i, t in enumerate(charts.times) if t >= birth), len(charts.times))
    return Charts(charts.step, charts.times[first:], {w: v[first:] for w, v in charts.series.items()})


def rows(chart: Chart, read: dict[str, Any]) -> list[tuple[int, list[float | None]]]:
    """A chart's table, newest first; of neighbours without any value only the newest."""
    columns = [read["series"].get(word, []) for word, _ in chart.lines]
    table: list[tuple[int, list[float | None]]] = []
    for time, *values in reversed(list(zip(read["times"], *columns, strict=False))):
        if table and all(v is None for v in [*values, *table[-1][1]]):
            continue
        table.append((time, list(values)))
    return table
