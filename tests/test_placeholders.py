"""Only what a template has is filled in by the shim; the same text of a customer, a provider or staff stays text,
wherever it stands."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from tests.configs import raw_config
from tests.test_admin_pages import ADMIN
from tests.test_charts import shim_of
from tests.test_iso import Site
from tests.test_signature import Shim
from tests.world import World

TEXT = "%%VMBRIDGE_TOKEN%% %%VMBRIDGE_URL%%"
PLACES = re.compile(r'name="token" value="%%VMBRIDGE_TOKEN%%"|(?:action|href|data-url)="%%VMBRIDGE_URL%%[^"]*"')


def checked(page: str) -> int:
    """The page has placeholders only in their places; how often the text stands in it as text."""
    assert "%%VMBRIDGE_" not in PLACES.sub("", page)
    assert PLACES.search(page)
    return html.unescape(page).count(TEXT)


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[World]:
    raw = raw_config()
    raw["plans"]["kvm-s"]["manual_url"] = "https://docs.example.com/"
    world = World(tmp_path, plans=raw["plans"])
    world.order("create", domain=TEXT)
    world.run()
    world.page("snapshots", "take", description=TEXT)
    world.run()
    world.page("backups", "take", note=TEXT)
    world.run()
    yield world
    world.close()


def submit(shim: Shim, page: str, action: str, **form: str) -> str:
    shim.count += 1
    body = {"params": {"userid": 7}, "actor": {"kind": "client", "id": 7, "name": TEXT}, "form": {"do": action, **form}}
    return str(shim.send("POST", f"/v1/services/1042/pages/{page}", body).json["html"])


def test_customers_texts(typed: World) -> None:
    shim = shim_of(typed)
    for page, least in (("overview", 1), ("snapshots", 3), ("backups", 2), ("reinstall", 1), ("charts", 1)):
        shown = shim.send("GET", f"/v1/services/1042/pages/{page}?client=7&language=pseudo&theme=bs4").json["html"]
        assert checked(shown) >= least, page
    name = typed.store.snapshots_of(1)[0]["name"]
    asked = submit(shim, "snapshots", "rollback", name=name, **{"from": TEXT, "x": TEXT})
    assert checked(asked) >= 2
    assert "confirmed" in asked
    for page, action, form in (
        ("snapshots", "take", {"description": TEXT * 20}),
        ("backups", "take", {"note": TEXT * 20}),
        ("backups", "schedule", {"time_zone": TEXT}),
        ("backups", "schedule", {"time_zone": "UTC", "on_monday": "1", "time_monday": TEXT}),
        ("reinstall", "reinstall", {"template": TEXT, "confirm": TEXT}),
    ):
        assert checked(submit(shim, page, action, **form)) >= 1, (page, action)


def test_what_the_back_end_and_staff_say(typed: World) -> None:
    typed.store.find("pve1", 1, "differs_from_package", "1042", TEXT, TEXT, {})
    typed.store.refresh_failed("pve1", TEXT, down=True)
    shim = shim_of(typed)
    query = "&".join(f"actor_{k}={v}" for k, v in ADMIN.items())
    for page in ("overview", "operations", "service", "servers", "findings"):
        shown = shim.send("GET", f"/v1/admin/{page}?{query}&id=1042&name=%25%25VMBRIDGE_URL%25%25").json["html"]
        checked(shown)
    tab = shim.send("GET", "/v1/services/1042/pages/admin?client=7&admin=1").json["html"]
    assert "%%VMBRIDGE_" not in tab
    assert TEXT in html.unescape(re.sub(r"<[^>]*>", "", tab))  # long words have joints
    shim.count += 1
    form = {"do": "maintenance", "server": "pve1", "switch": "on", "text": TEXT}
    assert shim.send("POST", "/v1/admin/servers", {"actor": ADMIN, "form": form}).json["redirect"]
    assert checked(shim.send("GET", "/v1/services/1042/pages/overview?client=7").json["html"]) >= 2


def test_isos_and_reverse_names(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        site.cloud.isos[0]["name"] = site.cloud.isos[0]["description"] = TEXT
        assert checked(site.shim.send("GET", "/v1/services/1042/pages/iso?client=7").json["html"]) >= 1
        for page, form in (
            ("rdns", {"action": "save", "address": "192.0.2.1", "name": TEXT}),
            ("iso", {"action": "search", "find": TEXT}),
        ):
            reply: Any = site.send(page, **form)
            assert checked(reply.json["html"]) >= 1
    finally:
        site.close()


def test_what_stands_in_between_is_not_told(typed: World) -> None:
    """Each answer has a mark of its own, which nobody sees."""
    app = create_app(typed.context)
    with app.test_request_context():
        from bridge.web.placeholders import mark, placed

        one = mark("TOKEN")
        assert placed(f"<a>{one}</a>%%VMBRIDGE_URL%%") == "<a>%%VMBRIDGE_TOKEN%%</a>&#37;%VMBRIDGE_URL%%"
    with app.test_request_context():
        assert mark("TOKEN") != one
        assert placed(str(one)) == str(one)
