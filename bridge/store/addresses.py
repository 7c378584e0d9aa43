"""Queries of addresses. Only taken addresses are rows; the primary key makes each unique."""

from __future__ import annotations

import ipaddress
from typing import TypedDict

from bridge.store.core import Core, Row

Spans = tuple[tuple[int, int], ...]


class AddressRow(TypedDict):
    """One of a service's; `role`: main, extra or leaving."""

    address: str
    pool: str
    role: str


class TakenRow(TypedDict):
    """`service` is None, and `free_at` is set, while it cools down."""

    address: str
    pool: str
    service: int | None
    free_at: float | None


class PoolCount(TypedDict):
    pool: str
    taken: int
    cooling: int
    next: float | None


class CoolingRow(TypedDict):
    address: str
    free_at: float


def _numbers(rows: list[Row]) -> set[int]:
    return {int(ipaddress.ip_address(r["address"])) for r in rows}


class Addresses(Core):
    def take_address(
        self, pool: str, family: int, ranges: Spans, excluded: Spans, service: int, role: str
    ) -> str | None:
        """Give the service a free address of the pool; None when there is none."""
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute("DELETE FROM addresses WHERE service IS NULL AND free_at <= ?", (now,))
            taken = _numbers(self.rows("SELECT address FROM addresses WHERE pool = ?", pool))
            for first, last in ranges:
                number = first
                while number <= last:
                    hole = next((b for a, b in excluded if a <= number <= b), None)
                    if hole is not None:
                        number = hole + 1
                        continue
                    if number not in taken:
                        kind = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
                        address = str(kind(number))
                        # another pool of an older configuration may hold it
                        done = db.conn.execute(
                            "INSERT INTO addresses (address, pool, service, role, taken_at)"
                            " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                            (address, pool, service, role, now),
                        )
                        if done.rowcount:
                            return address
                    number += 1
        return None

    def addresses_of(self, service: int) -> list[AddressRow]:
        """Main ones first, of each role IPv4 before IPv6, then by age: the first main one decides bridge and VLAN."""
        return self.rows_as(
            AddressRow,
            "SELECT address, pool, role FROM addresses WHERE service = ?"
            " ORDER BY role = 'main' DESC, address LIKE '%:%', taken_at, address",
            service,
        )

    def claim_address(self, address: str, pool: str, service: int, role: str) -> bool:
        """Give the service this very address; false when somebody has it."""
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute("DELETE FROM addresses WHERE address = ? AND service IS NULL", (address,))
            done = db.conn.execute(
                "INSERT INTO addresses (address, pool, service, role, taken_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (address, pool, service, role, now),
            )
        return bool(done.rowcount) or bool(
            self.row("SELECT 1 FROM addresses WHERE address = ? AND service = ?", address, service)
        )

    def change_role(self, address: str, role: str) -> None:
        self.change("UPDATE addresses SET role = ? WHERE address = ?", role, address)

    def release_leaving(self, service: int, cool_down: float) -> int:
        """Let go of those that the machine no longer may use."""
        return self.change(
            "UPDATE addresses SET service = NULL, free_at = ? WHERE service = ? AND role = 'leaving'",
            self.clock.now() + cool_down,
            service,
        )

    def release_addresses(self, service: int, cool_down: float) -> int:
        """Let go of all; they stay out of use for `cool_down` seconds."""
        return self.change(
            "UPDATE addresses SET service = NULL, free_at = ? WHERE service = ?",
            self.clock.now() + cool_down,
            service,
        )

    def taken_addresses(self) -> list[TakenRow]:
        return self.rows_as(TakenRow, "SELECT address, pool, service, free_at FROM addresses")

    def pool_counts(self) -> dict[str, PoolCount]:
        """For each pool: how many are `taken`, how many are `cooling` down, and when the `next` of these is free."""
        rows = self.rows_as(
            PoolCount,
            "SELECT pool, count(service) AS taken,"
            " count(*) FILTER (WHERE service IS NULL AND free_at > ?) AS cooling,"
            " min(CASE WHEN service IS NULL AND free_at > ? THEN free_at END) AS next FROM addresses GROUP BY pool",
            self.clock.now(),
            self.clock.now(),
        )
        return {r["pool"]: r for r in rows}

    def cooling(self, pool: str, limit: int = 20) -> list[CoolingRow]:
        """(address, free_at) of those that nobody may have yet, the soonest first."""
        return self.rows_as(
            CoolingRow,
            "SELECT address, free_at FROM addresses WHERE pool = ? AND service IS NULL AND free_at > ?"
            " ORDER BY free_at, address LIMIT ?",
            pool,
            self.clock.now(),
            limit,
        )
