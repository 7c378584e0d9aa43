"""Who is let in: which sources reach a port of a machine, and whether a change takes that from any of them. Careful
where a rule says more than is known here: it is then not counted as letting in, and what it may stop is a trial."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from bridge.model import Firewall, Rule

PORTS = (22, 3389)  # SSH and Remote Desktop: how people come to their servers
# what other ports that are let in are for, by habit: web, mail, names
NO_WAYS = frozenset({25, 53, 80, 110, 143, 443, 465, 587, 853, 993, 995})
BY_NAME = {"ssh": 22, "ms-wbt-server": 3389}  # as staff may have written them (/etc/services)
Services = Mapping[str, Sequence[tuple[str, str]]]
Spans = list[tuple[int, int]]
NAMED = 0  # beside the families
ALL: dict[int, tuple[int, int]] = {4: (0, 2**32 - 1), 6: (0, 2**128 - 1)}


@dataclass(frozen=True)
class Shut:
    """Who is shut out of the chief way in: `family` 4 or 6 where only one is, `address` where it is the viewer's."""

    port: int
    family: int = 0
    address: str = ""


def closes(
    before: Firewall, after: Firewall, services: Services, own: Collection[str] = (), ports: Sequence[int] = PORTS
) -> bool:
    """Whether somebody who could come in before no longer can: by one of `ports`, where none of them was open by any
    that may be another way in, or, with another policy, at any port."""
    if before.policy_in == "accept" != after.policy_in:
        return True
    known = any(open_to_any(before, p, services, own) for p in ports)
    names = any(_spans(t)[NAMED] for r in (*before.rules, *after.rules) for t in (r.source, r.dest) if t)
    for port in ports if known else (*ports, *_perhaps(before)):
        for family in ALL:
            for every in (False, True) if names else (False,):  # what is named may be nobody, and may be everybody
                was, then = (let_in(w, port, family, services, own, every) for w in (before, after))
                if taken(was, then):
                    return True
    return False


def _perhaps(now: Firewall) -> tuple[int, ...]:
    """Single ports that rules let in and that are not known to be something else: people move their SSH."""
    named = (p for r in now.rules if r.way == "in" and r.on and r.action == "accept" and r.proto in ("tcp", "6")
             for p in r.dport.split(","))  # fmt: skip
    return tuple(dict.fromkeys(int(p) for p in named if p.isdigit() and int(p) not in NO_WAYS))


def shuts(
    before: Firewall,
    after: Firewall,
    services: Services,
    own: Collection[str] = (),
    ports: Sequence[int] = PORTS,
    viewer: str = "",
) -> Shut | None:
    """Who could come in by the first of `ports` that was open, and could not afterwards: nobody any more, nobody by one
    of the families that the machine has, or who looks at the page from `viewer`; None where neither is."""
    families: list[int] = sorted({ip_address(a).version for a in own}) or [*ALL]
    for port in ports:
        was, then = ({f: let_in(w, port, f, services, own) for f in families} for w in (before, after))
        if not any(was.values()):
            continue
        gone = [f for f in families if was[f] and not then[f]]
        if gone:
            return Shut(port, gone[0] if any(then.values()) else 0)
        at = ip_address(viewer) if viewer else None
        if at and at.version in was and _within(was[at.version], int(at)) and not _within(then[at.version], int(at)):
            return Shut(port, at.version, viewer)
        return None
    return None


def _within(spans: Spans, address: int) -> bool:
    return any(low <= address <= high for low, high in spans)


def open_to_any(now: Firewall, port: int, services: Services, own: Collection[str] = ()) -> bool:
    """Whether at least somebody is let in at a port."""
    return any(let_in(now, port, family, services, own) for family in ALL)


