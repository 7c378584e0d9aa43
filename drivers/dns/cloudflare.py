"""Cloudflare's API v4 (https://developers.cloudflare.com/api/resources/dns/). Records have ids; adding is not
idempotent by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from marshmallow import fields, validate

from bridge.clock import Clock
from bridge.errors import Permanent, UpstreamError, Waiting
from bridge.model import Finding, RecordSet
from drivers.dns.contract import BAD_VALUE, MARK, NO_KEY, NO_RIGHT, NO_ZONE, READ_ONLY, Provider, Strict, endpoint, tidy
from drivers.dns.web import Reply, Web, after
from drivers.http import Peer

EXISTS = (81057, 81058)  # as another one, and exactly so
GONE = (81044,)
TOO_MANY = (971, 10429)
KEY = (6003, 6111, 9106, 9109, 10000, 10001)
NO_SUCH_ZONE = (1001, 7000, 7003)
FULL = (81045,)
LEAST_TTL, MOST_TTL = 120, 86400
PAGE, PAGES = 100, 50  # records in one answer, and answers that are read at most
EDIT = "#dns_records:edit"


class Settings(Strict):
    endpoint = fields.Str(load_default="https://api.cloudflare.com/client/v4", validate=endpoint)
    api_token = fields.Str(required=True, validate=validate.Length(min=1))
    zone_id = fields.Str(load_default="", validate=validate.Regexp(r"^([0-9a-f]{32})?\Z"))
    ca_file = fields.Str(load_default="")


class Cloudflare(Provider):
    schema = Settings
    secrets = frozenset({"api_token"})
    place = ("endpoint", "zone_id")

    def __init__(self, zone: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(zone, settings, clock, prepare)
        peer = Peer("Cloudflare", settings["endpoint"], f"{self.table} endpoint", f"{self.table} ca_file")
        headers = {"Authorization": f"Bearer {settings['api_token']}"}
        self._web = Web(peer, headers, settings["ca_file"], prepare)
        self._id, self._known = str(settings["zone_id"]), ""

    def get(self, name: str, kind: str) -> RecordSet | None:
        """Proxied records are there and not served: the world gets Cloudflare's own addresses."""
        rows = self._rows(name, kind)
        if not rows:
            return None
        plain = not any(r.get("proxied") for r in rows)
        return RecordSet(name, kind, tuple(map(_value, rows)), int(rows[0]["ttl"]), plain, tuple(rows))

    def set(self, wanted: RecordSet, seen: RecordSet | None = None) -> None:
        try:
            self._set(wanted, list(seen.rows) if seen else self._rows(wanted.name, wanted.type))
        except _Said as e:  # what was seen is not so any more
            if not e.code_of(EXISTS):
                raise e.error from None
            try:
                self._set(wanted, self._rows(wanted.name, wanted.type))
            except _Said as again:
                raise again.error from None

    def _set(self, wanted: RecordSet, spare: list[Mapping[str, Any]]) -> None:
        """What is there is changed before anything is added, so that a fault on the way leaves a name and not none."""
        missing: list[tuple[str, str]] = []  # (value, the record that has it as it should not be)
        for value in wanted.values:
            same = next((r for r in spare if _value(r) == value), None)
            if same is not None:
                spare.remove(same)
            if same is None or same.get("proxied"):
                missing.append((value, same["id"] if same else ""))
        for value, key in missing:
            old = key or (str(spare.pop()["id"]) if spare else "")
            if not old or not self._change(old, wanted, value):
                self._call("POST", f"/zones/{self._zone()}/dns_records", True, json=_body(wanted, value))
        for row in spare:
            self._delete(str(row["id"]))

    def remove(self, name: str, kind: str, seen: RecordSet | None = None) -> None:
        for row in seen.rows if seen else self._rows(name, kind):
            self._delete(str(row["id"]))

    def nameservers(self) -> tuple[str, ...]:
        return tuple(tidy(str(n), "NS") for n in self._about().get("name_servers") or ())

    def roles(self) -> list[Finding]:
        about = self._about()
        rights, subject = about.get("permissions"), f"dns {self.zone}"
        notes = []
        if rights and EDIT not in rights:
            said = "the token cannot edit its records"
            notes.append(Finding("fault", subject, said, "make a token with Zone, DNS, Edit for this zone"))
        if about.get("status") not in (None, "active"):
            said = f"Cloudflare does not serve it: its status there is {about.get('status')}"
            notes.append(
                Finding("warning", subject, said, "delegate the zone to the name servers that Cloudflare gave it")
            )
        return notes

    # -- calls ------------------------------------------------------------------------------------
    def _zone(self) -> str:
        """The zone's id, once it is known to be kept here. A token that sees no zones is believed the configured
        one."""
        if not self._known:
            try:
                self._known = str(self._about()["id"])
            except Permanent as e:
                if not self._id or e.code not in (NO_RIGHT, NO_KEY):
                    raise
                self._known = self._id
        return self._known

    def _about(self) -> dict[str, Any]:
        """The zone; raises when it is not there or only a copy."""
        path, query = (f"/zones/{self._id}", {}) if self._id else ("/zones", {"name": self.zone})
        zones = self._call("GET", path, False, params=query)
        zones = [zones] if isinstance(zones, dict) else zones
        named = [z for z in zones if isinstance(z, dict) and z.get("name") == self.zone and z.get("id")]
        if not named:
            raise self._no_zone("")
        if named[0].get("type") == "secondary":
            raise Permanent(
                f"Cloudflare keeps {self.zone} as a copy of another server's: it is changed there.",
                code=READ_ONLY,
                next_action=f"Name the server that keeps the zone in {self.table}.",
            )
        return named[0]

    def _rows(self, name: str, kind: str) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        for page in range(1, PAGES + 1):
            query = {"type": kind, "name": name, "per_page": str(PAGE), "page": str(page)}
            reply = self._call("GET", f"/zones/{self._zone()}/dns_records", False, params=query)
            rows += reply
            if len(reply) < PAGE:
                break
        return [r for r in rows if tidy(str(r["name"]), "PTR") == name and r["type"] == kind]

    def _change(self, key: str, wanted: RecordSet, value: str) -> bool:
        """False when it is gone meanwhile."""
        try:
            self._call("PUT", f"/zones/{self._zone()}/dns_records/{key}", True, json=_body(wanted, value))
        except _Said as e:
            if e.code_of(GONE):
                return False
            raise
        return True

    def _delete(self, key: str) -> None:
        try:
            self._call("DELETE", f"/zones/{self._zone()}/dns_records/{key}", True)
        except _Said as e:
            if not e.code_of(GONE):
                raise e.error from None

    def _call(self, method: str, path: str, change: bool, **more: Any) -> Any:
        """`result` of an answer. Raises UpstreamError; of a change whose refusal may mean that it is so already,
        _Said."""
        reply = self._web.call(method, path, change, **more)
        body = reply.body
        if not isinstance(body, dict) or "success" not in body:
            raise self._web.rubbish(reply, change) if reply.status < 400 else self._web.refused(reply, change)
        if reply.status < 300 and body["success"] is True:
            result = body.get("result")
            if method == "GET" and not isinstance(result, (list, dict)):
                raise self._web.rubbish(reply, change)
            return result
        codes, said = _errors(body)
        error = self._refused(reply, change, codes, said)
        if change and _any(codes, (*EXISTS, *GONE)):
            raise _Said(codes, error)
        raise error

    def _refused(self, reply: Reply, change: bool, codes: Collection[int], said: str) -> UpstreamError:
        """The error that an answer of the provider means."""
        if reply.status == 429 or _any(codes, TOO_MANY):
            return Waiting(after(reply))
        if _any(codes, NO_SUCH_ZONE):
            return self._no_zone(said)
        if reply.status < 500 and _any(codes, KEY):
            return Permanent(
                "Cloudflare does not take our token, or it may not do this.",
                code=NO_KEY if reply.status != 403 else NO_RIGHT,
                detail=said,
                next_action=f"Give {self.table} a token with Zone, DNS, Edit for this zone.",
            )
        if _any(codes, FULL):
            return Permanent(
                "The zone takes no more records at Cloudflare.",
                code="zone_full",
                detail=said,
                next_action="Remove records there, or raise the zone's plan.",
            )
        if change and reply.status in (200, 400, 404, 409, 422):
            return Permanent("Cloudflare refused the record.", code=BAD_VALUE, detail=said)
        return self._web.refused(reply, change, said)

    def _no_zone(self, said: str) -> Permanent:
        return Permanent(
            f"Cloudflare has no zone {self.zone} that our token sees.",
            code=NO_ZONE,
            detail=said,
            next_action=f"Add it there, let the token see it, or correct {self.table}.",
        )


