"""Queries of DNS records in zones of ours: what is wanted of each, what is known to be ours there, and what is still
to be written.

One row for each name and type, kept for as long as something of ours may be there. `wanted` is empty when there shall
be nothing; `ours` lists every value that we may have written and that may still be there; `due_at` is NULL when
nothing is to be done.
"""

from __future__ import annotations

import json
from typing import NotRequired, TypedDict, TypeVar, Unpack

from bridge.store.core import Core

ADOPTED = 2
OPEN = "r.due_at IS NOT NULL AND r.refused = ''"


class RecordRow(TypedDict):
    """`held`: its service wants it still; `own`: 1 is the customer's own act, which replaces what others wrote, ADOPTED
    makes it the service's; `asked_at`: a ticket asks for it since then."""

    name: str
    type: str
    zone: str
    service: int
    held: int
    address: str
    wanted: str
    chosen: int
    own: int
    written: str
    ours: list[str]
    seen: str
    number: int
    wished_at: float
    due_at: float | None
    doubt_until: float
    lease_until: float
    attempt: int
    refused: str
    detail: str
    ticket: str
    asked_at: float | None


class OpenRecord(RecordRow):
    service_id: int
    client_id: int
    hostname: str


class RecordChanges(TypedDict, total=False):
    """What is wanted otherwise of a row."""

    zone: str
    address: str
    wanted: str
    held: int
    chosen: int
    own: int


class RecordFirst(TypedDict):
    """What a row begins with."""

    zone: str
    service: int
    address: str
    wanted: str
    chosen: NotRequired[int]
    own: NotRequired[int]


class ZoneRow(TypedDict):
    """`failing_since` is None while it answers; `kept_at`: the provider that was written to, empty before."""

    zone: str
    failures: int
    error: str
    next_action: str
    failing_since: float | None
    due_at: float
    kept_at: str


class ZoneCount(TypedDict):
    zone: str
    records: int
    waiting: int
    refused: int
    asked: int


AnyRecord = TypeVar("AnyRecord", RecordRow, OpenRecord)


def _row(row: AnyRecord) -> AnyRecord:
    row["ours"] = json.loads(str(row["ours"]))
    return row


