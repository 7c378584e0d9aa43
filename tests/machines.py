"""Several machines on one PostgreSQL: workers and webs as processes of their own, killed and started anew as a
supervisor does. A worker here: `python -m tests.machines CONFIG SECONDS`, with a lease of so many seconds (0: the
product's own)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

from bridge import config as config_module
from bridge import operations, worker
from bridge.clock import Clock
from bridge.context import load_context, open_context
from bridge.errors import StoreUnavailable
from bridge.operations import OWNER
from bridge.web.auth import sign
from tests.configs import raw_config
from tests.pve.cluster import GIB, default_cluster
from tests.pve.http import HttpsServer
from tests.system import ROOT, free_port
from tests.test_kill import WhmcsApi, _toml

SECRET = raw_config()["whmcs"]["main"]["keys"][0]["secret"]
PATIENCE = 900.0  # seconds that only a failure waits for


class Machines:
    """`workers` and `webs` processes; `url` leads to the store. `lease`: seconds, 0 for the product's own."""

    def __init__(self, folder: Path, url: str, workers: int, webs: int, lease: float = 0.0, way: str = "") -> None:
        self.clock, self.folder, self.lease = Clock(), folder, lease
        self.cluster = default_cluster(self.clock, bulk_age=0.05, memory=4096 * GIB)
        self.cluster.durations = dict.fromkeys(self.cluster.durations, 0.05)
        for vm in self.cluster.vms.values():
            vm.agent_after = 0.0
        for storage in self.cluster.storages.values():
            storage.total *= 50
        self.pve, self.api = HttpsServer(self.cluster, folder), WhmcsApi()
        self.pve.__enter__()
        self.ports = [free_port() for _ in range(webs)]
        for nth in range(max(1, webs)):
            self._configure(nth, way or url)
        ours = config_module.load(self.config(0))
        ours.store["url"] = url  # what the test itself looks at comes straight
        self.context = open_context(ours)
        self.names = [*(f"worker{n}" for n in range(workers)), *(f"web{n}" for n in range(webs))]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.started = Counter[str]()
        self.kills = 0
        for name in self.names:
            self.start(name)

    def config(self, nth: int) -> Path:
        return self.folder / f"config{nth}.toml"

    def _configure(self, nth: int, url: str) -> None:
        raw = raw_config(worker={"threads": 4}, web={"workers": 1, "threads": 8})
        raw["store"] = {"url": url, "secret_key": raw["store"]["secret_key"]}
        if self.ports:
            raw["web"]["listen"] = f"127.0.0.1:{self.ports[nth]}"
        raw["servers"]["pve1"] |= {"endpoint": self.pve.url, "ca_file": str(self.pve.ca_file)}
        raw["whmcs"]["main"]["system_url"] = self.api.url
        raw["pools"]["public-v4"] |= {"ranges": ["203.0.113.10-203.0.115.250"], "prefix": 22}
        raw["pools"]["public-v4"]["gateway"] = "203.0.112.1"
        raw["plans"]["kvm-l"] = {**raw["plans"]["kvm-s"], "cores": 4}
        self.config(nth).write_text("\n".join(_toml("", raw)))

    def start(self, name: str) -> None:
        self.started[name] += 1
        nth = int(name[-1]) if name.startswith("web") else 0
        run = ["bridge.cli", "web", "--config", str(self.config(nth))]
        if name.startswith("worker"):
            run = ["tests.machines", str(self.config(0)), str(self.lease)]
        with (self.folder / f"{name}.log").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *run],
                cwd=ROOT,
                env={**os.environ, OWNER: self.owner(name)},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def owner(self, name: str) -> str:
        return f"{name}-{self.started[name]}"

    def kill(self, name: str) -> None:
        """As a machine that loses its power; its supervisor starts it again."""
        self.kills += 1
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()
        self.start(name)

    def keep_up(self) -> None:
        """Whoever has ended by itself is started again: a worker does when its store lets it in no more."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.start(name)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        end = self.clock.monotonic() + PATIENCE
        while not (value := self.known(condition)):
            assert self.clock.monotonic() < end, f"{what}: {self.stuck()}"
            self.clock.sleep(0.05)
        return value

    @staticmethod
    def known(read: Callable[[], Any]) -> Any:
        """What we read ourselves beside the machines; None while the database is being started anew."""
        try:
            return read()
        except StoreUnavailable:
            return None

    def stuck(self) -> str:
        ops = self.context.store.operations_of(None, 5, ("running", "waiting", "waiting_for_staff"))
        logs = [(self.folder / f"{n}.log").read_text("utf-8", "replace")[-1500:] for n in self.names]
        return "\n".join([*map(str, ops), *logs])

    # -- orders -----------------------------------------------------------------------------------
    def order(self, verb: str, service: int, nth: int = 0, **values: str) -> None:
        """By one of the webs, again until it is taken, as staff does in WHMCS; what stands there already is fine."""
        target = f"/v1/services/{service}/{verb}"
        params = {
            "configoption1": "kvm-s",
            "userid": 7,
            "domain": f"vm-{service}.example.com",
            "password": "Secret-1",
            "status": "Pending" if verb == "create" else "Active",
            **values,
        }
        text = json.dumps({"server": "pve1", "params": params, "actor": {"kind": "system"}}).encode()

        def taken() -> bool:
            nonlocal nth
            nth += 1
            with suppress(requests.exceptions.RequestException):
                return self._post(self.ports[nth % len(self.ports)], target, text)
            return False

        self.wait(taken, f"{verb} of {service}")

    def _post(self, port: int, target: str, text: bytes) -> bool:
        stamp, nonce = str(int(self.clock.now())), os.urandom(16).hex()
        headers = {
            "Content-Type": "application/json",
            "Vmbridge-Key": "main-1",
            "Vmbridge-Timestamp": stamp,
            "Vmbridge-Nonce": nonce,
            "Vmbridge-Signature": sign(SECRET, "POST", target, stamp, nonce, text),
        }
        reply = requests.post(f"http://127.0.0.1:{port}{target}", data=text, headers=headers, timeout=30)
        if reply.status_code < 300 or reply.json().get("code") == "already_created":
            return True
        assert reply.status_code >= 500, reply.text
        return False

    def done(self) -> bool:
        """Nothing is open, and nobody waits for a mail."""
        self.keep_up()
        store = self.context.store
        return not store.operations_of(None, 1, ("running", "waiting")) and not store.column(
            "SELECT 1 FROM outbox WHERE sent_at IS NULL"
        )

    def mails(self) -> Counter[str]:
        """Service -> mails that WHMCS was asked to send to its client."""
        return Counter(p["id"] for p in self.api.posts if p["action"] == "SendEmail")

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.context.store.close()
        self.api.server.shutdown()
        self.api.server.server_close()
        self.pve.__exit__()


def main() -> None:
    """A worker that holds its leases for as long as it is told."""
    seconds = float(sys.argv[2])
    if seconds:
        operations.LEASE, operations.CALL_MARGIN = seconds, seconds / 10
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker.run(load_context(sys.argv[1]), stop)


if __name__ == "__main__":
    main()
