"""Queries of changes of customers' firewalls. One row for a service: `writing` (being made), `trial` (made, and taken
back at `due_at`), `undoing` (being taken back), and how the last one ended: `undone` or `failed`. Who writes holds
the row's number; a later claim gives it another one."""

from __future__ import annotations

import json
from typing import Any, TypedDict

from bridge.errors import LeaseLost
from bridge.store.core import Core

OPEN = "('writing', 'trial', 'undoing')"
ENDED = "('undone', 'failed')"
CHANGED = -1


class FirewallRow(TypedDict):
    """`edit` and `undo` as JSON; `undo` is empty where there is no way back."""

    service: int
    number: int
    phase: str
    edit: str
    undo: str
    begun: int
    due_at: float
    lease_until: float
    attempt: int
    error: str
    actor: str
    made_at: float


class FirewallChanges(Core):
    def begin_firewall(
        self, service: int, edit: dict[str, Any], undo: dict[str, Any] | None, lease: float, by: str, seen: int = -1
    ) -> int:
        """The number under which the caller writes it within `lease` seconds; 0 while another change is open, and
        CHANGED where one has begun or ended since the service's count of edits was `seen`, with which the list was
        read: a new rule is written whatever stands there by then. One that was never begun and whose writer is gone
        takes nobody's place."""
        now = self.clock.now()
        with self.write() as db:
            if not self._counted(service, seen):
                return CHANGED
            cursor = db.conn.execute(
                "INSERT INTO firewall_changes (service, number, phase, edit, undo, due_at, lease_until, actor, made_at)"
                " VALUES (?, 1, 'writing', ?, ?, ?, ?, ?, ?) ON CONFLICT (service) DO UPDATE SET number ="
                " firewall_changes.number + 1, phase = 'writing', edit = excluded.edit, undo = excluded.undo,"
                " due_at = excluded.due_at, begun = 0,"
                " lease_until = excluded.lease_until, attempt = 0, error = '', actor = excluded.actor, made_at"
                " = excluded.made_at"
                f" WHERE firewall_changes.phase IN {ENDED} OR (firewall_changes.phase = 'writing'"
                " AND firewall_changes.begun = 0 AND firewall_changes.lease_until <= ?)",
                (service, json.dumps(edit), json.dumps(undo) if undo else "", now, now + lease, by, now, now),
            )
            if not cursor.rowcount:
                return 0
            row = self.row("SELECT number FROM firewall_changes WHERE service = ?", service) or {}
        return int(row["number"])

    def _counted(self, service: int, seen: int = -1) -> bool:
        """One more edit, in the same save as what it counts; false where `seen` is not the count any more."""
        return bool(
            self.change(
                "UPDATE services SET edits = edits + 1 WHERE id = ? AND CAST(? AS BIGINT) IN (-1, edits)", service, seen
            )
        )

    def firewall_begun(self, service: int, number: int) -> None:
        """From here on it may have been written. Raises LeaseLost when somebody else has it now."""
        changed = self.change(
            f"UPDATE firewall_changes SET begun = 1 WHERE service = ? AND number = ? AND phase IN {OPEN} AND"
            f" lease_until > ?",
            service,
            number,
            self.clock.now(),
        )
        if not changed:
            raise LeaseLost()

    def firewall_written(self, service: int, number: int, trial: float) -> None:
        """Done. With `trial` seconds it is taken back then, unless it is confirmed before."""
        with self.write():
            self._counted(service)
            if trial:
                self.change(
                    "UPDATE firewall_changes SET phase = 'trial', due_at = ?, lease_until = 0, attempt = 0"
                    " WHERE service = ? AND number = ?",
                    self.clock.now() + trial,
                    service,
                    number,
                )
            else:
                self.change("DELETE FROM firewall_changes WHERE service = ? AND number = ?", service, number)

    def firewall_ended(self, service: int, number: int, phase: str, error: str = "") -> None:
        """`undone` or `failed`; what is told until the next change."""
        with self.write():
            self._counted(service)
            self.change(
                "UPDATE firewall_changes SET phase = ?, error = ?, due_at = ?, lease_until = 0 WHERE service = ?"
                " AND number = ?",
                phase,
                error,
                self.clock.now(),
                service,
                number,
            )

    def firewall_later(self, service: int, number: int, seconds: float, error: str = "") -> None:
        """Go on in `seconds`; a change that was to be a trial is taken back then: nobody has seen it made."""
        self.change(
            "UPDATE firewall_changes SET phase = CASE WHEN phase = 'writing' AND undo <> '' THEN 'undoing' ELSE"
            " phase END, due_at = ?,"
            " lease_until = 0, attempt = attempt + 1, error = ? WHERE service = ? AND number = ?",
            self.clock.now() + seconds,
            error,
            service,
            number,
        )

    def forget_firewall(self, service: int, number: int = 0) -> None:
        """A change that was refused before it began, or whose outcome was read; without a number any."""
        with self.write():
            self._counted(service)
            self.change(
                "DELETE FROM firewall_changes WHERE service = ? AND CAST(? AS BIGINT) IN (0, number)", service, number
            )

    def claim_firewall(self, server: str, lease: float) -> FirewallRow | None:
        """The next change that is due on a server, to be gone on with within `lease` seconds. A trial whose time is
        over is undone from now on; what was never begun is dropped. Where the machine's clock was put back, no trial
        goes on for as long as that was, and no lease is longer than they are."""
        if self._due_firewall(server, lease) is None:
            return None  # look without a write lock first: it is asked all the time
        with self.write():
            due = self._due_firewall(server, lease)
            return self._claimed(due, lease) if due else None

    def _due_firewall(self, server: str, lease: float) -> FirewallRow | None:
        return self.row_as(
            FirewallRow,
            "SELECT c.* FROM firewall_changes c JOIN services s ON s.id = c.service WHERE s.server = ?1 AND"
            f" s.desired <> 'terminated' AND c.phase IN {OPEN}"
            " AND (c.due_at <= ?2 OR (c.phase = 'trial' AND c.made_at > ?2))"
            " AND (c.lease_until <= ?2 OR c.lease_until > ?2 + ?3) ORDER BY c.due_at LIMIT 1",
            server,
            self.clock.now(),
            lease,
        )

    def take_back_firewall(self, service: int, until: float, lease: float) -> FirewallRow | None:
        """The trial that ends at `until`, to be undone now by the caller; None when there is none."""
        with self.write():
            row = self.row_as(
                FirewallRow,
                "SELECT * FROM firewall_changes WHERE service = ? AND phase = 'trial' AND due_at = ?",
                service,
                until,
            )
            return self._claimed(row, lease) if row else None

    def _claimed(self, row: FirewallRow, lease: float) -> FirewallRow | None:
        if row["phase"] == "writing" and not row["begun"]:
            self.forget_firewall(row["service"], row["number"])
            return None
        phase = "undoing" if row["undo"] else row["phase"]
        number = int(row["number"]) + 1
        self.change(
            "UPDATE firewall_changes SET phase = ?, number = ?, lease_until = ?, begun = 1 WHERE service = ?",
            phase,
            number,
            self.clock.now() + lease,
            row["service"],
        )
        return {**row, "phase": phase, "number": number}

    def take_over_firewall(self, service: int, lease: float) -> int:
        """The number under which an operation ends an open change itself; 0 when none is, or somebody is at it."""
        with self.write():
            row = self.row_as(
                FirewallRow,
                f"SELECT * FROM firewall_changes WHERE service = ? AND phase IN {OPEN} AND lease_until <= ?",
                service,
                self.clock.now(),
            )
            change = self._claimed(row, lease) if row else None
            return int(change["number"]) if change else 0

    def keep_firewall(self, service: int, until: float) -> bool:
        """The change of the trial that ends at `until` stays; false when it was taken back already, or is being so."""
        return bool(
            self.change(
                "DELETE FROM firewall_changes WHERE service = ? AND phase = 'trial' AND due_at = ? AND due_at > ?",
                service,
                until,
                self.clock.now(),
            )
        )

    def firewall_change(self, service: int) -> FirewallRow | None:
        return self.row_as(FirewallRow, "SELECT * FROM firewall_changes WHERE service = ?", service)

    # -- what keeps them from filtering ------------------------------------------------------------
    def save_firewall_switches(self, server: str, switches: dict[str, str]) -> None:
        self.change(
            "INSERT INTO firewall_switches (server, data, read_at) VALUES (?, ?, ?)"
            " ON CONFLICT (server) DO UPDATE SET data = excluded.data, read_at = excluded.read_at",
            server,
            json.dumps(switches),
            self.clock.now(),
        )

    def firewall_switches(self, server: str) -> tuple[dict[str, str], float]:
        """(node -> word, when it was read); nothing and 0 before."""
        row = self.row("SELECT data, read_at FROM firewall_switches WHERE server = ?", server)
        return (json.loads(row["data"]), float(row["read_at"])) if row else ({}, 0.0)
