"""`make screenshots`: every customer page in light, dark, phone and Bootstrap 3, as PNG files and one page that shows
them."""

from __future__ import annotations

import html
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from bridge import model
from bridge.clock import Clock
from bridge.metering import usage
from bridge.store import Store
from tests import home_site
from tests.browser import chrome
from tests.demo import ZONES
from tests.demo_tries import FEW
from tests.dns.servers import PowerDns, has_pdns
from tests.hcloud.project import Project
from tests.hcloud.screens import History
from tests.pve.cluster import Fault
from tests.system import CLOUD, CLOUD_WALL, ROOT, System

LOOKS = {
    "light": {"width": 1100},
    "dark": {"width": 1100, "dark": True},
    "phone": {"width": 360},
    "phone-dark": {"width": 360, "dark": True},
    "six": {"width": 1100, "query": "&theme=six"},
    "pseudo": {"width": 1100, "query": "&language=pseudo"},
    "pseudo-rtl": {"width": 360, "query": "&language=pseudo-rtl"},
}
PAGES = (
    *("overview", "charts", "console", "reinstall", "snapshots", "backups", "reset_password"),
    *("rdns", "iso", "firewall", "activity"),
)
SHOP, CLOUD_SHOP = 1042, 2042


def alive(browser: Chrome) -> None:
    """The first reading with the machine's memory has come."""
    WebDriverWait(browser, 20).until(lambda b: "\n0 B" not in b.find_element(By.CSS_SELECTOR, ".vmb-content").text)


def drawn(browser: Chrome) -> None:
    """The charts' plots are there, and their first frame has been painted."""
    WebDriverWait(browser, 20).until(lambda b: b.find_elements(By.CSS_SELECTOR, "[data-charts][data-shown]"))
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def counted(browser: Chrome) -> None:
    """The first reading with the month's traffic has come."""
    WebDriverWait(browser, 40).until(
        lambda b: (
            "not known yet" not in b.find_element(By.CSS_SELECTOR, ".vmb-content").text
            and "(nbg1)" in b.find_element(By.CSS_SELECTOR, ".vmb-content").text
        )
    )


BEFORE: dict[str, Callable[[Chrome], Any]] = {"overview": alive, "charts": drawn, "cloud-overview": counted}


