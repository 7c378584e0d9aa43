"""A cloud server's overview, charts and console in real Chromium, through the WHMCS-like host, the shim, the bridge and
the relay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import requests
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bridge import assets
from bridge.clock import Clock
from tests.browser import AXE, THEMES, findings, one, until, word
from tests.drawn import DARK, LIGHT, columns, drawn
from tests.hcloud.project import Project
from tests.screenshots import furnish_cloud
from tests.system import System

SHOP = 2001
GREEN = (26, 127, 55)  # of the simulated screen


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, public=True, hcloud=Project(Clock())) as s:
        furnish_cloud(s, SHOP)
        yield s


def see(browser: Chrome, s: System, page: str = "overview", more: str = "") -> None:
    browser.get(s.page(SHOP) + ("" if page == "overview" else f"&vmb[page]={page}") + more)
    browser.execute_script("window.sameDocument = true")


def content(browser: Chrome) -> str:
    return str(one(browser, ".vmb-content").text)


def server(s: System) -> Any:
    assert s.hcloud
    [server_] = s.hcloud.servers.values()
    return server_


def shown(browser: Chrome, period: str) -> None:
    until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, f"[data-charts][data-shown={period}]"))
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


# -- overview -------------------------------------------------------------------------------------
@pytest.mark.parametrize("theme", THEMES)
def test_the_overview_shows_what_there_is(system: System, browser: Chrome, theme: str) -> None:
    see(browser, system, more=theme)
    until(
        browser, lambda b: "658.44 MB" in content(b) and "Nuremberg (nbg1)" in content(b)
    )  # a poll, then the page made true again
    for text in (
        "2 cores",
        "4.0 GiB",
        "40 GiB",
        "Debian 12",
        "Nuremberg (nbg1)",
        "41.20 GB",
        "192.0.2.",
        "2001:db8:",
        "PTR record",
        "ssh root@192.0.2.",
    ):
        assert text in content(browser).replace("\n", " "), text
    assert word(browser) == "Running"
    assert "as of" in one(browser, "[data-field=age]").text
    assert one(browser, ".vmb-place").text == "Debian 12 · Nuremberg (nbg1)"
    for absent in ("Disk activity", "Network adapter", "MAC", "% of", "Gateway"):
        assert absent not in content(browser)
    assert one(browser, "[data-field=uptime]").text == ""
    tones = {
        "[data-verb=start]": "vmb-green",
        "[data-verb=stop]": "vmb-red",
        "a.vmb-btn[href*=console]": "vmb-blue",
        "a.vmb-btn[href*=charts]": "vmb-orange",
    }
    assert all(
        tone in one(browser, css).get_attribute("class") and one(browser, f"{css} i") for css, tone in tones.items()
    )


def test_values_follow_by_themselves(system: System, browser: Chrome) -> None:
    see(browser, system)
    server(system).outgoing += 2_000_000_000
    until(browser, lambda b: "43.20 GB" in content(b), 30)
    server(system).image = "ubuntu-24.04"
    until(browser, lambda b: "Ubuntu 24.04" in content(b), 30)
    server(system).image = "debian-12"
    server(system).outgoing, kept = None, server(system).outgoing
    assert browser.execute_script("return window.sameDocument") is True
    server(system).outgoing = kept - 2_000_000_000


def test_the_manual_opens_in_a_tab_of_its_own(system: System, browser: Chrome) -> None:
    see(browser, system)
    links = browser.find_elements(By.CSS_SELECTOR, "a[href='https://docs.example.com/cloud']")
    assert len(links) == 2
    assert all(a.text.startswith("User manual") for a in links)
    assert all((a.get_attribute("target"), a.get_attribute("rel")) == ("_blank", "noopener") for a in links)
    see(browser, system, "charts")
    assert len(browser.find_elements(By.CSS_SELECTOR, "a[href='https://docs.example.com/cloud']")) == 1


def test_stop_and_start_by_click(system: System, browser: Chrome) -> None:
    see(browser, system)
    one(browser, "[data-verb=stop]").click()
    one(browser, "dialog .vmb-red").click()
    until(
        browser, lambda b: word(b) == "Stopped" and one(b, "[data-verb=start]").get_attribute("aria-disabled") != "true"
    )
    assert server(system).status == "off"
    see(browser, system, "console")
    dimmed = one(browser, "[data-verb=connect]")
    assert dimmed.get_attribute("aria-disabled") == "true"
    assert (
        one(browser, f"#{dimmed.get_attribute('aria-describedby')}").get_attribute("textContent")
        == "Start the server first."
    )
    see(browser, system)
    one(browser, "[data-verb=start]").click()
    until(browser, lambda b: word(b) == "Running")
    assert server(system).status == "running"


def test_the_tabs_of_whmcs_stay(system: System) -> None:
    """The overview stands inside WHMCS's own page and never takes its place."""
    area = system.post("/test/call", {"function": "ClientArea", "serviceid": SHOP})["result"]
    assert sorted(area) == ["tabOverviewModuleOutputTemplate", "templateVariables"]
    assert "Nuremberg" in json.dumps(area)


# -- charts ---------------------------------------------------------------------------------------
def test_values_as_json_through_php(system: System) -> None:
    values = requests.get(f"{system.page(SHOP)}&vmb[page]=charts&vmb[data]=month", timeout=20).json()
    assert 300 <= len(values["times"]) <= 360
    assert values["step"] == 7200
    assert set(values["series"]) == {"cpu", "diskread", "diskwrite", "netin", "netout"}
    year = requests.get(f"{system.page(SHOP)}&vmb[page]=charts&vmb[data]=year", timeout=20).json()
    assert year["times"] == []
    assert year["message"] == "Only the last 30 days are kept."


