"""Names of addresses over the life of services: whose they are, what was not ours, what fails, crashes, and what is
left at the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import zones as zone_names
from bridge.dns import lookup, records, writer
from bridge.errors import NotFound
from bridge.store import archive
from tests.configs import KEY
from tests.dns import sims
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned

FORWARD = "vps.example.com"
RULE = f"{{ip_dashed}}.{STATIC}"
NAME = "mail.customer.example"
ALL = (REVERSE, REVERSE6, STATIC, FORWARD)
WAITING = "Waiting to be written. This goes on by itself."
REFUSED = "This was not written. Save it again, perhaps with another name, or write to us."


class Site(Zoned):
    """One provider for all zones, in process."""

    def __init__(self, path: Path, provider: str = "powerdns", zones: tuple[str, ...] = ALL, **plan: Any) -> None:
        kinds: dict[str, Any] = {
            "powerdns": sims.PowerDns,
            "cloudflare": sims.Cloudflare,
            "hestiacp": sims.Hestia,
            "rfc2136": lambda *z: sims.Nameserver(zones=z),
        }
        self.sim = kinds[provider](*zones)
        tables = {z: self.sim.settings() for z in zones}
        super().__init__(path, tables, self.sim.mount, **{"ptr_name": RULE, "forward_zone": FORWARD, **plan})

    def ptr(self, address: str) -> list[str]:
        zone = zone_names.zone_of(address, self.config.dns.values())
        assert zone
        return list(self.sim.values(zone.record(address), "PTR"))

    def born(self, service: int = 1042, **params: Any) -> list[str]:
        self.order("create", service, **params)
        self.run()
        self.write()
        return self.addresses(service)

    def ended(self, service: int = 1042) -> None:
        self.order("terminate", service)
        self.run()
        self.write()

    def default(self, address: str) -> str:
        return zone_names.default_name(RULE, address, "", 1, 1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


# -- whose addresses and names --------------------------------------------------------------------
def test_an_address_of_somebody_else_and_names_that_are_none(site: Site) -> None:
    [v4, v6] = site.born()
    other = site.born(2042, domain="other.example.org")
    for address in (*other, "203.0.113.249", "192.0.2.1"):
        assert site.save(address, NAME) == f"{address} is not an address of your server."
        assert site.save(address, "") == f"{address} is not an address of your server."
    for name in ("localhost", "ma_il.example.com", "-a.example.com", "192.0.2.1", f"{'a' * 64}.example.com"):
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


def test_a_worker_that_dies_after_its_call_leaves_nothing_that_is_not_known_as_ours(site: Site) -> None:
    """The name was written, that it was written was not recorded, and the service ends: the name goes all the same."""
    site.order("create")
    site.run()
    site.sim.faults = [sims.Fault("lost", n, changes=True) for n in (1, 2, 3, 4, 5, 6)]
    for _ in range(6):
        with suppress(Killed):
            _dying_at_faults(site)
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


# -- any sequence of orders -----------------------------------------------------------------------
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["create", "terminate", "save", "clear", "extra", "down", "up", "write", "later", "hand", "crash"]
        ),
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_no_address_keeps_a_name_of_a_former_customer(steps: list[tuple[str, int, int]], tmp_path_factory: Any) -> None:
    """Three services and few addresses, in any order, with a provider that is down at times and a worker that is
    killed: in the end each address has the name that its holder wants, or none of ours; and what was written by hand
    is still there where nobody chose a name."""
    site = Site(tmp_path_factory.mktemp("life"), pools=["public-v4"], forward_zone="")
    site.config.worker["address_cool_down_h"] = 0
    chosen: dict[str, str] = {}
    numbers = (1042, 2042, 3042)
    count = itertools.count()
    for step, which, n in steps:
        service = numbers[which]
        row = site.store.find_service("main", service)
        alive = row is not None and row.desired.value == "active"
        own = site.addresses(service) if alive else []
        if step == "create" and not alive:
            site.order("create", service)
            site.run()
        elif step == "terminate" and alive:
            site.order("terminate", service)
            site.run()
            for address in own:
                chosen.pop(address, None)
        elif step in ("save", "clear") and own:
            address, name = own[n % len(own)], "" if step == "clear" else f"c{service}-{next(count)}.example.com"
            assert site.save(address, name, service) == ""
            chosen[address] = name
            if not name:
                del chosen[address]
        elif step == "extra" and alive:
            site.order("change_package", service, configoption9=str(n))
            site.run()
            for address in set(own) - set(site.addresses(service)):
                chosen.pop(address, None)
        elif step in ("down", "up"):
            site.sim.down = step == "down"
        elif step == "write":
            site.write(turns=2, wait=0)
        elif step == "later":
            site.clock.time += 3600
        elif step == "crash" and site.store.zones_due():
            killed(site, n)
    site.sim.down = False
    site.clock.time += 3600
    site.write(turns=200)
    held = {a for s in numbers if site.store.find_service("main", s) for a in (site.addresses(s))}
    for last in range(10, 30):
        address = f"203.0.113.{last}"
        wanted = [chosen.get(address) or site.default(address)] if address in held else []
        assert site.ptr(address) == wanted, (address, site.ptr(address), wanted)
        assert site.sim.values(site.default(address), "A") == ([address] if address in held else [])
    assert {r["name"] for r in site.store.rows("SELECT name FROM dns_records WHERE held = 0")} == set()
    site.close()


class Killed(BaseException):
    pass


def killed(site: Site, nth: int) -> None:
    """A worker that dies at one of its calls, before it or after it was carried out; its leases run out."""
    site.sim.faults = [sims.Fault("lost" if nth % 2 else _die, 1 + nth // 2, changes=True)]
    with suppress(Killed):
        _dying_at_faults(site)
    site.sim.faults = []
    site.clock.time += writer.LEASE + 1


# -- faults and crashes ---------------------------------------------------------------------------
PROVIDERS = ["powerdns", "cloudflare", "hestiacp", "rfc2136"]
KINDS = ["refused", "lost", "broken", "half", "many", "rubbish", "killed before", "killed after"]
SMALL: dict[str, Any] = {"pools": ["public-v4"], "ptr_name": "", "forward_zone": ""}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_or_crash_on_any_call_of_set_and_remove(provider: str, kind: str, tmp_path: Path) -> None:
    """Each call once: in the end the record is as wanted, once, and what was there beside it is untouched."""
    site = Site(tmp_path, provider, (REVERSE,), **SMALL)
    [v4] = site.born()
    site.sim.put(f"99.{REVERSE}", "PTR", "other.example.com")
    reached = set()
    for n, (name, before) in itertools.product(
        range(1, 6), (("one.example.com", []), ("", ["one.example.com"]), ("two.example.com", ["x.example.com"]))
    ):
        site.sim.put(f"10.{REVERSE}", "PTR", *before)
        site.sim.faults, site.sim.calls = [], []
        assert site.save(v4, name or "", remove="" if name else "1") == ""
        fault = sims.Fault(kind, n)
        if kind.startswith("killed"):
            fault.kind = _die if kind.endswith("before") else "lost"
        site.sim.faults = [fault]
        with suppress(Killed):
            if kind == "killed after":
                _dying_at_faults(site)
            else:
                site.write(turns=1)
        reached |= {(n, name)} if not site.sim.faults else set()
        site.sim.faults = []
        site.clock.time += 1000
        site.write(turns=40, wait=300)
        assert site.ptr(v4) == ([name] if name else []), (n, name)
        assert site.sim.values(f"99.{REVERSE}", "PTR") == ["other.example.com"]
        assert site.open() == []
        assert REFUSED not in site.words()
        assert len(site.sim.changes()) <= 4
    assert {n for n, _ in reached} >= {1, 2}  # the faults did happen
    site.close()


def _die() -> None:
    raise Killed


def _dying_at_faults(site: Site) -> None:
    """One turn of a worker that dies when a call ends with an error, before anything of it is recorded."""
    store, before = site.store, site.store.record_later
    store.record_later = lambda *a, **k: _die()  # type: ignore[method-assign]
    try:
        for zone in store.zones_due():
            writer.write_due(zone, site.config, store, site.providers, {})
    finally:
        store.record_later = before  # type: ignore[method-assign]


def test_the_newest_wish_is_written_whatever_came_between(site: Site) -> None:
    [v4, _] = site.born()
    site.save(v4, "one.example.com")
    site.sim.faults = [sims.Fault(lambda: site.save(v4, "two.example.com") and None, 1, changes=True)]
    site.write()
    assert site.ptr(v4) == ["two.example.com"]
    assert site.fields()[v4] == "two.example.com"
    site.sim.down = True
    for n in range(5):
        site.save(v4, f"n{n}.example.com")
        site.write(turns=3)
    site.sim.down = False
    site.clock.time += 1000
    site.write()
    assert site.ptr(v4) == ["n4.example.com"]


def test_after_a_lost_answer_nothing_is_done_before_it_must_have_ended(site: Site) -> None:
    [v4, _] = site.born()
    site.save(v4, "one.example.com")
    site.sim.faults = [sims.Fault("lost", 1, changes=True)]
    site.write(turns=1)
    site.save(v4, "two.example.com")
    before = len(site.sim.calls)
    site.clock.time += writer.LOST - 1
    assert site.write(turns=1) == 0
    assert len(site.sim.calls) == before
    site.write()
    assert site.ptr(v4) == ["two.example.com"]


def test_one_provider_that_is_down_holds_up_nobody_else(tmp_path: Path) -> None:
    good, bad = sims.PowerDns(REVERSE6), sims.PowerDns(REVERSE)
    bad.down = True
    tables = {REVERSE: bad.settings(endpoint="https://bad.test"), REVERSE6: good.settings()}

    def mount(session: Any) -> None:
        good.mount(session)
        session.mount("https://bad.test", bad)

    site = Zoned(tmp_path, tables, mount, ptr_name=RULE)
    for service in (1042, 2042, 3042):
        site.order("create", service)
        site.run()
        assert site.store.operations_of(None)[0].state.value == "done"
    asked = 0
    for _ in range(200):
        asked += sum(writer.write_due(z, site.config, site.store, site.providers, {}) for z in site.store.zones_due())
        site.clock.time += 1
    for service in (1042, 2042, 3042):
        [_, v6] = site.addresses(service)
        assert good.values(site.config.dns[REVERSE6].record(v6), "PTR")
    state = site.store.zone_state(REVERSE)
    assert state["failures"] < 8
    assert "refuses connections" in state["error"]
    assert state["next_action"]
    bad.down = False
    site.clock.time += 1000
    site.write()
    assert bad.values(f"10.{REVERSE}", "PTR")
    assert site.store.zone_state(REVERSE)["failures"] == 0
    site.close()


def test_tries_become_rare_but_go_on(site: Site) -> None:
    [v4, _] = site.born()
    site.sim.down = True
    site.save(v4, NAME)
    at: list[float] = []
    for _ in range(6 * 3600 // 5):
        site.clock.time += 5
        if site.store.zones_due():
            at.append(site.clock.time)
            writer.write_due(REVERSE, site.config, site.store, site.providers, {})
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(at) > 20
    assert max(gaps) <= writer.LONGEST + 5
    assert gaps == sorted(gaps)
    site.sim.down = False
    site.write(wait=900)
    assert site.ptr(v4) == [NAME]


def test_what_the_provider_refuses_is_shown_and_others_go_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    [v4, v6] = site.born()
    real = site.sim.handle

    def refusing(method: str, path: str, query: Any, body: bytes, headers: Any) -> Any:
        if b"bad.example" in body:
            return 422, {"error": "Not in expected format"}, {}
        return real(method, path, query, body, headers)

    monkeypatch.setattr(site.sim, "handle", refusing)
    site.save(v4, "bad.example.com")
    site.save(v6, NAME)
    site.write()
    assert site.ptr(v6) == [NAME]
    assert site.words().count(REFUSED) == 1
    assert site.ptr(v4) == [site.default(v4)]
    assert site.write() == 0
    assert site.save(v4, "good.example.com") == ""
    assert site.write() == 1
    assert site.ptr(v4) == ["good.example.com"]
    assert REFUSED not in site.words()


def test_a_key_that_does_not_hold_keeps_every_wish(site: Site) -> None:
    [v4, _] = site.born()
    site.sim.key = "another"
    site.save(v4, NAME)
    site.write(turns=3)
    state = site.store.zone_state(REVERSE)
    assert "key" in state["error"]
    assert "pdns-key" not in state["error"]
    assert WAITING in site.words()
    site.sim.key = "pdns-key"
    site.write(wait=900)
    assert site.ptr(v4) == [NAME]


def test_secrets_stand_in_no_table_and_no_page(site: Site) -> None:
    site.born()
    assert "pdns-key" in site.config.secrets()
    site.sim.key = "another"
    site.save(site.addresses()[0], NAME)
    site.write(turns=3)
    dump = "\n".join(site.store.db.conn.iterdump())
    assert "pdns-key" not in dump
    assert "pdns-key" not in site.page_html()
    assert "pdns-key" not in repr(site.config.dns)


def test_an_unknown_zone_keeps_its_records_until_it_is_back(site: Site) -> None:
    [v4, _] = site.born()
    zone = site.config.dns.pop(REVERSE)
    site.providers.pop(REVERSE)
    site.order("terminate")
    site.run()
    site.write(turns=3)
    assert site.sim.values(f"10.{REVERSE}", "PTR") == [site.default(v4)]
    site.config.dns[REVERSE] = zone
    site.providers.update(writer.providers_of(site.config, site.clock, site.sim.mount))
    site.clock.time += 3601
    site.write()
    assert site.ptr(v4) == []


def test_a_restored_store_writes_no_old_wish_and_still_knows_what_is_ours(site: Site, tmp_path: Path) -> None:
    [v4, v6] = site.born()
    site.sim.down = True
    site.save(v4, "old.example.com")
    archive.take(str(site.path), tmp_path / "copy.db")
    site.sim.down = False
    site.save(v4, "newer.example.com")
    site.save(v6, "newer6.example.com")
    site.clock.time += 1000
    site.write()
    site.store.close()
    archive.put_back(tmp_path / "copy.db", str(site.path), KEY, {}, site.clock.now(), "aside")
    site.store.migrate()
    assert site.write() == 0
    assert site.ptr(v4) == ["newer.example.com"]
    assert REFUSED in site.words()
    site.ended()
    assert site.ptr(v4) == []
    assert site.ptr(v6) == []


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
