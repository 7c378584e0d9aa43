"""What zones and providers have that is no plain record: wildcards, CNAMEs, proofs, copies, limits, keys, and answers
that mean something else than they say. The simulators first, then the real servers with the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import dns.exception
import dns.message
import dns.rcode
import dns.resolver
import dns.tsig
import pytest

from bridge.dns import lookup
from bridge.errors import Permanent, Transient, Unknown, UpstreamError, Waiting
from bridge.model import RecordSet
from drivers.dns import contract
from drivers.dns.contract import Provider
from tests.dns import servers, sims
from tests.test_dns_providers import NAME, SIMS, ZONE, made, simulated

WANTED = RecordSet(NAME, "PTR", ("mail.example.com",), 300)
FORWARD = "vps.example.com"


def refused(provider: Provider, wanted: RecordSet = WANTED) -> UpstreamError:
    """What looking and setting ends with, as the worker does both."""
    with pytest.raises(UpstreamError) as caught:
        provider.set(wanted, provider.get(wanted.name, wanted.type) or RecordSet(wanted.name, wanted.type, (), 0))
    assert caught.value.sentence
    return caught.value


# -- names that are answered and do not stand there -----------------------------------------------
@pytest.mark.parametrize("name", SIMS)
def test_a_wildcard_is_nobodys_record(name: str) -> None:
    provider, sim = simulated(name)
    sim.put(f"*.{ZONE}", "PTR", "any.example.net")
    assert provider.get(NAME, "PTR") is None
    provider.set(WANTED)
    assert provider.get(NAME, "PTR") == WANTED
    provider.remove(NAME, "PTR")
    assert provider.get(NAME, "PTR") is None
    assert sim.values(f"*.{ZONE}", "PTR") == ["any.example.net"]


@pytest.mark.parametrize("name", ["powerdns", "cloudflare", "rfc2136"])
def test_a_cname_at_the_name_is_refused_and_stays(name: str) -> None:
    provider, sim = simulated(name)
    sim.put(NAME, "CNAME", f"10.0/26.{ZONE}")
    assert refused(provider).code == contract.BAD_VALUE
    assert sim.values(NAME, "CNAME") == [f"10.0/26.{ZONE}"]
    assert sim.values(NAME, "PTR") == []


def test_names_that_lead_elsewhere_are_told_one_by_one() -> None:
    """The rest of the zone goes on."""
    provider, sim = simulated("rfc2136")
    sim.put(f"*.c.{ZONE}", "CNAME", "elsewhere.example")
    sim.put(f"d.{ZONE}", "DNAME", "elsewhere.example")
    sim.put(f"sub.{ZONE}", "NS", "ns.other.example")
    assert provider.get(f"1.c.{ZONE}", "PTR") is None  # a wildcard: a record of its own takes its place
    for name, said in ((f"1.d.{ZONE}", "DNAME"), (f"1.sub.{ZONE}", "name servers"), (f"sub.{ZONE}", "name servers")):
        error = refused(provider, RecordSet(name, "PTR", ("a.example.com",), 300))
        assert error.code == contract.BAD_VALUE
        assert said in error.sentence
        assert "range" in error.next_action


@servers.needs_named
def test_bind_answers_so(bind: servers.Bind) -> None:
    provider = made(ZONE, bind.settings())
    wild = RecordSet(f"*.w.{ZONE}", "PTR", ("any.example.net",), 300)
    for other in (
        wild,
        RecordSet(f"*.c.{ZONE}", "CNAME", ("elsewhere.example",), 300),
        RecordSet(f"d.{ZONE}", "DNAME", ("elsewhere.example.",), 300),
        RecordSet(f"sub.{ZONE}", "NS", ("ns.other.example",), 300),
    ):
        provider.set(other)
    name = f"1.w.{ZONE}"
    assert bind.dig(name) == ["any.example.net"]
    assert provider.get(name, "PTR") is None
    provider.set(RecordSet(name, "PTR", ("own.example.com",), 300))
    assert bind.dig(name) == ["own.example.com"]
    provider.remove(name, "PTR")
    assert bind.dig(name) == ["any.example.net"]
    assert provider.get(wild.name, "PTR") == wild
    assert provider.get(f"1.c.{ZONE}", "PTR") is None
    for below in (f"1.d.{ZONE}", f"1.sub.{ZONE}"):
        assert refused(provider, RecordSet(below, "PTR", ("a.example.com",), 300)).code == contract.BAD_VALUE


# -- copies, locks and keys of name servers -------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "expected", "word"),
    [
        ("REFUSED", contract.NO_RIGHT, "freeze"),
        ("NOTAUTH", contract.NO_ZONE, "primary"),
        ("NOTIMP", contract.READ_ONLY, "RFC 2136"),
        ("SERVFAIL", "provider_fault", "journal"),
        ("NOTZONE", contract.BAD_VALUE, ""),
        ("FORMERR", contract.BAD_VALUE, ""),
        ("YXRRSET", "changed_meanwhile", ""),
        ("YXDOMAIN", "changed_meanwhile", ""),
        ("NXRRSET", "changed_meanwhile", ""),
    ],
)
def test_what_an_update_is_refused_with(code: str, expected: str, word: str) -> None:
    provider, sim = simulated("rfc2136")
    sim.policy = dns.rcode.from_text(code)
    error = refused(provider)
    assert error.code == expected
    assert isinstance(error, Unknown) == (code == "SERVFAIL")
    assert isinstance(error, Transient) == (expected == "changed_meanwhile")
    assert word in error.next_action
    assert sim.values(NAME, "PTR") == []


def test_a_check_learns_what_the_key_may_without_a_change() -> None:
    provider, sim = simulated("rfc2136")
    assert [f.level for f in provider.check()] == ["ok"]
    sim.policy = dns.rcode.REFUSED
    [fault] = provider.check()
    assert "policy" in fault.text
    assert sim.changes() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (dns.tsig.PeerBadKey, contract.NO_KEY),
        (dns.tsig.PeerBadSignature, contract.NO_KEY),
        (dns.tsig.PeerBadTruncation, contract.NO_KEY),
        (dns.tsig.BadSignature, contract.NO_KEY),
        (dns.tsig.PeerBadTime, "clocks_differ"),
        (dns.tsig.BadTime, "clocks_differ"),
        (dns.exception.FormError, "bad_answer"),  # PowerDNS's to a key that it does not know
    ],
)
def test_what_is_wrong_with_a_signature(error: Any, code: str) -> None:
    provider, sim = simulated("rfc2136")
    sim.tsig = error
    refusal = refused(provider)
    assert refusal.code == code
    assert "key_secret" in refusal.next_action or code == "clocks_differ"
    assert provider.settings["key_secret"] not in f"{refusal} {refusal.next_action}"


@servers.needs_named
def test_bind_says_so(bind: servers.Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(made(ZONE, bind.settings(key_algorithm="hmac-sha512"))).code == contract.NO_KEY
    stranger = made(ZONE, bind.settings(key_name="stranger"))
    assert [f.level for f in stranger.check()] == ["fault"]
    real = dns.message.time.time
    for hours in (1, -1):
        late = SimpleNamespace(time=lambda n=hours: real() + 3600 * n)
        with monkeypatch.context() as clock:
            clock.setattr(dns.message, "time", late)
            assert refused(made(ZONE, bind.settings())).code == "clocks_differ"
    bind.rndc("freeze", ZONE)
    frozen = made(ZONE, bind.settings())
    assert refused(frozen).code == contract.NO_RIGHT
    assert [f.level for f in frozen.check()] == ["fault"]
    bind.rndc("thaw", ZONE)
    servers.until(lambda: [f.level for f in frozen.check(write_test=True)] == ["ok"])
    copy = made("copy.example", bind.settings())
    assert copy.check(write_test=True)[0].level == "fault"


def test_an_answer_without_a_signature_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers must have our key: a name server without it, or somebody between, could say anything."""
    provider, _ = simulated("rfc2136")
    provider._prepare = None

    def unsigned(message: Any, *_: Any, **__: Any) -> Any:
        copy = dns.message.make_query("example.com", "A")
        copy.id = message.id
        return dns.message.make_response(copy)

    monkeypatch.setattr("drivers.dns.rfc2136.dns.query.tcp", unsigned)
    monkeypatch.setattr("drivers.dns.rfc2136.Rfc2136._connected", lambda self, seconds: nullcontext())
    with pytest.raises(Transient) as caught:
        provider.get(NAME, "PTR")
    assert caught.value.code == "bad_answer"
    with pytest.raises(Unknown):
        provider.set(WANTED, RecordSet(NAME, "PTR", (), 0))


