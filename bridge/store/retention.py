"""What is forgotten with time, a bounded number of rows in each transaction."""

from __future__ import annotations

import secrets

from bridge.errors import StoreUnavailable
from bridge.store.core import Core
from bridge.store.faults import hurry

WORKER, BACKED_UP = "worker_seen", "backed_up"  # in `facts`
AHEAD = 3600.0  # seconds: no stamp of ours lies so far ahead by right
STAMPS = {  # what would not be looked at again before a wrong stamp has come true
    "server_health": ("refreshed_at", "wanted_at", "lease_until", "next_at", "watched_read_at"),
    "vm_status": ("seen_at", "counted_at", "looked_at", "net_held_until"),
    "budgets": ("at",),
    "usage_marks": ("booked_at",),
    "services": ("mirrored_at", "swept_at"),
    "operations": ("due_at", "lease_until"),
    "outbox": ("lease_until",),
    "offers": ("read_at",),
    "disc_orders": ("due_at",),
}


class Retention(Core):
    # -- signs of life ----------------------------------------------------------------------------
    def worker_lives(self) -> None:
        self._fact(WORKER, repr(self.clock.now()))

    def worker_seen(self) -> float | None:
        """When a worker last said so; None before the first."""
        row = self.row("SELECT value FROM facts WHERE name = ?", WORKER)
        return float(row["value"]) if row else None

    def backed_up(self) -> None:
        """A copy of the store was taken now."""
        self._fact(BACKED_UP, repr(self.clock.now()))

    def facts(self, prefix: str) -> dict[str, float]:
        """Moments that were noted, by what follows the prefix in their name."""
        rows = self.rows("SELECT name, value FROM facts WHERE name LIKE ?", f"{prefix}%")
        return {r["name"][len(prefix) :]: float(r["value"]) for r in rows}

    def note_fact(self, name: str, moment: float) -> None:
        self.change(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            repr(moment),
        )

    def writable(self) -> bool:
        """Tried by a small change: an empty transaction succeeds on a full disk too."""
        try:
            with hurry():
                self._fact("written", secrets.token_hex(8))  # SQLite writes no page for a value that is there already
        except StoreUnavailable:
            return False
        return True

    def _fact(self, name: str, value: str) -> None:
        self.change(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            value,
        )

    def stamps_ahead(self) -> int:
        """A clock that was ahead and was set right has left stamps of a time to come: they are now. Returns how
        many."""
        now, count = self.clock.now(), 0
        for table, columns in STAMPS.items():
            for column in columns:
                count += self.change(f"UPDATE {table} SET {column} = ? WHERE {column} > ?", now, now + AHEAD)
        return count

    def forget_operations(
        self, before: float, after: tuple[float, str] = (0.0, ""), limit: int = 500
    ) -> tuple[float, str] | None:
        """Forget ended operations with their steps, of the next `limit` that ended before `before`; where to go on,
        None at the end.

        Kept whatever their age: the newest of each kind of a service that is not terminated, and the newest of all of
        one that is, since orders that come later are answered by them."""
        rows = self.rows(
            "SELECT o.id, o.ended_at, EXISTS (SELECT 1 FROM operations n WHERE n.service = o.service"
            " AND (n.created_at, n.number) > (o.created_at, o.number) AND (n.kind = o.kind"
            " OR s.desired = 'terminated')) AS old FROM operations o JOIN services s ON s.id = o.service"
            " WHERE o.ended_at < ? AND (o.ended_at, o.id) > (?, ?) ORDER BY o.ended_at, o.id LIMIT ?",
            before,
            *after,
            limit,
        )
        gone = [(r["id"],) for r in rows if r["old"]]
        if gone:
            with self.write() as db:
                # ended still: a person may have taken it up again meanwhile
                db.conn.executemany(
                    "DELETE FROM steps WHERE operation IN (SELECT id FROM operations WHERE id = ?"
                    " AND ended_at IS NOT NULL)",
                    gone,
                )
                db.conn.executemany("DELETE FROM operations WHERE id = ? AND ended_at IS NOT NULL", gone)
        return (rows[-1]["ended_at"], rows[-1]["id"]) if len(rows) == limit else None

    def forget_findings(self, before: float, limit: int = 500) -> int:
        """Forget findings that ended before `before`; how many."""
        return self.change(
            "DELETE FROM findings WHERE id IN (SELECT id FROM findings WHERE ended_at < ? LIMIT ?)", before, limit
        )

    def forget_statuses(self, before: float, limit: int = 500) -> int:
        """Forget machines that no bulk read has shown since `before`; how many."""
        gone = self.change(
            "DELETE FROM vm_status WHERE (server, vm_id) IN (SELECT server, vm_id FROM vm_status WHERE seen_at < ?"
            " LIMIT ?)",
            before,
            limit,
        )
        if gone:
            self.change(
                "DELETE FROM vm_about WHERE NOT EXISTS (SELECT 1 FROM vm_status v WHERE v.server = vm_about.server"
                " AND v.vm_id = vm_about.vm_id)"
            )
        return gone
