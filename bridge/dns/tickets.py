"""Reverse records that a person writes: what is wanted becomes one ticket of WHMCS for each address, and another wish
a reply to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bridge.config import Config
from bridge.errors import Permanent
from bridge.model import Service
from bridge.store import Store
from bridge.store.records import RecordRow
from bridge.whmcs import Whmcs

LOOK = 1800.0  # seconds between two looks whether the ticket is closed
CLOSED = ("closed",)
# WHMCS lists only departments of the API's own administrator otherwise (api-reference/gettickets)
EVERYWHERE = {"ignore_dept_assignments": "true"}
NO_TICKET = re.compile(r"ticket id not found|ticket not found", re.I)
BEGIN = "Please set the reverse DNS"


def settle(row: RecordRow, department: str, store: Store, config: Config, whmcs: Mapping[str, Whmcs]) -> None:
    """Ask for what is wanted, once, or look whether it is done. Raises UpstreamError."""
    service = store.service(row["service"])
    if service.whmcs not in whmcs:
        raise Permanent(f"There is no [whmcs.{service.whmcs}] in the configuration.", code="whmcs_missing")
    if row["asked_at"]:
        _look(row, whmcs[service.whmcs], store)
    elif _stands(row):
        store.record_settled(row, row["wanted"], ours=True)
    else:
        store.record_trying(row)
        ticket = _ask(row, service, department, whmcs[service.whmcs])
        store.record_asked(row, ticket, LOOK)


def _stands(row: RecordRow) -> bool:
    """Whether there is nothing to ask for. What stands already, or nothing, is asked for too while a ticket may ask for
    something else, whatever became of that: a person would write what nobody wants any more."""
    ours = bool(row["ours"]) and bool(row["chosen"] or not row["held"])
    if row["ticket"] or set(row["ours"]) - {row["written"], ""}:
        return not (row["wanted"] or ours or row["ticket"])
    return row["wanted"] == row["written"] or not (row["wanted"] or ours)


def subject_of(row: RecordRow) -> str:
    return f"Reverse DNS of {row['address']}"


def text_of(row: RecordRow) -> str:
    said = f"to {row['wanted']}" if row["wanted"] else "to nothing: remove the record"
    return f"{BEGIN} (PTR record) of {row['address']} {said}."


def _ask(row: RecordRow, service: Service, department: str, whmcs: Whmcs) -> str:
    """The number of the ticket. One that is still open gets a reply instead of a second: also one whose answer was
    lost."""
    ticket = _open(row, service, whmcs)
    if ticket is None:
        made = whmcs.call(
            "OpenTicket",
            deptid=number_of(department, whmcs),
            subject=subject_of(row),
            message=text_of(row),
            clientid=service.client_id,
            serviceid=service.service_id,
            priority="Medium",
        )
        return str(made.get("id") or made.get("tid") or "")
    number = str(ticket.get("id") or ticket.get("ticketid") or "")
    if text_of(row) not in _said(number, whmcs):
        whmcs.call("AddTicketReply", ticketid=number, message=text_of(row), clientid=service.client_id)
    return number


def _open(row: RecordRow, service: Service, whmcs: Whmcs) -> Mapping[str, Any] | None:
    listed = whmcs.call("GetTickets", clientid=service.client_id, subject=subject_of(row), limitnum=100, **EVERYWHERE)
    tickets = listed.get("tickets") or {}
    rows = tickets.get("ticket") if isinstance(tickets, dict) else ()
    for ticket in rows or ():
        if ticket.get("subject") == subject_of(row) and str(ticket.get("status", "")).lower() not in CLOSED:
            return dict(ticket)
    return None


def _said(number: str, whmcs: Whmcs) -> str:
    """The last of our messages in a ticket."""
    ticket = whmcs.call("GetTicket", ticketid=number, repliessort="ASC")
    replies = ticket.get("replies") or {}
    rows = (replies.get("reply") if isinstance(replies, dict) else None) or []
    ours = [m for r in rows if (m := str(r.get("message", ""))).startswith(BEGIN)]
    return ours[-1] if ours else ""


def _look(row: RecordRow, whmcs: Whmcs, store: Store) -> None:
    try:
        status = str(whmcs.call("GetTicket", ticketid=row["ticket"]).get("status", ""))
    except Permanent as e:
        if not NO_TICKET.search(e.detail):
            raise
        # removed, or merged with another: whether it was done nobody knows, and a second one is the customer's to ask
        store.record_later(row, 0.0, detail="its ticket is not there any more", refused="ticket_gone")
        return
    if status.lower() in CLOSED:
        store.record_done_by_hand(row)
    else:
        store.record_asked(row, row["ticket"], LOOK)


def number_of(department: str, whmcs: Whmcs) -> str:
    """Of a department by its name or number. Raises Permanent naming those found."""
    listed = whmcs.call("GetSupportDepartments", **EVERYWHERE).get("departments") or {}
    rows = (listed.get("department") if isinstance(listed, dict) else None) or []
    for row in rows:
        if department.strip().casefold() in (str(row.get("name", "")).strip().casefold(), str(row.get("id", ""))):
            return str(row["id"])
    known = ", ".join(str(r.get("name", "")) for r in rows) or "none"
    raise Permanent(
        f"WHMCS has no support department {department!r}.",
        code="department_unknown",
        detail=f"found: {known[:200]}",
        next_action="Correct the department in the product's option or in the zone's table.",
    )
