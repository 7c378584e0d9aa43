"""Reverse and forward DNS with everything as processes: WHMCS-like host, shim, `vmbridge serve`, a real PowerDNS, a
real BIND and a department of WHMCS's support, each for some zones."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.dns.servers import Bind, PowerDns, needs_named, needs_pdns
from tests.system import System

pytestmark = [needs_pdns, needs_named]
REVERSE, REVERSE6, STATIC = "113.0.203.in-addr.arpa", "0.4.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "static.example.com"
BY_HAND, FORWARD = f"11.{REVERSE}", "vps.example.com"  # one address, whose names a person writes; servers' names
SERVICE = 1042
WAITING, ASKED = "Waiting to be written", "Requested on"


@pytest.fixture(scope="module")
def pdns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDns]:
    with PowerDns(tmp_path_factory.mktemp("pdns"), REVERSE, STATIC) as server:
        yield server


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    with Bind(tmp_path_factory.mktemp("bind"), REVERSE6, FORWARD) as server:
        yield server


@pytest.fixture(scope="module")
def system(pdns: PowerDns, bind: Bind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    more = pdns.tables(REVERSE, STATIC)
    for zone, settings in (
        (REVERSE6, bind.settings()),
        (FORWARD, bind.settings()),
        (BY_HAND, {"provider": "ticket", "department": "technical support"}),
    ):
        more += "\n".join([f'[dns."{zone}"]', *(f"{k} = {json.dumps(v)}" for k, v in settings.items()), ""])
    with System(tmp_path_factory.mktemp("system"), speed=0.1, more=more) as running:
        yield running


class Customer:
    """The customer of one service at its page of names."""

    def __init__(self, system: System, pdns: PowerDns, bind: Bind) -> None:
        self.s, self.pdns, self.bind = system, pdns, bind

    def page(self) -> str:
        return requests.get(f"{self.s.page(SERVICE)}&vmb[page]=rdns", timeout=30).text

    def fields(self) -> dict[str, str]:
        """Address -> what stands in its field."""
        rows = re.findall(
            r'name="vmb\[address]" value="([^"]*)".*?name="vmb\[name]"[^>]*? value="([^"]*)"', self.page(), re.S
        )
        return {html.unescape(a): html.unescape(n) for a, n in rows}

    def save(self, address: str, name: str) -> None:
        assert self.s.submit(SERVICE, "rdns", "save", address=address, name=name).status_code == 303

    def answer(self, address: str) -> list[str]:
        return (self.bind if ":" in address else self.pdns).dig(address)

    def agree(self, *but: str) -> Callable[[], bool]:
        """What the page says of each address is what its name server answers, and nothing waits."""

        def look() -> bool:
            page = self.page()
            given = {a: n for a, n in self.fields().items() if a not in but}
            return WAITING not in page and all(self.answer(a) == ([n] if n else []) for a, n in given.items())

        return look

    def after(self, action: str, kind: str) -> None:
        assert self.s.module(SERVICE, action) == "success"
        self.s.wait_for(lambda: self.s.operation(SERVICE).get("kind") == kind, 60, f"the beginning of {kind}")
        self.s.wait_for(lambda: self.s.operation(SERVICE).get("state") == "done", 60, f"the end of {kind}")


def test_what_the_page_says_is_what_the_name_servers_answer(system: System, pdns: PowerDns, bind: Bind) -> None:
    """For every verb: create, save, clear, suspend, reinstall, rename, terminate."""
    assert system.order(SERVICE, domain=f"shop.{FORWARD}") == "success"
    system.wait_for(lambda: system.operation(SERVICE).get("state") == "done", 60, "the create")
    customer = Customer(system, pdns, bind)
    by_hand = "203.0.113.11"
    system.wait_for(customer.agree(by_hand), 60, "the names")
    assert "DNS changes take 1-8 hours to propagate across servers." in customer.page()
    own = list(customer.fields())
    [main, v6] = [a for a in own if a != by_hand]
    assert len(own) == 3  # an extra IPv4 and an IPv6 beside it
    default = f"{main.replace('.', '-')}.{STATIC}"
    assert customer.fields()[main] == default
    system.wait_for(lambda: pdns.dig(default, "A") == [main], 30, "the name's own record")
    system.wait_for(lambda: bind.dig(f"shop.{FORWARD}", "A") == [main], 30, "the server's name")
    system.wait_for(lambda: bind.dig(f"shop.{FORWARD}", "AAAA") == [v6], 30, "and its IPv6")
    for n, address in enumerate((main, v6)):
        customer.save(address, f"m{n}.customer.example")
    system.wait_for(customer.agree(by_hand), 30, "the customer's names")
    assert [customer.fields()[a] for a in (main, v6)] == ["m0.customer.example", "m1.customer.example"]
    customer.save(main, "")
    system.wait_for(customer.agree(by_hand), 30, "the default name again")
    assert customer.fields()[main] == default
    before = {a: customer.answer(a) for a in (main, v6)}
    for action, kind in (("SuspendAccount", "suspend"), ("UnsuspendAccount", "unsuspend")):
        customer.after(action, kind)
        assert {a: customer.answer(a) for a in before} == before
    form = {"template": "debian-12", "confirm": "REINSTALL"}
    assert system.submit(SERVICE, "reinstall", "reinstall", **form).status_code == 303
    system.wait_for(lambda: system.operation(SERVICE).get("kind") == "reinstall", 60, "the beginning")
    system.wait_for(lambda: system.operation(SERVICE).get("state") == "done", 60, "the reinstall")
    assert {a: customer.answer(a) for a in before} == before
    system.post("/test/edit", {"serviceid": SERVICE, "domain": f"store.{FORWARD}"})
    system.wait_for(lambda: bind.dig(f"store.{FORWARD}", "AAAA") == [v6], 60, "the new name")
    system.wait_for(lambda: bind.dig(f"shop.{FORWARD}", "ANY") == [], 30, "the end of the old one")
    assert bind.dig(f"store.{FORWARD}", "A") == [main]
    system.wait_for(lambda: system.operation(SERVICE).get("state") == "done", 60, "the rename")
    ticket(system, customer, by_hand)
    assert system.module(SERVICE, "TerminateAccount") == "success"
    system.wait_for(lambda: not any(customer.answer(a) for a in own), 60, "the end of the names")
    system.wait_for(lambda: pdns.dig(default, "A") == [], 30, "the end of its own record")
    system.wait_for(lambda: bind.dig(f"store.{FORWARD}", "ANY") == [], 30, "the end of the server's name")


def ticket(system: System, customer: Customer, address: str) -> None:
    """One open request, whatever is saved, until staff closes it."""

    def said() -> list[list[str]]:
        return [[r["message"].partition(" of ")[2] for r in t["replies"]] for t in system.state().get("tickets", [])]

    customer.save(address, "by.hand.example")
    system.wait_for(lambda: ASKED in customer.page(), 60, "the ticket")
    customer.save(address, "by.hand.example")
    customer.save(address, "other.hand.example")
    wanted = [f"{address} to by.hand.example.", f"{address} to other.hand.example."]
    system.wait_for(lambda: said() == [wanted], 60, "the reply")
    assert customer.fields()[address] == "other.hand.example"
    assert [(t["deptid"], t["status"]) for t in system.state()["tickets"]] == [("3", "Customer-Reply")]
