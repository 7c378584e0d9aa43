"""Queries of the console's one-time keys and of its sessions."""

from __future__ import annotations

from typing import TypedDict

from bridge.store.core import Core

ALIVE = 90.0  # seconds without a sign of its process after which a session counts as ended


class ConsoleKeyRow(TypedDict):
    service: int
    client: int
    actor: str
    language: str
    expires_at: float


class BarredConsole(TypedDict):
    id: int
    desired: str


class Consoles(Core):
    def add_console_key(
        self, hashed: str, kind: str, service: int, client: int, actor: str, language: str, seconds: float
    ) -> None:
        self.change(
            "INSERT INTO console_keys (hash, kind, service, client, actor, language, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            hashed,
            kind,
            service,
            client,
            actor,
            language,
            self.clock.now() + seconds,
        )

    def take_console_key(self, hashed: str, kind: str) -> ConsoleKeyRow | None:
        """Use a key up: {service, client, actor, language}, to whoever asks first; None when it is unknown, used or too
        old."""
        with self.write():
            rows = self.rows_as(
                ConsoleKeyRow,
                "DELETE FROM console_keys WHERE hash = ? AND kind = ? RETURNING service, client, actor, language,"
                " expires_at",
                hashed,
                kind,
            )
        return rows[0] if rows and rows[0]["expires_at"] >= self.clock.now() else None

    def open_console(self, service: int, client: int, actor: str, owner: str, at_most: int) -> int | None:
        """Record a session; None when the service has `at_most` open ones already."""
        now = self.clock.now()
        with self.write():
            count = self.rows(
                "SELECT count(*) AS n FROM console_sessions WHERE service = ? AND closed_at IS NULL AND seen_at > ?",
                service,
                now - ALIVE,
            )[0]["n"]
            if count >= at_most:
                return None
            return self.insert(
                "INSERT INTO console_sessions (service, client, actor, owner, opened_at, seen_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                service,
                client,
                actor,
                owner,
                now,
                now,
            )

    def close_console(self, key: int, reason: str) -> None:
        self.change(
            "UPDATE console_sessions SET closed_at = ?, reason = ? WHERE id = ? AND closed_at IS NULL",
            self.clock.now(),
            reason[:200],
            key,
        )

    def barred_consoles(self, owner: str) -> list[BarredConsole]:
        """Open sessions of one process whose service is no longer active, or another client's now: {id, desired}."""
        return self.rows_as(
            BarredConsole,
            "SELECT c.id, s.desired FROM console_sessions c JOIN services s ON s.id = c.service"
            " WHERE c.owner = ? AND c.closed_at IS NULL AND (s.desired <> 'active' OR s.client_id <> c.client)",
            owner,
        )

    def see_consoles(self, owner: str) -> None:
        """The process still lives, and so do its sessions."""
        self.change(
            "UPDATE console_sessions SET seen_at = ? WHERE owner = ? AND closed_at IS NULL", self.clock.now(), owner
        )

    def prune_consoles(self, keep: float) -> None:
        """Drop keys that ran out, close what a killed process left open, forget sessions older than `keep` seconds."""
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute("DELETE FROM console_keys WHERE expires_at < ?", (now,))
            db.conn.execute(
                "UPDATE console_sessions SET closed_at = seen_at, reason = 'its process ended'"
                " WHERE closed_at IS NULL AND seen_at < ?",
                (now - ALIVE,),
            )
            db.conn.execute("DELETE FROM console_sessions WHERE closed_at < ?", (now - keep,))
