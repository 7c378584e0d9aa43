"""Reverse DNS in process: whose addresses, which names, and what is said of others."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.customer import direct, dns
from bridge.errors import BadRequest, NotOurs, Refused
from bridge.model import Pointer
from tests import looks
from tests.hcloud.project import Fault
from tests.pointers import (
    NAME,
    V4,
    V6,
    changes,
    fields,
    floating,
    records,
    refs,
    save,
    wishes,
    work,
)
from tests.test_iso import Site, alert, words


def test_what_the_driver_reads(site: Site) -> None:
    assert site.drivers["pve1"].pointers(refs(site)).records == (Pointer(V4, "static.example"),)
    first, second = (site.cloud.primary_ips[i] for i in site.cloud.servers[site.server()].addresses)
    first.ptr, second.ptr = {V4: NAME}, {"2001:DB8:1:0::A": "a.example.com", "2001:db8:1::9": "b.example.com"}
    uuid = site.store.service(1).uuids[0]
    site.cloud.floating_ips = {
        1: floating(1, "198.51.100.7", uuid, site.server(), {"198.51.100.7": "f.example.com"}),
        2: floating(2, "2001:db8:f::/64", uuid, None, {"2001:db8:f::1": "f6.example.com"}),
        3: floating(3, "198.51.100.9", "somebody", site.server()),
    }
    pointers = site.drivers["pve1"].pointers(refs(site))
    assert pointers.networks == ("2001:db8:1::/64", "2001:db8:f::/64")
    assert pointers.takes == (60.0, 600.0)
    assert [(p.address, p.name) for p in pointers.records] == [
        (V4, NAME),
        ("2001:db8:1::9", "b.example.com"),
        ("2001:db8:1::a", "a.example.com"),
        ("198.51.100.7", "f.example.com"),
        ("2001:db8:f::1", "f6.example.com"),
    ]


def test_a_server_without_ipv6_or_without_ipv4(site: Site) -> None:
    shown = site.cloud._public_net
    for gone, address, there in (("ipv6", V4, True), ("ipv6", V6, False), ("ipv4", V6, True), ("ipv4", V4, False)):
        site.cloud._public_net = lambda server, gone=gone: {**shown(server), gone: None}
        if there:
            site.drivers["pve1"].set_pointer(refs(site), address, f"{gone}.example.com")
        else:
            with pytest.raises(Refused):
                site.drivers["pve1"].set_pointer(refs(site), address, NAME)
        site.clock.time += 5
    assert len(changes(site)) == 2


@pytest.mark.parametrize(
    "address",
    ["192.0.2.2", "2001:db8:2::1", "127.0.0.1", "::ffff:192.0.2.1", "203.0.113.9", "2001:db8:1:1::1", "198.51.100.9"],
)
def test_an_address_of_somebody_else(site: Site, address: str) -> None:
    site.cloud.floating_ips = {3: floating(3, "198.51.100.9", "somebody", site.server())}
    for form in ({}, {"remove": "1"}):
        assert save(site, address, **form) == f"{dns.address_of(address)} is not an address of your server."
    assert changes(site) == []
    assert wishes(site) == {}
    with pytest.raises(Refused, match="not an address"):
        site.drivers["pve1"].set_pointer(refs(site), address, NAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail.example.com",
        "192.0.2",
        "192.0.2.0/24",
        "2001:db8:1::/64",
        "2001:db8:1::1%eth0",
        "192.0.2.1 192.0.2.2",
        "1" * 60,
    ],
)
def test_what_is_no_address_costs_no_call(site: Site, text: str) -> None:
    site.see("rdns")
    site.cloud.calls.clear()
    assert save(site, text).startswith("Address: “")
    assert site.cloud.calls == []
    assert wishes(site) == {}
    assert "Address: at most 64 characters." in save(site, "1" * 65)


def test_any_spelling_is_the_same_address(site: Site) -> None:
    for address in ("2001:0DB8:0001::25", "2001:db8:1:0:0:0:0:25", V6):
        assert save(site, address) == ""
    assert changes(site) == [{"ip": V6, "dns_ptr": NAME}]
    assert records(site) == {V6: NAME}


def test_another_label_is_not_ours(site: Site) -> None:
    site.cloud.servers[site.server()].labels = {"vmbridge": "somebody"}
    assert save(site) == direct.NOT_TAKEN
    assert direct.FOREIGN in site.see("rdns")
    assert changes(site) == []
    assert wishes(site) == {}
    with pytest.raises(NotOurs):
        site.drivers["pve1"].set_pointer(refs(site), V4, NAME)


# -- which names ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (NAME, NAME),
        ("mail.example.com.", NAME),
        ("Mail.Example.COM", "Mail.Example.COM"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.2.3.example.com", "1.2.3.example.com"),
        (f"{'a' * 63}.example.com", f"{'a' * 63}.example.com"),
        (".".join(["a" * 49] * 5) + ".ab", ".".join(["a" * 49] * 5) + ".ab"),
        (".".join(["a" * 49] * 5) + ".abc", ".".join(["a" * 49] * 5) + ".abc"),
        ("", ""),
    ],
)
def test_host_names(text: str, name: str) -> None:
    assert dns.name_of(V4, text) == name


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        ".",
        "..",
        "mail..example.com",
        "mail.example.com..",
        "-mail.example.com",
        "mail-.example.com",
        "ma_il.example.com",
        "bü cher.example",
        "bü..example",
        "localhöst.7",
        "mail.example.com/x",
        "*.example.com",
        f"{'a' * 64}.example.com",
        "192.0.2.1",
        "mail example.com",
        "mail.example.com\n.",
        ".".join(["a" * 49] * 5) + ".abcd",
    ],
)
def test_what_is_no_host_name_is_named_and_kept(site: Site, text: str) -> None:
    with pytest.raises(
        BadRequest,
        match=r"(?s)Host name of 192.0.2.1: .* cannot be one. Please write one like mail.example.com: letters, digits",
    ):
        dns.name_of(V4, text)
    told = save(site, name=text)
    assert told.startswith("Host name of 192.0.2.1: ")
    assert changes(site) == []
    assert wishes(site) == {}
    page = site.send("rdns", action="save", address=V4, name=text).json["html"]
    assert fields(page)[V4] == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("faß.example.", "xn--fa-hia.example"),
        ("例え.example", "xn--r8jz45g.example"),
        ("mail。example。com", "mail.example.com"),
    ],
)
def test_a_name_in_other_letters_is_told_as_dns_has_it(text: str, written: str) -> None:
    with pytest.raises(BadRequest, match=f"as {written}. Please write it like that"):
        dns.name_of(V4, text)
    assert dns.name_of(V4, written) == written


def test_too_long_a_name_and_an_added_record_without_one(site: Site) -> None:
    assert save(site, name="a" * 255) == "Host name of 192.0.2.1: at most 254 characters."
    assert save(site, V6, "", network="2001:db8:1::/64").startswith("Host name: please write one")
    assert changes(site) == []
    page = site.send("rdns", action="save", address=f"{V6}x", name=NAME, network="2001:db8:1::/64").json["html"]
    assert f'value="{V6}x"' in page
    assert f'value="{NAME}"' in page
    assert changes(site) == []


def test_a_name_that_the_provider_does_not_take_stays_in_its_field(site: Site) -> None:
    site.cloud.refuses_names = "example"
    page = site.send("rdns", action="save", address=V4, name=NAME).json["html"]
    assert alert(page) == f"{V4}: this name is not accepted. Please choose another one."
    assert fields(page)[V4] == NAME
    assert wishes(site) == {}
    assert work(site, 1000) == 0


@pytest.mark.parametrize("code", ["forbidden", "unauthorized", "not_found", "resource_limit_exceeded"])
def test_what_the_provider_refuses_is_told_in_our_words(site: Site, code: str) -> None:
    site.cloud.faults = [Fault("POST .*", code)]
    page = site.send("rdns", action="save", address=V4, name=NAME).json["html"]
    assert alert(page) == (direct.LIMITED if code == "resource_limit_exceeded" else direct.NOT_TAKEN)
    assert fields(page)[V4] == NAME
    assert code not in words(page)
    assert wishes(site) == {}
    [link] = [a for a in looks.read(page).find("a") if "Open a ticket" in a.text]
    told = {k: v[0] for k, v in parse_qs(urlsplit(link.at["href"]).query).items()}
    [reference] = re.findall(r"Reference (\w+)\.", looks.read(page).text)
    assert told["subject"] == "PTR records: a change was refused. (vm-1042.example.com)"
    assert told["message"].startswith(f"Service 1042, reference {reference}.")


# -- the page -------------------------------------------------------------------------------------
