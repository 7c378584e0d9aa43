"""Names in DNS: which zone an address or a host name belongs to, and what its record is called there. Pure; no store,
no network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.names import host_name

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
TICKET = "ticket"  # the provider of a zone that a person keeps: what is wanted becomes a ticket
LONGEST = 253  # characters of a name
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_/-]{0,61}[a-z0-9_])?")
MACROS = ("ip_dashed", "domain", "service_id", "client_id")  # of a rule for default names
MACRO = re.compile(r"\{([^{}]*)\}")
V4, V6 = "in-addr.arpa", "ip6.arpa"


@dataclass(frozen=True)
class Zone:
    """One `[dns."<zone>"]`. `network`: the addresses whose reverse records it holds, None for a zone of host names;
    `settings` are the provider's own."""

    name: str
    provider: str
    ttl: int
    network: Network | None
    settings: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def record(self, address: str) -> str:
        """What the PTR record of an address of its network is called."""
        at = ipaddress.ip_address(address)
        whole = at.reverse_pointer
        if f".{whole}".endswith(f".{self.name}") or self.network is None:
            return whole
        # RFC 2317: the labels below the last whole octet (nibble) of the network, under a name of its own
        size, per = (4, 8) if at.version == 4 else (32, 4)
        return f"{'.'.join(whole.split('.')[: max(1, size - self.network.prefixlen // per)])}.{self.name}"


def name_fault(zone: str) -> str:
    """What is wrong with the name of a zone, as a sentence; empty when it is good."""
    if zone != zone.lower() or zone.endswith(".") or len(zone) > LONGEST:
        return "must be in lower case and without the last dot"
    if not all(LABEL.fullmatch(part) for part in zone.split(".")):
        return "is not the name of a zone, such as 113.0.203.in-addr.arpa or vps.example.com"
    return ""


def network_of(zone: str, said: str) -> Network | None:
    """The addresses of a zone: those that `said` (its key `range`) names, else those of its name. None for a zone of
    host names. Raises ValueError with a sentence."""
    natural = _natural(zone)
    if said:
        try:
            network = ipaddress.ip_network(said)
        except ValueError:
            raise ValueError(f"{said!r} is not a network, such as 203.0.113.0/26") from None
        around = natural or _around(zone)
        if around and (around.version != network.version or not network.subnet_of(around)):  # type: ignore[arg-type]
            raise ValueError(f"{said} is not inside the zone, which is for {around}")
        return network
    return natural if natural else _classless(zone)


def _natural(zone: str) -> Network | None:
    """Of a zone cut at whole octets or nibbles."""
    for top, size, per, base in ((V4, 4, 8, 10), (V6, 32, 4, 16)):
        if zone != top and not zone.endswith(f".{top}"):
            continue
        labels = zone.removesuffix(top).rstrip(".").split(".") if zone != top else []
        good = r"0|[1-9]\d{0,2}" if base == 10 else r"[0-9a-f]"
        if not all(re.fullmatch(good, x) and int(x, base) < 2**per for x in labels) or len(labels) > size:
            return None
        number = 0
        for label in reversed(labels):
            number = number << per | int(label, base)
        bits = size * per
        network = ipaddress.IPv4Network if size == 4 else ipaddress.IPv6Network
        return network((number << (bits - per * len(labels)), per * len(labels)))
    return None


def _around(zone: str) -> Network | None:
    """Of the zone above a classless one's own label."""
    return _natural(zone.partition(".")[2])


def _classless(zone: str) -> Network | None:
    """RFC 2317's own spellings, `0/26` and `0-63` (and the usual `0-26`), where only one network can be meant."""
    around, label = _around(zone), zone.partition(".")[0]
    if not zone.endswith((f".{V4}", f".{V6}")):
        return None
    match = re.fullmatch(r"(\d{1,3})([/-])(\d{1,3})", label)
    blocks = set()
    if match and around and around.version == 4 and around.prefixlen == 24:
        first, last = int(match[1]), int(match[3])
        if 24 < last <= 32 and first < 256:
            blocks.add((first, last))
        if match[2] == "-" and first <= last < 256 and (last - first + 1).bit_count() == 1:
            blocks.add((first, 33 - (last - first + 1).bit_length()))
    networks = set()
    for first, prefix in blocks:
        if first % 2 ** (32 - prefix) == 0 and around:
            networks.add(ipaddress.IPv4Network((int(around.network_address) + first, prefix)))
    if len(networks) == 1:
        return networks.pop()
    raise ValueError('its name does not say for which addresses it is: write them as `range`, e.g. "203.0.113.0/26"')


