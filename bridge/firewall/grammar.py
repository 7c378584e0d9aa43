"""What people write into the form of a rule, checked before anybody is asked: every fault names its field and what it
may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address, ip_network

from bridge.errors import BadRequest
from bridge.model import Rule, Sentence

WAYS, ACTIONS = ("in", "out"), ("accept", "drop", "reject")
WITH_PORTS = ("tcp", "udp", "sctp", "udplite", "dccp")
PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "sctp", "udplite", "dccp", "gre", "esp", "ah", "igmp", "ospf", "vrrp")
ICMP4 = (
    "echo-request echo-reply destination-unreachable network-unreachable host-unreachable port-unreachable"
    " fragmentation-needed source-quench redirect time-exceeded parameter-problem timestamp-request timestamp-reply"
)
ICMP6 = (
    "echo-request echo-reply destination-unreachable no-route port-unreachable packet-too-big time-exceeded"
    " parameter-problem router-solicitation router-advertisement neighbor-solicitation neighbor-advertisement redirect"
)
ICMP: dict[str, tuple[str, ...]] = {"icmp": tuple(ICMP4.split()), "icmpv6": tuple(ICMP6.split())}
FAMILY = {"icmp": 4, "icmpv6": 6, "ipv6-icmp": 6}
LONGEST_LIST, LONGEST_COMMENT, MOST_PORTS = 512, 100, 15
MOST_ADDRESSES = 100  # of a rule: no back end takes more
LABELS = {
    "way": Sentence("Direction"),
    "action": Sentence("Action"),
    "service": Sentence("Service"),
    "proto": Sentence("Protocol"),
    "source": Sentence("Source"),
    "sport": Sentence("Source port"),
    "dest": Sentence("Destination"),
    "dport": Sentence("Destination port"),
    "icmp": Sentence("ICMP type"),
    "comment": Sentence("Comment"),
    "policy_in": Sentence("Input policy"),
    "policy_out": Sentence("Output policy"),
}
MARK = re.compile(r"\[vmb-[0-9a-f]{8}\]")
BACKWARDS = Sentence("%(field)s: the range “%(text)s” ends before it begins.")


def fault(field: str, said: Sentence, **values: object) -> BadRequest:
    """With the field as the page calls it; `extra` has its name in the form."""
    return BadRequest(Sentence(said.template, field=LABELS[field], **values), code="bad_rule", field=field)


def rule_of(
    form: Callable[[str], str],
    can: Collection[str],
    services: Mapping[str, object],
    old: Rule | None,
    protocols: Collection[str] = (),
) -> Rule:
    """The rule that a form describes; `form` gives a field as one printable line. What the back end has beside stays
    as in `old`. `protocols` are those that the back end has, each rule one of them; without them any of ours, or none.
    Raises BadRequest."""
    way = one_of("way", form("way").lower(), WAYS)
    action = one_of("action", form("action").lower() or "accept", ACTIONS if "drop" in can else ACTIONS[:1])
    service = form("service")
    if service and service not in services and (old is None or service != old.service):
        raise fault("service", Sentence("%(field)s: “%(text)s” is not one of the list."), text=service[:40])
    proto = _as_before("proto", form("proto"), old) or any_or(form("proto").lower())
    if protocols and proto not in protocols and not service:
        words = ", ".join(protocols)
        raise fault("proto", Sentence("%(field)s: “%(text)s” is not one of: %(words)s."), text=proto[:40], words=words)
    if proto and proto not in PROTOCOLS and (old is None or proto != old.proto):
        raise fault(
            "proto",
            Sentence("%(field)s: “%(text)s” is not one of: any, %(words)s."),
            text=proto[:40],
            words=", ".join(PROTOCOLS),
        )
    source, dest = (_as_before(f, form(f), old) or addresses(f, form(f), can) for f in ("source", "dest"))
    sport, dport = (_as_before(f, form(f), old) or ports(f, form(f), can) for f in ("sport", "dport"))
    icmp = _as_before("icmp", form("icmp"), old) or any_or(form("icmp").lower())
    same = old is not None and (service, proto) == (old.service, old.proto)  # staff may say more than forms can
    if service:
        for field, value in (("proto", proto), ("sport", sport), ("dport", dport), ("icmp", icmp)):
            if value and not (same and value == getattr(old, field)):
                raise fault(
                    field, Sentence("%(field)s: the service says it already. Leave it empty, or choose no service.")
                )
    for field, value in (("sport", sport), ("dport", dport)):
        kept = same and value == getattr(old, field) and not (icmp and field == "dport")
        if value and proto not in WITH_PORTS and not service and not kept:
            raise fault(
                field,
                Sentence("%(field)s: only %(words)s have ports. Choose one of them as the protocol."),
                words=", ".join(WITH_PORTS),
            )
    if icmp and not (same and old and icmp == old.icmp) and icmp not in ICMP.get(proto, ()):
        if proto not in ICMP:
            typed = Sentence("%(field)s: only %(words)s have types. Choose one of them as the protocol.")
            raise fault("icmp", typed, words=", ".join(ICMP))
        words = ", ".join(ICMP[proto])
        raise fault("icmp", Sentence("%(field)s: with this protocol it can be one of: %(words)s."), words=words)
    _fitting(way, proto, source, dest, sport, icmp, can)
    said = form("comment")
    said = said if old and said == " ".join(old.comment.split()) else comment(said)
    beside = old.kept if old else ()
    return Rule(way, action, service, proto, source, sport, dest, dport, icmp, said, True, kept=beside)


def _fitting(way: str, proto: str, source: str, dest: str, sport: str, icmp: str, can: Collection[str]) -> None:
    """What the fields say together."""
    if "both_ends" not in can and (other := dest if way == "in" else source):
        raise fault(
            "dest" if way == "in" else "source",
            Sentence("%(field)s: “%(text)s”: here it is always your server."),
            text=other[:60],
        )
    if "sport" not in can and sport:
        raise fault("sport", Sentence("%(field)s: it cannot be limited here. Leave it empty."))
    if "icmp" not in can and icmp:
        raise fault("icmp", Sentence("%(field)s: it cannot be limited here. Leave it empty."))
    if "mixed" in can:
        return
    families = {f: family(v) for f, v in (("source", source), ("dest", dest)) if v[:1].isdigit() or ":" in v}
    if len(set(families.values())) > 1:
        raise fault("dest", Sentence("%(field)s: source and destination must both be IPv4 or both IPv6."))
    if (wanted := FAMILY.get(proto)) and families and set(families.values()) != {wanted}:
        raise fault(
            next(iter(families)),
            Sentence("%(field)s: %(proto)s is of IPv%(n)d. Write addresses of IPv%(n)d."),
            proto=proto,
            n=wanted,
        )


def _as_before(field: str, text: str, old: Rule | None) -> str:
    """What a rule says already and the form has left alone: of staff's rules it may be a set's, an alias' or a
    service's name."""
    had = str(getattr(old, field)) if old else ""
    return had if text in (had, had.replace(":", "-")) else ""


