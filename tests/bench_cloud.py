"""What a large project costs in calls, which its provider counts."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

from bridge import customer
from bridge.metering import status
from drivers.hetzner.api import PER_PAGE
from drivers.hetzner.images import SNAPSHOT
from tests.hcloud.images import Image
from tests.hcloud.project import Server
from tests.test_hetzner import Cloud
from tests.test_hetzner_images import SOLD


def refresh(show: Callable[..., None], count: int = 2_000, snapshots: int = 1, backups: int = 2) -> None:
    """Live data of all servers, and the hourly look at all their snapshots and backups."""
    world = Cloud(Path(tempfile.mkdtemp()), **SOLD)
    world.order("create")
    world.run()
    now = world.clock.time
    for i in range(1, count):
        world.cloud.servers[i] = Server(i, f"s{i}", "cx23", "debian-12", "nbg1", {"vmbridge": f"u{i}"}, "", "running")
        for n in range(snapshots + backups):
            key, kind = 10_000_000 + i * 100 + n, "snapshot" if n < snapshots else "backup"
            labels = {"vmbridge": f"u{i}", SNAPSHOT: f"snap-{n}"} if kind == "snapshot" else {}
            world.cloud.images[key] = Image(
                key, kind, "x86", 40, None, "", labels, "available", now, i if kind == "backup" else None, i, 1.0
            )
    world.cloud.left, world.clock.time = 3600.0, now + 4000
    world.cloud.calls.clear()
    assert status.refresh("pve1", world.drivers["pve1"], world.store)
    pages = [c for c in world.cloud.calls if c[:2] == ("GET", "/servers")]
    show(
        f"refresh of {count:,} cloud servers: calls",
        len(pages),
        f"{math.ceil(count / PER_PAGE)}",
        hourly_proof_of_the_key=len(world.cloud.calls) - len(pages),
    )
    world.cloud.calls.clear()
    assert customer.renew_mirror("pve1", world.drivers["pve1"], world.store)
    full = math.ceil(snapshots * (count - 1) / PER_PAGE) + math.ceil(backups * (count - 1) / PER_PAGE)
    show(
        f"hourly look at {(snapshots + backups) * (count - 1):,} snapshots and backups: calls",
        len(world.cloud.calls),
        f"{full} pages",
    )
    world.store.close()
