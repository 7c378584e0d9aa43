"""Workers that end themselves with SIGKILL at the Nth step border (0 = never). They are copies of a process that has
loaded all that a worker needs and done nothing yet: `Nest` starts it once, and each worker is a process of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from bridge import worker
from bridge.context import load_context
from bridge.operations import OWNER


class Worker:
    """One of the nest's, as `subprocess.Popen` has its own. By a descriptor: it is the nest's child, not ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._process = os.pidfd_open(pid)

    def _ended(self, seconds: float) -> bool:
        return bool(select.select([self._process], [], [], seconds)[0])

    def poll(self) -> str | None:
        return "ended" if self._ended(0) else None

    def wait(self, timeout: float = 40.0) -> None:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if not self._ended(0):
            signal.pidfd_send_signal(self._process, number)

    def close(self) -> None:
        os.close(self._process)


class Nest:
    """Ends with the process that made it: its input is closed then."""

    def __init__(self) -> None:
        here = Path(__file__).parent.parent
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([sys.executable, "-m", "tests.killable"], cwd=here, text=True, **pipes)

    def worker(self, config: Path, at: int, out: Path, owner: str) -> Worker:
        self._process.stdin.write(json.dumps([str(config), at, str(out), owner]) + "\n")
        self._process.stdin.flush()
        return Worker(int(self._process.stdout.readline()))


@cache
def nest() -> Nest:
    return Nest()


def main(config: str, at: int) -> None:
    context = load_context(config)
    lock, seen = threading.Lock(), 0
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        print("stopping", flush=True)

    signal.signal(signal.SIGTERM, end)

    def border(name: str) -> None:
        nonlocal seen
        with lock:
            seen += 1
            print(f"border {name}", flush=True)
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    worker.run(context, stop, border)


def hatch() -> None:
    """One worker for each line. Who has ended is reaped at the next one: whoever asked has its descriptor by then."""
    for line in sys.stdin:
        config, at, out, owner = json.loads(line)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        pid = os.fork()
        if pid == 0:
            for path, number in ((os.devnull, 0), (out, 1), (os.devnull, 2)):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
            os.environ[OWNER] = owner
            try:
                main(config, at)
                print("ended", flush=True)
            finally:
                os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    hatch()
