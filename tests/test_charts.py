"""Charts in process: what PVE 8 and 9 answer, gaps, whose history it is, and that many viewers cost few reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import assets
from bridge.app import create_app
from bridge.customer import direct
from bridge.errors import NotOurs, Transient, Unreachable
from bridge.model import PERIODS, Capability
from drivers.base import Driver
from drivers.calls import time_left
from drivers.proxmox import charts as proxmox
from tests.configs import raw_config
from tests.held import HeldClock
from tests.pve.cluster import Fault, default_cluster
from tests.pve.history import SHAPES, History
from tests.test_signature import Shim
from tests.world import World

YEAR = 400 * 86400.0


@pytest.fixture(params=[8, 9])
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A server that has run for more than a year."""
    clock = HeldClock()
    world = World(tmp_path, default_cluster(clock, major=request.param))
    world.cluster.clock = world.clock
    yield aged(world)
    world.close()


@pytest.fixture
def lived(world: World) -> World:
    return aged(world)


def aged(world: World) -> World:
    world.order("create")
    world.run()
    now = world.clock.now()
    world.store.change("UPDATE services SET created_at = ?", now - YEAR)
    world.cluster.histories[20000] = History(now - YEAR, [(now - YEAR, True)])
    world.cluster.calls.clear()
    return world


def history(world: World) -> History:
    return world.cluster.histories[20000]


def read(world: World, period: str = "hour") -> Any:
    service = world.store.find_service("main", 1042)
    assert service
    return world.drivers["pve1"].charts(service.ref, period)


def shim_of(world: World) -> Shim:
    return Shim(create_app(world.context).test_client(), world.clock)


def get(shim: Shim, period: str = "hour", more: str = "") -> Any:
    return shim.send("GET", f"/v1/services/1042/charts?client=7&period={period}{more}")


def reads(world: World) -> int:
    return len([c for c in world.cluster.calls if c[2].endswith("/rrddata")])


