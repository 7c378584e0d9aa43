"""What the provider sells, where, and for how much. Prices stay texts: they have more digits than a float."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.model import Offer, Offers
from drivers.hetzner.api import Api

MONTH = "price_monthly"


def offers(api: Api) -> Offers:
    pricing = api.get("/pricing")["pricing"]
    rows = [o for kind in api.pages("/server_types", "server_types") for o in _offers(kind)]
    return Offers(
        str(pricing["currency"]),
        tuple(sorted(rows, key=lambda o: (o.cores, o.ram_gib, o.name, o.location))),
        tuple(_extras(pricing)),
    )


def _offers(kind: Mapping[str, Any]) -> Iterator[Offer]:
    prices = {p["location"]: p for p in kind["prices"]}
    for place in kind["locations"]:
        price = prices.get(place["name"])
        retired = str((place.get("deprecation") or {}).get("unavailable_after") or "")[:10]
        yield Offer(
            kind["name"],
            place["name"],
            float(kind["cores"]),
            float(kind["memory"]),
            int(kind["disk"]),
            bool(place["available"]),
            retired,
            trimmed(price[MONTH]["net"]) if price else "",
            int(price["included_traffic"]) if price else 0,
        )


def _extras(pricing: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for what, label in (("primary_ips", "address"), ("floating_ips", "floating address")):
        for row in pricing[what]:
            prices = sorted({trimmed(p[MONTH]["net"]) for p in row["prices"]}, key=float)
            yield (
                f"{row['type'].replace('ip', 'IP')} {label}",
                " to ".join(dict.fromkeys((prices[0], prices[-1]))) if prices else "",
            )
    yield "snapshots, for each GB", trimmed(pricing["image"]["price_per_gb_month"]["net"])
    yield "backups, % of the server's price", trimmed(pricing["server_backup"]["percentage"])


def trimmed(price: str) -> str:
    """Without the zeros at its end, with two digits at least."""
    whole, _, part = str(price).partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"
