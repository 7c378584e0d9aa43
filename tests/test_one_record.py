"""A page and a verb are each one record: what follows from it is there for every one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge import customer, recipes
from bridge.kinds import ALL, KINDS, MAILS
from bridge.model import Capability
from bridge.web import page
from hooks import email

TEMPLATES = Path(__file__).parent.parent / "bridge/templates"
page.load()


def test_every_capability_but_power_has_its_page_in_the_menus_order() -> None:
    assert list(page.PAGES) == [
        "overview",
        "charts",
        "console",
        "reinstall",
        "snapshots",
        "backups",
        "reset_password",
        "rdns",
        "iso",
        "firewall",
        "activity",
    ]
    assert set(Capability) - set(page.PAGES) == {Capability.POWER}


@pytest.mark.parametrize("name", page.PAGES)
def test_a_page_has_its_template(name: str) -> None:
    assert (TEMPLATES / f"{name}.html").exists()


@pytest.mark.parametrize("form", customer.ACTIONS, ids=".".join)
def test_a_form_stands_on_a_page_and_orders_a_kind_that_is_known(form: tuple[str, str]) -> None:
    kind, _ = customer.ACTIONS[form]
    assert form[0] in page.PAGES
    assert kind in {"", *KINDS}
    assert form[1] not in page.PAGES[form[0]].edits


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_its_recipe(kind: str) -> None:
    assert (KINDS[kind].recipe or kind) in recipes.BOOK.recipes


def test_a_recipe_stands_in_one_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.recipes.power.RECIPES", {"create": ()})
    with pytest.raises(ValueError, match=r"recipes/power\.py: create stands in another module too"):
        recipes._steps()


class Sent:
    """What WHMCS is asked to send."""

    def __init__(self, templates: dict[str, str]) -> None:
        self.templates, self.mails = templates, []  # type: dict[str, str], list[tuple[Any, ...]]

    def send_own_email(self, service_id: int, subject: str, text: str, **fields: str) -> None:
        self.mails.append((subject, text, fields))

    def send_email(self, service_id: int, template: str, **fields: str) -> None:
        self.mails.append((template, fields))


@pytest.mark.parametrize("mail", [k.mail for k in ALL if k.mail], ids=lambda m: m.reason)
def test_a_kinds_mail_is_sent_in_its_words_or_by_the_hosts_own_template(mail: Any) -> None:
    payload = {"service_id": 5, "hostname": "a.example", "user": "root", "password": "x", "reason": mail.reason}
    whmcs = Sent({})
    email.deliver("password", {**payload, "subject": mail.subject, "text": mail.text}, whmcs)
    assert whmcs.mails[0][0] == mail.subject
    assert mail.text % "a.example" in whmcs.mails[0][1]
    own = Sent({mail.reason: "Ours"})
    email.deliver("password", {**payload, "subject": mail.subject, "text": mail.text}, own)
    assert own.mails[0][0] == "Ours"
    assert mail.reason in MAILS


def test_a_password_of_an_older_releases_event_is_mailed_too() -> None:
    whmcs = Sent({})
    payload = {"service_id": 5, "hostname": "a.example", "user": "root", "password": "x", "reason": "reinstalled"}
    email.deliver("password", payload, whmcs)
    assert whmcs.mails[0][0] == "Your new password"
    assert "a.example" in whmcs.mails[0][1]
