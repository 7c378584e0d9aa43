"""The customer's pages in real Chromium, through the WHMCS-like host, the shim and the bridge: good ways, dimmed,
denied, busy, full, wrong input, host down, suspended meanwhile; by mouse, by keyboard, without script; in other
languages, on a phone, light and dark."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
import requests
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.browser import AXE, THEMES, findings, one, screen, texts, until, word
from tests.pve.cluster import Fault, Vm
from tests.system import System, ours

SHOP, DENIED, FULL, PSEUDO, RTL = 1, 2, 3, 4, 5
PAGES = ("overview", "reinstall", "snapshots", "backups", "reset_password", "activity")
SUB_PAGES = PAGES[1:-1]
EXPECTED = "/nothing"
HOSTILE = "<img src=x onerror=hacked=1>\"'\u202e%%VMBRIDGE_TOKEN%% {{7*7}} {$smarty.version} &lt;"
LONG = ".".join(["a" * 60] * 4) + ".example"  # 251 characters


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        s.order(SHOP)
        s.order(DENIED, **{f"configoption{n}": "deny" for n in range(15, 24)})
        s.order(FULL, configoption11="1", configoption12="1")
        s.order(PSEUDO, language="pseudo", domain=LONG)
        s.order(RTL, language="pseudo-rtl", domain=LONG)
        for service in (SHOP, DENIED, FULL, PSEUDO, RTL):
            settled(s, service)
        for service in (FULL, PSEUDO, RTL):
            s.submit(service, "snapshots", action="take", description=HOSTILE)
        for service in (FULL, PSEUDO, RTL):
            settled(s, service)
            s.submit(service, "backups", action="take", note=HOSTILE)
        for service in (FULL, PSEUDO, RTL):
            settled(s, service)
        yield s


def settled(s: System, service: int, state: str = "done") -> None:
    s.wait_for(lambda: s.operation(service).get("state") == state, 60, f"service {service} {state}")


def url(s: System, service: int, page: str = "overview", more: str = "") -> str:
    return s.page(service) + ("" if page == "overview" else f"&vmb[page]={page}") + more


def see(browser: Chrome, s: System, service: int, page: str = "overview", more: str = "") -> None:
    browser.get(url(s, service, page, more))
    browser.execute_script("window.sameDocument = true")


def action(browser: Chrome, capability: str, name: str, row: int = 0) -> WebElement:
    """The button of a form."""
    return browser.find_elements(
        By.XPATH,
        f"//form[.//input[@name='vmb[capability]' and @value='{capability}']][.//input[@name='vmb[do]' and"
        f" @value='{name}']]//button[@type='submit']",
    )[row]


def reason(browser: Chrome, button: WebElement) -> str:
    """Why a button is dimmed; empty when it is not."""
    if button.get_attribute("aria-disabled") != "true":
        return ""
    return str(browser.find_element(By.ID, str(button.get_attribute("aria-describedby"))).get_attribute("textContent"))


def untouched(browser: Chrome) -> bool:
    """The page followed by itself, without a new document."""
    return bool(browser.execute_script("return window.sameDocument === true"))


def idle(browser: Chrome) -> bool:
    return not browser.find_elements(By.CSS_SELECTOR, "[data-operation].vmb-busy")


def done(browser: Chrome, s: System, kind: str) -> None:
    """The newest operation is of this kind and ended well, and the page shows so."""
    until(browser, lambda b: (s.operation(SHOP)["kind"], s.operation(SHOP)["state"]) == (kind, "done"))
    until(browser, lambda b: word(b) == "Running" and idle(b))


def hold(s: System, kind: str) -> None:
    """Tasks of this kind do not end until `release`."""
    s.cluster.durations[kind] = 9e9


def release(s: System, kind: str) -> None:
    s.cluster.durations[kind] = 0.05
    with s.cluster.guard:
        for task in s.cluster.tasks.values():
            if task.kind == kind and task.end > 4e9:
                task.end = s.clock.now()


def machine(s: System, service: int) -> Vm:
    return next(v for v in s.cluster.vms.values() if not v.template and v.config["name"] == f"vm-{service}.example.com")


def fields(page: str, css_class: str = "vmb-line") -> dict[str, str]:
    """What a browser without script would send of the form with this class."""
    form = re.search(rf'<form[^>]*class="{css_class}".*?</form>', page, re.S)
    assert form, page[-3000:]
    return {
        re.sub(r"^vmb\[(.*)]$", r"\1", html.unescape(n)): html.unescape(v)
        for n, v in re.findall(r'<input type="hidden"\s+name="([^"]*)"\s+value="([^"]*)"', form.group())
    }


def post(s: System, action: str, **form: str) -> requests.Response:
    return requests.post(
        f"http://127.0.0.1:{s.host}/clientarea.php?action=productdetails",
        data=ours(action, **form),
        timeout=30,
        allow_redirects=False,
    )


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


# -- languages, small screens, accessibility ------------------------------------------------------
OWN = re.compile(  # what is a name, a number or an address in every language
    r"^(\W|\d|CPU|RAM|DNS|SSH|IPv[46]|virtio|root|ssh|debian|ubuntu|Debian|Ubuntu|db8|pve\d|snap|[0-9a-f]{4}|UTC|REINSTALL|Europe/Berlin|noVNC|([0-9A-F]{2}:){5}[0-9A-F]{2})*$"
)
VISIBLE = """
const texts = [], walk = document.createTreeWalker(document.querySelector(".vmbridge"), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  if (!walk.currentNode.parentElement.closest("style, script, datalist, bdi, [translate=no], [data-copy]")) {
    texts.push(walk.currentNode.data.trim()); }
}
document.querySelectorAll(".vmbridge *").forEach(e => ["aria-label", "data-confirm", "data-label", "data-done",
  "placeholder", "alt"].forEach(a => {
  if (e.hasAttribute(a)) { texts.push(e.getAttribute(a)); }
}));
return texts.filter(Boolean)"""


def untranslated(browser: Chrome) -> list[str]:
    """Texts of the page with words outside [brackets]."""
    texts = []
    for text in browser.execute_script(VISIBLE):
        rest = text
        while re.search(r"\[[^\[\]]*\]", rest):
            rest = re.sub(r"\[[^\[\]]*\]", "", rest)
        if not OWN.match(rest.replace(LONG, "")):
            texts.append(text)
    return texts


@pytest.mark.parametrize("page", PAGES)
def test_every_sentence_is_in_the_clients_language(system: System, browser: Chrome, page: str) -> None:
    see(browser, system, PSEUDO, page)
    assert untranslated(browser) == []
    until(browser, lambda b: one(b, "[data-field=age]").text.startswith("[") and untranslated(b) == [])
    assert one(browser, ".vmbridge").get_attribute("lang") == "en-XA"


def test_messages_reasons_and_what_runs_are_in_the_clients_language(system: System, browser: Chrome) -> None:
    hold(system, "qmsnapshot")
    try:
        system.submit(PSEUDO, "snapshots", action="take", description="")
        for page in PAGES:
            see(browser, system, PSEUDO, page)
            assert untranslated(browser) == []
            assert texts(browser, "[data-operation]").startswith("[")
    finally:
        release(system, "qmsnapshot")
    settled(system, PSEUDO)
    for capability, form in (
        ("snapshots", {"action": "take", "description": "x" * 300}),
        ("backups", {"action": "schedule", "time_zone": "x"}),
        ("backups", {"action": "schedule", "time_zone": "UTC", "on_monday": "1", "time_monday": "x"}),
        ("reinstall", {"action": "reinstall", "template": "x"}),
        ("backups", {"action": "restore", "backup": "999"}),
    ):
        told = re.findall(r'role="alert">(.*?)</(?:div|span)>', system.submit(PSEUDO, capability, **form).text, re.S)
        assert told, told
        assert all(t.startswith("[") and t.endswith("]") for t in told), told
    see(browser, system, PSEUDO, "snapshots")
    action(browser, "snapshots", "delete").click()
    assert all(t.startswith("[") for t in texts(browser, "dialog p, dialog button").split(" | "))


def hostile_is_harmless(browser: Chrome, token: str) -> None:
    assert browser.execute_script("return window.hacked") is None
    text = one(browser, ".vmb-table").text
    assert "<img src=x onerror=hacked=1>" in text
    assert "VMBRIDGE_TOKEN" in text
    assert token not in text
    assert "{{7*7}}" in text
    assert "{$smarty.version}" in text


# reasons of the menu that are cut off by what scrolls, or stand over another entry
CUT_OFF = """
const tips = [...document.querySelectorAll('.vmb-nav .vmb-why')],
  entries = [...document.querySelectorAll('.vmb-nav a')];
