"""Every page of a customer measured at six widths, in a frame with the measures of WHMCS's own: nothing overlaps,
breaks inside a word or scrolls sideways; what one comes for stands above the fold, and is few clicks away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from bridge.clock import Clock
from tests.browser import THEMES, chrome, one, screen, until, word
from tests.hcloud.project import Project
from tests.screenshots import aged, furnish, furnish_cloud, protect
from tests.system import System

KVM, CLOUD = 1, 2
WIDTHS = (360, 768, 992, 1024, 1199, 1440)
HEIGHT = 900
FOLD = {
    360: 360,
    768: 360,
    992: 300,
    1024: 300,
    1199: 300,
    1440: 300,
}  # where state, name, address with Copy and the buttons have to end
REAL = THEMES if not os.environ.get("VMBRIDGE_THEME_DIR") else (*THEMES, "&theme=nexus")
EXPECTED = r"/assets/(fonts/css/fontawesome-\w+\.min\.css|img/[\w-]+\.svg) - |/favicon\.ico - "  # WHMCS's own
# where the page begins in Nexus and Six, the lowest; in our frame at 188
BEGINS = {"": 232, "&theme=six": 235, "&theme=nexus": 232}
MEASURE = """
const box = document.querySelector('.vmbridge'), faults = [], wide = document.documentElement;
const seen = e => e.checkVisibility({visibilityProperty: true}) &&
  !e.closest('.vmb-sr, option, datalist, script, style, noscript');
const name = e => (e.className && e.className.baseVal === undefined &&
  e.className || e.tagName) + ': ' + e.textContent.trim().slice(0, 40);
// by us, not by a theme that does so around an empty box (Six's footer beside a scroll bar, at some widths)
const style = box.style.cssText, beyond = () => wide.scrollWidth - wide.clientWidth, sideways = beyond();
box.style.cssText = `contain: strict; height: ${box.offsetHeight}px`;
const around = Math.max(beyond(), 0);
box.style.cssText = style;
if (sideways > around) faults.push('scrolls sideways by ' + (sideways - around));
const walk = document.createTreeWalker(box, NodeFilter.SHOW_TEXT), range = document.createRange(), leaves = new Set();
while (walk.nextNode()) {
  const t = walk.currentNode, e = t.parentElement;
  if (!t.data.trim() || !seen(e)) continue;
  leaves.add(e);
  for (const m of t.data.matchAll(/[^\\s\\u00ad\\u200b/–-]+/g)) {
    range.setStart(t, m.index); range.setEnd(t, m.index + m[0].length);
    const rects = [...range.getClientRects()].filter(r => r.width > 0);
    if (new Set(rects.map(r => Math.round(r.top))).size > 1) faults.push('breaks inside "' + m[0] + '" of ' + name(e));
    const cut = e.closest('.vmb-nav, .vmb-scroll') ? null :
      rects.find(r => r.right > wide.clientWidth + 1 || r.left < -1);
    if (cut) faults.push('is cut: ' + name(e));
    let p = e; // out of its own box
    while (p !== box && getComputedStyle(p).display.startsWith('inline')) p = p.parentElement;
    const room = p.getBoundingClientRect();
    if (p !== box && rects.some(r => r.right > room.right + 1.5 || r.left < room.left - 1.5) &&
      !e.closest('.vmb-scroll'))
      faults.push('is wider than its box: "' + m[0] + '" in ' + name(p));
  }
}
box.querySelectorAll('button, input:not([type=hidden]), select, textarea, canvas, summary').forEach(e => {
  if (seen(e)) leaves.add(e) });
const rects = [...leaves].filter(e => !e.closest('.u-legend, .uplot') || e.tagName === 'CANVAS')
  .flatMap(e => [...e.getClientRects()].map(r => [e, r])).filter(([, r]) => r.width > 1 && r.height > 1);
rects.forEach(([a, r], i) => rects.slice(i + 1).forEach(([b, s]) => {
  if (a === b || a.contains(b) || b.contains(a)) return;
  const w = Math.min(r.right, s.right) - Math.max(r.left, s.left), h = Math.min(r.bottom, s.bottom) - Math.max(r.top,
    s.top);
  if (w > 2 && h > 4) faults.push('overlap: ' + name(a) + ' / ' + name(b));
}));
box.querySelectorAll('input, select, .vmb-btn').forEach(e => {
  if (seen(e) && e.scrollWidth > e.clientWidth + 1 && e.type !== 'text') faults.push('clipped: ' + (e.name || name(e)));
});
return [...new Set(faults)].slice(0, 6)"""
HEAD = """
return Object.fromEntries(Object.entries({
  state: '[data-field=state]', name: '.vmb-name', address: '.vmb-reach .vmb-mono', copy: '.vmb-reach .vmb-copy',
  ssh: '.vmb-reach .vmb-copy:last-of-type', start: '[data-verb=start]', restart: '[data-verb=reboot]',
    stop: '[data-verb=stop]',
  console: '.vmb-actions a.vmb-btn'
}).map(([k, css]) => [k, document.querySelector('.vmbridge ' + css).getBoundingClientRect().bottom + arguments[0]
  - document.querySelector('.vmbridge').getBoundingClientRect().top]))"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, public=True, hcloud=Project(Clock())) as s:
        furnish(s, KVM)
        protect(s, KVM)
        aged(s, KVM)
        furnish_cloud(s, CLOUD)
        yield s


