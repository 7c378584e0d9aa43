"""The customer's pages in real Chromium, through the WHMCS-like host, the shim and the bridge: good ways, dimmed,
denied, busy, full, wrong input, host down, suspended meanwhile; by mouse, by keyboard, without script."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser import one, screen, texts, until, word
from tests.customer_pages import (
    DENIED,
    FULL,
    SHOP,
    SUB_PAGES,
    action,
    customers,
    done,
    fields,
    hold,
    idle,
    machine,
    post,
    reason,
    release,
    see,
    settled,
    untouched,
    url,
)
from tests.pve.cluster import Fault
from tests.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with customers(tmp_path_factory.mktemp("system")) as s:
        yield s


# -- good ways ------------------------------------------------------------------------------------
def test_a_snapshot_is_taken_and_the_page_follows_by_itself(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "snapshots")
    assert "so that you can go back to it" in one(browser, ".vmb-empty").text
    assert "0 / 3" in one(browser, ".vmb-quota").text
    one(browser, "[name='vmb[description]']").send_keys("before the upgrade")
    hold(system, "qmsnapshot")
    action(browser, "snapshots", "take").click()
    until(browser, lambda b: "A snapshot is being taken" in texts(b, "[data-operation]"))
    assert "1 / 3" in one(browser, ".vmb-quota").text
    assert "being made" in one(browser, ".vmb-table").text
    assert "vmb[page]=snapshots" in browser.current_url
    browser.execute_script("window.sameDocument = true")
    release(system, "qmsnapshot")
    until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "[data-countdown]") and idle(b))
    assert untouched(browser)
    row = one(browser, ".vmb-table").text
    assert "before the upgrade" in row
    assert "snap-" in row
    assert "with RAM" in row
    assert "Snapshots take room that grows with every change made after them." in one(browser, ".vmb-main").text
    assert re.search(r"[12] days? \d\d:\d\d:\d\d", row)
    assert "Rollback" in row
    assert "Remove" in row
    assert browser.page_source.count("Times are in") == 1
    before = system.operation(SHOP)["id"]
    browser.refresh()
    assert system.operation(SHOP)["id"] == before


def test_rollback_asks_first_and_can_be_done_by_keyboard(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "snapshots")
    before = system.operation(SHOP)["id"]
    button = action(browser, "snapshots", "rollback")
    button.send_keys(Keys.ENTER)
    dialog = one(browser, "dialog[open]")
    assert "before the upgrade" in dialog.text
    assert "everything since then is lost" in dialog.text
    assert "cannot be undone" in dialog.text
    assert browser.switch_to.active_element.text == "Cancel"
    seen = set()
    for _ in range(6):  # the page behind cannot be reached
        ActionChains(browser).send_keys(Keys.TAB).perform()
        seen.add(
            browser.execute_script(
                "const a = document.activeElement; return a.closest('dialog') ? a.textContent : a.tagName"
            )
        )
    assert seen <= {"Cancel", "Rollback", "BODY"}
    assert "Rollback" in seen
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    until(browser, lambda b: not b.find_elements(By.CSS_SELECTOR, "dialog") and b.switch_to.active_element == button)
    assert system.operation(SHOP)["id"] == before
    button.send_keys(Keys.ENTER)
    browser.find_element(By.XPATH, "//dialog//button[text()='Rollback']").send_keys(Keys.ENTER)
    done(browser, system, "rollback")


def test_a_snapshot_is_removed(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "snapshots")
    action(browser, "snapshots", "delete").click()
    assert "Removes snapshot before the upgrade." in one(browser, "dialog").text
    browser.find_element(By.XPATH, "//dialog//button[text()='Remove']").click()
    until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, ".vmb-empty") and idle(b))
    assert "0 / 3" in one(browser, ".vmb-quota").text


def test_a_backup_is_made_restored_and_removed(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "backups")
    one(browser, "[name='vmb[note]']").send_keys("shop, finished")
    action(browser, "backups", "take").click()
    until(browser, lambda b: "shop, finished" in texts(b, ".vmb-table") and idle(b))
    assert "1 / 7" in texts(browser, ".vmb-quota")
    assert "GiB" in one(browser, ".vmb-table").text
    assert (
        "In the case of a backup restore, all snapshots of the virtual machine will be deleted."
        in one(browser, ".vmb-content").text
    )
    action(browser, "backups", "restore").click()
    assert "all snapshots are lost" in one(browser, "dialog").text
    browser.find_element(By.XPATH, "//dialog//button[text()='Restore']").click()
    done(browser, system, "restore")
    action(browser, "backups", "delete").click()
    browser.find_element(By.XPATH, "//dialog//button[text()='Remove']").click()
    until(browser, lambda b: "full copy of your server" in texts(b, ".vmb-empty") and idle(b))


def test_the_schedule_is_saved_and_a_wrong_one_is_not_lost(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "backups")
    assert [e.text for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-day .vmb-check")] == [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
    ]
    assert (
        "If the schedule is configured, the system will automatically create backups and delete old backups."
        in one(browser, ".vmb-content").text
    )
    one(browser, "[name='vmb[on_sunday]']").click()
    zone = one(browser, "[name='vmb[time_zone]']")
    zone.clear()
    zone.send_keys("Mars/Base")
    action(browser, "backups", "schedule").click()
    until(browser, lambda b: "Time zone: there is none named “Mars/Base”." in one(b, "[role=alert]").text)
    assert browser.switch_to.active_element.get_attribute("name") == "vmb[time_zone]"  # to be written anew at once
    assert one(browser, "[name='vmb[on_sunday]']").is_selected()
    assert one(browser, "[name='vmb[time_zone]']").get_attribute("value") == "Mars/Base"
    zone = one(browser, "[name='vmb[time_zone]']")
    zone.clear()
    zone.send_keys("Europe/Berlin")
    action(browser, "backups", "schedule").click()
    until(browser, lambda b: "The schedule is saved." in texts(b, ".vmb-done"))
    assert "Next: " in one(browser, ".vmb-content").text
    browser.refresh()
    assert one(browser, "[name='vmb[on_sunday]']").is_selected()
    assert not browser.find_elements(By.CSS_SELECTOR, ".vmb-done")


def test_reinstall_wants_the_word_and_keeps_what_was_written(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "reinstall")
    page = one(browser, ".vmb-content").text
    assert "remove all data on all disks" in page
    assert "all snapshots will also be deleted" in page
    assert "Select operating system" in page
    before = system.operation(SHOP)["id"]
    browser.find_element(By.CSS_SELECTOR, "option[value='ubuntu-24.04']").click()
    one(browser, "[name='vmb[confirm]']").send_keys("reinstall")
    action(browser, "reinstall", "reinstall").click()
    until(browser, lambda b: "Confirmation: type REINSTALL in capital letters, exactly." in one(b, "[role=alert]").text)
    assert one(browser, "[name='vmb[template]']").get_attribute("value") == "ubuntu-24.04"
    assert one(browser, "[name='vmb[confirm]']").get_attribute("value") == "reinstall"
    screen(browser, 360, 900)
    assert one(browser, ".vmb-actions").rect["y"] < 360  # before WHMCS's own menus, as on the page itself
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.refresh()  # asks nothing and sends nothing
    assert "vmb[page]=reinstall" in browser.current_url
    assert not browser.find_elements(By.CSS_SELECTOR, "[role=alert]")
    assert system.operation(SHOP)["id"] == before
    browser.find_element(By.CSS_SELECTOR, "option[value='ubuntu-24.04']").click()
    one(browser, "[name='vmb[confirm]']").send_keys("REINSTALL")
    hold(system, "qmclone")
    action(browser, "reinstall", "reinstall").click()
    until(browser, lambda b: "The server is being reinstalled" in texts(b, "[data-operation]"))
    assert "Copying the new system" in one(browser, "[data-operation]").text  # its steps are open
    release(system, "qmclone")
    done(browser, system, "reinstall")
    assert "Ubuntu 24.04" in one(browser, ".vmb-place").text


def test_reset_password(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "reset_password")
    page = one(browser, ".vmb-content").text
    assert (
        "Password reset requires cloud-init packages installed on the VM. If reset succeeds but password doesn't"
        " change, connect via noVNC" in page
    )
    vm = machine(system, SHOP)
    for agent_after, told in (
        (0.0, "The new password is in use, and on its way to you by e-mail."),
        (None, "The new password works after the next restart."),
    ):
        vm.agent_after, mails = agent_after, len(system.state()["mails"])
        action(browser, "reset_password", "reset").click()
        until(browser, lambda b, told=told: told in texts(b, ".vmb-content") and idle(b))
        system.wait_for(lambda mails=mails: len(system.state()["mails"]) > mails, 20)
    assert "Restart now" in one(browser, ".vmb-content").text
    assert reason(browser, action(browser, "power", "reboot")) == ""


def test_power_by_keyboard_and_hard_stop_asks_first(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "snapshots")
    summary = one(browser, ".vmb-more summary")
    summary.send_keys(Keys.ENTER)
    assert one(browser, ".vmb-menu").is_displayed()
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.text == "Hard stop"
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not one(browser, ".vmb-menu").is_displayed()
    assert browser.switch_to.active_element == summary
    summary.send_keys(Keys.ENTER)
    action(browser, "power", "hard_stop").send_keys(Keys.ENTER)
    assert "unsaved data is lost" in one(browser, "dialog").text
    browser.find_element(By.XPATH, "//dialog//button[text()='Hard stop']").send_keys(Keys.ENTER)
    until(browser, lambda b: word(b) == "Stopped" and idle(b))
    assert "vmb[page]=snapshots" in browser.current_url  # back where it was asked
    assert reason(browser, action(browser, "power", "stop")) == "Start the server first."
    action(browser, "power", "start").send_keys(Keys.ENTER)
    until(browser, lambda b: word(b) == "Running" and idle(b))


# -- dimmed, denied, busy, full -------------------------------------------------------------------
def test_a_reason_is_shown_on_hover_focus_and_tap(system: System, browser: Chrome) -> None:
    see(browser, system, FULL, "snapshots")
    button = action(browser, "snapshots", "take")
    tip = browser.find_element(By.ID, str(button.get_attribute("aria-describedby")))
    assert reason(browser, button) == "1 of 1 in use: remove one first."
    assert not tip.is_displayed()
    assert "1 / 1" in one(browser, ".vmb-quota").text
    before = system.operation(FULL)["id"]
    ActionChains(browser).move_to_element(button).perform()
    assert tip.is_displayed()
    ActionChains(browser).move_to_element(one(browser, ".vmb-name")).perform()
    assert not tip.is_displayed()
    browser.execute_script("arguments[0].focus()", button)
    assert tip.is_displayed()
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not tip.is_displayed()
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    place = browser.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return [r.x + 20, r.y + 20]", button
    )
    for kind, points in (("touchStart", [{"x": place[0], "y": place[1]}]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    until(browser, lambda b: tip.is_displayed())
    assert system.operation(FULL)["id"] == before


def test_quota_full_of_backups(system: System, browser: Chrome) -> None:
    see(browser, system, FULL, "backups")
    assert reason(browser, action(browser, "backups", "take")) == "1 of 1 in use: remove one first."
    assert reason(browser, action(browser, "backups", "delete")) == ""
    assert "1 of 1 in use" in system.submit(FULL, "backups", action="take", note="kept all the same").text
    assert 'value="kept all the same"' in system.submit(FULL, "backups", action="take", note="kept all the same").text


@pytest.mark.parametrize("page", [*SUB_PAGES, "charts"])
def test_what_the_product_does_not_have_is_access_denied(system: System, browser: Chrome, page: str) -> None:
    see(browser, system, DENIED, page)
    assert "Access Denied" in one(browser, "[role=alert]").text
    assert not browser.find_elements(By.CSS_SELECTOR, ".vmb-content form")
    entry = one(browser, f"[aria-describedby^=vmb-nav-{page}-]")
    assert reason(browser, entry) == "Not part of your plan."
    assert entry.get_attribute("href") is None
    entry.click()
    assert one(browser, f"#{entry.get_attribute('aria-describedby')}").is_displayed()
    assert untouched(browser)
    see(browser, system, DENIED)
    assert one(browser, ".vmb-nav [aria-current=page]").text == "Overview"
    assert action(browser, "power", "stop").get_attribute("aria-disabled") is None
    before = system.operation(DENIED)["id"]
    for name in ("take", "reinstall", "reset", "schedule", "restore"):
        system.submit(DENIED, page, action=name, confirm="REINSTALL", template="debian-12")
    assert system.operation(DENIED)["id"] == before


def test_busy_dims_everything_with_the_reason(system: System, browser: Chrome) -> None:
    hold(system, "vzdump")
    try:
        system.submit(SHOP, "backups", action="take", note="long")
        busy = "A backup is being made, as you ordered; try again when this is done."
        for page, capability, name in (
            ("snapshots", "snapshots", "take"),
            ("reinstall", "reinstall", "reinstall"),
            ("reset_password", "reset_password", "reset"),
            ("overview", "power", "stop"),
            ("backups", "backups", "take"),
        ):
            see(browser, system, SHOP, page)
            assert reason(browser, action(browser, capability, name)) == busy, page
            assert "A backup is being made: step" in one(browser, "[data-operation]").text
        assert reason(browser, action(browser, "backups", "schedule")) == ""  # changes nothing on the machine
        refused = system.submit(SHOP, "snapshots", action="take", description="typed in vain").text
        assert busy in refused
        assert 'value="typed in vain"' in refused
    finally:
        release(system, "vzdump")
    until(browser, lambda b: idle(b) and reason(b, action(b, "backups", "take")) == "")
    assert untouched(browser)


def test_two_tabs_and_a_half_written_form(system: System, browser: Chrome) -> None:
    """What another tab begins and ends is followed; what is being written, where the cursor stands and what is open
    stay."""
    see(browser, system, SHOP, "snapshots")
    box = one(browser, "[name='vmb[description]']")
    box.send_keys("half a sen")
    hold(system, "qmsnapshot")
    system.submit(SHOP, "snapshots", action="take", description="from another tab")
    until(browser, lambda b: "A snapshot is being taken" in texts(b, "[data-operation]"))
    one(browser, ".vmb-steps-all summary").click()
    box.send_keys("te")
    release(system, "qmsnapshot")
    until(browser, lambda b: "from another tab" in texts(b, ".vmb-table") and idle(b))
    box.send_keys("nce")
    assert untouched(browser)
    assert box.get_attribute("value") == "half a sentence"
    assert browser.switch_to.active_element == box
    assert reason(browser, action(browser, "snapshots", "take")) == ""


def test_a_message_stays_while_the_page_follows(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "backups")
    browser.execute_script(
        "const n = document.querySelector('[name=\"vmb[note]\"]'); n.removeAttribute('maxlength'); n.value ="
        " 'n'.repeat(201)"
    )
    action(browser, "backups", "take").click()
    until(browser, lambda b: "Backup notes: at most 200 characters." in texts(b, "[role=alert]"))
    browser.execute_script("window.sameDocument = true")
    system.submit(SHOP, "power", action="reboot")
    done(browser, system, "reboot")
    assert untouched(browser)
    assert "at most 200 characters" in texts(browser, "[role=alert]")
    assert one(browser, "[name='vmb[note]']").get_attribute("value") == "n" * 201


def test_a_megabyte_of_note_is_refused_by_name(system: System, browser: Chrome) -> None:
    for capability, field, label in (
        ("snapshots", "description", "Snapshot description"),
        ("backups", "note", "Backup notes"),
    ):
        reply = system.submit(SHOP, capability, action="take", **{field: "ü" * 500_000})
        assert reply.status_code == 200
        assert f"{label}: at most 200 characters." in reply.text
        assert len(reply.text) < 200_000


def test_suspended_meanwhile(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "backups")
    one(browser, "[name='vmb[note]']").send_keys("not lost")
    system.module(SHOP, "SuspendAccount")
    until(
        browser,
        lambda b: word(b) == "Suspended" and reason(b, action(b, "backups", "take")) == "The service is suspended.",
    )
    assert untouched(browser)
    assert one(browser, "[name='vmb[note]']").get_attribute("value") == "not lost"
    assert "switched on again when it is reactivated" in browser.page_source
    assert "This service is not active." in system.submit(SHOP, "backups", action="take").text
    settled(system, SHOP)
    system.module(SHOP, "UnsuspendAccount")
    until(browser, lambda b: word(b) == "Running" and idle(b) and reason(b, action(b, "backups", "take")) == "")


def test_a_host_that_is_down_and_a_server_that_is_gone(system: System, browser: Chrome) -> None:
    see(browser, system, FULL)
    until(browser, lambda b: one(b, "[data-field=cpu]").text != "–")
    system.cluster.faults = [Fault("status", path="resources", status=595, reason="No route to host", times=10**9)]
    try:
        until(browser, lambda b: "Something went wrong" in texts(b, "[role=alert]"), 90)
        told = texts(browser, "[role=alert]")
        assert "The host does not answer just now. You see the last known values" in told
        assert f"Service {FULL}." in told
        assert "595" not in told
        assert one(browser, "[data-field=cpu]").text != "–"
        assert word(browser) == "Running"
        assert "203.0.113." in one(browser, ".vmb-list").text
        until(browser, lambda b: one(b, "[data-field=age]").text.startswith("last known"))
        state, place = one(browser, ".vmb-state"), one(browser, ".vmb-place")  # grey as its words, not green
        assert state.value_of_css_property("color") == place.value_of_css_property("color")
        assert untouched(browser)
    finally:
        system.cluster.faults = []
    until(browser, lambda b: not b.find_elements(By.CSS_SELECTOR, "[role=alert]"), 90)
    vm_id = machine(system, FULL).vmid
    with system.cluster.guard:
        gone = system.cluster.vms.pop(vm_id)
    try:
        until(browser, lambda b: "Your server is not found on its host just now." in texts(b, "[role=alert]"), 60)
        assert f"Service {FULL}." in texts(browser, "[role=alert]")
        assert word(browser) == "Not known"
    finally:
        system.cluster.vms[vm_id] = gone
    until(browser, lambda b: word(b) == "Running" and not b.find_elements(By.CSS_SELECTOR, "[role=alert]"), 60)


# -- without script -------------------------------------------------------------------------------
def test_without_script_a_page_asks_instead_of_the_dialog(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        see(browser, system, FULL, "snapshots")
        action(browser, "snapshots", "delete").click()
        until(
            browser,
            lambda b: (
                "Please confirm" in texts(b, ".vmb-content") and "Removes snapshot <img" in texts(b, ".vmb-content")
            ),
        )
        one(browser, ".vmb-content a.vmb-btn").click()  # Cancel
        until(browser, lambda b: "vmb[page]=snapshots" in b.current_url and "1 / 1" in texts(b, ".vmb-quota"))
        action(browser, "snapshots", "delete").click()
        until(browser, lambda b: "Please confirm" in texts(b, ".vmb-content"))
        action(browser, "snapshots", "delete").click()
        system.wait_for(lambda: system.operation(FULL)["kind"] == "delete_snapshot", 20)
        settled(system, FULL)
        see(browser, system, FULL, "snapshots")
        one(browser, "[name='vmb[description]']").send_keys("without script")
        action(browser, "snapshots", "take").click()
        system.wait_for(lambda: system.operation(FULL)["kind"] == "take_snapshot", 20)
        settled(system, FULL)
        see(browser, system, FULL, "snapshots")
        assert "without script" in one(browser, ".vmb-table").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_every_question_names_its_thing_and_a_thing_that_is_gone_is_told(system: System) -> None:
    page = requests.get(url(system, FULL, "backups"), timeout=30).text
    key = re.search(r'name="vmb\[backup]" value="(\d+)"', page)
    assert key
    token = requests.get(f"http://127.0.0.1:{system.host}/test/token", timeout=10).text
    form = {
        "id": str(FULL),
        "modop": "custom",
        "a": "submit",
        "token": token,
        "capability": "backups",
        "backup": key.group(1),
        "from": "backups",
    }
    asked = post(system, **form, action="restore").text
    assert "Restores the backup of 20" in asked
    assert fields(asked)["confirmed"] == "1"
    assert fields(asked)["backup"] == key.group(1)
    asked = post(system, **{**form, "capability": "power", "from": "backups"}, action="hard_stop").text
    assert "like pulling the plug" in asked
    assert fields(asked)["capability"] == "power"
    assert fields(asked)["from"] == "backups"
    assert "This backup is not there any more." in post(system, **{**form, "backup": "999"}, action="delete").text
    asked = requests.get(system.page(FULL) + "&modop=custom&a=stop", timeout=30).text  # a link of WHMCS's own menu
    assert "Stops your server" in asked
    assert fields(asked)["do"] == "stop"
    assert system.operation(FULL)["kind"] != "stop"
