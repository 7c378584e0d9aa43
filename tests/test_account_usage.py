"""What is billed by use, from the bridge's own counts to the dashboard: so far, by the month's end, and in the next
renewal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from bridge.accounts import wire
from bridge.app import create_app
from bridge.costs.metered import Used
from bridge.metering import usage
from bridge.services.account_usage import used_of
from bridge.store.status import Machine
from bridge.web import dashboard
from tests import accounts
from tests.accounts import service
from tests.looks import read
from tests.test_charts import shim_of
from tests.test_low_credit import client, mails, send
from tests.test_usage import GB, book, moment, sample
from tests.world import World

TODAY = "2027-04-11"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One server since 22 March: 20 GB in March, 20 GB of April so far."""
    made = World(tmp_path)
    made.clock.time = moment("2027-03-22T00:00:00")
    made.order("create")
    made.run()
    made.cluster.vms[20000].rates = (0, 0)
    made.clock.time = moment("2027-03-31T23:59:00")
    sample(made, 15 * GB, 5 * GB)
    made.clock.time = moment("2027-04-01T00:00:30")
    book(made)
    made.clock.time = moment(f"{TODAY}T00:00:00")
    sample(made, 25 * GB, 15 * GB)
    yield made
    made.close()


def meter(metric: str = "bandwidth_total", of: int = 1042, price: str = "0.50", included: str = "0") -> list[Any]:
    return [of, metric, metric, "GB", included, "simple", [["0", price]]]


def body(*metered: list[Any], **more: Any) -> dict[str, Any]:
    rows = {"services": [service(1042, due="2027-04-20", registered="2027-03-20")], "metered": list(metered)}
    return accounts.body("15.00", today=TODAY, **{**rows, **more})


def test_a_month_so_far_and_what_a_day_has_come_to(world: World) -> None:
    (counted,) = usage.so_far("main", [1042, 7], world.store, "UTC").values()
    assert counted.now["bandwidth_total"] == 20.0
    assert counted.now["bandwidth_in"] == 10.0
    assert counted.now["ipv4"] == 1.0
    assert counted.days["bandwidth_total"] == [pytest.approx(2.0), pytest.approx(2.0, rel=0.01)]
    assert set(counted.days) == {"bandwidth_in", "bandwidth_out", "bandwidth_total", "snapshot_gb", "backup_gb"}
    assert usage.so_far("other", [1042], world.store, "UTC") == {} == usage.so_far("main", [], world.store, "UTC")


def test_a_month_of_a_few_hours_says_nothing_of_its_days(world: World) -> None:
    world.clock.time = moment("2027-05-01T06:00:00")
    book(world)
    (counted,) = usage.so_far("main", [1042], world.store, "UTC").values()
    assert counted.now["bandwidth_total"] == 0
    assert len(counted.days["bandwidth_total"]) == 1


def test_only_what_is_billed_of_services_of_ours(world: World) -> None:
    account = wire.read(body(meter(), meter("ipv4"), meter("unheard_of"), meter(of=7)))
    used = used_of(account, "main", world.store, "UTC")
    assert set(used) == {(1042, "bandwidth_total"), (1042, "ipv4")}
    assert used[1042, "ipv4"] == Used(D("1.0"), [])
    theirs = wire.read(body(meter(), products=[[1, "VPS S", 3, True, False]]))
    assert used_of(theirs, "main", world.store, "UTC") == {}
    assert used_of(account, "other", world.store, "UTC") == {}


def test_the_dashboard_shows_it_and_the_next_renewal_has_it(world: World) -> None:
    html = (
        shim_of(world)
        .send("POST", "/v1/dashboard/dashboard?theme=bs4", body(meter(), meter("ipv4")))
        .get_json()["html"]
    )
    [table] = read(html).find("table", class_="vmb-sheet vmb-by-use")
    first, second = [[c.text.strip() for c in tr.find("td")] for tr in table.find("tr") if tr.find("td")]
    assert first[1:3] == ["Traffic in and out", "20.00 GB"]
    assert first[3].startswith("58.0")
    assert first[4].startswith("29.0")
    assert second[1:3] == ["IPv4 addresses", "1.00 GB"]
    [row] = [tr for tr in read(html).find("tr") if "about" in tr.text and tr.find("td", data_label="Due")]
    assert "29." in row.text or "30." in row.text


def test_without_a_price_there_are_units_only_and_without_invoices_nothing(world: World) -> None:
    shim, bare = shim_of(world), [*meter()[:6], []]
    html = shim.send("POST", "/v1/dashboard/dashboard", body(bare)).get_json()["html"]
    [table] = read(html).find("table", class_="vmb-sheet vmb-by-use")
    assert table.find("tr")[1].find("td")[-1].text.strip() == "–"
    assert (
        "vmb-by-use"
        not in shim.send("POST", "/v1/dashboard/dashboard", body(meter(), may=["products"])).get_json()["html"]
    )


