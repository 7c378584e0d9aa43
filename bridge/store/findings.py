"""Queries of findings (what is not as it should be) and of the sweeps that look for them."""

from __future__ import annotations

import json
from typing import Any

from bridge.store.core import Core, Row


class Findings(Core):
    def find(self, server: str, service: int | None, kind: str, subject: str, text: str, fix: str, data: dict[str, Any]) -> int:
        """Keep a finding, or that it is still so; one open row for each (server, kind, subject). Returns its id."""
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute(
                "INSERT INTO findings (server, service, kind, subject, text, fix, data, found_at, seen_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (server, kind, subject) WHERE ended_at IS NULL"
                " DO UPDATE SET text = excluded.text, fix = excluded.fix, data = excluded.data, seen_at = excluded.seen_at,"
                " service = excluded.service",
                (server, service, kind, subject, text, fix, json.dumps(data), now, now),
            )
            row = self.row(
                "SELECT id FROM findings WHERE server = ? AND kind = ? AND subject = ? AND ended_at IS NULL", server, kind, subject
            ) or {}
        return int(row["id"])

    def end_findings(self, server: str, kind: str, still: set[str], subjects: set[str] | None = None) -> int:
        """End the open ones of a kind that a look did not find again; only among `subjects` when not all were looked at."""
        rows = self.rows("SELECT id, subject FROM findings WHERE server = ? AND kind = ? AND ended_at IS NULL", server, kind)
        gone = [r["id"] for r in rows if r["subject"] not in still and (subjects is None or r["subject"] in subjects)]
        for key in gone:
            self.change("UPDATE findings SET ended_at = ? WHERE id = ?", self.clock.now(), key)
        return len(gone)

    def findings(self, service: int | None = None, server: str = "", dismissed: bool = False) -> list[Row]:
        """Open ones, newest first, with WHMCS's number of the service."""
        where, args = ["f.ended_at IS NULL"], []  # type: tuple[list[str], list[Any]]
        if service is not None:
            where, args = [*where, "f.service = ?"], [*args, service]
        if server:
            where, args = [*where, "f.server = ?"], [*args, server]
        if not dismissed:
            where.append("f.dismissed = 0")
        found = self.rows(
            "SELECT f.*, s.service_id, s.whmcs FROM findings f LEFT JOIN services s ON s.id = f.service"
            f" WHERE {' AND '.join(where)} ORDER BY f.found_at DESC, f.id DESC", *args,
        )
        return [{**r, "data": json.loads(r["data"])} for r in found]

    def finding(self, key: int) -> Row | None:
        row = self.row("SELECT * FROM findings WHERE id = ?", key)
        return {**row, "data": json.loads(row["data"])} if row else None

    def dismiss_finding(self, key: int) -> bool:
        """Keep it out of sight until it ends."""
        return bool(self.change("UPDATE findings SET dismissed = 1 WHERE id = ? AND ended_at IS NULL", key))
