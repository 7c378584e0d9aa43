"""What customers read has people's names: of systems, of places, of what a number is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import names
from bridge.languages import in_language
from bridge.model import Sentence
from bridge.web.page import PAGES
from tests.configs import raw_config
from tests.looks import Look
from tests.world import World


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("debian-12", "Debian 12"),
        ("ubuntu-24.04", "Ubuntu 24.04"),
        ("ubuntu-24.04-lts", "Ubuntu 24.04 LTS"),
        ("almalinux-9", "AlmaLinux 9"),
        ("rocky_9", "Rocky Linux 9"),
        ("centos-stream-9", "CentOS Stream 9"),
        ("opensuse-15.6", "openSUSE 15.6"),
        ("freebsd-14", "FreeBSD 14"),
        ("win2022", "Windows 2022"),
        ("Windows-Server-2025", "Windows Server 2025"),
        ("our own image", "Our Own Image"),
        ("12345", "12345"),
    ],
)
def test_a_systems_word_becomes_its_name(word: str, label: str) -> None:
    assert names.system_label(word) == label


@pytest.mark.parametrize(
    ("plan", "system", "node"),
    [
        ({}, "Debian 12", False),
        ({"system_names": {"debian-12": "Debian (ours)"}, "show_node": True}, "Debian (ours)", True),
    ],
)
def test_the_plan_decides_what_customers_read(tmp_path: Path, plan: dict[str, object], system: str, node: bool) -> None:
    raw = raw_config()
    raw["plans"]["kvm-s"] |= plan
    world = World(tmp_path, plans=raw["plans"])
    world.order("create")
    world.run()
    where = world.store.service(1).node
    look = Look(world)
    for page in ("overview", "reinstall", "activity"):
        text = look.page(page).text
        assert system in text
        assert "debian-12" not in text
        assert (where in text) == node, page
    assert look.page("reinstall").find("option", value="debian-12")[0].text == system
    world.close()


def test_every_page_is_shown(world: World) -> None:
    world.order("create")
    world.run()
    look = Look(world)
    assert {"overview", "charts", "activity", "firewall"} < set(PAGES)
    for page in PAGES:
        assert look.page(page).find("nav"), page


def test_a_services_number_is_called_that(world: World) -> None:
    """A reference is one of an operation, which staff can look up."""
    world.order("create")
    world.run()
    world.store.refresh_failed("pve1", "no route", down=True)
    text = Look(world).page().text
    assert "The host does not answer just now." in text
    assert "Service 1042." in text
    assert "Reference 1042" not in text


def test_a_value_keeps_its_direction_in_a_sentence_of_the_other() -> None:
    """A name that begins with digits falls apart at its dots otherwise."""
    name = Sentence("%(name)s is not a host name.", name="203-0-113-10.example.com")
    assert "\u2068203-0-113-10.example.com\u2069" in in_language("ar_XB", name)
    assert "\u2068" not in in_language("en_XA", name)
    assert "\u2068" not in in_language("ar_XB", Sentence("Restart"))
    outer = Sentence("%(what)s did not work.", what=name)
    assert in_language("ar_XB", outer).count("\u2068") == in_language("ar_XB", outer).count("\u2069") == 2
