"""The doctor's look at zones, and the staff's pages about them."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from bridge.dns import check
from bridge.model import Finding
from tests.dns import sims
from tests.dns.desk import Desk
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned
from tests.looks import whole
from tests.test_admin_pages import Staff

RULE = f"{{ip_dashed}}.{STATIC}"


def looked(site: Zoned, write_test: bool = False, servers: Any = None) -> list[Finding]:
    """What `vmbridge check` says of zones, where the world asks `servers`."""

    def asked(zone: str) -> list[str]:
        if servers is None:
            return [f"ns1.{zone}"]
        if isinstance(servers, Exception):
            raise servers
        return list(servers)

    desk = dict.fromkeys(site.config.whmcs, Desk())
    return check.check(site.config, site.store, site.providers, desk, write_test, asked)


def wrong(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.level, f.subject, f.text) for f in findings if f.level != "ok"]


@pytest.fixture
def sim() -> sims.PowerDns:
    return sims.PowerDns(REVERSE, REVERSE6)


def made(path: Path, sim: Any, *zones: str, **plan: Any) -> Zoned:
    return Zoned(path, {z: sim.settings() for z in zones or (REVERSE, REVERSE6)}, sim.mount, ptr_name=RULE, **plan)


def test_all_is_well_and_only_a_write_test_writes(tmp_path: Path, sim: sims.PowerDns) -> None:
    site = made(tmp_path, sim)
    assert wrong(looked(site)) == []
    assert sim.changes() == []
    assert wrong(looked(site, write_test=True)) == []
    assert len(sim.changes()) == 4
    assert sim.values(f"_vmbridge-check.{REVERSE}", "TXT") == []
    site.close()


def test_a_key_that_does_not_hold_and_a_zone_that_is_not_there(tmp_path: Path, sim: sims.PowerDns) -> None:
    site = made(tmp_path, sim)
    sim.key = "another"
    findings = looked(site)
    assert [(f.level, f.subject) for f in findings if f.level != "ok"] == [
        ("fault", f"dns {z}") for z in (REVERSE, REVERSE6)
    ]
    assert all("pdns-key" not in f"{f.text}{f.fix}" and f.fix for f in findings if f.level != "ok")
    sim.key = "pdns-key"
    del sim.zones[REVERSE6]
    [(level, subject, text)] = wrong(looked(site))
    assert (level, subject) == ("fault", f"dns {REVERSE6}")
    assert "no zone" in text
    site.close()


def test_who_is_asked_by_the_world(tmp_path: Path, sim: sims.PowerDns) -> None:
    site = made(tmp_path, sim, REVERSE, pools=["public-v4"])
    assert wrong(looked(site, servers=[f"NS1.{REVERSE}", "ns2.example.net"])) == []
    [(level, _, text)] = wrong(looked(site, servers=[]))
    assert level == "warning"
    assert f"nobody asks ns1.{REVERSE}" in text
    [(level, _, text)] = wrong(looked(site, servers=["ns1.provider.example"]))
    assert level == "warning"
    assert "ns1.provider.example" in text
    assert f"ns1.{REVERSE}" in text
    [(level, _, text)] = wrong(looked(site, servers=LookupError("LifetimeTimeout")))
    assert level == "warning"
    assert "could not be looked up" in text
    site.close()


@pytest.mark.parametrize(
    ("zone", "hole"),
    [
        ("0/26.113.0.203.in-addr.arpa", "203.0.113.64 - 203.0.113.250"),
        ("128/25.113.0.203.in-addr.arpa", "203.0.113.10 - 203.0.113.127"),
        (REVERSE, ""),
    ],
)
def test_addresses_that_no_zone_holds(zone: str, hole: str, tmp_path: Path) -> None:
    sim = sims.PowerDns(zone)
    site = made(tmp_path, sim, zone, pools=["public-v4"])
    told = [text for _, subject, text in wrong(looked(site)) if subject == "pool public-v4 reverse DNS"]
    assert told == ([f"no zone holds {hole}"] if hole else [])
    site.close()


def test_a_zone_that_fails_is_told_with_the_cause(tmp_path: Path, sim: sims.PowerDns) -> None:
    site = made(tmp_path, sim)
    site.order("create")
    site.run()
    sim.down = True
    site.write(turns=2)
    sim.down = False
    assert any("tries in a row have failed" in text and "refuses" in text for _, _, text in wrong(looked(site)))
    site.write(wait=900)
    assert wrong(looked(site)) == []
    site.close()


def test_a_department_by_name_or_number(tmp_path: Path) -> None:
    for department, level in (("technical support", "ok"), ("3", "ok"), ("7", "fault"), ("Nobody", "fault")):
        site = Zoned(tmp_path / department, {REVERSE: {"provider": "ticket", "department": department}})
        assert [f.level for f in looked(site) if f.subject == f"dns {REVERSE}"] == [level], department
        site.close()


# -- the staff's pages ----------------------------------------------------------------------------
def words(page: str) -> str:
    text = re.sub(r"<(style|script)>.*?</\1>", "", whole(page), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def staff(site: Zoned) -> Staff:
    return Staff(create_app(site.context).test_client(), site.clock)


def test_the_page_of_zones_and_its_retry(tmp_path: Path, sim: sims.PowerDns) -> None:
    site = made(tmp_path, sim)
    site.order("create")
    site.run()
    site.write()
    [v4, v6] = site.addresses()
    page = staff(site)
    assert "Everything is written as wanted." in words(page.html("dns"))
    sim.down = True
    site.save(v4, "mail.customer.example")
    site.write(turns=3)
    told = words(page.html("dns"))
    assert "fails PowerDNS" not in told
    assert "refuses connections" in told
    assert "waiting" in told
    assert "mail.customer.example" in told
    assert "pdns-key" not in told
    assert page.html("dns").count("Retry") == 1
    sim.down = False
    record = {"name": f"10.{REVERSE}", "type": "PTR"}
    assert page.form("dns", action="dns_retry", **record).get_json()["redirect"] == "page=dns&said=dns_retry"
    assert site.write(turns=1) == 1
    assert sim.values(f"10.{REVERSE}", "PTR") == ["mail.customer.example"]
    assert "Everything is written as wanted." in words(page.html("dns", said="dns_retry"))
    site.order("terminate")
    site.run()
    site.write()
    assert "done or gone" in page.form("dns", action="dns_retry", **record).get_json()["html"]
    assert v6
    site.close()


def test_what_is_not_ours_is_shown_and_replaced_by_staff(tmp_path: Path, sim: sims.PowerDns) -> None:
    sim.put(f"10.{REVERSE}", "PTR", "old.operator.example")
    site = made(tmp_path, sim)
    site.order("create")
    site.run()
    site.write()
    page = staff(site)
    assert "there is old.operator.example , which vmbridge has not written" in words(page.html("dns"))
    assert "old.operator.example not ours" in words(page.tab())
    page.form("dns", action="dns_replace", name=f"10.{REVERSE}", type="PTR")
    site.write(turns=1)
    assert sim.values(f"10.{REVERSE}", "PTR") == [f"203-0-113-10.{STATIC}"]
    assert f"203-0-113-10.{STATIC}" in words(page.tab())
    assert "not ours" not in words(page.tab())
    site.close()


def test_the_service_tab_has_names_and_says_what_waits_or_was_refused(tmp_path: Path, sim: sims.PowerDns) -> None:
    site = made(tmp_path, sim)
    site.order("create")
    site.run()
    assert words(staff(site).tab()).count("waiting") >= 2
    site.write()
    site.store.change("UPDATE dns_records SET refused = 'upstream_parameter' WHERE type = 'PTR' AND address LIKE '%:%'")
    told = words(staff(site).tab())
    assert f"203-0-113-10.{STATIC}" in told
    assert "refused" in told
    assert "refused" in words(staff(site).html("dns"))
    site.close()


def test_another_installation_sees_and_does_nothing(tmp_path: Path, sim: sims.PowerDns) -> None:
    site = made(tmp_path, sim)
    site.order("create")
    site.run()
    site.store.change("UPDATE services SET whmcs = 'other'")
    page = staff(site)
    assert "203.0.113.10" not in page.html("dns")
    told = page.form("dns", action="dns_retry", name=f"10.{REVERSE}", type="PTR").get_json()["html"]
    assert "done or gone" in told
    site.close()
