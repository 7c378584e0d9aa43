"""One Chromium for each process of the tests, and the words that browser tests share. `browser` is the fixture: the
same window for every test, as it was in the beginning, and afterwards nothing has gone wrong in its console."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.system import ROOT

AXE = ROOT / "node_modules/axe-core/axe.min.js"
THEMES = ("", "&theme=six")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@contextmanager
def chrome(*flags: str, strategy: str = "normal") -> Iterator[Chrome]:
    """By `strategy` "none" what is asked of a page does not wait until all its files have come."""
    options = ChromeOptions()
    options.page_load_strategy = strategy
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(prefix="vmbridge-profile-", ignore_cleanup_errors=True) as profile:
        for flag in (*QUIET, *flags, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        made = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            yield made
        finally:
            made.quit()


class Window:
    """The one window and whose it is: a module finds it empty, and may keep a page open from test to test."""

    def __init__(self, chromium: Chrome) -> None:
        self.chromium, self.module = chromium, ""

    def of(self, module: str, size: tuple[int, int]) -> Chrome:
        b = self.chromium
        if self.module != module:
            for handle in b.window_handles[1:]:
                b.switch_to.window(handle)
                b.close()
            b.switch_to.window(b.window_handles[0])
            b.get("about:blank")
            b.set_window_size(*size)
            self.restore()
            self.faults()
            self.module = module
        return b

    def restore(self) -> None:
        cdp = self.chromium.execute_cdp_cmd
        cdp("Emulation.clearDeviceMetricsOverride", {})
        cdp("Emulation.setEmulatedMedia", {"features": []})
        cdp("Emulation.setScriptExecutionDisabled", {"value": False})
        cdp("Network.setBlockedURLs", {"urls": []})
        cdp("Network.clearBrowserCookies", {})

    def faults(self) -> list[str]:
        """What the console holds since it was last asked."""
        self.chromium.get_log("performance")
        return [e["message"] for e in self.chromium.get_log("browser") if e["level"] == "SEVERE"]


@pytest.fixture(scope="session")
def window() -> Iterator[Window]:
    with chrome("--window-size=1100,1000") as made:
        yield Window(made)


@pytest.fixture
def browser(window: Window, request: pytest.FixtureRequest) -> Iterator[Chrome]:
    """A module may say its SIZE, and by EXPECTED (a pattern) which faults it brings about itself."""
    module: Any = request.module
    yield window.of(module.__name__, getattr(module, "SIZE", (1100, 1000)))
    window.restore()
    expected = getattr(module, "EXPECTED", "")
    assert [f for f in window.faults() if not (expected and re.search(expected, f))] == []


# -- what one looks at -----------------------------------------------------------------------------
def until(browser: Chrome, condition: Any, seconds: float = 40) -> Any:
    return WebDriverWait(browser, seconds, 0.1, ignored_exceptions=[Exception]).until(condition)


def one(browser: Chrome, css: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, css)


def texts(browser: Chrome, css: str) -> str:
    return " | ".join(e.text for e in browser.find_elements(By.CSS_SELECTOR, css))


def word(browser: Chrome) -> str:
    """The server's state as the page says it."""
    return str(one(browser, "[data-field=word]").text)


# -- how it is looked at ---------------------------------------------------------------------------
def screen(browser: Chrome, width: int, height: int = 800) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )


def shade(browser: Chrome, wish: str) -> None:
    """What the system wishes: light or dark."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": wish}]}
    )


def findings(browser: Chrome, inside: str = ".vmbridge") -> list[str]:
    """What axe has to say, of whatever impact; `inside` empty: of the whole page."""
    if not browser.execute_script("return !!window.axe"):
        browser.execute_script(AXE.read_text("utf-8"))
    violations = browser.execute_async_script(
        "const [inside, done] = arguments;"
        "axe.run(inside || document, {preload: false, resultTypes: ['violations']}).then(r => done(r.violations))",
        inside,
    )
    return [f"{v['id']}: {n['html'][:150]} {n['failureSummary'][:200]}" for v in violations for n in v["nodes"]]
