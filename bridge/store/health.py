"""Servers: whether they answer, when they are read next, maintenance, and what they offer and have."""

from __future__ import annotations

from typing import TypedDict

from bridge.store.audit import Audit

KEEP_READ = (
    "INSERT INTO {table} (server, data, read_at) VALUES (?, ?, ?)"
    " ON CONFLICT (server) DO UPDATE SET data = excluded.data, read_at = excluded.read_at"
)


class HealthRow(TypedDict):
    server: str
    ok: int
    error: str
    failures: int
    refreshed_at: float
    wanted_at: float
    lease_until: float
    next_at: float
    maintenance: str
    apart: int
    watched_read_at: float
    key_fault: str


class ReadRow(TypedDict):
    """What was read of a server, as JSON, and when."""

    data: str
    read_at: float


def _fresh(server: str) -> HealthRow:
    """A server that nobody has looked at yet: the table's defaults."""
    return {
        "server": server,
        "ok": 1,
        "error": "",
        "failures": 0,
        "refreshed_at": 0.0,
        "wanted_at": 0.0,
        "lease_until": 0.0,
        "next_at": 0.0,
        "maintenance": "",
        "apart": 0,
        "watched_read_at": 0.0,
        "key_fault": "",
    }


class Healths(Audit):
    def health(self, server: str) -> HealthRow:
        """Its row; as new where nobody has looked at the server yet. Never writes: pages ask for it."""
        return self.row_as(HealthRow, "SELECT * FROM server_health WHERE server = ?", server) or _fresh(server)

    def _begin_health(self, server: str) -> None:
        self.change("INSERT INTO server_health (server, ok) VALUES (?, 1) ON CONFLICT DO NOTHING", server)

    def refresh_later(self, server: str, seconds: float) -> None:
        """Not now, though nothing failed."""
        self.change(
            "UPDATE server_health SET lease_until = 0, next_at = ? WHERE server = ?", self.clock.now() + seconds, server
        )

    def note_key_fault(self, server: str, text: str) -> None:
        """What our key cannot do though it can read; empty when it can all."""
        self._begin_health(server)
        self.change("UPDATE server_health SET key_fault = ? WHERE server = ?", text[:300], server)

    def want_status(self, server: str) -> None:
        """Somebody looks at machines of this server. May be lost: the next look says it again."""
        self.note(
            "INSERT INTO server_health (server, ok, wanted_at) VALUES (?, 1, ?)"
            " ON CONFLICT (server) DO UPDATE SET wanted_at = excluded.wanted_at",
            server,
            self.clock.now(),
        )

    def read_apart(self, server: str, apart: bool) -> None:
        """Whether it is worth knowing which machines are watched."""
        if self.health(server)["apart"] != int(apart):
            self._begin_health(server)
            self.change("UPDATE server_health SET apart = ? WHERE server = ?", int(apart), server)

    def claim_refresh(self, server: str, age: float, idle_age: float, lease: float) -> bool:
        """Take the right to refresh a server that is watched and stale (or just old)."""
        now = self.clock.now()
        row = self.health(server)
        watched = row["wanted_at"] >= now - 30
        if row["refreshed_at"] > now - (age if watched else idle_age) or row["next_at"] > now:
            return False
        self._begin_health(server)
        return bool(
            self.change(
                "UPDATE server_health SET lease_until = ? WHERE server = ? AND lease_until <= ? AND next_at <= ?",
                now + lease,
                server,
                now,
                now,
            )
        )

    def refresh_failed(self, server: str, error: str, down: bool) -> int:
        """Record a failed bulk read; returns how many in a row."""
        now = self.clock.now()
        with self.write() as db:
            self._begin_health(server)
            failures = int(self.health(server)["failures"]) + 1
            db.conn.execute(
                "UPDATE server_health SET ok = ?, error = ?, failures = ?, lease_until = 0, next_at = ?"
                " WHERE server = ?",
                (0 if down and failures >= 2 else 1, error[:300], failures, now + min(60, 5 * failures), server),
            )
        return failures

    def save_offers(self, server: str, data: str) -> None:
        """What its provider sells, as JSON."""
        self.change(KEEP_READ.format(table="offers"), server, data, self.clock.now())

    def offers(self, server: str) -> ReadRow | None:
        """{data, read_at}"""
        return self.row_as(ReadRow, "SELECT data, read_at FROM offers WHERE server = ?", server)

    def save_resources(self, server: str, data: str) -> None:
        """What its nodes have, as its driver wrote it."""
        self.change(KEEP_READ.format(table="resources"), server, data, self.clock.now())

    def resources(self, server: str) -> ReadRow | None:
        """{data, read_at}"""
        return self.row_as(ReadRow, "SELECT data, read_at FROM resources WHERE server = ?", server)

    def set_maintenance(self, server: str, text: str) -> None:
        """A sentence for customers; empty ends it."""
        with self.write():
            self._begin_health(server)
            self.change("UPDATE server_health SET maintenance = ? WHERE server = ?", text, server)
            self.audit(f"maintenance {'on' if text else 'off'}", "done", subject=server)
