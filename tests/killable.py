"""A worker that ends itself with SIGKILL at the Nth step border: `python -m tests.killable CONFIG N` (0 = never)."""

from __future__ import annotations

import os
import signal
import sys
import threading

from bridge import worker
from bridge.context import load_context


def main() -> None:
    context, at = load_context(sys.argv[1]), int(sys.argv[2])
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


if __name__ == "__main__":
    main()