def look(
    browser: Chrome,
    url: str,
    file: Path,
    width: int,
    dark: bool = False,
    query: str = "",
    before: Callable[[Chrome], Any] | None = None,
) -> int:
    """One picture of the whole page; returns how far it scrolls sideways."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get(url + query)
    WebDriverWait(browser, 10).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".vmbridge"))
    if before:
        before(browser)
    height = min(2600, int(browser.execute_script("return document.documentElement.scrollHeight")))
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get_screenshot_as_file(str(file))
    return int(browser.execute_script("return document.documentElement.scrollWidth")) - width


def furnish(s: System, service: int) -> None:
    """A server that has lived: snapshots, backups, a schedule."""
    s.order(service)
    s.wait_for(lambda: s.operation(service).get("state") == "done", 120)
    for capability, form in (
        ("snapshots", {"action": "take", "description": "before the upgrade"}),
        ("snapshots", {"action": "take"}),
        ("backups", {"action": "take", "note": "shop, finished"}),
        ("backups", {"action": "take"}),
        (
            "backups",
            {
                "action": "schedule",
                "time_zone": "Europe/Berlin",
                "on_sunday": "1",
                "time_sunday": "02:30",
                "on_wednesday": "1",
                "time_wednesday": "02:30",
            },
        ),
    ):
        s.submit(service, capability, **form)
        s.wait_for(lambda: s.operation(service)["state"] == "done", 60)


RULES = (
    {"vmb[service]": "SSH", "comment": "SSH from everywhere"},
    {"proto": "tcp", "dport": "80,443", "comment": "the shop"},
    {"proto": "udp", "source": "2001:db8:1234:5678::/64", "dport": "51820", "comment": "the office's tunnel"},
    {"way": "out", "vmb[action]": "drop", "proto": "tcp", "dport": "25"},
)


def value_on(s: System, service: int, page: str, name: str) -> str:
    """What a field of a page has, the first of that name."""
    text = requests.get(f"{s.page(service)}&vmb[page]={page}", timeout=30).text
    field = re.search(rf'name="vmb\[{name}\]"\s+value="([^"]+)"', text)
    assert field, f"{page} has no {name}"
    return html.unescape(field.group(1))


def wall(s: System, service: int, rules: Iterable[dict[str, str]] = RULES[1:3]) -> None:
    """Rules of a firewall, as every driver takes them."""
    for rule in rules:
        form = {"way": "in", "vmb[action]": "accept", **rule}
        s.submit(service, "firewall", "add", version=value_on(s, service, "firewall", "version"), **form)


def protect(s: System, service: int) -> None:
    """A firewall with rules, and a disc in the drive."""
    wall(s, service, RULES)
    s.submit(service, "iso", "mount", iso=value_on(s, service, "iso", "iso"))


def aged(s: System, service: int) -> None:
    """A year of history, with an hour that nobody measured and a night switched off."""
    now = s.clock.now()
    record = born(s, service, now - 400 * 86400)
    history = s.cluster.histories[int(record.vm_id)]
    history.since, history.holes = (
        now - 400 * 86400,
        [(now - 1500, now - 1080), (now - 9 * 3600, now - 7 * 3600), (now - 90 * 86400, now - 70 * 86400)],
    )
    history.switches = [(now - 400 * 86400, True), (now - 60 * 3600, False), (now - 50 * 3600, True)]


PRICES = {
    "bandwidth_out": "1000 GB included, then €0.0012 per GB",
    "backup_gb": "€0.03 per GB",
    "floating_ipv4": "€3.00 per address",
    "ipv4": "not charged",
    "snapshot_gb": "€0.05 per GB",
}


def usage_tabs(s: System, browser: Chrome, service: int, folder: Path) -> None:
    """WHMCS's own tabs Metrics and Resource Usage with our numbers."""
    file = s.folder / "host/host.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prices": PRICES}))
    store = Store(s.folder / "vmbridge.db", s.key, s.clock)
    try:  # as after some weeks of the month
        record = store.find_service("main", service)
        assert record
        store.change(
            "INSERT INTO usage (service, month, net_in, net_out, backup_byte_s, booked_at) VALUES (?, ?, 84213000000,"
            " 412704000000, 4.1e16, ?) ON CONFLICT DO UPDATE SET net_in = excluded.net_in, net_out = excluded.net_out,"
            " backup_byte_s = excluded.backup_byte_s",
            record.id,
            usage.month_at(s.clock.now(), "UTC").name,
            s.clock.now(),
        )
    finally:
        store.close()
    s.wait_for(lambda: s.post("/test/metrics", {})["kept"] > 5, 90, "the first reading of its traffic")
    s.post("/test/call", {"function": "UsageUpdate"})
    for pane, name in (("metrics", "usage-metrics"), ("resourceusage", "usage-resources")):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
        )
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 1000, "height": 1010 if pane == "metrics" else 400, "deviceScaleFactor": 1, "mobile": False},
        )
        browser.get(s.page(service))
        browser.find_element(By.CSS_SELECTOR, f"[href='#vmb-{pane}']").click()
        browser.get_screenshot_as_file(str(folder / f"{name}.png"))


def furnish_cloud(s: System, service: int, plan: str = "cloud-s") -> None:
    """A cloud server with traffic and a month of history, with an hour that nobody measured."""
    assert s.hcloud
    s.order(service, **{**CLOUD, "configoption1": plan})
    s.wait_for(lambda: s.operation(service).get("state") == "done", 120)
    now = s.clock.now()
    for capability, form in (
        ("snapshots", {"action": "take", "description": "before the upgrade"}),
        ("snapshots", {"action": "take"}),
        ("backups", {"action": "take", "note": "shop, finished"}),
    ):
        s.submit(service, capability, **form)
        s.wait_for(lambda: s.operation(service)["state"] == "done", 60)
    s.submit(service, "rdns", action="save", address="2001:db8:1::25", name="mail.example.com")
    [server] = s.hcloud.servers.values()
    server.ingoing, server.outgoing = 658_440_000, 41_195_310_000
    s.hcloud.histories[server.id] = History(
        now - 40 * 86400, [(now - 1500, now - 1080), (now - 9 * 3600, now - 7 * 3600)]
    )
    born(s, service, now - 40 * 86400)


HOME = {  # of the client's dashboard, as its guide shows it
    "dashboard": ("", 1100),
    "dashboard-home": ("clientarea.php", 1100),
    "dashboard-addfunds": ("addfunds", 1100),
    "dashboard-list": ("list", 1100),
    "dashboard-phone": ("", 360),
}


