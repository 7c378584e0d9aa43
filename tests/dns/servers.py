"""Real name servers of Debian, each on ports of its own on 127.0.0.1 and in a folder of its own. Tests are skipped
where they are not installed (`make nameservers`)."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

KEY = "pdns-api-key-0123456789"
TSIG_NAME, TSIG_SECRET = "vmbridge", base64.b64encode(b"a secret of thirty-two bytes ...").decode()
PDNS, NAMED, RNDC = (Path(f"/usr/sbin/{p}") for p in ("pdns_server", "named", "rndc"))
DIG = Path("/usr/bin/dig")
SCHEMAS = (
    Path("/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql"),
    Path("/usr/share/dbconfig-common/data/pdns-backend-sqlite3/install/sqlite3"),
)
PATIENCE = 30.0


def has_pdns() -> bool:
    return PDNS.exists() and DIG.exists() and any(s.exists() for s in SCHEMAS)


needs_pdns = pytest.mark.skipif(not has_pdns(), reason="pdns-server is not installed")
needs_named = pytest.mark.skipif(not NAMED.exists() or not DIG.exists(), reason="bind9 is not installed")


def free_port() -> int:
    """Free for TCP and UDP, and below those that the system gives to whoever calls out."""
    while True:
        port = random.randrange(12000, 32000)
        with suppress(OSError), socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port


def dig(port: int, name: str, kind: str) -> list[str]:
    """What the server itself answers, sorted, without last dots; an address's reverse name for PTR."""
    asked = ["-x", name] if kind == "PTR" and not name.endswith(".arpa") else [name, kind]
    done = subprocess.run(
        [str(DIG), "@127.0.0.1", "-p", str(port), "+short", "+norecurse", "+tries=1", "+time=5", *asked],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(line.rstrip(".").strip('"') for line in done.stdout.split("\n") if line)


class Server:
    """A name server as a process of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Also after `kill`."""
        if self._process:
            self._process.wait(10)
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        log.close()
        tries = 0
        while not self.answers():
            tries += 1
            if self._process.poll() is not None or tries > PATIENCE * 10:
                raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])
            threading.Event().wait(0.1)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def kill(self, while_asked: float = 0.0) -> None:
        """`kill -9`. With seconds it is halted at once and killed after them: what is asked meanwhile is taken by the
        machine and never read."""
        process = self._process
        assert process
        if while_asked:
            process.send_signal(signal.SIGSTOP)
            threading.Timer(while_asked, process.kill).start()
        else:
            process.kill()
            process.wait(10)

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def dig(self, name: str, kind: str = "PTR") -> list[str]:
        return dig(self.port, name, kind)

    def proofs(self, name: str) -> list[str]:
        """What a signed zone says in proof that a name is not there, line by line."""
        asked = [str(DIG), "@127.0.0.1", "-p", str(self.port), "+dnssec", "+noall", "+authority", name, "A"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.replace("\t", " ").split("\n")


class PowerDns(Server):
    """pdns_server with SQLite and its HTTP API."""

    def __init__(self, folder: Path, *zones: str) -> None:
        super().__init__(folder)
        self.api, self._zones = free_port(), zones

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.api}"

    def settings(self, **more: Any) -> dict[str, Any]:
        """Of a `[dns]` table."""
        return {"provider": "powerdns", "endpoint": self.endpoint, "api_key": KEY, **more}

    def command(self) -> list[str]:
        database = self.folder / "pdns.sqlite3"
        if not database.exists():
            from sqlite_utils import Database

            Database(database).conn.executescript(next(s for s in SCHEMAS if s.exists()).read_text())
        (self.folder / "pdns.conf").write_text(
            f"""launch=gsqlite3
gsqlite3-database={database}
gsqlite3-pragma-synchronous=0
gsqlite3-pragma-foreign-keys=1
gsqlite3-dnssec=yes
local-address=127.0.0.1
local-port={self.port}
socket-dir={self.folder}
api=yes
api-key={KEY}
webserver=yes
webserver-address=127.0.0.1
webserver-port={self.api}
webserver-allow-from=127.0.0.1
cache-ttl=0
negquery-cache-ttl=0
query-cache-ttl=0
zone-cache-refresh-interval=0
guardian=no
daemon=no
"""
        )
        return [str(PDNS), f"--config-dir={self.folder}"]

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.endpoint}/api/v1/servers/localhost{path}"
            return session.request(method, url, headers={"X-API-Key": KEY}, timeout=10, **more)

    def answers(self) -> bool:
        try:
            return self.call("GET", "").status_code == 200
        except requests.exceptions.ConnectionError:
            return False

    def start(self) -> None:
        super().start()
        zones, self._zones = self._zones, ()
        for zone in zones:
            self.add(zone)

    def tables(self, *zones: str) -> str:
        """The zones as a configuration has them."""
        lines = []
        for zone in zones:
            lines += [f'[dns."{zone}"]', *(f"{k} = {json.dumps(v)}" for k, v in self.settings().items())]
        return "\n".join(lines) + "\n"

    def add(self, zone: str, kind: str = "Native", **more: Any) -> None:
        servers = [] if kind == "Slave" else ["ns1.example.net."]
        made = self.call("POST", "/zones", json={"name": f"{zone}.", "kind": kind, "nameservers": servers, **more})
        assert made.status_code == 201, made.text


