"""The whole system as processes on this machine: simulated back ends over HTTPS, `vmbridge serve`, WHMCS-like host.
Used by the demo and by the end-to-end tests. Only processes started here are ended, by their id."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
from cryptography.fernet import Fernet

from bridge.clock import Clock
from bridge.permissions import ALWAYS
from drivers.folder import load
from tests.front import Front
from tests.hcloud.http import project_server
from tests.hcloud.project import TOKEN, Project
from tests.pve.cluster import Cluster, default_cluster
from tests.pve.http import HttpsServer

ROOT = Path(__file__).parent.parent
SHIM_SECRET, API_SECRET = "shim-<secret>-'&amp;-&-0123", "api-secret-for-tests-4567"

PATIENCE = 5  # a machine that does other work beside the tests
CONFIG = """
[store]
{store}
secret_key = "{key}"
[web]
listen = "127.0.0.1:{web}"
workers = 2
threads = 8
costly_per_hour = 60
power_per_hour = 1000
edits_per_hour = 1000
public_url = "{public}"
[console]
listen = "127.0.0.1:{console}"
[whmcs.main]
system_url = "http://127.0.0.1:{host}"
api_identifier = "api-id"
api_secret = "{api}"
keys = [{{ id = "main-1", secret = "{shim}" }}]
[servers.pve1]
driver = "proxmox"
endpoint = "https://127.0.0.1:{pve}"
token_id = "vmbridge@pve!bridge"
token_secret = "sim-secret"
ca_file = "{ca}"
vm_ids = "20000-29999"
backup_storage = "nfs-backup"
iso_storage = "local"
[plans.kvm-s]
server = "pve1"
cores = 2
ram_mib = 2048
disk_gib = 20
rate_mbit = 200
storage = "local-lvm"
templates = ["debian-12", "ubuntu-24.04"]
pools = ["public-v4", "public-v6"]
additional_disk_gib = 40
disk_read_mib_s = 200
disk_write_mib_s = 100
additional_disk_write_iops = 500
extra_ipv4 = 1
snapshots = 3
snapshot_lifetime_h = 72
backups = 7
allow = ["console", "charts", "reinstall", "snapshots", "backups", "reset_password", "iso", "firewall", "rdns"]
ptr_name = "{{ip_dashed}}.static.example.com"
[pools.public-v4]
ranges = ["203.0.113.10-203.0.113.250"]
prefix = 24
gateway = "203.0.113.1"
dns = ["9.9.9.9"]
vlan = 40
[pools.public-v6]
ranges = ["2001:db8:40::10-2001:db8:40::ffff"]
prefix = 64
gateway = "2001:db8:40::1"
vlan = 40
"""
HCLOUD_CONFIG = """
[servers.hz1]
driver = "hetzner"
endpoint = "https://127.0.0.1:{port}/v1"
token = "{token}"
ca_file = "{ca}"
[plans.cloud-s]
server = "hz1"
cores = 2
ram_mib = 4096
disk_gib = 40
server_type = "cx23"
location = "nbg1"
templates = ["debian-12", "ubuntu-24.04"]
snapshots = 3
snapshot_lifetime_h = 72
backups = 7
manual_url = "https://docs.example.com/cloud"
allow = [{allow}]
"""
CLOUD_M = """
[plans.cloud-m]
server = "hz1"
cores = 4
ram_mib = 8192
disk_gib = 80
server_type = "cx33"
location = "nbg1"
templates = ["debian-12", "ubuntu-24.04"]
snapshots = 3
backups = 7
allow = ["console", "charts", "reinstall", "snapshots", "backups", "reset_password", "rdns", "iso"]
"""  # a bigger plan, for `System(more=...)`
CLOUD_WALL = """
[plans.cloud-wall]
server = "hz1"
cores = 2
ram_mib = 4096
disk_gib = 40
server_type = "cx23"
location = "nbg1"
templates = ["debian-12", "ubuntu-24.04"]
snapshots = 3
snapshot_lifetime_h = 72
backups = 7
manual_url = "https://docs.example.com/cloud"
own_firewall = true
allow = ["console", "charts", "reinstall", "snapshots", "backups", "reset_password", "rdns", "iso", "firewall"]
"""  # with a firewall of the customer's own
CLOUD = {
    "server": 2,
    "configoption1": "cloud-s",
}  # of an order, when the system has a project: WHMCS's second server record


ISOS = (  # on both nodes
    "debian-12.5.0-amd64-netinst.iso",
    "Debian-13.1.0-amd64-netinst.iso",
    "systemrescue-11.00-amd64.iso",
    "virtio-win-0.1.271.iso",
    "memtest.iso",
)
WHMCS_NAMES = ("id", "modop", "a", "token")  # of a form's fields, those that WHMCS itself reads


def ours(action: str, **form: str) -> dict[str, str]:
    """A form as our pages send it: WHMCS's fields as they are, ours in the array that is ours; `action` is what it asks
    for. A field that is called `action` or `service` itself is given as `vmb[action]`."""
    values = {"do": action, **form}
    return {n if n in WHMCS_NAMES or n.startswith("vmb[") else f"vmb[{n}]": v for n, v in values.items()}


def free_port() -> int:
    """Below those that the system gives to whoever calls out, so that nobody gets it before its server is up."""
    while True:
        port = random.randrange(12000, 32000)
        with suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port


class System:
    """`with System(folder) as s:` everything runs; `s.module(...)` acts as WHMCS does."""

    def __init__(
        self,
        folder: Path | None = None,
        speed: float = 1.0,
        latency: float = 0.0,
        border_kill: str = "",
        public: bool = False,
        hcloud: Project | None = None,
        more: str = "",
        url: str = "",
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="vmbridge-"))
        self.clock, self.processes, self.logs = (
            Clock(),
            {},
            {},
        )  # type: tuple[Clock, dict[str, subprocess.Popen[bytes]], dict[str, Any]]
        self.cluster: Cluster = default_cluster(self.clock, bulk_age=2.0 * speed)
        for name in ISOS:
            self.cluster.add_iso(name)
        self.cluster.durations = {k: v * speed for k, v in self.cluster.durations.items()}
        self.pve = HttpsServer(self.cluster, self.folder, latency=latency)
        self.hcloud, self.cloud = hcloud, None  # type: Project | None, HttpsServer | None
        if hcloud:
            hcloud.durations = {k: v * speed for k, v in hcloud.durations.items()}
            (self.folder / "hcloud").mkdir(exist_ok=True)
            self.cloud = project_server(hcloud, self.folder / "hcloud")
        self.web, self.host, self.console = free_port(), free_port(), free_port()
        self.front = Front(self.web, self.console) if public else None
        self.key = Fernet.generate_key().decode()
        self.config = self.folder / "config.toml"
        self.border_kill, self.more, self.url = border_kill, more, url

    def __enter__(self) -> System:
        self.config.write_text(
            CONFIG.format(
                store=f'url = "{self.url}"' if self.url else 'path = "vmbridge.db"',
                key=self.key,
                web=self.web,
                host=self.host,
                console=self.console,
                public=self.front.url if self.front else "",
                api=API_SECRET,
                shim=SHIM_SECRET,
                pve=self.pve.port,
                ca=self.pve.ca_file,
            )
        )
        if self.cloud:
            has = sorted(c for c in load("hetzner").capabilities - ALWAYS)
            with self.config.open("a") as f:
                f.write(
                    HCLOUD_CONFIG.format(
                        port=self.cloud.port, token=TOKEN, ca=self.cloud.ca_file, allow=", ".join(f'"{c}"' for c in has)
                    )
                )
        with self.config.open("a") as f:
            f.write(self.more)
        (self.folder / "host").mkdir(exist_ok=True)
        record = {
            "hostname": "127.0.0.1",
            "port": str(self.web),
            "secure": False,
            "username": "main-1",
            "password": SHIM_SECRET,
        }
        (self.folder / "host/host.json").write_text(
            json.dumps(
                {
                    "server": {**record, "accesshash": "pve1"},
                    "servers": [{**record, "accesshash": "hz1"}] if self.cloud else [],
                    "api_identifier": "api-id",
                    "api_secret": API_SECRET,
                }
            )
        )
        self.pve.__enter__()
        if self.cloud:
            self.cloud.__enter__()
        if self.front:
            self.front.__enter__()
        try:
            self.start(
                "host",
                [
                    "php",
                    "-d",
                    "display_errors=1",
                    "-S",
                    f"127.0.0.1:{self.host}",
                    str(ROOT / "tests/whmcs_host/router.php"),
                ],
                VMBRIDGE_HOST_STATE=str(self.folder / "host"),
                PHP_CLI_SERVER_WORKERS="4",
            )
            self.serve()
            self.wait_for(lambda: requests.get(f"http://127.0.0.1:{self.host}/health", timeout=5).text == "ok", 30)
            self.wait_for(lambda: requests.get(f"http://127.0.0.1:{self.web}/health", timeout=5).status_code == 200, 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *args: Any) -> None:
        for name in ("serve", "host"):
            process = self.processes.get(name)
            if process and process.poll() is None:
                if name == "host":
                    os.killpg(process.pid, signal.SIGTERM)  # PHP's server does not end its own workers
                else:
                    process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self.logs.values():
            log.close()
        if self.front:
            self.front.__exit__()
        if self.cloud:
            self.cloud.__exit__()
        self.pve.__exit__()

    def serve(self) -> None:
        self.start("serve", [sys.executable, "-m", "bridge.cli", "serve", "--config", str(self.config)])

    def start(self, name: str, command: list[str], **env: str) -> None:
        if name in self.logs:
            self.logs[name].close()
        self.logs[name] = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **env, "PYTHONPATH": str(ROOT)},
            stdout=self.logs[name],
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_for(self, condition: Any, seconds: float, what: str = "") -> Any:
        """Ask until the condition holds. Raises TimeoutError with the end of the bridge's log.

        So many seconds on an idle machine, `PATIENCE` times as many on a busy one, which only a failure waits for;
        less than ten are to pass without it."""
        end = self.clock.monotonic() + seconds * (PATIENCE if seconds >= 10 else 1)
        pause = threading.Event()
        while True:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
            try:
                value = condition()
            except requests.exceptions.ConnectionError:
                value = None
            if value:
                return value
            if self.clock.monotonic() > end:
                raise TimeoutError(
                    f"{what or 'the condition'} did not come true in {seconds:.0f} s\n{self.log('serve')}"
                )
            pause.wait(0.1)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")[-4000:]

    # -- WHMCS ------------------------------------------------------------------------------------
    def post(self, path: str, value: Any) -> Any:
        reply = requests.post(f"http://127.0.0.1:{self.host}{path}", json=value, timeout=60)
        try:
            return reply.json()
        except ValueError:
            raise RuntimeError(reply.text[:2000]) from None

    def order(self, service: int, **wish: Any) -> str:
        self.post("/test/order", {"serviceid": service, **wish})
        return self.module(service, "CreateAccount")

    def module(self, service: int, action: str) -> str:
        return str(self.post("/test/module", {"serviceid": service, "action": action})["result"])

    def submit(self, service: int, capability: str, action: str = "", **form: str) -> requests.Response:
        """A form of the customer's pages, posted as a browser does."""
        url = f"http://127.0.0.1:{self.host}/clientarea.php?action=productdetails"
        token = requests.get(f"http://127.0.0.1:{self.host}/test/token", timeout=10).text
        given = {"id": str(service), "modop": "custom", "a": "submit", "token": token, "capability": capability}
        values = ours(action, **{**given, "confirmed": "1", **form})
        return requests.post(url, data=values, timeout=30, allow_redirects=False)

    def state(self) -> Any:
        return requests.get(f"http://127.0.0.1:{self.host}/test/log", timeout=10).json()

    def page(self, service: int) -> str:
        return f"http://127.0.0.1:{self.host}/clientarea.php?action=productdetails&id={service}"

    def operation(self, service: int) -> dict[str, Any]:
        """The newest operation as the command line shows it."""
        from bridge import services
        from bridge.store import Store

        store = Store(self.url or self.folder / "vmbridge.db", self.key, self.clock)
        try:
            record = store.find_service("main", service)
            if record is None:
                return {}
            newest = store.operations_of(record.id, 1)
            return services.operation_view(newest[0], record, store) if newest else {}
        finally:
            store.close()
