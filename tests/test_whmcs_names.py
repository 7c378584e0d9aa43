"""The rule of names inside WHMCS's pages: what is ours stands in `vmb[...]`; everything else is WHMCS's own and meant
for it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from bridge.clock import Clock
from tests.hcloud.project import Project
from tests.screenshots import PAGES
from tests.system import CLOUD, ROOT, System, ours
from tests.test_shim import settled

SHOP, CLOUD_SHOP = 1, 2
CUSTOMERS = {SHOP: PAGES, CLOUD_SHOP: tuple(p for p in PAGES if p != "firewall")}
STAFF = ("overview", "operations", "operation", "service", "servers", "pools", "findings", "dns")
THEMES = ("twenty-one", "six")
FIELDS = {"token", "id", "modop", "a"}  # of WHMCS, each sent for its own sake
HIDDEN = {"token": r"token-\w+", "id": r"\d+", "modop": "custom", "a": "submit|start|stop|reboot|hard_stop"}
ADDRESSES = {  # WHMCS's pages that ours lead to -> WHMCS's names there
    "clientarea.php": {"action", "id"},
    "addonmodules.php": {"module"},
    "clientsservices.php": {"userid", "id"},
}
OURS = re.compile(r"vmb\[[a-z][a-z_]*]")


class Seen(HTMLParser):
    """Every name, address and id of a piece of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: list[tuple[str, str]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {k: v or "" for k, v in attrs}
        if "name" in attributes and tag != "meta":
            self.fields.append((attributes["name"], attributes.get("value", "")))
        self.addresses += [
            attributes[a] for a in ("href", "action", "src", "formaction", "data-url") if a in attributes
        ]
        self.ids += [attributes[a] for a in ("id", "list", "for") if a in attributes]


# What the theme itself offers beside our page: to upgrade and to cancel
WHMCS_OWN = r"upgrade\.php\?type=package&id=\d+|clientarea\.php\?action=cancel&id=\d+"


def wrong(text: str) -> list[str]:
    """What breaks the rule in a piece of a page; `text` has nothing of the host's own."""
    seen = Seen(text)
    faults = [f"field {n}" for n, v in seen.fields if not (OURS.fullmatch(n) or re.fullmatch(HIDDEN.get(n, "(?!)"), v))]
    faults += [f"id {i}" for i in seen.ids if not i.startswith("vmb")]
    for address in seen.addresses:
        if re.fullmatch(WHMCS_OWN, address):
            continue
        parts = urlsplit(address)
        if parts.scheme or parts.netloc or address.startswith("#"):
            continue
        names = {n for n, _ in parse_qsl(parts.query, keep_blank_values=True)}
        known = ADDRESSES.get(parts.path)
        if known is None or any(n not in known and not OURS.fullmatch(n) for n in names):
            faults.append(f"address {address}")
        if parts.path == "clientarea.php" and dict(parse_qsl(parts.query)).get("action") != "productdetails":
            faults.append(f"action of {address}")
    return faults


def ours_of(page: str) -> str:
    """The part of a page that is ours: from our element on, without the host's frame around it."""
    begin = page.index('<div class="vmbridge')
    return page[begin : page.rindex("</div>")]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.02, hcloud=Project(Clock()), public=True) as s:
        s.order(SHOP)
        s.order(CLOUD_SHOP, **CLOUD)
        for service in (SHOP, CLOUD_SHOP):
            settled(s, service)
            for page in ("snapshots", "backups"):
                s.submit(service, page, "take")
                settled(s, service)
        yield s


def get(s: System, path: str) -> str:
    reply = requests.get(f"http://127.0.0.1:{s.host}/{path}", timeout=30)
    assert reply.status_code == 200, reply.text
    return reply.text


