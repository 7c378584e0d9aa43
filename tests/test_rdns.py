"""Reverse DNS in process: whose addresses, which names, what cannot be written at once, two at a time, and every kill
and lost reply."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from bridge.customer import direct, dns
from bridge.errors import BadRequest, NotOurs, Refused, StoreUnavailable, Transient
from bridge.model import Pointer, VmRef
from bridge.store import archive
from tests.configs import KEY
from tests.hcloud.network import Ip
from tests.hcloud.project import Fault
from tests.test_iso import FAULTS, FREEBSD, Site, alert, words

V4, V6, NAME = "192.0.2.1", "2001:db8:1::25", "mail.example.com"
NOT_WRITTEN = "This was not written. Save it again, perhaps with another name, or write to us."
WAITING = "Waiting to be written. This goes on by itself."


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def save(site: Site, address: str = V4, name: str = NAME, **form: str) -> str:
    return site.submit("rdns", action="save", address=address, name=name, **form)


def records(site: Site) -> dict[str, str]:
    """As the provider has them, by address."""
    own = [site.cloud.primary_ips[i] for i in site.cloud.servers[site.server()].addresses]
    return {str(ip_address(a)): n for ip in own for a, n in ip.ptr.items()}


def floating(number: int, ip: str, label: str, owner: int | None, ptr: dict[str, str] | None = None) -> Ip:
    return Ip(number, f"f{number}", "ipv6" if ":" in ip else "ipv4", ip, owner, {"vmbridge": label}, ptr=ptr or {})


def changes(site: Site) -> list[Any]:
    return [v for m, p, v in site.cloud.calls if p.endswith("/change_dns_ptr")]


def work(site: Site, seconds: float = 0.0) -> int:
    """The worker's turn after some time."""
    site.clock.time += seconds
    return dns.write_due("pve1", site.drivers["pve1"], site.store)


def wishes(site: Site) -> dict[str, str]:
    return {w["address"]: w["name"] for w in site.store.pointer_wishes(1)}


def refs(site: Site) -> VmRef:
    return site.store.service(1).ref


def fields(page: str) -> dict[str, str]:
    """Address -> what stands in its field."""
    return {
        html.unescape(a): html.unescape(n)
        for a, n in re.findall(
            r'name="vmb\[address]" value="([^"]*)">\s*<label class="vmb-field"><span>[^<]*</span>\s*'
            r'<input type="text" name="vmb\[name]" \w+="254" value="([^"]*)"',
            page,
        )
    }


# -- whose addresses ------------------------------------------------------------------------------
def test_what_the_driver_reads(site: Site) -> None:
    assert site.drivers["pve1"].pointers(refs(site)).records == (Pointer(V4, "static.example"),)
    first, second = (site.cloud.primary_ips[i] for i in site.cloud.servers[site.server()].addresses)
    first.ptr, second.ptr = {V4: NAME}, {"2001:DB8:1:0::A": "a.example.com", "2001:db8:1::9": "b.example.com"}
    uuid = site.store.service(1).uuids[0]
    site.cloud.floating_ips = {
        1: floating(1, "198.51.100.7", uuid, site.server(), {"198.51.100.7": "f.example.com"}),
        2: floating(2, "2001:db8:f::/64", uuid, None, {"2001:db8:f::1": "f6.example.com"}),
        3: floating(3, "198.51.100.9", "somebody", site.server()),
    }
    pointers = site.drivers["pve1"].pointers(refs(site))
    assert pointers.networks == ("2001:db8:1::/64", "2001:db8:f::/64")
    assert pointers.takes == (60.0, 600.0)
    assert [(p.address, p.name) for p in pointers.records] == [
        (V4, NAME),
        ("2001:db8:1::9", "b.example.com"),
        ("2001:db8:1::a", "a.example.com"),
        ("198.51.100.7", "f.example.com"),
        ("2001:db8:f::1", "f6.example.com"),
    ]


def test_a_server_without_ipv6_or_without_ipv4(site: Site) -> None:
    shown = site.cloud._public_net
    for gone, address, there in (("ipv6", V4, True), ("ipv6", V6, False), ("ipv4", V6, True), ("ipv4", V4, False)):
        site.cloud._public_net = lambda server, gone=gone: {**shown(server), gone: None}  # type: ignore[method-assign]
        if there:
            site.drivers["pve1"].set_pointer(refs(site), address, f"{gone}.example.com")
        else:
            with pytest.raises(Refused):
                site.drivers["pve1"].set_pointer(refs(site), address, NAME)
        site.clock.time += 5
    assert len(changes(site)) == 2


