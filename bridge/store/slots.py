"""Places for heavy work, and the room that what is under way will take."""

from __future__ import annotations

from bridge.model import Operation, Planned, Sold
from bridge.store.leases import Leases
from bridge.store.services import package_of


class Slots(Leases):
    def take_slot(self, op: Operation, server: str, node: str, storage: str, per_node: int, per_storage: int) -> bool:
        """Claim a place for heavy work on a node and a storage; true also when it is already held."""
        with self.write():
            row = self.row("SELECT slot_node, slot_storage FROM operations WHERE id = ?", op.id) or {}
            if (row["slot_node"], row["slot_storage"]) == (node, storage):
                return True
            held = self.rows(
                "SELECT o.slot_node, o.slot_storage FROM operations o JOIN services s ON s.id = o.service"
                " WHERE s.server = ? AND o.slot_node <> '' AND o.state = 'running'",
                server,
            )
            on_node = sum(h["slot_node"] == node for h in held)
            on_storage = sum((h["slot_storage"], h["slot_node"]) == (storage, node) for h in held)
            if on_node >= per_node or on_storage >= per_storage:
                return False
            self._fenced(op, "slot_node = ?, slot_storage = ?", node, storage)
        return True

    def free_slot(self, op: Operation) -> None:
        """Give the place back; the longest waiting one is looked at next."""
        with self.write():
            self._fenced(op, "slot_node = '', slot_storage = ''")
            self.change(
                "UPDATE operations SET due_at = ? WHERE id IN (SELECT id FROM operations WHERE state = 'running'"
                " AND note = 'slot' AND lease_until <= ? ORDER BY created_at LIMIT 4)",
                self.clock.now(),
                self.clock.now(),
            )

    def plan_room(self, op: Operation, mib: int, gib: int) -> None:
        self._fenced(op, "planned_mib = ?, planned_gib = ?", mib, gib)

    def planned_room(self, server: str) -> list[Planned]:
        """Machines of creates that are placed and not ended."""
        rows = self.rows(
            "SELECT s.vm_id, s.node, s.package FROM operations o JOIN services s ON s.id = o.service WHERE s.server = ?"
            " AND o.state IN ('running', 'waiting_for_staff') AND o.planned_mib > 0 ORDER BY s.id",
            server,
        )
        return [Planned(r["vm_id"], r["node"], package_of(r["package"])) for r in rows]

    def sold_room(self, server: str) -> list[Sold]:
        """Every machine that stands. One whose growth is not yet found to fit counts as what it is: two orders that
        wait for the same room must not keep each other from it."""
        rows = self.tuples(
            "SELECT s.vm_id, CAST(s.package ->> 'ram_mib' AS BIGINT), CAST(s.package ->> 'cores' AS BIGINT)"
            " FROM services s WHERE s.server = ? AND s.desired <> 'terminated' AND NOT EXISTS (SELECT 1"
            " FROM operations o WHERE o.service = s.id AND o.kind IN ('change_package', 'rename', 'converge')"
            " AND o.data ->> 'room' IS NULL AND o.state IN ('running', 'waiting',"
            " 'waiting_for_staff')) ORDER BY s.id",
            server,
        )
        return [Sold(*row) for row in rows]