# -- the host does what WHMCS does ------------------------------------------------------------------
def test_a_field_named_action_leads_elsewhere(system: System) -> None:
    """POST beats GET: such a form never comes to the module."""
    url, before = system.page(SHOP), system.operation(SHOP)["id"]
    token = requests.get(f"http://127.0.0.1:{system.host}/test/token", timeout=10).text
    form = {"id": str(SHOP), "modop": "custom", "a": "submit", "token": token}
    for extra in ({"action": "stop"}, {"action": "start", "vmb[do]": "start"}, {"sub": "x"}, {"page": "snapshots"}):
        reply = requests.post(url, data={**form, "vmb[capability]": "power", **extra}, timeout=10)
        assert reply.status_code == (404 if "action" in extra else 500), extra
    assert requests.get(url + "&page=snapshots", timeout=10).status_code == 500
    assert system.operation(SHOP)["id"] == before


def test_the_admin_area_is_known_by_its_path(system: System) -> None:
    router = (ROOT / "tests/whmcs_host/router.php").read_text()
    assert router.count("define('ADMINAREA'") == 1
    asks = get(system, f"clientarea.php?action=productdetails&id={SHOP}&modop=custom&a=stop")
    assert '<form method="post"' in asks  # a customer's link asks first


# -- every page -------------------------------------------------------------------------------------
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("service,page", [(s, p) for s, pages in CUSTOMERS.items() for p in pages])
def test_customers_pages(system: System, service: int, page: str, theme: str) -> None:
    text = ours_of(get(system, f"clientarea.php?action=productdetails&id={service}&theme={theme}&vmb[page]={page}"))
    assert f'data-here="{page}"' in text
    assert wrong(text) == []
    seen = Seen(text)
    assert any(n.startswith("vmb[") for n, _ in seen.fields)
    assert any("vmb[page]=" in a for a in seen.addresses)


@pytest.mark.parametrize("theme", THEMES)
def test_questions_and_answers(system: System, theme: str) -> None:
    """The pages that are answers: WHMCS's own link, a question without script, a refusal with what was typed."""
    ask = get(system, f"clientarea.php?action=productdetails&id={SHOP}&theme={theme}&modop=custom&a=stop")
    assert wrong(ours_of(ask)) == []
    for capability, action, form in (
        ("snapshots", "take", {"description": "x" * 300}),
        ("backups", "schedule", {"time_zone": "Mars"}),
        ("power", "hard_stop", {"confirmed": "", "from": "backups"}),
        ("reinstall", "reinstall", {"confirm": "no"}),
        ("firewall", "add", {"proto": "tcp", "dport": "many"}),
        ("firewall", "policy", {"policy_in": "perhaps"}),
        ("iso", "mount", {"iso": "local:iso/nothing.iso"}),
        ("rdns", "save", {"address": "203.0.113.10", "name": "-"}),
    ):
        reply = system.submit(SHOP, capability, action, **form)
        assert reply.status_code == 200, (capability, action)
        assert wrong(ours_of(reply.text)) == [], (capability, action)


@pytest.mark.parametrize("page", STAFF)
def test_staffs_pages(system: System, page: str) -> None:
    key = system.operation(SHOP)["id"]
    query = f"&vmb[id]={SHOP if page == 'service' else key}"
    text = ours_of(get(system, f"admin/addonmodules.php?module=vmbridge&vmb[page]={page}{query}"))
    assert wrong(text) == []
    assert f"vmb[page]={'operations' if page == 'operation' else page}" in html.unescape(text)


def test_the_service_tab_has_links_only(system: System) -> None:
    text = get(system, f"admin/service.php?id={SHOP}")
    tab = ours_of(text[: text.index("</table></form>")] + "</div>") if "</table></form>" in text else ours_of(text)
    assert "<form" not in tab
    assert Seen(tab).fields == []
    assert wrong(tab) == []