class _Said(Exception):
    """A refused change, with Cloudflare's codes."""

    def __init__(self, codes: Collection[int], error: UpstreamError) -> None:
        self.codes, self.error = codes, error
        super().__init__(str(error))

    def code_of(self, codes: tuple[int, ...]) -> bool:
        return _any(self.codes, codes)


def _any(codes: Collection[int], of: Collection[int]) -> bool:
    return any(c in of for c in codes)


def _value(row: Mapping[str, Any]) -> str:
    return tidy(str(row["content"]), str(row["type"]))


def _body(wanted: RecordSet, value: str) -> dict[str, Any]:
    """Never through Cloudflare's own proxy: SSH would end there."""
    ttl = min(MOST_TTL, max(LEAST_TTL, wanted.ttl))
    content = f'"{value}"' if wanted.type == "TXT" else value
    return {"type": wanted.type, "name": wanted.name, "content": content, "ttl": ttl, "proxied": False, "comment": MARK}


def _errors(body: Mapping[str, Any]) -> tuple[set[int], str]:
    """(codes, what was said of them) with those of the chain that validation errors have."""
    rows = [e for e in body.get("errors") or () if isinstance(e, dict)]
    rows += [c for e in rows for c in e.get("error_chain") or () if isinstance(c, dict)]
    codes = {int(e["code"]) for e in rows if str(e.get("code", "")).isdigit()}
    return codes, "; ".join(f"{e.get('code')}: {e.get('message')}" for e in rows)[:160]


PROVIDER = Cloudflare
