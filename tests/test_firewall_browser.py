"""The firewall's page in real Chromium, through the WHMCS-like host, the shim and the bridge: dialog, drag, keyboard,
countdown, without script, in every width, dark and right to left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from drivers.proxmox import rules
from tests.browser import findings, one, screen, shade, texts, until
from tests.customer_pages import reason, see, settled
from tests.firewall_site import line_of
from tests.system import System

SHOP, RTL = 1, 2
WIDTHS = (360, 768, 1024, 1440)
SIZE = (1300, 1000)
THREE = "ACCEPT | DROP | ACCEPT"
NETS = "192.0.2.0/24,198.51.100.0/24"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        s.order(SHOP)
        s.order(RTL, language="pseudo-rtl")
        for service in (SHOP, RTL):
            settled(s, service)
        yield s


@pytest.fixture(autouse=True)
def three_rules(system: System) -> None:
    for vm in (machine(system, SHOP), machine(system, RTL)):
        vm.rules = [
            {"type": "in", "action": "ACCEPT", "macro": "SSH", "enable": 1, "comment": "way in"},
            {"type": "in", "action": "DROP", "proto": "tcp", "source": NETS, "dport": "80,443", "enable": 1},
            {"type": "out", "action": "ACCEPT", "proto": "udp", "dest": "2001:db8::53", "dport": "53", "enable": 0},
        ]
        vm.firewall.update(policy_in="ACCEPT", policy_out="ACCEPT")
    forget_reads(system)


def forget_reads(system: System) -> None:
    """What a page has read lately is shown for some seconds: the rules were changed behind it."""
    with sqlite3.connect(system.folder / "vmbridge.db", timeout=20) as db:
        db.execute("UPDATE services SET edits = edits + 1")
        db.execute("DELETE FROM firewall_changes")


def machine(s: System, service: int) -> Any:
    return s.cluster.vms[20000 + service - 1]


def lines(s: System) -> list[str]:
    with s.cluster.guard:
        return [line_of(rules.rule_of(r)) for r in s.cluster.handlers.loaded(machine(s, SHOP))]


def rows(browser: Chrome) -> str:
    return " ".join(texts(browser, "[data-rules] > [data-number] [data-label=Action]").split())


def test_the_table_says_each_rule_with_words_and_colours(browser: Chrome, system: System) -> None:
    see(browser, system, SHOP, "firewall")
    assert rows(browser) == THREE
    assert "vmb-act-accept" in str(one(browser, "[data-number='0'] [data-label=Action]").get_attribute("class"))
    said = " ".join(one(browser, "[data-number='1']").text.split())
    assert "192.0.2.0/24, 198.51.100.0/24" in said
    assert "80, 443" in said
    assert said.count("any") == 2
    assert one(browser, ".vmb-rules-head .vmb-quota").text == "3"
    assert "off" in one(browser, "[data-number='2']").text


def test_a_rule_is_added_and_edited_in_the_dialog(browser: Chrome, system: System) -> None:
    see(browser, system, SHOP, "firewall")
    one(browser, "[data-verb=add-rule]").click()
    dialog = until(browser, lambda _: one(browser, "dialog[open]"))
    assert not one(browser, "dialog .vmb-with-ports").is_displayed()
    Select(one(browser, "dialog [name='vmb[proto]']")).select_by_visible_text("tcp")
    one(browser, "dialog [name='vmb[dport]']").send_keys("8000-8100")
    one(browser, "dialog [name='vmb[source]']").send_keys("192.0.2.7/24")
    one(browser, "dialog [data-verb=save-rule]").click()
    said = until(browser, lambda _: one(browser, "[role=alert]").text)
    assert "Did you mean 192.0.2.0/24?" in said
    assert one(browser, "#vmb-rule-page [name='vmb[dport]']").get_attribute("value")
    field = one(browser, "#vmb-rule-page [name='vmb[source]']")
    field.clear()
    field.send_keys("192.0.2.7", Keys.ENTER)
    until(browser, lambda _: lines(system)[-1:] == ["in accept tcp 192.0.2.7 8000:8100"])
    until(browser, lambda _: "Your change is saved" in one(browser, ".vmb-main").text)
    one(browser, "[data-number='3'] [data-verb=edit-rule]").click()
    until(browser, lambda _: one(browser, "dialog[open]"))
    assert one(browser, "dialog [name='vmb[dport]']").get_attribute("value") == "8000-8100"
    Select(one(browser, "dialog [name='vmb[service]']")).select_by_value("Web")
    assert not one(browser, "dialog .vmb-with-ports").is_displayed()
    one(browser, "dialog [data-verb=save-rule]").click()
    until(browser, lambda _: lines(system)[-1:] == ["in accept Web 192.0.2.7"])
    assert dialog


def test_escape_closes_the_dialog_and_gives_the_focus_back(browser: Chrome, system: System) -> None:
    see(browser, system, SHOP, "firewall")
    one(browser, "[data-verb=add-rule]").send_keys(Keys.ENTER)
    until(browser, lambda _: one(browser, "dialog[open]"))
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    until(browser, lambda _: not browser.find_elements(By.CSS_SELECTOR, "dialog[open]"))
    assert browser.switch_to.active_element.get_attribute("data-verb") == "add-rule"


@pytest.mark.parametrize("width", [360, 1440])
def test_a_rule_is_dragged(width: int, browser: Chrome, system: System) -> None:
    screen(browser, width, 900)
    see(browser, system, SHOP, "firewall")
    until(browser, lambda _: browser.execute_script("return !!document.querySelector('[data-rules][data-drags]')"))
    grip, goal = one(browser, "[data-number='2'] .vmb-grip"), one(browser, "[data-number='0'] .vmb-grip")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", goal)
    chain = ActionChains(browser).move_to_element(grip).click_and_hold().pause(0.2)
    distance = goal.rect["y"] - grip.rect["y"]
    for _ in range(10):
        chain.move_by_offset(0, int(distance / 10)).pause(0.03)
    chain.move_by_offset(0, -12).pause(0.3).release().perform()
    until(browser, lambda _: lines(system)[0] == "out accept udp 2001:db8::53 53 off")
    until(browser, lambda _: "Your change is saved" in one(browser, ".vmb-main").text)


def test_a_rule_is_moved_by_keyboard(browser: Chrome, system: System) -> None:
    see(browser, system, SHOP, "firewall")
    grip = one(browser, "[data-number='2'] .vmb-grip")
    grip.send_keys(Keys.ARROW_UP)
    assert "Rule 2 is now at place 1" in str(one(browser, "[data-moved]").get_attribute("textContent"))
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert rows(browser) == THREE
    assert lines(system)[1].startswith("in drop")
    browser.switch_to.active_element.send_keys(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ENTER)
    until(browser, lambda _: lines(system)[0].startswith("out accept"))


def test_a_rule_is_moved_switched_and_deleted_by_buttons(browser: Chrome, system: System) -> None:
    see(browser, system, SHOP, "firewall")
    one(browser, "[data-number='1'] [data-verb=move-down]").click()
    until(browser, lambda _: lines(system)[2].startswith("in drop"))
    until(browser, lambda _: one(browser, "[data-number='2'] [data-verb=switch]")).click()
    until(browser, lambda _: lines(system)[2].endswith("off"))
    until(browser, lambda _: "On" in one(browser, "[data-number='2'] [data-verb=switch]").text)
    one(browser, "[data-number='1'] [data-verb=delete]").click()
    until(browser, lambda _: len(lines(system)) == 2)


def test_a_trial_counts_down_and_is_kept_or_taken_back(browser: Chrome, system: System) -> None:
    see(browser, system, SHOP, "firewall")
    save = "[data-verb=save-policies]"
    Select(one(browser, "[name='vmb[policy_in]']")).select_by_value("drop")
    one(browser, save).click()
    left = until(browser, lambda _: one(browser, "[data-left]"))
    first = int(left.text.split()[0])
    assert first <= 60
    assert "Open a new connection" in one(browser, ".vmb-trial").text
    until(browser, lambda _: int(one(browser, "[data-left]").text.split()[0]) < first)
    assert "on trial" in reason(browser, one(browser, "[data-verb=save-policies]"))
    one(browser, "[data-verb=back]").click()
    until(browser, lambda _: machine(system, SHOP).firewall["policy_in"] == "ACCEPT")
    until(browser, lambda _: not browser.find_elements(By.CSS_SELECTOR, "[data-left]"))
    Select(one(browser, "[name='vmb[policy_in]']")).select_by_value("drop")
    one(browser, save).click()
    until(browser, lambda _: one(browser, "[data-verb=keep]")).click()
    until(browser, lambda _: "The change is kept" in one(browser, ".vmb-main").text)
    assert machine(system, SHOP).firewall["policy_in"] == "DROP"


def test_the_page_offers_the_rule_for_ssh_first(browser: Chrome, system: System) -> None:
    machine(system, SHOP).rules.pop(0)
    forget_reads(system)
    see(browser, system, SHOP, "firewall")
    Select(one(browser, "[name='vmb[policy_in]']")).select_by_value("drop")
    one(browser, "[data-verb=save-policies]").click()
    assert "Nobody would be let in by SSH" in until(browser, lambda _: one(browser, ".vmb-closing").text)
    assert machine(system, SHOP).firewall["policy_in"] == "ACCEPT"
    one(browser, "[data-verb=ssh-first]").click()
    until(browser, lambda _: one(browser, "[data-left]"))
    assert lines(system)[-1] == "in accept SSH"
    assert machine(system, SHOP).firewall["policy_in"] == "DROP"
    one(browser, "[data-verb=back]").click()
    until(browser, lambda _: machine(system, SHOP).firewall["policy_in"] == "ACCEPT")


def test_without_script_a_page_takes_the_dialogs_place(browser: Chrome, system: System) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    see_plainly(browser, system)
    assert not one(browser, "dialog").is_displayed()
    one(browser, "[data-verb=add-rule]").click()
    form = until(browser, lambda _: one(browser, "#vmb-rule-page"))
    Select(form.find_element(By.NAME, "vmb[service]")).select_by_value("Ping")
    form.find_element(By.CSS_SELECTOR, "[data-verb=save-rule]").click()
    until(browser, lambda _: lines(system)[-1] == "in accept Ping")
    one(browser, "[data-number='0'] [data-verb=edit-rule]").click()
    until(browser, lambda _: one(browser, "#vmb-rule-page [name='vmb[comment]']").get_attribute("value") == "way in")


def see_plainly(browser: Chrome, system: System) -> None:
    browser.get(f"{system.page(SHOP)}&vmb[page]=firewall")


@pytest.mark.parametrize("service", [SHOP, RTL])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_scrolls_sideways(width: int, service: int, browser: Chrome, system: System) -> None:
    for dark in ("light", "dark"):
        screen(browser, width, 900)
        shade(browser, dark)
        see(browser, system, service, "firewall")
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert browser.execute_script(wide) == 0
        assert findings(browser) == []
        one(browser, "[data-verb=add-rule]").click()
        until(browser, lambda _: one(browser, "dialog[open]"))
        assert browser.execute_script(wide) == 0
        assert findings(browser, "dialog") == []