# -- the driver -----------------------------------------------------------------------------------
@pytest.mark.parametrize("period", PERIODS)
def test_both_releases_over_every_period(old: World, period: str) -> None:
    series = read(old, period)
    points, step = SHAPES[old.cluster.major][period]
    assert len(series.times) <= proxmox.MOST_POINTS + 1
    assert len(series.times) >= min(points, 100) // 2
    assert series.step == step * max(1, -(-points // proxmox.MOST_POINTS))
    assert {b - a for a, b in zip(series.times, series.times[1:], strict=False)} == {series.step}
    assert set(series.series) == {"cpu", "mem", "maxmem", "diskread", "diskwrite", "netin", "netout"}
    assert all(len(v) == len(series.times) for v in series.series.values())
    assert all(0 <= v <= 100 for v in series.series["cpu"] if v is not None)
    assert set(series.series["maxmem"]) - {None} == {2048 * 1024**2}


def test_units_are_ours(lived: World) -> None:
    history(lived).cpu = 0.25
    assert set(read(lived).series["cpu"]) == {25.0}


@pytest.mark.parametrize("how", ["holes", "skipped"])
@pytest.mark.parametrize("period", ["hour", "day", "month"])
def test_what_was_not_measured_is_a_gap(old: World, how: str, period: str) -> None:
    now, length = old.clock.now(), PERIODS[period]
    a, b = now - 0.6 * length, now - 0.4 * length
    setattr(history(old), how, [(a, b)])
    series = read(old, period)
    inside = [v for t, v in zip(series.times, series.series["netin"], strict=True) if a <= t and t + series.step <= b]
    outside = [
        v
        for t, v in zip(series.times, series.series["netin"], strict=True)
        if t + series.step <= a - series.step or t >= b + series.step
    ]
    assert len(inside) >= 5
    assert set(inside) == {None}
    assert len(outside) >= 20
    assert None not in outside


def test_half_a_group_of_points_is_a_gap_and_less_is_not() -> None:
    rows = [{"time": 60 * n, "cpu": 0.5} for n in range(4, 1444)]
    for n in (400, 401, 802):
        del rows[n - 4]["cpu"]
    series = proxmox.series_of(rows)
    assert series.step == 240
    assert [t for t, v in zip(series.times, series.series["cpu"], strict=True) if v is None] == [24000]


def test_old_rows_far_apart_beside_new_ones_are_no_gaps() -> None:
    """A month as it comes for some time after an upgrade from 8 to 9."""
    rows = [{"time": 43200 * n, "cpu": 0.1} for n in range(30)] + [
        {"time": 43200 * 29 + 1800 * n, "cpu": 0.2} for n in range(1, 200)
    ]
    assert None not in proxmox.series_of(rows).series["cpu"]


def test_absurd_replies_stay_small() -> None:
    rows = [{"time": t, "cpu": 0.1} for t in (0, 60, 120, 10**15)]
    series = proxmox.series_of([*rows, {"time": None}, {}])
    assert len(series.times) <= proxmox.MOST_POINTS + 1
    assert proxmox.series_of([]).times == ()
    assert proxmox.series_of([{"time": 60}]).times == ()


def test_a_stopped_machine_has_its_history(lived: World) -> None:
    lived.order("stop")
    lived.run()
    lived.clock.time += 1800
    series = read(lived)
    cpu = series.series["cpu"]
    assert cpu[0] is not None
    assert set(cpu[-20:]) == {None}
    assert series.series["maxmem"][-1] is not None


def test_no_rrd_file_yet_is_no_error(old: World) -> None:
    del old.cluster.histories[20000]
    assert read(old).times == ()
    old.cluster.faults = [Fault("status", path="rrddata", status=500, reason="No DS called 'netin'", times=1)]
    assert read(old).times == ()


def test_other_errors_of_the_same_call_are_errors(lived: World) -> None:
    lived.cluster.faults = [
        Fault("status", path="rrddata", status=500, reason="got no worker upid - No such file or directory", times=1)
    ]
    with pytest.raises(Exception, match="refused"):
        read(lived)


def test_another_machine_under_our_id_is_never_shown(lived: World) -> None:
    """PVE answers from the id alone."""
    vm = lived.cluster.vms[20000]
    vm.config["smbios1"] = "uuid=11111111-2222-3333-4444-555555555555"
    with pytest.raises(NotOurs):
        read(lived)
    reply = get(shim_of(lived)).get_json()
    assert reply["times"] == []
    assert "staff" in reply["message"]
    assert reads(lived) == 0


def test_a_machine_that_moved_is_found(lived: World) -> None:
    vm = lived.cluster.vms[20000]
    vm.node = next(n for n in lived.cluster.nodes if n != vm.node)
    assert read(lived).times
    assert f"/nodes/{vm.node}/" in lived.cluster.calls[-1][2]


def test_a_driver_cannot_promise_charts_without_having_them() -> None:
    with pytest.raises(TypeError, match="charts"):
        type(
            "Half",
            (Driver,),
            {"capabilities": frozenset({Capability.CHARTS})},
        )


def test_the_privilege_is_needed(lived: World) -> None:
    lived.cluster.privileges["/vms"].discard("VM.Audit")
    assert "staff" in get(shim_of(lived)).get_json()["message"]


# -- the route ------------------------------------------------------------------------------------
def test_the_values_for_the_script(lived: World) -> None:
    values = get(shim_of(lived)).get_json()
    assert values["period"] == "hour"
    assert values["until"] - values["from"] == 3600
    assert values["step"] == 60
    assert values["message"] == ""
    assert len(values["times"]) == 60 == len(values["series"]["cpu"])


def test_nothing_from_before_the_service(lived: World) -> None:
    """The same VM id may have belonged to somebody in the file's first half."""
    birth = lived.clock.now() - 1800
    lived.store.change("UPDATE services SET created_at = ?", birth)
    values = get(shim_of(lived)).get_json()
    assert len(values["times"]) == 30
    assert values["times"][0] >= birth
    year = get(shim_of(lived), "year").get_json()
    assert all(t >= birth for t in year["times"])


def test_empty_is_told_calmly(lived: World) -> None:
    del lived.cluster.histories[20000]
    values = get(shim_of(lived)).get_json()
    assert values["times"] == []
    assert "some minutes" in values["message"]
    assert "failed" not in values


def test_not_set_up_yet_asks_nobody(world: World) -> None:
    world.order("create")
    values = get(shim_of(world)).get_json()
    assert "not set up" in values["message"]
    assert reads(world) == 0


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/services/1042/charts?client=7", 400),
        ("/v1/services/1042/charts?client=7&period=decade", 400),
        ("/v1/services/1042/charts?client=8&period=hour", 404),
        ("/v1/services/9/charts?client=7&period=hour", 404),
    ],
)
def test_what_is_refused(lived: World, target: str, status: int) -> None:
    assert shim_of(lived).send("GET", target).status_code == status
    assert shim_of(lived).client.get(target).status_code == 401
    assert reads(lived) == 0


