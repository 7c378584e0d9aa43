"""WHMCS's tickets as its API shows them (developers.whmcs.com, api-reference: openticket, gettickets, getticket,
addticketreply, getsupportdepartments)."""

from __future__ import annotations

from typing import Any

from bridge.errors import Permanent, Unknown, Unreachable


class Desk:
    """Instead of bridge.whmcs.Whmcs. `faults` are (action, kind): down, lost (after it was carried out), refused."""

    def __init__(self) -> None:
        self.assigned = ("1",)  # departments of the API's own administrator, which is not in all of them
        self.tickets: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.faults: list[tuple[str, str]] = []
        self.templates: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **values: None  # mails and the log

    def call(self, action: str, **values: Any) -> dict[str, Any]:
        kind = next((k for a, k in self.faults if a in (action, "*")), "")
        if kind == "down":
            raise Unreachable(code="connection_refused")
        if kind == "refused":
            raise Permanent(
                "Our API credential's role in WHMCS lacks an action.", code="whmcs_role", next_action="Give it."
            )
        self.calls.append(action)
        answer = {
            "OpenTicket": self._open,
            "AddTicketReply": self._reply,
            "GetTickets": self._list,
            "GetTicket": self._get,
            "GetSupportDepartments": self._departments,
        }[action](values)
        if kind == "lost":
            self.faults = [f for f in self.faults if f[0] not in (action, "*")]
            raise Unknown(code="read_timeout")
        return {"result": "success", **answer}

    def _open(self, v: dict[str, Any]) -> dict[str, Any]:
        assert {"deptid", "subject", "message", "clientid"} <= v.keys()
        assert str(v["deptid"]).isdigit()
        number = len(self.tickets) + 1
        ticket = {
            **{"id": number, "tid": f"ABC-{number}", "deptid": str(v["deptid"]), "userid": v["clientid"]},
            **{"subject": v["subject"], "status": "Open", "serviceid": v.get("serviceid"), "said": [v["message"]]},
        }
        self.tickets.append(ticket)
        return {"id": number, "tid": ticket["tid"], "c": "x"}

    def _one(self, v: dict[str, Any]) -> dict[str, Any]:
        return next(t for t in self.tickets if str(t["id"]) == str(v["ticketid"]))

    def _reply(self, v: dict[str, Any]) -> dict[str, Any]:
        ticket = self._one(v)
        assert v["clientid"] == ticket["userid"]
        ticket["said"].append(v["message"])
        ticket["status"] = "Customer-Reply"
        return {}

    def _list(self, v: dict[str, Any]) -> dict[str, Any]:
        rows = [
            t
            for t in self.tickets
            if t["userid"] == v["clientid"] and v["subject"] in t["subject"] and self._seen(t["deptid"], v)
        ]
        return {"totalresults": len(rows), "tickets": {"ticket": [{k: t[k] for k in t if k != "said"} for t in rows]}}

    def _get(self, v: dict[str, Any]) -> dict[str, Any]:
        ticket = self._one(v)
        replies = [{"replyid": str(n), "message": m} for n, m in enumerate(ticket["said"])]
        return {"ticketid": ticket["id"], "status": ticket["status"], "replies": {"reply": replies}}

    def _departments(self, v: dict[str, Any]) -> dict[str, Any]:
        rows = [{"id": "1", "name": "Sales"}, {"id": "3", "name": "Technical support"}]
        rows = [r for r in rows if self._seen(r["id"], v)]
        return {"totalresults": len(rows), "departments": {"department": rows}}

    def _seen(self, department: str, v: dict[str, Any]) -> bool:
        return department in self.assigned or v.get("ignore_dept_assignments") in ("true", "1")
