"""One contract for every provider of DNS: simulators as awkward as the real ones, and the real PowerDNS and BIND."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import zones
from bridge.errors import Permanent, Refused, Unknown, UpstreamError, Waiting
from bridge.model import RecordSet
from drivers import folder
from drivers.dns import contract
from drivers.dns.contract import Provider
from tests.dns import servers, sims
from tests.dns.nameserver import Nameserver
from tests.held import HeldClock

ZONE = "113.0.203.in-addr.arpa"
NAME = f"10.{ZONE}"
STRANGE = "0/26.9.0.203.in-addr.arpa"  # a `/` is written otherwise in URLs
SIMS: dict[str, Any] = {
    "powerdns": sims.PowerDns,
    "cloudflare": sims.Cloudflare,
    "hestiacp": sims.Hestia,
    "rfc2136": lambda *z: Nameserver(zones=z),
}


def made(zone: str, settings: dict[str, Any], prepare: Any = None) -> Provider:
    kind = contract.load(settings["provider"])
    values = kind.schema().load({k: v for k, v in settings.items() if k != "provider"})
    return kind(zone, values, HeldClock(), prepare)


def simulated(name: str, zone: str = ZONE) -> tuple[Provider, Any]:
    sim = SIMS[name](zone)
    return made(zone, sim.settings(), sim.mount), sim


@pytest.fixture(scope="module")
def pdns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.PowerDns]:
    with servers.PowerDns(tmp_path_factory.mktemp("pdns"), ZONE, STRANGE) as server:
        yield server


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Bind]:
    with servers.Bind(tmp_path_factory.mktemp("bind"), ZONE, STRANGE) as server:
        yield server


class Contract:
    """What holds for each; a subclass has the fixture `provider`, of ZONE."""

    def test_nothing_is_there_before_and_after(self, provider: Provider) -> None:
        assert provider.get(NAME, "PTR") is None
        provider.remove(NAME, "PTR")
        assert provider.get(NAME, "PTR") is None

    def test_set_change_and_remove(self, provider: Provider) -> None:
        for n in (1, 1, 2):  # a repeat makes nothing double
            wanted = RecordSet(NAME, "PTR", (f"mail{n}.example.com",), 300)
            provider.set(wanted)
            assert provider.get(NAME, "PTR") == wanted
        provider.remove(NAME, "PTR")
        provider.remove(NAME, "PTR")
        assert provider.get(NAME, "PTR") is None

    def test_another_name_and_type_are_left_alone(self, provider: Provider) -> None:
        others = [
            RecordSet(f"110.{ZONE}", "PTR", ("b.example.com",), 300),
            RecordSet(NAME, "TXT", ("something",), 300),
        ]
        for other in others:
            provider.set(other)
        provider.set(RecordSet(NAME, "PTR", ("a.example.com",), 300))
        provider.remove(NAME, "PTR")
        assert [provider.get(o.name, o.type) for o in others] == others
        for other in others:
            provider.remove(other.name, other.type)

    def test_several_values(self, provider: Provider) -> None:
        name = f"web.{ZONE}"
        for values in (("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.3"), ("192.0.2.3",)):
            provider.set(RecordSet(name, "A", values, 300))
            there = provider.get(name, "A")
            assert there
            assert sorted(there.values) == sorted(values)
        provider.set(RecordSet(name, "AAAA", ("2001:db8::1",), 300))
        there = provider.get(name, "AAAA")
        assert there
        assert there.values == ("2001:db8::1",)
        for kind in ("A", "AAAA"):
            provider.remove(name, kind)

    def test_a_check_with_and_without_a_write(self, provider: Provider) -> None:
        assert [f.level for f in provider.check()] == ["ok"]
        assert [f.level for f in provider.check(write_test=True)] == ["ok"]
        assert provider.get(f"{contract.PROBE}.{ZONE}", "TXT") is None

    def test_a_zone_that_is_not_there(self, provider: Provider) -> None:
        other = type(provider)("other.example", {**provider.settings, "zone_id": ""}, HeldClock(), provider._prepare)
        for act in (
            lambda: other.get("a.other.example", "A"),
            lambda: other.set(RecordSet("a.other.example", "A", ("192.0.2.1",), 300)),
        ):
            with pytest.raises(Permanent) as caught:
                act()
            assert caught.value.code in (contract.NO_ZONE, contract.NO_RIGHT)
            assert caught.value.next_action
        [fault] = other.check(write_test=True)
        assert fault.level == "fault"
        assert fault.subject == "dns other.example"
        assert fault.fix


@pytest.mark.parametrize("name", SIMS)
class TestSimulated(Contract):
    @pytest.fixture
    def provider(self, name: str) -> Provider:
        return simulated(name)[0]


@servers.needs_pdns
class TestRealPowerDns(Contract):
    @pytest.fixture
    def provider(self, pdns: servers.PowerDns) -> Provider:
        return made(ZONE, pdns.settings())

    def test_a_zone_with_a_slash_and_what_dig_says(self, pdns: servers.PowerDns) -> None:
        zone = zones.Zone(STRANGE, "powerdns", 300, zones.network_of(STRANGE, ""))
        name = zone.record("203.0.9.13")
        assert name == f"13.{STRANGE}"
        provider = made(STRANGE, pdns.settings())
        provider.set(RecordSet(name, "PTR", ("part.example.com",), 300))
        assert pdns.dig(name) == ["part.example.com"]
        provider.remove(name, "PTR")
        assert pdns.dig(name) == []

    def test_a_copy_of_another_server_is_not_touched(self, pdns: servers.PowerDns) -> None:
        pdns.add("copy.example", "Slave", masters=["192.0.2.53"])
        provider = made("copy.example", pdns.settings())
        with pytest.raises(Permanent) as caught:
            provider.get("a.copy.example", "A")
        assert caught.value.code == contract.READ_ONLY
        assert [f.level for f in provider.check(write_test=True)] == ["fault"]

    def test_what_it_refuses(self, pdns: servers.PowerDns) -> None:
        provider = made(ZONE, pdns.settings())
        with pytest.raises(Permanent) as caught:
            provider.set(RecordSet("a.elsewhere.example", "PTR", ("a.example.com",), 300))
        assert caught.value.code == contract.BAD_VALUE
        wrong = made(ZONE, pdns.settings(api_key="wrong"))
        with pytest.raises(Permanent) as caught:
            wrong.get(NAME, "PTR")
        assert caught.value.code == contract.NO_KEY
        assert "wrong" not in str(caught.value)


@servers.needs_named
class TestRealBind(Contract):
    @pytest.fixture
    def provider(self, bind: servers.Bind) -> Provider:
        return made(ZONE, bind.settings())

    def test_a_zone_with_a_slash_and_what_dig_says(self, bind: servers.Bind) -> None:
        provider = made(STRANGE, bind.settings())
        provider.set(RecordSet(f"13.{STRANGE}", "PTR", ("part.example.com",), 300))
        assert bind.dig(f"13.{STRANGE}") == ["part.example.com"]
        assert provider.nameservers() == ("ns1.example.net",)

    @pytest.mark.parametrize(
        ("more", "codes"),
        [
            ({"key_name": "unknown"}, {contract.NO_KEY}),
            ({"key_secret": "d3JvbmcgIHdyb25nICB3cm9uZw=="}, {contract.NO_KEY}),
            ({"key_name": "stranger"}, {contract.NO_RIGHT}),
        ],
    )
    def test_a_key_that_may_not(self, bind: servers.Bind, more: dict[str, str], codes: set[str]) -> None:
        provider = made(ZONE, bind.settings(**more))
        with pytest.raises(Permanent) as caught:
            provider.set(RecordSet(NAME, "PTR", ("a.example.com",), 300))
        assert caught.value.code in codes
        assert caught.value.next_action
        assert not any(str(v) in str(caught.value) for k, v in provider.settings.items() if k == "key_secret")

    def test_a_name_that_is_kept_in_another_zone(self, bind: servers.Bind, provider: Provider) -> None:
        provider.set(RecordSet(f"77.{ZONE}", "CNAME", (f"77.0/26.{ZONE}",), 300))
        with pytest.raises(Permanent, match="CNAME") as caught:
            provider.set(RecordSet(f"77.{ZONE}", "PTR", ("a.example.com",), 300))
        assert caught.value.code == contract.BAD_VALUE
        assert "range" in caught.value.next_action

    def test_nobody_listens(self, bind: servers.Bind) -> None:
        provider = made(ZONE, bind.settings(port=servers.free_port()))
        with pytest.raises(UpstreamError) as caught:
            provider.set(RecordSet(NAME, "PTR", ("a.example.com",), 300))
        assert caught.value.code == "connection_refused"
        assert caught.value.retryable


# -- faults ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SIMS)
@pytest.mark.parametrize("kind", ["refused", "lost", "broken", "half", "many", "rubbish"])
def test_what_a_fault_means(name: str, kind: str) -> None:
    """A read is asked again; a change that may have been done says so; the rest has done nothing."""
    provider, sim = simulated(name)
    sim.faults = [sims.Fault(kind, 1)]
    with pytest.raises(UpstreamError) as caught:
        provider.get(NAME, "PTR")
    assert caught.value.executed == "no"
    assert caught.value.retryable or (name, kind) == ("rfc2136", "many")
    sim.faults = [sims.Fault(kind, 1, changes=True)]
    with pytest.raises(UpstreamError) as caught:
        provider.set(RecordSet(NAME, "PTR", ("a.example.com",), 300))
    done = sim.values(NAME, "PTR") == ["a.example.com"]
    assert isinstance(caught.value, Unknown) or not done
    assert isinstance(caught.value, Waiting) == (kind == "many" and name != "rfc2136")


@pytest.mark.parametrize("name", SIMS)
def test_no_secret_is_ever_said(name: str) -> None:
    provider, sim = simulated(name)
    secrets = [str(provider.settings[k]) for k in provider.secrets]
    assert secrets
    assert all(s not in repr(provider) for s in secrets)
    said = []
    for kind in ("refused", "lost", "broken", "half", "many", "rubbish"):
        sim.faults = [sims.Fault(kind, 1)]
        with pytest.raises(UpstreamError) as caught:
            provider.get(NAME, "PTR")
        said.append(f"{caught.value} {caught.value.next_action} {caught.value.detail}")
        sim.faults = []
    assert not any(s in text for s in secrets for text in said)


# -- awkwardness of each --------------------------------------------------------------------------
def test_hestia_adds_once_though_a_repeat_would_add_twice() -> None:
    provider, sim = simulated("hestiacp")
    sim.faults = [sims.Fault("lost", 1, changes=True)]
    wanted = RecordSet(NAME, "PTR", ("a.example.com",), 300)
    with pytest.raises(Unknown):
        provider.set(wanted)
    provider.set(wanted)
    assert sim.values(NAME, "PTR") == ["a.example.com"]
    assert len(sim.changes()) == 1
    sim.put(NAME, "PTR", "a.example.com", "a.example.com", "old.example.com")  # as somebody's repeats have left it
    provider.set(RecordSet(NAME, "PTR", ("new.example.com",), 300))
    assert sim.values(NAME, "PTR") == ["new.example.com"]


def test_hestia_restarts_named_once_for_several_commands() -> None:
    provider, sim = simulated("hestiacp")
    sim.put(NAME, "PTR", "one.example.com", "two.example.com", "three.example.com")
    provider.set(RecordSet(NAME, "PTR", ("new.example.com",), 300))
    assert len(sim.changes()) == 3
    assert sim.restarts == 1


def test_hestias_shipped_role_changes_and_neither_adds_nor_deletes() -> None:
    provider, sim = simulated("hestiacp")
    sim.put(NAME, "PTR", "old.example.com")
    sim.role = ["v-list-dns-records", "v-change-dns-record"]
    provider.set(RecordSet(NAME, "PTR", ("new.example.com",), 300))
    assert sim.values(NAME, "PTR") == ["new.example.com"]
    for act in (
        lambda: provider.remove(NAME, "PTR"),
        lambda: provider.set(RecordSet(f"11.{ZONE}", "PTR", ("b.example.com",), 300)),
    ):
        with pytest.raises(Permanent, match="role") as caught:
            act()
        assert caught.value.code == contract.NO_RIGHT
        assert "v-add-dns-record" in caught.value.next_action
    [ok, role] = provider.check()
    assert (ok.level, role.level) == ("ok", "fault")
    assert "v-add-dns-record, v-delete-dns-record" in role.text
    assert "update-dns-records" in role.fix
    sim.role = sim.COMMANDS
    assert [f.level for f in provider.check()] == ["ok"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1, contract.BAD_VALUE),
        (2, contract.BAD_VALUE),
        (3, contract.NO_ZONE),
        (5, "zone_suspended"),
        (8, "zone_full"),
        (9, contract.NO_KEY),
        (10, contract.NO_RIGHT),
        (11, "api_disabled"),
        (13, "provider_fault"),
        (20, "provider_fault"),
        (12, "upstream_refused"),
    ],
)
def test_hestias_exit_codes(code: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, sim = simulated("hestiacp")
    real = sim._command
    monkeypatch.setattr(sim, "_command", lambda c, v: code if c == "v-add-dns-record" else real(c, v))
    with pytest.raises(UpstreamError) as caught:
        provider.set(RecordSet(NAME, "PTR", ("a.example.com",), 300))
    assert caught.value.code == expected
    assert str(code) in caught.value.detail


def test_a_record_of_hestias_that_vanishes_before_its_change() -> None:
    provider, sim = simulated("hestiacp")
    sim.put(NAME, "PTR", "old.example.com")
    sim.faults = [sims.Fault(lambda: sim.put(NAME, "PTR"), 1, changes=True)]
    provider.set(RecordSet(NAME, "PTR", ("new.example.com",), 300))
    assert sim.values(NAME, "PTR") == ["new.example.com"]


def test_cloudflare_finds_what_a_lost_reply_has_made() -> None:
    provider, sim = simulated("cloudflare")
    wanted = RecordSet(NAME, "PTR", ("a.example.com",), 300)
    sim.faults = [sims.Fault("lost", 1, changes=True)]
    with pytest.raises(Unknown):
        provider.set(wanted)
    provider.set(wanted)
    assert sim.values(NAME, "PTR") == ["a.example.com"]
    assert len(sim.changes()) == 1
    # somebody adds it between our look and our change: identical is done
    provider.remove(NAME, "PTR")
    sim.faults = [sims.Fault(lambda: sim.put(NAME, "PTR", "a.example.com"), 1, changes=True)]
    provider.set(wanted)
    assert sim.values(NAME, "PTR") == ["a.example.com"]
    # removed between look and change
    sim.faults = [sims.Fault(lambda: sim.put(NAME, "PTR"), 1, changes=True)]
    provider.set(RecordSet(NAME, "PTR", ("b.example.com",), 300))
    assert sim.values(NAME, "PTR") == ["b.example.com"]
    sim.faults = [sims.Fault(lambda: sim.put(NAME, "PTR"), 1, changes=True)]
    provider.remove(NAME, "PTR")
    assert sim.values(NAME, "PTR") == []


def test_cloudflare_never_proxies_and_keeps_within_its_times() -> None:
    provider, sim = simulated("cloudflare")
    name = f"web.{ZONE}"
    sim._add(sims.Record("", "A", name, "192.0.2.1", 1, proxied=True))
    provider.set(RecordSet(name, "A", ("192.0.2.1",), 60))
    [row] = sim.records.values()
    assert (row.proxied, row.ttl, row.comment) == (False, 120, contract.MARK)


def test_cloudflares_zone_by_id_a_copy_and_a_token_that_cannot_edit() -> None:
    sim = sims.Cloudflare(ZONE)
    provider = made(ZONE, sim.settings(zone_id=f"{1:032x}"), sim.mount)
    provider.set(RecordSet(NAME, "PTR", ("a.example.com",), 300))
    assert sim.values(NAME, "PTR") == ["a.example.com"]
    sim.rights = ["#dns_records:read"]
    assert [f.level for f in provider.check()] == ["ok", "fault"]
    with pytest.raises(Permanent) as caught:
        provider.remove(NAME, "PTR")
    assert caught.value.code == contract.NO_RIGHT
    sim.kind = "secondary"
    for more in ({}, {"zone_id": f"{1:032x}"}):
        with pytest.raises(Permanent) as caught:
            made(ZONE, sim.settings(**more), sim.mount).get(NAME, "PTR")
        assert caught.value.code == contract.READ_ONLY


def test_one_that_asks_us_to_wait_says_how_long() -> None:
    provider, sim = simulated("powerdns")
    sim.faults = [sims.Fault("many", 1)]
    with pytest.raises(Waiting) as caught:
        provider.get(NAME, "PTR")
    assert caught.value.retry_after == 60.0
    provider, sim = simulated("cloudflare")
    sim.faults = [sims.Fault("many", 1)]
    with pytest.raises(Waiting) as caught:
        provider.get(NAME, "PTR")
    assert caught.value.retry_after == 300.0


def test_providers_are_found_by_name_and_are_no_machines() -> None:
    assert contract.names() == ["cloudflare", "hestiacp", "powerdns", "rfc2136"]
    assert "dns" not in folder.names()
    assert folder.names() == ["hetzner", "proxmox"]
    with pytest.raises(Refused, match="found: cloudflare, hestiacp, powerdns, rfc2136"):
        contract.load("bind")


# -- names ----------------------------------------------------------------------------------------
def zone(name: str, said: str = "") -> zones.Zone:
    return zones.Zone(name, "powerdns", 300, zones.network_of(name, said))


@given(st.ip_addresses(), st.integers(1, 31))
def test_names_of_addresses_are_those_of_the_standard_library(address: Any, labels: int) -> None:
    whole = address.reverse_pointer
    parts = whole.split(".")
    size = len(parts) - 2
    labels = min(labels, size) - 1  # none: a zone for the one address, which is its own record's name
    own = ".".join(parts[labels:])
    made = zone(own)
    assert made.network
    assert address in made.network
    assert made.record(str(address)) == whole
    assert made.network.prefixlen == (size - labels) * (8 if address.version == 4 else 4)
    assert zones.zone_of(str(address), [zone(".".join(parts[size - 1 :])), made]) in (
        made,
        zone(".".join(parts[size - 1 :])),
    )


@given(st.ip_addresses(v=4), st.integers(25, 32), st.sampled_from(["slash", "hyphen", "span", "own"]))
def test_names_in_a_part_of_a_network(address: Any, prefix: int, spelling: str) -> None:
    """RFC 2317: whatever the zone is called, the record is the address's last octet in it."""
    first = int(address) & ~(2 ** (32 - prefix) - 1)
    network = f"{ip_address(first)}/{prefix}"
    octet, above = first & 255, ".".join(str(ip_address(first).reverse_pointer).split(".")[1:])
    label = {
        "slash": f"{octet}/{prefix}",
        "hyphen": f"{octet}-{prefix}",
        "span": f"{octet}-{octet + 2 ** (32 - prefix) - 1}",
        "own": "customers",
    }[spelling]
    part, around = zone(f"{label}.{above}", network), zone(above)
    assert part.record(str(address)) == f"{int(address) & 255}.{label}.{above}"
    assert zones.zone_of(str(address), [around, part]) is part
    assert around.record(str(address)) == address.reverse_pointer
    other = str(ip_address(first ^ (1 << (32 - prefix))))  # the neighbour, in the same /24
    assert zones.zone_of(other, [around, part]) is around
    if spelling == "slash":
        assert zone(f"{label}.{above}").network == part.network


