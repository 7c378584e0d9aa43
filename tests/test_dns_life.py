"""Names of addresses over the life of services: whose they are, what was not ours, and what is left at the end."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge import services
from bridge import zones as zone_names
from bridge.config.dns import kept_at
from bridge.dns import check, lookup, records, writer
from bridge.errors import NotFound
from bridge.orders import packages
from drivers.dns import contract
from tests.dns import sims
from tests.dns.nameserver import Nameserver
from tests.dns.site import FORWARD, NAME, RULE, WAITING, Killed, Site, dying_at_faults
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned
from tests.test_adoption import FOREIGN
from tests.test_rename import rename


# -- whose addresses and names --------------------------------------------------------------------
def test_an_address_of_somebody_else_and_names_that_are_none(site: Site) -> None:
    [v4, v6] = site.born()
    other = site.born(2042, domain="other.example.org")
    for address in (*other, "203.0.113.249", "192.0.2.1", "::ffff:cb00:710a"):
        assert site.save(address, NAME) == f"{address} is not an address of your server."
        assert site.save(address, "") == f"{address} is not an address of your server."
    long = ".".join(["a" * 63] * 4)  # 255 characters
    names = ("localhost", "ma_il.example.com", "-a.example.com", "192.0.2.1", f"{'a' * 64}.example.com", long)
    for name in (*names, "mail..example.com", "mail.example.com..", "münchen.example", "a b.example", "*.example.com"):
        assert site.save(v4, name).startswith(f"Host name of {v4}: ")
    assert site.save(v6.upper(), f"{NAME}.") == ""
    assert site.write() == 1
    assert site.ptr(v6) == [NAME]
    assert site.ptr(v4) == [site.default(v4)]
    assert site.ptr(other[0]) == [site.default(other[0])]


def test_a_save_asks_nobody(site: Site) -> None:
    [v4, _] = site.born()
    site.sim.down = True
    before = len(site.sim.calls)
    assert site.save(v4, NAME) == ""
    assert WAITING in site.words()
    assert site.fields()[v4] == NAME
    assert len(site.sim.calls) == before


def test_without_a_zone_the_field_says_so(tmp_path: Path) -> None:
    site = Site(tmp_path, zones=(REVERSE,), forward_zone="")
    [v4, v6] = site.born()
    assert site.save(v6, NAME) == records.NOT_HERE
    assert site.words().count(records.NOT_HERE) >= 1
    assert site.save(v4, NAME) == ""
    site.close()


def test_without_zones_there_is_no_such_page(tmp_path: Path) -> None:
    site = Site(tmp_path, zones=(), forward_zone="")
    site.order("create")
    site.run()
    assert "not part of your plan" in site.words()
    assert site.write() == 0
    site.close()


def test_longest_zone_wins_and_each_has_its_own_provider(tmp_path: Path) -> None:
    part, whole = sims.PowerDns("0/27.113.0.203.in-addr.arpa"), sims.PowerDns(REVERSE)
    tables = {REVERSE: whole.settings(), "0/27.113.0.203.in-addr.arpa": part.settings(endpoint="https://part.test")}

    def mount(session: Any) -> None:
        whole.mount(session)
        session.mount("https://part.test", part)

    site = Zoned(tmp_path, tables, mount, ptr_name=RULE, pools=["public-v4"], extra_ipv4=25)
    site.order("create")
    site.run()
    site.write()
    for address in site.addresses():
        last = int(address.rpartition(".")[2])
        there = part.values(f"{last}.0/27.{REVERSE}", "PTR"), whole.values(f"{last}.{REVERSE}", "PTR")
        wanted = [zone_names.default_name(RULE, address, "", 1, 1)]
        assert there == ((wanted, []) if last < 32 else ([], wanted)), address
    site.close()


def test_a_zone_that_comes_later_takes_its_names_along(site: Site) -> None:
    [v4, _] = site.born()
    site.save(v4, NAME)
    site.write()
    part = f"0/27.{REVERSE}"
    site.sim.zones[part], site.sim.kinds[part] = {}, "Native"
    site.config.dns[part] = zone_names.Zone(
        part, "powerdns", 300, zone_names.network_of(part, ""), dict(site.config.dns[REVERSE].settings)
    )
    site.providers.update(writer.providers_of(site.config, site.clock, site.sim.mount))
    assert site.sweep() == 2
    assert site.write() >= 2
    assert site.sim.values(f"10.{REVERSE}", "PTR") == []
    assert site.sim.values(f"10.{part}", "PTR") == [NAME]
    assert site.fields()[v4] == NAME
    assert site.sweep() == 0


def test_a_zone_that_another_provider_keeps_gets_its_names_there(tmp_path: Path) -> None:
    """What others wrote there stays, and where a person keeps it from now on nothing is asked for."""

    def keep(by: str, settings: dict[str, Any]) -> int:
        site.config.dns[REVERSE] = replace(site.config.dns[REVERSE], provider=by, settings=settings)
        mount = other.mount if by == "rfc2136" else site.sim.mount
        site.providers[REVERSE] = contract.load(by)(REVERSE, settings, site.clock, mount)
        told = check.check(site.config, site.store, site.providers, {}, servers_of=lambda zone: [])
        assert [f.text for f in told if "written at" in f.text] == (
            [f"2 records were written at {at}, and now it is kept at {kept_at(site.config.dns[REVERSE])}"] if at else []
        )
        return writer.note_places(site.config, site.store)

    site, other = Site(tmp_path, extra_ipv4=1), Nameserver(zones=(REVERSE,))
    site.save(site.born()[0], NAME)
    site.write()
    own, at = dict(site.config.dns[REVERSE].settings), ""
    assert keep("powerdns", own) == 0
    assert keep("powerdns", {**own, "api_key": "another"}) == 0
    before, at = site.sim.changes(), "powerdns https://pdns.test:8443 localhost"
    other.put(f"11.{REVERSE}", "PTR", "theirs.example.net")
    assert keep("rfc2136", {**other.settings(), "port": 53, "key_algorithm": "hmac-sha256"}) == 2
    assert site.write() == 2
    assert [other.values(f"{n}.{REVERSE}", "PTR") for n in (10, 11)] == [[NAME], ["theirs.example.net"]]
    assert site.sim.changes() == before
    by_hand = replace(site.config.dns[REVERSE], provider="ticket", settings={"department": "2"})
    site.config.dns[REVERSE] = by_hand
    assert writer.note_places(site.config, site.store) == 0
    assert site.open() == []
    site.close()


# -- life -----------------------------------------------------------------------------------------
def test_reinstall_and_suspension_keep_them_and_a_change_of_package_moves_them(site: Site) -> None:
    first = site.born(configoption9="1")
    for n, address in enumerate(first):
        site.save(address, f"m{n}.customer.example")
    site.write()
    before = {a: site.ptr(a) for a in first}
    for verb in ("suspend", "unsuspend", "converge"):
        site.order(verb)
        site.run()
        assert site.write() == 0, verb
        assert {a: site.ptr(a) for a in first} == before, verb
    site.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    site.run()
    assert site.write() == 0
    assert {a: site.ptr(a) for a in first} == before
    site.order("change_package", configoption9="0")
    site.run()
    site.write()
    [gone] = set(first) - set(site.addresses())
    assert site.ptr(gone) == []
    assert all(site.ptr(a) == before[a] for a in site.addresses())
    site.order("change_package", configoption9="2")
    site.run()
    site.write()
    new = set(site.addresses()) - set(first)
    assert len(new) == 2
    assert all(site.ptr(a) == [site.default(a)] for a in new)


def test_the_next_customer_finds_no_name_of_the_last(site: Site) -> None:
    """Even when the provider was down all the time between."""
    own = site.born()
    for address in own:
        site.save(address, NAME)
    site.write()
    site.sim.down = True
    site.ended()
    assert all(site.ptr(a) == [NAME] for a in own)
    site.clock.time += 25 * 3600.0
    for row in site.store.taken_addresses():  # these very ones are given again
        assert row["free_at"] < site.clock.now()
    again = site.born(3042, domain="next.example.org")
    assert set(again) & set(own)
    site.sim.down = False
    site.write()
    assert all(site.ptr(a) == ([site.default(a)] if a in again else []) for a in own)
    assert NAME not in site.words(3042)


def test_a_service_that_ends_before_its_names_are_written_leaves_none(site: Site) -> None:
    site.sim.down = True
    own = site.born()
    site.ended()
    site.sim.down = False
    site.write()
    assert site.sim.changes() == []
    assert all(site.ptr(a) == [] for a in own)
    assert site.store.rows("SELECT * FROM dns_records") == []


def test_what_somebody_else_wrote_stays_until_the_customer_acts(site: Site) -> None:
    site.sim.put(f"10.{REVERSE}", "PTR", "old.operator.example")
    site.sim.put(f"vm-1042.{FORWARD}", "A", "192.0.2.99")
    [v4, _] = site.born()
    assert v4 == "203.0.113.10"
    assert site.ptr(v4) == ["old.operator.example"]
    assert site.sim.values(f"vm-1042.{FORWARD}", "A") == ["192.0.2.99"]
    assert site.fields()[v4] == "old.operator.example"
    assert WAITING not in site.words()
    assert site.save(v4, NAME) == ""
    assert site.write() == 1
    assert site.ptr(v4) == [NAME]
    site.sim.put(f"10.{REVERSE}", "PTR", "by-hand.operator.example")  # staff changed it meanwhile
    site.ended()
    assert site.ptr(v4) == ["by-hand.operator.example"]
    assert site.sim.values(f"vm-1042.{FORWARD}", "A") == ["192.0.2.99"]
    assert site.store.rows("SELECT * FROM dns_records") == []


def test_a_value_beside_ours_stays_and_ours_goes(site: Site) -> None:
    [v4, _] = site.born()
    name = f"vm-1042.{FORWARD}"
    site.sim.put(name, "A", v4, "192.0.2.99")
    site.ended()
    assert site.sim.values(name, "A") == ["192.0.2.99"]


def test_what_was_there_already_as_wanted_counts_as_ours(site: Site) -> None:
    site.sim.put(f"10.{REVERSE}", "PTR", f"203-0-113-10.{STATIC}")
    [v4, _] = site.born()
    site.ended()
    assert site.ptr(v4) == []


def test_host_names_are_for_who_was_first(site: Site) -> None:
    [first, _] = site.born()
    [second, _] = site.born(2042, domain="vm-1042.other.example")
    assert site.sim.values(f"vm-1042.{FORWARD}", "A") == [first]
    assert site.sim.values(f"vm-1042-2042.{FORWARD}", "A") == [second]
    site.ended()
    assert site.sim.values(f"vm-1042.{FORWARD}", "A") == []
    assert site.sim.values(f"vm-1042-2042.{FORWARD}", "A") in ([second], [])


@pytest.mark.parametrize(
    ("domain", "given"), [(FORWARD, ""), (f"203-0-113-99.{STATIC}", ""), (f"shop.{FORWARD}", f"shop.{FORWARD}")]
)
def test_a_domain_that_is_not_for_customers(tmp_path: Path, domain: str, given: str) -> None:
    """Neither a zone's own name nor the name of another address; without `forward_zone` the domain's own zone is
    used."""
    site = Site(tmp_path, forward_zone="")
    [v4, v6] = site.born(domain=domain)
    assert site.sim.values(FORWARD, "A") == []
    assert site.sim.values(f"203-0-113-99.{STATIC}", "A") == []
    if given:
        assert (site.sim.values(given, "A"), site.sim.values(given, "AAAA")) == ([v4], [v6])
    site.close()


def test_nobody_is_called_as_an_address_of_somebody_else(tmp_path: Path) -> None:
    """Where servers and addresses have their names in the same zone, a server's name leads away from no address."""
    site = Site(tmp_path, forward_zone=STATIC)
    [first, _] = site.born()
    squatted = site.default("203.0.113.11")
    taken = site.born(2042, domain=f"{squatted.partition('.')[0]}.example.org")
    assert taken[0] == "203.0.113.11"
    assert site.sim.values(squatted, "A") == ["203.0.113.11"]
    third = site.born(3042, domain=f"{site.default(first).partition('.')[0]}.example.org")
    assert site.sim.values(site.default(first), "A") == [first]
    assert site.sim.values(site.default(third[0]), "A") == [third[0]]
    assert site.sim.values(f"vm-1042.{STATIC}", "A") == [first]
    site.close()