def test_a_mail_about_credit_knows_of_it_too(world: World) -> None:
    rows = {"services": [service(1042, due="2027-04-27", registered="2027-03-20")]}
    enough = client("15.00", **rows), client("15.00", metered=[meter()], **rows)
    shim = shim_of(world)
    assert [send(shim, one, today=TODAY).get_json()["told"] for one in enough] == [0, 1]
    assert len(mails(world)) == 1


def test_the_machines_state_stands_beside_its_price_while_it_is_fresh(world: World) -> None:
    shim = shim_of(world)

    def state(**more: Any) -> list[str]:
        html = shim.send("POST", "/v1/dashboard/list", body(**more)).get_json()["html"]
        return [n.text.strip() for n in read(html).find("small", class_="vmb-machine")]

    assert state() == ["Running"]
    assert state(products=[[1, "VPS S", 3, True, False]]) == []
    world.clock.time += 3600
    assert state() == []  # nobody has seen it for an hour


def test_what_did_not_succeed_needs_attention_until_something_newer_did(world: World) -> None:
    shim = shim_of(world)

    def told() -> bool:
        html = shim.send("POST", "/v1/dashboard/list", body(ask={"show": "attention"})).get_json()["html"]
        return "What was ordered last did not succeed or waits for us" in html

    assert not told()
    for state, said in (("failed", True), ("waiting_for_staff", True), ("done", False)):
        with world.store.write():
            world.store.change("UPDATE operations SET state = ?", state)
        assert told() == said


def test_a_schedule_without_a_backup_for_a_week_needs_attention(world: World) -> None:
    shim = shim_of(world)

    def told() -> bool:
        html = shim.send("POST", "/v1/dashboard/list", body(ask={"show": "attention"})).get_json()["html"]
        return "no backup of the last 7 days" in html

    assert not told()  # nobody asked for backups
    with world.store.write():
        world.store.change("INSERT INTO schedules (service, time_zone, days, next_due_at) VALUES (1, 'UTC', '[]', 1.0)")
    assert told()
    with world.store.write():
        world.store.change(
            "INSERT INTO backups (service, made_at, state) VALUES (1, ?, 'ready')", world.clock.time - 6 * 86400
        )
    assert not told()
    world.clock.time += 2 * 86400
    assert told()


def test_a_quota_that_is_nearly_full_needs_attention_where_nothing_goes_by_itself(world: World) -> None:
    shim, number = shim_of(world), 0

    def sell(**sold: int) -> None:
        with world.store.write():
            package = json.loads(next(iter(world.store.column("SELECT package FROM services WHERE id = 1")))) | sold
            world.store.change("UPDATE services SET package = ? WHERE id = 1", json.dumps(package))

    def add(snapshots: int = 0, backups: int = 0, goes: bool = False, theirs: bool = False) -> None:
        nonlocal number
        with world.store.write():
            for _ in range(snapshots):
                number += 1
                world.store.change(
                    "INSERT INTO snapshots (service, name, taken_at, expires_at, state, foreign_one)"
                    " VALUES (1, ?, 1.0, ?, 'ready', ?)",
                    *(f"s{number}", world.clock.time + 3600 if goes else None, int(theirs)),
                )
            for n in range(backups):
                world.store.change(
                    "INSERT INTO backups (service, made_at, state, foreign_one) VALUES (1, ?, 'ready', ?)",
                    *(world.clock.time - n, int(theirs)),
                )

    def told() -> list[str]:
        html = shim.send("POST", "/v1/dashboard/list", body(ask={"show": "attention"})).get_json()["html"]
        return re.findall(r"\d+ of \d+ \w+", html)

    sell(snapshots=5, backups=5)
    add(snapshots=4, backups=4)
    assert told() == []  # 80 % is not over it
    add(snapshots=3, backups=3, theirs=True)
    assert told() == []  # what is not the customer's is in no quota
    add(snapshots=1)
    assert told() == ["5 of 5 snapshots"]
    add(backups=1)
    assert told() == ["5 of 5 snapshots", "5 of 5 backups"]
    with world.store.write():
        world.store.change("INSERT INTO schedules (service, time_zone, days, next_due_at) VALUES (1, 'UTC', '[]', 9e9)")
    assert told() == ["5 of 5 snapshots"]  # a schedule keeps them full: the oldest goes with each
    with world.store.write():
        world.store.change("UPDATE schedules SET next_due_at = NULL")
    assert told() == ["5 of 5 snapshots", "5 of 5 backups"]
    sell(snapshots=1, backups=0)
    assert told() == []  # one that is used is what was bought; of none nothing can be full
    sell(snapshots=6, backups=0)
    assert told() == ["5 of 6 snapshots"]
    add(snapshots=1, goes=True)
    assert told() == []  # one goes by its lifetime


def test_a_provider_that_keeps_the_newest_backups_makes_room_by_itself(world: World) -> None:
    machine = Machine(1042, "pve1", "", 0.0, False, False, 0, 0, False, 7, 7, False)
    with create_app(world.context).app_context():
        assert [a.values["what"] for a in dashboard.Words(wire.read(body()), {}, {1042: machine}).ours] == ["backups"]
        world.context.drivers["pve1"].own_backups = 7
        assert dashboard.Words(wire.read(body()), {}, {1042: machine}).ours == []
