"""The ISO page of a KVM server in real Chromium, through the WHMCS-like host, the shim, the bridge and its worker:
mounted, started from once, unmounted; what is gone is said; in all widths."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser import AXE, THEMES, findings, one, texts
from tests.customer_pages import LONG, action, idle, see, settled, untouched
from tests.pve.cluster import Vm
from tests.screenshots import chrome
from tests.system import System
from tests.test_browser import until, word

SHOP, RTL = 1, 2
DEBIAN = "Debian-13.1.0-amd64-netinst.iso"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        s.order(SHOP)
        s.order(RTL, language="pseudo-rtl", domain=LONG)
        for service in (SHOP, RTL):
            settled(s, service)
        yield s


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chrome() as made:
        made.set_window_size(1100, 1000)
        yield made
        assert [e for e in made.get_log("browser") if e["level"] == "SEVERE"] == []


def vm(s: System, service: int = SHOP) -> Vm:
    return next(v for v in s.cluster.vms.values() if f"service {service}," in v.config.get("description", ""))


def test_an_iso_is_mounted_started_from_once_and_unmounted(system: System, browser: Chrome) -> None:
    see(browser, system, SHOP)
    browser.find_element(By.LINK_TEXT, "ISO").click()
    until(browser, lambda b: "No ISO is mounted." in texts(b, ".vmb-content"))
    folders = [" ".join(e.text.split()) for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-folder summary")]
    assert folders == ["debian 2", "systemrescue 1", "virtio 1", "OTHER 1"]
    one(browser, "[name='vmb[find]']").send_keys("debian-13")
    next(e for e in browser.find_elements(By.CSS_SELECTOR, ".vmb-folder li button") if e.is_displayed()).click()
    until(browser, lambda b: DEBIAN in one(b, ".vmb-strong").text)
    assert "It is mounted." in texts(browser, ".vmb-done")
    assert DEBIAN in vm(system).config["ide0"]
    action(browser, "iso", "boot").send_keys(Keys.ENTER)  # asks first
    assert "Restarts your server once from the mounted ISO" in one(browser, "dialog[open]").text
    one(browser, "dialog[open] .vmb-red").click()
    until(browser, lambda b: system.operation(SHOP)["kind"] == "boot_iso" and idle(b) and word(b) == "Running")
    until(browser, lambda b: "Your server was started from it." in texts(b, ".vmb-content"))
    assert system.operation(SHOP)["state"] == "done"
    assert vm(system).ran["from"].endswith(DEBIAN)
    assert vm(system).pending["boot"].startswith("order=scsi0")
    action(browser, "iso", "unmount").click()
    until(browser, lambda b: "No ISO is mounted." in texts(b, ".vmb-content"))
    assert vm(system).config["ide0"] == "none,media=cdrom"
    assert "It is unmounted." in texts(browser, ".vmb-done")


def test_one_that_is_gone_is_said_and_leaves_by_itself(system: System, browser: Chrome) -> None:
    system.submit(SHOP, "iso", action="mount", iso="local:iso/memtest.iso")
    del system.cluster.isos["local:iso/memtest.iso"]
    vm(system).config["ide0"] = "local:iso/memtest.iso,media=cdrom"
    see(browser, system, SHOP, "iso")
    until(browser, lambda b: "cannot be read any more" in texts(b, ".vmb-banner"))
    assert not browser.find_elements(By.XPATH, "//button[contains(., 'Boot from the ISO once')]")
    system.submit(SHOP, "power", action="reboot", confirmed="1")
    until(browser, lambda b: system.operation(SHOP)["state"] == "done" and idle(b))
    assert vm(system).status == "running"
    assert vm(system).config["ide0"] == "none,media=cdrom"
    assert untouched(browser)


@pytest.mark.parametrize("theme", THEMES)
def test_no_width_scrolls_sideways_and_all_is_accessible(system: System, browser: Chrome, theme: str) -> None:
    system.submit(RTL, "iso", action="mount", iso=f"local:iso/{DEBIAN}")
    for width in (360, 768, 1440):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        see(browser, system, RTL, "iso", theme)
        browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert browser.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0, width
        if AXE.exists():
            assert findings(browser) == [], width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
