"""Dynamic updates (RFC 2136), signed by TSIG (RFC 8945): BIND, Knot, PowerDNS, Windows. By dnspython, over TCP."""

from __future__ import annotations

import binascii
import socket
from collections.abc import Callable, Mapping
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
from marshmallow import ValidationError, fields, validate

from bridge.clock import Clock
from bridge.errors import Permanent, Transient, Unknown, Unreachable, UpstreamError
from bridge.model import Finding, RecordSet
from drivers.calls import calling
from drivers.dns.contract import BAD_VALUE, NO_KEY, NO_RIGHT, NO_ZONE, READ_ONLY, Provider, Strict, tidy, written
from drivers.dns.web import ANSWER
from drivers.http import Peer, fault, time_outs

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1", "hmac-md5")
R = dns.rcode
NOT_TAKEN = "The name server refused the record."
Ask = Callable[[dns.message.Message], dns.message.Message]


def _secret(text: str) -> None:
    try:
        if not binascii.a2b_base64(text, strict_mode=True):
            raise ValueError
    except ValueError:
        raise ValidationError("Must be the key's secret in base64, as `tsig-keygen` prints it.") from None


def _key_name(text: str) -> None:
    try:
        if not text or len(dns.name.from_text(text)) < 2:
            raise ValueError
    except (ValueError, dns.exception.DNSException):
        raise ValidationError("Must be the key's name as the server has it.") from None


class Settings(Strict):
    server = fields.Str(required=True, validate=validate.Regexp(r"^[A-Za-z0-9.:-]{1,253}\Z"))
    port = fields.Int(load_default=53, validate=validate.Range(1, 65535))
    key_name = fields.Str(required=True, validate=_key_name)
    key_secret = fields.Str(required=True, validate=_secret)
    key_algorithm = fields.Str(load_default="hmac-sha256", validate=validate.OneOf(ALGORITHMS))


class Elsewhere(Permanent):
    """A name that this zone does not answer for itself: nothing can be set there, and nothing of ours is seen there."""


