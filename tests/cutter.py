"""A way to PostgreSQL that breaks where a test says: in the middle of COMMIT, before or after it has arrived."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

BEFORE, AFTER = "before", "after"
COMMIT = b"COMMIT\x00"


class Cutter:
    """`with Cutter(folder of the server's socket, own folder) as way:` then `way.url(name)`. `arm(...)` cuts the next
    COMMIT's connection; `every` cuts each n-th, in turns before and after."""

    def __init__(self, server: Path, folder: Path, every: int = 0) -> None:
        self.server, self.folder, self.every = server, folder, every
        self.cuts: list[str] = []
        self._armed, self._seen = "", 0
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._shut = threading.Event()  # nobody comes through any more, also who was under way
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Cutter:
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._shut.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in list(self._ends):
            self._close(end)

    def url(self, name: str) -> str:
        return f"postgresql://vmbridge@localhost/{name}?host={quote(str(self.folder), safe='')}"

    def arm(self, where: str) -> None:
        self._armed = where

    def _cut(self) -> str:
        with self._lock:
            self._seen += 1
            where, self._armed = self._armed, ""
            if not where and self.every and self._seen % self.every == 0:
                where = BEFORE if len(self.cuts) % 2 else AFTER
            if where:
                self.cuts.append(where)
            return where

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.server / ".s.PGSQL.5432"))
            except OSError:  # it is being started anew
                client.close()
                server.close()
                continue
            threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        deaf = threading.Event()
        self._ends.add(client)
        if self._shut.is_set():
            self._close(client)
        back = threading.Thread(target=self._back, args=(client, server, deaf), daemon=True)
        back.start()
        self._out(client, server, deaf)
        back.join()
        self._ends.discard(client)
        client.close()
        server.close()

    def _out(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        with suppress(OSError):
            while not self._shut.is_set() and (data := client.recv(65536)):
                where = self._cut() if COMMIT in data else ""
                if where == BEFORE:
                    break
                if where == AFTER:
                    deaf.set()
                    self._close(client)
                    server.sendall(data)
                    self._close(server, socket.SHUT_WR)
                    return
                server.sendall(data)
        self._close(client)
        self._close(server)

    def _back(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):  # what it answers to a change that was cut is heard by nobody
                if not deaf.is_set():
                    client.sendall(data)
        self._close(client)

    @staticmethod
    def _close(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
        with suppress(OSError):
            end.shutdown(how)