def test_a_name_that_is_too_long_for_dns_is_not_wanted(tmp_path: Path) -> None:
    deep = ".".join(["z" * 60] * 4) + ".example"  # 251 characters
    site = Site(tmp_path, zones=(REVERSE, REVERSE6, deep), forward_zone=deep, ptr_name="")
    site.born()
    assert site.store.rows("SELECT name FROM dns_records WHERE type <> 'PTR'") == []
    site.close()


def test_what_shall_be_gone_is_never_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that refuses to remove a record is asked again; others of the zone go on meanwhile."""
    [v4, _] = site.born()
    site.save(v4, NAME)
    site.write()
    real = site.sim.handle

    def refusing(method: str, path: str, query: Any, body: bytes, headers: Any) -> Any:
        if b'"DELETE"' in body and f"10.{REVERSE}".encode() in body:
            return 422, {"error": "not now"}, {}
        return real(method, path, query, body, headers)

    monkeypatch.setattr(site.sim, "handle", refusing)
    site.order("terminate")
    site.run()
    site.write(turns=5)
    assert site.ptr(v4) == [NAME]
    [left] = site.open()
    assert "not now" in left["detail"]
    assert site.store.zone_state(REVERSE)["failures"] == 0
    other = site.born(2042, domain="other.example.org")
    assert site.ptr(other[0]) == [site.default(other[0])]
    monkeypatch.setattr(site.sim, "handle", real)
    site.write(wait=900)
    assert site.ptr(v4) == []


def test_a_record_that_its_provider_answers_otherwise_is_put_right(tmp_path: Path) -> None:
    """Proxied by Cloudflare: ours is served again by the next save or retry, somebody else's is left alone."""
    site = Site(tmp_path, "cloudflare", (REVERSE, REVERSE6, FORWARD))
    [v4, _] = site.born()
    [row] = [r for r in site.sim.records.values() if (r.name, r.type) == (f"vm-1042.{FORWARD}", "A")]
    row.proxied = True
    site.store.want_record(row.name, "A", wanted=v4)
    site.write()
    assert [r.proxied for r in site.sim.records.values() if (r.name, r.type) == (row.name, "A")] == [False]
    site.sim._add(sims.Record("", "A", f"vm-2042.{FORWARD}", "192.0.2.9", 1, proxied=True))
    site.born(2042)
    assert next((r.content, r.proxied) for r in site.sim.records.values() if r.name == f"vm-2042.{FORWARD}") == (
        "192.0.2.9",
        True,
    )
    site.close()