def dashboard(s: System, browser: Chrome, folder: Path) -> None:
    home_site.furnish(s)
    home_site.log_in(s)
    for name, (page, width) in HOME.items():
        address = page if page.endswith(".php") else home_site.ADDON + (f"&vmb[page]={page}" if page else "")
        wide = look(browser, f"http://127.0.0.1:{s.host}/{address}", folder / f"{name}.png", width)
        print(name + (f": scrolls sideways by {wide} px" if wide > 0 else ""), flush=True)


def staff(s: System, browser: Chrome, folder: Path) -> None:
    """The staff's overview on a bad day: a full pool, an order without a privilege, a node that is down."""
    for number in range(3000, 3002):
        s.order(number, configoption1="kvm-few", domain=f"few-{number}.example.com")
        s.wait_for(lambda number=number: s.operation(number).get("state") == "done", 120)
    denied = "Permission check failed (/vms/9000, VM.Clone)"
    s.cluster.faults = [Fault("status", "POST", "/clone$", status=403, reason=denied, times=99)]
    s.order(3002, domain="db-7.example.com")
    s.wait_for(lambda: s.operation(3002).get("state") == "failed", 120)
    s.cluster.faults = []
    s.cluster.nodes["pve1"] = False
    url = f"http://127.0.0.1:{s.host}/admin/addonmodules.php?module=vmbridge"

    def told() -> bool:
        look(browser, url, folder / "admin-overview.png", 1200)
        return "pve1" in browser.find_element(By.CSS_SELECTOR, ".vmbridge").text.partition("At risk")[2]

    s.wait_for(told, 90)
    s.cluster.nodes["pve1"] = True


def born(s: System, service: int, at: float) -> model.Service:
    """The service as if it had been ordered then."""
    store = Store(s.folder / "vmbridge.db", s.key, s.clock)
    try:
        record = store.find_service("main", service)
        assert record
        store.change("UPDATE services SET created_at = ? WHERE id = ?", at, record.id)
        return record
    finally:
        store.close()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/pages"
    pages = (*PAGES, *(f"cloud-{name}" for name in PAGES))
    only = sys.argv[2].split(",") if len(sys.argv) > 2 else (*pages, "usage", "dashboard", "staff")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        zones = ""
        if has_pdns():  # a real name server: without one, customers of the cluster have no names to set
            pdns = stack.enter_context(PowerDns(Path(stack.enter_context(tempfile.TemporaryDirectory())), *ZONES))
            zones = pdns.tables(*ZONES)
        s = stack.enter_context(System(speed=0.2, public=True, hcloud=Project(Clock()), more=zones + CLOUD_WALL + FEW))
        browser = stack.enter_context(chrome("--hide-scrollbars"))
        if "dashboard" in only:  # before there are servers: a guide's figures are those of its accounts
            dashboard(s, browser, folder.parent)
        if any(name in PAGES or name == "usage" for name in only):
            furnish(s, SHOP)
            protect(s, SHOP)
            aged(s, SHOP)
        if "usage" in only:
            usage_tabs(s, browser, SHOP, folder.parent)
        if any(name.startswith("cloud-") for name in only):
            furnish_cloud(s, CLOUD_SHOP, "cloud-wall")
            wall(s, CLOUD_SHOP)
        for name in (n for n in pages if n in only):
            kind = name.removeprefix("cloud-")
            url = s.page(SHOP if kind == name else CLOUD_SHOP) + ("" if kind == "overview" else f"&vmb[page]={kind}")
            for title, options in LOOKS.items():
                wide = look(
                    browser, url, folder / f"{name}-{title}.png", before=BEFORE.get(name, BEFORE.get(kind)), **options
                )
                print(f"{name} {title}" + (f": scrolls sideways by {wide} px" if wide > 0 else ""), flush=True)
        if "staff" in only:  # last: it breaks things
            staff(s, browser, folder.parent)
    index(folder, pages)


def index(folder: Path, everything: tuple[str, ...]) -> None:
    """One page that shows them all."""
    lines = [
        "# The customer's pages",
        "",
        "Made by `make screenshots`; those of a cloud server begin with `cloud-`.",
        "",
    ]
    for name in everything:
        themes = [t for t in LOOKS if (folder / f"{name}-{t}.png").exists()]
        if themes:
            lines += [f"## {name}", "", *(f"![{name}, {t}]({name}-{t}.png)" for t in themes), ""]
    (folder / "README.md").write_text("\n".join(lines).rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    main()
