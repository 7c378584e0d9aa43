"""`make demo`: an order becomes a running machine, shown live. `--once` goes on to its end and exits."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from typing import Any

from tests.qemu import PROGRAM, Qemu
from tests.system import System

SERVICE = 1042
OPEN = ("running", "waiting", "waiting_for_staff")


def say(text: str) -> None:
    print(text, flush=True)


def follow(s: System, title: str) -> None:
    """Print each step as it begins and ends, until the operation does."""
    say(f"\n{title}")
    shown: set[tuple[int, bool]] = set()

    def look() -> dict[str, Any] | None:
        op = s.operation(SERVICE)
        for step in op.get("steps", []):
            ended = step["ended_at"] is not None
            if (step["id"], ended) not in shown:
                shown.add((step["id"], ended))
                took = f" ({step['ended_at'] - step['started_at']:.1f} s)" if ended else " ..."
                say(f"  {step['name']:<16}{'done' if ended else ''}{took} {step['message'] if ended else ''}")
        return op if op and op["state"] not in OPEN else None

    op = s.wait_for(look, 180, title)
    if op["state"] != "done":
        raise SystemExit(f"{title} ended as {op['state']}: {op['error']}\nNext: {op['next_action']}")


def act(s: System, action: str, title: str) -> None:
    result = s.module(SERVICE, action)
    if result != "success":
        raise SystemExit(f"{action}: WHMCS got {result!r}")
    follow(s, title)


def expect(what: str, truth: bool) -> None:
    say(f"  {'ok' if truth else 'NOT'}: {what}")
    if not truth:
        raise SystemExit(f"failed: {what}")


def story(s: System, once: bool) -> None:
    result = s.order(SERVICE)
    if result != "success":
        raise SystemExit(f"CreateAccount: WHMCS got {result!r}")
    say(f"WHMCS got 'success' at once; the address is {s.state()['services'][str(SERVICE)]['properties']['Dedicated IP']}")
    follow(s, "Create: the order becomes a machine")
    expect("the machine runs", [v.status for v in s.cluster.vms.values() if not v.template] == ["running"])
    s.wait_for(lambda: len(s.state()["mails"]) == 1, 15, "the ready mail")
    expect("one welcome mail, sent when the server was ready", True)
    if not once:
        return
    act(s, "SuspendAccount", "Suspend")
    expect("it is off and stays off", [(v.status, v.config["onboot"]) for v in s.cluster.vms.values() if not v.template] == [("stopped", "0")])
    act(s, "UnsuspendAccount", "Unsuspend")
    expect("it runs again", [v.status for v in s.cluster.vms.values() if not v.template] == ["running"])
    act(s, "TerminateAccount", "Terminate")
    expect("it is proven gone", not [v for v in s.cluster.vms.values() if not v.template])


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends all of it too
        signal.signal(number, stop)
    try:
        play("--once" in sys.argv)
    except KeyboardInterrupt:
        say("stopped")


def play(once: bool) -> None:
    with System(public=True) as s, ExitStack() as more:
        say(f"simulated Proxmox VE {s.pve.url}, bridge http://127.0.0.1:{s.web}, WHMCS-like host http://127.0.0.1:{s.host}")
        story(s, once)
        if once:
            say("\nAll done.")
            return
        if PROGRAM:  # a real screen for the console; else one of a single colour that keys change
            qemu, screen = more.enter_context(Qemu(s.folder / "qemu")), next(v for v in s.cluster.vms.values() if not v.template).screen
            screen.vnc, screen.set_password = qemu.vnc, qemu.set_password
        say(f"\nThe customer's page:  {s.page(SERVICE)}\n  in Bootstrap 3:     {s.page(SERVICE)}&theme=six"
            f"\nThe staff's page:     http://127.0.0.1:{s.host}/admin/service.php?id={SERVICE}\nLogs and database:    {s.folder}\n\nCtrl-C stops everything.")
        threading.Event().wait()


if __name__ == "__main__":
    main()
