"""Every page of a customer by axe and by keyboard alone, dark and from right to left: each control is reached in its
order, is seen while it has the focus, and gets the focus back from what it opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bridge.clock import Clock
from tests.browser import AXE, findings, one, screen, shade, until
from tests.hcloud.project import Project
from tests.screenshots import aged, furnish, furnish_cloud, protect, wall
from tests.system import CLOUD_WALL, System
from tests.test_measures_browser import pages

KVM, CLOUD = 1, 2
RTL = "&language=pseudo-rtl"
LOOKS = [  # service, what the system wishes, language, width
    (KVM, "light", RTL, 360),
    (KVM, "dark", "", 1440),
    (CLOUD, "dark", RTL, 1024),
]
# what has the focus is noted with what one sees of it
WATCH = """
window.reached = []; window.unseen = [];
const lum = c => { const p = c.match(/[\\d.]+/g).map(Number).slice(0, 3)
  .map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2] };
const behind = e => { for (let p = e.parentElement; p; p = p.parentElement) {
  const c = getComputedStyle(p).backgroundColor;
  if (!/, 0(\\.\\d+)?\\)$|transparent/.test(c)) return c } return 'rgb(255, 255, 255)' };
window.root = document.querySelector(arguments[0] || '.vmbridge');
root.addEventListener('focusin', e => {
  const t = e.target, s = getComputedStyle(t), wrong = w => unseen.push(w + ': ' + t.outerHTML.replace(/\\s+/g,
    ' ').slice(0, 90));
  if (reached.includes(t)) return;
  reached.push(t);
  if (t.matches('.vmb-content, dialog')) return;
  const [a, b] = [lum(s.outlineColor), lum(behind(t))].sort((x, y) => y - x), wide = parseFloat(s.outlineWidth);
  if (s.outlineStyle === 'none' || wide < 2) wrong('no outline');
  else if ((a + 0.05) / (b + 0.05) < 3) wrong('outline of contrast ' + ((a + 0.05) / (b + 0.05)).toFixed(1));
  const r = t.getBoundingClientRect(), out = wide + parseFloat(s.outlineOffset);
  if (r.bottom < 0 || r.top > innerHeight || r.right < 0 || r.left > innerWidth) wrong('out of sight');
  for (let p = t.parentElement; p && p !== document.body;
    p = p.parentElement) if (getComputedStyle(p).overflow !== 'visible') {
    const q = p.getBoundingClientRect();
    if (r.top - out < q.top - 1 || r.bottom + out > q.bottom + 1) wrong('outline cut by ' + (p.className || p.tagName));
  }
});
return [...root.querySelectorAll('button, summary, a, select, textarea, input:not([type=hidden]), [tabindex="0"]')]
  .filter(e => e.checkVisibility({visibilityProperty: true}) && e.tabIndex >= 0).length"""
ORDER = """
const all = [...root.querySelectorAll('*')], at = reached.map(e => all.indexOf(e));
return at.filter((n, i) => i && n < at[i - 1]).length"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(
        tmp_path_factory.mktemp("system"), speed=0.02, public=True, hcloud=Project(Clock()), more=CLOUD_WALL
    ) as s:
        furnish(s, KVM)
        protect(s, KVM)
        aged(s, KVM)
        furnish_cloud(s, CLOUD, "cloud-wall")
        wall(s, CLOUD)
        yield s


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser, 0).send_keys(*keys).perform()


