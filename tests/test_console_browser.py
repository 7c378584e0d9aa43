"""The console in real Chromium: CONNECT in WHMCS, through shim, bridge and relay, to a real QEMU's screen."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By

from bridge import assets
from tests.browser import AXE, findings, screen, until
from tests.qemu import GREEN, PROGRAM, Qemu
from tests.system import System

SIZE = (1000, 800)
pytestmark = [
    pytest.mark.skipif(not PROGRAM, reason="qemu-system-x86_64 is not installed (make qemu)"),
    pytest.mark.skipif(not assets.built("novnc/core/rfb.js"), reason="the console's files are not built (make assets)"),
]


@pytest.fixture(scope="module")
def qemu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qemu]:
    with Qemu(tmp_path_factory.mktemp("q")) as q:
        yield q


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, qemu: Qemu) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, public=True) as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        screen = s.cluster.vms[20000].screen
        screen.vnc, screen.set_password = qemu.vnc, qemu.set_password
        yield s


def connect(system: System, browser: Chrome) -> None:
    """A click on CONNECT; then the new tab is looked at."""
    browser.switch_to.window(browser.window_handles[0])
    browser.get(f"{system.page(1)}&vmb[page]=console")
    assert "one-time connection, valid for 10 seconds" in browser.find_element(By.CSS_SELECTOR, ".vmb-main").text
    before = set(browser.window_handles)
    click(browser, "[data-verb=connect]")
    until(browser, lambda b: set(b.window_handles) - before)
    browser.switch_to.window((set(browser.window_handles) - before).pop())


def status(browser: Chrome) -> str:
    return str(browser.find_element(By.ID, "status").text)


def pixel(browser: Chrome) -> tuple[int, ...]:
    return tuple(
        browser.execute_script("""
        const c = document.querySelector('#screen canvas');
        return Array.from(c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data).slice(0, 3);""")
    )


def click(browser: Chrome, selector: str) -> None:
    browser.find_element(By.CSS_SELECTOR, selector).click()


def test_pixels_are_seen_and_keys_arrive(system: System, browser: Chrome, qemu: Qemu) -> None:
    connect(system, browser)
    until(browser, lambda b: status(b) == "Connected to QEMU 20000")
    until(browser, lambda b: pixel(b) == GREEN)
    ActionChains(browser).send_keys("a").perform()
    until(browser, lambda b: qemu.typed.read_bytes().endswith(b"a"))
    until(browser, lambda b: pixel(b) != GREEN)
    click(browser, "[data-do=cad]")  # the machine restarts, and is green again
    until(browser, lambda b: pixel(b) == GREEN)


def test_text_is_typed_with_its_capitals(system: System, browser: Chrome, qemu: Qemu) -> None:
    click(browser, "[data-panel=clipboard]")
    browser.find_element(By.ID, "text").send_keys("Ab:1_\nz")
    click(browser, "[data-do=type]")
    until(browser, lambda b: qemu.typed.read_bytes().endswith(b"Ab:1_\rz"))


def test_scaling_and_settings(system: System, browser: Chrome) -> None:
    width = "return document.querySelector('#screen canvas').getBoundingClientRect().width"
    fitted = browser.execute_script(width)
    click(browser, "[data-panel=settings]")
    browser.find_element(By.CSS_SELECTOR, "[data-set=scaling] option[value=none]").click()
    until(
        browser,
        lambda b: b.execute_script(width) == b.execute_script("return document.querySelector('#screen canvas').width"),
    )
    assert fitted != browser.execute_script(width)
    browser.find_element(By.CSS_SELECTOR, "[data-set=scaling] option[value=local]").click()
    until(browser, lambda b: b.execute_script(width) == fitted)


def test_nothing_of_the_hypervisor_is_in_page_log_or_address(system: System, browser: Chrome) -> None:
    browser.switch_to.window(browser.window_handles[0])
    browser.get(f"{system.page(1)}&vmb[page]=console")
    browser.get_log("performance")
    # in this tab, whose log is complete: of a new one it begins somewhere
    browser.execute_script("document.querySelector('[data-verb=connect]').form.target = ''")
    click(browser, "[data-verb=connect]")
    until(browser, lambda b: status(b) == "Connected to QEMU 20000")
    page = browser.page_source
    network = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    assert any(m["method"] == "Network.webSocketCreated" for m in network)
    text = page + json.dumps(network)
    listener = next(reversed(system.cluster.listeners.values()))
    secrets = [
        "sim-secret",
        "PVEAPIToken",
        "vmbridge@pve",
        "PVEVNC",
        listener.password,
        listener.ticket,
        f":{system.pve.port}",
        "vncproxy",
    ]
    assert [s for s in secrets if s in text] == []
    urls = [str(m["params"].get("url") or m["params"].get("request", {}).get("url")) for m in network]
    posted = [
        m["params"]["request"]["postData"]
        for m in network
        if m["method"] == "Network.requestWillBeSent" and m["params"]["request"].get("postData", "").startswith("code=")
    ]
    assert posted
    assert not [u for u in urls if posted[0][5:] in u]
    offered = [
        m["params"]["request"]["headers"]["Sec-WebSocket-Protocol"]
        for m in network
        if m["method"] == "Network.webSocketWillSendHandshakeRequest"
    ]
    nonce = offered[0].partition("vmbridge.")[2]
    assert len(nonce) >= 40
    assert not [u for u in urls if nonce in u]
    assert nonce not in page
    assert system.front
    assert not [line for line in system.front.lines if nonce in line or posted[0][5:] in line]
    kept = system.log("serve") + json.dumps(system.state()["module_log"])
    assert [s for s in (*secrets[:-1], nonce, posted[0][5:]) if s in kept] == []
    assert (
        requests.post(
            f"{system.front.url}/console",
            data=posted[0],
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            timeout=10,
        ).status_code
        == 403
    )


def test_the_interface_fits_a_phone(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("width", [360, 1000])
def test_accessibility(browser: Chrome, width: int) -> None:
    """The whole page, closed and with each panel open; it is dark in itself."""
    screen(browser, width)
    assert findings(browser, "") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for panel in ("keys", "clipboard", "settings"):
        click(browser, f"[data-panel={panel}]")
        assert findings(browser, "") == [], panel
        click(browser, f"[data-panel={panel}]")


def test_suspension_ends_it_and_says_so(system: System, browser: Chrome) -> None:
    assert status(browser) == "Connected to QEMU 20000"
    system.module(1, "SuspendAccount")
    until(browser, lambda b: status(b).startswith("The service is suspended."), 3)
    browser.get(f"{system.page(1)}&vmb[page]=console")
    dimmed = browser.find_element(By.CSS_SELECTOR, "[data-verb=connect]")
    assert dimmed.get_attribute("aria-disabled") == "true"
    assert "suspended" in browser.find_element(By.ID, str(dimmed.get_attribute("aria-describedby"))).get_attribute(
        "textContent"
    )
