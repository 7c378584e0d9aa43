"""Drivers of tests/trial_drivers/, found as if they stood in drivers/, and an installation that sells machines of
them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import drivers
from drivers import folder
from tests.configs import raw_config
from tests.world import World

FOLDER = Path(__file__).parent / "trial_drivers"
PLAN = {"server": "pve1", "cores": 2, "ram_mib": 2048, "disk_gib": 20, "templates": ["debian-12"], "allow": ["charts"]}


@contextmanager
def trial_drivers() -> Iterator[None]:
    """Inside, the trial drivers are found by their folders' names like all others."""
    drivers.__path__.append(str(FOLDER))
    try:
        yield
    finally:
        drivers.__path__.remove(str(FOLDER))
        for path in FOLDER.iterdir():
            sys.modules.pop(f"drivers.{path.name}", None)


class Trial(World):
    """An installation whose only server is a trial driver's. To be made inside `trial_drivers`."""

    def __init__(self, path: Path, driver: str = "trial", **plan: Any) -> None:
        pools = raw_config()["pools"]
        server = {"driver": driver, "host": str(path), "vm_ids": [[20000, 29999]]}
        super().__init__(path, servers={"pve1": server}, plans={"kvm-s": {**PLAN, **plan}}, pools=pools)

    def drivers_of(self, mount: Callable[[Any], None]) -> dict[str, Any]:
        return {n: folder.load(s["driver"])(n, s, self.clock) for n, s in self.config.servers.items()}

    @property
    def machines(self) -> dict[str, dict[str, Any]]:
        machines: dict[str, dict[str, Any]] = self.drivers["pve1"].machines
        return machines

    def close(self) -> None:
        self.store.close()