def test_suspended_services_are_barred(lived: World) -> None:
    lived.order("suspend")
    reply = get(shim_of(lived))
    assert reply.status_code == 403
    assert "suspended" in reply.get_json()["error"]["message"]


def test_not_part_of_the_plan(tmp_path: Path) -> None:
    raw = raw_config()
    raw["plans"]["kvm-s"]["allow"] = ["console"]
    world = World(tmp_path, plans=raw["plans"])
    try:
        aged(world)
        assert get(shim_of(world)).status_code == 403
        html = shim_of(world).send("GET", "/v1/services/1042/pages/charts?client=7").get_json()["html"]
        assert "not part of your plan" in html
        assert reads(world) == 0
    finally:
        world.close()


def test_a_running_operation_is_no_reason(lived: World) -> None:
    lived.page("backups", "take")
    assert get(shim_of(lived)).get_json()["times"]


# -- few reads ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("period", "keep"), [("hour", 30), ("year", 1800)])
def test_many_viewers_cost_one_read(lived: World, period: str, keep: int) -> None:
    shim = shim_of(lived)
    for _ in range(50):
        assert get(shim, period).get_json()["times"]
    assert reads(lived) == 1
    lived.clock.time += keep + 1
    get(shim, period)
    assert reads(lived) == 2


def test_a_new_machine_of_the_service_is_read_anew(lived: World) -> None:
    shim = shim_of(lived)
    get(shim)
    lived.store.change("UPDATE services SET vm_id = '20001'")
    assert get(shim).get_json()["times"] == []


def test_a_server_that_is_down_is_not_asked(lived: World) -> None:
    lived.store.health("pve1")
    lived.store.set_maintenance("pve1", "")
    lived.store.change("UPDATE server_health SET ok = 0 WHERE server = 'pve1'")
    values = get(shim_of(lived)).get_json()
    assert "does not answer" in values["message"]
    assert values["failed"]
    assert lived.cluster.calls == []


def test_a_node_that_is_down_is_told_calmly(lived: World) -> None:
    lived.cluster.nodes = dict.fromkeys(lived.cluster.nodes, False)
    message = get(shim_of(lived)).get_json()["message"]
    assert "does not answer" in message
    assert "595" not in message


def test_failures_are_not_kept(lived: World) -> None:
    shim = shim_of(lived)
    lived.cluster.faults = [Fault("status", path="rrddata", status=500, reason="got timeout", times=1)]
    assert get(shim).get_json()["times"] == []
    assert get(shim).get_json()["times"]


def test_at_most_two_of_a_node_and_eight_of_a_process(world: World) -> None:
    turns = direct.Reads(world.clock)
    held = []

    def enter(node: str) -> None:
        turn = turns.turn("pve1", node, world.store)
        turn.__enter__()
        held.append(turn)

    for node in ("a", "a", "b", "b", "c", "c", "d"):
        enter(node)
    with pytest.raises(Transient, match="Many people"):
        enter("a")
    enter("d")
    with pytest.raises(Transient, match="Many people"):
        enter("e")
    held.pop().__exit__(None, None, None)
    enter("e")
    while held:
        held.pop().__exit__(None, None, None)
    enter("a")
    world.store.health("pve1")
    world.store.set_maintenance("pve1", "")
    world.store.change("UPDATE server_health SET ok = 0")
    with pytest.raises(Unreachable):
        enter("b")
    held.pop().__exit__(None, None, None)


