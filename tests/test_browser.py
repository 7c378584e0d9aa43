"""The overview in real Chromium, through the WHMCS-like host, the shim and the bridge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser import until, word
from tests.pve.cluster import Fault
from tests.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.3) as s:
        s.order(1)
        yield s


def button(browser: Chrome, verb: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f"[data-verb={verb}]")


def why(browser: Chrome, verb: str) -> str:
    """The reason of a dimmed button; empty when it is not dimmed."""
    shown = button(browser, verb)
    if shown.get_attribute("aria-disabled") != "true":
        return ""
    return str(browser.find_element(By.ID, shown.get_attribute("aria-describedby")).get_attribute("textContent"))


def test_the_page_follows_the_order_by_itself(system: System, browser: Chrome) -> None:
    browser.get(system.page(1))
    if word(browser) == "Being set up":
        assert "step" in browser.find_element(By.CSS_SELECTOR, "[data-operation]").text
        assert button(browser, "start").get_attribute("aria-disabled") == "true"
    until(browser, lambda b: word(b) == "Running")
    assert until(browser, lambda b: b.find_element(By.CSS_SELECTOR, "[data-field=cpu]").text != "–")


def test_stop_and_start_by_click(system: System, browser: Chrome) -> None:
    browser.get(system.page(1))
    until(browser, lambda b: word(b) == "Running")
    until(browser, lambda b: not b.find_elements(By.CSS_SELECTOR, "[data-operation]"))
    assert "running already" in why(browser, "start")
    button(browser, "stop").click()
    browser.find_element(By.CSS_SELECTOR, "dialog .vmb-red").click()  # it asks lightly
    until(browser, lambda b: word(b) == "Stopped" and not b.find_elements(By.CSS_SELECTOR, "[data-operation]"))
    assert button(browser, "stop").get_attribute("aria-disabled") == "true"
    browser.get(system.page(1))
    button(browser, "start").click()
    until(browser, lambda b: word(b) == "Running")


@pytest.mark.parametrize("theme", ["", "&theme=six"])
def test_nothing_scrolls_sideways_at_360_px(system: System, browser: Chrome, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.get(system.page(1) + theme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_dimmed_button_does_nothing_and_says_why(system: System, browser: Chrome) -> None:
    browser.get(system.page(1))
    until(browser, lambda b: word(b) == "Running" and not b.find_elements(By.CSS_SELECTOR, "[data-operation]"))
    browser.get(system.page(1))
    before = system.operation(1)["id"]
    dimmed = button(browser, "start")
    dimmed.click()
    assert browser.find_element(By.ID, dimmed.get_attribute("aria-describedby")).is_displayed()
    assert system.operation(1)["id"] == before


def test_a_host_that_is_down_is_told_calmly(system: System, browser: Chrome) -> None:
    system.cluster.faults = [Fault("status", path="resources", status=595, reason="No route to host", times=10**9)]
    try:
        system.wait_for(lambda: requests.get(system.page(1) + "&vmb[page]=status", timeout=10).json()["trouble"], 90)
        browser.get(system.page(1))
        assert "does not answer" in browser.find_element(By.CSS_SELECTOR, "[role=alert]").text
    finally:
        system.cluster.faults = []


def test_suspended_meanwhile(system: System, browser: Chrome) -> None:
    system.wait_for(lambda: not requests.get(system.page(1) + "&vmb[page]=status", timeout=10).json()["trouble"], 90)
    browser.get(system.page(1))
    system.module(1, "SuspendAccount")
    until(browser, lambda b: word(b) == "Suspended")
    browser.get(system.page(1))
    assert "suspended" in why(browser, "start")
