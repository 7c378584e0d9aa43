"""A strict stand-in for a name server that takes signed updates (RFC 2136), in process, with every fault on any
message. What it answers is what BIND 9.18 answered to the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update

from tests.dns.sims import Faulty

R, T = dns.rcode, dns.rdatatype


@dataclass
class Nameserver(Faulty):
    """Answers from its own zones with AA, from wildcards and CNAMEs as well, with a referral below an NS; applies
    updates whole or not at all, conditions first, and never looks at wildcards for them. `policy`: what every update
    gets; `tsig`: TSIG's own error."""

    zones: tuple[str, ...] = ()
    rows: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ttl: int = 300
    policy: dns.rcode.Rcode = R.NOERROR
    tsig: type[dns.exception.DNSException] | None = None

    def __post_init__(self) -> None:
        Faulty.__init__(self)
        self.down = False
        for zone in self.zones:
            self.rows[zone, "SOA"] = ["ns1.example.net. host.example.net. 1 3600 600 86400 60"]
            self.rows[zone, "NS"] = ["ns1.example.net."]

    def settings(self, **more: Any) -> dict[str, Any]:
        keys = {"key_name": "vmbridge", "key_secret": "c2VjcmV0IHNlY3JldCBzZWNyZXQ="}
        return {"provider": "rfc2136", "server": "ns1.test", **keys, **more}

    def values(self, name: str, kind: str) -> list[str]:
        return [v.rstrip(".").strip('"') for v in self.rows.get((name, kind), [])]

    def put(self, name: str, kind: str, *values: str) -> None:
        self.rows[name, kind] = [f"{v}." if kind in ("PTR", "CNAME", "NS", "DNAME") else v for v in values]
        if not values:
            del self.rows[name, kind]

    def changes(self) -> list[str]:
        return [c for c in self.calls if c.startswith("UPDATE")]

    def mount(self, message: dns.message.Message) -> dns.message.Message:
        update = isinstance(message, dns.update.UpdateMessage)
        change = bool(isinstance(message, dns.update.UpdateMessage) and message.update)
        fault = self.due(change)
        kind = fault.kind if fault else ""
        if self.down or kind == "refused":
            raise ConnectionRefusedError(111, "Connection refused")
        if callable(kind):
            kind()
        if kind == "rubbish":
            raise dns.exception.FormError
        if self.tsig:
            raise self.tsig
        made = dns.message.make_response(_unsigned(message))
        if kind in ("broken", "many"):
            made.set_rcode(R.SERVFAIL if kind == "broken" else R.REFUSED)
            return made
        self.calls.append("UPDATE" if change else "LOOK" if update else "QUERY")
        made.set_rcode(self._update(message) if update else self._query(message, made))
        if kind == "lost":
            raise dns.exception.Timeout
        if kind == "half":
            made.set_rcode(R.SERVFAIL)
        return made

    def _zone(self, name: str) -> str:
        return max((z for z in self.zones if name == z or name.endswith(f".{z}")), key=len, default="")

    def _there(self, name: str) -> bool:
        """Whether a name exists, be it for names below it alone."""
        return any(n == name or n.endswith(f".{name}") for n, _ in self.rows)

    def _query(self, message: dns.message.Message, made: dns.message.Message) -> dns.rcode.Rcode:
        question = message.question[0]
        name, kind = _text(question.name), T.to_text(question.rdtype)
        zone = self._zone(name)
        if not zone:
            return R.REFUSED
        parents = name.removesuffix(zone).rstrip(".").split(".")
        above = [".".join([*parents[n:], zone]) for n in range(len(parents))] if name != zone else []
        for cut in reversed(above):
            if self.rows.get((cut, "NS")):
                made.authority.append(self._set(cut, "NS"))
                return R.NOERROR
            if cut != name and self.rows.get((cut, "DNAME")):
                made.flags |= dns.flags.AA
                made.answer.append(self._set(cut, "DNAME"))
                return R.NOERROR
        made.flags |= dns.flags.AA
        owner = name
        if not self._there(name):
            closest = next((a for a in [*above[1:], zone] if self._there(a)), zone)
            owner = f"*.{closest}"
        for wanted in (kind, "CNAME"):
            if self.rows.get((owner, wanted)):
                made.answer.append(self._set(owner, wanted, name))
                break
        return R.NOERROR if self._there(owner) else R.NXDOMAIN

    def _set(self, owner: str, kind: str, name: str = "") -> dns.rrset.RRset:
        return dns.rrset.from_text_list(f"{name or owner}.", self.ttl, "IN", kind, self.rows[owner, kind])

    def _update(self, message: dns.message.Message) -> dns.rcode.Rcode:
        assert isinstance(message, dns.update.UpdateMessage)
        origin = message.zone[0].name
        if _text(origin) not in self.zones:
            return R.NOTAUTH
        if self.policy != R.NOERROR:
            return self.policy
        for row in message.prerequisite:
            name, kind = _text(row.name.derelativize(origin)), T.to_text(row.rdtype)
            there = self._holds(name, kind)
            if there != (row.rdclass != dns.rdataclass.NONE):
                if kind == "ANY":
                    return R.YXDOMAIN if there else R.NXDOMAIN
                return R.YXRRSET if there else R.NXRRSET
        named = [(row, _text(row.name.derelativize(origin))) for row in message.update]
        if any(self._zone(name) != _text(origin) for _, name in named):
            return R.NOTZONE
        for row, name in named:
            self._apply(row, name, origin)
        return R.NOERROR

    def _holds(self, name: str, kind: str) -> bool:
        return any(n == name for n, _ in self.rows) if kind == "ANY" else bool(self.rows.get((name, kind)))

    def _apply(self, row: dns.rrset.RRset, name: str, origin: dns.name.Name) -> None:
        kind = T.to_text(row.rdtype)
        if row.deleting is not None:
            self.rows.pop((name, kind), None)
        elif kind == "CNAME" or not self.rows.get((name, "CNAME")):  # beside a CNAME nothing is taken, silently
            values = [r.to_text(origin=origin, relativize=False) for r in row]
            self.rows[name, kind] = [*dict.fromkeys([*self.rows.get((name, kind), []), *values])]


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _unsigned(message: dns.message.Message) -> dns.message.Message:
    """The question without its signature: an answer in process has none."""
    if isinstance(message, dns.update.UpdateMessage):
        copy: dns.message.Message = dns.update.UpdateMessage(message.zone[0].name)
    else:
        copy = dns.message.Message()
        copy.question = list(message.question)
    copy.id, copy.flags = message.id, message.flags
    return copy
