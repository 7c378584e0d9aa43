"""What tests of reverse DNS ask and say: addresses, names, forms, and what the provider has."""

from __future__ import annotations

import html
import re
from ipaddress import ip_address
from typing import Any

from bridge.customer import dns
from bridge.model import VmRef
from tests.hcloud.network import Ip
from tests.test_iso import Site

V4, V6, NAME = "192.0.2.1", "2001:db8:1::25", "mail.example.com"
NOT_WRITTEN = "This was not written. Save it again, perhaps with another name, or write to us."
WAITING = "Waiting to be written. This goes on by itself."


def save(site: Site, address: str = V4, name: str = NAME, **form: str) -> str:
    return site.submit("rdns", action="save", address=address, name=name, **form)


def records(site: Site) -> dict[str, str]:
    """As the provider has them, by address."""
    own = [site.cloud.primary_ips[i] for i in site.cloud.servers[site.server()].addresses]
    return {str(ip_address(a)): n for ip in own for a, n in ip.ptr.items()}


def floating(number: int, ip: str, label: str, owner: int | None, ptr: dict[str, str] | None = None) -> Ip:
    return Ip(number, f"f{number}", "ipv6" if ":" in ip else "ipv4", ip, owner, {"vmbridge": label}, ptr=ptr or {})


def changes(site: Site) -> list[Any]:
    return [v for m, p, v in site.cloud.calls if p.endswith("/change_dns_ptr")]


def work(site: Site, seconds: float = 0.0) -> int:
    """The worker's turn after some time."""
    site.clock.time += seconds
    return dns.write_due("pve1", site.drivers["pve1"], site.store)


def wishes(site: Site) -> dict[str, str]:
    return {w["address"]: w["name"] for w in site.store.pointer_wishes(1)}


def refs(site: Site) -> VmRef:
    return site.store.service(1).ref


def fields(page: str) -> dict[str, str]:
    """Address -> what stands in its field."""
    return {
        html.unescape(a): html.unescape(n)
        for a, n in re.findall(
            r'name="vmb\[address]" value="([^"]*)">\s*<label class="vmb-field"><span>[^<]*</span>\s*'
            r'<input type="text" name="vmb\[name]" \w+="254" value="([^"]*)"',
            page,
        )
    }


# -- whose addresses ------------------------------------------------------------------------------
