"""PostgreSQL for tests: one server for each process of the tests, and a database for each store, copied from one that
was migrated once. Without fsync: nothing of it is kept."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bridge.clock import Clock
from bridge.store import Store
from tests.configs import KEY

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=60")


def programs() -> Path | None:
    """Where Debian keeps the newest server's."""
    paths = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return paths[-1].parent if paths else None


def missing() -> str:
    """Why there can be none here; empty where there can."""
    if programs() is None:
        return "PostgreSQL is not installed (`make database`)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (`make setup`)"
    return "" if os.geteuid() or _other() else "PostgreSQL does not run as root, and there is no user postgres"


def _other() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


class Server:
    """In a folder of its own, reached by a socket there."""

    def __init__(self) -> None:
        bin_ = programs()
        assert bin_
        self.folder = Path(tempfile.mkdtemp(prefix="vmbridge-pg-", dir="/tmp"))
        self.user = _other() if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        data = self.folder / "data"
        self._run(
            bin_ / "initdb", "-D", data, "-U", "vmbridge", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        hba = data / "pg_hba.conf"
        hba.write_text(f"local all locked scram-sha-256\n{hba.read_text()}")
        options = [w for setting in FAST for w in ("-c", setting)]
        command = [str(bin_ / "postgres"), "-D", str(data), "-k", str(self.folder), *options]
        # it ends with the tests' process, however that ends; whoever is still connected is cut off. A line restarts it
        script = (
            'cd "$0"; start() { "$@" >>log 2>&1 & server=$!; }; start "$@";'
            ' while read -r _; do kill -INT $server; wait $server; start "$@"; done;'
            ' kill -INT $server; wait $server; rm -rf "$0"'
        )
        self.process = subprocess.Popen(
            ["sh", "-c", script, str(self.folder), *command], stdin=subprocess.PIPE, **self._as_user()
        )
        atexit.register(self.stop)
        self._wait()
        self.made = 0
        self._template()

    def _wait(self) -> None:
        ready = programs()
        assert ready
        self._run(ready / "pg_isready", "-h", self.folder, "-t", "60", "-U", "vmbridge", patiently=True)

    def restart(self) -> None:
        """Whoever is connected is cut off, what is not committed is lost."""
        before = (self.folder / "data/postmaster.pid").read_text().split()[0]
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        clock, lock = Clock(), self.folder / "data/postmaster.pid"
        while not lock.exists() or (lock.read_text().split() or [before])[0] == before:
            clock.sleep(0.02)
        self._wait()

    def _as_user(self) -> dict[str, Any]:
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def _run(self, *command: object, patiently: bool = False) -> None:
        clock = Clock()
        until = clock.monotonic() + 60
        while True:
            done = subprocess.run(list(map(str, command)), capture_output=True, cwd=self.folder, **self._as_user())
            if done.returncode == 0:
                return
            if not patiently or clock.monotonic() > until:
                raise RuntimeError(done.stderr.decode() or done.stdout.decode())
            clock.sleep(0.05)

    def url(self, name: str) -> str:
        return f"postgresql://vmbridge@localhost/{name}?host={quote(str(self.folder))}"

    def command(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(sql.encode())

    def _template(self) -> None:
        self.command("CREATE DATABASE made")
        store = Store(self.url("made"), KEY, Clock())
        store.migrate()
        store.close()

    def database(self) -> str:
        """The address of a fresh one, migrated."""
        self.made += 1
        self.command(f"CREATE DATABASE s{self.made} TEMPLATE made")
        return self.url(f"s{self.made}")

    def copy(self, url: str) -> str:
        """The address of a copy, also for a process that was forked from this one. Nobody may be connected to it."""
        self.made += 1
        old, new = url.partition("?")[0].rpartition("/")[2], f"s{os.getpid()}_{self.made}"
        self.command(f"CREATE DATABASE {new} TEMPLATE {old}")
        return self.url(new)

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def server() -> Server:
    return Server()
