"""Several machines work from one PostgreSQL while processes are killed and frozen, the database is started anew and
connections break in the middle of COMMIT: the end is the undisturbed one, nothing is doubled, no mail is lost."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.model import State
from tests import postgres
from tests.cutter import Cutter
from tests.machines import Machines

pytestmark = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())
SOME = 5  # orders
SOONER = 10.0  # seconds after the end of a lease in which another worker goes on
# what is ordered of each service after its create, in turns; the last decides how it ends
LIVES: tuple[tuple[tuple[str, dict[str, str]], ...], ...] = (
    (),
    (("suspend", {}),),
    (("change_package", {"configoption1": "kvm-l"}),),
    (("suspend", {}), ("unsuspend", {})),
    (("terminate", {}),),
)


def lives(rig: Machines, services: range, ordered: threading.Event) -> None:
    """Orders as WHMCS has them: each service's one after the other, by any of the webs."""
    for nth, service in enumerate(services):
        rig.order("create", service, nth)
    for turn in range(2):
        for nth, service in enumerate(services):
            later = LIVES[service % len(LIVES)]
            if turn < len(later):
                rig.wait(lambda s=service: idle(rig, s), f"service {service}")
                rig.order(later[turn][0], service, nth, **later[turn][1])
    ordered.set()


def idle(rig: Machines, service: int) -> bool:
    row = rig.context.store.find_service("main", service)
    return row is not None and rig.context.store.current_operation(row.id) is None


def expected(service: int) -> tuple[str, str]:
    """(desired, cores) as an undisturbed run leaves it."""
    last = [verb for verb, _ in LIVES[service % len(LIVES)]][-1:]
    desired = {"suspend": "suspended", "terminate": "terminated"}.get("".join(last), "active")
    return desired, "4" if last == ["change_package"] else "2"


def same_as_undisturbed(rig: Machines, services: range, doubtful: int) -> None:
    """`doubtful`: how often a process or its connection ended where an answer of WHMCS may not have been noted."""
    store = rig.context.store
    assert not store.operations_of(None, 5, ("failed", "waiting_for_staff", "cancelled"))
    vms = {vm.vmid: vm for vm in rig.cluster.vms.values() if not vm.template}
    rows = {s: store.find_service("main", s) for s in services}
    there = {s: row for s, row in rows.items() if row and row.desired != "terminated"}
    for service in services:
        desired, cores = expected(service)
        row = rows[service]
        assert row is not None
        assert row.desired == desired, service
        if desired == "terminated":
            assert int(row.vm_id) not in vms
            continue
        vm = vms.pop(int(row.vm_id))
        sold = vm.pending.get("cores", vm.config["cores"])  # it takes effect with the next start
        assert (vm.status, sold) == ("stopped" if desired == "suspended" else "running", cores), service
        assert row.uuids[0] in vm.config["smbios1"]
    assert vms == {}, "machines that nobody ordered"
    taken = [a for a in store.taken_addresses() if a["service"] is not None]
    assert Counter(a["service"] for a in taken) == Counter(dict.fromkeys((r.id for r in there.values()), 1))
    orders = Counter(o.kind for o in store.operations_of(None, 5000) if o.state.value == "done")
    wanted = Counter(["create"] * len(services) + [v for s in services for v, _ in LIVES[s % len(LIVES)]])
    assert orders == wanted, "an order was carried out twice, or not at all"
    clones = Counter(p for m, p in rig.cluster.mutations() if re.search(r"/clone$", p))
    assert sum(clones.values()) <= len(services) + doubtful
    ready = {str(s) for s in services}
    mails = Counter(p["id"] for p in rig.api.posts if p["action"] == "SendEmail")
    assert set(mails) == ready, "a mail was lost"
    assert sum(mails.values()) - len(ready) <= doubtful


@pytest.fixture
def url() -> str:
    return postgres.server().database()


@pytest.fixture
def rigs() -> Iterator[list[Machines]]:
    made: list[Machines] = []
    yield made
    for rig in made:
        rig.close()


