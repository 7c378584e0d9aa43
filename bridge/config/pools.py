"""[pools.<name>]: ranges of addresses, and which of them are never given out."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from bridge.config.schemas import Strict


class PoolSchema(Strict):
    ranges = fields.List(fields.Str(), required=True, validate=validate.Length(min=1))
    prefix = fields.Int(required=True, validate=validate.Range(1, 128))
    gateway = fields.IP(required=True)
    dns = fields.List(fields.IP(), load_default=list)
    exclude = fields.List(fields.Str(), load_default=list)  # type: ignore[assignment]
    bridge = fields.Str(load_default="vmbr0")
    vlan = fields.Int(load_default=0, validate=validate.Range(0, 4094))
    reverse_zone = fields.Str(load_default="")

    @validates_schema(skip_on_field_errors=False)
    def _ranges(self, data: dict[str, Any], **_: Any) -> None:
        """Every range that is wrong, also while other keys are: what is right of them is all that is compared."""
        faults: dict[str, list[str]] = {}
        gateway, prefix = data.get("gateway"), data.get("prefix")
        for key in ("ranges", "exclude"):
            for text in data.get(key) or ():
                fault = _range_fault(text, gateway, prefix if key == "ranges" else None)
                if fault:
                    faults.setdefault(key, []).append(fault)
        if gateway and prefix and prefix > gateway.max_prefixlen:
            faults["prefix"] = [f"Must be at most {gateway.max_prefixlen}."]
        if gateway and (gateway.is_unspecified or gateway.is_multicast or gateway.is_loopback):
            faults["gateway"] = [f"{gateway} cannot be a gateway."]
        if faults:
            raise ValidationError(faults)


def _range_fault(text: str, gateway: Any, prefix: int | None) -> str:
    try:
        first, last = parse_range(text)
    except ValueError:
        return f"{text!r} is not ADDRESS or FIRST-LAST."
    if int(last) < int(first):
        return f"{text!r} ends before it begins."
    if not gateway:
        return ""
    if first.version != gateway.version:
        return f"{text!r} and the gateway are of different families."
    if not prefix or prefix >= gateway.max_prefixlen:
        return ""  # single addresses, routed to the host
    network = ipaddress.ip_network(f"{first}/{prefix}", strict=False)
    return "" if last in network else f"{text!r} is not inside one network, {network}."


def parse_range(text: str) -> tuple[Any, Any]:
    """`a` or `a-b` -> (first, last) as ipaddress objects; ValueError when it is neither."""
    first, _, last = text.partition("-")
    start = ipaddress.ip_address(first.strip())
    end = ipaddress.ip_address(last.strip()) if last else start
    if start.version != end.version:
        raise ValueError(text)
    return start, end


@dataclass(frozen=True)
class Pool:
    name: str
    ranges: tuple[tuple[int, int], ...]
    excluded: tuple[tuple[int, int], ...]
    family: int
    prefix: int
    gateway: str
    dns: tuple[str, ...]
    bridge: str
    vlan: int
    reverse_zone: str = ""  # the zone that its addresses should be in, for `vmbridge check`

    @property
    def gateway_outside(self) -> str:
        """The first of its networks in which the gateway is not: guests then reach it on the link itself. Empty when it
        is in all."""
        gateway = ipaddress.ip_address(self.gateway)
        kind = ipaddress.IPv4Address if self.family == 4 else ipaddress.IPv6Address
        networks = (ipaddress.ip_network(f"{kind(first)}/{self.prefix}", strict=False) for first, _ in self.ranges)
        return next((str(n) for n in networks if gateway not in n), "")


def pool_of(name: str, v: dict[str, Any]) -> Pool:
    def spans(key: str) -> tuple[tuple[int, int], ...]:
        return tuple((int(a), int(b)) for a, b in map(parse_range, v[key]))

    return Pool(
        name=name,
        ranges=spans("ranges"),
        excluded=(*spans("exclude"), *_not_for_hosts(v)),
        family=v["gateway"].version,
        prefix=v["prefix"],
        gateway=str(v["gateway"]),
        dns=tuple(map(str, v["dns"])),
        bridge=v["bridge"],
        vlan=v["vlan"],
        reverse_zone=v["reverse_zone"],
    )


def _not_for_hosts(v: dict[str, Any]) -> list[tuple[int, int]]:
    """The gateway, and the first and last address of each IPv4 network: they lie in a range at times, and are never
    given out."""
    gateway, prefix = v["gateway"], v["prefix"]
    never = {int(gateway)}
    for text in v["ranges"]:
        network = ipaddress.ip_network(f"{parse_range(text)[0]}/{prefix}", strict=False)
        if gateway.version == 4 and prefix < 31:
            never |= {int(network.network_address), int(network.broadcast_address)}
        elif gateway.version == 6 and prefix < 127:
            never.add(int(network.network_address))  # the subnet-router anycast address (RFC 4291)
    return [(n, n) for n in sorted(never) if any(int(a) <= n <= int(b) for a, b in map(parse_range, v["ranges"]))]
