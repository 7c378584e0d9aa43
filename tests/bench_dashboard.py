"""Benchmarks of the client dashboard: what a view of 500 services costs the bridge, and how large a call of 3,000 rows
is. Parts of `make bench`."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import render_template, template_rendered

from bridge.app import create_app
from bridge.web.auth import sign
from tests.accounts import VAT, body, invoice, item, past, service
from tests.configs import raw_config
from tests.world import World

Show = Callable[..., None]
LIMIT = 256 * 1024  # bytes of a call


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


def all_of_it(show: Show) -> None:
    wire_size(show)
    for page in ("dashboard", "list"):
        view(show, page)


if __name__ == "__main__":
    from tests.bench import show

    all_of_it(show)
