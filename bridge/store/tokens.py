"""Tokens of the operator's own scripts: kept as hashes, never given twice under one name while one of it holds."""

from __future__ import annotations

import json
from typing import TypedDict

from bridge.store.audit import Audit

SEEN_EVERY = 60.0  # seconds: its last use is noted so often


class TokenRow(TypedDict):
    """`whmcs`: the only installation that it may read, empty for all; `used_at` and `revoked_at` are None before."""

    name: str
    whmcs: str
    scopes: list[str]
    created_at: float
    used_at: float | None
    revoked_at: float | None


class Tokens(Audit):
    def add_token(self, name: str, hashed: str, scopes: list[str], whmcs: str) -> bool:
        """False when the name is taken; that of a revoked token is free again."""
        with self.write():
            self.change("DELETE FROM tokens WHERE name = ? AND revoked_at IS NOT NULL", name)
            done = self.change(
                "INSERT INTO tokens (name, hash, scopes, whmcs, created_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                name,
                hashed,
                json.dumps(sorted(scopes)),
                whmcs,
                self.clock.now(),
            )
            if done:
                self.audit("token add", "done", whmcs, subject=f"{name}: {', '.join(sorted(scopes))}")
        return bool(done)

    def tokens(self) -> list[TokenRow]:
        """All of them, by name; revoked ones too."""
        rows = self.rows_as(
            TokenRow, "SELECT name, whmcs, scopes, created_at, used_at, revoked_at FROM tokens ORDER BY name"
        )
        return [{**r, "scopes": json.loads(str(r["scopes"]))} for r in rows]

    def token_of(self, hashed: str) -> TokenRow | None:
        """The one with this hash, unless it was revoked. Its use is noted where that is possible."""
        row, now = (
            self.row_as(
                TokenRow,
                "SELECT name, whmcs, scopes, created_at, used_at, revoked_at FROM tokens WHERE hash = ?"
                " AND revoked_at IS NULL",
                hashed,
            ),
            self.clock.now(),
        )
        if row is None:
            return None
        row["scopes"] = json.loads(str(row["scopes"]))
        if row["used_at"] is None or row["used_at"] < now - SEEN_EVERY:
            self.note("UPDATE tokens SET used_at = ? WHERE name = ?", now, row["name"])
        return row

    def revoke_token(self, name: str) -> bool:
        """From now on it opens nothing; false when there is none that holds."""
        with self.write():
            done = self.change(
                "UPDATE tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL", self.clock.now(), name
            )
            if done:
                self.audit("token revoke", "done", subject=name)
        return bool(done)
