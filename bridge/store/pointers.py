"""Queries of reverse records that are still to be written, and of when a service was last changed by a direct edit."""

from __future__ import annotations

from typing import TypedDict

from bridge.store.core import Core


class Written(TypedDict):
    """One that is being written, under its number."""

    service: int
    address: str
    number: int
    attempt: int


class PointerWish(Written):
    """`task`: of the back end, which is asked for; `refused`: the error's code, and nothing is tried."""

    name: str
    wished_at: float
    due_at: float
    lease_until: float
    task: str
    refused: str


class PointerWishes(Core):
    def wish_pointer(self, service: int, address: str, name: str, lease: float) -> int:
        """Keep what is wished for an address; it takes an older wish's place. Returns its number when the caller is to
        write it, within `lease` seconds; 0 while somebody else writes that address: the worker does it after them."""
        now = self.clock.now()
        with self.write() as db:
            held = self.row(
                "SELECT lease_until FROM pointer_wishes WHERE service = ? AND address = ?", service, address
            )
            free = held is None or held["lease_until"] <= now
            db.conn.execute(
                "INSERT INTO pointer_wishes (service, address, name, number, wished_at, due_at)"
                " VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (service, address) DO UPDATE"
                " SET name = excluded.name, number = pointer_wishes.number + 1, wished_at = excluded.wished_at,"
                " due_at = excluded.due_at, task = '', attempt = 0, refused = ''",
                (service, address, name, now, now),
            )
            if not free:
                return 0
            db.conn.execute(
                "UPDATE pointer_wishes SET lease_until = ? WHERE service = ? AND address = ?",
                (now + lease, service, address),
            )
            row = (
                self.row("SELECT number FROM pointer_wishes WHERE service = ? AND address = ?", service, address) or {}
            )
        return int(row["number"])

    def claim_pointer(self, server: str, lease: float) -> PointerWish | None:
        """The next wish that is due on a server, to be written within `lease` seconds."""
        now = self.clock.now()
        if self._due_pointer(server, now) is None:
            return None  # look without a write lock first: it is asked all the time
        with self.write() as db:
            row = self._due_pointer(server, now)
            if row:
                db.conn.execute(
                    "UPDATE pointer_wishes SET lease_until = ? WHERE service = ? AND address = ?",
                    (now + lease, row["service"], row["address"]),
                )
        return row

    def _due_pointer(self, server: str, now: float) -> PointerWish | None:
        return self.row_as(
            PointerWish,
            "SELECT w.* FROM pointer_wishes w JOIN services s ON s.id = w.service WHERE s.server = ?"
            " AND s.desired = 'active' AND w.due_at <= ? AND w.lease_until <= ? AND w.refused = ''"
            " ORDER BY w.due_at LIMIT 1",
            server,
            now,
            now,
        )

    def pointer_written(self, service: int, address: str, number: int) -> None:
        """Done, unless something else is wished by now: that is due at once."""
        with self.write() as db:
            db.conn.execute(
                "DELETE FROM pointer_wishes WHERE service = ? AND address = ? AND number = ?",
                (service, address, number),
            )
            db.conn.execute(
                "UPDATE pointer_wishes SET lease_until = 0 WHERE service = ? AND address = ?", (service, address)
            )
            self.edited(service)

    def pointer_later(
        self, service: int, address: str, number: int, seconds: float, task: str = "", refused: str = ""
    ) -> None:
        """Try again in `seconds`, or ask for `task` then; with `refused` (the error's code) not before it is wished
        anew."""
        with self.write() as db:
            db.conn.execute(
                "UPDATE pointer_wishes SET due_at = ?, attempt = attempt + 1, task = ?, refused = ?"
                " WHERE service = ? AND address = ? AND number = ?",
                (self.clock.now() + seconds, task, refused, service, address, number),
            )
            db.conn.execute(
                "UPDATE pointer_wishes SET lease_until = 0 WHERE service = ? AND address = ?", (service, address)
            )

    def pointer_wishes(self, service: int) -> list[PointerWish]:
        return self.rows_as(PointerWish, "SELECT * FROM pointer_wishes WHERE service = ? ORDER BY address", service)

    def forget_pointers(self, service: int) -> None:
        self.change("DELETE FROM pointer_wishes WHERE service = ?", service)

    def edited(self, service: int) -> None:
        """What was read of this service before is old, in every process. Where that cannot be saved just now, the
        other processes see it some seconds later: it says nothing about what was done."""
        self.note("UPDATE services SET edits = edits + 1 WHERE id = ?", service)

    def edits(self, service: int) -> int:
        row = self.row("SELECT edits FROM services WHERE id = ?", service)
        return int(row["edits"]) if row else 0