def one_of(field: str, text: str, words: Collection[str]) -> str:
    if text not in words:
        raise fault(
            field,
            Sentence("%(field)s: “%(text)s” is not one of: %(words)s."),
            text=text[:40],
            words=", ".join(w.upper() for w in words),
        )
    return text


def any_or(text: str) -> str:
    return "" if text in ("any", "-") else text


def family(text: str) -> int:
    """Of a list that was checked."""
    return 6 if ":" in text else 4


def addresses(field: str, text: str, can: Collection[str]) -> str:
    """Addresses and networks of one family, or one range, as the standard writes them; empty means any. Raises
    BadRequest."""
    text = any_or(text.strip().lower())
    if not text:
        return ""
    parts = [p.strip() for p in text.split(",")]
    written = [_address(field, p or text) for p in parts[: MOST_ADDRESSES + 1]]
    if len(parts) > MOST_ADDRESSES:
        raise fault(
            field,
            Sentence("%(field)s: at most %(n)d addresses and networks. Make a second rule for the others."),
            n=MOST_ADDRESSES,
        )
    if any("-" in p for p in written) and (len(written) > 1 or "ranges" not in can):
        raise fault(
            field,
            Sentence(
                "%(field)s: a range such as 192.0.2.1-192.0.2.9 stands alone; write networks such as"
                " 192.0.2.0/24 in lists."
            )
            if "ranges" in can
            else Sentence("%(field)s: ranges are not taken here; write networks such as 192.0.2.0/24."),
        )
    if len({family(p) for p in written}) > 1 and "mixed" not in can:
        raise fault(field, Sentence("%(field)s: IPv4 and IPv6 cannot stand in one rule. Make one rule for each."))
    joined = ",".join(dict.fromkeys(written))
    if len(joined) > LONGEST_LIST:
        raise fault(
            field, Sentence("%(field)s: at most %(n)d characters. Make a second rule for the others."), n=LONGEST_LIST
        )
    return joined