class Bind(Server):
    """named, unprivileged, whose zones take updates signed with one key."""

    def __init__(self, folder: Path, *zones: str, copies: tuple[str, ...] = ()) -> None:
        """`copies`: zones that another server keeps, which is not there."""
        super().__init__(folder)
        self._zones, self._copies, self._control = zones, copies, free_port()

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "provider": "rfc2136",
            "server": "127.0.0.1",
            "port": self.port,
            "key_name": TSIG_NAME,
            "key_secret": TSIG_SECRET,
            **more,
        }

    def command(self) -> list[str]:
        text = f"""options {{ directory "{self.folder}"; listen-on port {self.port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file "{self.folder}/pid"; session-keyfile "{self.folder}/session.key"; recursion no; dnssec-validation no;
  empty-zones-enable no; }};
controls {{ inet 127.0.0.1 port {self._control} allow {{ 127.0.0.1; }} keys {{ "{TSIG_NAME}"; }}; }};
key "{TSIG_NAME}" {{ algorithm hmac-sha256; secret "{TSIG_SECRET}"; }};
key "stranger" {{ algorithm hmac-sha256; secret "{TSIG_SECRET}"; }};
"""
        for n, zone in enumerate(self._zones):
            file = self.folder / f"zone{n}"
            if not file.exists():
                file.write_text(
                    "$TTL 60\n@ SOA ns1.example.net. host.example.net. 1 3600 600 86400 60\n@ NS ns1.example.net.\n"
                )
            text += f'zone "{zone}" {{ type primary; file "{file}"; allow-update {{ key "{TSIG_NAME}"; }}; }};\n'
        for zone in self._copies:
            text += (
                f'zone "{zone}" {{ type secondary; primaries {{ 127.0.0.1 port {free_port()}; }}; file "copy"; }};\n'
            )
        (self.folder / "named.conf").write_text(text)
        return [str(NAMED), "-g", "-c", str(self.folder / "named.conf"), "-p", str(self.port), "-n", "1"]

    def rndc(self, *words: str) -> None:
        conf = self.folder / "rndc.conf"
        conf.write_text(
            f'''key "{TSIG_NAME}" {{ algorithm hmac-sha256; secret "{TSIG_SECRET}"; }};
options {{ default-key "{TSIG_NAME}"; default-server 127.0.0.1; default-port {self._control}; }};'''
        )
        subprocess.run([str(RNDC), "-c", str(conf), *words], check=True, capture_output=True)

    def answers(self) -> bool:
        done = subprocess.run(
            [str(DIG), "@127.0.0.1", "-p", str(self.port), "+tries=1", "+time=1", self._zones[0], "SOA"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0


def until(truth: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `truth` returns once it is true."""
    for _ in range(int(seconds * 10)):
        if value := truth():
            return value
        threading.Event().wait(0.1)
    raise AssertionError(f"not within {seconds:.0f} s; pid {os.getpid()}")
