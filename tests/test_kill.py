"""Real workers killed with `kill -9`, over real HTTPS: at every step border of create and terminate; with `-m matrix`
also before and after every upstream call of all four billing verbs."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from bridge import config as config_module
from bridge import services
from bridge.clock import Clock
from bridge.context import open_context
from bridge.services import Caller
from tests.configs import raw_config
from tests.killable import Worker, nest
from tests.pve.cluster import default_cluster
from tests.pve.http import HttpsServer
from tests.stores import place

VERBS = ("create", "suspend", "unsuspend", "terminate")


class WhmcsApi:
    """Takes API posts and says success."""

    def __init__(self) -> None:
        api = self
        self.posts: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
                api.posts.append({k: v[0] for k, v in parse_qs(raw).items()})
                body = b'{"result": "success"}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def mails(self) -> int:
        return sum(p["action"] == "SendEmail" for p in self.posts)


class Rig:
    """One installation with real processes. `run` lets a worker work until nothing is open."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.folder = Clock(), folder
        self.cluster = default_cluster(self.clock, bulk_age=0.05)
        self.cluster.durations = dict.fromkeys(self.cluster.durations, 0.05)
        for vm in self.cluster.vms.values():
            vm.agent_after = 0.0
        self.pve = HttpsServer(self.cluster, folder)
        self.pve.__enter__()
        self.api = WhmcsApi()
        raw = raw_config(worker={"threads": 2})
        raw["servers"]["pve1"] |= {"endpoint": self.pve.url, "ca_file": str(self.pve.ca_file)}
        raw["whmcs"]["main"]["system_url"] = self.api.url
        self.path = folder / "config.toml"
        self.path.write_text("\n".join(_toml("", raw)))
        place(folder / "vmbridge.db")
        self.context = open_context(config_module.load(self.path))
        self.worker: Worker | None = None

    def order(self, verb: str) -> None:
        services.run(
            verb,
            1,
            "pve1",
            {
                "configoption1": "kvm-s",
                "userid": 7,
                "domain": "a.example.com",
                "password": "Secret-1",
                "status": "Pending" if verb == "create" else "Active",
            },
            Caller("main"),
            self.context.store,
            self.context.config,
            self.context.drivers,
        )

    def start(self, at: int = 0) -> None:
        if self.worker:
            self.worker.close()
        self.worker = nest().worker(self.path, at, self.folder / "borders.log", "killed")

    def borders(self) -> list[str]:
        lines = (self.folder / "borders.log").read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith("border ")]

    def open(self) -> bool:
        store = self.context.store
        return bool(store.operations_of(None, 5, ("running", "waiting"))) or any(
            e["sent_at"] is None for e in store.events()
        )

    def run(self, at: int = 0) -> bool:
        """True when the worker was killed on the way; it is then followed by another, as a supervisor does."""
        killed, pause, end = False, threading.Event(), self.clock.monotonic() + 450
        self.start(at)
        while self.open():
            assert self.worker
            if self.worker.poll() is not None:
                killed = True
                self.context.store.free_owner("killed")
                self.context.store.change("UPDATE outbox SET lease_until = 0")
                self.start()
            assert self.clock.monotonic() < end, self.context.store.operations_of(None, 3)
            pause.wait(0.05)
        if self.worker:
            self.worker.terminate()
            self.worker.wait()
        return killed

    def outcome(self) -> Any:
        vms = [
            {
                "vmid": v.vmid,
                "status": v.status,
                "ipsets": v.ipsets,
                "disk": v.config.get("scsi0"),
                "cores": v.config.get("cores"),
                "onboot": v.config.get("onboot"),
            }
            for v in self.cluster.vms.values()
            if not v.template
        ]
        taken = [(a["address"], a["service"]) for a in self.context.store.taken_addresses()]
        return vms, taken, [o.state.value for o in self.context.store.operations_of(None)], sorted(self.cluster.volumes)

    def close(self) -> None:
        if self.worker:
            self.worker.kill()
            self.worker.wait()
            self.worker.close()
        self.context.store.close()
        self.api.server.shutdown()
        self.api.server.server_close()
        self.pve.__exit__()


def _toml(prefix: str, table: dict[str, Any]) -> Iterator[str]:
    """Enough TOML for the test configuration."""
    if prefix:
        yield f"[{prefix}]"
    for key, value in table.items():
        if not isinstance(value, dict):
            inline = isinstance(value, list) and value and isinstance(value[0], dict)
            text = (
                ", ".join("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in item.items()) + "}" for item in value)
                if inline
                else ""
            )
            yield f"{key} = [{text}]" if inline else f"{key} = {json.dumps(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml(f"{prefix}.{key}" if prefix else key, value)


def prepared(folder: Path, verb: str) -> Rig:
    rig = Rig(folder)
    for before in (
        ("create",) if verb in ("suspend", "terminate") else ("create", "suspend") if verb == "unsuspend" else ()
    ):
        rig.order(before)
        rig.run()
    (rig.folder / "borders.log").unlink(missing_ok=True)
    rig.cluster.calls.clear()
    rig.api.posts.clear()
    rig.order(verb)
    return rig


def undisturbed(folder: Path, verb: str) -> tuple[Any, list[str], int, int]:
    rig = prepared(folder, verb)
    try:
        rig.run()
        return rig.outcome(), rig.borders(), len(rig.cluster.calls), rig.api.mails()
    finally:
        rig.close()


@pytest.mark.parametrize("verb", ["create", "terminate"])
def test_kill_9_at_every_border(verb: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    wanted, borders, _, mails = undisturbed(tmp_path_factory.mktemp("ref"), verb)
    assert len(borders) >= 8
    for at in range(1, len(borders) + 1):
        rig = prepared(tmp_path_factory.mktemp("kill"), verb)
        try:
            assert rig.run(at), borders[at - 1]
            assert rig.outcome() == wanted, borders[at - 1]
            # the one place where a mail may come twice: WHMCS has answered and the answer is not recorded
            assert rig.api.mails() == mails + (borders[at - 1] == "event.ready.answered"), borders[at - 1]
        finally:
            rig.close()


@pytest.mark.matrix
@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("verb", VERBS)
def test_kill_9_around_every_call(verb: str, phase: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    wanted, _, calls, mails = undisturbed(tmp_path_factory.mktemp("ref"), verb)
    for at in range(1, calls + 1):
        rig = prepared(tmp_path_factory.mktemp("kill"), verb)
        done: list[str] = []

        def kill(
            when: str, index: int, method: str, path: str, rig: Rig = rig, at: int = at, done: list[str] = done
        ) -> None:
            if when == phase and index >= at and not done and rig.worker and rig.worker.poll() is None:
                done.append(f"{method} {path}")
                os.kill(rig.worker.pid, signal.SIGKILL)

        rig.cluster.on_call = kill
        try:
            rig.run()
            assert rig.outcome() == wanted, (phase, at, done)
            assert rig.api.mails() == mails
        finally:
            rig.close()
