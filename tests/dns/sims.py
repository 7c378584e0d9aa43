"""Strict stand-ins for providers with an HTTP API, in process: each as awkward as the real one, with every fault on any
call."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse


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
        self.about: dict[str, Any] = {"dnssec": False, "api_rectify": False, "soa_edit_api": "DEFAULT"}
        self.rectify: list[str] = []
        self.disabled: set[tuple[str, str]] = set()
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
            return 401, "Unauthorized", {}  # as text, whatever is accepted
        match = re.fullmatch(r"/api/v1/servers/localhost/zones/([A-Za-z0-9._=-]+)\.", path)
        zone = match[1].replace("=2F", "/") if match else ""
        if path.endswith("/metadata"):
            return 200, [{"kind": "API-RECTIFY", "metadata": self.rectify, "type": "Metadata"}], {}
        if "/metadata/" in path:
            return 422, {"error": f"Unsupported metadata kind '{path.rpartition('/')[2]}'"}, {}
        if zone not in self.zones:
            return 404, {"error": "Not Found"} if "json" in headers.get("Accept", "") else "Not Found", {}
        if method == "GET":
            sets = [
                {
                    "name": n,
                    "type": t,
                    "ttl": ttl,
                    "comments": [],
                    "records": [{"content": c, "disabled": (n, t) in self.disabled} for c in rows],
                }
                for (n, t), (ttl, rows) in self.zones[zone].items()
                if query.get("rrset_name") in (None, n) and query.get("rrset_type") in (None, t)
            ]
            about = {"id": f"{zone}.", "name": f"{zone}.", "kind": self.kinds[zone], **self.about}
            return 200, {**about, "rrsets": sets}, {}
        for change in json.loads(body)["rrsets"]:
            name, kind = change["name"], change["type"]
            if not name.endswith(f"{zone}.") or name != name.lower():
                return 422, {"error": f"RRset {name} IN {kind}: Name is out of zone"}, {}
            if change["changetype"] == "DELETE":
                self.zones[zone].pop((name, kind), None)
                continue
            if any(len(label) > 63 for label in name.split(".")):
                return 422, {"error": f"Unable to parse DNS Name '{name}'"}, {}
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
            self.disabled.discard((name, kind))
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
    """Records with ids; an identical one is refused as 81058, or 81057 in `exists`. Lists come in pages."""

    def __init__(self, *zones: str, token: str = "cf-token") -> None:
        super().__init__()
        self.token = token
        self.zones = {f"{n:032x}": z for n, z in enumerate(zones, 1)}
        self.kind, self.rights = "full", ["#dns_records:edit", "#dns_records:read"]
        self.records: dict[str, Record] = {}
        self._next = 0
        self.exists, self.quota = 81058, 1000
        self.left: int | None = None  # calls until it is too many

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
        if self.left is not None:
            if self.left <= 0:
                return self.many()
            self.left -= 1
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
            size, page = int(query.get("per_page", 100)), int(query.get("page", 1))
            rows = [r for r in rows if r.name.endswith(self.zones[zone])]
            info = {"page": page, "per_page": size, "total_count": len(rows)}
            status, answer, head = self._ok([vars(r) for r in rows[(page - 1) * size : page * size]])
            return status, {**answer, "result_info": info}, head
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
        if not v["name"].endswith(zone) or v["name"].endswith(".") or (v["ttl"] != 1 and not 120 <= v["ttl"] <= 86400):
            return self._error(400, 1004, "DNS Validation Error")
        if len(v.get("comment", "")) > 100 or (v.get("proxied") and v["type"] not in ("A", "AAAA", "CNAME")):
            return self._error(400, 9004, "This record type cannot be proxied.")
        if v["type"] == "A" and not re.fullmatch(r"[\d.]+", v["content"]):
            return self._error(400, 9005, "Content for A record must be a valid IPv4 address.")
        made = Record(
            key or "", v["type"], v["name"], v["content"], v["ttl"], v.get("proxied", False), v.get("comment", "")
        )
        others = [r for r in self.records.values() if r.name == made.name and r.id != made.id]
        if any(r.type == "CNAME" for r in others):
            code = 81053 if made.type in ("A", "AAAA") else 81054
            return self._error(400, code, "A CNAME record with that host already exists.")
        if any((r.type, r.content) == (made.type, made.content) for r in others):
            return self._error(400, self.exists, "An identical record already exists.")
        if not key and len(self.records) >= self.quota:
            return self._error(400, 81045, "Record quota exceeded.")
        if key:
            self.records[key] = made
            return self._ok(vars(made))
        return self._ok(vars(self._add(made)))


# -- HestiaCP -------------------------------------------------------------------------------------
HESTIA_TYPES = ("A", "AAAA", "NS", "CNAME", "MX", "TXT", "SRV", "PTR", "CAA", "DS")
HESTIA_STATUS = {0: 200, 2: 422, 5: 401, 6: 401, 9: 401, 10: 401}
NOT_IN_NAMES = re.compile(r"[!|#$^&()+={}:<>?/\\\"';%` ]")  # func/main.sh, is_common_format_valid


class Hestia(Http):
    """Commands by number of argument, in the order of hestiacp's own tests. Adding twice makes two; what a role lacks
    ends with 10 before anything is looked at. `user` is whose the key is; hosts' names are kept in Unicode."""

    COMMANDS = (
        "v-list-dns-domains",
        "v-list-dns-records",
        "v-add-dns-record",
        "v-change-dns-record",
        "v-delete-dns-record",
    )

    def __init__(self, *zones: str, owner: str = "hoster") -> None:
        super().__init__()
        self.owner, self.role, self.user = owner, list(self.COMMANDS), "admin"
        self.zones: dict[str, dict[str, dict[str, str]]] = {z: {} for z in zones}
        self.limit, self.restarts, self._next = 0, 0, 1
        self.api, self.let_in, self.suspended = 1, True, False
        for zone in zones:  # of the template that a zone is made from
            self._add(zone, "@", "A", "192.0.2.53", "14400")

    def settings(self, **more: Any) -> dict[str, Any]:
        keys = {"access_key": "hestia-access", "secret_key": "hestia-secret", "owner": self.owner}
        return {"provider": "hestiacp", "endpoint": "https://hestia.test:8083", **keys, **more}

    def values(self, name: str, kind: str) -> list[str]:
        return [
            r["VALUE"].rstrip(".").strip('"')
            for z, rows in self.zones.items()
            for r in rows.values()
            if r["TYPE"] == kind and (f"{_ascii(r['RECORD'])}.{z}" == name or (r["RECORD"] == "@" and z == name))
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
        key, self._next = str(self._next), self._next + 1
        self.zones[zone][key] = self._row(key, record.lower(), kind, value, ttl)

    def _row(self, key: str, record: str, kind: str, value: str, ttl: str) -> dict[str, str]:
        dotted = f"{value.rstrip('.')}." if kind in ("NS", "CNAME", "MX", "PTR", "SRV") else value
        return {
            **{"RECORD": record, "TYPE": kind, "PRIORITY": "", "VALUE": dotted, "ID": key, "SUSPENDED": "no"},
            **{"TIME": "10:00:00", "DATE": "2026-11-01", "TTL": ttl},
        }

    def handle(
        self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any
    ) -> tuple[int, Any, dict[str, str]]:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        command, codes = form.get("cmd", ""), form.get("returncode") == "yes"
        if self.api == 0:
            return self._end(400, 11, codes, "API has been disabled")
        if not self.let_in:
            return self._end(401, 10, codes, "IP is not allowed to connect with API")
        if (form.get("access_key"), form.get("secret_key")) != ("hestia-access", "hestia-secret"):
            return self._end(401, 9, codes, "invalid access key")
        if command not in self.role:
            return self._end(401, 10, codes, f"Key hestia-access don't have permission to run the command {command}")
        if self.user != "admin" and self.api < 2:
            return 500, "", {}  # web/api/index.php names a constant there that it does not have
        if self.user != "admin" and form.get("arg1") != self.user:
            return self._end(401, 10, codes, "Key hestia-access - the \"user\" argument doesn't match the key's user")
        outcome = self._command(command, [form[f"arg{n}"].strip() for n in range(1, 14) if f"arg{n}" in form])
        if isinstance(outcome, dict):
            return 200, "0" if codes else outcome, {"Hestia-Exit-Code": "0"}
        if codes:  # a command's own end is always a 200 then
            return 200, str(outcome), {"Hestia-Exit-Code": str(outcome)}
        return self._end(204 if outcome == 0 else HESTIA_STATUS.get(outcome, 400), outcome, codes, "it went wrong")

    def _end(self, status: int, code: int, codes: bool, said: str) -> tuple[int, Any, dict[str, str]]:
        return status, str(code) if codes else "" if code == 0 else f"Error: {said}", {"Hestia-Exit-Code": str(code)}

    def _command(self, command: str, v: list[str]) -> int | dict[str, Any]:
        least = {"v-list-dns-domains": 1, "v-list-dns-records": 2, "v-add-dns-record": 5, "v-change-dns-record": 6}
        if len(v) < least.get(command, 3):
            return 1
        if len(v) > 1 and re.search(r"[/_]", v[1]):
            return 2
        if v[0] != self.owner:
            return 3
        if command == "v-list-dns-domains":
            return {z: {"TTL": "14400"} for z in self.zones}
        if v[1] not in self.zones:
            return 3
        rows, v = self.zones[v[1]], [*v, *[""] * 13]
        if command == "v-list-dns-records":
            return dict(rows) if v[2] == "json" else 2
        if command == "v-delete-dns-record":
            return self._delete(rows, v[2], v[3])
        if self.suspended:
            return 5
        if command == "v-add-dns-record":
            return self._added(v)
        if v[2] not in rows:
            return 3
        if not self._good(v[3], v[4], v[5], v[8], v[7]):
            return 2
        rows[v[2]] = self._row(v[2], v[3], v[4], v[5], v[8] or rows[v[2]]["TTL"])
        self.restarts += v[7] != "no"
        return 0

    def _added(self, v: list[str]) -> int:
        if not self._good(v[2], v[3], v[4], v[8], v[7]):
            return 2
        if self.limit and len(self.zones[v[1]]) >= self.limit:
            return 8
        record = v[2] if v[3] in ("NS", "CNAME", "MX", "PTR", "SRV") else _unicode(v[2])
        self._add(v[1], record, v[3], v[4], v[8] or "14400")
        self.restarts += v[7] != "no"
        return 0

    def _delete(self, rows: dict[str, dict[str, str]], key: str, restart: str) -> int:
        if key not in rows:
            return 3
        kind = rows[key]["TYPE"]
        if kind in ("A", "NS") and sum(r["TYPE"] == kind for r in rows.values()) == 1:
            return 2  # bin/v-delete-dns-record: is_dns_record_critical
        del rows[key]
        self.restarts += restart != "no"
        return 0

    def _good(self, record: str, kind: str, value: str, ttl: str, restart: str) -> bool:
        if NOT_IN_NAMES.search(record) or record.endswith("-") or kind not in HESTIA_TYPES:
            return False
        if kind == "PTR" and (f"{value.rstrip('.')}.".count(".") < 2 or not re.fullmatch(r"[a-z0-9.-]+", value)):
            return False
        if kind == "A" and not re.fullmatch(r"\d+(\.\d+){3}", value):
            return False
        return (not ttl or ttl.isdigit()) and restart in ("", "yes", "no", "scheduled")


def _unicode(record: str) -> str:
    labels = record.lower().split(".")
    return ".".join(x[4:].encode().decode("punycode") if x.startswith("xn--") else x for x in labels)


def _ascii(record: str) -> str:
    labels = record.split(".")
    return ".".join(x if x.isascii() else f"xn--{x.encode('punycode').decode()}" for x in labels)