def pages(browser: Chrome, system: System, service: int) -> list[str]:
    """The addresses of all pages in the menu."""
    browser.get(system.page(service))
    items = browser.find_elements(By.CSS_SELECTOR, "a.vmb-nav-item[href*='clientarea']")
    return [str(i.get_attribute("href")) for i in items]


def ready(browser: Chrome) -> None:
    if browser.find_elements(By.CSS_SELECTOR, "[data-charts][data-drawn='1']"):
        until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "[data-charts][data-shown]"))


def settled(browser: Chrome) -> None:
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


@pytest.mark.parametrize("theme", REAL)
@pytest.mark.parametrize("service", [KVM, CLOUD])
def test_pages_at_six_widths(system: System, browser: Chrome, service: int, theme: str) -> None:
    wrong: dict[str, Any] = {}
    for address in pages(browser, system, service):
        screen(browser, WIDTHS[0], HEIGHT)
        browser.get(address + theme)
        ready(browser)
        page = str(one(browser, "[data-vmbridge]").get_attribute("data-here"))
        for width in WIDTHS:
            screen(browser, width, HEIGHT)
            settled(browser)
            if faults := browser.execute_script(MEASURE):
                wrong[f"{page} {width}"] = faults
            ends = browser.execute_script(HEAD, BEGINS[theme])
            if low := {k: round(y) for k, y in ends.items() if y >= FOLD[width]}:
                wrong[f"{page} {width} fold"] = low
    assert wrong == {}


def click(browser: Chrome, css: str, clicks: list[str]) -> Any:
    """On what is in view without scrolling."""
    element = next(e for e in browser.find_elements(By.CSS_SELECTOR, css) if e.is_displayed())
    low = browser.execute_script("return arguments[0].getBoundingClientRect().bottom", element)
    assert low <= HEIGHT, (css, low)
    element.click()
    clicks.append(css)
    return element


def test_steps_from_opening_the_page(system: System, browser: Chrome) -> None:
    screen(browser, 1440, HEIGHT)
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )

    def begun(kind: str) -> None:
        system.wait_for(lambda: system.operation(KVM)["kind"] == kind, 20, kind)
        system.wait_for(lambda: system.operation(KVM)["state"] == "done", 60, kind)
        until(browser, lambda b: not b.find_elements(By.CSS_SELECTOR, "[data-operation].vmb-busy"))

    def steps(*css: str) -> int:
        clicks: list[str] = []
        browser.get(system.page(KVM))
        until(browser, lambda b: word(b) == "Running")
        for part in css:
            click(browser, part, clicks)
        return len(clicks)

    assert steps(".vmb-reach .vmb-copy") == 1
    until(browser, lambda b: one(b, ".vmb-reach .vmb-copy").text == "Copied")
    assert steps(".vmb-actions [data-verb=reboot]", "dialog .vmb-red") == 2
    begun("reboot")
    assert (
        steps(".vmb-nav-item[href*=snapshots]", ".vmb-main form [value=take] ~ * button, .vmb-main [data-busy] button")
        == 2
    )
    begun("take_snapshot")
    assert steps(".vmb-nav-item[href*=backups]", "[data-verb=restore]", "dialog .vmb-red") == 3
    begun("restore")
    assert steps(".vmb-actions a[href*=console]") == 1