def test_shims_own_templates_and_scripts() -> None:
    """What no page above shows: the plain question, and names that scripts make."""
    shim = ROOT / "whmcs-shim/modules"
    for path in shim.rglob("*.tpl"):
        for name in re.findall(r'\bname="([^"]*)"', path.read_text()):
            assert name in FIELDS or OURS.fullmatch(name), path
    made = []
    static = ROOT / "bridge/static"
    scripts = [p for of in (".", "vmbridge", "charts") for p in (static / of).glob("*.js")]
    for path in [*scripts, *shim.rglob("*.php")]:
        text = path.read_text("utf-8")
        made += re.findall(r"""\.name = ["']([^"']+)["']""", text)
        made += re.findall(r"""[?&]([a-z_]+\[?[a-z_]*]?)=""", text)
        assert not re.search(r"elements\.[a-z]", text), path
        assert not re.search(r"\.id = ['\"](?!vmb)", text), path
    known = {
        "action",
        "id",
        "module",
        "m",
        "client",
        "ask",
        "period",
        "type",
    }  # WHMCS's, and those of the bridge's own addresses
    assert "vmb[confirmed]" in made
    assert [n for n in made if n not in known and not OURS.fullmatch(n)] == []
    assert not re.search(r"\$_(GET|POST|REQUEST)\[", "".join(p.read_text() for p in shim.rglob("*.php")))


# -- what is not ours -------------------------------------------------------------------------------
BROKEN: list[dict[str, Any]] = [
    {"vmb": "take"},
    {"vmb[]": "take"},
    {"vmb[do][]": "take"},
    {"vmb[do][do]": "take"},
    {"vmb[capability][0]": "snapshots"},
    {"vmb[note][x][y][z]": "1"},
    {"vmb[Do]": "take"},
    {"vmb[do\n]": "take"},
    {"vmb[0]": "take"},
    {f"vmb[{'x' * 5000}]": "1"},
    {f"vmb[{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]}]": "1" for n in range(100)},
]


@pytest.mark.parametrize("form", BROKEN, ids=range(len(BROKEN)))
def test_a_form_that_is_not_ours_is_refused(system: System, form: dict[str, str]) -> None:
    before = system.operation(SHOP)["id"]
    token = requests.get(f"http://127.0.0.1:{system.host}/test/token", timeout=10).text
    good = ours("take", id=str(SHOP), modop="custom", a="submit", token=token, capability="snapshots")
    reply = requests.post(system.page(SHOP), data={**good, **form}, timeout=30)
    assert reply.status_code == 200
    assert "The form could not be read. Nothing was done" in reply.text
    admin = f"http://127.0.0.1:{system.host}/admin/addonmodules.php?module=vmbridge&vmb[page]=servers"
    staff = ours("maintenance", token=token, server="pve1", switch="on")
    reply = requests.post(admin, data={**staff, **form}, timeout=30)
    assert reply.status_code == 200
    assert "The form could not be read. Nothing was done" in reply.text
    assert "Maintenance is on" not in get(system, "admin/addonmodules.php?module=vmbridge&vmb[page]=servers")
    assert system.operation(SHOP)["id"] == before
    for address in (f"clientarea.php?action=productdetails&id={SHOP}", "admin/addonmodules.php?module=vmbridge"):
        shown = requests.get(f"http://127.0.0.1:{system.host}/{address}", params=form, timeout=30)
        assert shown.status_code == 200
        assert 'class="vmbridge' in shown.text
        assert "Something went wrong in" not in shown.text


def test_a_long_text_is_refused_by_its_field(system: System) -> None:
    reply = system.submit(SHOP, "snapshots", "take", description="ü" * 500_000)
    assert reply.status_code == 200
    assert "Snapshot description: at most 200 characters." in reply.text


def test_what_was_typed_comes_as_it_was_typed(system: System) -> None:
    """WHMCS makes entities of it; they are undone once."""
    typed = 'R&D <b> "it\'s" &amp; &lt;i&gt;'
    reply = system.submit(SHOP, "reinstall", "reinstall", confirm=typed)
    assert reply.status_code == 200
    assert dict(Seen(reply.text).fields)["vmb[confirm]"] == typed