if (!tips.length) return ['nothing is dimmed'];
tips.forEach(t => { t.style.display = 'none' });
return tips.filter(t => {
  t.style.cssText = 'display: block; pointer-events: auto';
  t.scrollIntoView({block: 'nearest'});
  const r = t.getBoundingClientRect(), top = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2),
    over = entries.some(e => { const s = e.getBoundingClientRect(); return s.right > r.left + 1 && s.left < r.right - 1
      && s.bottom > r.top + 1 && s.top < r.bottom - 1 });
  t.style.display = 'none';
  return top !== t || over;
}).map(t => t.textContent)"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("service", [PSEUDO, RTL])
def test_nothing_scrolls_sideways_at_360_px(system: System, browser: Chrome, service: int, theme: str) -> None:
    """With a host name of 251 characters, hostile notes, a third longer sentences, every reason shown and every menu
    open."""
    token = requests.get(f"http://127.0.0.1:{system.host}/test/token", timeout=10).text
    for width in (360, 1100):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        for page in PAGES:
            see(browser, system, service, page, theme)
            browser.execute_script(
                "document.querySelectorAll('details').forEach(d => { d.open = true });"
                "document.querySelectorAll('.vmb-why').forEach(w => { w.style.display = 'block' })"
            )
            wide = browser.execute_script(
                "const w = document.documentElement.clientWidth;return [document.documentElement.scrollWidth - w,"
                " [...document.querySelectorAll('.vmbridge *')].filter(e => !e.closest('.vmb-nav, .vmb-sr') &&"
                " (e.getBoundingClientRect().right > w + 1 || e.getBoundingClientRect().left < -1)).map(e =>"
                " e.outerHTML.slice(0, 120)).slice(0, 3)]"
            )
            assert wide[0] <= 0, (page, width, wide)
            assert wide[1] == [], (page, width, wide)
            here = browser.execute_script(
                "const n = document.querySelector('.vmb-nav').getBoundingClientRect(), h ="
                " document.querySelector('.vmb-here').getBoundingClientRect(); return h.left >= n.left - 2 && h.right"
                " <= n.right + 2 || h.width > n.width"
            )
            assert here, page
            assert browser.execute_script(CUT_OFF) == [], (page, width)
            if page in ("snapshots", "backups"):
                hostile_is_harmless(browser, token)
    see(browser, system, service, "overview", theme)
    at = browser.execute_script(
        "const t = document.querySelector('.vmb-list .vmb-mono').firstChild, r = document.createRange(); return [0,"
        " t.length - 1].map(i => { r.setStart(t, i); r.setEnd(t, i + 1); return r.getBoundingClientRect().left })"
    )
    assert at[0] < at[1]  # an address reads from left to right in every language
    assert one(browser, ".vmbridge").get_attribute("dir") == ("rtl" if service == RTL else "ltr")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shade", ["light", "dark"])
