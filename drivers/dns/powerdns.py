"""PowerDNS Authoritative by its HTTP API (https://doc.powerdns.com/authoritative/http-api/zone.html)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from marshmallow import fields, validate

from bridge.clock import Clock
from bridge.errors import Permanent, UpstreamError
from bridge.model import Finding, RecordSet
from drivers.dns.contract import BAD_VALUE, NO_ZONE, READ_ONLY, Provider, Strict, endpoint, tidy, written
from drivers.dns.web import Reply, Web
from drivers.http import Peer

COPIES = ("slave", "secondary", "consumer")  # kinds of zones that are written elsewhere


class Settings(Strict):
    endpoint = fields.Str(required=True, validate=endpoint)
    api_key = fields.Str(required=True, validate=validate.Length(min=1))
    server_id = fields.Str(load_default="localhost", validate=validate.Regexp(r"^[A-Za-z0-9._-]{1,64}\Z"))
    ca_file = fields.Str(load_default="")


class PowerDns(Provider):
    schema = Settings
    secrets = frozenset({"api_key"})
    place = ("endpoint", "server_id")

    def __init__(self, zone: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        super().__init__(zone, settings, clock, prepare)
        peer = Peer("PowerDNS", settings["endpoint"], f"{self.table} endpoint", f"{self.table} ca_file")
        self._web = Web(peer, {"X-API-Key": settings["api_key"]}, settings["ca_file"], prepare)
        self._path = f"/api/v1/servers/{settings['server_id']}/zones/{_id(zone)}"

    def get(self, name: str, kind: str) -> RecordSet | None:
        sets = [s for s in self._zone(name, kind)["rrsets"] if tidy(s["name"], "PTR") == name and s["type"] == kind]
        records = [tidy(r["content"], kind) for s in sets for r in s["records"] if not r.get("disabled")]
        return RecordSet(name, kind, tuple(records), int(sets[0]["ttl"])) if records else None

    def set(self, wanted: RecordSet, seen: RecordSet | None = None) -> None:
        records = [{"content": written(v, wanted.type), "disabled": False} for v in wanted.values]
        self._patch(wanted.name, wanted.type, ttl=wanted.ttl, changetype="REPLACE", records=records)

    def remove(self, name: str, kind: str, seen: RecordSet | None = None) -> None:
        self._patch(name, kind, changetype="DELETE")

    def nameservers(self) -> tuple[str, ...]:
        own = self.get(self.zone, "NS")
        return own.values if own else ()

    def roles(self) -> list[Finding]:
        """What of the zone's settings keeps its changes from those who copy or prove it."""
        about, subject, notes = self._zone(self.zone, "SOA"), f"dns {self.zone}", []
        if about.get("soa_edit_api") == "":
            said = "changes by the API do not raise its serial: servers that copy the zone never hear of them"
            fix = f"run `pdnsutil set-meta {self.zone} SOA-EDIT-API DEFAULT`"
            notes.append(Finding("warning", subject, said, fix))
        if about.get("dnssec") is True and self._metadata("API-RECTIFY") == ["0"]:
            said = "it is signed and API-RECTIFY is off: proofs (NSEC) of what is not there deny new records"
            fix = f"run `pdnsutil set-meta {self.zone} API-RECTIFY 1` and `pdnsutil rectify-zone {self.zone}`"
            notes.append(Finding("warning", subject, said, fix))
        return notes

    def _metadata(self, kind: str) -> list[str]:
        """From the list of all: API-RECTIFY alone is not to be had (4.7), and the zone says `false` for unset too."""
        reply = self._web.call("GET", f"{self._path}/metadata", False)
        rows = reply.body if reply.status == 200 and isinstance(reply.body, list) else []
        return [str(v) for r in rows if isinstance(r, dict) and r.get("kind") == kind for v in r.get("metadata") or ()]

    def _zone(self, name: str, kind: str) -> dict[str, Any]:
        """The zone with this one set; older releases know no filter and answer with all of it."""
        reply = self._web.call("GET", self._path, False, params={"rrset_name": f"{name}.", "rrset_type": kind})
        if reply.status != 200:
            raise self._refused(reply, False)
        try:
            sets = reply.body["rrsets"]
            if not all(isinstance(r["content"], str) for s in sets for r in s["records"] if s["type"] == kind):
                raise TypeError
            copy = str(reply.body["kind"]).lower() in COPIES
        except (KeyError, TypeError):
            raise self._web.rubbish(reply, False) from None
        if copy:
            raise Permanent(
                f"PowerDNS keeps {self.zone} as a copy of another server's: it is changed there.",
                code=READ_ONLY,
                next_action=f"Name the server that keeps the zone in {self.table}.",
            )
        return dict(reply.body)

    def _patch(self, name: str, kind: str, **change: Any) -> None:
        rows = {"rrsets": [{"name": f"{name}.", "type": kind, **change}]}
        reply = self._web.call("PATCH", self._path, True, json=rows)
        if reply.status >= 300:
            raise self._refused(reply, True)
        if reply.status != 204:
            raise self._web.rubbish(reply, True)

    def _refused(self, reply: Reply, change: bool) -> UpstreamError:
        said = str(reply.body.get("error", "")) if isinstance(reply.body, dict) else ""
        unknown = reply.status == 404 or (reply.status == 422 and "could not find domain" in said.lower())
        if unknown and isinstance(reply.body, dict):
            return Permanent(
                f"PowerDNS has no zone {self.zone}.",
                code=NO_ZONE,
                detail=said[:160],
                next_action=f"Make it there (`pdnsutil create-zone {self.zone}`), or correct {self.table}.",
            )
        if reply.status in (400, 409, 422):
            return Permanent("PowerDNS refused the record.", code=BAD_VALUE, detail=said[:160])
        return self._web.refused(reply, change, said)


def _id(zone: str) -> str:
    """As PowerDNS names zones in paths: what is no letter, digit, dot, hyphen or underscore is =HH."""
    return quote(f"{zone}.", safe="").replace("%", "=")


PROVIDER = PowerDns
