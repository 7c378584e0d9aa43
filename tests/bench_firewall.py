"""What the pages of a server's firewall and of its ISOs cost: calls of the hypervisor for a view and for twenty at
once, what they weigh, and a list of ten thousand rules."""

from __future__ import annotations

import gzip
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge import assets
from bridge.customer import firewalls
from bridge.firewall import edits
from bridge.model import Firewall, Rule
from drivers.proxmox import rules
from tests.firewall_site import Site
from tests.pve.firewalls import parsed
from tests.test_discs import Site as Discs

Show = Callable[..., None]
LIMIT = 30 * 1024


def weight(site: Site | Discs, name: str, packed: bool = True) -> int:
    """Of a page's HTML for a browser that has had the files: as a web server sends it, or as it is read."""
    reply = site.shim.send(
        "GET", f"/v1/services/1042/pages/{name}?client=7&files={assets.version()}&public=https%3A%2F%2Fb.example"
    )
    html = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", reply.json["html"], flags=re.S).encode()
    return len(gzip.compress(html)) if packed else len(html)


def pages(show: Show) -> None:
    site = Site(Path(tempfile.mkdtemp()), firewall_rules=500)
    calls = site.cluster.calls
    for count in (4, 50):
        site.vm.rules = [
            parsed(f"IN ACCEPT -source 192.0.2.{n} -p tcp -dport {8000 + n} # no {n}") for n in range(count)
        ]
        site.clock.time += 60
        calls.clear()
        site.see()
        show(f"firewall page of {count} rules: calls of a view", len(calls), "<= 3")
        calls.clear()
        for _ in range(20):
            site.see()
        show(f"firewall page of {count} rules: calls of 20 more views", len(calls), "0")
        raw = weight(site, "firewall", packed=False)
        show(f"firewall page of {count} rules: bytes sent", weight(site, "firewall"), f"<= {LIMIT}", raw=raw)
    calls.clear()
    site.shim.send("GET", "/v1/services/1042/pages/overview?client=7")
    show("overview: calls of a view", len(calls), "0")
    site.close()
    discs(show)
    long(show)


def discs(show: Show) -> None:
    site = Discs(Path(tempfile.mkdtemp()))
    for n in range(50):
        site.cluster.add_iso(f"linux{n % 7}-{n}.iso")
    site.cluster.calls.clear()
    packed, raw = weight(site, "iso"), weight(site, "iso", packed=False)
    show("ISO page of 54 images: calls of two views", len(site.cluster.calls), "<= 3")
    show("ISO page of 54 images: bytes sent", packed, f"<= {LIMIT}", raw=raw)
    site.close()


def long(show: Show) -> None:
    """One edit of ten thousand rules, without the reading: judged, recorded, and its next call found."""
    lines = tuple(Rule("in", "drop", source=f"10.{n // 250}.{n % 250}.1") for n in range(10_000))
    now = Firewall((*lines, Rule("in", "accept", "SSH")), "drop")
    begin = time.process_time()
    edit = firewalls.move(5, 9000)(now)
    wanted = edits.applied(edit, now)
    firewalls.ways.closes(now, wanted, {"SSH": (("tcp", "22"),)})
    call: Any = rules.step(now, wanted)
    show("moving one of 10,000 rules: seconds of CPU", round(time.process_time() - begin, 2), "<= 3", call=call[1])
