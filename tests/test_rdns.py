"""Reverse DNS in process: what cannot be written at once, two at a time, and every kill and lost reply."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from bridge.customer import direct, dns
from bridge.errors import StoreUnavailable, Transient
from bridge.store import archive
from tests.configs import KEY
from tests.hcloud.project import Fault
from tests.pointers import (
    NAME,
    NOT_WRITTEN,
    V4,
    V6,
    WAITING,
    changes,
    fields,
    floating,
    records,
    save,
    wishes,
    work,
)
from tests.test_iso import FAULTS, FREEBSD, Site


def test_add_change_and_remove(site: Site) -> None:
    page = site.see("rdns")
    assert "2001:db8:1::/64 No record is set in this network." in page
    assert "Others see a change within 10 min." in page
    assert save(site) == ""
    assert save(site, V6, "six.example.com", network="2001:db8:1::/64") == ""
    assert save(site, "2001:db8:1::3", "three.example.com.") == ""
    raw = site.shim.send("GET", "/v1/services/1042/pages/rdns?client=7").json["html"]
    assert fields(raw) == {V4: NAME, "2001:db8:1::3": "three.example.com", V6: "six.example.com"}
    assert raw.index("::3") < raw.index("::25")
    assert save(site, V6, "changed.example.com") == ""
    assert save(site, "2001:db8:1::3", remove="1") == ""
    assert save(site, V4, "") == ""
    assert records(site) == {V6: "changed.example.com"}
    assert changes(site)[-3:] == [
        {"ip": V6, "dns_ptr": "changed.example.com"},
        {"ip": "2001:db8:1::3", "dns_ptr": None},
        {"ip": V4, "dns_ptr": None},
    ]
    raw = site.shim.send("GET", "/v1/services/1042/pages/rdns?client=7").json["html"]
    assert fields(raw) == {V4: "static.example", V6: "changed.example.com"}
    before = len(changes(site))
    assert save(site, "2001:db8:1::3", remove="1") == ""
    assert len(changes(site)) == before
    assert site.store.operations_of(1, 5)[0].kind == "create"
    assert wishes(site) == {}


def test_a_floating_address(site: Site) -> None:
    site.cloud.floating_ips = {5: floating(5, "2001:db8:f::/64", site.store.service(1).uuids[0], site.server())}
    assert save(site, "2001:db8:f::1") == ""
    assert list(site.cloud.floating_ips[5].ptr.values()) == [NAME]
    assert (
        "POST",
        "/floating_ips/5/actions/change_dns_ptr",
    ) in site.cloud.mutations()
    assert "2001:db8:f::/64" in site.see("rdns")


def test_a_look_is_shared_and_an_edit_is_seen_at_once_everywhere(site: Site) -> None:
    other = site.process()
    for _ in range(5):
        site.see("rdns")
        site.see("rdns", other)
    assert len(site.cloud.calls) == 2
    assert save(site) == ""
    for shim in (site.shim, other):
        assert fields(shim.send("GET", "/v1/services/1042/pages/rdns?client=7").json["html"])[V4] == NAME


def test_not_part_of_the_product_suspended_busy_and_ended(tmp_path: Path) -> None:
    site = Site(tmp_path / "denied", allow=["iso"])
    assert "not part of your plan" in site.see("rdns")
    for action in ("save", "anything"):
        assert site.send("rdns", action=action, address=V4, name=NAME).status_code == 403
    assert site.cloud.calls == []
    site.close()
    site = Site(tmp_path / "sold")
    site.order("reboot")
    assert "try again" not in site.see("rdns")
    assert save(site) == ""
    site.run()
    site.order("suspend")
    assert save(site, name="no.example.com") == "The service is suspended."
    assert "The service is suspended." in site.see("rdns")
    site.run()
    site.order("terminate")
    site.run()
    assert save(site, name="no.example.com") == "The service has ended."
    site.order("create")
    assert save(site) == dns.NOT_BUILT
    assert dns.NOT_BUILT in site.see("rdns")
    site.close()


# -- what cannot be written at once ---------------------------------------------------------------
@pytest.mark.parametrize("kind", [*FAULTS, "page"])
def test_a_fault_on_any_call(tmp_path: Path, kind: str) -> None:
    """Each call of a save once: written now or kept, shown so, and written by the worker; never more than it takes."""
    for n in range(1, 6):
        site = Site(tmp_path / f"{n}")
        site.cloud.faults = [Fault("(GET /servers/.*|GET /actions|POST .*)", kind, n)]
        assert save(site) == "", (kind, n)
        assert records(site) == {V4: NAME} or wishes(site) == {V4: NAME}, (kind, n)
        page = site.see("rdns")
        assert (WAITING in page) == bool(wishes(site)) or "tries again by itself" in page, (kind, n)
        for _ in range(5):
            work(site, 20)
        assert records(site) == {V4: NAME}, (kind, n)
        assert wishes(site) == {}, (kind, n)
        assert len(changes(site)) <= 2, (kind, n)
        assert WAITING not in site.see("rdns")
        site.close()


@pytest.mark.parametrize("who", ["page", "worker"])
def test_a_name_that_is_written_and_cannot_be_noted_is_no_refusal(
    who: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is locked for a moment behind the call: the wish waits, and nobody is told that it was refused."""
    real, failed = site.store.pointer_written, []

    def locked(service: int, address: str, number: int) -> None:
        if not failed:
            failed.append(number)
            raise StoreUnavailable()
        real(service, address, number)

    if who == "worker":
        site.store.wish_pointer(1, V4, NAME, 0)
    monkeypatch.setattr(site.store, "pointer_written", locked)
    if who == "page":
        assert save(site) == ""
    else:
        work(site, 1)
        with pytest.raises(StoreUnavailable):
            work(site, dns.ASK_AGAIN)
    assert failed
    assert wishes(site) == {V4: NAME}
    assert not site.store.pointer_wishes(1)[0]["refused"]
    work(site, dns.LEASE)
    work(site, dns.ASK_AGAIN)
    assert records(site)[V4] == NAME
    assert wishes(site) == {}


