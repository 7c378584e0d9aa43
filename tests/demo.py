"""`make demo`: two orders become running machines, one on the simulated cluster, one in the simulated cloud project;
shown live. `--once` goes on to their end and exits. `--do WORD` does something to the demo that runs
(tests/demo_tries.py)."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge import recipes
from bridge.clock import Clock
from tests import home_site
from tests.demo_tries import FEW, TRIES, Door, ask
from tests.dns.servers import PowerDns, has_pdns
from tests.hcloud.project import Project
from tests.qemu import PROGRAM, Qemu
from tests.system import CLOUD, CLOUD_M, System

SERVICE, CLOUD_SERVICE = 1042, 2042
ZONES = ("113.0.203.in-addr.arpa", "0.4.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "static.example.com")
OPEN = ("running", "waiting", "waiting_for_staff")
SHOP = {
    "products": {  # what the services may be upgraded to; `server`: WHMCS's server record
        11: {"name": "KVM with four cores", "server": 1, "configoption1": "kvm-s", "configoption4": "4"},
        12: {"name": "KVM with a smaller disk", "server": 1, "configoption1": "kvm-s", "configoption6": "10"},
        21: {"name": "Cloud M", "server": 2, "configoption1": "cloud-m"},
    }
}
DURATIONS = {
    "create_server": 3.0,
    "start_server": 1.0,
    "shutdown_server": 0.5,
    "stop_server": 0.5,
    "delete_server": 0.5,
}  # of the cloud's actions


def say(text: str) -> None:
    print(text, flush=True)


@dataclass
class Sale:
    """One product: its service, what is ordered, and what its back end has (how each machine is, in its own words)."""

    service: int
    wish: dict[str, Any]
    there: Callable[[], list[str]]
    off: str
    dns: PowerDns | None = None  # which answers for its addresses


def sales(s: System, pdns: PowerDns | None) -> tuple[Sale, Sale]:
    assert s.hcloud
    project = s.hcloud
    return (
        Sale(SERVICE, {}, lambda: [v.status for v in s.cluster.vms.values() if not v.template], "stopped", pdns),
        Sale(CLOUD_SERVICE, CLOUD, lambda: [v.status for v in project.servers.values()], "off"),
    )


def follow(s: System, service: int, title: str) -> None:
    """Print each step as it begins and ends, until the operation does."""
    say(f"\n{title}")
    titles = {step.name: step.title for recipe in recipes.BOOK.recipes.values() for step in recipe.steps}
    shown: set[tuple[int, bool]] = set()

    def look() -> dict[str, Any] | None:
        op = s.operation(service)
        for step in op.get("steps", []):
            ended = step["ended_at"] is not None
            if (step["id"], ended) not in shown:
                shown.add((step["id"], ended))
                took = f" ({step['ended_at'] - step['started_at']:.1f} s)" if ended else " ..."
                say(f"  {titles.get(step['name'], step['name'])}{', done' if ended else ''}{took}")
        return op if op and op["state"] not in OPEN else None

    op = s.wait_for(look, 180, title)
    if op["state"] != "done":
        raise SystemExit(f"{title} ended as {op['state']}: {op['error']}\nNext: {op['next_action']}")


def act(s: System, service: int, action: str, title: str) -> None:
    result = s.module(service, action)
    if result != "success":
        raise SystemExit(f"{action}: WHMCS got {result!r}")
    follow(s, service, title)


def expect(what: str, truth: bool) -> None:
    say(f"  {'ok' if truth else 'NOT'}: {what}")
    if not truth:
        raise SystemExit(f"failed: {what}")


def story(s: System, sale: Sale, what: str, once: bool) -> None:
    mails = len(s.state()["mails"])
    result = s.order(sale.service, **sale.wish)
    if result != "success":
        raise SystemExit(f"CreateAccount: WHMCS got {result!r}")
    address = s.state()["services"][str(sale.service)]["properties"].get("Dedicated IP")
    say(
        f"\n{what}: WHMCS got 'success' at once; the address"
        f" {f'is {address}' if address else 'comes from the provider'}"
    )
    follow(s, sale.service, "Create: the order becomes a machine")
    expect("the machine runs", sale.there() == ["running"])
    s.wait_for(lambda: len(s.state()["mails"]) == mails + 1, 15, "the ready mail")
    expect("one welcome mail, sent when the server was ready", True)
    if sale.dns and address:
        named = s.wait_for(lambda: sale.dns and sale.dns.dig(address), 30, "the address's name")
        expect(
            f"PowerDNS answers: {address} is {', '.join(named)}", named == [f"{address.replace('.', '-')}.{ZONES[2]}"]
        )
    if not once:
        return
    act(s, sale.service, "SuspendAccount", "Suspend")
    expect("it is off", sale.there() == [sale.off])
    if sale.service == SERVICE:
        expect("and stays off", [v.config["onboot"] for v in s.cluster.vms.values() if not v.template] == ["0"])
    act(s, sale.service, "UnsuspendAccount", "Unsuspend")
    expect("it runs again", sale.there() == ["running"])
    act(s, sale.service, "TerminateAccount", "Terminate")
    assert s.hcloud
    paid = [
        *s.hcloud.servers,
        *s.hcloud.primary_ips,
        *s.hcloud.floating_ips,
        *(i.id for i in s.hcloud.images.values() if i.type != "system"),
    ]
    expect("it is proven gone: nothing is left that costs", not sale.there() and not paid)
    if sale.dns and address:
        s.wait_for(lambda: sale.dns and not sale.dns.dig(address), 30, "the end of the address's name")
        expect(f"{address} has no name any more", True)


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    if "--do" in sys.argv:
        say(ask(sys.argv[-1]))
        return
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends all of it too
        signal.signal(number, stop)
    try:
        play("--once" in sys.argv)
    except KeyboardInterrupt:
        say("stopped")


def play(once: bool) -> None:
    project = Project(Clock())
    project.durations |= DURATIONS
    with ExitStack() as more:
        pdns = None
        if has_pdns():  # a real name server for the cluster's addresses
            pdns = more.enter_context(PowerDns(Path(tempfile.mkdtemp(prefix="vmbridge-pdns-")), *ZONES))
        tables = CLOUD_M + FEW + (pdns.tables(*ZONES) if pdns else "")
        s = more.enter_context(System(public=True, hcloud=project, speed=0.3 if once else 1.0, more=tables))
        assert s.cloud
        say(
            f"simulated Proxmox VE {s.pve.url} and Hetzner Cloud {s.cloud.url}, bridge http://127.0.0.1:{s.web},"
            f" WHMCS-like host http://127.0.0.1:{s.host}"
        )
        for sale, what in zip(sales(s, pdns), ("A KVM server", "A cloud server"), strict=True):
            story(s, sale, what, once)
        if once:
            say("\nAll done.")
            return
        if PROGRAM:  # a real screen for the console; else one of a single colour that keys change
            machine, [server] = next(v for v in s.cluster.vms.values() if not v.template), project.servers
            for name, screen in (("qemu", machine.screen), ("qemu-cloud", project.screen(server))):
                qemu = more.enter_context(Qemu(s.folder / name))
                screen.vnc, screen.set_password = qemu.vnc, qemu.set_password
        s.post("/test/shop", SHOP)
        home_site.furnish(s)
        for line in addresses(s):
            say(line)
        more.enter_context(Door(s, SERVICE))
        say("\nTry these: the word and Enter here, or from another terminal `.venv/bin/python -m tests.demo --do WORD`")
        for word, thing in TRIES.items():
            say(f"  {word:<14}{thing.words}")
        if pdns:
            say(f"\nPowerDNS: dig @127.0.0.1 -p {pdns.port} -x 203.0.113.10")
        say(f"\nLogs and database:    {s.folder}\n\nCtrl-C stops everything.")
        while True:
            collect(s)
            threading.Event().wait(60)


def addresses(s: System) -> list[str]:
    """Where to look, as a customer and as staff."""
    host = f"http://127.0.0.1:{s.host}"
    lines = []
    for what, service in (("A KVM server", SERVICE), ("A cloud server", CLOUD_SERVICE)):
        lines += [
            f"\n{what}",
            f"  What its customer sees:          {s.page(service)}",
            f"    in WHMCS's older theme, Six:   {s.page(service)}&theme=six",
            f"  Changing to a bigger package:    {host}/upgrade.php?type=package&id={service}",
            f"  What staff sees of it in WHMCS:  {host}/admin/service.php?id={service}",
        ]
    home = f"{host}/{home_site.ADDON}"
    lines += [
        "\nThe client's dashboard (two accounts of one user: switch on its page Account)",
        f"  On WHMCS's home page:            {host}/clientarea.php",
        f"  The dashboard:                   {home}",
        f"    in WHMCS's older theme, Six:   {home}&theme=six",
        f"  Adding funds:                    {home}&vmb[page]=addfunds",
    ]
    addon = f"{host}/admin/addonmodules.php?module=vmbridge"
    pages = {
        "Overview": "",
        "Operations": "operations",
        "Servers": "servers",
        "Pools": "pools",
        "DNS": "dns",
        "Findings": "findings",
    }
    lines.append("\nStaff's own pages (WHMCS's addon)")
    lines += [f"  {title + ':':<33}{addon}{f'&vmb[page]={page}' if page else ''}" for title, page in pages.items()]
    return lines


def collect(s: System) -> None:
    """WHMCS's cron, for its tabs Metrics and Resource Usage; a new machine's numbers come when its back end has
    counted."""
    s.post("/test/metrics", {})
    for server in (1, 2):
        s.post("/test/call", {"function": "UsageUpdate", "server": server})


if __name__ == "__main__":
    main()
