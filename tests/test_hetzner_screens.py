"""What a server of the provider shows: overview, charts and console, in process; the pages in real browsers stand in
test_hetzner_browser.py."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from bridge.errors import NotFound, NotOurs, Permanent, Refused, Transient, Waiting
from bridge.metering import status
from bridge.model import PERIODS
from drivers.base import Driver
from drivers.calls import in_background
from drivers.hetzner import screen
from drivers.hetzner.driver import Hetzner
from tests.hcloud.project import Fault
from tests.hcloud.screens import History
from tests.test_hetzner import Cloud
from tests.test_signature import Shim

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Cloud]:
    made = sold(tmp_path)
    yield made
    made.close()


def sold(path: Path, **plan: Any) -> Cloud:
    """A running server with a month of history."""
    world = Cloud(path, **{"allow": ["charts", "console"], **plan})
    world.order("create")
    world.run()
    world.store.change("UPDATE services SET created_at = ?", world.clock.now() - 40 * 86400)
    world.cloud.histories[server(world).id] = History(world.clock.now() - 40 * 86400)
    world.cloud.calls.clear()
    return world


def server(world: Cloud) -> Any:
    [own] = world.cloud.servers.values()
    return own


def driver(world: Cloud) -> Hetzner:
    return world.drivers["pve1"]


def read(world: Cloud, period: str = "hour") -> Any:
    return driver(world).charts(world.store.service(1).ref, period)


def refreshed(world: Cloud) -> None:
    world.store.want_status("pve1")
    world.clock.time += 100
    assert status.refresh("pve1", driver(world), world.store)


def shim_of(world: Cloud) -> Shim:
    return Shim(create_app(world.context).test_client(), world.clock)


def page(world: Cloud, name: str = "overview", more: str = "") -> str:
    return str(shim_of(world).send("GET", f"/v1/services/1042/pages/{name}?client=7{more}").json["html"])


def chart(shim: Shim, period: str = "hour", more: str = "") -> Any:
    return shim.send("GET", f"/v1/services/1042/charts?client=7&period={period}{more}")


# -- overview -------------------------------------------------------------------------------------
def test_the_bulk_read_tells_what_people_want_to_know(world: Cloud) -> None:
    server(world).ingoing, server(world).outgoing = 658_440_000, 195_310
    refreshed(world)
    service = world.store.service(1)
    assert world.store.about("pve1", service.vm_id) == {
        "image": "Debian 12",
        "place": "Nuremberg (nbg1)",
        "names": {"192.0.2.1": "static.example"},
    }
    shown = status.view(service, world.store)
    assert (shown["net_in"], shown["net_out"]) == (658_440_000, 195_310)
    html = page(world)
    for text in (
        "Nuremberg (nbg1)",
        "Debian 12",
        "195.31 KB",
        "658.44 MB",
        "192.0.2.1",
        "2001:db8:1::1",
        ">2 <small>cores",
        "4.0 GiB",
        "as of",
    ):
        assert text in html, text
    for word in ("cpu", "mem", "diskrate"):
        assert f'data-field="{word}"' not in html
        assert f'data-meter="{word}"' not in html
    assert "Network adapter" not in html
    assert "Disk activity" not in html
    assert world.cloud.calls == [("GET", "/servers", {"page": "1", "per_page": "50"})]


def test_what_is_not_known_yet_is_said(world: Cloud) -> None:
    refreshed(world)
    assert page(world).count(">not known yet</dd>") == 2
    server(world).ingoing = server(world).outgoing = 0
    refreshed(world)
    assert page(world).count(">0 B</dd>") == 2


def test_the_real_disk_is_shown_not_the_types(world: Cloud) -> None:
    server(world).kind = "cx33"  # a larger type with the old disk
    refreshed(world)
    html = page(world)
    assert ">40 <small>GiB" in html
    assert ">4 <small>cores" in html
    assert "8.0 GiB" in html


def test_what_people_want_to_know_is_written_only_when_it_changed(world: Cloud) -> None:
    refreshed(world)
    written: list[str] = []
    world.store.db.conn.set_trace_callback(
        lambda text: written.append(text) if "vm_about" in text and "INSERT" in text else None
    )
    refreshed(world)
    assert written == []
    server(world).image = "ubuntu-24.04"
    refreshed(world)
    world.store.db.conn.set_trace_callback(None)
    assert len(written) == 1
    assert world.store.about("pve1", world.store.service(1).vm_id)["image"] == "Ubuntu 24.04"


def test_it_is_forgotten_with_its_machine(world: Cloud) -> None:
    refreshed(world)
    vm_id = world.store.service(1).vm_id
    assert world.store.forget_statuses(world.clock.now() - 1) == 0
    assert world.store.about("pve1", vm_id)
    assert world.store.forget_statuses(world.clock.now() + 1) == 1
    assert world.store.about("pve1", vm_id) == {}


@pytest.mark.parametrize("image", [None, {"name": None, "description": "before the upgrade"}])
def test_a_server_without_image_or_addresses(world: Cloud, image: Any) -> None:
    """An image that was deleted is null, a snapshot has no name, and a server can be without addresses."""
    shown = {
        **world.cloud.shown(server(world)),
        "image": image,
        "public_net": {"ipv4": None, "ipv6": None, "floating_ips": []},
    }
    world.cloud.shown = lambda _: shown
    refreshed(world)
    about = world.store.about("pve1", world.store.service(1).vm_id)
    assert about["image"] == (image["description"] if image else "")
    assert about["names"] == {}
    assert ("before the upgrade" if image else "Debian 12") in page(world)


def test_names_of_the_ipv6_network(world: Cloud) -> None:
    shown = world.cloud.shown(server(world))
    shown["public_net"]["ipv6"]["dns_ptr"] = [
        {"ip": "2001:DB8:1:0::1", "dns_ptr": "<b>v6.example.com"},
        {"ip": "2001:db8:1::25", "dns_ptr": "mail.example.com"},
    ]
    world.cloud.shown = lambda _: shown
    refreshed(world)
    html = page(world)
    assert set(world.store.about("pve1", world.store.service(1).vm_id)["names"]) == {
        "192.0.2.1",
        "2001:db8:1::1",
        "2001:db8:1::25",
    }  # as we write them
    assert "&lt;b&gt;v6.example.com" in html
    assert "mail.example.com" in html
    assert "2001:db8:1::25" in html
    assert "<b>v6" not in html
    shown["public_net"]["ipv6"]["dns_ptr"] = None
    refreshed(world)
    assert "mail.example.com" not in page(world)


# -- the manual -----------------------------------------------------------------------------------
def test_the_user_manual_is_a_link_of_the_plan(tmp_path: Path, world: Cloud) -> None:
    assert "User manual" not in page(world)
    other = sold(tmp_path / "other", manual_url='https://docs.example.com/a?b=1&c="2')
    for name in ("overview", "charts"):
        html = page(other, name)
        assert 'href="https://docs.example.com/a?b=1&amp;c=&#34;2" target="_blank" rel="noopener"' in html
        assert "User manual" in html
    other.close()


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "ftp://example.com/x", "//example.com", "manual.html", "data:text/html,x"]
)
def test_another_kind_of_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(Exception, match=r"manual_url: must be a web address"):
        Cloud(tmp_path, manual_url=address)


# -- charts ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("period", screen.STEPS)
def test_every_period(world: Cloud, period: str) -> None:
    series = read(world, period)
    assert 100 <= len(series.times) <= 360
    assert series.step == screen.STEPS[period]
    assert series.times[0] > world.clock.now() - PERIODS[period] - series.step
    assert series.times[-1] > world.clock.now() - 2 * series.step
    assert set(series.series) == {"cpu", "diskread", "diskwrite", "netin", "netout"} == Hetzner.series
    assert all(len(v) == len(series.times) and None not in v for v in series.series.values())
    assert [m for m, _, _ in world.cloud.calls] == ["GET", "GET"]  # the proof, and the numbers
    asked = world.cloud.calls[1][2]
    assert datetime.fromisoformat(asked["start"]).tzinfo is not None
    assert asked["type"] == "cpu,disk,network"


def test_cpu_is_percent_of_all_cores(world: Cloud) -> None:
    world.cloud.histories[server(world).id].cpu = 150.0  # one and a half of two cores
    assert set(read(world).series["cpu"]) == {75.0}


@pytest.mark.parametrize("how", ["holes", "odd"])
def test_what_was_not_measured_is_a_gap(world: Cloud, how: str) -> None:
    now = world.clock.now()
    setattr(world.cloud.histories[server(world).id], how, [(now - 2000, now - 1000)])
    series = read(world)
    inside = [v for t, v in zip(series.times, series.series["netin"], strict=True) if now - 1970 <= t < now - 1030]
    assert len(inside) > 25
    assert set(inside) == {None}
    assert sum(v is None for v in series.series["cpu"]) <= len(inside) + 2


def test_the_steps_that_were_given_count(world: Cloud) -> None:
    """The provider lengthens them as it likes; absurd times must not fill the memory."""
    values = [[1_700_000_000 + 120 * n + 0.3, str(n)] for n in range(5)]
    series = screen.series_of(
        {"step": 120, "time_series": {"cpu": {"values": values}, "disk.0.bandwidth.read": {"values": values[:2]}}}, 1.0
    )
    assert series.step == 120
    assert len(series.times) == 5
    assert series.series["diskread"] == (0.0, 1.0, None, None, None)
    assert series.series["netin"] == (None,) * 5
    odd = screen.series_of(
        {
            "step": 1,
            "time_series": {"cpu": {"values": [[1, "1"], [8 * 10**9, "2"], [10**12, "3"], [5, "what"], [6, None]]}},
        },
        1.0,
    )
    assert len(odd.times) <= screen.MOST_POINTS
    assert odd.series["cpu"][-1] == 2.0
    assert screen.series_of({"step": 60, "time_series": {}}, 2.0).times == ()


def test_a_new_server_has_none_yet(world: Cloud) -> None:
    world.cloud.histories[server(world).id].since = world.clock.now() + 60
    assert read(world).times == ()
    assert "They appear some minutes after" in chart(shim_of(world)).json["message"]


def test_what_is_older_than_the_service_is_not_shown(world: Cloud) -> None:
    world.store.change("UPDATE services SET created_at = ?", world.clock.now() - 1800)
    assert chart(shim_of(world)).json["times"][0] >= world.clock.now() - 1800


def test_nobody_sees_anothers_history(world: Cloud) -> None:
    server(world).labels = {"vmbridge": "somebody"}
    with pytest.raises(NotOurs):
        read(world)
    assert "Our staff can tell more" in chart(shim_of(world)).json["message"]
    assert not any("metrics" in p for _, p, _ in world.cloud.calls)
    world.cloud.servers.clear()
    with pytest.raises(NotFound):
        read(world)
    assert "Our staff can tell more" in chart(shim_of(world)).json["message"]


def test_a_year_is_dimmed_with_its_reason_and_memory_is_said(world: Cloud) -> None:
    html = page(world, "charts")
    assert 'data-to="month"' in html
    assert 'data-to="year"' not in html
    assert "Only the last 30 days are kept." in html
    assert 'data-chart="memory"' not in html
    assert "RAM: this cannot be measured from outside the server." in html
    assert "Only the last 30 days are kept." in page(world, "charts", "&period=year")
    shim = shim_of(world)
    reply = chart(shim, "year").json
    assert reply["message"] == "Only the last 30 days are kept."
    assert reply["times"] == []
    assert world.cloud.calls == []
    assert chart(shim, "decade").status_code == 400


def test_a_driver_without_limits_has_all_periods() -> None:
    assert Driver.periods == tuple(PERIODS)
    assert {"mem", "maxmem"} <= Driver.series


def test_one_read_serves_many_viewers(world: Cloud) -> None:
    shim = shim_of(world)
    for seconds in (0, 40, 70):
        world.clock.time += seconds
        assert chart(shim).json["times"]
    assert len(world.cloud.calls) == 2
    world.clock.time += 20
    chart(shim)
    assert len(world.cloud.calls) == 4


def test_without_allowed_calls_the_sentence_comes_at_once(world: Cloud) -> None:
    account, shim = driver(world).account, shim_of(world)
    world.store.budget_at_most(account, 3600, 700)  # less than a fifth: it is kept for who acts
    with pytest.raises(Waiting), in_background():
        read(world)
    reply = chart(shim).json
    assert reply["failed"]
    assert "could not be read just now" in reply["message"]
    assert world.cloud.calls == []
    assert world.store.health("pve1")["ok"]
    read(world)  # somebody who acts still may
    assert len(world.cloud.calls) == 2


@pytest.mark.parametrize(
    "kind", ["reset", "lost", "locked", "unavailable", "server_error", "rate_limit_exceeded", "page", "cut", "list"]
)
def test_a_read_that_fails_is_told_calmly(world: Cloud, kind: str) -> None:
    world.cloud.faults = [Fault("GET .*metrics", kind)]
    with pytest.raises(Transient if kind != "locked" else Exception):
        read(world)
    world.cloud.faults = [Fault("GET .*metrics", kind)]
    shim = shim_of(world)
    reply = chart(shim).json
    assert reply["failed"]
    assert reply["message"].endswith("by itself.")
    assert kind == "page" or kind not in reply["message"]
    assert chart(shim).json["times"]  # a failure is not kept


def test_charts_are_part_of_the_plan_or_not(tmp_path: Path) -> None:
    world = sold(tmp_path, allow=[])
    assert "Access Denied" in str(shim_of(world).send("GET", "/v1/services/1042/pages/charts?client=7").json["title"])
    assert chart(shim_of(world)).status_code == 403
    assert world.cloud.calls == []
    world.close()


def test_a_suspended_service_shows_none(world: Cloud) -> None:
    world.order("suspend")
    world.run()
    world.cloud.calls.clear()
    reply = chart(shim_of(world))
    assert reply.status_code == 403
    assert "suspended" in reply.json["error"]["message"]
    assert world.cloud.calls == []


# -- console: the driver --------------------------------------------------------------------------
def test_a_console_is_asked_for_once_and_never_kept(world: Cloud) -> None:
    ref = world.store.service(1).ref
    one, two = driver(world).console(ref), driver(world).console(ref)
    assert one.url.startswith("wss://")
    assert one.url != two.url
    assert one.password != two.password
    assert one.subprotocol == ""
    assert one.url not in repr(one)
    assert one.password not in repr(one)
    assert "token=" not in repr(one)
    assert world.cloud.mutations() == [("POST", f"/servers/{server(world).id}/actions/request_console")] * 2


def test_the_console_of_a_server_that_is_off_gone_or_anothers(world: Cloud) -> None:
    ref = world.store.service(1).ref
    server(world).status = "off"
    with pytest.raises(Refused, match="Start the server first"):
        driver(world).console(ref)
    server(world).status, server(world).labels = "running", {"vmbridge": "somebody"}
    with pytest.raises(NotOurs):
        driver(world).console(ref)
    world.cloud.servers.clear()
    with pytest.raises(NotFound):
        driver(world).console(ref)
    assert world.cloud.mutations() == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"wss_url": f"ws://127.0.0.1:1/?token={SECRET}"}, "console_address"),
        ({"wss_url": f"https://127.0.0.1:1/?token={SECRET}"}, "console_address"),
        ({"action": {"status": "error", "error": {"code": "action_failed", "message": SECRET}}}, "console_refused"),
    ],
)
def test_an_address_that_is_not_encrypted_is_refused(world: Cloud, answer: dict[str, Any], code: str) -> None:
    api = driver(world).api
    api.post = lambda *_, **__: {
        "wss_url": f"wss://x/?token={SECRET}",
        "password": SECRET,
        "action": {"status": "success"},
        **answer,
    }
    with pytest.raises(Permanent) as told:
        driver(world).console(world.store.service(1).ref)
    assert told.value.code == code
    assert SECRET not in f"{told.value} {told.value.detail}"
