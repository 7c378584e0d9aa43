"""What is wrong with a form stands at the field that it is about, focus goes there, and what was typed stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from tests import firewall_site, looks
from tests.configs import raw_config
from tests.looks import Look, Node
from tests.test_admin_pages import Staff
from tests.test_iso import Site
from tests.world import World

LONG = "n" * 201


def invalid(page: Node) -> Node:
    """The one field that is wrong; its sentence is where its description says, and nowhere else."""
    [field] = [n for n in page.all() if n.at.get("aria-invalid") == "true"]
    assert "autofocus" in field.at
    return field


def said(page: Node) -> str:
    [told] = page.find(id=invalid(page).at["aria-describedby"])
    assert told.at["role"] == "alert"
    assert page.text.count(told.text) == 1
    return told.text


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> Any:
    raw = raw_config(web={"costly_per_hour": 900})
    raw["plans"]["kvm-s"] |= {
        "templates": ["debian-12", "ubuntu-24.04"],
        "system_names": {"ubuntu-24.04": "Ubuntu LTS"},
    }
    world = World(tmp_path_factory.mktemp("born"), **{k: v for k, v in raw.items() if k in ("plans", "web")})
    world.order("create")
    world.run()
    yield world
    world.close()


SCHEDULE = {"on_monday": "1", "time_monday": "02:00", "on_friday": "1", "time_friday": "25:99", "time_zone": "UTC"}
WRONG: list[tuple[str, str, dict[str, str], str, str]] = [  # page, what it does, form, the field, what is said
    ("snapshots", "take", {"description": LONG}, "description", "Snapshot description: at most 200 characters."),
    ("backups", "take", {"note": LONG}, "note", "Backup notes: at most 200 characters."),
    ("backups", "schedule", SCHEDULE, "time_friday", "Friday: “25:99” is not a time from 00:00 to 23:59."),
    (
        "backups",
        "schedule",
        {**SCHEDULE, "time_friday": "03:00", "time_zone": "Berlin"},
        "time_zone",
        "Time zone: there is none named “Berlin”. Please write one like Europe/Berlin, or UTC.",
    ),
    (
        "reinstall",
        "reinstall",
        {"template": "ubuntu-24.04", "confirm": "reinstall"},
        "confirm",
        "Confirmation: type REINSTALL in capital letters, exactly.",
    ),
    (
        "reinstall",
        "reinstall",
        {"template": "windows", "confirm": "REINSTALL"},
        "template",
        "Operating system: “windows” is not one of: Debian 12, Ubuntu LTS.",
    ),
]


@pytest.mark.parametrize(("page", "do", "form", "field", "text"), WRONG)
def test_of_the_machines_pages(born: World, page: str, do: str, form: dict[str, str], field: str, text: str) -> None:
    shown = looks.read(Look(born).send(page, do, **form)["html"])
    assert invalid(shown).at["name"] == f"vmb[{field}]"
    assert said(shown) == text
    values = {n.at["name"][4:-1]: n.at.get("value", "") for n in shown.find("input") if n.at.get("type") != "hidden"}
    values |= {
        s.at["name"][4:-1]: next(o.at["value"] for o in s.find("option") if "selected" in o.at or s is invalid(shown))
        for s in shown.find("select")
    }
    typed = {k: v for k, v in form.items() if k != "template" or v != "windows"}
    assert {k: values.get(k) for k in typed} == typed
    fresh = Look(born).page(page)
    assert not [n for n in fresh.all() if "aria-invalid" in n.at]
    assert not fresh.find(id="vmb-wrong")


@pytest.mark.parametrize(
    ("form", "field", "text"),
    [
        ({"address": "{v4}", "name": "not a name"}, "name", "Host name of {v4}: “not a name” cannot be one."),
        ({"address": "{net}", "name": "", "network": "{cidr}"}, "name", "Host name: please write one"),
        (
            {"address": "300.1.1.1", "name": "a.example.com", "network": "{cidr}"},
            "address",
            "Address: “300.1.1.1” is not",
        ),
    ],
)
def test_of_reverse_records(tmp_path: Path, form: dict[str, str], field: str, text: str) -> None:
    site = Site(tmp_path)
    addresses = site.store.service(1).birth.addresses
    v4 = next(a for a in addresses if ":" not in a)
    look = Look(site)
    cidr = next(h.text for h in look.page("rdns").find("h4") if "/" in h.text)
    known = {"v4": v4, "cidr": cidr, "net": cidr.partition("/")[0]}
    sent = {k: v.format(**known) for k, v in form.items()}
    shown = looks.read(look.send("rdns", "save", **sent)["html"])
    assert invalid(shown).at["name"] == f"vmb[{field}]"
    assert said(shown).startswith(text.format(**known))
    assert invalid(shown).at["value"] == sent[field]
    site.close()


@pytest.mark.parametrize(
    ("do", "form", "field", "text"),
    [
        ("add", {"source": "300.1.1.1"}, "source", "Source: “300.1.1.1” is neither"),
        ("add", {"proto": "tcp", "dport": "99999"}, "dport", "Destination port: “99999” is neither"),
        ("add", {"proto": "carrier-pigeon"}, "proto", "Protocol: “carrier-pigeon” is not one of"),
        ("add", {"service": "Gopher"}, "service", "Service: “Gopher” is not one of"),
        ("edit", {"rule": "0", "action": "allow", "proto": "tcp"}, "action", "Action: “allow” is not one of"),
        ("policy", {"policy_in": "maybe", "policy_out": "accept"}, "policy_in", "Input policy: “maybe” is not one"),
    ],
)
def test_of_the_firewall(tmp_path: Path, do: str, form: dict[str, str], field: str, text: str) -> None:
    site = firewall_site.Site(tmp_path)
    assert site.add(service="SSH") == ""
    site.html = ""
    rule = {"way": "in", "action": "accept", "comment": "mine"} if do != "policy" else {}
    shown = looks.read(Look(site).send("firewall", do, version=site.version(), **{**rule, **form})["html"])
    wrong = invalid(shown)
    assert wrong.at["name"] == f"vmb[{field}]"
    assert said(shown).startswith(text)
    if do != "policy":  # nothing of it is lost
        [typed] = [n for n in shown.find("input", name="vmb[comment]") if n.at["value"] == "mine"]
        assert typed
        assert site.lines() == ["in accept SSH"]
    site.close()


def test_what_is_about_no_field_of_the_page_is_told_above(tmp_path: Path) -> None:
    site = Site(tmp_path)
    shown = looks.read(Look(site).send("rdns", "save", address="999.1.1.1", name="a.example.com")["html"])
    [banner] = [n for n in shown.find(role="alert") if "vmb-banner" in n.at["class"]]
    assert banner.text.startswith("Address: “999.1.1.1” is not a single")
    site.close()


def test_of_the_staffs_pages(world: World) -> None:
    world.order("create")
    world.run()
    staff = Staff(create_app(world.context).test_client(), world.clock)
    shown = looks.read(staff.form("service", "id=1042", action="redeploy", service="1042", typed="1043").json["html"])
    assert said(shown).startswith("Nothing was done: to redeploy")
    assert invalid(shown).at["value"] == "1043"
    reply = staff.form("servers", action="maintenance", server="pve1", switch="on", text=LONG * 3)
    shown = looks.read(reply.json["html"])
    assert said(shown).startswith("text: must be at most")
    assert invalid(shown).at["value"] == LONG * 3
