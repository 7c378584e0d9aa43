"""Delivers events from the store to hooks, again until WHMCS has said yes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from bridge import logs
from bridge.counts import counts
from bridge.errors import VmbridgeError
from bridge.store import Store
from bridge.store.outbox import ClaimedEvent
from bridge.whmcs import Whmcs

log = structlog.get_logger()
LEASE = 60.0


class Delivery:
    """`border` is called between WHMCS's answer and its record (tests stop the process there)."""

    def __init__(
        self,
        store: Store,
        whmcs: Mapping[str, Whmcs],
        hooks: Mapping[str, Callable[[str, dict[str, Any], Whmcs], None]],
        border: Callable[[str], None] | None = None,
    ) -> None:
        self.store, self.whmcs, self.hooks = store, whmcs, hooks
        self.border = border or (lambda name: None)

    def deliver_one(self) -> bool:
        """Deliver the oldest due event; false when there is none."""
        if not self.store.event_due():
            return False
        event = self.store.claim_event(LEASE)
        if event is None:
            return False
        with logs.bound(**self._about(event)):
            self._deliver(event)
        return True

    def _about(self, event: ClaimedEvent) -> dict[str, Any]:
        """What every line of a delivery says."""
        service = next(iter(self.store.services_by([event["service"]])), None) if event["service"] else None
        of = {"service": service.service_id, "server": service.server, "node": service.node} if service else {}
        of |= {"vm": service.vm_id} if service else {}
        return {
            "name": event["event"],
            "dedupe": event["dedupe"],
            "whmcs": event["whmcs"],
            **of,
            **event["about"],
        }

    def _deliver(self, event: ClaimedEvent) -> None:
        try:
            self.border(f"event.{event['event']}.before")
            self.hooks[event["event"]](event["event"], event["payload"], self.whmcs[event["whmcs"]])
            self.border(f"event.{event['event']}.answered")
        except VmbridgeError as e:
            pause = min(10.0 * 2 ** event["attempt"], 3600.0) * random.uniform(0.8, 1.2)
            log.warning("event_failed", code=e.code, detail=e.detail)
            _counted(event["event"], type(e).__name__)
            self.store.event_failed(event["id"], f"{e.code} {e.detail}", pause)
            return
        except Exception as e:
            log.exception("event_fault")
            _counted(event["event"], type(e).__name__)
            self.store.event_failed(event["id"], type(e).__name__, 600.0)
            return
        self.store.event_sent(event["id"])
        log.info("event_sent")
        _counted(event["event"], "ok")


def _counted(event: str, outcome: str) -> None:
    counts.add("vmbridge_outbox_deliveries", {"event": event, "class": outcome})
