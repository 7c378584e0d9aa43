"""Clients who want to know before their credit runs out: told once, in their language, by WHMCS's mail; nothing else is
kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from bridge import worker
from bridge.costs.warnings import FORGOTTEN
from bridge.errors import Transient
from hooks import low_credit
from tests import accounts
from tests.accounts import service
from tests.test_charts import shim_of
from tests.test_signature import Shim
from tests.world import World


@pytest.fixture
def shim(world: World) -> Shim:
    return shim_of(world)


def client(credit: str = "7.00", days: Any = 7, language: str = "english", **more: Any) -> dict[str, Any]:
    own = accounts.body(credit, **{"services": [service(due="2026-12-15")], **more})
    return {
        **{k: v for k, v in own.items() if k not in ("today", "zone", "settings")},
        "days": days,
        "language": language,
    }


def send(shim: Shim, *clients: Any, today: str = accounts.TODAY, **more: Any) -> Any:
    shared = {"today": today, "zone": "Europe/Berlin", "settings": accounts.SETTINGS}
    return shim.send("POST", "/v1/low-credit", {**shared, "clients": list(clients), **more})


def mails(world: World) -> list[tuple[Any, ...]]:
    while world.delivery.deliver_one():
        pass
    return [args for name, args in world.whmcs.sent if name == "send_client_email"]


def test_a_client_is_told_once_however_often_the_cron_asks(world: World, shim: Shim) -> None:
    assert send(shim, client()).get_json() == {"result": "success", "told": 1, "not_read": {}}
    ((number, subject, html),) = mails(world)
    assert number == 7
    assert subject == "Your credit will not cover everything"
    sentence = (
        "Your credit covers everything until 30 Nov 2026. On 1 Dec 2026 3.00 EUR will be missing, first for"
        " vm-1.example.com."
    )
    assert sentence in html
    assert "index.php?m=vmbridgehome&amp;vmb[page]=addfunds" in html
    for _ in range(3):
        world.clock.time += 86400
        assert send(shim, client("5.00"), today="2026-11-27").get_json()["told"] == 0
        worker.prune(world.context)
    world.clock.time += 60 * 86400  # the outbox has forgotten it, what was told has not
    worker.prune(world.context)
    assert send(shim, client("5.00"), today="2026-11-28").get_json()["told"] == 0
    assert len(mails(world)) == 1


def test_the_next_event_is_told_anew_and_each_client_by_itself(world: World, shim: Shim) -> None:
    send(shim, client())
    later = client("7.00", services=[service(due="2027-01-15")])
    assert send(shim, later, client(client={"id": 8}), today="2026-12-28").get_json()["told"] == 2
    assert [m[0] for m in mails(world)] == [7, 7, 8]


def test_nothing_is_kept_but_that_it_was_told(world: World, shim: Shim) -> None:
    dear = client(services=[service(amount="7361942.58", due="2026-12-15")])  # no date or token has these digits
    send(shim, dear, client(client={"id": 8, "name": "Secret Ltd"}, days=1))
    ((_, _, html),) = mails(world)
    assert "7361935.58 EUR" in html
    with closing(sqlite3.connect(world.path)) as db:
        told = db.execute("SELECT whmcs, event FROM told").fetchall()
        everything = "\n".join(db.iterdump())
    assert told == [("main", "low_credit:7:hosting:1:2026-12-15")]
    assert not any(word in everything for word in ("vm-1.example.com", "Secret Ltd", "7361935", "Ada Ltd"))


def test_what_was_told_is_forgotten_when_it_is_long_past(world: World, shim: Shim) -> None:
    send(shim, client())
    mails(world)
    world.clock.time += (FORGOTTEN + 1) * 86400
    worker.prune(world.context)
    assert world.store.row("SELECT count(*) AS n FROM told") == {"n": 0}


def test_a_client_whose_account_cannot_be_read_holds_up_nobody(world: World, shim: Shim) -> None:
    bad = client(days=5), client(client={"id": 0}), "x", {**client(), "token": "x"}, client(days=True)
    answer = send(shim, *bad, client(client={"id": 9})).get_json()
    assert answer["told"] == 1
    assert sorted(answer["not_read"]) == ["0", "1", "2", "3", "4"]
    assert answer["not_read"]["0"] == "days: must be one of 1, 3, 7, 14."
    assert answer["not_read"]["1"].startswith("client.id")


@pytest.mark.parametrize("body", [{"clients": {}}, {"clients": None}, {}, {"clients": [], "more": 1}])
def test_a_call_that_is_none_is_refused(shim: Shim, body: dict[str, Any]) -> None:
    reply = shim.send("POST", "/v1/low-credit", body)
    assert reply.status_code == 400
    assert reply.get_json()["error"]["code"] == "bad_dashboard"


def test_it_is_for_whmcs_alone(shim: Shim) -> None:
    reply = shim.send("POST", "/v1/low-credit", {"clients": []}, secret="x" * 32)
    assert reply.status_code == 401


def test_two_installations_tell_their_own_clients(world: World) -> None:
    assert world.store.tell("main", "7:x", "low_credit", client_id=7)
    assert world.store.tell("other", "7:x", "low_credit", client_id=7)
    assert not world.store.tell("main", "7:x", "low_credit", client_id=7)
    assert len(world.store.events()) == 2


def test_a_mail_that_whmcs_does_not_take_is_sent_again(world: World, shim: Shim) -> None:
    send(shim, client())
    real = world.delivery.hooks["low_credit"]

    def down(*args: Any) -> None:
        raise Transient("WHMCS is down.")

    world.delivery.hooks = {**world.delivery.hooks, "low_credit": down}
    assert mails(world) == []
    world.delivery.hooks = {**world.delivery.hooks, "low_credit": real}
    world.clock.time += 3600
    assert len(mails(world)) == 1


def test_the_mail_is_in_the_clients_language_and_direction(world: World, shim: Shim) -> None:
    send(shim, client(language="pseudo-rtl"))
    ((_, subject, html),) = mails(world)
    assert subject.startswith("[")
    assert 'dir="rtl"' in html
    assert "3.00 EUR" in html


def test_names_are_text_in_html_and_for_smarty(world: World, shim: Shim) -> None:
    send(shim, client(services=[service(due="2026-12-15", name="<b>{$x}{literal}")]))
    ((_, _, html),) = mails(world)
    assert "&lt;b&gt;$xliteral" in html
    assert "{" not in html


def test_what_is_missing_today_is_said_so(world: World, shim: Shim) -> None:
    send(shim, client(services=[service()]))
    ((_, _, html),) = mails(world)
    assert "Today 3.00 EUR are missing in your credit, first for vm-1.example.com." in html


def test_the_hook_is_found_by_its_event(world: World) -> None:
    assert world.delivery.hooks["low_credit"] is low_credit.deliver
