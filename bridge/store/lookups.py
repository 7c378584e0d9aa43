"""Queries of lookups of where names lead, by DNS as everybody sees it."""

from __future__ import annotations

from typing import TypedDict

from bridge.store.core import Core


class LookupRow(TypedDict):
    """`answer`: yes, no, or empty while nobody knows."""

    name: str
    address: str
    answer: str


class Lookups(Core):
    """Lookups, asked for by who has the page open; the worker does them."""

    def ask_lookup(self, name: str, address: str, fresh: float) -> str:
        """Whether a name leads to an address, as last looked up: yes, no, or empty while nobody knows. The worker
        looks soon, and goes on for as long as somebody asks; `fresh` seconds an asking holds."""
        row = self.row("SELECT answer, asked_at FROM dns_looks WHERE name = ? AND address = ?", name, address)
        if row is None or row["asked_at"] < self.clock.now() - fresh:
            self.note(
                "INSERT INTO dns_looks (name, address, asked_at) VALUES (?, ?, ?)"
                " ON CONFLICT (name, address) DO UPDATE SET asked_at = excluded.asked_at",
                name,
                address,
                self.clock.now(),
            )
        return str(row["answer"]) if row else ""

    def lookups_due(self, asked_since: float, limit: int) -> list[LookupRow]:
        return self.rows_as(
            LookupRow,
            "SELECT name, address, answer FROM dns_looks WHERE due_at <= ? AND asked_at >= ? ORDER BY due_at LIMIT ?",
            self.clock.now(),
            asked_since,
            limit,
        )

    def looked_up(self, name: str, address: str, answer: str, again: float) -> None:
        self.change(
            "UPDATE dns_looks SET answer = ?, due_at = ? WHERE name = ? AND address = ?",
            answer,
            self.clock.now() + again,
            name,
            address,
        )

    def forget_lookups(self, asked_before: float) -> None:
        self.change("DELETE FROM dns_looks WHERE asked_at < ?", asked_before)
