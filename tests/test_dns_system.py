"""Reverse DNS with everything as processes: WHMCS-like host, shim, `vmbridge serve` and a real PowerDNS."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.dns.servers import PowerDns, needs_pdns
from tests.system import System

pytestmark = needs_pdns
REVERSE, REVERSE6, STATIC = "113.0.203.in-addr.arpa", "0.4.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "static.example.com"
SERVICE = 1042


@pytest.fixture(scope="module")
def pdns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    with PowerDns(tmp_path_factory.mktemp("pdns"), REVERSE, REVERSE6, STATIC) as server:
        yield server


@pytest.fixture(scope="module")
def system(pdns: PowerDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    more = pdns.tables(REVERSE, REVERSE6, STATIC)
    with System(tmp_path_factory.mktemp("system"), speed=0.1, more=more) as running:
        yield running


def ended(s: System, kind: str) -> Any:
    op = s.operation(SERVICE)
    return op if op and op["kind"] == kind and op["state"] == "done" else None


def see(s: System) -> str:
    return requests.get(f"{s.page(SERVICE)}&vmb[page]=rdns", timeout=30).text


def test_what_the_page_says_is_what_the_name_server_answers(system: System, pdns: PowerDns, tmp_path: Path) -> None:
    assert system.order(SERVICE) == "success"
    system.wait_for(lambda: ended(system, "create"), 60, "the create")
    page = system.wait_for(lambda: (p := see(system)).count("Waiting to be written") == 0 and p, 30, "the names")
    rows = system.state()["services"][str(SERVICE)]
    main = str(rows["properties"]["Dedicated IP"])
    default = f"{main.replace('.', '-')}.{STATIC}"
    assert "DNS changes take 1-8 hours to propagate across servers." in page
    assert f'value="{default}"' in page
    system.wait_for(lambda: pdns.dig(default, "A") == [main], 30, "the name's own record")
    assert pdns.dig(main) == [default]
    own = [a for a in (line.split('"')[0] for line in page.split('name="vmb[address]" value="')[1:])]
    assert len(own) == 3  # an extra IPv4 and an IPv6 beside it
    for n, address in enumerate(own):
        assert system.submit(SERVICE, "rdns", "save", address=address, name=f"m{n}.customer.example").status_code == 303
    for n, address in enumerate(own):
        system.wait_for(lambda a=address, n=n: pdns.dig(a) == [f"m{n}.customer.example"], 30, f"the name of {address}")
        assert f'value="m{n}.customer.example"' in see(system)
        assert ip_address(address)
    assert system.module(SERVICE, "TerminateAccount") == "success"
    system.wait_for(lambda: not any(pdns.dig(a) for a in own), 60, "the end of the names")
    system.wait_for(lambda: pdns.dig(default, "A") == [], 30, "the end of its own record")