def _address(field: str, text: str) -> str:
    """One address, network or range as it is kept. Raises BadRequest naming the field."""
    try:
        if "%" in text:
            raise ValueError(text)
        if "-" in text:
            first, last = (ip_address(t.strip()) for t in text.split("-", 1))
            if first.version != last.version:
                raise ValueError(text)
            if int(first) > int(last):
                raise fault(field, BACKWARDS, text=text[:90])
            return f"{first}-{last}"
        if "/" not in text:
            return str(ip_address(text))
        if not re.fullmatch(r"[^/]+/[0-9]{1,3}", text):  # no netmask
            raise ValueError(text)
        network = ip_network(text, strict=False)
    except ValueError:
        raise fault(
            field,
            Sentence(
                "%(field)s: “%(text)s” is neither an address (192.0.2.1, 2001:db8::1), a network (192.0.2.0/24)"
                " nor a range (192.0.2.1-192.0.2.9)."
            ),
            text=text[:60],
        ) from None
    if str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise fault(
            field,
            Sentence("%(field)s: “%(text)s” is an address inside a network. Did you mean %(network)s?"),
            text=text[:60],
            network=network,
        )
    return str(network)


def ports(field: str, text: str, can: Collection[str]) -> str:
    """Ports and ranges (`80`, `80,443`, `1000:2000`), as firewalls write them; empty means any. Raises BadRequest."""
    text = any_or(text.strip().lower())
    if not text:
        return ""
    written, count = [], 0
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:\s*[:-]\s*([0-9]{1,5}))?", part.strip())
        first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (0, 0)
        if 1 <= last < first <= 65535:
            raise fault(field, BACKWARDS, text=part.strip()[:40])
        if not 1 <= first <= last <= 65535:
            raise fault(
                field,
                Sentence("%(field)s: “%(text)s” is neither a port (1 to 65535) nor a range such as 1000-2000."),
                text=(part.strip() or text)[:40],
            )
        ranged = bool(match and match.group(2))
        written.append(f"{first}:{last}" if ranged else str(first))
        count += 1 + ranged
    if count > MOST_PORTS:
        raise fault(
            field,
            Sentence("%(field)s: at most %(n)d numbers, of which a range has two. Make a second rule for the others."),
            n=MOST_PORTS,
        )
    if len(written) > 1 and "lists" not in can:
        raise fault(field, Sentence("%(field)s: one port or one range. Make a second rule for the others."))
    return ",".join(written)


def comment(text: str) -> str:
    if len(text) > LONGEST_COMMENT:
        raise fault("comment", Sentence("%(field)s: at most %(n)d characters."), n=LONGEST_COMMENT)
    if text.lower().startswith("vmbridge:") or MARK.search(text):
        raise fault(
            "comment",
            Sentence("%(field)s: “%(text)s” means something to us. Please choose other words."),
            text=text[:40],
        )
    return text
