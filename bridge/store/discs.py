"""Queries of machines that were let start from a disc once: until their own disk comes first again somebody has to see
to it."""

from __future__ import annotations

from bridge.store.core import Core


class DiscOrders(Core):
    def disc_comes_first(self, service: int) -> None:
        """Before it is written: from now on the worker looks that it does not stay so."""
        self.change(
            "INSERT INTO disc_orders (service, due_at) VALUES (?, ?) ON CONFLICT (service) DO UPDATE"
            " SET due_at = excluded.due_at",
            service,
            self.clock.now(),
        )

    def disk_comes_first(self, service: int) -> None:
        """Seen, or the machine is gone."""
        self.change("DELETE FROM disc_orders WHERE service = ?", service)

    def disc_order(self, service: int) -> bool:
        """Whether somebody has still to see to it."""
        return self.row("SELECT service FROM disc_orders WHERE service = ?", service) is not None

    def disc_orders_due(self, server: str, limit: int = 20) -> list[int]:
        """Services of a server for which nothing is under way that would see to it."""
        rows = self.rows(
            "SELECT d.service FROM disc_orders d JOIN services s ON s.id = d.service WHERE s.server = ?"
            " AND s.provisioned = 1 AND s.desired <> 'terminated' AND d.due_at <= ? AND NOT EXISTS (SELECT 1"
            " FROM operations o WHERE o.service = d.service AND o.state IN ('running', 'waiting',"
            " 'waiting_for_staff')) ORDER BY d.due_at LIMIT ?",
            server,
            self.clock.now(),
            limit,
        )
        return [int(r["service"]) for r in rows]

    def disc_order_later(self, service: int, seconds: float) -> None:
        self.change("UPDATE disc_orders SET due_at = ? WHERE service = ?", self.clock.now() + seconds, service)
