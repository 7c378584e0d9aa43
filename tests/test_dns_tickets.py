"""Reverse records that a person writes: one ticket for each address, whatever is saved, lost or repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.dns import tickets
from tests.dns import sims
from tests.dns.desk import Desk
from tests.dns.world import REVERSE, REVERSE6, Zoned

NAME = "mail.customer.example"
BY_HAND = {"provider": "ticket", "department": "technical Support"}


class Site(Zoned):
    def __init__(self, path: Path, tables: dict[str, Any] | None = None, prepare: Any = None, **plan: Any) -> None:
        self.desk = Desk()
        super().__init__(path, {REVERSE: BY_HAND} if tables is None else tables, prepare, **plan)

    def start(self) -> None:
        super().start()
        self.context.whmcs = dict.fromkeys(self.config.whmcs, self.desk)

    def born(self, service: int = 1042, **params: Any) -> list[str]:
        self.order("create", service, **params)
        self.run()
        self.write(turns=5)
        return self.addresses(service)

    def pause(self, seconds: float = tickets.LOOK + 1) -> None:
        self.clock.time += seconds
        self.write(turns=3)

    def told(self) -> list[tuple[str, list[str]]]:
        return [(t["subject"], [m.partition(" of ")[2] for m in t["said"]]) for t in self.desk.tickets]


def test_one_ticket_for_an_address_and_the_page_says_when(site: Site) -> None:
    [v4, v6] = site.born()
    assert site.desk.tickets == []  # nothing is asked for that nobody wants
    assert site.save(v4, NAME) == ""
    assert site.desk.calls == []
    site.write(turns=2)
    [ticket] = site.desk.tickets
    assert (ticket["deptid"], ticket["userid"], ticket["serviceid"], ticket["subject"]) == (
        "3",
        7,
        1042,
        f"Reverse DNS of {v4}",
    )
    assert "Requested on 20" in site.words()
    assert site.fields()[v4] == NAME
    for _ in range(3):
        assert site.save(v4, NAME) == ""
        site.write(turns=3)
        site.pause()
    assert len(site.desk.tickets) == 1
    assert site.told() == [(f"Reverse DNS of {v4}", [f"{v4} to {NAME}."])]
    assert "Requested on" not in site.words().partition(v6)[2]


def test_another_name_is_a_reply_and_a_closed_ticket_ends_it(site: Site) -> None:
    [v4, _] = site.born()
    for name in ("one.example.com", "two.example.com", "two.example.com"):
        site.save(v4, name)
        site.write(turns=2)
    assert site.told() == [(f"Reverse DNS of {v4}", [f"{v4} to one.example.com.", f"{v4} to two.example.com."])]
    site.desk.tickets[0]["status"] = "Closed"
    site.pause()
    assert "Requested on" not in site.words()
    assert site.fields()[v4] == "two.example.com"
    site.save(v4, "three.example.com")
    site.write(turns=2)
    assert [t["status"] for t in site.desk.tickets] == ["Closed", "Open"]
    site.save(v4, "")
    site.write(turns=2)
    assert site.told()[1][1] == [f"{v4} to three.example.com.", f"{v4} to nothing: remove the record."]


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed meanwhile"])
@pytest.mark.parametrize("before", ["", NAME], ids=["nothing", "a name"])
def test_what_stands_already_is_asked_for_while_a_ticket_asks_for_something_else(
    before: str, closed: bool, site: Site
) -> None:
    """Else a person would write what nobody wants any more. What became of a ticket that was closed is not known."""
    [v4, _] = site.born()
    if before:
        site.save(v4, before)
        site.write(turns=2)
        site.desk.tickets[0]["status"] = "Closed"
        site.pause()
    site.save(v4, "two.example.com")
    site.write(turns=2)
    if closed:
        site.desk.tickets[-1]["status"] = "Closed"
    site.save(v4, before)
    site.write(turns=2)
    back = f"{v4} to {before}." if before else f"{v4} to nothing: remove the record."
    assert [said[-1] for _, said in site.told()][-1] == back
    assert "Requested on" in site.words()
    site.desk.tickets[-1]["status"] = "Closed"
    site.pause()
    assert "Requested on" not in site.words()
    many = len(site.desk.tickets)
    site.save(v4, before)
    site.write(turns=2)
    assert len(site.desk.tickets) == many


def test_a_server_that_ends_before_its_ticket_was_seen_to_takes_the_wish_back(site: Site) -> None:
    [v4, _] = site.born()
    site.save(v4, NAME)
    site.write(turns=2)
    site.order("terminate")
    site.run()
    site.write(turns=3)
    assert site.told() == [(f"Reverse DNS of {v4}", [f"{v4} to {NAME}.", f"{v4} to nothing: remove the record."])]


def test_a_wish_whose_answer_was_lost_is_taken_back_too(site: Site) -> None:
    [v4, _] = site.born()
    site.desk.faults = [("OpenTicket", "lost")]
    site.save(v4, NAME)
    site.write()
    assert len(site.desk.tickets) == 1
    site.save(v4, "")
    site.pause()
    assert site.told() == [(f"Reverse DNS of {v4}", [f"{v4} to {NAME}.", f"{v4} to nothing: remove the record."])]


@pytest.mark.parametrize("action", ["OpenTicket", "AddTicketReply", "GetTickets", "GetTicket", "GetSupportDepartments"])
@pytest.mark.parametrize("kind", ["down", "lost", "refused"])
def test_a_fault_of_any_call_opens_no_second_ticket(action: str, kind: str, site: Site) -> None:
    [v4, _] = site.born()
    for name in ("one.example.com", "two.example.com"):
        site.desk.faults = [(action, kind)]
        site.save(v4, name)
        site.write(turns=3)
        site.desk.faults = []
        site.pause(1000)
        assert "Requested on" in site.words()
    assert site.told() == [(f"Reverse DNS of {v4}", [f"{v4} to one.example.com.", f"{v4} to two.example.com."])]


def test_a_server_that_ends_has_its_name_taken_away(site: Site) -> None:
    [v4, _] = site.born()
    site.save(v4, NAME)
    site.write(turns=2)
    site.desk.tickets[0]["status"] = "Closed"
    site.pause()
    site.order("terminate")
    site.run()
    site.write(turns=3)
    assert site.told()[1] == (f"Reverse DNS of {v4}", [f"{v4} to nothing: remove the record."])
    site.desk.tickets[1]["status"] = "Closed"
    site.pause()
    assert site.store.rows("SELECT * FROM dns_records") == []
    site.clock.time += 25 * 3600
    [again, _] = site.born(2042, userid=9, domain="next.example.org")
    site.pause()
    assert again == v4
    assert len(site.desk.tickets) == 2
    assert site.fields(2042, 9)[v4] == ""


def test_a_name_that_could_not_be_asked_away_is_gone_for_the_next(site: Site) -> None:
    """WHMCS's API was down from the end of one server until another one had its address."""
    [v4, _] = site.born()
    site.save(v4, NAME)
    site.write(turns=2)
    site.desk.tickets[0]["status"] = "Closed"
    site.pause()
    site.desk.faults = [("*", "down")]
    site.order("terminate")
    site.run()
    site.write(turns=3)
    site.clock.time += 25 * 3600
    [again, _] = site.born(2042, userid=9, domain="next.example.org")
    assert again == v4
    site.desk.faults = []
    site.pause()
    assert site.told()[1:] == [(f"Reverse DNS of {v4}", [f"{v4} to nothing: remove the record."])]
    assert site.fields(2042, 9)[v4] == ""
    site.desk.tickets[1]["status"] = "Closed"
    site.pause()
    site.pause()
    assert len(site.desk.tickets) == 2


