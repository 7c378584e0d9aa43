"""What staff sees and does about DNS records: the addon's page, and the names in the service tab."""

from __future__ import annotations

from typing import Any

from flask import g

from bridge.dns import records
from bridge.errors import Refused
from bridge.model import Service
from bridge.services import Caller
from bridge.store.records import RecordRow, ZoneCount
from bridge.web.auth import context

MANY = 200


def state_of(row: RecordRow) -> str:
    """refused, asked (a ticket stands open), waiting, foreign (somebody else's record is left alone), or written."""
    if row["refused"]:
        return "refused"
    if row["due_at"] is not None:
        return "asked" if row["asked_at"] else "waiting"
    return "foreign" if row["wanted"] != row["written"] else "written"


def _nothing(zone: str) -> ZoneCount:
    return {"zone": zone, "records": 0, "waiting": 0, "refused": 0, "asked": 0}


def page() -> dict[str, Any]:
    """`zones` of the configuration with their counts, `others` that only the store knows, and the `records` that are
    open."""
    at = context()
    counts = at.store.zone_counts(g.whmcs)
    mine = [z for z in at.config.dns.values() if at.config.own_pools is None or z.name in counts]
    rows = [
        {"zone": z, "counts": counts.get(z.name) or _nothing(z.name), "state": at.store.zone_state(z.name)}
        for z in sorted(mine, key=lambda z: z.name)
    ]
    others = [
        {"name": name, "counts": count, "state": at.store.zone_state(name)}
        for name, count in sorted(counts.items())
        if name not in at.config.dns
    ]
    open_now = at.store.records_open(g.whmcs, MANY + 1)
    shown = [{**r, "state": state_of(r)} for r in open_now[:MANY]]
    return {"zones": rows, "others": others, "records": shown, "more": len(open_now) > MANY}


def pointers(service: Service) -> dict[str, dict[str, str]]:
    """Address -> {name, state} of a service's reverse records in our zones."""
    at = context()
    return {
        r["address"]: {"name": r["seen"] if state_of(r) == "foreign" else r["wanted"], "state": state_of(r)}
        for r in at.store.records_of(service.id)
        if r["type"] == records.PTR
    }


def retry(form: dict[str, str], who: Caller) -> str:
    """Again at once, also in a zone that is being left alone; with `replace` whatever somebody else has written there
    goes."""
    at = context()
    row = at.store.record(form.get("name", "")[:255], form.get("type", "")[:8])
    service = at.store.service(row["service"]) if row else None
    if row is None or service is None or service.whmcs != g.whmcs or service.server not in at.config.servers:
        raise Refused("This record is done or gone already.", code="record_gone")
    if form["do"] == "dns_replace":
        at.store.want_record(row["name"], row["type"], own=1)
    elif row["refused"] or row["due_at"] is None:
        at.store.want_record(row["name"], row["type"], own=row["own"])
    at.store.zone_retry(row["zone"])
    return f"page=dns&said={form['do']}"