def walk(browser: Chrome, inside: str = "") -> list[str]:
    """Tab through everything; what was not reached, not seen or not in its order."""
    wanted = browser.execute_script(WATCH, inside)
    browser.execute_script("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    for _ in range(12):  # fields of time have several parts
        press(browser, *[Keys.TAB] * (wanted // 2 + 8))
        reached, unseen = browser.execute_script("return [reached.length, unseen]")
        if reached >= wanted:
            break
    missed = [] if reached >= wanted else [f"{wanted - reached} of {wanted} not reached"]
    turns = browser.execute_script(ORDER)
    return [*unseen, *missed, *([f"{turns} times out of order"] if turns > 1 else [])]  # the walk may begin anew once


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize(("service", "wish", "language", "width"), LOOKS)
def test_pages(system: System, browser: Chrome, service: int, wish: str, language: str, width: int) -> None:
    screen(browser, width, 900)
    shade(browser, wish)
    wrong: dict[str, Any] = {}
    for address in pages(browser, system, service):
        browser.get(address + language)
        page = str(one(browser, "[data-vmbridge]").get_attribute("data-here"))
        if page == "charts":
            until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "[data-charts][data-shown]"))
        if faults := walk(browser):
            wrong[page] = faults
        browser.execute_script("document.querySelectorAll('.vmbridge details').forEach(d => { d.open = true })")
        if faults := findings(browser):
            wrong[f"{page}, axe"] = faults
    assert wrong == {}


def focused(browser: Chrome) -> str:
    return str(
        browser.execute_script(
            "const e = document.activeElement; return e.dataset.verb || e.dataset.copy || e.id || e.className ||"
            " e.tagName"
        )
    )


def on(browser: Chrome, css: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).focus()", css)


@pytest.mark.parametrize(("wish", "language"), [("light", ""), ("dark", RTL)])
def test_what_opens_by_keyboard_closes_and_gives_the_focus_back(
    system: System, browser: Chrome, wish: str, language: str
) -> None:
    shade(browser, wish)
    open_ = "dialog[open]"
    for page, css in (
        ("overview", "[data-verb=stop]"),
        ("overview", "[data-verb=reboot]"),
        ("snapshots", "[data-verb=rollback]"),
        ("snapshots", "[data-verb=delete]"),
        ("backups", "[data-verb=restore]"),
        ("firewall", "[data-verb=add-rule]"),
        ("firewall", "[data-verb=edit-rule]"),
    ):
        browser.get(f"{system.page(KVM)}&vmb[page]={page}{language}")
        until(browser, lambda b: b.execute_script("return document.querySelector('.vmbridge').vmbridge === true"))
        on(browser, css)
        opener = focused(browser)
        press(browser, Keys.ENTER)
        until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, open_))
        assert browser.execute_script("return !!document.activeElement.closest('dialog[open]')"), (page, css)
        assert findings(browser, open_) == [], (page, css)
        assert walk(browser, open_) == [], (page, css)
        press(browser, Keys.ESCAPE)
        until(browser, lambda b: not b.find_elements(By.CSS_SELECTOR, open_))
        assert focused(browser) == opener, (page, css)
    browser.get(f"{system.page(KVM)}&vmb[page]=firewall{language}")
    on(browser, ".vmb-more summary")
    press(browser, Keys.ENTER)
    until(browser, lambda b: one(b, ".vmb-more [data-verb=hard_stop]").is_displayed())
    assert findings(browser, ".vmb-more") == []
    press(browser, Keys.TAB)
    assert focused(browser) == "hard_stop"
    press(browser, Keys.ESCAPE)
    until(browser, lambda b: not one(b, ".vmb-more [data-verb=hard_stop]").is_displayed())
    assert browser.execute_script("return document.activeElement.tagName") == "SUMMARY"
    on(browser, "[data-number='1'] .vmb-grip")
    press(browser, Keys.ARROW_DOWN)
    placed = "return [...document.querySelectorAll('[data-rules] > [data-number]')].map(r => r.dataset.number).join('')"
    assert browser.execute_script(placed) == "0213"
    press(browser, Keys.ESCAPE)
    assert browser.execute_script(placed) == "0123"
    assert focused(browser) == "vmb-grip"


@pytest.mark.parametrize("language", ["", RTL])
def test_skip_and_copy(system: System, browser: Chrome, language: str) -> None:
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})  # permissions take it away
    screen(browser, 360, 800)
    browser.get(f"{system.page(KVM)}&vmb[page]=snapshots{language}")
    until(browser, lambda b: b.execute_script("return document.querySelector('.vmbridge').vmbridge === true"))
    on(browser, ".vmb-skip")
    at = one(browser, ".vmb-skip").rect
    assert at["width"] > 100
    assert at["height"] > 30
    assert 0 <= at["x"] <= 360 - at["width"]
    press(browser, Keys.ENTER)
    until(browser, lambda b: focused(b) == "vmb-content")
    press(browser, Keys.TAB)
    assert one(browser, "[name='vmb[description]']") == browser.switch_to.active_element
    on(browser, ".vmb-reach .vmb-copy")
    said = browser.switch_to.active_element.text
    press(browser, Keys.ENTER)
    until(browser, lambda b: b.switch_to.active_element.text not in (said, ""))
    assert browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])").startswith("203.0.113.")