def test_a_department_that_is_not_there_is_told_to_staff(tmp_path: Path) -> None:
    site = Site(tmp_path, {REVERSE: {**BY_HAND, "department": "Nobody"}})
    [v4, _] = site.born()
    site.save(v4, NAME)
    site.write(turns=3)
    state = site.store.zone_state(REVERSE)
    assert "Nobody" in state["error"]
    assert "Technical support" in state["error"]
    assert site.desk.tickets == []
    site.close()


@pytest.mark.parametrize("zone", [True, False])
def test_the_products_department_takes_the_customers_wishes(zone: bool, tmp_path: Path) -> None:
    """Default names are written by the zone's provider where there is one; and it takes the name away at the end,
    whoever wrote it."""
    sim = sims.PowerDns(REVERSE, REVERSE6)
    tables = {REVERSE: sim.settings()} if zone else {}
    site = Site(tmp_path, tables, sim.mount, ptr_name="{ip_dashed}.static.example.com")
    [v4, v6] = site.born(configoption14="3")
    assert sim.values(f"10.{REVERSE}", "PTR") == (["203-0-113-10.static.example.com"] if zone else [])
    assert site.save(v4, NAME) == ""
    assert site.save(v6, NAME) == ""
    before = list(sim.calls)
    site.write(turns=4)
    site.sweep()
    site.pause()
    assert sorted(t["subject"] for t in site.desk.tickets) == sorted(f"Reverse DNS of {a}" for a in (v4, v6))
    assert sim.calls == before
    assert site.words().count("Requested on") == 2
    sim.put(f"10.{REVERSE}", "PTR", NAME)  # staff does it
    for ticket in site.desk.tickets:
        ticket["status"] = "Closed"
    site.pause()
    assert "Requested on" not in site.words()
    site.order("terminate")
    site.run()
    site.write(turns=5)
    open_now = [t["subject"] for t in site.desk.tickets if t["status"] != "Closed"]
    if zone:
        assert sim.values(f"10.{REVERSE}", "PTR") == []
        assert open_now == [f"Reverse DNS of {v6}"]
    else:
        assert sorted(open_now) == sorted(f"Reverse DNS of {a}" for a in (v4, v6))
    site.close()
