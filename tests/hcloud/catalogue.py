"""What a simulated project sells, where, and at what price."""

from __future__ import annotations

from typing import Any

from tests.hcloud import screens

CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/pricing"): {},
    ("GET", "/locations"): {"page": str, "per_page": str, "name": str},
    ("GET", "/server_types"): {"page": str, "per_page": str, "name": str},
}


class Catalogue:
    """Mixed into Project."""

    retired: dict[tuple[str, str], dict[str, str]]
    sold: dict[str, dict[str, bool]]
    types: dict[str, tuple[int, float, int, str]]

    def _page(self, name: str, rows: list[Any], values: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def placed(self, name: str) -> dict[str, Any]:
        raise NotImplementedError

    def _get_server_types(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = [
            {
                "id": n,
                "name": name,
                "cores": c,
                "memory": m,
                "disk": d,
                "architecture": a,
                "locations": [
                    {"id": i, "name": where, "available": there, "deprecation": self.retired.get((name, where))}
                    for i, (where, there) in enumerate(self.sold[name].items())
                ],
                "prices": [
                    {
                        "location": where,
                        "price_monthly": {"net": f"{3 * c}.4900000000", "gross": f"{4 * c}.15"},
                        "included_traffic": 21990232555520,
                    }
                    for where in self.sold[name]
                ],
            }
            for n, (name, (c, m, d, a)) in enumerate(self.types.items())
            if values.get("name") in (None, name)
        ]
        return self._page("server_types", rows, values)

    def _get_locations(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        rows = [self.placed(n) for n in screens.PLACES if values.get("name") in (None, n)]
        return self._page("locations", rows, values)

    def _get_pricing(self, values: dict[str, Any], _: None) -> dict[str, Any]:
        ips = [
            {"type": t, "prices": [{"location": w, "price_monthly": {"net": n, "gross": n}} for w in ("nbg1", "fsn1")]}
            for t, n in (("ipv4", "0.5000000000"), ("ipv6", "0.0000000000"))
        ]
        return {
            "pricing": {
                "currency": "EUR",
                "vat_rate": "19.00",
                "primary_ips": ips,
                "floating_ips": ips[:1],
                "image": {"price_per_gb_month": {"net": "0.0110000000", "gross": "0.01"}},
                "server_backup": {"percentage": "20.00"},
            }
        }