class Frozen:
    """The worker that asks for the first power change of a machine is stopped in the middle of that call, and goes on
    once another one has taken over and finished."""

    def __init__(self, rig: Machines) -> None:
        self.rig, self.name, self.operation, self.fence = rig, "", "", 0
        self.until = self.taken_over = 0.0
        self.thawed = threading.Event()
        rig.cluster.on_call = self.look

    def look(self, when: str, index: int, method: str, path: str) -> None:
        vm = re.search(r"/qemu/(\d+)/status/", path)
        if when != "before" or method != "POST" or not vm or self.name:
            return
        row = self.rig.known(
            lambda: self.rig.context.store.row(
                "SELECT o.id, o.owner, o.fence, o.lease_until FROM operations o JOIN services s ON s.id = o.service"
                " WHERE s.vm_id = ? AND o.state = 'running' AND o.lease_until > 0",
                vm[1],
            )
        )
        names = {self.rig.owner(n): n for n in self.rig.names}
        if row and row["owner"] in names:
            self.name, self.operation, self.fence, self.until = (
                names[row["owner"]],
                row["id"],
                row["fence"],
                row["lease_until"],
            )
            os.kill(self.rig.processes[self.name].pid, signal.SIGSTOP)

    def watch(self) -> None:
        store = self.rig.context.store
        self.rig.wait(lambda: self.name, "nobody was frozen")
        self.rig.wait(
            lambda: store.column("SELECT 1 FROM operations WHERE id = ? AND fence > ?", self.operation, self.fence),
            "nobody took over",
        )
        self.taken_over = self.rig.context.clock.now()
        self.rig.wait(
            lambda: store.operation(self.operation).state not in (State.RUNNING, State.WAITING), "it did not end"
        )
        os.kill(self.rig.processes[self.name].pid, signal.SIGCONT)
        self.thawed.set()


def killing(rig: Machines, every: float, stop: threading.Event, spared: Any) -> None:
    """One process after the other: each so many seconds, or, without any, each time some more orders are done."""
    turn = done = 0
    while not rig.clock.wait(stop, every or 0.2):
        rows = rig.known(lambda: rig.context.store.operations_of(None, 5000, ("done",)))
        count = done if rows is None else len(rows)
        if not every and count < done + SOME:
            continue
        done, name = count, rig.names[turn % len(rig.names)]
        turn += 1
        if name != spared():
            rig.kill(name)


def proof(rig: Machines, services: range, every: float, restarts: int, cuts: list[str], measured: bool = False) -> None:
    """`measured`: how soon a lease is taken over counts, as it does not on a machine that is busy with other tests."""
    ordered, stop, frozen = threading.Event(), threading.Event(), Frozen(rig)
    faults: list[BaseException] = []

    def guarded(act: Any, *args: Any) -> None:
        try:
            act(*args)
        except BaseException as e:
            faults.append(e)

    acts: list[tuple[Any, ...]] = [(lives, rig, services, ordered), (frozen.watch,)]
    acts.append((killing, rig, every, stop, lambda: "" if frozen.thawed.is_set() else frozen.name))
    threads = [threading.Thread(target=guarded, args=act) for act in acts]
    for thread in threads:
        thread.start()
    store = rig.context.store
    for nth in range(restarts):
        share = len(services) * (nth + 1) // (restarts + 1)
        rig.wait(lambda n=share: faults or len(store.operations_of(None, 5000, ("done",))) >= n, "the restart")
        postgres.server().restart()
    rig.wait(lambda: faults or (ordered.is_set() and frozen.thawed.is_set()), "the orders")
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    rig.wait(rig.done, "the end")
    late = frozen.taken_over - frozen.until
    assert late <= SOONER or not measured, late
    same_as_undisturbed(rig, services, rig.kills + restarts + len(cuts) + 1)


def test_two_workers_and_a_web_are_killed_frozen_and_lose_their_database(
    url: str, tmp_path: Path, rigs: list[Machines]
) -> None:
    rig = Machines(tmp_path, url, workers=2, webs=1, lease=5.0)
    rigs.append(rig)
    proof(rig, range(1, 13), every=0.0, restarts=1, cuts=[])


@pytest.mark.matrix
def test_three_workers_and_two_webs_with_everything_at_once(url: str, tmp_path: Path, rigs: list[Machines]) -> None:
    """The product's own lease; every 200th COMMIT loses its connection, before or after it has arrived."""
    name = url.partition("?")[0].rpartition("/")[2]
    (tmp_path / "way").mkdir()
    with Cutter(postgres.server().folder, tmp_path / "way", every=200) as way:
        rig = Machines(tmp_path, url, workers=3, webs=2, way=way.url(name))
        rigs.append(rig)
        proof(rig, range(1, 151), every=2.0, restarts=2, cuts=way.cuts, measured=True)
        assert {"before", "after"} <= set(way.cuts)