def test_another_owner_gets_no_wish_of_the_former(site: Site) -> None:
    [v4, _] = site.born()
    site.sim.down = True
    site.save(v4, NAME)
    site.order("converge", userid=8)
    site.run()
    site.sim.down = False
    site.write()
    assert site.ptr(v4) == [site.default(v4)]


def test_dhcp_gives_a_name_only_to_what_nobody_else_has(tmp_path: Path) -> None:
    """A guest can say anything: no other server's address, none of a pool, no gateway, and nothing that is there
    already."""
    site = Site(tmp_path, pools=["public-v6"], dhcp4=True)
    site.born()
    site.sim.put(f"5.{REVERSE}", "PTR", "mail.operator.example")

    def lease(service: int, *addresses: str) -> list[str]:
        row = site.store.find_service("main", service)
        assert row
        site.store.update_service(row.id, birth=replace(row.birth, addresses=addresses))
        site.sweep()
        site.write()
        return [a for a in site.addresses(service) if ":" not in a]

    assert lease(1042, "203.0.113.252") == ["203.0.113.252"]
    assert site.ptr("203.0.113.252") == [site.default("203.0.113.252")]
    assert site.save("203.0.113.252", NAME) == ""
    assert site.write() == 1
    assert site.ptr("203.0.113.252") == [NAME]
    site.born(2042, domain="other.example.org")
    assert lease(2042, "203.0.113.252", "203.0.113.1", "203.0.113.20", "9.9.9.9") == []
    assert lease(2042, "203.0.113.5") == ["203.0.113.5"]
    assert site.save("203.0.113.5", "stolen.example.com", 2042) == ""
    assert site.write() >= 1
    assert site.ptr("203.0.113.5") == ["mail.operator.example"]
    assert site.ptr("203.0.113.252") == [NAME]
    assert lease(1042, "203.0.113.253") == ["203.0.113.253"]
    assert site.ptr("203.0.113.252") == []
    assert site.ptr("203.0.113.253") == [site.default("203.0.113.253")]
    site.close()


