"""What browser tests of the customer's pages stand on: services of every kind, and how their pages are seen."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.browser import until, word
from tests.pve.cluster import Vm
from tests.system import System, ours

SHOP, DENIED, FULL, PSEUDO, RTL = 1, 2, 3, 4, 5
PAGES = ("overview", "reinstall", "snapshots", "backups", "reset_password", "activity")
SUB_PAGES = PAGES[1:-1]
EXPECTED = "/nothing"
HOSTILE = "<img src=x onerror=hacked=1>\"'\u202e%%VMBRIDGE_TOKEN%% {{7*7}} {$smarty.version} &lt;"
LONG = ".".join(["a" * 60] * 4) + ".example"  # 251 characters


@contextmanager
def customers(folder: Path) -> Iterator[System]:
    """One of each: a plain service, one without rights, one that is full, and two in made-up languages."""
    with System(folder, speed=0.05) as s:
        s.order(SHOP)
        s.order(DENIED, **{f"configoption{n}": "deny" for n in range(15, 24)})
        s.order(FULL, configoption11="1", configoption12="1")
        s.order(PSEUDO, language="pseudo", domain=LONG)
        s.order(RTL, language="pseudo-rtl", domain=LONG)
        for service in (SHOP, DENIED, FULL, PSEUDO, RTL):
            settled(s, service)
        for service in (FULL, PSEUDO, RTL):
            s.submit(service, "snapshots", action="take", description=HOSTILE)
        for service in (FULL, PSEUDO, RTL):
            settled(s, service)
            s.submit(service, "backups", action="take", note=HOSTILE)
        for service in (FULL, PSEUDO, RTL):
            settled(s, service)
        yield s


def settled(s: System, service: int, state: str = "done") -> None:
    s.wait_for(lambda: s.operation(service).get("state") == state, 60, f"service {service} {state}")


def url(s: System, service: int, page: str = "overview", more: str = "") -> str:
    return s.page(service) + ("" if page == "overview" else f"&vmb[page]={page}") + more


def see(browser: Chrome, s: System, service: int, page: str = "overview", more: str = "") -> None:
    browser.get(url(s, service, page, more))
    browser.execute_script("window.sameDocument = true")


def action(browser: Chrome, capability: str, name: str, row: int = 0) -> WebElement:
    """The button of a form."""
    return browser.find_elements(
        By.XPATH,
        f"//form[.//input[@name='vmb[capability]' and @value='{capability}']][.//input[@name='vmb[do]' and"
        f" @value='{name}']]//button[@type='submit']",
    )[row]


def reason(browser: Chrome, button: WebElement) -> str:
    """Why a button is dimmed; empty when it is not."""
    if button.get_attribute("aria-disabled") != "true":
        return ""
    return str(browser.find_element(By.ID, str(button.get_attribute("aria-describedby"))).get_attribute("textContent"))


def untouched(browser: Chrome) -> bool:
    """The page followed by itself, without a new document."""
    return bool(browser.execute_script("return window.sameDocument === true"))


def idle(browser: Chrome) -> bool:
    return not browser.find_elements(By.CSS_SELECTOR, "[data-operation].vmb-busy")


def done(browser: Chrome, s: System, kind: str) -> None:
    """The newest operation is of this kind and ended well, and the page shows so."""
    until(browser, lambda b: (s.operation(SHOP)["kind"], s.operation(SHOP)["state"]) == (kind, "done"))
    until(browser, lambda b: word(b) == "Running" and idle(b))


def hold(s: System, kind: str) -> None:
    """Tasks of this kind do not end until `release`."""
    s.cluster.durations[kind] = 9e9


def release(s: System, kind: str) -> None:
    s.cluster.durations[kind] = 0.05
    with s.cluster.guard:
        for task in s.cluster.tasks.values():
            if task.kind == kind and task.end > 4e9:
                task.end = s.clock.now()


def machine(s: System, service: int) -> Vm:
    return next(v for v in s.cluster.vms.values() if not v.template and v.config["name"] == f"vm-{service}.example.com")


def fields(page: str, css_class: str = "vmb-line") -> dict[str, str]:
    """What a browser without script would send of the form with this class."""
    form = re.search(rf'<form[^>]*class="{css_class}".*?</form>', page, re.S)
    assert form, page[-3000:]
    return {
        re.sub(r"^vmb\[(.*)]$", r"\1", html.unescape(n)): html.unescape(v)
        for n, v in re.findall(r'<input type="hidden"\s+name="([^"]*)"\s+value="([^"]*)"', form.group())
    }


def post(s: System, action: str, **form: str) -> requests.Response:
    return requests.post(
        f"http://127.0.0.1:{s.host}/clientarea.php?action=productdetails",
        data=ours(action, **form),
        timeout=30,
        allow_redirects=False,
    )


OWN = re.compile(  # what is a name, a number or an address in every language
    r"^(\W|\d|CPU|RAM|DNS|SSH|IPv[46]|virtio|root|ssh|debian|ubuntu|Debian|Ubuntu|db8|pve\d|snap|[0-9a-f]{4}|UTC"
    r"|REINSTALL|Europe/Berlin|noVNC|([0-9A-F]{2}:){5}[0-9A-F]{2})*$"
)
VISIBLE = """
const texts = [], walk = document.createTreeWalker(document.querySelector(".vmbridge"), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  if (!walk.currentNode.parentElement.closest("style, script, datalist, bdi, [translate=no], [data-copy]")) {
    texts.push(walk.currentNode.data.trim()); }
}
document.querySelectorAll(".vmbridge *").forEach(e => ["aria-label", "data-confirm", "data-label", "data-done",
  "placeholder", "alt"].forEach(a => {
  if (e.hasAttribute(a)) { texts.push(e.getAttribute(a)); }
}));
return texts.filter(Boolean)"""


def untranslated(browser: Chrome) -> list[str]:
    """Texts of the page with words outside [brackets]."""
    texts = []
    for text in browser.execute_script(VISIBLE):
        rest = text
        while re.search(r"\[[^\[\]]*\]", rest):
            rest = re.sub(r"\[[^\[\]]*\]", "", rest)
        if not OWN.match(rest.replace(LONG, "")):
            texts.append(text)
    return texts