class Rfc2136(Provider):
    schema = Settings
    secrets = frozenset({"key_secret"})
    place = ("server", "port")

    def __init__(self, zone: str, settings: Mapping[str, Any], clock: Clock, prepare: Ask | None = None) -> None:
        super().__init__(zone, settings, clock, prepare)
        server = settings["server"]
        url = f"dns://{f'[{server}]' if ':' in server else server}:{settings['port']}"
        self._peer = Peer("the name server", url, f"{self.table} server")
        self._keys = dns.tsigkeyring.from_text({settings["key_name"]: settings["key_secret"]})
        self._key_name = dns.name.from_text(settings["key_name"])
        self._origin = dns.name.from_text(zone)

    def get(self, name: str, kind: str) -> RecordSet | None:
        """A name in use by a wildcard alone is free; one that is kept elsewhere has no values and is not served."""
        try:
            records = self._found(name, kind)
        except Elsewhere as e:
            return RecordSet(name, kind, (), 0, False, ({"why": e},))
        return records if records and self._stands(name, kind) else None

    def _found(self, name: str, kind: str) -> RecordSet | None:
        asked = dns.message.make_query(_name(name), kind, flags=0)
        reply = self._ask(asked, False)
        if reply.rcode() not in (R.NOERROR, R.NXDOMAIN):
            raise self._refused(reply.rcode(), False)
        self._placed(reply)
        own = [s for s in reply.answer if s.name == asked.question[0].name]
        for records in own:
            if records.rdtype == dns.rdatatype.CNAME and self._stands(name, "CNAME"):
                raise _elsewhere("There is a CNAME at this record's name", f"{name} leads to {records[0].target}")
        sets = [s for s in own if s.rdtype == dns.rdatatype.from_text(kind)]
        values = tuple(tidy(r.to_text(), kind) for s in sets for r in s)
        return RecordSet(name, kind, values, sets[0].ttl) if values else None

    def _stands(self, name: str, kind: str) -> bool:
        """Whether what was answered stands at this very name, and is not made from a wildcard: updates look at names as
        they are (RFC 2136, 2.4.1). One that has a condition and no change changes nothing."""
        look = self._update()
        look.present(_name(name), kind)
        code = self._ask(look, False).rcode()
        if code in (R.NOERROR, R.NXRRSET, R.NXDOMAIN):
            return bool(code == R.NOERROR)
        raise self._refused(code, False)

    def _placed(self, reply: dns.message.Message) -> None:
        """Raises when the name is not answered from this zone."""
        for records in reply.answer:
            if records.rdtype == dns.rdatatype.DNAME:
                raise _elsewhere(
                    "A DNAME leads all names here to another zone", f"{records.name} to {records[0].target}"
                )
        for records in reply.authority:
            below = records.name.is_subdomain(self._origin) and records.name != self._origin
            if records.rdtype == dns.rdatatype.NS and below:
                raise _elsewhere("This record's name is given to other name servers", f"by NS of {records.name}")
        if not reply.flags & dns.flags.AA:
            raise self._no_zone()

    def set(self, wanted: RecordSet, seen: RecordSet | None = None) -> None:
        seen = seen or self.get(wanted.name, wanted.type)
        if seen and seen.rows:
            raise seen.rows[0]["why"]
        values = [written(v, wanted.type) for v in wanted.values]
        change = self._update()
        try:
            change.replace(_name(wanted.name), wanted.ttl, wanted.type, *values)
        except (dns.exception.DNSException, ValueError) as e:
            raise _refused_value(e) from None
        self._send(change)

    def remove(self, name: str, kind: str, seen: RecordSet | None = None) -> None:
        change = self._update()
        change.delete(_name(name), kind)
        self._send(change)

    def nameservers(self) -> tuple[str, ...]:
        servers = self._found(self.zone, "NS")
        return servers.values if servers else ()

    def roles(self) -> list[Finding]:
        """A condition without a change is refused like a change. Raises what keeps our key from changes."""
        self._stands(self.zone, "SOA")
        return []

    def _update(self) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(self._origin)

    def _send(self, change: dns.update.UpdateMessage) -> None:
        code = self._ask(change, True).rcode()
        if code != R.NOERROR:
            raise self._refused(code, True)

    def _ask(self, message: dns.message.Message, change: bool) -> dns.message.Message:
        """One signed question over TCP and its signed answer."""
        with calling(f"dns:{self.zone}", "UPDATE" if change else "QUERY", "", change):
            return self._asked(message, change)

    def _asked(self, message: dns.message.Message, change: bool) -> dns.message.Message:
        """The server's answer to a signed message. Raises UpstreamError; of a `change` without an answer nobody
        knows."""
        message.use_tsig(self._keys, self._key_name, algorithm=self.settings["key_algorithm"])
        connect, answer, _ = time_outs(change)
        try:
            if self._prepare:
                reply: dns.message.Message = self._prepare(message)
                return reply
            with self._connected(connect) as line:
                reply = dns.query.tcp(message, "", timeout=min(answer, ANSWER), sock=line)
            if reply.had_tsig or reply.rcode() not in (R.NOERROR, R.NXDOMAIN):
                return reply
            raise self._unread("an answer without a signature", change)
        except (dns.tsig.PeerBadTime, dns.tsig.BadTime):
            raise Permanent(
                "The clocks of this machine and of the name server differ too much for signed updates.",
                code="clocks_differ",
                next_action="Set both clocks right, e.g. by NTP.",
            ) from None
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.message.UnknownTSIGKey) as e:
            raise self._no_key(type(e).__name__) from None
        except dns.exception.Timeout:
            raise fault(TimeoutError(), self._peer, change) from None
        except (dns.exception.DNSException, EOFError) as e:
            raise self._unread(type(e).__name__, change) from None
        except (OSError, ValueError) as e:
            raise fault(e, self._peer, change) from None

    def _connected(self, seconds: float) -> socket.socket:
        """A connection; until it stands nothing was asked."""
        try:
            line = socket.create_connection((self.settings["server"], self.settings["port"]), seconds)
        except TimeoutError:
            raise Unreachable(
                f"The name server does not take connections at {self._peer.place}: no answer in time.",
                code="connect_timeout",
                next_action=f"See that {self._peer.where} is right and that TCP to its port is let through.",
            ) from None
        line.setblocking(False)
        return line

    def _refused(self, code: dns.rcode.Rcode, change: bool) -> UpstreamError:
        """The error that the server's answer to a change or a question means."""
        said = dns.rcode.to_text(code)
        if code == R.SERVFAIL:
            kind: type[UpstreamError] = Unknown if change else Transient
            return kind(
                "The name server has a fault just now.",
                code="provider_fault",
                detail=said,
                next_action="Look at its log: the zone must be loaded, and its file and journal writable.",
            )
        if code == R.REFUSED:
            return Permanent(
                "The name server's policy refuses what our key asks.",
                code=NO_RIGHT,
                detail=said,
                next_action=f"Let the key {self.settings['key_name']} query and update the zone (BIND: allow-update on"
                " the primary server, and no `rndc freeze`).",
            )
        if code == R.NOTIMP:
            return Permanent(
                "The name server takes no dynamic updates.",
                code=READ_ONLY,
                detail=said,
                next_action=f"Switch them on there (RFC 2136), or name another provider in {self.table}.",
            )
        if code in (R.YXDOMAIN, R.YXRRSET, R.NXRRSET, R.NXDOMAIN):
            return Transient(
                "The record was changed by somebody else meanwhile.", code="changed_meanwhile", detail=said
            )
        if code == R.NOTAUTH:
            return self._no_zone(said)
        return Permanent(NOT_TAKEN, code=BAD_VALUE, detail=said)

    def _unread(self, said: str, change: bool) -> UpstreamError:
        """PowerDNS (4.7) answers so to a key that it does not know."""
        kind: type[UpstreamError] = Unknown if change else Transient
        return kind(
            "The answer is none that a name server with our key gives.",
            code="bad_answer",
            detail=said,
            next_action=f"See that {self._peer.where} is the name server, and that key_name, key_secret and"
            " key_algorithm are as it has them.",
        )

    def _no_zone(self, said: str = "") -> Permanent:
        return Permanent(
            f"The name server does not answer for {self.zone}, or keeps only a copy of it.",
            code=NO_ZONE,
            detail=said,
            next_action=f"Make the zone there, or name its primary server in {self.table}.",
        )

    def _no_key(self, said: str) -> Permanent:
        return Permanent(
            "The name server does not take our key.",
            code=NO_KEY,
            detail=said,
            next_action=f"Correct key_name, key_secret and key_algorithm of {self.table}.",
        )


def _name(text: str) -> dns.name.Name:
    try:
        return dns.name.from_text(text)
    except dns.exception.DNSException as e:
        raise _refused_value(e) from None


def _refused_value(e: Exception) -> Permanent:
    return Permanent(NOT_TAKEN, code=BAD_VALUE, detail=type(e).__name__)


def _elsewhere(what: str, detail: str) -> Elsewhere:
    return Elsewhere(
        f"{what}: it is kept in another zone.",
        code=BAD_VALUE,
        detail=detail,
        next_action="Put the zone to which it leads into the configuration, with its `range`.",
    )


PROVIDER = Rfc2136