def test_a_cloud_server_has_its_name_in_our_zone_too(tmp_path: Path) -> None:
    from tests.test_hetzner import Cloud

    sim = sims.PowerDns(FORWARD)
    world = Cloud(tmp_path, forward_zone="")
    world.config.dns[FORWARD] = zone_names.Zone(
        FORWARD, "powerdns", 300, None, {**sim.settings(), "server_id": "localhost", "ca_file": ""}
    )
    providers = writer.providers_of(world.config, world.clock, sim.mount)
    for verb, there in (("create", (["192.0.2.1"], ["2001:db8:1::1"])), ("terminate", ([], []))):
        world.order(verb, domain=f"shop.{FORWARD}")
        world.run()
        for zone in world.store.zones_due():
            writer.write_due(zone, world.config, world.store, providers, {})
        assert (sim.values(f"shop.{FORWARD}", "A"), sim.values(f"shop.{FORWARD}", "AAAA")) == there, verb
    world.close()


def test_a_worker_thatdies_after_its_call_leaves_nothing_that_is_not_known_as_ours(site: Site) -> None:
    """The name was written, that it was written was not recorded, and the service ends: the name goes all the same."""
    site.order("create")
    site.run()
    site.sim.faults = [sims.Fault("lost", n, changes=True) for n in (1, 2, 3, 4, 5, 6)]
    for _ in range(6):
        with suppress(Killed):
            dying_at_faults(site)
    assert len(site.sim.changes()) == 6
    site.sim.faults = []
    site.order("terminate")
    site.run()
    site.clock.time += writer.LEASE + 1
    site.write()
    assert {n for n, t in itertools.chain(*site.sim.zones.values()) if t != "NS"} == set()


