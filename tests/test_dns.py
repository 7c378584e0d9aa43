"""Reverse and forward DNS end to end: from the order or the customer's page to what a real name server answers."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.dns.servers import PowerDns, needs_pdns
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned

pytestmark = needs_pdns
RULE = f"{{ip_dashed}}.{STATIC}"
NAME = "mail.customer.example"
WAITING = "Waiting to be written. This goes on by itself."


@pytest.fixture(scope="module")
def pdns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    with PowerDns(tmp_path_factory.mktemp("pdns"), REVERSE, REVERSE6, STATIC, "vps.example.com") as server:
        yield server


def clear(pdns: PowerDns) -> None:
    """As it was set up: names of other tests go."""
    for zone in (REVERSE, REVERSE6, STATIC, "vps.example.com"):
        sets = pdns.call("GET", f"/zones/{zone}.").json()["rrsets"]
        gone = [
            {"name": s["name"], "type": s["type"], "changetype": "DELETE"}
            for s in sets
            if s["type"] not in ("SOA", "NS")
        ]
        if gone:
            assert pdns.call("PATCH", f"/zones/{zone}.", json={"rrsets": gone}).status_code == 204


@pytest.fixture
def world(pdns: PowerDns, tmp_path: Path) -> Iterator[Zoned]:
    clear(pdns)
    zones: dict[str, Any] = {z: pdns.settings() for z in (REVERSE, REVERSE6, STATIC, "vps.example.com")}
    made = Zoned(tmp_path, zones, ptr_name=RULE, forward_zone="vps.example.com", extra_ipv4=1)
    yield made
    made.close()


def default(address: str) -> str:
    return f"{ip_address(address).exploded.replace('.', '-').replace(':', '-')}.{STATIC}"


def test_from_the_order_to_the_answer(world: Zoned, pdns: PowerDns) -> None:
    world.order("create")
    world.run()
    own = world.addresses()
    assert len(own) == 3
    assert world.write() > 0
    for address in own:
        assert pdns.dig(address) == [default(address)]
        assert pdns.dig(default(address), "AAAA" if ":" in address else "A") == [address]
    assert pdns.dig("vm-1042.vps.example.com", "A") == [own[0]]
    assert pdns.dig("vm-1042.vps.example.com", "AAAA") == [a for a in own if ":" in a]
    assert world.fields() == {a: default(a) for a in own}
    assert "DNS changes take 1-8 hours to propagate across servers." in world.words()


def test_from_the_page_to_the_answer_and_to_nothing(world: Zoned, pdns: PowerDns) -> None:
    world.order("create")
    world.run()
    world.write()
    own = world.addresses()
    for n, address in enumerate(own):
        assert world.save(address, f"{n}.{NAME}") == ""
    assert world.words().count(WAITING) == 3
    assert pdns.dig(own[0]) == [default(own[0])]
    world.write()
    assert WAITING not in world.words()
    for n, address in enumerate(own):
        assert pdns.dig(address) == [f"{n}.{NAME}"]
        assert world.fields()[address] == f"{n}.{NAME}"
    assert world.save(own[0], "") == ""
    assert world.write() == 1
    assert pdns.dig(own[0]) == [default(own[0])]
    assert world.fields()[own[0]] == default(own[0])
    world.order("terminate")
    world.run()
    world.write()
    for address in own:
        assert pdns.dig(address) == []
        assert pdns.dig(default(address), "ANY") == []
    assert pdns.dig("vm-1042.vps.example.com", "A") == []
    assert world.store.rows("SELECT * FROM dns_records") == []