@drawn
def test_three_charts_with_a_gap_and_what_is_missing_is_said(system: System, browser: Chrome) -> None:
    see(browser, system, "charts")
    shown(browser, "hour")
    assert [c.get_attribute("data-chart") for c in browser.find_elements(By.CSS_SELECTOR, ".vmb-chart")] == [
        "cpu",
        "disk",
        "network",
    ]
    assert "RAM: this cannot be measured from outside the server." in content(browser)
    painted = columns(browser, LIGHT)
    assert len(painted) > 100
    assert 0.06 < max(b - a for a, b in pairwise(painted)) < 0.2
    assert one(browser, "[data-chart=cpu] [data-value=cpu]").text.endswith("%")
    assert one(browser, "[data-chart=network] [data-value=netout]").text.endswith("MB/s")


@drawn
def test_a_year_is_dimmed_and_its_reason_comes_on_hover_and_focus(system: System, browser: Chrome) -> None:
    see(browser, system, "charts")
    shown(browser, "hour")
    year = next(a for a in browser.find_elements(By.CSS_SELECTOR, ".vmb-tabs a") if a.text == "Year")
    reason = one(browser, f"#{year.get_attribute('aria-describedby')}")
    assert year.get_attribute("aria-disabled") == "true"
    assert not year.get_attribute("href")
    assert not reason.is_displayed()
    ActionChains(browser).move_to_element(year).perform()
    assert reason.is_displayed()
    assert reason.text == "Only the last 30 days are kept."
    ActionChains(browser).move_to_element(one(browser, ".vmb-head")).perform()
    one(browser, "[data-to=month]").send_keys(Keys.TAB)
    assert browser.switch_to.active_element == year
    assert reason.is_displayed()
    year.send_keys(Keys.ENTER)
    year.click()
    assert one(browser, "[data-charts]").get_attribute("data-shown") == "hour"
    browser.execute_script("sessionStorage.setItem('vmbridge-charts', 'year')")
    see(browser, system, "charts")  # chosen on another server's page
    shown(browser, "hour")
    one(browser, "[data-to=month]").click()
    shown(browser, "month")
    assert "Last 30 days" in content(browser)


def test_without_script_links_fill_the_tables(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(f"{system.page(SHOP)}&vmb[page]=charts")
    one(browser, "[data-to=week]").click()
    assert len(browser.find_elements(By.CSS_SELECTOR, "[data-chart=network] tbody tr")) > 300
    browser.get(f"{system.page(SHOP)}&vmb[page]=charts&vmb[period]=year")
    assert one(browser, "[data-says=message]").text == "Only the last 30 days are kept."


# -- console --------------------------------------------------------------------------------------
@pytest.mark.skipif(not assets.built("novnc/core/rfb.js"), reason="the console's files are not built (make assets)")
def test_the_console_shows_the_screen_and_nothing_of_the_provider(system: System, browser: Chrome) -> None:
    assert system.hcloud
    assert system.cloud
    see(browser, system, "console")
    browser.get_log("performance")
    browser.execute_script("document.querySelector('[data-verb=connect]').form.target = ''")
    one(browser, "[data-verb=connect]").click()
    until(browser, lambda b: one(b, "#status").text == f"Connected to QEMU {server(system).id}")
    pixel = (
        "const c = document.querySelector('#screen canvas'); return [...c.getContext('2d').getImageData(c.width / 2,"
        " c.height / 2, 1, 1).data].slice(0, 3)"
    )
    until(browser, lambda b: tuple(b.execute_script(pixel)) == GREEN)
    ActionChains(browser).send_keys("a").perform()
    until(
        browser,
        lambda b: (
            (97, True) in system.hcloud.screen(server(system).id).keys and tuple(b.execute_script(pixel)) != GREEN
        ),
    )
    network = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    assert any(m["method"] == "Network.webSocketCreated" for m in network)
    [(token, made)] = system.hcloud.consoles.items()
    told = browser.page_source + json.dumps(network)
    assert [
        s
        for s in (
            token,
            made.password,
            made.password[:8],
            "hcloud-sim-token",
            f":{system.cloud.port}",
            "request_console",
        )
        if s in told
    ] == []
    kept = system.log("serve") + json.dumps(system.state()["module_log"])
    assert [s for s in (token, made.password, "hcloud-sim-token", "wss://") if s in kept] == []
    browser.get("about:blank")


# -- how it looks ---------------------------------------------------------------------------------
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("page", ["overview", "charts", "console"])
def test_nothing_scrolls_sideways_at_360_px(system: System, browser: Chrome, page: str, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    for language in ("", "&language=pseudo", "&language=pseudo-rtl"):
        see(browser, system, page, theme + language)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360, language


@drawn
def test_charts_follow_the_dark_side(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    see(browser, system, "charts")
    browser.execute_script("sessionStorage.clear()")
    see(browser, system, "charts")
    shown(browser, "hour")
    assert len(columns(browser, DARK)) > 100
    assert not columns(browser, LIGHT)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shade", ["light", "dark"])
def test_accessibility(system: System, browser: Chrome, shade: str, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": shade}]}
    )
    for page in ("overview", "charts", "console"):
        see(browser, system, page, theme)
        if page == "charts" and assets.built("uplot/uPlot.iife.min.js"):
            until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "[data-charts][data-shown]"))
        assert findings(browser) == [], page