def let_in(
    now: Firewall, port: int, family: int, services: Services, own: Collection[str], every: bool = False
) -> Spans:
    """The sources that reach a TCP port, as rising spans of addresses; with `every` a set or an alias is everybody,
    else nobody."""
    decided: Spans = []  # rising and apart: sources that a rule above has matched
    let: Spans = []
    for rule in now.rules:
        if rule.way != "in" or not rule.on or not _meets(rule, port, family, services, own, every):
            continue
        for low, high in _sources(rule.source, family, every):
            fresh = _decide(decided, low, high)
            if rule.action == "accept":
                let += fresh
        if decided == [ALL[family]]:
            break
    return joined([*let, *taken([ALL[family]], decided)] if now.policy_in == "accept" else let)


def _decide(decided: Spans, low: int, high: int) -> Spans:
    """What of a span nobody has decided yet; it is decided then. Costs what it meets, not how many there are."""
    first = bisect_left(decided, low - 1, key=lambda span: span[1])
    last = bisect_right(decided, high + 1, key=lambda span: span[0])
    met = decided[first:last]
    ends = (min([low, *(a for a, _ in met)]), max([high, *(b for _, b in met)]))
    decided[first:last] = [ends]
    return taken([(low, high)], met)


def _meets(rule: Rule, port: int, family: int, services: Services, own: Collection[str], every: bool) -> bool:
    accepting = rule.action == "accept"
    if dict(rule.kept).get("iface", "net0") != "net0":
        return False
    if rule.service:
        if not any(p in ("tcp", "6") and _holds(d, port) for p, d in services.get(rule.service, ())):
            return False
    elif rule.proto not in ("", "tcp", "6") or not _holds(rule.dport, port):
        return False
    if rule.sport and accepting and not all(_holds(rule.sport, p) for p in (1024, 32768, 65535)):
        return False
    if rule.dest:
        spans = _sources(rule.dest, family, every)
        mine = [int(ip_address(a)) for a in own if ip_address(a).version == family]
        inside = any(low <= a <= high for low, high in spans for a in mine)
        return inside or (not accepting and not mine and bool(spans))
    return True


def _holds(ports: str, port: int) -> bool:
    """Of names of services only those that people come in by are known here."""
    for part in ports.split(",") if ports else ():
        first, _, last = str(BY_NAME.get(part, part)).partition(":")
        if first.isdigit() and (last or first).isdigit() and int(first) <= port <= int(last or first):
            return True
    return not ports


def _sources(text: str, family: int, every: bool) -> Spans:
    if not text or (every and _spans(text)[NAMED]):
        return [ALL[family]]
    return _spans(text)[family]


@lru_cache(maxsize=20_000)
def _spans(text: str) -> dict[int, Spans]:
    """By family; under NAMED something when it says what is not known here: sets and aliases. Nobody changes it."""
    spans: dict[int, Spans] = {family: [] for family in (*ALL, NAMED)}
    for part in text.split(","):
        try:
            if "-" in part:
                first, last = (ip_address(t.strip()) for t in part.split("-", 1))
            else:
                network = ip_network(part.strip(), strict=False)
                first, last = network[0], network[-1]
        except ValueError:
            spans[NAMED].append((0, 0))
            continue
        spans[first.version].append((int(first), int(last)))
    return {family: joined(of_family) for family, of_family in spans.items()}


def of_one_host(one: str, other: str) -> bool:
    """The same address, of IPv6 the same network of 64 bits."""
    a, b = ip_address(one), ip_address(other)
    return a == b or (a.version == b.version == 6 and int(a) >> 64 == int(b) >> 64)


def joined(spans: Spans) -> Spans:
    whole: Spans = []
    for low, high in sorted(spans):
        if whole and low <= whole[-1][1] + 1:
            whole[-1] = (whole[-1][0], max(whole[-1][1], high))
        else:
            whole.append((low, high))
    return whole


def taken(one: Spans, other: Spans) -> Spans:
    """What is in one and not in the other; both are rising and apart."""
    left: Spans = []
    at = 0
    for low, high in one:
        while at < len(other) and other[at][1] < low:
            at += 1
        begin, i = low, at
        while i < len(other) and other[i][0] <= high:
            if other[i][0] > begin:
                left.append((begin, other[i][0] - 1))
            begin = max(begin, other[i][1] + 1)
            i += 1
        if begin <= high:
            left.append((begin, high))
    return left
