"""What goes on for ever, and who is blamed: answers that drip, things that are gone, and faults of our own that are not
the other side's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.clock import Clock
from bridge.customer import discs
from bridge.dns import writer
from bridge.errors import NotOurs, Permanent, StoreUnavailable
from bridge.metering import status
from drivers.answers import bound
from tests.dns import sims
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned
from tests.firewall_site import Site
from tests.pve.cluster import Fault
from tests.test_dns_tickets import NAME
from tests.test_dns_tickets import Site as Desk

LINE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


class Dripping:
    """A peer that never stops answering: a byte at a time, of the status, the headers or the body."""

    def __init__(self, whole: int) -> None:
        self._first, self._drips, self._stop = LINE[:whole], (LINE + b" " * 100000)[whole:], threading.Event()
        self._line = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._line.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            peer, _ = self._line.accept()
            peer.recv(65536)
            peer.sendall(self._first)
            for n in range(len(self._drips)):
                if self._stop.wait(0.02):
                    break
                peer.sendall(self._drips[n : n + 1])
            peer.close()

    def close(self) -> None:
        self._stop.set()
        self._line.close()


@pytest.mark.parametrize("whole", [0, 30, len(LINE)])
def test_an_answer_that_drips_ends_in_time(whole: int) -> None:
    """The time is for all of it: the libraries' own time-out begins anew with every byte, and this would go on for
    half an hour."""
    peer = Dripping(whole)
    try:
        with requests.Session() as session:
            bound(session)
            with pytest.raises(requests.exceptions.RequestException) as e:
                session.get(peer.url, timeout=(5, 0.4))
            assert "timed out" in str(e.value).lower()
    finally:
        peer.close()


def test_every_client_of_somebody_elses_api_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.whmcs import Whmcs
    from drivers.answers import Whole
    from drivers.dns.web import Web
    from drivers.hetzner.api import Api as Hetzner
    from drivers.http import Peer
    from drivers.proxmox.api import Api as Proxmox

    url = "https://127.0.0.1:1"
    pve = Proxmox({"endpoint": url, "token_id": "a@pve!b", "token_secret": "c"})
    sessions = [
        Web(Peer("x", url, "y"))._session(),
        Hetzner({"endpoint": url, "token": "t"}, Clock())._client()._client._session,
        *(pve._client(change)._store["session"] for change in (True, False)),
    ]
    real, seen = requests.Session.post, []

    def post(self: requests.Session, *args: Any, **more: Any) -> requests.Response:
        seen.append(self)
        return real(self, *args, **more)

    monkeypatch.setattr(requests.Session, "post", post)
    with pytest.raises(Exception, match="refuses connections"):
        Whmcs(url, "id", "secret").call("GetStats")
    for session in [*sessions, *seen]:
        assert isinstance(session.get_adapter(url), Whole)
    assert len(seen) == 1


# -- our own faults ---------------------------------------------------------------------------------
Fixture = Callable[..., Any]


@pytest.fixture
def zoned(tmp_path: Path) -> Iterator[Zoned]:
    sim = sims.PowerDns(REVERSE, REVERSE6, STATIC)
    made = Zoned(tmp_path, {z: sim.settings() for z in (REVERSE, REVERSE6, STATIC)}, sim.mount)
    made.order("create")
    made.run()
    made.write()
    made.sim = sim
    yield made
    made.close()


def unsaved(*args: Any, **more: Any) -> Any:
    raise StoreUnavailable(detail="database is locked")


def test_a_store_that_cannot_be_written_after_the_providers_write_is_no_fault_of_the_zone(
    zoned: Zoned, monkeypatch: pytest.MonkeyPatch
) -> None:
    [v4, *_] = zoned.addresses()
    assert zoned.save(v4, "mail.example.com") == ""
    with monkeypatch.context() as m:
        m.setattr(zoned.store, "record_settled", unsaved)
        with pytest.raises(StoreUnavailable):
            writer.write_due(REVERSE, zoned.config, zoned.store, zoned.providers, zoned.context.whmcs)
    assert zoned.store.zone_state(REVERSE)["failures"] == 0
    zoned.clock.time += writer.LEASE + 1
    zoned.write()
    assert zoned.fields()[v4] == "mail.example.com"
    assert not zoned.open()


def test_a_store_that_cannot_be_written_is_no_fault_of_the_server(
    zoned: Zoned, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        m.setattr(zoned.store, "save_statuses", unsaved)
        with pytest.raises(StoreUnavailable):
            status.refresh("pve1", zoned.drivers["pve1"], zoned.store, now=True)
    assert zoned.store.health("pve1")["ok"]


# -- what is gone -----------------------------------------------------------------------------------
def notices(world: Any) -> list[str]:
    return [e["dedupe"] for e in world.store.events() if e["event"] == "staff_notice"]


def test_a_trial_on_a_machine_that_is_gone_ends_and_is_told(site: Site) -> None:
    assert site.submit("policy", policy_in="drop", policy_out="accept", sure="1") == ""
    del site.cluster.vms[20000]
    site.work(firewall_trial_over)
    service = site.store.find_service("main", 1042)
    assert service
    row = site.store.firewall_change(service.id)
    assert row
    assert (row["phase"], row["error"]) == ("undone", "vm_absent")
    assert [n for n in notices(site) if n.startswith("firewall:")] == [f"firewall:{service.id}:{row['made_at']}"]
    site.cluster.calls.clear()
    site.work(10000.0)
    assert not [c for c in site.cluster.calls if "qemu/20000" in c[2]]
    assert "so its firewall was left as it was" in site.see()


def test_a_trial_that_cannot_be_taken_back_for_long_is_told_once_and_goes_on(site: Site) -> None:
    assert site.submit("policy", policy_in="drop", policy_out="accept", sure="1") == ""
    site.cluster.faults = [
        Fault("status", "PUT", "firewall/options", times=3, status=403, reason="Permission check failed")
    ]
    for _ in range(4):
        site.work(400.0)
    assert len([n for n in notices(site) if n.startswith("firewall:")]) == 1
    assert site.see()
    assert site.cluster.vms[20000].firewall["policy_in"] == "ACCEPT"


firewall_trial_over = 61.0


def test_a_ticket_that_is_gone_ends_its_wish_and_holds_up_no_other(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    try:
        v4, _ = desk.born()
        desk.save(v4, NAME)
        desk.write(turns=2)
        real, gone = desk.desk.call, desk.desk.tickets[0]["id"]

        def call(action: str, **values: Any) -> dict[str, Any]:
            if action == "GetTicket" and str(values["ticketid"]) == str(gone):
                raise Permanent(
                    "WHMCS refused the call.", code="whmcs_refused", detail="GetTicket: Ticket ID Not Found"
                )
            return dict(real(action, **values))

        desk.desk.call = call
        desk.pause()
        assert desk.store.zone_state(REVERSE)["failures"] == 0
        assert [r["refused"] for r in desk.store.records_at(v4) if r["type"] == "PTR"] == ["ticket_gone"]
        assert "Save it again" in desk.words()
        desk.desk.tickets[0]["status"] = "Closed"  # so that none is listed as open
        desk.save(v4, NAME)
        desk.write(turns=2)
        assert [r["ticket"] for r in desk.store.records_at(v4) if r["type"] == "PTR"] == ["2"]
    finally:
        desk.close()


def test_a_machine_that_is_not_ours_any_more_is_asked_for_its_boot_order_once_a_day(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = site.store.find_service("main", 1042)
    assert service
    site.store.disc_comes_first(service.id)

    def look(*args: Any) -> Any:
        raise NotOurs()

    monkeypatch.setattr(site.drivers["pve1"], "look", look)
    for _ in range(100):
        discs.put_disks_first("pve1", site.store)
        site.run()
        site.clock.time += 900.0
    assert len(site.store.operations_of(service.id, 200, ("failed",))) <= 4