def test_accessibility(system: System, browser: Chrome, shade: str, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": shade}]}
    )
    for service, page in (*((FULL, p) for p in PAGES), (DENIED, "snapshots"), (RTL, "backups")):
        see(browser, system, service, page, theme)
        browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert findings(browser) == [], (service, page)
    action(browser, "backups", "delete").click()
    assert findings(browser) == [], "dialog"
    browser.get(system.page(FULL) + "&modop=custom&a=stop" + theme)
    assert findings(browser) == [], "question"


@pytest.mark.parametrize(
    ("system_wish", "theme_is", "paper"),
    [
        ("dark", "light", "rgb(255, 255, 255)"),
        ("light", "dark", "rgb(30, 34, 40)"),
        ("dark", "", "rgb(30, 34, 40)"),
        ("light", "", "rgb(255, 255, 255)"),
    ],
)
def test_colours_follow_the_theme(system: System, browser: Chrome, system_wish: str, theme_is: str, paper: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": system_wish}]}
    )
    see(browser, system, FULL, "snapshots", f"&shade={theme_is}")
    assert (
        browser.execute_script(
            "return getComputedStyle(document.querySelector('[name=\"vmb[description]\"]')).backgroundColor"
        )
        == paper
    )


def test_every_action_is_reached_by_tab_and_shows_it(system: System, browser: Chrome) -> None:
    for page in PAGES:
        see(browser, system, SHOP, page)
        wanted = browser.execute_script(
            "return [...document.querySelectorAll('button, summary, a, select, input:not([type=hidden])')]"
            ".filter(e => e.closest('.vmbridge') && e.checkVisibility()).length"
        )
        browser.execute_script(
            "document.activeElement.blur(); window.reached = new Set();"
            " document.querySelector('.vmbridge').addEventListener('focusin', e => {reached.add(e.target); if"
            " (getComputedStyle(e.target).outlineStyle === 'none') { window.unseen = e.target.outerHTML } })"
        )
        for _ in range(wanted * 4):  # a time field has several parts
            ActionChains(browser, 0).send_keys(Keys.TAB).perform()
            if browser.execute_script("return reached.size") == wanted:
                break
        assert browser.execute_script("return [reached.size, window.unseen || '']") == [wanted, ""], page


