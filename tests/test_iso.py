"""ISOs in process: what is offered, mounting in place of another one, every refusal, every lost reply, and what a look
at the page costs."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from bridge.customer import direct, isos
from bridge.errors import NotOurs
from bridge.model import Iso
from drivers.calls import time_left
from tests.hcloud.project import Fault, Lost
from tests.test_hetzner import Cloud
from tests.test_signature import Shim

FREEBSD, RESCUE, PRIVATE, ARM = "7005", "7062", "7999", "7003"
SERVES = "This server starts from an ISO as long as it is mounted: restart it."
FAULTS = ("reset", "lost", "locked", "conflict", "rate_limit_exceeded", "unavailable", "server_error")


class Site(Cloud):
    """A running cloud server whose product has both pages, and the pages over HTTP."""

    def __init__(self, path: Path, **plan: Any) -> None:
        super().__init__(path, **{"allow": ["iso", "rdns"], **plan})
        self.order("create")
        self.run()
        self.shim = self.process()
        self.cloud.calls.clear()

    def process(self) -> Shim:
        """Another process of the bridge on the same store."""
        return Shim(create_app(self.context).test_client(), self.clock)

    def reads(self) -> direct.Reads:
        reads: direct.Reads = self.shim.client.application.extensions["vmbridge_reads"]
        return reads

    def see(self, page: str, shim: Shim | None = None, service: int = 1042) -> str:
        reply = (shim or self.shim).send("GET", f"/v1/services/{service}/pages/{page}?client=7")
        assert reply.status_code == 200, reply.text
        return words(reply.json["html"])

    def send(self, page: str, service: int = 1042, kind: str = "client", action: str = "", **form: str) -> Any:
        self.shim.count += 1
        return self.shim.send(
            "POST",
            f"/v1/services/{service}/pages/{page}",
            {"params": {"userid": 7}, "actor": {"kind": kind, "id": 7, "name": ""}, "form": {"do": action, **form}},
        )

    def submit(self, page: str, service: int = 1042, **form: str) -> str:
        """The page's message; empty when it went well and the browser is sent back to the page."""
        reply = self.send(page, service, **form)
        assert reply.status_code == 200, reply.text
        if reply.json["redirect"]:
            assert reply.json["redirect"] == page
            return ""
        alert = re.search(r'role="alert">([^<]*)<', reply.json["html"])
        assert alert
        return html.unescape(alert.group(1))

    def server(self) -> int:
        return int(self.store.service(1).vm_id)

    def mounted(self) -> str:
        return str(self.cloud.mounted.get(self.server(), ""))

    def down(self, ok: int = 0) -> None:
        self.store.health("pve1")
        for server in self.config.servers:
            self.store.set_maintenance(server, "")  # it has a row
        self.store.change("UPDATE server_health SET ok = ?", ok)


