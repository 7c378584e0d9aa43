"""The HTTP client: proxmoxer with our time-outs, connection rules and error mapping. No knowledge of machines."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

from bridge.errors import Transient, Unknown, Unreachable
from drivers.base import before_change, time_left
from drivers.proxmox.errors import from_reply

logging.getLogger("proxmoxer").setLevel(logging.WARNING)  # its INFO lines carry request bodies

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0  # PVE's own proxy gives up after 30 s; a mutating call must end before our lease does
CALLS_PER_NODE = 3  # pveproxy and pvedaemon have three workers each
NODE = re.compile(r"^nodes/([^/]+)")


class Body(bytes):
    """An answer that proxmoxer's log line, made for every call even when nobody logs, neither shows nor spends time on."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def _unshown(response: requests.Response, **_: Any) -> None:
    response._content = Body(response.content)


class Api:
    """Calls of one server. Safe for threads: one session per thread and kind of call."""

    def __init__(self, settings: Mapping[str, Any], prepare: Callable[[requests.Session], None] | None = None) -> None:
        self._settings, self._prepare = settings, prepare
        self._local = threading.local()
        self._nodes: dict[str, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()

    def _client(self, change: bool) -> ProxmoxAPI:
        name = "writer" if change else "reader"
        found = getattr(self._local, name, None)
        if found is None:
            host, port, path = self._address()
            user, _, token = self._settings["token_id"].partition("!")
            found = ProxmoxAPI(
                host,
                port=port,
                path_prefix=path or None,
                user=user,
                token_name=token,
                token_value=self._settings["token_secret"],
                verify_ssl=self._settings.get("ca_file") or True,
                timeout=READ_TIMEOUT,
            )
            session = found._store["session"]
            session.trust_env = False
            session.hooks["response"].append(_unshown)
            if change:  # an idle connection that dies under a POST leaves its fate unknown
                session.headers["Connection"] = "close"
            if self._prepare:
                self._prepare(session)
            setattr(self._local, name, found)
        return found

    @contextmanager
    def _gate(self, path: str, wait: float | None) -> Iterator[None]:
        """One of the node's places; `wait` seconds for it at most. Raises Transient."""
        node = NODE.match(path)
        if not node:
            yield
            return
        with self._lock:
            places = self._nodes.setdefault(node.group(1), threading.BoundedSemaphore(CALLS_PER_NODE))
        if not places.acquire(timeout=wait):
            raise Transient(detail=f"all {CALLS_PER_NODE} places of {node.group(1)} were taken")
        try:
            yield
        finally:
            places.release()

    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"PVEAPIToken={self._settings['token_id']}={self._settings['token_secret']}"}

    def _address(self) -> tuple[str, int, str]:
        """(host, port, path of a proxy without outer slashes) of the endpoint."""
        url = urlsplit(self._settings["endpoint"])
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else str(url.hostname)
        return host, url.port or 8006, url.path.strip("/")

    def socket_url(self, path: str) -> str:
        """A websocket of the same host, through the same proxy, that the calls go to."""
        host, port, prefix = self._address()
        return f"wss://{host}:{port}/{f'{prefix}/' if prefix else ''}api2/json/{path}"

    def active_task(self, node: str, vm_id: str, kind: str) -> str:
        """A task of ours on a machine that still runs; empty when there is none."""
        found = self.get(f"nodes/{node}/tasks", source="active", vmid=int(vm_id), typefilter=kind)
        return str(found[0]["upid"]) if found else ""

    def get(self, path: str, /, **params: Any) -> Any:
        try:
            return self._call("get", path, params, change=False)
        except Unknown as e:  # a read has no effect: nothing to look up
            raise Transient(detail=e.detail) from None

    def post(self, path: str, **params: Any) -> Any:
        return self._call("post", path, params, change=True)

    def put(self, path: str, **params: Any) -> Any:
        return self._call("put", path, params, change=True)

    def delete(self, path: str, **params: Any) -> Any:
        return self._call("delete", path, params, change=True)

    def _call(self, method: str, path: str, params: dict[str, Any], change: bool) -> Any:
        """Hyphens in parameter names are written as `__`. Raises the errors of drivers.proxmox.errors."""
        timeout, connect, wait = READ_TIMEOUT, CONNECT_TIMEOUT, None
        guard = before_change.get() if change else None
        if guard:
            timeout = min(timeout, guard())
        left = time_left.get()
        if left:
            wait = left()
            if wait <= 0:
                raise Transient(detail="the time for this read is over")
            connect = min(connect, wait / 3)
            timeout = min(timeout, wait - connect)  # both together
        values = {k.replace("__", "-"): _plain(v) for k, v in params.items() if v is not None}
        client = self._client(change)
        client._backend.auth.timeout = (connect, max(1.0, timeout))
        try:
            with self._gate(path, wait):
                return getattr(client(path), method)(**values)
        except ResourceException as e:
            raise from_reply(e.status_code, str(e.content).split(" - {")[0], e.errors) from None
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError) as e:
            raise Unreachable(detail=_named(e)) from None
        except requests.exceptions.ConnectionError as e:
            if "NewConnectionError" in repr(e) or "Failed to establish" in str(e):
                raise Unreachable(detail=_named(e)) from None
            raise Unknown(detail=_named(e)) from None
        except requests.exceptions.RequestException as e:
            raise Unknown(detail=_named(e)) from None


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _named(error: Exception) -> str:
    """The kind of a transport error; its text may hold URLs, so only its last part is kept."""
    last = str(error).rsplit(":", 1)[-1].strip(" )'\"")
    return f"{type(error).__name__}: {last[:120]}"
