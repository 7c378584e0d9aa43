"""Queries of what clients were told, so that nobody is told twice."""

from __future__ import annotations

from bridge.store.outbox import Outbox


class Told(Outbox):
    def tell(self, whmcs: str, key: str, event: str, **payload: object) -> bool:
        """Write the event for the outbox unless it was told before; true when it was not. Both or nothing."""
        with self.write():
            new = self.change(
                "INSERT INTO told (whmcs, event, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                whmcs,
                f"{event}:{key}",
                self.clock.now(),
            )
            if new:
                self.emit(event, whmcs, None, f"{event}:{whmcs}:{key}", **payload)
        return bool(new)

    def forget_told(self, before: float, limit: int = 500) -> int:
        """Forget what was told before `before`; how many."""
        return self.change(
            "DELETE FROM told WHERE (whmcs, event) IN (SELECT whmcs, event FROM told WHERE at < ? LIMIT ?)",
            before,
            limit,
        )
