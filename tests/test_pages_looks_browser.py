"""The customer's pages as they look in real Chromium: in other languages, on a phone, light and dark, by Tab alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser import AXE, THEMES, findings, one, texts, until
from tests.customer_pages import (
    DENIED,
    FULL,
    PAGES,
    PSEUDO,
    RTL,
    SHOP,
    action,
    customers,
    hold,
    release,
    see,
    settled,
    untranslated,
)
from tests.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with customers(tmp_path_factory.mktemp("system")) as s:
        yield s


# -- languages, small screens, accessibility ------------------------------------------------------
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