# what a script finds of the smaller things: each is empty where all is well
SMALL = """
const box = document.querySelector('.vmbridge'), rtl = box.dir === 'rtl', faults = [];
const rects = e => { const r = document.createRange(), w = document.createTreeWalker(e, NodeFilter.SHOW_TEXT), all = [];
  while (w.nextNode()) if (!w.currentNode.parentElement.closest('.vmb-sr')) { r.selectNodeContents(w.currentNode);
    all.push(...r.getClientRects()) }
  return all.filter(b => b.width > 1) };
const lines = e => new Set(rects(e).map(b => Math.round(b.bottom / 6))).size;
box.querySelectorAll(
  '.vmb-list dd, .vmb-card > p:has(> .vmb-mac), p.vmb-mono, .vmb-record .vmb-field > span:first-child').forEach(e => {
  const room = e.getBoundingClientRect(), text = rects(e).filter(b => b.top < rects(e)[0].bottom);
  const gap = rtl ? room.right - Math.max(...text.map(b => b.right)) : Math.min(...text.map(b => b.left)) - room.left;
  if (gap > 2) faults.push('stands ' + Math.round(gap) + ' px from its own side: ' + e.textContent.trim().slice(0, 40));
});
box.querySelectorAll('.vmb-nav-item').forEach(e => { if (!rtl &&
  lines(e) > 1) faults.push('wraps: ' + e.textContent.trim()) });
box.querySelectorAll('.vmb-mac').forEach(e => { if (lines(e) > 1) faults.push('breaks: ' + e.textContent) });
const meters = [...box.querySelectorAll('.vmb-grid .vmb-meter')],
  tops = m => m.closest('.vmb-card').getBoundingClientRect().top;
meters.forEach(m => { if (tops(m) === tops(meters[0]) &&
  Math.abs(m.getBoundingClientRect().top - meters[0].getBoundingClientRect().top) > 1)
  faults.push('meters of one row at two heights') });
const rows = {};
box.querySelectorAll('.vmb-day').forEach(d => { const t = Math.round(d.getBoundingClientRect().top);
  rows[t] = (rows[t] || 0) + 1 });
const counts = Object.values(rows);
if (counts.length > 1 && counts[0] > 1 && counts.at(-1) === 1) faults.push('one day alone in its row: ' + counts);
box.querySelectorAll('input[type=time]').forEach(t => {
  const c = t.cloneNode(); c.style.cssText = 'width:max-content!important;position:absolute;visibility:hidden';
    t.after(c);
  if (c.getBoundingClientRect().width > t.getBoundingClientRect().width + 1) faults.push('a time is clipped: '
    + Math.round(t.getBoundingClientRect().width) + ' of ' + Math.round(c.getBoundingClientRect().width));
  c.remove();
});
box.querySelectorAll(':scope > .vmb-actions .vmb-why').forEach(e => {
  e.style.display = 'block';
  const r = e.getBoundingClientRect(), room = box.getBoundingClientRect();
  if (r.left < room.left - 1 || r.right > room.right + 1) faults.push('leaves the box: ' + e.textContent);
  if ([...box.querySelectorAll(':scope > .vmb-actions > * > .vmb-btn, :scope > .vmb-actions > .vmb-btn')].some(b => {
    const s = b.getBoundingClientRect();
    return Math.min(r.right, s.right) - Math.max(r.left, s.left) > 1
      && Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top) > 1 }))
    faults.push('covers a button: ' + e.textContent);
  e.style.display = '';
});
const onOneRow = (css, what) => box.querySelectorAll(css).forEach(e => {
  if (!rtl && new Set([...e.children].map(c => Math.round(c.getBoundingClientRect().top))).size > 1)
    faults.push(what + ' in two rows');
});
onOneRow('.vmb-tabs', 'periods');
onOneRow('.vmb-rowact', 'buttons of ' + box.dataset.here);
box.querySelectorAll('.vmb-told time').forEach(e => { if (!rtl &&
  lines(e) > 1) faults.push('wraps: ' + e.textContent.trim()) });
box.querySelectorAll('.vmb-list .vmb-copy').forEach(e => {
  const room = e.parentElement.getBoundingClientRect(), own = e.getBoundingClientRect(),
    under = own.top > room.top + own.height;
  const gap = rtl ? room.right - own.right : own.left - room.left;
  if (under && gap > 2 &&
    e.previousElementSibling.getBoundingClientRect().bottom <= own.top + 4)
    faults.push('Copy stands ' + Math.round(gap) + ' px in');
});
return [...new Set(faults)]"""
SMALL_PAGES = ("overview", "charts", "snapshots", "backups", "reset_password", "rdns", "iso", "firewall", "activity")


@pytest.mark.parametrize("language", ["", "&language=pseudo-rtl"])
@pytest.mark.parametrize("service", [KVM, CLOUD])
def test_small_things(system: System, browser: Chrome, service: int, language: str) -> None:
    """Addresses at their own side, meters in line, days in full rows, times whole; long words have room too."""
    wrong = {}
    for page in SMALL_PAGES:
        browser.get(f"{system.page(service)}&vmb[page]={page}{language}")
        for width in WIDTHS:
            screen(browser, width, HEIGHT)
            settled(browser)
            faults = browser.execute_script(SMALL) + (browser.execute_script(MEASURE) if language else [])
            if faults:
                wrong[f"{page} {width}"] = faults
    assert wrong == {}


def test_a_clock_of_twelve_hours_fits(system: System) -> None:
    with chrome("--lang=en-US", "--window-size=1100,900") as b:
        b.get(f"{system.page(KVM)}&vmb[page]=backups")
        for width in WIDTHS:
            screen(b, width, HEIGHT)
            settled(b)
            assert b.execute_script(SMALL) == [], width
