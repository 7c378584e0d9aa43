"""`kill -9` of everything (web, worker, console and what starts them), or of the worker alone, in the middle of what
customers change beside operations: a firewall's change, a trial, its revert, an ISO that is mounted, started from once
and unmounted, names in a real PowerDNS. After the restart each is there once or not at all, and nothing is left open.
Some places here; with `-m matrix` every call."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.store import Store
from tests.dns.servers import PowerDns, needs_pdns
from tests.processes import child
from tests.pve.firewalls import parsed
from tests.system import System
from tests.test_dns_system import REVERSE, REVERSE6, STATIC

pytestmark = needs_pdns
SERVICE, VM = 1, 20000
DISC = "local:iso/debian-12.5.0-amd64-netinst.iso"
Call = tuple[str, str]  # method, path
PASSED = (  # what time does while nobody works
    "UPDATE firewall_changes SET lease_until = 0, due_at = 0 WHERE phase <> 'trial'",
    "UPDATE dns_records SET lease_until = 0, doubt_until = 0, due_at = 0 WHERE due_at IS NOT NULL",
    "UPDATE dns_zones SET due_at = 0",
    "UPDATE operations SET lease_until = 0",
    "UPDATE disc_orders SET due_at = 0",
)


class Between(ThreadingHTTPServer):
    """Stands before PowerDNS's API and tells of each call, before it and after it."""

    daemon_threads = True

    def __init__(self, pdns: PowerDns, told: Callable[[str, str, str], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                told("before", self.command, self.path)
                with requests.Session() as session:
                    session.trust_env = False
                    keys = {k: v for k, v in self.headers.items() if k in ("X-API-Key", "Content-Type")}
                    reply = session.request(
                        self.command, f"{pdns.endpoint}{self.path}", data=body, headers=keys, timeout=20
                    )
                told("after", self.command, self.path)
                self.send_response(reply.status_code)
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)

            do_GET = do_PATCH = _pass_on

            def log_message(self, *args: Any) -> None:
                pass

            def handle(self) -> None:
                with suppress(OSError):  # who asked is dead
                    super().handle()

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class Cut:
    """The system, and the place at which everything is killed."""

    def __init__(self, folder: Path) -> None:
        self.pdns = PowerDns(folder / "pdns", REVERSE, REVERSE6, STATIC)
        self.pdns.start()
        self.between = Between(self.pdns, lambda phase, method, path: self.on(phase, 0, method, path))
        real = self.pdns.endpoint
        more = self.pdns.tables(REVERSE, REVERSE6, STATIC).replace(
            real, f"http://127.0.0.1:{self.between.server_address[1]}"
        )
        (folder / "system").mkdir()
        self.s = System(folder / "system", speed=0.03, more=more)
        self.calls: list[Call] = []  # of what is watched, each when it was done
        self.at: tuple[str, int] = ("", 0)
        self.killed: Call | None = None
        self.up, self.whom = True, "all"
        self.watched: Callable[[Call], bool] = lambda call: False
        self.lock = threading.Lock()
        self.s.cluster.on_call = self.on
        self.s.__enter__()

    def on(self, phase: str, _: int, method: str, path: str) -> None:
        with self.lock:
            if self.killed or not self.watched((method, path)):
                if phase == "after" and self.watched((method, path)):
                    self.calls.append((method, path))
                return
            place = len(self.calls) + 1
            if phase == "after":
                self.calls.append((method, path))
            if self.at == (phase, place):
                self.killed, self.up = (method, path), False
                if self.whom == "all":
                    os.killpg(self.s.processes["serve"].pid, signal.SIGKILL)
                    self.s.processes["serve"].wait()
                else:  # what starts them ends the others then, in order
                    os.kill(child(self.s.processes["serve"].pid, self.whom), signal.SIGKILL)

    def store(self) -> Store:
        return Store(self.s.folder / "vmbridge.db", self.s.key, self.s.clock)

    def row(self, sql: str) -> dict[str, Any] | None:
        store = self.store()
        try:
            return store.row(sql)
        finally:
            store.close()

    def passes(self, *more: str) -> None:
        store = self.store()
        try:
            for sql in (*PASSED, *more):
                store.change(sql)
        finally:
            store.close()

    def run(self, act: Callable[[], Any], watched: Callable[[Call], bool], at: tuple[str, int]) -> bool:
        """Do it, be killed there, start again; whether it came to that place."""
        self.calls, self.killed, self.at, self.watched = [], None, at, watched
        try:
            act()
        except (RuntimeError, requests.exceptions.RequestException):
            if not self.killed:
                raise
        return self.again()

    def again(self) -> bool:
        """Start again where everything was killed, and let time pass."""
        if not self.up:
            self.s.processes["serve"].wait()
            self.up = True
            self.passes()
            self.s.serve()
            self.s.wait_for(self.answers, 60)
        return bool(self.killed)

    def answers(self) -> bool:
        with suppress(requests.exceptions.RequestException):  # a machine under load answers late
            return requests.get(f"http://127.0.0.1:{self.s.web}/health", timeout=5).status_code == 200
        return False

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Until it is so; who is killed on the way starts again."""

        def look() -> Any:
            if not self.up:
                raise RuntimeError("killed")
            return condition()

        try:
            return self.s.wait_for(look, 60, what)
        except RuntimeError:
            if not self.again():
                raise
            return self.s.wait_for(condition, 60, what)

    def close(self) -> None:
        self.s.__exit__()
        self.between.shutdown()
        self.between.server_close()
        self.pdns.stop()

    # -- what is done -----------------------------------------------------------------------------
    @property
    def vm(self) -> Any:
        return self.s.cluster.vms[VM]

    def version(self) -> str:
        self.watched = lambda call: False

        def on_page() -> str:
            page = requests.get(f"{self.s.page(SERVICE)}&vmb[page]=firewall", timeout=30).text
            match = re.search(r'name="vmb\[version\]"\s+value="([^"]+)"', page)
            return match.group(1) if match else ""  # a machine under load answers late

        return str(self.s.wait_for(on_page, 60, "the page of the firewall"))

    def settled(self, table: str, where: str = "1") -> None:
        self.until(lambda: self.row(f"SELECT 1 FROM {table} WHERE {where}") is None, f"{table} to be empty")

    def commands(self, method: str, end: str) -> int:
        return sum(1 for m, p in self.calls if m == method and p.endswith(end))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cut]:
    made = Cut(tmp_path_factory.mktemp("cut"))
    try:
        assert made.s.order(SERVICE) == "success"
        made.s.wait_for(lambda: made.s.operation(SERVICE).get("state") == "done", 60, "the create")
        made.settled("dns_records", "due_at IS NOT NULL")
        yield made
    finally:
        made.close()


def writes(end: str = "") -> Callable[[Call], bool]:
    return lambda call: call[0] != "GET" and f"/{VM}/" in call[1] and end in call[1]


def every(end: str = "") -> Callable[[Call], bool]:
    return lambda call: f"/{VM}/" in call[1] and end in call[1]


def rounds(cut: Cut, one: Callable[[tuple[str, int], int], bool], places: list[tuple[str, int]] | None) -> int:
    """Each place, or all there are; at how many it was killed."""
    if places is not None:
        return sum(one(at, n) for n, at in enumerate(places))
    done = 0
    for phase in ("before", "after"):
        place = 1
        while one((phase, place), 1000 * len(phase) + place):
            done, place = done + 1, place + 1
            assert place < 60
    return done


SOME = pytest.param([("after", 1)], id="some")
ALL = pytest.param(None, id="all", marks=pytest.mark.matrix)


@pytest.mark.parametrize("places", [SOME, ALL])
def test_a_rule_is_there_once_or_not_at_all(cut: Cut, places: Any) -> None:
    def one(at: tuple[str, int], n: int) -> bool:
        comment = f"kill {n}"
        version = cut.version()
        form = {"way": "in", "vmb[action]": "accept", "proto": "tcp", "dport": "8443", "comment": comment}
        was = cut.run(
            lambda: cut.s.submit(SERVICE, "firewall", "add", version=version, **form) and None,
            every("firewall") if places is None else writes("firewall"),
            at,
        )
        cut.settled("firewall_changes", "phase NOT IN ('undone', 'failed')")
        rules = [r for r in cut.vm.rules if comment in str(r.get("comment", ""))]
        wrote = cut.commands("POST", "firewall/rules")
        assert len(rules) == min(wrote, 1), (at, cut.killed, rules)
        assert all(int(r["enable"]) for r in rules), (at, cut.killed, rules)
        assert wrote <= 1, (at, cut.killed, cut.calls)
        return was

    assert rounds(cut, one, places) >= (len(places) if places else 10)


RULES = ("IN ACCEPT -p tcp -dport 81 # a", "IN ACCEPT -p tcp -dport 82 # b", "IN ACCEPT -p tcp -dport 83 # c")
EDITED = {"way": "in", "vmb[action]": "accept", "proto": "tcp", "dport": "84", "comment": "b"}
EDITS: dict[str, tuple[dict[str, str], list[str], int]] = {  # form, ports afterwards, calls that write
    "move": ({"rule": "0", "to": "2"}, ["82", "83", "81"], 1),
    "switch": ({"rule": "1", "on": "0"}, ["81", "-82", "83"], 1),
    "edit": ({"rule": "1", **EDITED}, ["81", "84", "83"], 1),
    "delete": ({"rule": "1"}, ["81", "83"], 1),
    "policy": ({"policy_in": "accept", "policy_out": "drop"}, ["81", "82", "83", "drop"], 1),
}


def ports_of(cut: Cut) -> list[str]:
    """Of its rules in their order, those that are off with a hyphen before them; and the policy where it is another."""
    rules = [f"{'' if int(r['enable']) else '-'}{r['dport']}" for r in cut.vm.rules]
    return [*rules, *(["drop"] if cut.vm.firewall["policy_out"] == "DROP" else [])]


@pytest.mark.matrix
@pytest.mark.parametrize("what", EDITS)
def test_a_change_is_there_once_or_not_at_all(cut: Cut, what: str) -> None:
    form, after, writing = EDITS[what]

    def one(at: tuple[str, int], n: int) -> bool:
        cut.watched = lambda call: False
        cut.vm.rules = [parsed(line) for line in RULES]
        cut.vm.firewall |= {"policy_in": "ACCEPT", "policy_out": "ACCEPT"}
        before, version = ports_of(cut), cut.version()
        was = cut.run(lambda: cut.s.submit(SERVICE, "firewall", what, version=version, **form), every("firewall"), at)
        cut.settled("firewall_changes", "phase NOT IN ('undone', 'failed')")
        wrote = sum(1 for method, _ in cut.calls if method in ("PUT", "POST", "DELETE"))
        assert ports_of(cut) == (after if wrote else before), (at, cut.killed, cut.calls)
        assert wrote <= writing, (at, cut.killed, cut.calls)
        return was

    assert rounds(cut, one, None) >= 6


WHOM = (SOME, ALL, pytest.param(None, id="worker", marks=pytest.mark.matrix))


@pytest.fixture
def whom(cut: Cut, request: pytest.FixtureRequest) -> Iterator[None]:
    cut.whom = "worker" if request.node.callspec.id == "worker" else "all"
    yield
    cut.whom = "all"


@pytest.mark.usefixtures("whom")
@pytest.mark.parametrize("places", WHOM)
def test_a_trial_is_taken_back_once(cut: Cut, places: Any) -> None:
    """In the middle of its making, after it, and in the middle of its revert."""

    def one(at: tuple[str, int], n: int) -> bool:
        cut.vm.firewall["policy_in"] = "ACCEPT"
        version = cut.version()
        form = {"policy_in": "drop", "policy_out": "accept", "sure": "1"}
        was = cut.run(
            lambda: cut.s.submit(SERVICE, "firewall", "policy", version=version, **form) and None,
            every("firewall") if places is None else writes("firewall"),
            at,
        )
        cut.passes("UPDATE firewall_changes SET due_at = 0 WHERE phase = 'trial'")
        cut.settled("firewall_changes", "phase NOT IN ('undone', 'failed')")
        assert cut.vm.firewall["policy_in"] == "ACCEPT", (at, cut.killed)
        made = cut.commands("PUT", "firewall/options")
        assert made in (0, 2), (at, cut.killed, cut.calls)  # never made, or made and taken back once
        return was or bool(cut.killed)

    assert rounds(cut, one, places and [("after", 2)]) >= (1 if places else 8)


def in_drive(cut: Cut, verb: str, line: str) -> None:
    """A host that nobody has asked since the start is not known yet: it is tried again."""
    cut.watched = lambda call: False

    def there() -> bool:
        cut.s.submit(SERVICE, "iso", verb, iso=DISC)
        return str(cut.vm.config["ide0"]).startswith(line)

    cut.s.wait_for(there, 60, f"{line} in the drive")


@pytest.mark.matrix
@pytest.mark.parametrize("verb", ["mount", "unmount"])
def test_an_iso_is_in_its_drive_or_not(cut: Cut, verb: str) -> None:
    """And the page does it again where it was cut short."""
    lines = {"mount": (DISC, "none"), "unmount": ("none", DISC)}
    after, before = lines[verb]

    def one(at: tuple[str, int], n: int) -> bool:
        in_drive(cut, "unmount" if verb == "mount" else "mount", before)
        was = cut.run(lambda: cut.s.submit(SERVICE, "iso", verb, iso=DISC), every(), at)
        wrote = sum(1 for method, _ in cut.calls if method == "PUT")
        assert str(cut.vm.config["ide0"]).startswith(after if wrote else before), (at, cut.killed, cut.calls)
        in_drive(cut, verb, after)
        assert sum(1 for k, v in cut.vm.config.items() if "media=cdrom" in str(v) and k != "ide0") <= 1
        return was

    assert rounds(cut, one, None) >= 4


@pytest.mark.usefixtures("whom")
@pytest.mark.parametrize("places", WHOM)
def test_an_iso_is_started_from_once_and_let_go(cut: Cut, places: Any) -> None:
    def one(at: tuple[str, int], n: int) -> bool:
        in_drive(cut, "mount", DISC)
        before, former = set(cut.s.cluster.tasks), cut.s.operation(SERVICE)["id"]
        was = cut.run(
            lambda: cut.s.submit(SERVICE, "iso", "boot") and None, every() if places is None else writes(), at
        )

        def done() -> Any:
            last = cut.s.operation(SERVICE)
            return last.get("state") in ("done", "failed") and last

        if at[0]:
            last = cut.until(done, "the start from the ISO")
        ordered = last["kind"] == "boot_iso" and last["id"] != former
        cut.settled("disc_orders")
        tasks = [t for upid, t in cut.s.cluster.tasks.items() if upid not in before and t.kind == "qmstart"]
        starts = sum(t.status == "OK" for t in tasks)  # one whose sender died is said again, and is refused then
        assert starts == (1 if ordered else 0), (at, cut.killed, cut.calls)
        assert last["state"] == "done", (at, cut.killed, cut.calls)
        boot = str(cut.vm.pending.get("boot") or cut.vm.config["boot"]).removeprefix("order=").split(";")
        assert boot[0] != "ide0", (at, cut.killed)
        assert cut.vm.status == "running", (at, cut.killed)
        was = was or bool(cut.killed)
        in_drive(cut, "unmount", "none")
        return was

    assert rounds(cut, one, places and [("after", 2)]) >= (1 if places else 10)


@pytest.mark.parametrize("places", [SOME, ALL])
def test_names_are_made_moved_and_removed_once(cut: Cut, places: Any) -> None:
    [row] = [cut.row("SELECT address FROM dns_records WHERE type = 'PTR' AND address LIKE '%.%' ORDER BY address")]
    assert row
    address = row["address"]

    def one(at: tuple[str, int], n: int) -> bool:
        came = False
        for name in (f"a{n}.customer.example", f"b{n}.customer.example", ""):

            def save(name: str = name) -> None:
                cut.s.submit(SERVICE, "rdns", "save", address=address, name=name)
                cut.until(lambda: cut.row("SELECT 1 FROM dns_records WHERE due_at IS NOT NULL") is None, "the names")

            came = cut.run(save, lambda call: "zones" in call[1], at) or came
            cut.settled("dns_records", "due_at IS NOT NULL")
            there = cut.pdns.dig(address)
            kept = cut.row(
                f"SELECT wanted, written, ours FROM dns_records WHERE address = '{address}' AND type = 'PTR'"
            )
            assert kept, (at, cut.killed, there, kept)
            assert there == [kept["written"]] == [kept["wanted"]], (at, cut.killed, there, kept)
            assert not name or there == [name], (at, cut.killed, there)
        return came or bool(cut.killed)

    assert rounds(cut, one, places) >= (1 if places else 4)
