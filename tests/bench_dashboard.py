"""Benchmarks of the client dashboard: what a view of 500 services costs the bridge, and how large a call of 3,000 rows
is, and how much longer WHMCS's home page takes with it. Parts of `make bench`."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import requests
from flask import render_template, template_rendered

from bridge.app import create_app
from bridge.web.auth import sign
from tests import home_site
from tests.accounts import VAT, body, invoice, item, past, service
from tests.configs import raw_config
from tests.world import World

Show = Callable[..., None]
LIMIT = 256 * 1024  # bytes of a call
VIEWS = 15


def large(services: int, charges: int) -> dict[str, Any]:
    """So many services with so many past charges each, as a large client has them."""
    r = random.Random(1)
    rows, before = [], []
    for i in range(1, services + 1):
        amount, day = f"{r.randrange(200, 9000) / 100:.2f}", 1 + i % 28
        cycle = r.choice(("Monthly", "Monthly", "Monthly", "Quarterly", "Annually"))
        status = "Suspended" if i % 40 == 0 else "Active"
        rows.append(service(i, amount, cycle, f"2026-12-{day:02}", product=1 + i % 8, status=status))
        before += [past(i, amount, f"2026-{month:02}-{day:02}") for month in range(12 - charges, 12)]
    return body(
        "250.00",
        services=rows,
        products=[[p, f"VPS {p}", 3 + p % 4, True, True] for p in range(1, 9)],
        groups=[[g, f"Group {g}", g] for g in range(3, 8)],
        past_items=before,
        rates=VAT,
        open=[invoice(i) for i in range(1, 9)],
        open_items=[item(i, of=i) for i in range(1, 9)],
    )


def wire_size(show: Show) -> None:
    for services, charges in ((1000, 2), (600, 4)):
        call = large(services, charges)
        count = sum(len(rows) for rows in call["rows"].values())
        size = len(json.dumps(call, separators=(",", ":"), ensure_ascii=False).encode())
        show(f"bytes of a dashboard's call: {services} services, {count} rows", size, f"<= {LIMIT}", rows=count)


def view(show: Show, page: str = "dashboard") -> None:
    """CPU of a signed call against json.loads and the template from constants."""
    world = World(Path(tempfile.mkdtemp()))
    app, raw = create_app(world.context), json.dumps(large(500, 3)).encode()
    client, kept, names = app.test_client(), dict[str, Any](), list[str]()
    target = f"/v1/dashboard/{page}?theme=bs4"
    secret = raw_config()["whmcs"]["main"]["keys"][0]["secret"]

    def ours() -> None:
        stamp, nonce = str(int(world.clock.time)), random.randbytes(16).hex()
        headers = {"Vmbridge-Key": "main-1", "Vmbridge-Timestamp": stamp, "Vmbridge-Nonce": nonce}
        signature = sign(secret, "POST", target, stamp, nonce, raw)
        reply = client.post(target, data=raw, headers={**headers, "Vmbridge-Signature": signature})
        assert reply.status_code == 200, reply.text

    def bare() -> None:
        json.loads(raw)
        json.dumps({"html": render_template(names[0], **kept)})

    def keep(sender: Any, template: Any, context: dict[str, Any], **_: Any) -> None:
        kept.update(context)
        names.append(template.name)

    with template_rendered.connected_to(keep, app):
        ours()
    ratios = []
    with app.test_request_context(target):
        for _ in range(15):
            begin = time.process_time()
            ours()
            middle = time.process_time()
            bare()
            ratios.append((middle - begin) / (time.process_time() - middle))
    show(f"dashboard of 500 services ({page}) / json.loads and its template", statistics.median(ratios), "<= 2")
    world.close()


class Spent(NamedTuple):
    """Seconds: as a visitor waits, and of the processes of both sides. Only the latter two say something on a machine
    that has other work."""

    wall: float
    php: float
    bridge: float


def home_page(show: Show) -> None:
    """WHMCS's home page in real PHP with the dashboard's block and without, and the page of our own, in turns."""
    from tests.bench import cpu

    today = date.today()
    tables = ("tblhosting", "tblinvoices", "tblinvoiceitems")
    with home_site.furnished(Path(tempfile.mkdtemp())) as s:
        rows, base, count = home_site.many(500, 2500, today), f"http://127.0.0.1:{s.host}/", 0
        s.post("/test/tables", {"clear": tables, **dict(zip(tables, rows, strict=True))})
        s.post("/test/addon", {"what": "activate"})
        count = sum(map(len, rows))

        def spent(address: str, where: str) -> Spent:
            row = {"id": 1, "module": "vmbridgehome", "setting": "where", "value": where}
            s.post("/test/tables", {"tbladdonmodules": [row]})
            home_site.log_in(s, home_site.USER, home_site.BRANCH)  # nothing is kept in the session
            before, begin = [cpu(s.processes[p].pid) for p in ("host", "serve")], time.perf_counter()
            text = requests.get(base + address, timeout=20).text
            took = time.perf_counter() - begin
            assert ("vmb-strip" in text) == (where == "both"), text[:500]
            return Spent(took, *(cpu(s.processes[p].pid) - b for p, b in zip(("host", "serve"), before, strict=True)))

        views = [("clientarea.php", "own page"), ("clientarea.php", "both"), (home_site.ADDON, "both")]
        times = [[spent(*view) for view in views] for _ in range(VIEWS)]
    bare, home, page = (Spent(*map(sum, zip(*one, strict=True))) for one in zip(*times, strict=True))
    shown = {"rows": count, "views": VIEWS}
    for what, of in (("WHMCS's home page, with the dashboard's block", home), ("the dashboard's own page", page)):
        more = Spent(*(1000 * (a - b) / VIEWS for a, b in zip(of, bare, strict=True)))
        show(f"ms of PHP's CPU for {what}, over WHMCS's home page", more.php, "<= 150", **shown)
        show(f"ms of the bridge's CPU for {what}", more.bridge, "", wall=round(more.wall, 1), **shown)


def all_of_it(show: Show) -> None:
    wire_size(show)
    home_page(show)
    for page in ("dashboard", "list"):
        view(show, page)


if __name__ == "__main__":
    from tests.bench import show

    all_of_it(show)
