"""Where a page's style sheets and scripts come from: inside it until a browser says that it has had them, then by
address and content; through WHMCS where the public path is blocked."""

from __future__ import annotations

import gzip
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from selenium.webdriver import Chrome

from bridge import assets
from bridge.clock import Clock
from tests.browser import chrome, one, screen, until, word
from tests.drawn import drawn
from tests.hcloud.project import Project
from tests.processes import child
from tests.screenshots import PAGES, aged, furnish_cloud, protect, wall
from tests.system import CLOUD_WALL, System

QUIET = ("overview", "snapshots", "backups", "reinstall", "reset_password", "activity", "console", "rdns")
EXPECTED = "ERR_BLOCKED_BY_CLIENT|/status/v1/|ERR_FAILED"  # what a test blocks or breaks
LIMIT = 30 * 1024
CLOUD = 2
LISTS = ("iso", "firewall")  # which grow with every image and rule


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(
        tmp_path_factory.mktemp("system"), speed=0.05, public=True, hcloud=Project(Clock()), more=CLOUD_WALL
    ) as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        protect(s, 1)
        furnish_cloud(s, CLOUD, "cloud-wall")
        wall(s, CLOUD)
        aged(s, 1)
        yield s


def page(s: System, name: str, service: int = 1, **cookies: str) -> str:
    return requests.get(f"{s.page(service)}&vmb[page]={name}", cookies=cookies, timeout=30).text


def ours(html: str) -> str:
    """What is the bridge's of a page."""
    return html[html.index('<div class="vmbridge') : html.rindex("</script>")]


def names(browser: Chrome) -> list[str]:
    return list(browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)"))


def had(browser: Chrome) -> Any:
    return browser.get_cookie("vmbridge_files")


@pytest.mark.parametrize("service", [1, CLOUD])
def test_a_browser_that_had_the_files_gets_their_addresses(system: System, service: int) -> None:
    for name in PAGES:
        html = ours(page(system, name, service, vmbridge_files=assets.version()))
        assert "Access Denied" not in html or name == "rdns", name  # without a zone
        assert "<style>" not in html.replace("<noscript><style>", "")
        assert f"/assets/{assets.version()}/vmbridge.css" in html
        assert name in LISTS or len(html.encode()) <= LIMIT, (name, len(html.encode()))
        sent = len(gzip.compress(html.encode()))  # as web servers send it
        assert sent <= LIMIT / 3, (name, sent)


@pytest.mark.parametrize("kept", ["", "no", "0123456789abcdef", "../x", "x" * 5000])
def test_any_other_gets_them_inside_the_page(system: System, kept: str) -> None:
    html = page(system, "overview", **({"vmbridge_files": kept} if kept else {}))
    assert "<style>" in html
    assert 'rel="stylesheet" crossorigin' not in html


def test_an_address_is_good_for_ever_and_may_be_looked_at_from_whmcs(system: System) -> None:
    assert system.front
    for path in ("vmbridge.css", "vmbridge.js", "charts.css", "charts.js", "admin.css"):
        reply = requests.get(f"{system.front.url}/assets/{assets.version()}/{path}", timeout=10)
        assert reply.status_code == 200
        assert "immutable" in reply.headers["Cache-Control"]
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


def test_the_second_view_loads_nothing_anew(system: System, browser: Chrome) -> None:
    browser.get(system.page(1))
    until(browser, had)
    assert had(browser)["value"] == assets.version()
    browser.get(system.page(1))
    until(browser, lambda b: b.execute_script("return document.querySelector('.vmbridge').vmbridge === true"))
    files = browser.execute_script(
        "return performance.getEntriesByType('resource').filter(e => e.name.includes('/vmbridge/assets/'))"
        ".map(e => [e.name.split('/').pop(), e.transferSize])"
    )
    assert {n for n, _ in files} >= {"vmbridge.css", "vmbridge.js"}
    assert {size for _, size in files} == {0}
    assert browser.execute_script("return document.querySelector('.vmbridge').innerHTML.length") <= LIMIT
    assert one(browser, "[data-verb=stop]").value_of_css_property("background-color") == "rgba(180, 35, 24, 1)"