def test_copy(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    see(browser, system, SHOP)
    button = browser.find_element(By.XPATH, "//button[starts-with(@data-copy, 'ssh ')]")
    button.click()
    until(browser, lambda b: button.text == "Copied")
    assert browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])").startswith(
        "ssh root@203.0.113."
    )
    until(browser, lambda b: button.text.startswith("Copy") and button.text != "Copied")


def test_the_overview_shows_what_was_bought(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP)
    page = one(browser, ".vmbridge").text
    for words in (
        "CPU",
        "of 2 cores",
        "RAM",
        "of 2.0 GiB",
        "System disk",
        "Additional disk",
        "200 MiB/s",
        "100 MiB/s",
        "500 IOPS",
        "Network adapter",
        "virtio",
        "200 Mbit/s",
        "Network configuration",
        "(255.255.255.0)",
        "/64",
        "Gateway",
        "9.9.9.9",
        "vm-1.example.com",
        "Additional",
        "up ",
        "as of ",
        "Only the main address is configured in the server by itself; further ones you set up inside it.",
    ):
        assert words in page, words
    pages = ["Reinstall", "Snapshots", "Backups", "Reset password"]
    assert {e.text for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-nav-item")} >= {"Overview", *pages}
    colours = [one(browser, f"[data-verb={v}]").value_of_css_property("background-color") for v in ("start", "stop")]
    assert colours == ["rgba(26, 127, 55, 1)", "rgba(180, 35, 24, 1)"]  # green and red, each with its word and icon
    assert (
        len(browser.find_elements(By.CSS_SELECTOR, ".vmb-head + .vmb-actions [data-verb] > i")) == 4
    )  # Start, Restart, Stop, Hard stop