@servers.needs_named
def test_the_zone_above_is_asked_whom_it_names(bind: servers.Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the zone itself, and not what a resolver of ours believes of it."""
    above = made("0.203.in-addr.arpa", bind.settings())
    above.set(RecordSet("7.0.203.in-addr.arpa", "NS", ("ns1.child.example", "ns2.child.example"), 300))
    above.set(RecordSet("9.8.0.203.in-addr.arpa", "PTR", ("a.example.com",), 300))
    monkeypatch.setattr(lookup, "resolve", lambda name, kind: ["127.0.0.1"] if kind == "A" else [])
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], bind.port
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    monkeypatch.setattr(lookup, "PORT", bind.port)
    assert sorted(lookup.servers_of("7.0.203.in-addr.arpa")) == ["ns1.child.example", "ns2.child.example"]
    assert sorted(lookup.servers_of("0/26.7.0.203.in-addr.arpa")) == []  # its zone above does not answer here
    assert lookup.servers_of("8.0.203.in-addr.arpa") == []
    monkeypatch.setattr(lookup, "PORT", servers.free_port())
    assert lookup.servers_of("8.0.203.in-addr.arpa") == []


# -- PowerDNS -------------------------------------------------------------------------------------
def test_a_disabled_record_of_powerdns_is_not_there() -> None:
    provider, sim = simulated("powerdns")
    sim.put(NAME, "PTR", "mail.example.com")
    sim.disabled = {(f"{NAME}.", "PTR")}
    assert provider.get(NAME, "PTR") is None
    provider.set(WANTED)
    assert provider.get(NAME, "PTR") == WANTED


def test_what_of_powerdns_keeps_a_change_from_others() -> None:
    provider, sim = simulated("powerdns")
    assert [f.level for f in provider.check()] == ["ok"]
    sim.about |= {"soa_edit_api": "", "dnssec": True}
    assert [f.level for f in provider.check()] == ["ok", "warning"]
    sim.rectify = ["0"]
    [_, serial, proofs] = provider.check()
    assert "SOA-EDIT-API" in serial.fix
    assert "rectify-zone" in proofs.fix


@servers.needs_pdns
def test_a_signed_zone_of_the_real_powerdns(pdns: servers.PowerDns) -> None:
    pdns.add("signed.example", dnssec=True)
    pdns.add("unproved.example", dnssec=True, api_rectify=False)
    pdns.add("silent.example", soa_edit_api="")
    provider = made("signed.example", pdns.settings())
    name = "m.signed.example"
    provider.set(RecordSet(name, "A", ("192.0.2.1",), 300))
    assert pdns.dig(name, "A") == ["192.0.2.1"]
    assert any(" NSEC " in line for line in pdns.proofs("n.signed.example") if line.startswith(f"{name}."))
    provider.remove(name, "A")
    assert not any(line.startswith(f"{name}.") for line in pdns.proofs("n.signed.example"))
    assert [f.level for f in provider.check(write_test=True)] == ["ok"]
    for zone, word in (("unproved.example", "API-RECTIFY"), ("silent.example", "SOA-EDIT-API")):
        [_, warning] = made(zone, pdns.settings()).check()
        assert word in warning.fix, zone


@servers.needs_pdns
def test_a_zone_of_ten_thousand_names_is_never_fetched_whole(pdns: servers.PowerDns) -> None:
    pdns.add("2.0.192.in-addr.arpa")
    rows = [{"content": "x.example.com.", "disabled": False}]
    sets = [
        {"name": f"{n}.2.0.192.in-addr.arpa.", "type": "PTR", "ttl": 60, "changetype": "REPLACE", "records": rows}
        for n in range(10_000)
    ]
    assert pdns.call("PATCH", "/zones/2.0.192.in-addr.arpa.", json={"rrsets": sets}).status_code == 204
    provider = made("2.0.192.in-addr.arpa", pdns.settings())
    sizes: list[int] = []
    provider._web._session().hooks["response"].append(lambda r, **_: sizes.append(len(r.content)))
    seen = provider.get("77.2.0.192.in-addr.arpa", "PTR")
    assert seen
    provider.set(RecordSet(seen.name, "PTR", ("new.example.com",), 300), seen)
    assert len(sizes) == 2
    assert max(sizes) < 2000
    assert pdns.dig("77.2.0.192.in-addr.arpa") == ["new.example.com"]


# -- Cloudflare -----------------------------------------------------------------------------------
def test_a_proxied_record_is_there_and_not_served() -> None:
    provider, sim = simulated("cloudflare", FORWARD)
    sim._add(sims.Record("", "A", f"a.{FORWARD}", "192.0.2.1", 1, proxied=True))
    seen = provider.get(f"a.{FORWARD}", "A")
    assert seen
    assert (seen.values, seen.served) == (("192.0.2.1",), False)
    provider.set(RecordSet(seen.name, "A", seen.values, 300), seen)
    again = provider.get(seen.name, "A")
    assert again
    assert again.served
    assert len(sim.records) == 1


def test_cloudflares_lists_are_read_to_their_end() -> None:
    provider, sim = simulated("cloudflare", FORWARD)
    wanted = tuple(f"192.0.{n // 250}.{n % 250 + 1}" for n in range(230))
    sim.put(f"a.{FORWARD}", "A", *wanted)
    seen = provider.get(f"a.{FORWARD}", "A")
    assert seen
    assert seen.values == wanted
    provider.remove(f"a.{FORWARD}", "A")
    assert sim.records == {}


@pytest.mark.parametrize("code", [81057, 81058])
def test_a_record_that_came_between_look_and_change(code: int) -> None:
    """It may be the very one that is wanted, beside one that is to be changed to it: each value stands once."""
    provider, sim = simulated("cloudflare", FORWARD)
    sim.exists, name = code, f"a.{FORWARD}"
    wanted = RecordSet(name, "A", ("192.0.2.2",), 300)
    for before, between in (((), ("192.0.2.2",)), (("192.0.2.1",), ("192.0.2.1", "192.0.2.2"))):
        sim.put(name, "A", *before)
        seen = provider.get(name, "A") or RecordSet(name, "A", (), 0)
        for value in set(between) - set(before):
            sim._add(sims.Record("", "A", name, value, 300))
        provider.set(wanted, seen)
        assert sim.values(name, "A") == ["192.0.2.2"], between


def test_a_full_zone_holds_back_and_refuses_nothing() -> None:
    provider, sim = simulated("cloudflare")
    sim.quota = 0
    assert refused(provider).code == "zone_full"


def test_cloudflares_allowance_is_waited_for() -> None:
    """1,200 calls in five minutes: the record that is in the middle then is looked at again, not made twice."""
    provider, sim = simulated("cloudflare")
    sim.left = 2  # the zone's id and the look
    error = refused(provider)
    assert isinstance(error, Waiting)
    assert error.retry_after == 300.0
    sim.left = None
    provider.set(WANTED, provider.get(NAME, "PTR"))
    provider.set(WANTED, provider.get(NAME, "PTR"))
    assert sim.values(NAME, "PTR") == ["mail.example.com"]
    assert len(sim.changes()) == 2  # the refused one and the one


# -- HestiaCP -------------------------------------------------------------------------------------
def test_hestia_keeps_names_of_other_alphabets_decoded() -> None:
    provider, sim = simulated("hestiacp", FORWARD)
    wanted = RecordSet(f"xn--mnchen-3ya.{FORWARD}", "A", ("192.0.2.1",), 300)
    for _ in range(2):
        provider.set(wanted)
    assert [r["RECORD"] for r in sim.zones[FORWARD].values() if r["TYPE"] == "A"] == ["@", "münchen"]
    assert provider.get(wanted.name, "A") == wanted
    provider.set(RecordSet(wanted.name, "A", ("192.0.2.2",), 300))  # a change keeps the spelling that it is given
    provider.remove(wanted.name, "A")
    assert sim.values(wanted.name, "A") == []


def test_hestia_does_not_give_up_the_last_a_record() -> None:
    provider, sim = simulated("hestiacp", FORWARD)
    sim.zones[FORWARD].clear()
    provider.set(RecordSet(f"a.{FORWARD}", "A", ("192.0.2.1",), 300))
    with pytest.raises(Permanent, match="last A record") as caught:
        provider.remove(f"a.{FORWARD}", "A")
    assert caught.value.code == contract.NOT_YET
    assert FORWARD in caught.value.next_action


def test_hestias_zone_that_cannot_be_and_keys_of_others() -> None:
    """What is wrong with all of a zone refuses no single record."""
    strange = "0/26.9.0.203.in-addr.arpa"
    provider, sim = simulated("hestiacp", strange)
    assert refused(provider, RecordSet(f"9.{strange}", "PTR", ("a.example.com",), 300)).code == contract.NO_ZONE
    provider, sim = simulated("hestiacp")
    sim.user = "hoster"
    error = refused(provider)
    assert error.code == "provider_fault"
    assert "API_SYSTEM" in error.next_action
    sim.api = 2
    assert [f.level for f in provider.check(write_test=True)] == ["ok"]
    sim.user = "another"
    assert "another user" in refused(provider).sentence
    sim.user, sim.let_in = "admin", False
    assert "API_ALLOWED_IP" in refused(provider).next_action
    sim.let_in, sim.suspended = True, True
    assert refused(provider).code == "zone_suspended"
    sim.api = 0
    assert refused(provider).code == "api_disabled"


@pytest.mark.parametrize("code", [*range(1, 21)])
def test_no_exit_code_of_hestias_list_refuses_a_record(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, sim = simulated("hestiacp")
    monkeypatch.setattr(sim, "_command", lambda c, v: code)
    error = refused(provider)
    assert error.code not in (contract.BAD_VALUE, contract.NOT_YET)
    assert str(code) in error.detail


def test_a_suspended_record_of_hestias_is_served_again_by_a_change() -> None:
    provider, sim = simulated("hestiacp")
    provider.set(WANTED)
    [row] = [r for r in sim.zones[ZONE].values() if r["TYPE"] == "PTR"]
    row["SUSPENDED"] = "yes"
    seen = provider.get(NAME, "PTR")
    assert seen
    assert not seen.served
    provider.set(WANTED, seen)
    assert provider.get(NAME, "PTR") == WANTED


# -- all of them ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SIMS)
def test_one_look_and_one_change_for_a_record(name: str) -> None:
    provider, sim = simulated(name)
    provider.get(f"1.{ZONE}", "PTR")  # Cloudflare's id of the zone
    looks = 2 if name == "rfc2136" else 1  # and whether it stands there, where something is answered
    for n, value in enumerate(("a.example.com", "b.example.com", "")):
        sim.calls.clear()
        seen = provider.get(NAME, "PTR") or RecordSet(NAME, "PTR", (), 0)
        if value:
            provider.set(RecordSet(NAME, "PTR", (value,), 300), seen)
        else:
            provider.remove(NAME, "PTR", seen)
        assert len(sim.calls) == (looks if n else 1) + 1, sim.calls
    assert sim.values(NAME, "PTR") == []


@pytest.mark.parametrize("name", ["powerdns", "cloudflare", "hestiacp"])
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, "<html>Log in</html>", "bad_answer"),
        (200, {"error": "out of order"}, "bad_answer"),
        (200, [], "bad_answer"),
        (200, None, "bad_answer"),
        (403, "<html>Sorry, you have been blocked</html>", contract.NO_KEY),
        (502, "<html>Bad gateway</html>", "provider_fault"),
        (521, "error code: 521", "provider_fault"),
    ],
)
def test_an_answer_that_is_none(name: str, status: int, body: Any, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a look: asked again. Of a change: it may have been done, unless the answer says that it was not."""
    provider, sim = simulated(name)
    provider.get(NAME, "PTR")
    real = sim.handle
    monkeypatch.setattr(sim, "handle", lambda *a: (status, body, {}))
    if (name, status, body) != ("hestiacp", 200, []):  # an empty list
        with pytest.raises(UpstreamError) as caught:
            provider.get(f"9.{ZONE}", "PTR")
        assert caught.value.code == code
        assert caught.value.retryable == (code != contract.NO_KEY)
    with pytest.raises(UpstreamError) as caught:
        provider.set(WANTED, RecordSet(NAME, "PTR", (), 0))
    assert caught.value.code == code
    assert isinstance(caught.value, Unknown) == (status != 403)
    monkeypatch.setattr(sim, "handle", real)


@pytest.mark.parametrize("name", ["powerdns", "cloudflare", "hestiacp"])
@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("", 300.0), ("soon", 300.0), ("0", 300.0), ("99999", 3600.0)]
)
def test_too_many_calls(name: str, said: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, sim = simulated(name)
    heads = {"Retry-After": said} if said else {}
    monkeypatch.setattr(sim, "handle", lambda *a: (429, "<html>Slow down</html>", heads))
    for act in (lambda: provider.get(NAME, "PTR"), lambda: provider.set(WANTED, RecordSet(NAME, "PTR", (), 0))):
        with pytest.raises(Waiting) as caught:
            act()
        assert caught.value.retry_after == seconds


@pytest.mark.parametrize("name", SIMS)
def test_names_that_are_no_names_refuse_themselves_alone(name: str) -> None:
    provider, _ = simulated(name)
    long = f"{'a' * 64}.{ZONE}"
    if name == "rfc2136":
        assert refused(provider, RecordSet(long, "PTR", ("a.example.com",), 300)).code == contract.BAD_VALUE
        assert refused(provider, RecordSet(NAME, "PTR", (f"{'a' * 64}.com",), 300)).code == contract.BAD_VALUE
    if name == "powerdns":
        assert refused(provider, RecordSet(long, "PTR", ("a.example.com",), 300)).code == contract.BAD_VALUE


# -- the servers ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Bind]:
    with servers.Bind(tmp_path_factory.mktemp("bind"), ZONE, "0.203.in-addr.arpa", copies=("copy.example",)) as server:
        yield server


@pytest.fixture(scope="module")
def pdns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.PowerDns]:
    with servers.PowerDns(tmp_path_factory.mktemp("pdns"), ZONE) as server:
        yield server
