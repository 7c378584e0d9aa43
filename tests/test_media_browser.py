"""The pages of ISOs and reverse DNS in real Chromium, through the WHMCS-like host, the shim and the bridge, on a cloud
server: good ways by mouse and keyboard, sifting, what is written and not lost, what waits, dimmed, denied, without
script, on a phone, in other languages, in both themes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
import requests
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from bridge.clock import Clock
from tests.browser import AXE, THEMES, findings, one, texts, until, word
from tests.customer_pages import (
    LONG,
    action,
    idle,
    reason,
    see,
    settled,
    untouched,
    untranslated,
)
from tests.hcloud.project import Fault, Project, Server
from tests.system import CLOUD, System, ours

SHOP, DENIED, PSEUDO, RTL = 1, 2, 4, 5
PAGES = ("iso", "rdns")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, hcloud=Project(Clock())) as s:
        s.order(SHOP, **CLOUD)
        s.order(DENIED, **CLOUD, **{f"configoption{n}": "deny" for n in range(15, 24)})
        s.order(PSEUDO, **CLOUD, language="pseudo", domain=LONG)
        s.order(RTL, **CLOUD, language="pseudo-rtl", domain=LONG)
        for service in (SHOP, DENIED, PSEUDO, RTL):
            settled(s, service)
        for service in (PSEUDO, RTL):
            s.submit(service, "iso", action="mount", iso="7005")
            for n in range(2):
                s.submit(
                    service,
                    "rdns",
                    action="save",
                    address=str(server(s, service).number).join(("2001:db8:", f"::{n + 1}")),
                    name=f"m{n}.example.com",
                )
        yield s


def server(s: System, service: int) -> Server:
    assert s.hcloud
    begin = "vm-" if service in (SHOP, DENIED) else "a" * 20
    servers = [x for x in s.hcloud.servers.values() if x.name.startswith(f"vm-{service}-" if begin == "vm-" else begin)]
    return servers[0] if service != RTL else servers[-1]


def mounted(s: System) -> int | None:
    assert s.hcloud
    return s.hcloud.mounted.get(server(s, SHOP).id)


def records(s: System) -> dict[str, str]:
    assert s.hcloud
    return {str(ip_address(a)): n for i in server(s, SHOP).addresses for a, n in s.hcloud.primary_ips[i].ptr.items()}


def v4(s: System) -> str:
    assert s.hcloud
    return s.hcloud.primary_ips[server(s, SHOP).addresses[0]].ip


def v6(s: System, last: str) -> str:
    return f"2001:db8:{server(s, SHOP).number:x}::{last}"


def field(browser: Chrome, address: str) -> WebElement:
    """The name of one address."""
    return one(browser, f"form:has(input[type=hidden][value='{address}']) [name='vmb[name]']")


def press(browser: Chrome, address: str, verb: str) -> None:
    one(browser, f"form:has(input[type=hidden][value='{address}']) [data-verb={verb}]").click()


def write(box: WebElement, text: str) -> None:
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text or Keys.DELETE)


# -- ISO ------------------------------------------------------------------------------------------
def test_an_iso_is_found_mounted_replaced_and_unmounted(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP)
    browser.find_element(By.LINK_TEXT, "ISO").click()
    until(browser, lambda b: "No ISO is mounted." in texts(b, ".vmb-content"))
    folders = [" ".join(e.text.split()) for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-folder summary")]
    assert folders == ["AlmaLinux 3", "debian 4", "FreeBSD 3", "ubuntu 1", "virtio 51", "OTHER 2"]
    one(browser, "[name='vmb[find]']").send_keys("dvd1 14.1")
    rows = [e.text for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-folder li") if e.is_displayed()]
    assert len(rows) == 1
    assert "FreeBSD-14.1-RELEASE-amd64-dvd1.iso" in rows[0]
    assert "1 of 64" in one(browser, "[data-count]").text
    next(e for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-folder li button") if e.is_displayed()).click()
    until(browser, lambda b: "FreeBSD-14.1-RELEASE-amd64-dvd1.iso" in one(b, ".vmb-strong").text)
    assert "It is mounted. It takes effect after a restart." in texts(browser, ".vmb-done")
    assert mounted(system) == 7006
    assert "vmb[page]=iso" in browser.current_url
    one(browser, "[name='vmb[find]']").send_keys("alma 9", Keys.ENTER)  # and by keyboard, as a form
    until(browser, lambda b: "1 of 64" in one(b, "[data-count]").text and one(b, ".vmb-folder").get_attribute("open"))
    one(browser, ".vmb-folder li button").send_keys(Keys.ENTER)
    until(browser, lambda b: "AlmaLinux-9" in one(b, ".vmb-strong").text)
    assert mounted(system) == 7010
    action(browser, "iso", "unmount").send_keys(Keys.ENTER)
    until(browser, lambda b: "No ISO is mounted." in texts(b, ".vmb-content"))
    assert mounted(system) is None
    assert "It is unmounted." in texts(browser, ".vmb-done")


def test_sifting_opens_counts_and_puts_back(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "iso")
    box, open_ones = (
        one(browser, "[name='vmb[find]']"),
        "return [...document.querySelectorAll('.vmb-folder')].filter(d => d.open && d.checkVisibility()).length",
    )
    folder = browser.find_elements(By.CSS_SELECTOR, ".vmb-folder summary")[1]
    folder.click()
    assert browser.execute_script(open_ones) == 1
    box.send_keys("iso")
    assert browser.execute_script(open_ones) == 6
    assert "64 of 64" in one(browser, "[data-count]").text
    box.send_keys(" nothing of this kind")
    assert browser.execute_script(open_ones) == 0
    assert one(browser, "[data-none]").is_displayed()
    assert "0 of 64" in one(browser, "[data-count]").text
    write(box, "")
    assert browser.execute_script(open_ones) == 1
    assert not one(browser, "[data-none]").is_displayed()


def test_restart_beside_the_mounted_one(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "iso")
    browser.find_elements(By.CSS_SELECTOR, ".vmb-actions [data-verb=reboot]")[0].click()
    one(browser, "dialog .vmb-red").click()
    until(browser, lambda b: system.operation(SHOP)["kind"] == "reboot" and word(b) == "Running" and idle(b))
    assert "vmb[page]=iso" in browser.current_url


def test_busy_dims_the_isos_with_the_reason(system: System, browser: Chrome) -> None:
    assert system.hcloud
    see(browser, system, SHOP, "iso")
    system.hcloud.durations["reboot_server"] = 9e9
    try:
        system.submit(SHOP, "power", action="reboot")
        busy = "The server is restarting, as you ordered; try again when this is done."
        until(browser, lambda b: busy in one(b, "#vmb-iso-why").text)
        browser.find_elements(By.CSS_SELECTOR, ".vmb-folder summary")[0].click()
        button = one(browser, ".vmb-folder li button")
        assert reason(browser, button) == busy
        button.click()
        assert untouched(browser)
        assert mounted(system) is None
        assert busy in system.submit(SHOP, "iso", action="mount", iso="7005").text
        assert mounted(system) is None
        see(browser, system, SHOP, "rdns")
        assert reason(browser, one(browser, "[data-verb=save]")) == ""
        see(browser, system, SHOP, "iso")
    finally:
        system.hcloud.durations["reboot_server"] = 0.05
        for running in system.hcloud.actions.values():
            running.ends = min(running.ends, system.clock.now())
    until(browser, lambda b: idle(b) and not b.find_elements(By.CSS_SELECTOR, "#vmb-iso-why"))
    assert untouched(browser)
    assert reason(browser, one(browser, ".vmb-folder li button")) == ""


# -- reverse DNS ----------------------------------------------------------------------------------
def test_records_are_written_added_changed_and_removed(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP)
    browser.find_element(By.LINK_TEXT, "Open PTR record").click()
    until(browser, lambda b: "No record is set in this network." in texts(b, ".vmb-content"))
    assert "static.example" in str(field(browser, v4(system)).get_attribute("value"))
    write(field(browser, v4(system)), "mail.example.com.")
    press(browser, v4(system), "save")
    until(browser, lambda b: "Your change is saved." in texts(b, ".vmb-done"))
    assert field(browser, v4(system)).get_attribute("value") == "mail.example.com"
    assert records(system) == {v4(system): "mail.example.com"}
    for last in ("25", "a"):
        box = one(browser, ".vmb-add [name='vmb[address]']")
        assert str(box.get_attribute("value")).endswith("::")
        box.send_keys(last)
        one(browser, ".vmb-add [name='vmb[name]']").send_keys(f"h{last}.example.com", Keys.ENTER)
        until(browser, lambda b, last=last: field(b, v6(system, last)).get_attribute("value") == f"h{last}.example.com")
    assert records(system)[v6(system, "a")] == "ha.example.com"
    write(field(browser, v6(system, "a")), "changed.example.com")
    field(browser, v6(system, "a")).send_keys(Keys.ENTER)
    until(
        browser,
        lambda b: (
            records(system)[v6(system, "a")] == "changed.example.com"
            and "Your change is saved." in texts(b, ".vmb-done")
        ),
    )
    press(browser, v6(system, "a"), "remove")
    until(browser, lambda b: not b.find_elements(By.CSS_SELECTOR, f"input[value='{v6(system, 'a')}']"))
    assert records(system) == {v4(system): "mail.example.com", v6(system, "25"): "h25.example.com"}


def test_what_was_wrong_is_named_and_stays_in_its_field(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "rdns")
    write(field(browser, v4(system)), "not a host name")
    press(browser, v4(system), "save")
    until(browser, lambda b: f"Host name of {v4(system)}: “not a host name” cannot be one" in texts(b, "[role=alert]"))
    assert browser.switch_to.active_element == field(browser, v4(system))
    assert one(browser, "#vmb-wrong").value_of_css_property("color") == "rgba(180, 35, 24, 1)"
    assert "saved" not in texts(browser, "[role=status]")  # what was refused is not said to be done
    assert field(browser, v4(system)).get_attribute("value") == "not a host name"
    assert field(browser, v6(system, "25")).get_attribute("value") == "h25.example.com"
    write(one(browser, ".vmb-add [name='vmb[address]']"), "2001:db8:ffff::1")
    one(browser, ".vmb-add [name='vmb[name]']").send_keys("far.example.com", Keys.ENTER)
    until(browser, lambda b: "2001:db8:ffff::1 is not an address of your server." in texts(b, "[role=alert]"))
    assert one(browser, ".vmb-add [name='vmb[address]']").get_attribute("value") == "2001:db8:ffff::1"
    assert one(browser, ".vmb-add [name='vmb[name]']").get_attribute("value") == "far.example.com"
    browser.refresh()  # sends nothing again
    assert not browser.find_elements(By.CSS_SELECTOR, "[role=alert]")
    assert "far.example.com" not in browser.page_source


def test_what_waits_is_shown_and_the_page_follows_when_it_is_written(system: System, browser: Chrome) -> None:
    assert system.hcloud
    see(browser, system, SHOP, "rdns")
    system.hcloud.faults = [Fault("POST .*", "conflict")]
    write(field(browser, v4(system)), "later.example.com")
    press(browser, v4(system), "save")
    until(browser, lambda b: "Waiting to be written. This goes on by itself." in texts(b, ".vmb-record"))
    assert field(browser, v4(system)).get_attribute("value") == "later.example.com"
    assert records(system)[v4(system)] == "mail.example.com"
    browser.execute_script("window.sameDocument = true")
    until(browser, lambda b: "Waiting" not in texts(b, ".vmb-record"), 60)  # by the worker
    assert untouched(browser)
    assert records(system)[v4(system)] == "later.example.com"
    assert field(browser, v4(system)).get_attribute("value") == "later.example.com"


def test_rows_that_come_and_go_elsewhere_never_mix_their_names(system: System, browser: Chrome) -> None:
    """Another tab removes and adds records while a name is half written here."""
    see(browser, system, SHOP, "rdns")
    assert system.hcloud
    write(field(browser, v6(system, "25")), "half")
    system.submit(SHOP, "rdns", action="save", address=v6(system, "1"), name="first.example.com")
    system.submit(SHOP, "power", action="stop")
    until(
        browser, lambda b: word(b) == "Stopped" and idle(b) and reason(b, action(b, "power", "start")) == ""
    )  # the page was made true again
    assert untouched(browser)
    assert field(browser, v6(system, "25")).get_attribute("value") == "half"
    assert not browser.find_elements(By.CSS_SELECTOR, f"input[value='{v6(system, '1')}']")
    write(field(browser, v6(system, "25")), "h25.example.com")
    browser.execute_script("document.activeElement.blur()")
    system.submit(SHOP, "power", action="start")
    until(browser, lambda b: field(b, v6(system, "1")).get_attribute("value") == "first.example.com")
    assert field(browser, v6(system, "25")).get_attribute("value") == "h25.example.com"
    assert untouched(browser)
    system.submit(SHOP, "rdns", action="save", address=v6(system, "1"), remove="1")
    until(browser, lambda b: word(b) == "Running" and idle(b))


# -- denied, suspended, down ----------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES)
def test_what_the_product_does_not_have_is_access_denied(system: System, browser: Chrome, page: str) -> None:
    assert system.hcloud
    see(browser, system, DENIED, page)
    assert "Access Denied" in one(browser, "[role=alert]").text
    assert not browser.find_elements(By.CSS_SELECTOR, ".vmb-content form")
    assert reason(browser, one(browser, f"[aria-describedby^=vmb-nav-{page}-]")) == "Not part of your plan."
    before = len(system.hcloud.mutations())
    for form in (
        {"action": "mount", "iso": "7005"},
        {"action": "unmount"},
        {"action": "search", "find": "x"},
        {"action": "save", "address": "192.0.2.2", "name": "mail.example.com"},
    ):
        assert "Access Denied" in system.submit(DENIED, page, **form).text
    assert len(system.hcloud.mutations()) == before


def test_suspended_meanwhile(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP, "rdns")
    write(one(browser, ".vmb-add [name='vmb[name]']"), "kept.example.com")
    system.module(SHOP, "SuspendAccount")
    until(browser, lambda b: word(b) == "Suspended")
    assert one(browser, ".vmb-add [name='vmb[name]']").get_attribute("value") == "kept.example.com"
    assert (
        "This service is not active."
        in system.submit(SHOP, "rdns", action="save", address=v4(system), name="no.example.com").text
    )
    see(browser, system, SHOP, "rdns")
    assert reason(browser, one(browser, "[data-verb=save]")) == "The service is suspended."
    settled(system, SHOP)
    system.module(SHOP, "UnsuspendAccount")
    until(browser, lambda b: word(b) == "Running" and idle(b) and reason(b, one(b, "[data-verb=save]")) == "")
    assert records(system)[v4(system)] == "later.example.com"


def test_a_page_that_cannot_be_read_tries_again_by_itself(system: System, browser: Chrome) -> None:
    assert system.hcloud
    for page, there in (("iso", "No ISO is mounted."), ("rdns", "Addresses")):
        system.submit(SHOP, "iso", action="unmount")
        system.submit(
            SHOP, "rdns", action="save", address=v6(system, "77"), name="" if page == "iso" else "m.example.com"
        )  # what was read is old
        system.hcloud.faults = [Fault(f"GET /servers/{server(system, SHOP).id}", "unavailable") for _ in range(2)]
        see(browser, system, SHOP, page)
        told = texts(browser, ".vmb-content")
        assert "This could not be read just now. This page tries again by itself." in told
        assert there not in told
        until(browser, lambda b, there=there: there in texts(b, ".vmb-content"), 60)
        assert untouched(browser)


# -- without script -------------------------------------------------------------------------------
def test_without_script(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(system.page(SHOP) + "&vmb[page]=iso")
        browser.find_elements(By.CSS_SELECTOR, ".vmb-folder summary")[2].click()
        next(e for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-folder li button") if e.is_displayed()).click()
        until(browser, lambda b: "FreeBSD-13.4" in one(b, ".vmb-strong").text)
        one(browser, "[name='vmb[find]']").send_keys("systemrescue")
        one(browser, "[data-verb=search]").click()
        until(browser, lambda b: "1 of 64" in one(b, "[data-count]").text and one(b, ".vmb-folder li").is_displayed())
        action(browser, "iso", "unmount").click()
        until(browser, lambda b: "No ISO is mounted." in texts(b, ".vmb-content"))
        browser.get(system.page(SHOP) + "&vmb[page]=rdns")
        write(field(browser, v4(system)), "plain.example.com")
        press(browser, v4(system), "save")
        until(browser, lambda b: records(system)[v4(system)] == "plain.example.com")
        press(browser, v6(system, "25"), "remove")
        until(browser, lambda b: v6(system, "25") not in records(system))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_nothing_happens_by_get_or_without_whmcs_token(system: System) -> None:
    assert system.hcloud
    before = len(system.hcloud.mutations())
    url = f"http://127.0.0.1:{system.host}/clientarea.php?action=productdetails"
    form = ours("mount", id=str(SHOP), modop="custom", a="submit", capability="iso", iso="7005")
    requests.get(url, params=form, timeout=30)
    assert requests.post(url, data={**form, "token": "wrong"}, timeout=30).status_code == 403
    assert len(system.hcloud.mutations()) == before


# -- languages, small screens, accessibility ------------------------------------------------------
@pytest.mark.parametrize("page", PAGES)
def test_every_sentence_is_in_the_clients_language(system: System, browser: Chrome, page: str) -> None:
    see(browser, system, PSEUDO, page)
    names = re.compile(r"mail\.example\.com|m\d\.example\.com|.*\.iso|ISO|nbg1.*|2001:.*|.*· nbg1", re.S)
    assert [t for t in untranslated(browser) if not names.fullmatch(t)] == []
    for form in (
        {"action": "mount", "iso": "1"},
        {"action": "save", "address": "x", "name": "y"},
        {"action": "save", "address": "192.0.2.1", "name": "-"},
        {"action": "save", "address": "192.0.2.250", "name": "a.example.com"},
    ):
        told = re.findall(
            r'role="alert"[^>]*>\s*(.*?)\s*</(?:div|p|span)>',
            system.submit(PSEUDO, "iso" if form["action"] == "mount" else "rdns", **form).text,
            re.S,
        )
        assert told, told
        assert all(t.startswith("[") and t.endswith("]") for t in told), told


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("service", [PSEUDO, RTL])
def test_nothing_scrolls_sideways_at_360_px(system: System, browser: Chrome, service: int, theme: str) -> None:
    for width in (360, 1100):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        for page in PAGES:
            see(browser, system, service, page, theme)
            browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
            wide = browser.execute_script(
                "const w = document.documentElement.clientWidth;return [document.documentElement.scrollWidth - w,"
                " [...document.querySelectorAll('.vmbridge *')].filter(e => !e.closest('.vmb-nav, .vmb-sr') &&"
                " (e.getBoundingClientRect().right > w + 1 || e.getBoundingClientRect().left < -1)).map(e =>"
                " e.outerHTML.slice(0, 120)).slice(0, 3)]"
            )
            assert wide[0] <= 0, (page, width, wide)
            assert wide[1] == [], (page, width, wide)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shade", ["light", "dark"])
def test_accessibility(system: System, browser: Chrome, shade: str, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": shade}]}
    )
    for service, page in (*((SHOP, p) for p in PAGES), *((RTL, p) for p in PAGES), (DENIED, "iso")):
        see(browser, system, service, page, theme)
        browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert findings(browser) == [], (service, page)
