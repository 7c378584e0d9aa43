"""Strict stand-ins for providers, in process: each as awkward as the real one, with every fault on any call. `Http`
answers a session, the RFC 2136 one a message."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.update
import requests
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse

Rows = dict[tuple[str, str], list[str]]


@dataclass
class Fault:
    """On the `nth` call from now that fits: `refused` before it arrives, `lost` after it was carried out, `broken`
    (HTTP 502 or SERVFAIL) before, `half` (the same, after it was carried out), `many` (asked too often), `rubbish`;
    or a function that is called."""

    kind: str | Callable[[], None]
    nth: int = 1
    changes: bool = False  # only calls that change something count


class Faulty:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.calls: list[str] = []

    def due(self, change: bool) -> Fault | None:
        for fault in list(self.faults):
            if change or not fault.changes:
                fault.nth -= 1
                if fault.nth == 0:
                    self.faults.remove(fault)
                    return fault
        return None

    def changes(self) -> list[str]:
        raise NotImplementedError


class Http(Faulty, BaseAdapter):
    """What a session is mounted on."""

    def __init__(self) -> None:
        Faulty.__init__(self)
        BaseAdapter.__init__(self)
        self.down = False

    def mount(self, session: requests.Session) -> None:
        session.mount("https://", self)

    def is_change(self, method: str, form: dict[str, str]) -> bool:
        return method != "GET"

    def handle(
        self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any
    ) -> tuple[int, Any, dict[str, str]]:
        raise NotImplementedError

    def many(self) -> tuple[int, Any, dict[str, str]]:
        return 429, {"error": "Too many requests"}, {"Retry-After": "60"}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        url, method = urlsplit(request.url or ""), request.method or "GET"
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        form = dict(parse_qsl(body.decode(), keep_blank_values=True)) if body[:1] not in (b"{", b"") else {}
        change = self.is_change(method, form)
        fault = self.due(change)
        kind = fault.kind if fault else ""
        if self.down or kind == "refused":
            raise requests.exceptions.ConnectionError(ConnectionRefusedError(111, "Connection refused"))
        if callable(kind):
            kind()
            kind = ""
        if kind in ("broken", "many", "rubbish"):
            answer: tuple[int, Any, dict[str, str]] = {
                "broken": (502, "<html>Bad gateway</html>", {}),
                "many": self.many(),
                "rubbish": (200, "<html>Log in</html>", {}),
            }[kind]
        else:
            self.calls.append(f"{method} {url.path} {form.get('cmd', '')}".strip())
            answer = self.handle(
                method, url.path, dict(parse_qsl(url.query, keep_blank_values=True)), bytes(body), request.headers
            )
        if kind == "lost":
            raise requests.exceptions.ReadTimeout("read timed out")
        if kind == "half":
            answer = (502, "<html>Bad gateway</html>", {})
        return self._response(request, *answer)

    def _response(
        self, request: requests.PreparedRequest, status: int, body: Any, headers: dict[str, str]
    ) -> requests.Response:
        raw = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, request.url or ""
        response.headers.update(headers)
        response.raw = HTTPResponse(body=io.BytesIO(raw), status=status, preload_content=False)
        return response

    def close(self) -> None:
        pass


# -- PowerDNS -------------------------------------------------------------------------------------
class PowerDns(Http):
    """Names with last dots and in lower case, REPLACE and DELETE of whole sets; answers as of 4.7."""

    def __init__(self, *zones: str, key: str = "pdns-key") -> None:
        super().__init__()
        self.key, self.zones, self.kinds = key, {z: {} for z in zones}, dict.fromkeys(zones, "Native")
        self.zones: dict[str, dict[tuple[str, str], tuple[int, list[str]]]]
        for zone in zones:
            self.zones[zone][f"{zone}.", "NS"] = (3600, [f"ns1.{zone}."])

    def settings(self, **more: Any) -> dict[str, Any]:
        return {"provider": "powerdns", "endpoint": "https://pdns.test:8443", "api_key": self.key, **more}

    def values(self, name: str, kind: str) -> list[str]:
        return [
            v.rstrip(".").strip('"') for sets in self.zones.values() for v in sets.get((f"{name}.", kind), (0, []))[1]
        ]

    def put(self, name: str, kind: str, *values: str) -> None:
        zone = max((z for z in self.zones if name == z or name.endswith(f".{z}")), key=len)
        self.zones[zone][f"{name}.", kind] = (60, [f"{v}." if kind == "PTR" else v for v in values])

    def changes(self) -> list[str]:
        return [c for c in self.calls if c.startswith("PATCH")]

    def handle(
        self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any
    ) -> tuple[int, Any, dict[str, str]]:
        if headers.get("X-API-Key") != self.key:
            return 401, "Unauthorized", {}
        match = re.fullmatch(r"/api/v1/servers/localhost/zones/([A-Za-z0-9._=-]+)\.", path)
        zone = match[1].replace("=2F", "/") if match else ""
        if zone not in self.zones:
            return 404, {"error": "Not Found"}, {}
        if method == "GET":
            sets = [
                {
                    "name": n,
                    "type": t,
                    "ttl": ttl,
                    "comments": [],
                    "records": [{"content": c, "disabled": False} for c in rows],
                }
                for (n, t), (ttl, rows) in self.zones[zone].items()
                if query.get("rrset_name") in (None, n) and query.get("rrset_type") in (None, t)
            ]
            return 200, {"id": f"{zone}.", "name": f"{zone}.", "kind": self.kinds[zone], "rrsets": sets}, {}
        for change in json.loads(body)["rrsets"]:
            name, kind = change["name"], change["type"]
            if not name.endswith(f"{zone}.") or name != name.lower():
                return 422, {"error": f"RRset {name} IN {kind}: Name is out of zone"}, {}
            if change["changetype"] == "DELETE":
                self.zones[zone].pop((name, kind), None)
                continue
            rows = [r["content"] for r in change["records"]]
            if kind == "PTR" and any(not r.endswith(".") for r in rows):
                return (
                    422,
                    {"error": f"Record {name}/{kind} '{rows[0]}': Not in expected format (parsed as '{rows[0]}.')"},
                    {},
                )
            if len(set(rows)) < len(rows) or (name, "CNAME") in self.zones[zone]:
                return 422, {"error": f"RRset {name} IN {kind}: Conflicts with pre-existing RRset"}, {}
            self.zones[zone][name, kind] = (change["ttl"], rows)
        return 204, None, {}


# -- Cloudflare -----------------------------------------------------------------------------------
@dataclass
class Record:
    id: str
    type: str
    name: str
    content: str
    ttl: int
    proxied: bool = False
    comment: str = ""


class Cloudflare(Http):
    """Records with ids; an identical one is refused as 81058, a second of a name that takes one as 81057."""

    def __init__(self, *zones: str, token: str = "cf-token") -> None:
        super().__init__()
        self.token = token
        self.zones = {f"{n:032x}": z for n, z in enumerate(zones, 1)}
        self.kind, self.rights = "full", ["#dns_records:edit", "#dns_records:read"]
        self.records: dict[str, Record] = {}
        self._next = 0

    def settings(self, **more: Any) -> dict[str, Any]:
        return {"provider": "cloudflare", "api_token": self.token, **more}

    def values(self, name: str, kind: str) -> list[str]:
        return [r.content.strip('"') for r in self.records.values() if (r.name, r.type) == (name, kind)]

    def put(self, name: str, kind: str, *values: str) -> None:
        for key in [k for k, r in self.records.items() if (r.name, r.type) == (name, kind)]:
            del self.records[key]
        for value in values:
            self._add(Record("", kind, name, value, 300))

    def changes(self) -> list[str]:
        return [c for c in self.calls if not c.startswith("GET")]

    def many(self) -> tuple[int, Any, dict[str, str]]:
        return self._error(429, 971, "Please wait and consider throttling your request speed")

    def _add(self, record: Record) -> Record:
        self._next += 1
        record.id = f"{self._next:032x}"
        self.records[record.id] = record
        return record

    def _error(self, status: int, code: int, message: str) -> tuple[int, Any, dict[str, str]]:
        body = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": None}
        return status, body, {}

    def _ok(self, result: Any) -> tuple[int, Any, dict[str, str]]:
        return 200, {"success": True, "errors": [], "messages": [], "result": result}, {}

    def handle(
        self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any
    ) -> tuple[int, Any, dict[str, str]]:
        if headers.get("Authorization") != f"Bearer {self.token}":
            return self._error(403, 10000, "Authentication error")
        if not (
            match := re.fullmatch(r"/client/v4/zones(?:/([0-9a-f]{32}))?(/dns_records)?(?:/([0-9a-f]{32}))?", path)
        ):
            return self._error(404, 7000, "No route for that URI")
        zone, listed, key = match[1], match[2], match[3]
        if zone is None:
            return self._ok([self._about(k) for k, name in self.zones.items() if query.get("name") == name])
        if zone not in self.zones:
            return self._error(404, 7003, "Could not route to /zones/x, perhaps your object identifier is invalid?")
        if not listed:
            return self._ok(self._about(zone))
        if method == "GET":
            rows = [
                r
                for r in self.records.values()
                if query.get("type") in (None, r.type) and query.get("name") in (None, r.name)
            ]
            return self._ok([vars(r) for r in rows if r.name.endswith(self.zones[zone])])
        if "#dns_records:edit" not in self.rights:
            return self._error(403, 10000, "Authentication error")
        if key and key not in self.records:
            return self._error(404, 81044, "Record does not exist.")
        if method == "DELETE":
            del self.records[key]
            return self._ok({"id": key})
        return self._write(self.zones[zone], key, json.loads(body))

    def _about(self, zone: str) -> dict[str, Any]:
        return {
            "id": zone,
            "name": self.zones[zone],
            "status": "active",
            "type": self.kind,
            "name_servers": ["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"],
            "permissions": self.rights,
        }

    def _write(self, zone: str, key: str | None, v: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if not v["name"].endswith(zone) or v["name"].endswith(".") or (v["ttl"] != 1 and not 60 <= v["ttl"] <= 86400):
            return self._error(400, 1004, "DNS Validation Error")
        if v["type"] == "A" and not re.fullmatch(r"[\d.]+", v["content"]):
            return self._error(400, 9005, "Content for A record must be a valid IPv4 address.")
        made = Record(
            key or "", v["type"], v["name"], v["content"], v["ttl"], v.get("proxied", False), v.get("comment", "")
        )
        others = [r for r in self.records.values() if r.name == made.name and r.id != made.id]
        if any(r.type == "CNAME" for r in others):
            return self._error(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        if any((r.type, r.content) == (made.type, made.content) for r in others):
            return self._error(400, 81058, "An identical record already exists.")
        if key:
            self.records[key] = made
            return self._ok(vars(made))
        return self._ok(vars(self._add(made)))


# -- HestiaCP -------------------------------------------------------------------------------------
class Hestia(Http):
    """Commands by number of argument. Adding twice makes two; what a role lacks ends with 10 before anything is
    looked at."""

    COMMANDS = (
        "v-list-dns-domains",
        "v-list-dns-records",
        "v-add-dns-record",
        "v-change-dns-record",
        "v-delete-dns-record",
    )

    def __init__(self, *zones: str, owner: str = "hoster") -> None:
        super().__init__()
        self.owner, self.role = owner, list(self.COMMANDS)
        self.zones: dict[str, dict[str, dict[str, str]]] = {z: {} for z in zones}
        self.limit, self.restarts, self._next = 0, 0, 1

    def settings(self, **more: Any) -> dict[str, Any]:
        keys = {"access_key": "hestia-access", "secret_key": "hestia-secret", "owner": self.owner}
        return {"provider": "hestiacp", "endpoint": "https://hestia.test:8083", **keys, **more}

    def values(self, name: str, kind: str) -> list[str]:
        return [
            r["VALUE"].rstrip(".").strip('"')
            for z, rows in self.zones.items()
            for r in rows.values()
            if r["TYPE"] == kind and (f"{r['RECORD']}.{z}" == name or (r["RECORD"] == "@" and z == name))
        ]

    def put(self, name: str, kind: str, *values: str) -> None:
        zone = max((z for z in self.zones if name.endswith(f".{z}")), key=len)
        rows, record = self.zones[zone], name.removesuffix(f".{zone}")
        for key in [k for k, r in rows.items() if (r["RECORD"], r["TYPE"]) == (record, kind)]:
            del rows[key]
        for value in values:
            self._add(zone, record, kind, value, "300")

    def is_change(self, method: str, form: dict[str, str]) -> bool:
        return not form.get("cmd", "").startswith("v-list")

    def changes(self) -> list[str]:
        return [c for c in self.calls if "v-list" not in c]

    def _add(self, zone: str, record: str, kind: str, value: str, ttl: str) -> None:
        dotted = f"{value.rstrip('.')}." if kind in ("NS", "CNAME", "MX", "PTR", "SRV") else value
        key, self._next = str(self._next), self._next + 1
        self.zones[zone][key] = {
            **{"RECORD": record.lower(), "TYPE": kind, "PRIORITY": "", "VALUE": dotted, "ID": key, "SUSPENDED": "no"},
            **{"TIME": "10:00:00", "DATE": "2026-11-01", "TTL": ttl},
        }

    def handle(
        self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any
    ) -> tuple[int, Any, dict[str, str]]:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        command, codes = form.get("cmd", ""), form.get("returncode") == "yes"
        if (form.get("access_key"), form.get("secret_key")) != ("hestia-access", "hestia-secret"):
            return self._end(401, 9, codes)
        if command not in self.role:
            return self._end(401, 10, codes)
        values = [form[f"arg{n}"] for n in range(1, 14) if f"arg{n}" in form]
        outcome = self._command(command, values)
        if isinstance(outcome, dict):
            return (200, outcome, {}) if not codes else (200, "0", {})
        return self._end(200 if outcome == 0 else 400, outcome, codes)

    def _end(self, status: int, code: int, codes: bool) -> tuple[int, Any, dict[str, str]]:
        head = {"Hestia-Exit-Code": str(code)}
        if codes:
            return 200, str(code), head
        return status, "" if code == 0 else f"Error: code {code}", head

    def _command(self, command: str, v: list[str]) -> int | dict[str, Any]:
        least = {"v-list-dns-domains": 1, "v-list-dns-records": 2, "v-add-dns-record": 5, "v-change-dns-record": 6}
        if len(v) < least.get(command, 3):
            return 1
        if v[0] != self.owner:
            return 3
        if command == "v-list-dns-domains":
            return {z: {"TTL": "14400"} for z in self.zones}
        zone = v[1]
        if zone not in self.zones:
            return 3
        rows, v = self.zones[zone], [*v, *[""] * 13]
        if command == "v-list-dns-records":
            return dict(rows) if v[2] == "json" else 2
        if command == "v-add-dns-record":
            if self.limit and len(rows) >= self.limit:
                return 8
            if not re.fullmatch(r"[a-zA-Z0-9_.*@-]+", v[2]) or v[3] not in ("PTR", "A", "AAAA", "TXT", "NS"):
                return 2
            self._add(zone, v[2], v[3], v[4], v[8] or "14400")
            restart = v[7]
        elif command == "v-change-dns-record":
            if v[2] not in rows:
                return 3
            dotted = f"{v[5].rstrip('.')}." if v[4] == "PTR" else v[5]
            rows[v[2]] |= {"RECORD": v[3], "TYPE": v[4], "VALUE": dotted, "TTL": v[8] or rows[v[2]]["TTL"]}
            restart = v[7]
        else:
            if v[2] not in rows:
                return 3
            del rows[v[2]]
            restart = v[3]
        self.restarts += restart != "no"
        return 0


# -- RFC 2136 -------------------------------------------------------------------------------------
@dataclass
class Nameserver(Faulty):
    """Takes messages as BIND would: answers from its own zones with AA, applies updates whole or not at all."""

    zones: tuple[str, ...] = ()
    rows: Rows = field(default_factory=dict)
    ttl: int = 300

    def __post_init__(self) -> None:
        Faulty.__init__(self)
        self.down = False

    def settings(self, **more: Any) -> dict[str, Any]:
        keys = {"key_name": "vmbridge", "key_secret": "c2VjcmV0IHNlY3JldCBzZWNyZXQ="}
        return {"provider": "rfc2136", "server": "ns1.test", **keys, **more}

    def values(self, name: str, kind: str) -> list[str]:
        return [v.rstrip(".").strip('"') for v in self.rows.get((name, kind), [])]

    def put(self, name: str, kind: str, *values: str) -> None:
        self.rows[name, kind] = [f"{v}." if kind == "PTR" else v for v in values]

    def changes(self) -> list[str]:
        return [c for c in self.calls if c.startswith("UPDATE")]

    def mount(self, message: dns.message.Message) -> dns.message.Message:
        change = isinstance(message, dns.update.UpdateMessage)
        fault = self.due(change)
        kind = fault.kind if fault else ""
        if self.down or kind == "refused":
            raise ConnectionRefusedError(111, "Connection refused")
        if callable(kind):
            kind()
        if kind == "rubbish":
            raise dns.exception.FormError
        made = dns.message.make_response(_unsigned(message))
        if kind == "broken":
            made.set_rcode(dns.rcode.SERVFAIL)
            return made
        if kind == "many":
            made.set_rcode(dns.rcode.REFUSED)
            return made
        made.flags |= dns.flags.AA
        self.calls.append("UPDATE" if change else "QUERY")
        made.set_rcode(self._update(message) if change else self._query(message, made))
        if kind == "lost":
            raise dns.exception.Timeout
        if kind == "half":
            made.set_rcode(dns.rcode.SERVFAIL)
        return made

    def _zone(self, name: str) -> str:
        return max((z for z in self.zones if name == z or name.endswith(f".{z}")), key=len, default="")

    def _query(self, message: dns.message.Message, made: dns.message.Message) -> dns.rcode.Rcode:
        question = message.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        if not self._zone(name):
            made.flags &= ~dns.flags.AA
            return dns.rcode.REFUSED
        values = self.rows.get((name, kind)) or []
        if values:
            made.answer.append(dns.rrset.from_text_list(question.name, self.ttl, "IN", kind, values))
        there = any(n == name or n.endswith(f".{name}") for n, _ in self.rows)
        return dns.rcode.NOERROR if there else dns.rcode.NXDOMAIN

    def _update(self, message: dns.message.Message) -> dns.rcode.Rcode:
        assert isinstance(message, dns.update.UpdateMessage)
        if message.zone[0].name.to_text(omit_final_dot=True) not in self.zones:
            return dns.rcode.NOTAUTH
        for row in message.update:
            name = row.name.derelativize(message.zone[0].name).to_text(omit_final_dot=True).lower()
            kind = dns.rdatatype.to_text(row.rdtype)
            if row.deleting is not None:
                self.rows.pop((name, kind), None)
            else:
                origin = message.zone[0].name
                values = [r.to_text(origin=origin, relativize=False) for r in row]
                self.rows[name, kind] = [*dict.fromkeys([*self.rows.get((name, kind), []), *values])]
        return dns.rcode.NOERROR


def _unsigned(message: dns.message.Message) -> dns.message.Message:
    """The question without its signature: an answer in process has none."""
    if isinstance(message, dns.update.UpdateMessage):
        copy: dns.message.Message = dns.update.UpdateMessage(message.zone[0].name)
    else:
        copy = dns.message.Message()
        copy.question = list(message.question)
    copy.id, copy.flags = message.id, message.flags
    return copy