def zone_of(address: str, zones: Iterable[Zone]) -> Zone | None:
    """The zone that holds the reverse record of an address: of those that it is in, the one for the fewest addresses;
    of these the one with the longest name."""
    at = ipaddress.ip_address(address)
    fits = [z for z in zones if z.network is not None and z.network.version == at.version and at in z.network]
    return max(fits, key=lambda z: (z.network.prefixlen if z.network else 0, len(z.name)), default=None)


def zone_of_name(name: str, zones: Iterable[Zone]) -> Zone | None:
    """The zone that a host name is below: the longest. Its own name is never given to anybody."""
    fits = [z for z in zones if z.network is None and name.endswith(f".{z.name}")]
    return max(fits, key=lambda z: len(z.name), default=None)


def uncovered(first: int, last: int, family: int, zones: Iterable[Zone]) -> tuple[int, int] | None:
    """The first part of a span of addresses that no zone holds; None when all are held."""
    nets = [z.network for z in zones if z.network is not None and z.network.version == family]
    spans = sorted((int(n.network_address), int(n.broadcast_address)) for n in nets)
    for a, b in spans:
        if b < first:
            continue
        if a > first:
            return first, min(last, a - 1)
        first = b + 1
        if first > last:
            return None
    return (first, last)


def is_default(rule: str, name: str) -> bool:
    """Whether a rule may give some address this name."""
    if "{ip_dashed}" not in rule:
        return False
    parts = {"ip_dashed": r"\d{1,3}(-\d{1,3}){3}|[0-9a-f]{4}(-[0-9a-f]{4}){7}", "domain": r".+"}
    split = MACRO.split(rule.lower())  # text and names of macros in turn
    made = [f"({parts.get(p, r'[0-9]+')})" if n % 2 else re.escape(p) for n, p in enumerate(split)]
    return re.fullmatch("".join(made), name) is not None


# -- default names --------------------------------------------------------------------------------
def rule_fault(rule: str) -> str:
    """What is wrong with a plan's rule for default names, as a sentence; empty when it is good."""
    if bad := [f"{{{m}}}" for m in MACRO.findall(rule) if m not in MACROS]:
        return f"{', '.join(bad)} is not one of: {', '.join(f'{{{m}}}' for m in MACROS)}."
    for address in ("203.0.113.10", "2001:db8::1"):
        made = default_name(rule, address, "vm.example.com", 7, 7)
        if rule and made != _raw(rule, address, "vm.example.com", 7, 7).lower():
            return f"Gives {_raw(rule, address, 'vm.example.com', 7, 7)!r}, which is no full host name."
    return ""


def default_name(rule: str, address: str, hostname: str, service_id: int, client_id: int) -> str:
    """The name that a rule gives an address, e.g. `{ip_dashed}.static.example.com`; empty without a rule, or where it
    makes no name."""
    name = _raw(rule, address, host_name(hostname, f"vm-{service_id}"), service_id, client_id).lower()
    parts = name.split(".")
    good = len(name) <= LONGEST and len(parts) > 1 and not parts[-1].isdigit()
    return name if good and all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", p) for p in parts) else ""


def _raw(rule: str, address: str, hostname: str, service_id: int, client_id: int) -> str:
    values = {
        "ip_dashed": re.sub(r"[.:]", "-", ipaddress.ip_address(address).exploded),
        "domain": hostname,
        "service_id": str(service_id),
        "client_id": str(client_id),
    }
    return MACRO.sub(lambda m: values.get(m[1], ""), rule)
