"""Charts through real PHP and in real Chromium: what is drawn, read by pointer, keys and screen readers, and where
files come from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bridge import assets
from tests.browser import until
from tests.drawn import DARK, LIGHT, columns, drawn
from tests.pve.cluster import Fault
from tests.screenshots import aged
from tests.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, public=True) as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        aged(s, 1)
        yield s


def page(system: System) -> str:
    return system.page(1) + "&vmb[page]=charts"


def fetch(system: System, query: str) -> requests.Response:
    return requests.get(f"{system.page(1)}&vmb[page]={query}", timeout=20)


def opened(system: System, browser: Chrome, period: str = "hour", more: str = "") -> None:
    browser.get(page(system) + more)
    browser.execute_script(f"sessionStorage.setItem('vmbridge-charts', '{period}')")
    browser.get(page(system) + more)
    shown(browser, period)


def shown(browser: Chrome, period: str) -> None:
    until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, f"[data-charts][data-shown={period}]"))
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def at(browser: Chrome, chart: str, what: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f"[data-chart={chart}] {what}")


def said(browser: Chrome, chart: str, word: str) -> str:
    return str(at(browser, chart, f"[data-value={word}]").text)


# -- through PHP ----------------------------------------------------------------------------------
def test_values_as_json(system: System) -> None:
    reply = fetch(system, "charts&vmb[data]=hour")
    values = reply.json()
    assert reply.headers["Content-Type"].startswith("application/json")
    assert reply.headers["Cache-Control"] == "no-store"
    assert len(values["times"]) == 60
    assert None in values["series"]["cpu"]
    assert values["period"] == "hour"


@pytest.mark.parametrize("period", ["decade", "", "hour%26client%3D8", "x" * 500])
def test_an_unknown_period_is_a_sentence(system: System, period: str) -> None:
    reply = fetch(system, f"charts&vmb[data]={period}")
    assert reply.status_code == 400
    assert "must be one of hour, day" in reply.json()["error"]


def test_the_page_with_a_period_has_tables(system: System) -> None:
    assert fetch(system, "charts&vmb[period]=week").text.count('<th scope="row">') > 4 * 200
    assert fetch(system, "charts").text.count('<th scope="row">') == 0


@drawn
def test_files_through_whmcs(system: System) -> None:
    reply = fetch(system, f"asset&vmb[file]=uplot.js&vmb[v]={assets.version()}")
    assert reply.status_code == 200
    assert "uPlot" in reply.text
    assert reply.headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in reply.headers["Cache-Control"]
    assert "Pragma" not in reply.headers
    assert "Expires" not in reply.headers
    assert (
        fetch(system, f"asset&vmb[file]=uplot.css&vmb[v]={assets.version()}")
        .headers["Content-Type"]
        .startswith("text/css")
    )
    for query in (
        f"vmb[file]=console.js&vmb[v]={assets.version()}",
        f"vmb[file]=../uplot.js&vmb[v]={assets.version()}",
        "vmb[file]=uplot.js&vmb[v]=0123456789abcdef",
        "vmb[file]=uplot.js",
        "",
    ):
        refused = fetch(system, f"asset&{query}")
        assert refused.status_code == 404
        assert refused.text == ""
        assert refused.headers["Cache-Control"] == "no-store"


# -- in the browser -------------------------------------------------------------------------------
@drawn
def test_hover_shows_the_values_of_all_charts(system: System, browser: Chrome) -> None:
    opened(system, browser)
    before, moment = said(browser, "cpu", "cpu"), said(browser, "cpu", "time")
    assert before.endswith("%")
    assert said(browser, "memory", "maxmem") == "2.0 GiB"
    assert said(browser, "network", "netout").endswith("MB/s")
    ActionChains(browser).move_to_element_with_offset(at(browser, "cpu", ".u-over"), -70, 10).perform()
    until(browser, lambda b: said(b, "cpu", "time") != moment)
    assert said(browser, "memory", "time") == said(browser, "cpu", "time") == said(browser, "disk", "time")
    ActionChains(browser).move_to_element(browser.find_element(By.CSS_SELECTOR, ".vmb-head")).perform()
    until(browser, lambda b: said(b, "cpu", "time") == moment and said(b, "cpu", "cpu") == before)


@drawn
def test_keys_walk_through_the_values(system: System, browser: Chrome) -> None:
    opened(system, browser)
    plot = at(browser, "network", "[data-plot]")
    assert plot.aria_role == "slider"
    assert plot.accessible_name == "Network"
    newest = plot.get_attribute("aria-valuetext")
    assert "In " in newest
    assert "Out " in newest
    assert "MB/s" in newest
    browser.execute_script("arguments[0].focus()", plot)
    plot.send_keys(Keys.ARROW_LEFT)
    second = plot.get_attribute("aria-valuetext")
    plot.send_keys(Keys.ARROW_LEFT)
    third = plot.get_attribute("aria-valuetext")
    plot.send_keys(Keys.HOME)
    assert len({newest, second, third, plot.get_attribute("aria-valuetext")}) == 4
    assert plot.get_attribute("aria-valuenow") == "0"
    plot.send_keys(Keys.ESCAPE)
    assert plot.get_attribute("aria-valuetext") == newest


@drawn
def test_a_gap_is_drawn_as_a_gap(system: System, browser: Chrome) -> None:
    opened(system, browser)
    line = columns(browser, LIGHT)
    widest = max(b - a for a, b in pairwise(line))
    assert len(line) > 100
    assert 0.06 < widest < 0.2


@drawn
def test_tabs(system: System, browser: Chrome) -> None:
    opened(system, browser)
    browser.find_element(By.CSS_SELECTOR, "[data-to=week]").click()
    shown(browser, "week")
    assert browser.find_element(By.CSS_SELECTOR, "[aria-current=true]").text == "Week"
    assert "7 days" in browser.find_element(By.CSS_SELECTOR, ".vmb-span").text
    assert "period=" not in browser.current_url
    browser.refresh()
    shown(browser, "week")


@drawn
def test_colours_follow_the_dark_side(system: System, browser: Chrome) -> None:
    opened(system, browser)
    assert len(columns(browser, LIGHT)) > 100
    assert not columns(browser, DARK)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    until(browser, lambda b: len(columns(b, DARK)) > 100 and not columns(b, LIGHT))


@drawn
@pytest.mark.parametrize("theme", ["", "&theme=six"])
def test_a_phone(system: System, browser: Chrome, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    opened(system, browser, "day", theme)
    for details in browser.find_elements(By.CSS_SELECTOR, "details.vmb-values"):
        browser.execute_script("arguments[0].open = true", details)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    narrow = at(browser, "cpu", ".uplot").size["width"]
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 480, "height": 360, "deviceScaleFactor": 1, "mobile": True}
    )
    until(browser, lambda b: at(b, "cpu", ".uplot").size["width"] > narrow + 80)


@drawn
def test_tables_for_screen_readers(system: System, browser: Chrome) -> None:
    opened(system, browser)
    details = at(browser, "memory", "details")
    details.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    rows = until(browser, lambda b: details.find_elements(By.CSS_SELECTOR, "tbody tr"))
    assert len(rows) > 45
    assert details.find_element(By.TAG_NAME, "table").is_displayed()
    cells = rows[1].find_elements(By.CSS_SELECTOR, "th[scope=row], td")
    assert len(cells) == 3
    assert cells[2].text == "2.0 GiB"
    assert [c.text for c in details.find_elements(By.CSS_SELECTOR, "th[scope=col]")] == ["Time", "Used", "Available"]
    assert "no value" in details.find_element(By.TAG_NAME, "tbody").text
    assert "Lowest" in details.find_element(By.CSS_SELECTOR, "[data-summary]").text


def test_without_javascript_links_fill_the_tables(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(page(system))
    assert "Choose a period" in browser.find_element(By.CSS_SELECTOR, ".vmb-main").text
    assert not browser.find_elements(By.CSS_SELECTOR, "tbody tr")
    browser.find_element(By.CSS_SELECTOR, "[data-to=day]").click()
    assert browser.find_element(By.CSS_SELECTOR, "[aria-current=true]").text == "Day"
    assert at(browser, "disk", "table").is_displayed()
    assert len(browser.find_elements(By.CSS_SELECTOR, "[data-chart=disk] tbody tr")) > 200


@drawn
def test_the_copy_in_whmcs_stands_in_for_the_public_path(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/assets/*"]})
    opened(system, browser)
    assert len(columns(browser, LIGHT)) > 100
    names = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert any("vmb[page]=asset" in n for n in names)
    browser.get_log("browser")


@drawn
def test_nothing_comes_from_elsewhere(system: System, browser: Chrome) -> None:
    opened(system, browser)
    names = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert names
    assert all(n.startswith(("http://127.0.0.1:", "data:")) for n in names)
    assert any(f"/assets/{assets.version()}/uplot/" in n for n in names)


@drawn
def test_a_failure_is_told_calmly_and_what_was_drawn_stays(system: System, browser: Chrome) -> None:
    opened(system, browser)
    system.cluster.faults = [Fault("status", path="rrddata", status=595, reason="No route to host", times=10**9)]
    try:
        browser.find_element(By.CSS_SELECTOR, "[data-to=year]").click()
        message = browser.find_element(By.CSS_SELECTOR, "[data-says=message]")
        until(browser, lambda b: "does not answer" in message.text)
        assert not at(browser, "cpu", "canvas").is_displayed()
        assert "595" not in browser.find_element(By.TAG_NAME, "body").text
    finally:
        system.cluster.faults = []
    browser.find_element(By.CSS_SELECTOR, "[data-to=year]").click()
    shown(browser, "year")
    assert not message.is_displayed()
    assert at(browser, "cpu", "canvas").is_displayed()
