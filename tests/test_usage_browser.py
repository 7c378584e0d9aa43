"""WHMCS's own tabs beside our overview, in real Chromium: they stay, and Metrics and Resource Usage show our
numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.system import System
from tests.test_shim import call, settled
from tests.test_usage_shim import rates, watched

TABS = ["Configurable Options", "Metrics", "Additional Information", "Resource Usage"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        s.order(1, configoptions={"RAM": "2|2 GiB"}, customfields={"SSH key": "ssh-ed25519 AAAA"})
        settled(s, 1)
        rates(s)
        s.wait_for(lambda: watched(s, 1), 60)
        s.post("/test/metrics", {})
        call(s, "UsageUpdate")
        yield s


@pytest.mark.parametrize("theme", ["twenty-one", "six"])
def test_the_tabs_are_there_and_show_our_numbers(system: System, browser: Chrome, theme: str) -> None:
    browser.get(system.page(1) + f"&theme={theme}")
    tabs = browser.find_elements(By.CSS_SELECTOR, ".nav-tabs a")
    assert [t.text for t in tabs] == TABS
    assert all(t.is_displayed() for t in tabs)
    assert browser.find_element(By.CSS_SELECTOR, ".vmbridge").is_displayed()
    shown = {}
    for name, tab in zip(TABS, tabs, strict=True):
        tab.click()
        [pane] = [p for p in browser.find_elements(By.CSS_SELECTOR, ".tab-pane") if p.is_displayed()]
        shown[name] = pane.text
    assert "vm-1.example.com" in browser.find_element(By.CSS_SELECTOR, ".vmbridge").text
    assert "2|2 GiB" in shown["Configurable Options"]
    assert "ssh-ed25519" in shown["Additional Information"]
    state = system.state()["services"]["1"]
    for metric in state["metrics"].values():
        assert f"{metric['title']} {metric['shown']}" in shown["Metrics"], metric
    assert f"{state['columns']['bwusage']} MB / Unlimited" in shown["Resource Usage"]
    assert "64425 MB / 64425 MB" in shown["Resource Usage"]
    assert int(state["columns"]["bwusage"]) > 10
