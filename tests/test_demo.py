"""What the demo offers to try really happens, and its addresses are pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from bridge.clock import Clock
from tests import demo, home_site
from tests.demo_tries import FEW, TRIES, Door, ask, machine
from tests.hcloud.project import Project
from tests.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, hcloud=Project(Clock()), more=FEW) as s:
        for sale in demo.sales(s, None):
            s.order(sale.service, **sale.wish)
            s.wait_for(lambda sale=sale: s.operation(sale.service).get("state") == "done", 60)
        home_site.furnish(s)
        yield s


def newest(s: System, kind: str, state: str) -> None:
    s.wait_for(
        lambda: (s.operation(demo.SERVICE)["kind"], s.operation(demo.SERVICE)["state"]) == (kind, state), 90, kind
    )


def test_every_address_is_a_page(system: System) -> None:
    addresses = [w for line in demo.addresses(system) for w in line.split() if w.startswith("http")]
    assert len(addresses) == 18
    for address in addresses:
        reply = requests.get(address, timeout=20)
        assert reply.status_code == 200, address
        assert "vmbridge" in reply.text, address


def test_what_can_be_tried_happens(system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("tests.demo_tries.DOOR", tmp_path / ".demo/port")
    node = machine(system).node
    with Door(system, demo.SERVICE):
        assert "is none of: stop-node" in ask("nonsense")
        assert f"{node} is down" in ask("stop-node")
        assert not system.cluster.nodes[node]
        ask("start-node")
        assert all(system.cluster.nodes.values())
        assert "No free IPv4 address in pool 'few-v4'" in ask("fill-pool")
        ask("upgrade")
        newest(system, "change_package", "done")
        before = system.processes["serve"].pid
        assert "by itself" in ask("kill-worker")
        assert system.processes["serve"].pid != before
        newest(system, "reboot", "done")
        ask("break-storage")
        assert not system.cluster.storages["nfs-backup"].online
        ask("mend-storage")
        assert system.cluster.storages["nfs-backup"].online
    assert len(TRIES) == 7
    with pytest.raises(SystemExit, match="No demo is running"):
        ask("upgrade")