def test_a_rename_moves_the_names(site: Site) -> None:
    [v4, v6] = site.born()
    site.store.change("UPDATE services SET hostname = 'shop.example.com'")
    assert site.sweep() == 4
    assert site.write() == 4
    assert site.sim.values(f"vm-1042.{FORWARD}", "A") == site.sim.values(f"vm-1042.{FORWARD}", "AAAA") == []
    assert (site.sim.values(f"shop.{FORWARD}", "A"), site.sim.values(f"shop.{FORWARD}", "AAAA")) == ([v4], [v6])


def test_an_adopted_machine_brings_its_names_and_leaves_none(site: Site) -> None:
    """What its addresses are called already is its customer's, goes on through a rename, and ends with it."""
    vm = site.cluster.add_vm(555, "pve1", **{**FOREIGN, "ipconfig0": "ip=203.0.113.77/24,ip6=2001:db8:40::77/64"})
    vm.config.pop("scsi0", None)
    for key in ("virtio0", "virtio1"):
        site.cluster.volumes[vm.config[key].split(",")[0]] = 10 * 1024**3
    site.sim.put(f"77.{REVERSE}", "PTR", "db.customer.example")
    package, machine = packages.of_plan(site.config.plans["kvm-s"]), site.drivers["pve1"].inspect("555")
    services.adopt("main", 9, 7, "", package, machine, site.store, site.config)
    site.write()
    [v4, v6] = site.addresses(9)
    assert (site.ptr(v4), site.ptr(v6)) == (["db.customer.example"], [site.default(v6)])
    assert site.fields(9)[v4] == "db.customer.example"
    assert site.sim.values(f"db.{FORWARD}", "A") == [v4]
    rename(site, "shop.example.com", 9)
    site.run()
    site.write()
    assert site.ptr(v4) == ["db.customer.example"]
    assert site.sim.values(f"db.{FORWARD}", "A") == []
    assert (site.sim.values(f"shop.{FORWARD}", "A"), site.sim.values(f"shop.{FORWARD}", "AAAA")) == ([v4], [v6])
    assert site.save(v4, "", 9) == ""
    site.write()
    assert site.ptr(v4) == [site.default(v4)]
    assert site.save(v4, NAME, 9) == ""
    site.ended(9)
    assert (site.ptr(v4), site.ptr(v6)) == ([], [])
    assert site.store.rows("SELECT * FROM dns_records") == []