def worker(s: System) -> int:
    """The process that looks at the cluster by itself."""
    return child(s.processes["serve"].pid, "worker")


def test_no_page_asks_the_cluster(system: System) -> None:
    """The worker stands still meanwhile: what the cluster is asked then, a page has asked."""
    pid = worker(system)
    os.kill(pid, signal.SIGSTOP)
    try:
        system.wait_for(lambda: all(s.endswith("T") for s in states(pid)), 20, "the worker stands still")
        system.wait_for(lambda: all(t.end <= system.clock.now() for t in system.cluster.tasks.values()), 20)
        before = len(system.cluster.calls)
        for name in QUIET:
            assert "vmbridge" in page(system, name)
        assert system.cluster.calls[before:] == []
    finally:
        os.kill(pid, signal.SIGCONT)


def states(pid: int) -> list[str]:
    """Of each of its threads: T is stopped."""
    return [p.read_text().rpartition(")")[2].split()[0] for p in Path(f"/proc/{pid}/task").glob("*/stat")]


def test_one_request_of_the_module(system: System, browser: Chrome) -> None:
    browser.get(system.page(1))
    until(browser, had)
    began = system.log("serve").count("GET /v1/services/1/pages/")
    browser.get(system.page(1))
    until(browser, lambda b: b.execute_script("return document.querySelector('.vmbridge').vmbridge === true"))
    assert not [n for n in names(browser) if "clientarea.php" in n]
    assert system.log("serve").count("GET /v1/services/1/pages/") - began <= 1


def test_a_file_that_hangs_is_had_through_whmcs(system: System) -> None:
    """It is taken and never answered; the page waits less than three seconds and lives."""
    wait = re.search(r"WAIT = (\d+);", (assets.FOLDER / "first.js").read_text("utf-8"))
    assert wait
    assert int(wait.group(1)) < 3000
    assert system.front
    with chrome(strategy="none") as b:
        b.get(system.page(1))
        until(b, had)
        b.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        system.front.held = "/vmbridge.js"
        try:
            b.execute_script("window.former = true")
            b.get(system.page(1))
            lives = "return !window.former && document.querySelector('.vmbridge').vmbridge === true"
            until(b, lambda b: b.execute_script(lives))
            assert word(b) == "Running"
            assert any("vmb[page]=asset&vmb[file]=vmbridge.js" in n for n in names(b))
        finally:
            system.front.held = ""