@given(st.ip_addresses(v=6), st.integers(1, 128))
def test_parts_of_ipv6_networks_at_any_bit(address: Any, prefix: int) -> None:
    """A part that ends inside a nibble: the record has the labels from that nibble on, in a zone of any name."""
    network = IPv6Network((int(address) >> 128 - prefix << 128 - prefix, prefix))
    labels = str(address.reverse_pointer).split(".")
    whole, kept = prefix // 4, max(1, 32 - prefix // 4)
    above = ".".join(labels[32 - min(whole, 31) :])
    part, around = zone(f"customers.{above}", str(network)), zone(above)
    assert part.record(str(address)) == ".".join([*labels[:kept], "customers", above])
    assert zones.zone_of(str(address), [around, part]) is part
    assert around.record(str(address)) == address.reverse_pointer


def test_names_that_a_rule_gives() -> None:
    rule = "{ip_dashed}.static.example.com"
    for address in ("203.0.113.9", "2001:db8::1"):
        assert zones.is_default(rule, zones.default_name(rule, address, "", 1, 1))
    for name in ("shop.static.example.com", "203-0-113.static.example.com", "203-0-113-9-7.static.example.com"):
        assert not zones.is_default(rule, name)
    assert not zones.is_default("", "a.example.com")
    assert not zones.is_default("{domain}", "203-0-113-9.example.com")
    assert zones.is_default("c{client_id}-{ip_dashed}.example.com", "c7-203-0-113-9.example.com")


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("0-63.113.0.203.in-addr.arpa", "203.0.113.0/26"),
        ("0-26.113.0.203.in-addr.arpa", "203.0.113.0/26"),
        ("64-127.113.0.203.in-addr.arpa", "203.0.113.64/26"),
        ("64-26.113.0.203.in-addr.arpa", "203.0.113.64/26"),
        ("in-addr.arpa", "0.0.0.0/0"),
        ("8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::/32"),
        ("example.com", None),
    ],
)
def test_which_addresses_a_zone_is_for(name: str, network: str | None) -> None:
    assert str(zones.network_of(name, "")) == str(network)


@pytest.mark.parametrize(
    "name", ["0-31.113.0.203.in-addr.arpa", "1/26.113.0.203.in-addr.arpa", "x.113.0.203.in-addr.arpa"]
)
def test_a_name_that_does_not_say_it_needs_a_range(name: str) -> None:
    with pytest.raises(ValueError, match="range"):
        zones.network_of(name, "")
    assert str(zones.network_of(name, "203.0.113.0/27")) == "203.0.113.0/27"
    with pytest.raises(ValueError, match="not inside the zone"):
        zones.network_of(name, "203.0.114.0/27")


def test_what_of_a_span_no_zone_holds() -> None:
    parts = [zone("0/26.113.0.203.in-addr.arpa"), zone("128/25.113.0.203.in-addr.arpa")]
    first, last = int(ip_address("203.0.113.10")), int(ip_address("203.0.113.250"))
    hole = zones.uncovered(first, last, 4, parts)
    assert hole
    assert tuple(str(ip_address(n)) for n in hole) == ("203.0.113.64", "203.0.113.127")
    assert zones.uncovered(first, last, 4, [*parts, zone(ZONE)]) is None
    assert zones.uncovered(first, last, 4, []) == (first, last)