def words(page: str) -> str:
    """What people read, without the frame's own script and style."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.S)
    content = text[text.index('<div class="vmb-content"') :]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content.replace("<wbr>", ""))).split())


def alert(page: str) -> str:
    return " ".join(html.unescape(t) for t in re.findall(r'role="alert">([^<]*)<', page))


# -- what is offered ------------------------------------------------------------------------------
def test_folders() -> None:
    folders = isos.folders(
        [
            Iso(str(n), name)
            for n, name in enumerate(
                (
                    "debian-12.iso",
                    "netboot.iso",
                    "Debian-live.iso",
                    "AlmaLinux-9.iso",
                    "debian-11.iso",
                    "-odd.iso",
                    "ALMALINUX-8.iso",
                )
            )
        ]
    )
    assert [(f.name, [i.name for i in f.isos]) for f in folders] == [
        ("AlmaLinux", ["ALMALINUX-8.iso", "AlmaLinux-9.iso"]),
        ("debian", ["debian-11.iso", "debian-12.iso", "Debian-live.iso"]),
        ("OTHER", ["-odd.iso", "netboot.iso"]),
    ]


def test_a_search_finds_all_words_in_name_or_description() -> None:
    rows = [Iso("1", "ubuntu-24.04-live.iso", "Ubuntu 24.04 LTS"), Iso("2", "debian-12.iso")]
    assert [i.id for i in isos.matching(rows, "  LTS live ")] == ["1"]
    assert isos.matching(rows, "lts debian") == []
    assert len(isos.matching(rows, "")) == 2


def test_what_fits_the_machine_is_offered_and_nobody_elses_own(site: Site) -> None:
    driver = site.drivers["pve1"]
    both = {"netboot.xyz.iso"}
    x86, arm = ({i.name for i in driver.isos(a)} for a in ("x86", "arm"))
    assert len(x86) == 64
    assert x86 & arm == both
    assert "debian-13.1.0-arm64-netinst.iso" in arm
    assert len(arm) == 3
    assert not [i for i in driver.isos("x86") if i.id == PRIVATE]
    assert driver.drive(site.store.service(1).ref).fits == "x86"
    assert next(q for _, p, q in site.cloud.calls if p == "/isos") == {
        "page": "1",
        "per_page": "50",
        "architecture": "x86",
        "include_architecture_wildcard": "true",
    }


def test_the_page(site: Site) -> None:
    page = site.see("iso")
    assert "No ISO is mounted." in page
    assert "64 of 64" in page
    assert "FreeBSD 3" in page
    assert "debian 4" in page
    assert page.index("AlmaLinux 3") < page.index("debian 4") < page.index("virtio 51") < page.index("OTHER 2")
    assert site.submit("iso", action="mount", iso=FREEBSD) == ""
    page = site.see("iso")
    assert page.startswith(
        "ISO Mounted FreeBSD-13.4-RELEASE-amd64-dvd1.iso Your server starts from it at its next restart"
    )
    assert "Unmount" in page
    assert "FreeBSD 13.4 mounted" in page
    assert "Restart now" in page
    assert "Mounting another one takes the place" in page
    assert site.mounted() == FREEBSD


def test_a_search_without_script(site: Site) -> None:
    reply = site.send("iso", action="search", find=' LTS  "><b> ')
    assert "<b>" not in reply.json["html"]
    assert 'value="LTS &#34;&gt;&lt;b&gt;"' in reply.json["html"]
    assert "No ISO has these words" in words(reply.json["html"])
    reply = site.send("iso", action="search", find="lts")
    page = words(reply.json["html"])
    assert "1 of 64" in page
    assert "ubuntu-24.04.3-live-server-amd64.iso" in page
    assert "FreeBSD" not in page
    assert '<details class="vmb-folder" open>' in reply.json["html"]
    refused = site.send("iso", action="mount", iso="1", find="lts").json["html"]
    assert 'value="lts"' in refused
    assert "1 of 64" in words(refused)
    assert site.cloud.mutations() == []


def test_a_name_is_only_text(site: Site) -> None:
    site.cloud.isos[0]["name"] = site.cloud.isos[0]["description"] = "<img src=x>-'\"%%VMBRIDGE_TOKEN%%"
    reply = site.shim.send("GET", "/v1/services/1042/pages/iso?client=7").json["html"]
    assert "<img" not in reply
    assert "&lt;img src=x&gt;-" in reply
    assert "&#34;%%VMBRIDGE_TOKEN%%" not in reply


# -- mounting -------------------------------------------------------------------------------------
def test_mounting_takes_the_place_of_what_is_mounted_and_a_repeat_is_nothing(site: Site) -> None:
    for iso in (FREEBSD, RESCUE, RESCUE):
        assert site.submit("iso", action="mount", iso=iso) == ""
        assert site.mounted() == iso
    assert [p.rpartition("/")[2] for _, p in site.cloud.mutations()] == ["attach_iso", "attach_iso"]
    assert site.submit("iso", action="unmount") == ""
    assert site.mounted() == ""
    assert site.submit("iso", action="unmount") == ""
    assert [p.rpartition("/")[2] for _, p in site.cloud.mutations()] == ["attach_iso", "attach_iso", "detach_iso"]
    assert site.store.operations_of(1, 5)[0].kind == "create"  # no operation


@pytest.mark.parametrize(
    "iso", [PRIVATE, ARM, "999", "", "../7005", "7005 ", "FreeBSD-13.4-RELEASE-amd64-dvd1.iso", "x" * 190]
)
def test_only_what_is_offered_is_mounted(site: Site, iso: str) -> None:
    wrong = iso.strip() != FREEBSD
    assert site.submit("iso", action="mount", iso=iso) == (isos.GONE if wrong else "")
    assert len(site.cloud.mutations()) == (0 if wrong else 1)


def test_one_that_vanished_since_it_was_listed(site: Site) -> None:
    site.see("iso")
    site.cloud.isos = [i for i in site.cloud.isos if i["id"] != int(FREEBSD)]
    assert site.submit("iso", action="mount", iso=FREEBSD) == isos.GONE
    assert site.mounted() == ""


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("invalid_input", isos.GONE),
        ("not_found", isos.GONE),
        ("forbidden", direct.NOT_TAKEN),
        ("unauthorized", direct.NOT_TAKEN),
        ("resource_limit_exceeded", direct.LIMITED),
    ],
)
def test_what_the_provider_refuses_is_told_in_our_words(site: Site, code: str, told: str) -> None:
    site.cloud.faults = [Fault(".*attach_iso", code)]
    reply = site.send("iso", action="mount", iso=FREEBSD).json["html"]
    assert alert(reply) == told
    assert code not in words(reply)


def test_a_private_one_that_staff_mounted_is_shown_and_can_be_unmounted(site: Site) -> None:
    site.cloud.mounted[site.server()] = int(PRIVATE)
    assert "Mounted somebody's own" in site.see("iso")
    assert site.submit("iso", action="unmount") == ""
    assert site.mounted() == ""


def test_a_task_that_fails_and_one_that_takes_long(site: Site) -> None:
    site.cloud.faults = [Fault(".*attach_iso", "failing action")]
    assert site.submit("iso", action="mount", iso=FREEBSD) == direct.NOT_TAKEN
    site.cloud.durations["attach_iso"] = 60.0
    begun = site.clock.time
    assert site.submit("iso", action="mount", iso=RESCUE) == ""
    assert site.clock.time - begun < 10
    assert site.mounted() == RESCUE


# -- refusals -------------------------------------------------------------------------------------
def test_not_part_of_the_product(tmp_path: Path) -> None:
    site = Site(tmp_path, allow=["rdns"])
    assert "not part of your plan" in site.see("iso")
    for action in ("mount", "unmount"):
        reply = site.send("iso", action=action, iso=FREEBSD)
        assert reply.status_code == 403
        assert reply.json["error"]["code"] == "access_denied"
    assert "64" not in words(site.send("iso", action="search", find="a").json["html"])
    assert site.cloud.calls == []
    site.close()


def test_an_action_that_there_is_not_and_another_clients_server(site: Site) -> None:
    assert site.send("iso", action="eject").status_code == 403
    reply = site.shim.send(
        "POST", "/v1/services/1042/pages/iso", {"params": {"userid": 8}, "form": {"do": "mount", "iso": FREEBSD}}
    )
    assert reply.status_code == 404
    assert site.cloud.calls == []


def test_while_an_operation_runs(site: Site) -> None:
    site.order("reboot")
    busy = "The server is restarting, as our staff ordered; try again when this is done."
    for form in ({"action": "mount", "iso": FREEBSD}, {"action": "unmount"}):
        assert site.submit("iso", **form) == busy
    assert busy in site.see("iso")
    assert site.cloud.mutations() == []
    site.run()
    assert site.submit("iso", action="mount", iso=FREEBSD) == ""


def test_suspended_unfinished_and_ended(site: Site) -> None:
    site.order("suspend")
    assert site.submit("iso", action="mount", iso=FREEBSD) == "The service is suspended."
    site.run()
    assert "The service is suspended." in site.see("iso")
    site.order("terminate")
    site.run()
    site.cloud.calls.clear()
    assert site.submit("iso", action="unmount") == "The service has ended."
    site.order("create")
    assert site.submit("iso", action="mount", iso=FREEBSD).endswith("try again when this is done.")
    assert isos.NOT_BUILT in site.see("iso")
    assert site.cloud.calls == []


def test_too_often(site: Site) -> None:
    site.cloud.durations["attach_iso"] = site.cloud.durations["detach_iso"] = 0.0
    told = []
    for n in range(70):
        told.append(site.submit("iso", action="mount" if n % 2 else "unmount", iso=FREEBSD))
    assert told[0] == ""
    assert "Try again in 1 min" in told[-1]
    before = len(site.cloud.mutations())
    assert "often enough" in site.submit("iso", action="unmount")
    assert len(site.cloud.mutations()) == before
    assert site.send("iso", kind="admin", action="unmount").json["redirect"] == "iso"  # staff is not counted
    site.clock.time += 300
    assert site.submit("iso", action="mount", iso=RESCUE) == ""


# -- faults ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_on_any_call_of_a_mount(tmp_path: Path, kind: str) -> None:
    """Each call once: the page says something true, and doing it again reaches the goal without a second change."""
    said = {"", direct.HELD, direct.LOST, direct.NOT_NOW, direct.HOST_DOWN}
    for n in range(1, 8):
        site = Site(tmp_path / f"{n}")
        site.cloud.faults = [fault := Fault(".*", kind, n)]
        told = site.submit("iso", action="mount", iso=FREEBSD)
        assert told in said, (kind, n, told)
        assert told or site.mounted() == FREEBSD, (kind, n)
        if told:
            site.clock.time += 60
            assert site.submit("iso", action="mount", iso=FREEBSD) == "", (kind, n)
        assert site.mounted() == FREEBSD
        assert len(site.cloud.mutations()) <= 2
        done = [c for c in site.cloud.mutations() if c[1].endswith("attach_iso")]
        assert len(done) == (2 if told and fault.seen and kind != "lost" and n == 5 else 1), (kind, n, told, done)
        site.close()


def test_a_lost_reply_shows_how_it_is(site: Site) -> None:
    site.cloud.faults = [Fault(".*attach_iso", "lost")]
    reply = site.send("iso", action="mount", iso=FREEBSD).json["html"]
    assert alert(reply) == direct.LOST
    assert "Mounted FreeBSD-13.4-RELEASE-amd64-dvd1.iso" in words(reply)
    assert site.submit("iso", action="mount", iso=FREEBSD) == ""
    assert len(site.cloud.mutations()) == 1


@pytest.mark.parametrize("kind", [*FAULTS, "page", "list"])
def test_a_page_that_cannot_be_read_says_so_and_looks_again(tmp_path: Path, kind: str) -> None:
    site = Site(tmp_path)
    for n in (1, 2, 3):
        site.cloud.faults = [Fault(".*", kind, n)]
        text = site.shim.send("GET", "/v1/services/1042/pages/iso?client=7").json["html"]
        assert "data-again" in text, (kind, n)
        assert "tries again by itself" in words(text), (kind, n)
        assert "Mount" not in words(text).replace("Mounted", ""), (kind, n)
        site.cloud.faults = []
        assert "No ISO is mounted." in site.see("iso")  # a failure is not kept
        site = Site(tmp_path / f"{n}")


def test_a_host_that_is_down_costs_no_call(site: Site) -> None:
    site.down()
    assert direct.DOWN in site.see("iso")
    assert site.submit("iso", action="unmount") == direct.HOST_DOWN
    assert site.submit("iso", action="mount", iso=FREEBSD) == direct.HOST_DOWN
    assert site.cloud.calls == []
    site.down(ok=1)
    assert site.submit("iso", action="mount", iso=FREEBSD) == ""


def test_no_calls_left(site: Site) -> None:
    site.store.budget_at_most(site.drivers["pve1"].account, 3600, 0)
    assert direct.NOT_READ in site.see("iso")
    assert site.submit("iso", action="mount", iso=FREEBSD) == direct.NOT_NOW
    assert site.cloud.calls == []


def test_another_label_is_not_ours(site: Site) -> None:
    site.see("iso")
    site.cloud.servers[site.server()].labels = {"vmbridge": "somebody"}
    assert site.submit("iso", action="mount", iso=FREEBSD) == direct.NOT_TAKEN
    assert site.submit("iso", action="unmount") == direct.NOT_TAKEN
    assert direct.FOREIGN in site.see("iso")
    assert site.cloud.mutations() == []
    with pytest.raises(NotOurs):
        site.drivers["pve1"].mount(site.store.service(1).ref, FREEBSD)


def test_a_machine_that_is_gone(site: Site) -> None:
    site.cloud.servers.clear()
    assert direct.FOREIGN in site.see("iso")
    assert site.submit("iso", action="unmount") == direct.NOT_TAKEN


def test_an_edit_and_the_page_that_answers_it_share_their_ten_seconds(site: Site) -> None:
    """The shim waits twelve."""
    site.see("iso")
    handle = site.cloud.handle

    def slow(*args: Any) -> Any:
        left = time_left.get()
        if left and left() < 4.0:  # as the library gives up
            site.clock.time += max(1.0, left())
            raise Lost()
        site.clock.time += 4.0
        return handle(*args)

    site.cloud.handle = slow
    for fault, told in (("", ""), ("locked", direct.HELD)):
        site.cloud.faults = [Fault(".*/actions/(at|de)tach_iso", fault)] if fault else []
        begun = site.clock.time
        assert site.submit("iso", action="unmount" if fault else "mount", iso=FREEBSD) == told
        assert 8.0 <= site.clock.time - begun <= 11.0
        site.clock.time += 60


def test_one_machine_is_asked_by_two_at_once_and_others_are_not_in_their_way(site: Site) -> None:
    """All servers of a place are the provider's: they are no node of ours that looks could weigh down."""
    site.order("create", 1043)
    site.run()
    reads, vm_id = site.reads(), site.store.service(1).vm_id
    with reads.turn("pve1", f"machine {vm_id}", site.store), reads.turn("pve1", f"machine {vm_id}", site.store):
        assert direct.CROWDED in site.see("iso")
        assert direct.CROWDED in site.see("rdns")
        assert site.submit("iso", action="unmount") == direct.NOT_NOW
        assert "No ISO is mounted." in site.see("iso", service=1043)


# -- what it costs --------------------------------------------------------------------------------
def test_one_list_serves_all_viewers_and_an_edit_is_seen_at_once_everywhere(site: Site) -> None:
    site.order("create", 1043)
    site.run()
    site.cloud.calls.clear()
    other = site.process()
    for _ in range(5):
        site.see("iso")
        site.see("iso", service=1043)
    assert len([c for c in site.cloud.calls if c[1] == "/isos"]) == 2
    assert len(site.cloud.calls) == 4
    assert "No ISO is mounted." in site.see("iso", other)
    assert site.submit("iso", action="mount", iso=FREEBSD) == ""
    for shim in (site.shim, other):
        assert "Unmount" in site.see("iso", shim)
        assert "No ISO is mounted." in site.see("iso", shim, 1043)
    site.cloud.calls.clear()
    site.clock.time += isos.LISTED + 1
    site.see("iso")
    assert len([c for c in site.cloud.calls if c[1] == "/isos"]) == 2
