"""The upgrade's summary in real Chromium, in both themes: where the notice stands, what it stops, and how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from bridge.clock import Clock
from tests.browser import AXE, THEMES, findings, one, until
from tests.hcloud.project import Project
from tests.system import System
from tests.test_upgrade_notice import FOR_GOOD, HZ, KVM, MORE, OFF_AND_ON, OPTIONS, SHRINKS, furnish

BUTTON = {"": "#btnOrderContinue", "&theme=six": "input[value='Place the order']"}
FOLLOWS = (
    "const [a, b] = arguments; return !!(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING) &&"
    " a.nextElementSibling === b"
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, hcloud=Project(Clock()), more=MORE) as s:
        furnish(s)
        yield s


def product(browser: Chrome, s: System, service: int, pid: int, more: str = "") -> Any:
    """By clicks to the summary; the notice."""
    browser.get(f"http://127.0.0.1:{s.host}/upgrade.php?type=package&id={service}{more}")
    one(browser, f"[data-pid='{pid}']").click()
    return until(browser, lambda b: one(b, "#vmbridge-upgrade"))


def option(browser: Chrome, s: System, value: int, more: str = "") -> Any:
    browser.get(f"http://127.0.0.1:{s.host}/upgrade.php?type=configoptions&id={OPTIONS}{more}")
    one(browser, f"[name='configoption[5]'] option[value='{value}']").click()
    one(browser, "button[type=submit]").click()
    return until(browser, lambda b: one(b, "#vmbridge-upgrade"))


@pytest.mark.parametrize("theme", THEMES)
def test_the_notice_stands_above_the_orders_button(system: System, browser: Chrome, theme: str) -> None:
    notice, button = product(browser, system, HZ, 20, theme), one(browser, BUTTON[theme])
    assert [li.text for li in notice.find_elements(By.CSS_SELECTOR, "li")] == [
        OFF_AND_ON,
        FOR_GOOD,
    ]
    assert notice.text.startswith("Before you order")
    assert browser.execute_script(FOLLOWS, notice, button)
    assert notice.rect["y"] + notice.rect["height"] <= button.rect["y"]
    assert notice.rect["y"] > one(browser, "#inputPaymentMethod").rect["y"]
    assert button.is_enabled()
    assert button.get_attribute("aria-describedby") == "vmbridge-upgrade"
    # as in WHMCS's themes: the button is the form's without standing in it
    assert browser.execute_script("return [!!arguments[0].form, arguments[0].form.contains(arguments[0])]", button) == [
        True,
        False,
    ]
    assert browser.execute_script(
        "return [...document.forms].map(f => [...f.elements].filter(e => e.type === 'submit').length)"
    ) == [
        1,
        1,
    ]


@pytest.mark.parametrize("theme", THEMES)
def test_what_cannot_be_cannot_be_ordered(system: System, browser: Chrome, theme: str) -> None:
    for to_summary in (lambda: product(browser, system, KVM, 11, theme), lambda: option(browser, system, 52, theme)):
        notice = to_summary()
        assert [li.text for li in notice.find_elements(By.CSS_SELECTOR, "li")] == [SHRINKS]
        assert notice.text.startswith("This change is not possible")
        button = one(browser, BUTTON[theme])
        assert browser.execute_script(FOLLOWS, notice, button)
        assert not button.is_enabled()
        assert one(browser, ".btn-success").is_enabled()  # the other form's
        button.click()
        assert one(browser, "#vmbridge-upgrade") == notice
        assert system.operation(KVM)["kind"] == system.operation(OPTIONS)["kind"] == "create"


@pytest.mark.parametrize("theme", THEMES)
def test_without_script_it_is_read_at_the_pages_end(system: System, browser: Chrome, theme: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    notice = product(browser, system, HZ, 21, theme)
    assert notice.is_displayed()
    assert OFF_AND_ON in notice.text
    assert notice.rect["y"] > one(browser, BUTTON[theme]).rect["y"]


@pytest.mark.parametrize("theme", THEMES)
def test_nothing_scrolls_sideways_at_360_px(system: System, browser: Chrome, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    for language in ("", "&language=pseudo", "&language=pseudo-rtl"):
        for service, pid in ((HZ, 20), (KVM, 11), (KVM, 13)):
            notice = product(browser, system, service, pid, theme + language)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 360, language
            assert notice.rect["x"] >= 0
            assert notice.rect["x"] + notice.rect["width"] <= 360


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shade", ["light", "dark"])
def test_accessibility(system: System, browser: Chrome, shade: str, theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": shade}]}
    )
    for service, pid in ((HZ, 20), (KVM, 11)):
        product(browser, system, service, pid, theme)
        assert findings(browser, "#vmbridge-upgrade") == []


@pytest.mark.parametrize("theme", THEMES)
def test_the_order_goes_on_from_there(system: System, browser: Chrome, theme: str) -> None:
    product(browser, system, KVM, 10 if not theme else 14, theme)
    one(browser, BUTTON[theme]).click()
    until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, ".alert-success"))
    assert "Ordered." in one(browser, ".alert-success").text
    assert browser.find_elements(By.CSS_SELECTOR, "#vmbridge-upgrade") == []
    system.wait_for(
        lambda: (system.operation(KVM)["kind"], system.operation(KVM)["state"]) == ("change_package", "done"), 60
    )
