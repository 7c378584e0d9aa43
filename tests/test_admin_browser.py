"""The staff's pages in real Chromium: a form by click, nothing sideways, and colours that follow the admin theme."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser import AXE, findings, until
from tests.system import System
from tests.test_access_browser import walk
from tests.test_addon import PAGES, url
from tests.test_measures_browser import MEASURE
from tests.test_shim import settled

SIZE = (1200, 1000)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        s.order(1, domain="a-very-long-name-of-a-server-that-does-not-want-to-wrap-anywhere.department.example.com")
        settled(s, 1)
        yield s


def test_maintenance_by_click(system: System, browser: Chrome) -> None:
    browser.get(url(system, "servers"))
    browser.find_element(By.NAME, "vmb[text]").send_keys("Back at six")
    browser.find_element(By.XPATH, "//button[text()='Start maintenance']").click()
    until(browser, lambda b: "Maintenance is on: new operations wait." in b.page_source)
    assert "Back at six" in browser.find_element(By.ID, "vmb-server-pve1").text
    browser.get(system.page(1))
    assert browser.find_element(By.CSS_SELECTOR, "[data-field=maintenance]").text == "Back at six"
    browser.get(url(system, "servers"))
    browser.find_element(By.XPATH, "//button[text()='End maintenance']").click()
    until(browser, lambda b: "Maintenance is off" in b.page_source)
    browser.get(system.page(1))
    assert not browser.find_element(By.CSS_SELECTOR, "[data-field=maintenance]").is_displayed()


def test_redeploy_by_click_shows_its_steps(system: System, browser: Chrome) -> None:
    browser.get(url(system, "service", "&vmb[id]=1"))
    browser.find_element(By.NAME, "vmb[typed]").send_keys("1")
    browser.find_element(By.XPATH, "//button[text()='Redeploy']").click()
    until(browser, lambda b: "vmb[page]=operation" in b.current_url)
    assert "Redeploy" in browser.find_element(By.CSS_SELECTOR, ".vmb-staff h2").text
    settled(system, 1)
    browser.refresh()
    assert len(browser.find_elements(By.CSS_SELECTOR, ".vmb-staff tbody tr")) >= 6


@pytest.mark.parametrize("width", [360, 800, 1200])
def test_nothing_scrolls_sideways_or_breaks_inside_a_word(system: System, browser: Chrome, width: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    pages = [url(system, p) for p in PAGES] + [
        url(system, "service", "&vmb[id]=1"),
        url(system, "operation", f"&vmb[id]={system.operation(1)['id']}"),
    ]
    pages.append(f"http://127.0.0.1:{system.host}/admin/service.php?id=1")
    for page in pages:
        browser.get(page)
        for details in browser.find_elements(By.CSS_SELECTOR, "details summary"):
            details.click()
        assert browser.execute_script(MEASURE) == [], page  # type: ignore[no-untyped-call]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_colours_follow_the_theme_not_the_system(system: System, browser: Chrome) -> None:
    """WHMCS's admin theme is light whatever the system wishes; where a theme is dark, so are we."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    colours = {}
    for dark in ("", "&dark=1"):
        browser.get(url(system, "operations", dark))
        colours[dark] = browser.find_element(By.CSS_SELECTOR, ".vmb-op-done").value_of_css_property("color")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours == {"": "rgba(17, 107, 44, 1)", "&dark=1": "rgba(63, 185, 80, 1)"}


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize(("dark", "direction"), [("", "ltr"), ("&dark=1", "rtl")])
def test_accessibility(system: System, browser: Chrome, dark: str, direction: str) -> None:
    """Every page of the staff, whole: its headings count from the frame's. Each control is reached and seen by
    keyboard alone; what is English stays so in an admin area that reads from the right."""
    pages = [url(system, p, dark) for p in (*PAGES, "dns")] + [
        url(system, "service", f"&vmb[id]=1{dark}"),
        url(system, "operation", f"&vmb[id]={system.operation(1)['id']}{dark}"),
        f"http://127.0.0.1:{system.host}/admin/service.php?id=1{dark}",
    ]
    wrong = {}
    for page in pages:
        browser.get(page)
        browser.execute_script(
            "document.documentElement.dir = arguments[0]; document.querySelectorAll('details').forEach(d => { d.open ="
            " true })",
            direction,
        )
        name = page.partition("/admin/")[2]
        assert browser.execute_script("return getComputedStyle(document.querySelector('.vmb-staff')).direction") == (
            "ltr"
        ), name
        if lost := walk(browser, ".vmb-staff"):
            wrong[f"{name}, keys"] = lost
        if violations := findings(browser, ""):
            wrong[name] = violations
    assert wrong == {}
