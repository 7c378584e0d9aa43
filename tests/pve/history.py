"""`rrddata` as the simulated cluster answers it: the shapes of PVE 8 and 9, absent keys, files that outlive their
machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tests.pve.calls import Calls
from tests.pve.cluster import MIB, Error

SHAPES = {  # period -> (points, seconds between them)
    8: {"hour": (70, 60), "day": (70, 1800), "week": (70, 10800), "month": (70, 43200), "year": (70, 604800)},
    9: {"hour": (60, 60), "day": (1440, 60), "week": (336, 1800), "month": (1440, 1800), "year": (1440, 21600)},
}
FIRST_SAMPLE = 10.0  # seconds until pvestatd has seen a new machine
Spans = list[tuple[float, float]]


@dataclass
class History:
    """One RRD file, by VM id alone: the next machine under the same id goes on in it. `holes`: keys absent; `skipped`:
    whole rows absent."""

    since: float
    switches: list[tuple[float, bool]] = field(default_factory=list)
    holes: Spans = field(default_factory=list)
    skipped: Spans = field(default_factory=list)
    cpu: float | None = None  # a fixed fraction instead of the made-up curve

    def on(self, time: float) -> bool:
        return next((on for at, on in reversed(self.switches) if at <= time), False)


def within(time: float, spans: Spans) -> bool:
    return any(a <= time < b for a, b in spans)


class Histories(Calls):
    """Handlers of calls; mixed into Handlers."""

    def switched(self, vmid: int, on: bool) -> None:
        now = self.c.clock.now()
        self.c.histories.setdefault(vmid, History(now)).switches.append((now, on))

    def get_vm_rrddata(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """By id alone: no look at the configuration, so a wrong node answers too."""
        wrong = {}
        if p.get("timeframe") not in SHAPES[9]:
            wrong["timeframe"] = (
                "value is missing or does not have a value in the enumeration 'hour, day, week, month, year'"
            )
        if p.get("cf", "AVERAGE") not in ("AVERAGE", "MAX"):
            wrong["cf"] = f"value '{p['cf']}' does not have a value in the enumeration 'AVERAGE, MAX'"
        if wrong:
            raise Error(400, "Parameter verification failed.", wrong)
        now, history = self.c.clock.now(), self.c.histories.get(int(w["vmid"]))
        if history is None or now - history.since < FIRST_SAMPLE:
            folder = "pve-vm-9.0" if self.c.major >= 9 else "pve2-vm"
            raise Error(
                500, f"RRD error: opening '/var/lib/rrdcached/db/{folder}/{w['vmid']}': No such file or directory"
            )
        points, step = SHAPES[9 if self.c.major >= 9 else 8][p["timeframe"]]
        last = int(now) // step * step
        times = [last - n * step for n in range(points - 1, -1, -1)]
        return [self._row(history, t, int(w["vmid"])) for t in times if not within(t, history.skipped)]

    def _row(self, history: History, time: int, vmid: int) -> dict[str, Any]:
        row: dict[str, Any] = {"time": time}
        if time < history.since or within(time, history.holes):
            return row
        vm = self.c.vms.get(vmid)
        cores, size = (
            (int(vm.config.get("cores", "1")), int(vm.config.get("memory", "128").removeprefix("current=")) * MIB)
            if vm
            else (1, 128 * MIB)
        )
        row |= {"maxcpu": cores, "maxmem": size, "maxdisk": 20 * 1024 * MIB, "disk": 0}
        if not history.on(time):
            return row
        day, wave = 0.5 - 0.5 * math.cos(2 * math.pi * time / 86400), math.sin(time / 97) * math.sin(time / 613)
        busy = 1.0 if time % 21600 < 900 else 0.0
        cpu = history.cpu if history.cpu is not None else 0.06 + 0.3 * day + 0.05 * wave + 0.4 * busy
        row |= {
            "cpu": round(max(0.0, cpu), 6),
            "mem": size * (0.35 + 0.2 * day + 0.03 * wave),
            "netin": 2.2e5 + 9e5 * day + 3e5 * abs(wave),
            "netout": 6e5 + 4.1e6 * day + 9e5 * abs(wave),
            "diskread": 4e4 + 2e5 * abs(wave) + 9e6 * busy,
            "diskwrite": 3e5 + 1.2e6 * day + 6e6 * busy,
        }
        if self.c.major >= 9:
            row |= {
                "memhost": row["mem"] * 1.1,
                "pressurecpusome": 0.1,
                "pressurecpufull": 0.0,
                "pressureiosome": 0.2,
                "pressureiofull": 0.1,
                "pressurememorysome": 0.0,
                "pressurememoryfull": 0.0,
            }
        return row