def test_capital_letters_are_the_same_name(site: Site) -> None:
    [v4, _] = site.born()
    assert site.save(v4, "Mail.Customer.EXAMPLE") == ""
    assert site.write() == 1
    assert site.ptr(v4) == [NAME]
    assert site.fields()[v4] == NAME
    assert site.words().count(WAITING) == 0


def test_an_answer_that_nobody_thought_of_holds_up_its_record_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    [v4, v6] = site.born()
    real = site.providers[REVERSE].get
    monkeypatch.setattr(site.providers[REVERSE], "get", lambda *a: 1 / 0)
    site.save(v4, NAME)
    site.save(v6, NAME)
    site.write(turns=2)
    assert site.ptr(v6) == [NAME]
    assert WAITING in site.words()
    monkeypatch.setattr(site.providers[REVERSE], "get", real)
    site.write(wait=900)
    assert site.ptr(v4) == [NAME]


# -- do names lead back ---------------------------------------------------------------------------
def test_a_name_that_does_not_lead_back_is_hinted_at(site: Site) -> None:
    [v4, _] = site.born()
    answers: dict[tuple[str, str], list[str]] = {}
    asked: list[tuple[str, str]] = []

    def find(name: str, kind: str) -> list[str]:
        asked.append((name, kind))
        if (name, kind) not in answers:
            raise LookupError("NoNameservers")
        return answers[name, kind]

    hint = f"{NAME} does not point to {v4} yet."
    site.save(v4, NAME)
    assert "does not point" not in site.words()
    assert asked == []
    site.write()
    assert "does not point" not in site.words()
    lookup.look_due(site.store, find)
    assert "does not point" not in site.words()  # nobody knows
    answers[NAME, "A"] = ["192.0.2.7"]
    site.clock.time += lookup.LATER
    lookup.look_due(site.store, find)
    assert hint in site.words()
    asked.clear()
    assert lookup.look_due(site.store, find) == 0
    assert asked == []
    answers[NAME, "A"] = ["192.0.2.7", v4]
    site.clock.time += lookup.NO
    lookup.look_due(site.store, find)
    assert "does not point" not in site.words()
    site.clock.time += lookup.ASKED
    assert lookup.look_due(site.store, find) == 0  # nobody looks at the page any more


def test_the_system_resolver_is_asked_with_a_short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = 1  # nobody is there
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    with pytest.raises(LookupError):
        lookup.resolve("mail.example.com", "A")


def test_pages_of_another_client_are_not_there(site: Site) -> None:
    [v4, _] = site.born()
    reply = site.shim.send("GET", "/v1/services/1042/pages/rdns?client=9")
    assert reply.status_code == 404
    with pytest.raises((AssertionError, NotFound)):
        site.save(v4, NAME, client=9)
