"""The HTTP client: proxmoxer with our time-outs, connection rules and error mapping. No knowledge of machines."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import proxmoxer.backends.https  # loaded by the library only once it is used, and then by several threads
import requests
from proxmoxer import ProxmoxAPI
from proxmoxer.core import ResourceException

from bridge.errors import Transient
from drivers import reads
from drivers.answers import bound
from drivers.calls import calling
from drivers.http import READ_TIMEOUT, Peer, Rubbish, fault, reading, refuse_redirect, time_outs
from drivers.proxmox import lines, replies
from drivers.proxmox.errors import from_reply

logging.getLogger("proxmoxer").setLevel(logging.WARNING)  # its INFO lines carry request bodies

CALLS_PER_NODE = 3  # pveproxy and pvedaemon have three workers each
NODE = re.compile(r"^nodes/([^/]+)")
CALL = re.compile(r"(UPID:|vzdump)[^/]*")  # what makes a path long in a message
FIREWALL = re.compile(r"^nodes/[^/]+/qemu/\d+/firewall/")
CONFIG = re.compile(r"^nodes/[^/]+/qemu/\d+/(config|pending)\Z")


class Body(bytes):
    """An answer that proxmoxer's log line, made for every call even when nobody logs, neither shows nor spends time
    on."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def _unshown(response: requests.Response, **_: Any) -> None:
    response._content = Body(response.content)


class Strict(proxmoxer.backends.https.JsonSerializer):  # type: ignore[misc]
    """The library hands on what is no JSON as data, and fails on JSON of another shape."""

    def loads(self, response: requests.Response) -> Any:
        """`data` of a good reply. Raises Rubbish for any other."""
        try:
            body = reading(json.loads(response.content), response.status_code)
        except ValueError:
            raise Rubbish(f"HTTP {response.status_code} without JSON") from None
        if response.status_code != 200 or "data" not in body:
            raise Rubbish(f"HTTP {response.status_code} without data")
        return body["data"]

    def loads_errors(self, response: requests.Response) -> Any:
        """`errors` of a bad reply: parameter -> what is wrong with it; None without."""
        try:
            body = json.loads(response.content)
        except ValueError:
            return None
        return body.get("errors") if isinstance(body, dict) else None


class Api:
    """Calls of one server. Safe for threads: one session per thread and kind of call."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        prepare: Callable[[requests.Session], None] | None = None,
        server: str = "",
    ) -> None:
        self._settings, self._prepare, self.server = settings, prepare, server
        where = f"[servers.{server}]" if server else "the server's"
        self._peer = Peer("the Proxmox server", settings["endpoint"], f"{where} endpoint", f"{where} ca_file")
        self._local = threading.local()
        self._nodes: dict[str, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()

    def _client(self, change: bool) -> ProxmoxAPI:
        """This thread's client, one for reads and one for changes: only reads are sent again by the connection
        itself."""
        name = "writer" if change else "reader"
        client = getattr(self._local, name, None)
        if client is None:
            host, port, path = self._address()
            user, _, token = self._settings["token_id"].partition("!")
            client = ProxmoxAPI(
                host,
                port=port,
                path_prefix=path or None,
                user=user,
                token_name=token,
                token_value=self._settings["token_secret"],
                verify_ssl=self._settings.get("ca_file") or True,
                timeout=READ_TIMEOUT,
            )
            session = client._store["session"]
            session.trust_env = False
            bound(session)
            session.hooks["response"] += [_unshown, refuse_redirect]
            client._store["serializer"] = Strict()
            if change:  # an idle connection that dies under a POST leaves its fate unknown
                session.headers["Connection"] = "close"
            if self._prepare:
                self._prepare(session)
            setattr(self._local, name, client)
        return client

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
        """The header that carries the token."""
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
        tasks = self.get(f"nodes/{node}/tasks", source="active", vmid=int(vm_id), typefilter=kind)
        return str(tasks[0]["upid"]) if tasks else ""

    def get(self, path: str, /, **params: Any) -> Any:
        """Configurations come with each line in the one way in which PVE itself writes it."""
        data = self._call("get", path, params, change=False)
        asked = CONFIG.match(path)
        if not asked:
            return data
        if asked.group(1) == "config":
            return lines.written(data)
        said = ("value", "pending")
        return [{k: lines.line(row["key"], v) if k in said else v for k, v in row.items()} for row in data]

    def once(self, path: str) -> Any:
        """As `get`, or what this run of an operation has just got."""
        return reads.once((self.server, path), lambda: self.get(path))

    def post(self, path: str, **params: Any) -> Any:
        """`data` of the reply, often a task's id. Two underscores in a parameter's name are one dash. Raises
        UpstreamError; Unknown when nobody can tell whether it was done."""
        return self._call("post", path, params, change=True)

    def put(self, path: str, **params: Any) -> Any:
        """As `post`."""
        return self._call("put", path, params, change=True)

    def delete(self, path: str, **params: Any) -> Any:
        """As `post`."""
        return self._call("delete", path, params, change=True)

    def _call(self, method: str, path: str, params: dict[str, Any], change: bool) -> Any:
        try:
            with calling(self.server, method.upper(), CALL.sub("", path), change):
                return self._ask(method, path, params, change)
        finally:
            if change:
                self._forget(method, path)

    @staticmethod
    def _forget(method: str, path: str) -> None:
        """A machine's configuration and its firewall are two files; whatever else is done may touch both."""
        if FIREWALL.match(path):
            reads.forget(lambda key: "/firewall/" in key[-1])
        elif method == "put" and CONFIG.match(path):
            reads.forget(lambda key: "/firewall/" not in key[-1])
        else:
            reads.forget()

    def _ask(self, method: str, path: str, params: dict[str, Any], change: bool) -> Any:
        """Hyphens in parameter names are written as `__`. Raises the errors of drivers.proxmox.errors, and those of the
        way. What is no answer of the API is none: a read is asked again, after a change its effect is looked up."""
        connect, answer, wait = time_outs(change)
        values = {k.replace("__", "-"): _plain(v) for k, v in params.items() if v is not None}
        client = self._client(change)
        client._backend.auth.timeout = (connect, answer)
        try:
            with self._gate(path, wait):
                data = getattr(client(path), method)(**values)
            if said := replies.fault(method.upper(), path, data):
                raise Rubbish(f"{CALL.sub('', path)}: {said}"[:200])
            return data
        except ResourceException as e:
            raise from_reply(e.status_code, str(e.content).split(" - {")[0], _shown(e.errors)) from None
        except (Rubbish, requests.exceptions.RequestException, OSError, ValueError) as e:
            raise fault(e, self._peer, change) from None


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _shown(errors: object) -> object:
    """What the API says of each parameter; a page in its place is not repeated."""
    return errors if isinstance(errors, dict) and not any(isinstance(v, bytes) for v in errors.values()) else None