def test_who_comes_during_a_read_waits_for_it(world: World) -> None:
    from bridge.clock import Clock

    shared, begun, go, results = direct.Reads(Clock()), threading.Event(), threading.Event(), []

    def slow() -> int:
        begun.set()
        assert go.wait(10)
        return 7

    first = threading.Thread(target=lambda: results.append(shared.shared(("k",), 30, slow)))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(
        target=lambda: results.append(shared.shared(("k",), 30, lambda: pytest.fail("read twice")))
    )
    second.start()
    go.set()
    first.join(10)
    second.join(10)
    assert results == [7, 7]


def test_the_deadline_covers_all_calls_of_a_read(lived: World) -> None:
    """The node's places are waited for within it, and a call that would begin after it does not."""
    clock, turns = lived.clock, direct.Reads(lived.clock)
    with turns.turn("pve1", "pve1", lived.store):
        left = time_left.get()
        assert left
        assert left() == direct.SECONDS
        clock.time += 6
        assert read(lived).times
        assert left() == direct.SECONDS - 6
        clock.time += 6
        before = len(lived.cluster.calls)
        with pytest.raises(Transient, match="time for this read is over"):
            read(lived)
        assert len(lived.cluster.calls) == before
    assert time_left.get() is None


def test_the_cache_has_an_end(world: World) -> None:
    shared = direct.Reads(world.clock)
    for n in range(direct.MOST_KEPT + 50):
        shared.shared((n,), 1000, lambda n=n: n)
    assert len(shared._kept) == direct.MOST_KEPT
    assert shared.shared((direct.MOST_KEPT + 49,), 1000, lambda: -1) == direct.MOST_KEPT + 49
    assert shared.shared((0,), 1000, lambda: -1) == -1


# -- the page -------------------------------------------------------------------------------------
def page(shim: Shim, more: str = "") -> str:
    return str(shim.send("GET", f"/v1/services/1042/pages/charts?client=7{more}").get_json()["html"])


def test_the_page_itself_asks_nobody(lived: World) -> None:
    html = page(shim_of(lived))
    assert lived.cluster.calls == []
    assert "Hour" in html
    assert html.count("data-chart=") == 4
    assert "Choose a period" in html


def test_a_link_without_javascript_has_the_tables(lived: World) -> None:
    now = lived.clock.now()
    history(lived).holes = [(now - 1800, now - 1200)]
    html = page(shim_of(lived), "&period=hour")
    assert reads(lived) == 1
    assert html.count('<th scope="row">') >= 4 * 45
    assert "no value" in html
    assert "2.0 GiB" in html
    assert "MB/s" in html
    assert page(shim_of(lived), "&period=decade").count('<th scope="row">') == 0


def test_every_word_can_be_translated(lived: World) -> None:
    html = page(shim_of(lived), "&language=pseudo&period=hour")
    body = html[html.index("data-charts") : html.index("<script>", html.index("data-charts"))]
    for word in (
        ">Charts<",
        ">Hour<",
        ">RAM<",
        ">Network<",
        ">Used",
        "Values as a table<",
        ">no value<",
        "Last 60 minutes",
    ):
        assert word not in body, word
    del lived.cluster.histories[20000]
    assert get(shim_of(lived), "hour", "&language=pseudo").get_json()["message"].startswith("[")


def test_without_uplot_the_page_says_so_and_has_its_tables(lived: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "built", lambda name: False)
    html = page(shim_of(lived), "&period=hour")
    assert "was not built" in html
    assert 'role="img"' not in html
    assert html.count('<th scope="row">') >= 4 * 50
    assert 'data-drawn="0"' in html


def test_files_through_the_shim_are_few(lived: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = assets.version()  # kept for the life of a process
    (tmp_path / "static/uplot").mkdir(parents=True)
    (tmp_path / "static/uplot/uPlot.min.css").write_text(".uplot{}")
    (tmp_path / "static/console.js").write_text("1")
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "static")
    shim = shim_of(lived)
    assert shim.send("GET", f"/v1/assets/{version}/uplot.css").get_json() == {"result": "success", "text": ".uplot{}"}
    for name in (
        f"{version}/uplot.js",
        f"{version}/console.js",
        f"{version}/..%2Fcharts.py",
        "0123456789abcdef/uplot.css",
    ):
        assert shim.send("GET", f"/v1/assets/{name}").status_code == 404
    assert shim.client.get(f"/v1/assets/{version}/uplot.css").status_code == 401
