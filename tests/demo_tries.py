"""What one can do to the demo: `.venv/bin/python -m tests.demo --do WORD` from another terminal, or the word and Enter
in the demo's own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from tests.processes import child
from tests.pve.cluster import Vm
from tests.system import ROOT, System

DOOR = ROOT / ".demo/port"  # where a running demo listens
FEW = """
[plans.kvm-few]
server = "pve1"
cores = 1
ram_mib = 1024
disk_gib = 20
storage = "local-lvm"
templates = ["debian-12"]
pools = ["few-v4"]
allow = ["console", "charts"]
[pools.few-v4]
ranges = ["198.51.100.10-198.51.100.11"]
prefix = 24
gateway = "198.51.100.1"
"""  # a plan whose pool holds two addresses


@dataclass(frozen=True)
class Try:
    words: str
    act: Callable[[System, int], str]


def machine(s: System) -> Vm:
    return next(v for v in s.cluster.vms.values() if not v.template)


def stop_node(s: System, service: int) -> str:
    node = machine(s).node
    s.cluster.nodes[node] = False
    return (
        f"The node {node} is down. The customer's page says so within seconds; the staff's overview shows the server at"
        " risk."
    )


def start_node(s: System, service: int) -> str:
    for node in s.cluster.nodes:
        s.cluster.nodes[node] = True
    return "All nodes are up again."


def fill_pool(s: System, service: int) -> str:
    known = len(s.state()["services"])
    for n in range(3):
        number = 3000 + known + n
        answer = s.order(number, configoption1="kvm-few", domain=f"few-{number}.example.com")
        if answer != "success":
            return f"Service {number} found the pool full. WHMCS's admin reads: {answer}"
    return "Three servers were ordered of a pool with two addresses; the staff's page of pools shows it."


def break_storage(s: System, service: int) -> str:
    s.cluster.storages["nfs-backup"].online = False
    answer = s.submit(service, "backups", action="take", note="while the storage is away")
    return (
        f"The backup storage is gone, and a backup was ordered ({answer.status_code}). Look at the customer's backups."
    )


def mend_storage(s: System, service: int) -> str:
    s.cluster.storages["nfs-backup"].online = True
    return "The backup storage is back. What waits goes on; what failed can be tried again."


def kill_worker(s: System, service: int) -> str:
    """As a crash would, in the middle of a restart; then as a supervisor does."""
    s.submit(service, "power", action="reboot")
    serve = s.processes["serve"]
    os.kill(child(serve.pid, "worker"), signal.SIGKILL)
    serve.wait(timeout=60)
    s.serve()
    s.wait_for(lambda: requests.get(f"http://127.0.0.1:{s.web}/health", timeout=5).status_code == 200, 120)
    return (
        "The worker was killed in the middle of a restart and everything was started anew. The restart goes on by"
        " itself."
    )


def upgrade(s: System, service: int) -> str:
    answer = s.post(
        "/test/upgrade", {"serviceid": service, "pid": 11, "columns": {"configoption1": "kvm-s", "configoption4": "4"}}
    )
    return (
        f"An upgrade to four cores was ordered and paid: WHMCS got {answer.get('result')!r}. Look at the customer's"
        " overview."
    )


TRIES = {
    "stop-node": Try("the node under the KVM server goes down", stop_node),
    "start-node": Try("and comes back", start_node),
    "fill-pool": Try("three orders for a pool of two addresses", fill_pool),
    "break-storage": Try("the backup storage goes away during a backup", break_storage),
    "mend-storage": Try("and comes back", mend_storage),
    "kill-worker": Try("the worker is killed in the middle of a restart", kill_worker),
    "upgrade": Try("an upgrade to four cores is ordered", upgrade),
}


class Door:
    """`with Door(system, service) as door:` words come from other terminals and from this one."""

    def __init__(self, s: System, service: int) -> None:
        self.s, self.service, self.lock = s, service, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answer = outer.do(self.path.strip("/")).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Door:
        DOOR.parent.mkdir(exist_ok=True)
        DOOR.write_text(str(self.server.server_address[1]))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        if sys.stdin.isatty():
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *args: Any) -> None:
        DOOR.unlink(missing_ok=True)
        self.server.shutdown()
        self.server.server_close()

    def do(self, word: str) -> str:
        if word not in TRIES:
            return f"{word!r} is none of: {', '.join(TRIES)}"
        with self.lock:
            try:
                return TRIES[word].act(self.s, self.service)
            except Exception as e:  # the demo goes on
                return f"That did not work: {e}"

    def _read(self) -> None:
        for line in sys.stdin:
            if line.strip():
                print(self.do(line.strip()), flush=True)


def ask(word: str) -> str:
    """From another terminal. Exits with a sentence where no demo runs."""
    try:
        port = int(DOOR.read_text())
        return requests.post(f"http://127.0.0.1:{port}/{word}", timeout=300).text
    except (OSError, ValueError, requests.exceptions.ConnectionError):
        raise SystemExit("No demo is running. Start one with `make demo`.") from None