def test_a_blocked_public_path_leaves_a_page_that_lives(system: System, browser: Chrome) -> None:
    browser.get(system.page(1))
    until(browser, had)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/vmbridge/*"]})
    try:
        browser.get(system.page(1))
        until(browser, lambda b: b.execute_script("return document.querySelector('.vmbridge').vmbridge === true"))
        assert word(browser) == "Running"
        assert any("vmb[page]=asset&vmb[file]=vmbridge.js" in n for n in names(browser))
        until(
            browser,
            lambda b: one(b, "[data-verb=stop]").value_of_css_property("background-color") == "rgba(180, 35, 24, 1)",
        )
        assert had(browser)["value"] == "no"
        browser.get(system.page(1))  # whole again, and it does not try every time
        assert not [n for n in names(browser) if "vmb[page]=asset" in n]
        assert re.search(r"\.vmbridge", one(browser, ".vmbridge style").get_attribute("textContent") or "")
    finally:
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": False})


def reply(status: str, body: str, headers: str = "Access-Control-Allow-Origin: *\r\n") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


ALLOWED = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: Authorization, If-None-Match\r\n"
WRONG = {  # what may stand where the status is asked for
    "refused by CORS": reply("200 OK", '{"status": "paused"}', ""),
    "a page of its own": reply("200 OK", "<html>Welcome to nginx!", ALLOWED),
    "somebody else's JSON": reply("200 OK", "null", ALLOWED),
    "no bridge behind it": reply("502 Bad Gateway", "<html>502", ALLOWED),
    "not found": reply("404 Not Found", "", ALLOWED),
    "never": b"",
}


@pytest.mark.parametrize("kind", WRONG)
def test_values_come_through_whmcs_when_the_public_path_does_not_bring_them(
    system: System, browser: Chrome, kind: str
) -> None:
    assert system.front
    system.front.instead, system.front.held = {"/status/": WRONG[kind]}, "" if WRONG[kind] else "/status/"
    soon = "document.dispatchEvent(new Event('visibilitychange'))"  # the next look comes within 2 s
    lives = "return document.querySelector('.vmbridge').vmbridge === true"
    through = "return performance.getEntriesByType('resource').filter(e => e.name.includes('vmb[page]=status')).length"
    try:
        browser.get(system.page(1))
        until(browser, lambda b: b.execute_script(lives))
        browser.execute_script("document.querySelector('[data-field=word]').textContent = 'of before';" + soon)
        until(browser, lambda b: word(b) == "Running")
        assert browser.execute_script(through) >= 1
    finally:
        system.front.instead, system.front.held = {}, ""


SHIFTS = """window.shifted = 0; window.shifts = [];
new PerformanceObserver(l => l.getEntries().filter(e => !e.hadRecentInput).forEach(e => {
  shifted += e.value; shifts.push(e.sources.map(s => s.node && (s.node.className || s.node.nodeName)));
})).observe({type: 'layout-shift', buffered: true})"""


@drawn
@pytest.mark.parametrize("width", [360, 1440])
def test_nothing_jumps(system: System, browser: Chrome, width: int) -> None:
    """From the first paint until values have come twice; also where files come by address."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    for name in ("overview", "overview", "charts", "snapshots", "backups"):
        browser.get(f"{system.page(1)}&vmb[page]={name}")
        browser.execute_script(SHIFTS)
        if name == "charts":
            until(browser, lambda b: b.execute_script("return !!document.querySelector('[data-shown] canvas')"))
        until(
            browser,
            lambda b: b.execute_script(
                "return performance.getEntriesByType('resource').filter(e => e.name.includes('status/v1')).length > 0"
            ),
        )
        until(browser, had)
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        shifted = browser.execute_script("return [shifted, shifts]")
        assert shifted[0] <= 0.01, (name, shifted)


MENUS = """const box = document.querySelector('.vmbridge'), mark = document.querySelector('.vmbridge-read');
const tall = () => [...document.querySelectorAll('#main-body .sidebar')].map(e => e.offsetHeight);
const place = document.querySelector('#main-body .sidebar').getBoundingClientRect();
const order = place.top > box.getBoundingClientRect().top, after = tall();
mark.remove();
return {order, after: after.every(h => h > 0), before: tall().some(h => h > 0),
  styled: /vmbridge-read/.test(document.head.innerHTML)}"""


@pytest.mark.parametrize(
    "theme, styled, width, before",
    [
        ("", True, 360, False),
        ("&theme=six", True, 360, False),
        ("", True, 1440, True),
        ("&theme=other", False, 360, True),
    ],
)
def test_menus_of_whmcs_wait_for_the_page(
    system: System, browser: Chrome, theme: str, styled: bool, width: int, before: bool
) -> None:
    """A busy phone paints what it has of a page, and WHMCS's menus stand first in it: by a style of the page's head
    they have no room until ours is read, and then stand below it. An unknown theme has no such style."""
    screen(browser, width)
    browser.get(system.page(1) + theme)
    if styled:
        menus = browser.execute_script(MENUS)  # type: ignore[no-untyped-call]
        assert menus == {"order": width == 360, "after": True, "before": before, "styled": True}
    else:
        assert "vmbridge-read" not in browser.page_source


def test_other_pages_of_whmcs_have_no_style_of_ours(system: System) -> None:
    assert "vmbridge-read" not in requests.get(f"http://127.0.0.1:{system.host}/clientarea.php?action=addfunds").text
