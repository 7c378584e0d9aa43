"""Queries of the outbox (events to deliver) and of nonces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypedDict

from bridge import logs
from bridge.model import Service
from bridge.store.audit import Audit
from bridge.store.holdings import HeldEvent

ABOUT = " about"  # in a payload, beside the event's own words


class EventRow(TypedDict):
    """One to be delivered, its payload unsealed; `service`: the row's id, None of one that is about no service."""

    id: int
    dedupe: str
    event: str
    whmcs: str
    service: int | None
    payload: dict[str, Any]
    due_at: float
    attempt: int
    lease_until: float
    created_at: float
    sent_at: float | None
    error: str
    held: int


class ClaimedEvent(EventRow):
    """`about`: for the log, the operation and the call that it came of."""

    about: dict[str, str]


class EventTold(TypedDict):
    id: int
    dedupe: str
    event: str
    service: int | None
    attempt: int
    sent_at: float | None
    error: str


class Undelivered(TypedDict):
    """How many, the oldest of them, and one error; None without any."""

    n: int
    oldest: float | None
    error: str | None


class Outbox(Audit):
    def emit(self, event: str, whmcs: str, service: int | None, dedupe: str, **payload: Any) -> bool:
        """Write an event, once per `dedupe`; the payload is sealed since it may carry a secret."""
        now = self.clock.now()
        return bool(
            self.change(
                "INSERT INTO outbox (dedupe, event, whmcs, service, payload, due_at, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                dedupe,
                event,
                whmcs,
                service,
                self.seal(json.dumps({**payload, ABOUT: logs.about()})),
                now,
                now,
            )
        )

    def tell_webhooks(
        self, event: str, key: str, server: str, whmcs: str | None, service: int | None, **facts: Any
    ) -> None:
        """Write what has happened for each address that wants to hear of it. `key` names it, so that it is written
        once; `service` is the row's. Nothing of a secret is in `facts`."""
        now = self.clock.now()
        for hook in self.webhooks:
            if event not in hook.events or server not in hook.servers or (whmcs and whmcs not in hook.whmcs):
                continue
            dedupe = f"webhook:{hook.name}:{event}:{key}"
            told = {"id": hashlib.sha256(dedupe.encode()).hexdigest()[:32], "event": event, "at": now}
            told |= {"whmcs": whmcs, "server": server, **facts}
            self.emit("webhook", whmcs or hook.whmcs[0], service, dedupe, hook=hook.name, told=told)

    def tell_addresses(self, service: Service, operation: str, addresses: Sequence[str]) -> None:
        """The event that writes WHMCS's address columns: the dedicated one first. What an earlier order wanted to write
        and has not been delivered is out of date."""
        with self.write() as db:
            key = f"addresses:{service.id}:{operation}:{','.join(addresses)}"
            told = {"service_id": service.service_id, "addresses": list(addresses)}
            if self.emit("addresses", service.whmcs, service.id, key, **told):
                db.conn.execute(
                    "UPDATE outbox SET sent_at = ?, payload = '', error = 'superseded'"
                    " WHERE event = 'addresses' AND service = ? AND sent_at IS NULL AND dedupe <> ?",
                    (self.clock.now(), service.id, key),
                )

    def claim_event(self, lease: float) -> ClaimedEvent | None:
        now = self.clock.now()
        with self.write() as db:
            row = self.row_as(
                EventRow,
                "SELECT * FROM outbox WHERE sent_at IS NULL AND held = 0 AND due_at <= ? AND lease_until <= ?"
                " ORDER BY id LIMIT 1",
                now,
                now,
            )
            if row is None:
                return None
            db.conn.execute(
                "UPDATE outbox SET lease_until = ?, attempt = attempt + 1 WHERE id = ?", (now + lease, row["id"])
            )
        payload = json.loads(self.unseal(str(row["payload"])) or "{}")
        about = payload.pop(ABOUT, {})
        return {**row, "payload": payload, "about": about}

    def event_due(self) -> bool:
        now = self.clock.now()
        row = self.row(
            "SELECT 1 FROM outbox WHERE sent_at IS NULL AND held = 0 AND due_at <= ? AND lease_until <= ? LIMIT 1",
            now,
            now,
        )
        return row is not None

    def event_sent(self, key: int) -> None:
        self.change("UPDATE outbox SET sent_at = ?, payload = '', error = '' WHERE id = ?", self.clock.now(), key)

    def event_failed(self, key: int, error: str, delay: float) -> None:
        self.change(
            "UPDATE outbox SET lease_until = 0, due_at = ?, error = ? WHERE id = ?",
            self.clock.now() + delay,
            error[:500],
            key,
        )

    def events(self) -> list[EventTold]:
        return self.rows_as(
            EventTold, "SELECT id, dedupe, event, service, attempt, sent_at, error FROM outbox ORDER BY id"
        )

    def held_events(self) -> list[HeldEvent]:
        """Not delivered until a person says so, oldest first, with WHMCS's number of the service."""
        return self.rows_as(
            HeldEvent,
            "SELECT o.id, o.event, o.created_at, s.service_id, s.whmcs FROM outbox o LEFT"
            " JOIN services s ON s.id = o.service WHERE o.sent_at IS NULL AND o.held = 1 ORDER BY o.id",
        )

    def send_held(self, key: int) -> bool:
        with self.write():
            done = bool(
                self.change(
                    "UPDATE outbox SET held = 0, due_at = ? WHERE id = ? AND held = 1 AND sent_at IS NULL",
                    self.clock.now(),
                    key,
                )
            )
            if done:
                self.audit("send held event", "done", subject=str(key))
        return done

    def drop_held(self, key: int) -> bool:
        """As if it had been sent: an event that is emitted again stays what it was."""
        now = self.clock.now()
        with self.write():
            done = bool(
                self.change(
                    "UPDATE outbox SET held = 0, sent_at = ?, payload = '', error = 'dropped' WHERE id = ? AND held = 1"
                    " AND sent_at IS NULL",
                    now,
                    key,
                )
            )
            if done:
                self.audit("drop held event", "done", subject=str(key))
        return done

    def undelivered(self, whmcs: str) -> Undelivered:
        """`n` events that WHMCS has not taken at the first try, the `oldest` of them and the last `error`."""
        return self.row_as(
            Undelivered,
            "SELECT count(*) AS n, min(created_at) AS oldest, max(error) AS error FROM outbox"
            " WHERE sent_at IS NULL AND error <> '' AND whmcs = ?",
            whmcs,
        ) or {"n": 0, "oldest": None, "error": None}

    def use_nonce(self, key_id: str, nonce: str) -> bool:
        """Remember a nonce; false when it was seen before."""
        if self.row("SELECT 1 FROM nonces WHERE key_id = ? AND nonce = ?", key_id, nonce):
            return False
        return bool(
            self.change(
                "INSERT INTO nonces (key_id, nonce, seen_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                key_id,
                nonce,
                self.clock.now(),
            )
        )

    def prune(self, nonces_before: float, events_before: float) -> None:
        self.change("DELETE FROM nonces WHERE seen_at < ?", nonces_before)
        self.change("DELETE FROM outbox WHERE sent_at < ?", events_before)
