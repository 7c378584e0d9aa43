"""A fresh system on the same server: the provider's rebuild from an image. The caller has proven that the server is
ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.errors import Refused
from bridge.model import Converged, Order
from drivers.hetzner import convert, images, tasks
from drivers.hetzner.api import Api


def step(api: Api, order: Order, server: Mapping[str, Any], memory: Mapping[str, Any]) -> Converged:
    """First which image it is, then the rebuild until its action has succeeded."""
    if not memory:
        kind = server["server_type"]["architecture"]
        image = images.system(api, order.package.template, order.package.options["images"], kind)
        if image["disk_size"] > server["primary_disk_size"]:
            raise Refused(
                "This system is not available where your server is.",
                code="no_template",
                detail=f"it needs {image['disk_size']} GB",
            )
        return Converged(memory={"image": str(image["name"] or image["id"])})
    task = str(memory.get("task") or "")
    state = tasks.results(api, [task])[task].state if task else ""
    if state == "done":
        return Converged(memory={**memory, "written": True})
    running = tasks.running(api, server["id"], "rebuild_server")  # also one whose reply was lost
    if server["iso"] and not running:  # it would be started from
        return Converged(tasks.act(api, server["id"], "detach_iso"), memory=dict(memory), more=True)
    task = (
        tasks.of(server["id"], running)
        if running
        else images.rebuild(api, server, memory["image"], user_data=convert.user_data(order))
    )
    return Converged(task, memory={**memory, "task": task})