@pytest.mark.parametrize(
    "address",
    ["192.0.2.2", "2001:db8:2::1", "127.0.0.1", "::ffff:192.0.2.1", "203.0.113.9", "2001:db8:1:1::1", "198.51.100.9"],
)
def test_an_address_of_somebody_else(site: Site, address: str) -> None:
    site.cloud.floating_ips = {3: floating(3, "198.51.100.9", "somebody", site.server())}
    for form in ({}, {"remove": "1"}):
        assert save(site, address, **form) == f"{dns.address_of(address)} is not an address of your server."
    assert changes(site) == []
    assert wishes(site) == {}
    with pytest.raises(Refused, match="not an address"):
        site.drivers["pve1"].set_pointer(refs(site), address, NAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mail.example.com",
        "192.0.2",
        "192.0.2.0/24",
        "2001:db8:1::/64",
        "2001:db8:1::1%eth0",
        "192.0.2.1 192.0.2.2",
        "1" * 60,
    ],
)
def test_what_is_no_address_costs_no_call(site: Site, text: str) -> None:
    site.see("rdns")
    site.cloud.calls.clear()
    assert save(site, text).startswith("Address: “")
    assert site.cloud.calls == []
    assert wishes(site) == {}
    assert "Address: at most 64 characters." in save(site, "1" * 65)


def test_any_spelling_is_the_same_address(site: Site) -> None:
    for address in ("2001:0DB8:0001::25", "2001:db8:1:0:0:0:0:25", V6):
        assert save(site, address) == ""
    assert changes(site) == [{"ip": V6, "dns_ptr": NAME}]
    assert records(site) == {V6: NAME}


def test_another_label_is_not_ours(site: Site) -> None:
    site.cloud.servers[site.server()].labels = {"vmbridge": "somebody"}
    assert save(site) == direct.NOT_TAKEN
    assert direct.FOREIGN in site.see("rdns")
    assert changes(site) == []
    assert wishes(site) == {}
    with pytest.raises(NotOurs):
        site.drivers["pve1"].set_pointer(refs(site), V4, NAME)


# -- which names ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "name"),
    [
        (NAME, NAME),
        ("mail.example.com.", NAME),
        ("Mail.Example.COM", "Mail.Example.COM"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.2.3.example.com", "1.2.3.example.com"),
        (f"{'a' * 63}.example.com", f"{'a' * 63}.example.com"),
        (".".join(["a" * 49] * 5) + ".ab", ".".join(["a" * 49] * 5) + ".ab"),
        (".".join(["a" * 49] * 5) + ".abc", ".".join(["a" * 49] * 5) + ".abc"),
        ("", ""),
    ],
)
def test_host_names(text: str, name: str) -> None:
    assert dns.name_of(V4, text) == name


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        ".",
        "..",
        "mail..example.com",
        "mail.example.com..",
        "-mail.example.com",
        "mail-.example.com",
        "ma_il.example.com",
        "bücher.example",
        "mail.example.com/x",
        "*.example.com",
        f"{'a' * 64}.example.com",
        "192.0.2.1",
        "mail example.com",
        "mail.example.com\n.",
        ".".join(["a" * 49] * 5) + ".abcd",
    ],
)
def test_what_is_no_host_name_is_named_and_kept(site: Site, text: str) -> None:
    with pytest.raises(
        BadRequest,
        match=r"(?s)Host name of 192.0.2.1: .* cannot be one. Please write one like mail.example.com: letters, digits",
    ):
        dns.name_of(V4, text)
    told = save(site, name=text)
    assert told.startswith("Host name of 192.0.2.1: ")
    assert changes(site) == []
    assert wishes(site) == {}
    page = site.send("rdns", action="save", address=V4, name=text).json["html"]
    assert fields(page)[V4] == text


def test_too_long_a_name_and_an_added_record_without_one(site: Site) -> None:
    assert save(site, name="a" * 255) == "Host name of 192.0.2.1: at most 254 characters."
    assert save(site, V6, "", network="2001:db8:1::/64").startswith("Host name: please write one")
    assert changes(site) == []
    page = site.send("rdns", action="save", address=f"{V6}x", name=NAME, network="2001:db8:1::/64").json["html"]
    assert f'value="{V6}x"' in page
    assert f'value="{NAME}"' in page
    assert changes(site) == []


def test_a_name_that_the_provider_does_not_take_stays_in_its_field(site: Site) -> None:
    site.cloud.refuses_names = "example"
    page = site.send("rdns", action="save", address=V4, name=NAME).json["html"]
    assert alert(page) == f"{V4}: this name is not accepted. Please choose another one."
    assert fields(page)[V4] == NAME
    assert wishes(site) == {}
    assert work(site, 1000) == 0


@pytest.mark.parametrize("code", ["forbidden", "unauthorized", "not_found", "resource_limit_exceeded"])
def test_what_the_provider_refuses_is_told_in_our_words(site: Site, code: str) -> None:
    site.cloud.faults = [Fault("POST .*", code)]
    page = site.send("rdns", action="save", address=V4, name=NAME).json["html"]
    assert alert(page) == direct.NOT_TAKEN
    assert fields(page)[V4] == NAME
    assert code not in words(page)
    assert wishes(site) == {}


# -- the page -------------------------------------------------------------------------------------
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