class Records(Core):
    def record(self, name: str, kind: str) -> RecordRow | None:
        row = self.row_as(RecordRow, "SELECT * FROM dns_records WHERE name = ? AND type = ?", name, kind)
        return _row(row) if row else None

    def records_of(self, service: int) -> list[RecordRow]:
        """Those that a service holds."""
        rows = self.rows_as(
            RecordRow, "SELECT * FROM dns_records WHERE service = ? AND held = 1 ORDER BY type, name", service
        )
        return [_row(r) for r in rows]

    def records_at(self, address: str) -> list[RecordRow]:
        return [
            _row(r)
            for r in self.rows_as(RecordRow, "SELECT * FROM dns_records WHERE address = ? ORDER BY type, name", address)
        ]

    def hold_record(self, name: str, kind: str, **values: Unpack[RecordFirst]) -> None:
        """Begin a row, or give one to another service; what is ours there stays known. It is due at once."""
        now = self.clock.now()
        row: dict[str, object] = {"held": 1, "chosen": 0, "own": 0, **values}
        sql = (
            f"INSERT INTO dns_records AS r (name, type, wished_at, due_at, {', '.join(row)})"
            f" VALUES (?, ?, ?, ?, {', '.join('?' * len(row))}) ON CONFLICT (name, type) DO UPDATE"
            " SET number = r.number + 1, attempt = 0, refused = '', detail = '', asked_at = NULL, wished_at ="
            " excluded.wished_at, ticket = CASE WHEN r.service = excluded.service THEN r.ticket ELSE '' END, due_at ="
            " CASE WHEN r.doubt_until > excluded.due_at THEN r.doubt_until ELSE excluded.due_at END,"
            f" {', '.join(f'{c} = excluded.{c}' for c in row)}"
        )
        self.change(sql, name, kind, now, now, *row.values())

    def want_record(self, name: str, kind: str, **values: Unpack[RecordChanges]) -> None:
        """Another value, zone or choice for a row that there is; due at once, but not before a lost call must have
        ended."""
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute(
                f"UPDATE dns_records SET {', '.join(f'{c} = ?' for c in values)}, number = number + 1, attempt = 0,"
                " refused = '', detail = '', asked_at = NULL, wished_at = ?,"
                " due_at = CASE WHEN doubt_until > ? THEN doubt_until ELSE ? END WHERE name = ? AND type = ?",
                (*values.values(), now, now, now, name, kind),
            )

    def drop_record(self, name: str, kind: str) -> None:
        """Nobody wants it any more."""
        self.want_record(name, kind, held=0, wanted="", chosen=0, own=0)

    def has_records(self) -> bool:
        return self.row("SELECT 1 FROM dns_records LIMIT 1") is not None

    def records_without_service(self) -> list[RecordRow]:
        """Held by a service that has ended and has nothing left to do."""
        rows = self.rows_as(
            RecordRow,
            "SELECT r.* FROM dns_records r JOIN services s ON s.id = r.service"
            " WHERE r.held = 1 AND s.desired = 'terminated'"
            " AND NOT EXISTS (SELECT 1 FROM addresses a WHERE a.service = s.id)"
            " AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.service = s.id"
            " AND o.state IN ('running', 'waiting', 'waiting_for_staff'))",
        )
        return [_row(r) for r in rows]

    # -- writing ----------------------------------------------------------------------------------
    def zones_due(self) -> list[str]:
        """Those in which something can be done now."""
        now = self.clock.now()
        return [
            str(z)
            for z in self.column(
                "SELECT DISTINCT r.zone FROM dns_records r LEFT JOIN dns_zones z ON z.zone = r.zone"
                f" WHERE {OPEN} AND r.due_at <= ? AND r.lease_until <= ? AND coalesce(z.due_at, 0) <= ?",
                now,
                now,
                now,
            )
        ]

    def claim_record(self, zone: str, lease: float) -> RecordRow | None:
        """The record of a zone that is due longest, to be written within `lease` seconds."""
        now = self.clock.now()
        with self.write() as db:
            row = self.row_as(
                RecordRow,
                f"SELECT * FROM dns_records r WHERE zone = ? AND {OPEN} AND r.due_at <= ? AND lease_until <= ?"
                " ORDER BY r.due_at LIMIT 1",
                zone,
                now,
                now,
            )
            if row:
                db.conn.execute(
                    "UPDATE dns_records SET lease_until = ? WHERE name = ? AND type = ?",
                    (now + lease, row["name"], row["type"]),
                )
        return _row(row) if row else None

    def record_trying(self, row: RecordRow) -> None:
        """Before the call: from now on this value may be there, and it is ours."""
        ours = [*dict.fromkeys([*row["ours"], row["wanted"]])]
        self.change(
            "UPDATE dns_records SET ours = ? WHERE name = ? AND type = ?", json.dumps(ours), row["name"], row["type"]
        )

    def record_settled(self, row: RecordRow, seen: str, ours: bool) -> None:
        """It is as wanted, or, with `ours` false, somebody else's and left alone. What was wished meanwhile is due at
        once. A row for which nobody wants anything and where nothing is ours ends."""
        with self.write() as db:
            key = (row["name"], row["type"])
            now = self.record(*key)
            if now is None:
                return
            mine = [row["wanted"]] if ours and row["wanted"] else []
            done = now["number"] == row["number"]
            db.conn.execute(
                "UPDATE dns_records SET written = ?, ours = ?, seen = ?, lease_until = 0, doubt_until = 0, attempt = 0,"
                " detail = '', due_at = CASE WHEN number = ? THEN NULL ELSE due_at END,"
                " own = CASE WHEN number = ? THEN 0 ELSE own END"
                " WHERE name = ? AND type = ?",
                (mine[0] if mine else "", json.dumps(mine), seen, row["number"], row["number"], *key),
            )
            if done and not now["held"] and not mine:
                db.conn.execute("DELETE FROM dns_records WHERE name = ? AND type = ?", key)

    def record_taken(self, row: RecordRow, seen: str) -> None:
        """What stands there is the service's own name from now on, as if its customer had saved it."""
        with self.write():
            values = (json.dumps([seen]), seen, row["name"], row["type"], row["number"])
            self.change(
                "UPDATE dns_records SET ours = ?, wanted = ?, chosen = 1 WHERE name = ? AND type = ? AND number = ?",
                *values,
            )
            self.record_settled({**row, "wanted": seen}, seen, ours=True)

    def record_later(
        self, row: RecordRow, seconds: float, doubt: float = 0.0, detail: str = "", refused: str = ""
    ) -> None:
        """Again in `seconds`; `doubt`: a call may still be at work for so long. With `refused` (the error's code) not
        before it is wished anew."""
        now = self.clock.now()
        self.change(
            "UPDATE dns_records SET lease_until = 0, detail = ?3,"
            " doubt_until = CASE WHEN ?1 > 0 THEN ?2 + ?1 ELSE doubt_until END,"
            " due_at = CASE WHEN number = ?4 THEN ?2 + ?5 WHEN due_at < ?2 + ?1 THEN ?2 + ?1 ELSE due_at END,"
            " attempt = CASE WHEN number = ?4 THEN attempt + 1 ELSE attempt END,"
            " refused = CASE WHEN number = ?4 THEN ?6 ELSE refused END WHERE name = ?7 AND type = ?8",
            doubt,
            now,
            detail[:300],
            row["number"],
            seconds,
            refused,
            row["name"],
            row["type"],
        )

    def record_asked(self, row: RecordRow, ticket: str, again: float) -> None:
        """A ticket stands open for what is wanted; it is looked at in `again` seconds."""
        ours = [*dict.fromkeys([*row["ours"], *([row["wanted"]] if row["wanted"] else [])])]
        self.change(
            "UPDATE dns_records SET ticket = ?1, ours = ?2, lease_until = 0, attempt = 0, detail = '',"
            " asked_at = CASE WHEN number = ?3 THEN coalesce(asked_at, ?4) ELSE asked_at END,"
            " due_at = CASE WHEN number = ?3 THEN ?4 + ?5 ELSE due_at END WHERE name = ?6 AND type = ?7",
            ticket,
            json.dumps(ours),
            row["number"],
            self.clock.now(),
            again,
            row["name"],
            row["type"],
        )

    def record_done_by_hand(self, row: RecordRow) -> None:
        """The ticket is closed: what it asked for counts as written."""
        self.change("UPDATE dns_records SET ticket = '' WHERE name = ? AND type = ?", row["name"], row["type"])
        self.record_settled(row, row["wanted"], ours=True)
        self.change(
            "UPDATE dns_records SET asked_at = NULL WHERE name = ? AND type = ? AND number = ?",
            row["name"],
            row["type"],
            row["number"],
        )

    # -- zones ------------------------------------------------------------------------------------
    def zone_failed(self, zone: str, pause: float, error: str, next_action: str) -> None:
        """Nothing is tried in a zone for `pause` seconds."""
        now = self.clock.now()
        self.change(
            "INSERT INTO dns_zones (zone, failures, error, next_action, failing_since, due_at)"
            " VALUES (?, 1, ?, ?, ?, ?)"
            " ON CONFLICT (zone) DO UPDATE SET failures = dns_zones.failures + 1, error = excluded.error,"
            " next_action = excluded.next_action, due_at = excluded.due_at,"
            " failing_since = coalesce(dns_zones.failing_since, excluded.failing_since)",
            zone,
            error[:400],
            next_action[:300],
            now,
            now + pause,
        )

    def zone_retry(self, zone: str) -> None:
        """What was put off in a zone is due now, but for what a lost call may still be at work on."""
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute("UPDATE dns_zones SET due_at = 0 WHERE zone = ?", (zone,))
            db.conn.execute(
                "UPDATE dns_records SET due_at = CASE WHEN doubt_until > ? THEN doubt_until ELSE ? END WHERE zone = ?"
                " AND due_at > ? AND asked_at IS NULL",
                (now, now, zone, now),
            )

    def zone_answers(self, zone: str) -> None:
        if self.row("SELECT 1 FROM dns_zones WHERE zone = ? AND failures > 0", zone):
            self.change(
                "UPDATE dns_zones SET failures = 0, error = '', next_action = '', failing_since = NULL, due_at = 0"
                " WHERE zone = ?",
                zone,
            )

    def zone_state(self, zone: str) -> ZoneRow:
        row = self.row_as(ZoneRow, "SELECT * FROM dns_zones WHERE zone = ?", zone)
        return row or {
            "zone": zone,
            "failures": 0,
            "error": "",
            "next_action": "",
            "failing_since": None,
            "due_at": 0.0,
            "kept_at": "",
        }

    def zone_kept(self, zone: str, at: str, look: bool) -> int:
        """Where a zone is kept from now on. With `look` all its records are due where that was elsewhere before, of
        those that a lost call may be at work on when it must have ended; how many."""
        before = self.zone_state(zone)["kept_at"]
        if before == at:
            return 0
        now = self.clock.now()
        with self.write() as db:
            db.conn.execute(
                "INSERT INTO dns_zones (zone, kept_at) VALUES (?, ?) ON CONFLICT (zone) DO UPDATE"
                " SET kept_at = excluded.kept_at, failures = 0, error = '', next_action = '', failing_since = NULL,"
                " due_at = 0",
                (zone, at),
            )
            if not before or not look:
                return 0
            db.conn.execute(
                "UPDATE dns_records SET number = number + 1, attempt = 0, detail = '', ticket = '', asked_at = NULL,"
                " refused = CASE WHEN refused = 'restored' THEN refused ELSE '' END,"
                " due_at = CASE WHEN doubt_until > ? THEN doubt_until ELSE ? END WHERE zone = ?",
                (now, now, zone),
            )
            return self.zone_records(zone)

    def zone_records(self, zone: str) -> int:
        return int(self.column("SELECT count(*) FROM dns_records WHERE zone = ?", zone)[0])

    # -- for staff --------------------------------------------------------------------------------
    def zone_counts(self, whmcs: str) -> dict[str, ZoneCount]:
        """For each zone, of an installation's services: `records`, and of these `waiting` and `refused`."""
        rows = self.rows_as(
            ZoneCount,
            "SELECT r.zone, count(*) AS records,"
            " count(*) FILTER (WHERE r.due_at IS NOT NULL AND r.refused = '' AND r.asked_at IS NULL) AS waiting,"
            " count(*) FILTER (WHERE r.refused <> '') AS refused, count(r.asked_at) AS asked FROM dns_records r"
            " JOIN services s ON s.id = r.service WHERE s.whmcs = ? GROUP BY r.zone",
            whmcs,
        )
        return {r["zone"]: r for r in rows}

    def records_open(self, whmcs: str, limit: int) -> list[OpenRecord]:
        """Records that wait, were refused, or are somebody else's, of an installation's services; refused ones
        first."""
        rows = self.rows_as(
            OpenRecord,
            "SELECT r.*, s.service_id, s.client_id, s.hostname FROM dns_records r JOIN services s ON s.id = r.service"
            " WHERE s.whmcs = ? AND (r.due_at IS NOT NULL OR r.refused <> ''"
            " OR (r.wanted <> '' AND r.wanted <> r.written))"
            " ORDER BY r.refused = '', r.wished_at LIMIT ?",
            whmcs,
            limit,
        )
        return [_row(r) for r in rows]
