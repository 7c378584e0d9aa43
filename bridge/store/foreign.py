"""Machines on our servers that belong to no live service: which they are, what they hold, whom they disturb."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TypedDict

from bridge.store.core import Core
from bridge.store.findings import ABOUT, AboutAddress


class AboutDuplicate(AboutAddress):
    server: str
    pool: str
    foreign_id: str
    foreign_name: str


class ForeignVm(TypedDict):
    vm_id: str
    node: str


class ForeignMachines(Core):
    def note_foreign_vms(self, server: str, vm_ids: set[str], settled: float) -> None:
        """The machines there are that belong to no live service, without those under removal."""
        going = set(
            self.column(
                "SELECT s.vm_id FROM operations o JOIN services s ON s.id = o.service WHERE s.server = ?"
                " AND s.desired = 'terminated' AND (o.state IN ('running', 'waiting_for_staff') OR o.ended_at > ?)",
                server,
                settled,
            )
        )
        known = set(self.column("SELECT vm_id FROM foreign_vms WHERE server = ?", server))
        if known == vm_ids - going:
            return
        with self.write() as db:
            db.conn.executemany(
                "DELETE FROM foreign_vms WHERE server = ? AND vm_id = ?",
                [(server, v) for v in known - (vm_ids - going)],
            )
            db.conn.executemany(
                "INSERT INTO foreign_vms (server, vm_id) VALUES (?, ?)", [(server, v) for v in vm_ids - going - known]
            )
            db.conn.execute(
                "DELETE FROM foreign_addresses AS a WHERE server = ?"
                " AND NOT EXISTS (SELECT 1 FROM foreign_vms f WHERE f.server = a.server AND f.vm_id = a.vm_id)",
                (server,),
            )

    def foreign_vms_due(self, server: str, before: float, limit: int) -> list[ForeignVm]:
        return self.rows_as(
            ForeignVm,
            "SELECT f.vm_id, v.node FROM foreign_vms f JOIN vm_status v ON v.server = f.server AND v.vm_id = f.vm_id"
            " WHERE f.server = ? AND f.turn_at < ? ORDER BY f.turn_at LIMIT ?",
            server,
            before,
            limit,
        )

    def save_foreign_vm(
        self, server: str, vm_id: str, name: str, volumes: Sequence[str], addresses: Iterable[str], read_at: float
    ) -> None:
        with self.write() as db:
            db.conn.execute(
                "UPDATE foreign_vms SET name = ?, volumes = ?, read_at = ?, turn_at = ? WHERE server = ? AND vm_id = ?",
                (name, json.dumps(list(volumes)), read_at, read_at, server, vm_id),
            )
            db.conn.execute("DELETE FROM foreign_addresses WHERE server = ? AND vm_id = ?", (server, vm_id))
            db.conn.executemany(
                "INSERT INTO foreign_addresses (address, server, vm_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(a, server, vm_id) for a in addresses],
            )

    def foreign_vm_unread(self, server: str, vm_id: str, turn_at: float) -> None:
        """Its next turn comes as if it had been read then; what was known of it stays."""
        self.change("UPDATE foreign_vms SET turn_at = ? WHERE server = ? AND vm_id = ?", turn_at, server, vm_id)

    def duplicate_addresses(self, server: str) -> list[AboutDuplicate]:
        """Addresses of live services that a foreign machine of this server claims too."""
        return self.rows_as(
            AboutDuplicate,
            f"SELECT {ABOUT}, s.server, a.address, a.pool, f.vm_id AS foreign_id, v.name AS foreign_name"
            " FROM foreign_addresses f JOIN addresses a ON a.address = f.address"
            " JOIN services s ON s.id = a.service JOIN foreign_vms v ON v.server = f.server AND v.vm_id = f.vm_id"
            " WHERE f.server = ? AND s.desired <> 'terminated'",
            server,
        )

    def volume_user(self, server: str, volume: str) -> str:
        """Who names a volume that is taken for left over: a foreign machine's id, a live service's machine; empty when
        nobody. `?` while not every foreign machine has been read."""
        quoted = json.dumps(volume)
        row = self.row(
            "SELECT vm_id FROM foreign_vms WHERE server = ?1 AND replace(volumes, ?2, '') <> volumes"
            " UNION ALL SELECT vm_id FROM services WHERE server = ?1 AND desired <> 'terminated'"
            " AND replace(replace(seen, ?2, ''), ?3, '') <> seen"
            " UNION ALL SELECT '?' FROM foreign_vms WHERE server = ?1 AND read_at = 0 LIMIT 1",
            server,
            quoted,
            quoted[:-1] + ",",
        )
        return str(row["vm_id"]) if row else ""
