"""Names of addresses when something fails on the way: any call of any provider, a worker that dies, a provider that is
down or refuses, and in any order with orders of servers."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.dns import writer
from bridge.model import Desired, Service
from bridge.store import archive
from tests.configs import KEY
from tests.dns import sims
from tests.dns.site import FORWARD, NAME, REFUSED, RULE, WAITING, Killed, Site, die, dying_at_faults, killed
from tests.dns.world import REVERSE, REVERSE6, Zoned
from tests.test_rename import rename

# -- any sequence of orders -----------------------------------------------------------------------
VERBS = ["create", "terminate", "save", "clear", "extra", "rename", "reinstall", "suspend"]
VERBS += ["down", "up", "write", "later", "crash"]
STEPS = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 2), st.integers(0, 3)), max_size=25)
NUMBERS = (1042, 2042, 3042)


class Lives:
    """Three services that take turns at the same few addresses, IPv4 and IPv6, main and extra, and at the same names;
    what each customer has chosen."""

    def __init__(self, site: Site) -> None:
        self.site, self.count = site, itertools.count()
        self.chosen: dict[str, str] = {}
        self.labels: dict[int, str] = {}
        self.ever: set[str] = set()

    def service(self, number: int) -> Service | None:
        row = self.site.store.find_service("main", number)
        return row if row and row.desired is not Desired.TERMINATED else None

    def own(self, number: int) -> list[str]:
        own = self.site.addresses(number) if self.service(number) else []
        self.ever |= set(own)
        return own

    def step(self, verb: str, number: int, n: int) -> None:
        site, before = self.site, self.own(number)
        if verb == "create" and not self.service(number):
            self.labels[number] = "abcd"[n]
            site.order("create", number, domain=f"{self.labels[number]}.customer.example")
        elif verb in ("save", "clear") and before:
            self.save(number, before[n % len(before)], verb)
        elif verb in ("down", "up"):
            site.sim.down = verb == "down"
        elif verb == "write":
            site.write(turns=2, wait=0)
        elif verb == "later":
            site.clock.time += 3600
        elif verb == "crash" and site.store.zones_due():
            killed(site, n)
        elif self.service(number):
            self.order(verb, number, n)
        site.run()
        for address in set(before) - set(self.own(number)):
            self.chosen.pop(address, None)

    def order(self, verb: str, number: int, n: int) -> None:
        site, service = self.site, self.service(number)
        assert service
        if verb in ("terminate", "suspend"):
            site.order("unsuspend" if service.desired is Desired.SUSPENDED and verb == "suspend" else verb, number)
        elif verb == "extra" and service.desired is Desired.ACTIVE:
            site.order("change_package", number, configoption9=str(n), domain="")
        elif verb == "reinstall" and service.desired is Desired.ACTIVE:
            site.page("reinstall", "reinstall", number, template="debian-12", confirm="REINSTALL")
        elif verb == "rename":
            self.labels[number] = "abcd"[n]
            rename(site, f"{self.labels[number]}.customer.example", number)

    def save(self, number: int, address: str, verb: str) -> None:
        name = "" if verb == "clear" else f"c{number}-{next(self.count)}.example.com"
        if self.site.save(address, name, number):
            return  # while it is suspended
        self.chosen.pop(address, None)
        if name:
            self.chosen[address] = name


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_no_address_keeps_a_name_of_a_former_customer(steps: list[tuple[str, int, int]], tmp_path_factory: Any) -> None:
    """In any order, with a provider that is down at times and a worker that is killed: in the end each address has the
    name that its holder wants or none, and each server's own name leads to it and to nobody else."""
    site = Site(tmp_path_factory.mktemp("life"))
    site.config.worker["address_cool_down_h"] = 0
    lives = Lives(site)
    for verb, which, n in steps:
        lives.step(verb, NUMBERS[which], n)
    site.sim.down = False
    site.clock.time += 3600
    site.write(turns=200)
    site.sweep()
    site.write(turns=200)
    held = {a for n in NUMBERS for a in lives.own(n)}
    for address in lives.ever:
        wanted = [lives.chosen.get(address) or site.default(address)] if address in held else []
        assert site.ptr(address) == wanted, address
        assert site.sim.values(site.default(address), kind_of(address)) == ([address] if address in held else [])
    written = {n: rows for (n, kind), (_, rows) in site.sim.zones[FORWARD].items() if kind in ("A", "AAAA")}
    alive = [n for n in NUMBERS if lives.service(n)]
    assert len(written) == len(alive)
    for number in alive:
        names = [lives.labels[number], f"{lives.labels[number]}-{number}"]
        mains = {kind_of(a): a for a in reversed(lives.own(number))}
        kept = [n for n in names if site.sim.values(f"{n}.{FORWARD}", "A") == [mains["A"]]]
        assert len(kept) == 1, (names, written)
        assert site.sim.values(f"{kept[0]}.{FORWARD}", "AAAA") == [mains["AAAA"]]
    assert site.store.rows("SELECT name FROM dns_records WHERE held = 0 OR due_at IS NOT NULL") == []
    site.close()


def kind_of(address: str) -> str:
    return "AAAA" if ":" in address else "A"


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
            fault.kind = die if kind.endswith("before") else "lost"
        site.sim.faults = [fault]
        with suppress(Killed):
            if kind == "killed after":
                dying_at_faults(site)
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


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_zone_that_is_deleted_under_us_keeps_every_wish(provider: str, tmp_path: Path) -> None:
    site = Site(tmp_path, provider, (REVERSE, REVERSE6), **SMALL)
    [v4] = site.born()
    zones = site.sim.zones
    site.sim.zones = type(zones)() if isinstance(zones, tuple) else {}
    assert site.save(v4, NAME) == ""
    site.write(turns=3)
    assert WAITING in site.words()
    assert site.store.zone_state(REVERSE)["next_action"]
    site.sim.zones = zones
    site.write(wait=900)
    assert site.ptr(v4) == [NAME]
    site.ended()
    assert site.ptr(v4) == []
    site.close()


@pytest.mark.parametrize("provider", ["powerdns", "cloudflare", "rfc2136"])
def test_a_cname_refuses_a_name_and_keeps_nothing_from_ending(provider: str, tmp_path: Path) -> None:
    """Part of the zone is kept in another one: said once, never tried for ever, and gone with the service."""
    site = Site(tmp_path, provider, (REVERSE, REVERSE6), **SMALL)
    site.sim.put(f"10.{REVERSE}", "CNAME", f"10.0/26.{REVERSE}")
    [v4] = site.born()
    assert site.save(v4, NAME) == ""
    site.write()
    assert REFUSED in site.words()
    assert site.write() == 0
    site.ended()
    assert site.store.rows("SELECT * FROM dns_records") == []
    assert site.sim.values(f"10.{REVERSE}", "CNAME") == [f"10.0/26.{REVERSE}"]
    site.close()


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