def test_a_lost_reply_is_looked_up_and_not_written_again(site: Site) -> None:
    site.cloud.faults = [Fault("POST .*", "lost")]
    assert save(site) == ""
    assert wishes(site) == {V4: NAME}
    assert work(site) == 0
    assert work(site, 20) == 1
    assert len(changes(site)) == 1
    assert wishes(site) == {}


@pytest.mark.parametrize("where", ["before the call", "after the call", "after its end"])
def test_a_web_process_that_dies(site: Site, where: str) -> None:
    class Killed(BaseException):
        pass

    driver, real = site.drivers["pve1"], site.drivers["pve1"].set_pointer

    def dying(*args: Any) -> str:
        if where != "before the call":
            real(*args)
        if where == "after its end":
            site.clock.time += 5
        raise Killed

    driver.set_pointer = dying
    with pytest.raises(Killed):
        save(site)
    driver.set_pointer = real
    assert wishes(site) == {V4: NAME}
    assert work(site, 30) == 0
    assert work(site, dns.LEASE) == 1
    work(site, 5)
    assert records(site) == {V4: NAME}
    assert wishes(site) == {}
    assert len(changes(site)) == 1


def test_a_worker_that_dies(site: Site) -> None:
    class Killed(BaseException):
        pass

    site.down()
    save(site)
    site.down(ok=1)
    real = site.drivers["pve1"].set_pointer
    site.drivers["pve1"].set_pointer = lambda *a: (real(*a), (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        work(site, 20)
    site.drivers["pve1"].set_pointer = real
    assert work(site, 10) == 0
    assert work(site, dns.LEASE) == 1
    assert records(site) == {V4: NAME}
    assert wishes(site) == {}
    assert len(changes(site)) == 1


def test_a_host_that_is_down_keeps_the_wish_and_costs_no_call(site: Site) -> None:
    site.down()
    assert save(site) == ""
    assert save(site, V6, "six.example.com") == ""
    assert site.cloud.calls == []
    page = site.see("rdns")
    assert direct.DOWN in page
    assert page.count(WAITING) == 2
    assert V4 in page
    assert V6 in page
    site.down(ok=1)
    assert work(site, 20) == 2
    for _ in range(4):
        work(site, 20)
    assert wishes(site) == {}
    assert records(site) == {V4: NAME, V6: "six.example.com"}


def test_no_calls_left(site: Site) -> None:
    site.store.budget_at_most(site.drivers["pve1"].account, 3600, 0)
    assert save(site) == ""
    assert wishes(site) == {V4: NAME}
    assert site.cloud.calls == []
    [row] = site.store.pointer_wishes(1)
    assert row["due_at"] >= site.clock.time + 10
    work(site, 30)
    work(site, 30)
    assert records(site) == {V4: NAME}
    assert wishes(site) == {}
    assert site.cloud.refused == 0


def test_the_newest_wish_is_written(site: Site) -> None:
    """While one is being written another comes: it is written after it, by the worker, whichever call ended first."""
    real, told = site.drivers["pve1"].set_pointer, []

    def slow(*args: Any) -> str:
        site.drivers["pve1"].set_pointer = real
        told.append(save(site, name="newer.example.com"))
        assert changes(site) == []  # one at a time
        return real(*args)

    site.drivers["pve1"].set_pointer = slow
    assert save(site, name="older.example.com") == ""
    assert told == [""]
    assert records(site) == {V4: "older.example.com"}
    assert wishes(site) == {V4: "newer.example.com"}
    assert (
        fields(site.shim.send("GET", "/v1/services/1042/pages/rdns?client=7").json["html"])[V4] == "newer.example.com"
    )
    work(site, 1)
    work(site, 5)
    assert records(site) == {V4: "newer.example.com"}
    assert wishes(site) == {}


def test_a_kept_wish_is_replaced_and_others_are_not_touched(site: Site) -> None:
    site.down()
    for name in ("one.example.com", "two.example.com", ""):
        save(site, name=name)
    save(site, V6)
    assert wishes(site) == {V4: "", V6: NAME}
    assert "Waiting to be removed." in site.see("rdns")
    save(site, name="three.example.com")
    site.down(ok=1)
    for _ in range(4):
        work(site, 20)
    assert records(site) == {V4: "three.example.com", V6: NAME}
    assert wishes(site) == {}
    assert {c["dns_ptr"] for c in changes(site)} == {"three.example.com", NAME}


def test_a_task_that_fails_and_one_that_takes_long(site: Site) -> None:
    site.cloud.faults = [Fault("POST .*", "failing action")]
    assert save(site) == direct.NOT_TAKEN
    assert wishes(site) == {}
    site.cloud.durations["change_dns_ptr"] = 60.0
    begun = site.clock.time
    assert save(site, name="slow.example.com") == ""
    assert site.clock.time - begun < 10
    assert wishes(site) == {V4: "slow.example.com"}
    for _ in range(15):
        work(site, 5)
    assert wishes(site) == {}
    assert records(site) == {V4: "slow.example.com"}
    assert len(changes(site)) == 2


def test_what_the_worker_is_refused_is_shown_and_not_tried_again(site: Site) -> None:
    site.down()
    save(site)
    save(site, "192.0.2.99")
    site.down(ok=1)
    site.cloud.refuses_names = "example"
    assert work(site, 20) == 2
    assert work(site, 5000) == 0
    page = site.see("rdns")
    assert page.count(NOT_WRITTEN) == 2
    assert len(changes(site)) == 1
    site.cloud.refuses_names = ""
    assert save(site, name="good.example.org") == ""
    assert records(site) == {V4: "good.example.org"}
    assert list(wishes(site)) == ["192.0.2.99"]


def test_tries_become_rare_but_go_on(site: Site) -> None:
    site.cloud.faults = [Fault("POST .*", "conflict") for _ in range(40)]
    save(site)
    at = []
    for _ in range(6 * 3600 // 5):
        if work(site, 5):
            at.append(site.clock.time)
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(at) > 20
    assert min(gaps) >= 15
    assert max(gaps) <= dns.LONGEST + 5
    assert gaps == sorted(gaps)
    assert wishes(site) == {V4: NAME}


def test_while_suspended_nothing_is_written_and_afterwards_it_is(site: Site) -> None:
    site.down()
    save(site)
    site.down(ok=1)
    site.order("suspend")
    site.run()
    assert work(site, 5000) == 0
    assert wishes(site) == {V4: NAME}
    site.order("unsuspend")
    site.run()
    work(site, 20)
    work(site, 20)
    assert records(site) == {V4: NAME}
    assert wishes(site) == {}


def test_a_reinstall_keeps_what_waits_and_what_is_written(tmp_path: Path) -> None:
    site = Site(tmp_path, allow=["rdns", "reinstall"])
    save(site, V6, "six.example.com")
    site.down()
    save(site)
    site.down(ok=1)
    site.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    site.run()
    assert site.store.operations_of(1)[0].kind == "reinstall"
    assert wishes(site) == {V4: NAME}
    for _ in range(3):
        work(site, 20)
    assert records(site) == {V4: NAME, V6: "six.example.com"}
    assert wishes(site) == {}
    site.close()


def test_terminate_forgets_what_was_waiting(site: Site) -> None:
    site.down()
    save(site)
    site.down(ok=1)
    site.order("terminate")
    site.run()
    assert wishes(site) == {}
    assert changes(site) == []
    site.order("create")
    site.run()
    assert work(site, 5000) == 0
    assert changes(site) == []


def test_what_waited_in_a_copy_is_not_written_after_a_restore(site: Site, tmp_path: Path) -> None:
    site.down()
    save(site)
    archive.take(str(site.path), tmp_path / "copy.db")
    save(site, name="newer.example.com")
    site.down(ok=1)
    for _ in range(3):
        work(site, 20)
    site.store.close()
    archive.put_back(tmp_path / "copy.db", str(site.path), KEY, {}, site.clock.now(), "aside")
    site.store.migrate()
    site.down(ok=1)
    assert work(site, 5000) == 0
    assert NOT_WRITTEN in site.see("rdns")
    assert records(site) == {V4: "newer.example.com"}
    assert save(site) == ""
    assert records(site) == {V4: NAME}
    assert wishes(site) == {}


def test_so_many_wishes_and_not_more(site: Site) -> None:
    site.down()
    for n in range(dns.MOST):
        site.store.wish_pointer(1, f"2001:db8:1::{n + 1:x}", NAME, 1.0)
    assert save(site, "2001:db8:1::fff").startswith("Many changes wait already.")
    assert len(wishes(site)) == dns.MOST
    site.clock.time += 5
    assert save(site, "2001:db8:1::1", "again.example.com") == ""


def test_a_mount_and_a_record_at_once(site: Site) -> None:
    """The provider holds the server while the ISO is put in: the record waits for that."""
    site.cloud.durations["attach_iso"] = 30.0
    assert site.submit("iso", action="mount", iso=FREEBSD) == ""
    assert save(site) == ""
    assert wishes(site) == {V4: NAME}
    for _ in range(6):
        work(site, 20)
    assert records(site) == {V4: NAME}
    assert site.mounted() == FREEBSD
    assert wishes(site) == {}


def test_the_button_says_what_the_provider_does(site: Site) -> None:
    page = site.shim.send("GET", "/v1/services/1042/pages/overview?client=7").json["html"]
    menu = page.partition('<nav class="vmb-nav"')[2].partition("</nav>")[0]
    assert "Open PTR record" in menu
    assert "revDNS" not in menu
    assert "Reverse DNS" not in site.see("rdns")
    assert "PTR records" in site.see("rdns")


def test_an_error_without_a_call_is_no_reason_to_forget(site: Site) -> None:
    def failing(*_: Any) -> str:
        raise Transient(detail="anything")

    real = site.drivers["pve1"].set_pointer
    site.drivers["pve1"].set_pointer = failing
    assert save(site) == ""
    site.drivers["pve1"].set_pointer = real
    work(site, 20)
    work(site, 20)
    assert records(site) == {V4: NAME}
