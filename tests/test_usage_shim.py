"""Usage billing as WHMCS does it: its cron, its tables and its tabs, over the real shim and the real bridge."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from bridge.metering import usage
from bridge.store import Store
from tests import stores
from tests.system import ROOT, SHIM_SECRET, System
from tests.test_shim import Rubbish, call, settled

COUNTS = ["floating_ipv4", "floating_ipv6", "ipv4", "ipv6", "snapshots"]
SUMS = ["bandwidth_in", "bandwidth_out", "bandwidth_total", "snapshot_gb", "backup_gb"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        for service in (1, 2):
            s.order(service)
        for service in (1, 2):
            settled(s, service)
        rates(s)
        yield s


def rates(s: System) -> None:
    for vm in s.cluster.vms.values():
        vm.rates = (5_000_000, 12_000_000)


def counted(s: System, service: int) -> bool:
    store = Store(s.folder / "vmbridge.db", s.key, s.clock)
    try:
        record = store.find_service("main", service)
        row = store.status_row("pve1", record.vm_id) if record else None
        return bool(row and row["total_out"] > 10_000_000)
    finally:
        store.close()


def watched(s: System, service: int) -> bool:
    requests.get(s.page(service) + "&vmb[page]=status", timeout=10)
    return counted(s, service)


def metrics(s: System, service: int) -> dict[str, Any]:
    values: dict[str, Any] = s.state()["services"][str(service)].get("metrics", {})
    return values


@contextmanager
def answered(s: System, answer: Any) -> Iterator[None]:
    """Instead of the bridge something else answers."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    other, host = Rubbish(body if answer == b"" else head + body), s.folder / "host/host.json"
    good = host.read_text()
    try:
        host.write_text(
            json.dumps({**json.loads(good), "server": {**json.loads(good)["server"], "port": str(other.port)}})
        )
        yield
    finally:
        host.write_text(good)
        other.close()


def used(**more: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(usage.METRICS, 7),
        "disk_mb": 100,
        "disk_limit_mb": 100,
        "bandwidth_mb": 50,
        "bandwidth_limit_mb": 0,
        "collected_at": 1_790_000_000,
        "stale": False,
        **more,
    }


def reply(**services: dict[str, Any]) -> dict[str, Any]:
    return {
        "result": "success",
        "month": {"name": "2027-01", "start": 1798761600, "end": 1801440000},
        "services": services,
    }


def test_the_list_of_metrics_is_for_ever_and_asks_nobody(system: System) -> None:
    snapshot, month, unit = "snapshot", "period-month", "WHMCS\\UsageBilling\\Metrics\\Units\\"
    with answered(system, b""):
        listed = system.post("/test/metric_list", {})
    assert {name: tuple(of[1:]) for name, of in listed.items()} == {
        **{name: (snapshot, unit + "WholeNumber", None) for name in COUNTS},
        **{name: (month, unit + "GigaBytes", None) for name in SUMS},
    }
    assert sorted(listed) == sorted(usage.METRICS)
    assert all(of[0] for of in listed.values())


def test_there_is_no_provider_where_whmcs_has_no_usage_billing() -> None:
    code = "define('WHMCS', true); require $argv[1] . '/vmbridge.php'; var_export(vmbridge_MetricProvider([]));"
    made = subprocess.run(
        ["php", "-r", code, str(ROOT / "whmcs-shim/modules/servers/vmbridge")], capture_output=True, text=True
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, "NULL", "")


def test_cron_collects_every_metric_of_every_service_in_one_call(system: System) -> None:
    s = system
    s.wait_for(lambda: watched(s, 1) and watched(s, 2), 60, "traffic of both")
    assert s.post("/test/metrics", {})["kept"] == 20
    for service in (1, 2):
        values = metrics(s, service)
        assert sorted(values) == sorted(usage.METRICS)
        assert values["ipv4"]["records"] == {"now": 2.0}
        assert values["ipv6"]["records"] == {"now": 1.0}
        assert values["snapshots"]["records"] == {"now": 0.0}
        [(month, total)] = values["bandwidth_total"]["records"].items()
        assert re.fullmatch(r"\d{4}-\d\d", month)
        assert total > 0.01
        assert total == pytest.approx(
            values["bandwidth_in"]["records"][month] + values["bandwidth_out"]["records"][month]
        )
        assert values["backup_gb"]["records"][month] == 0.0
    before = metrics(s, 1)["bandwidth_out"]["records"]
    s.post("/test/metrics", {})  # a repeat overwrites
    assert metrics(s, 1)["bandwidth_out"]["records"].keys() == before.keys()


def test_the_worker_books_by_itself(system: System) -> None:
    s = system
    s.wait_for(lambda: watched(s, 1), 60)
    store = Store(s.folder / "vmbridge.db", s.key, s.clock)
    try:
        service = store.find_service("main", 1)
        assert service
        store.change("UPDATE usage_marks SET booked_at = booked_at - 3700")
        s.wait_for(lambda: sum(r["net_out"] for r in stores.months(store, service.id)) > 10_000_000, 60, "the booking")
    finally:
        store.close()


def test_one_service_is_refreshed_alone(system: System) -> None:
    s = system
    s.wait_for(lambda: watched(s, 1), 60)
    before = metrics(s, 2)
    assert s.post("/test/metrics", {"serviceid": 1})["kept"] == 10
    assert metrics(s, 2) == before


def test_disk_and_bandwidth_are_written_for_all_in_one_statement(system: System) -> None:
    s = system
    s.wait_for(lambda: watched(s, 1) and watched(s, 2), 60)
    call(s, "UsageUpdate")
    for service in ("1", "2"):
        row = s.state()["services"][service]["columns"]
        assert (row["diskusage"], row["disklimit"], row["bwlimit"]) == (64425, 64425, 0)  # 20 and 40 GiB
        assert row["bwusage"] > 10
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["lastupdate"])
    assert s.state()["statements"] == 1


def test_only_rows_of_this_server_are_written(system: System) -> None:
    s = system
    s.post("/test/order", {"serviceid": 50, "server": 2, "properties": {"vmbridge_id": "50"}})
    with answered(s, reply(**{"50": used()})):
        call(s, "UsageUpdate")
    assert s.state()["services"]["50"]["columns"]["lastupdate"] is None


def test_many_services_are_few_statements(system: System) -> None:
    with answered(system, reply(**{str(i): used() for i in range(1000, 4001)})):  # more than a page's reply may have
        call(system, "UsageUpdate")
    assert system.state()["statements"] == 7


def test_old_numbers_are_not_billed_as_new(system: System) -> None:
    """The month's sums keep what WHMCS has, counts go on; staff reads one line."""
    s = system
    s.post("/test/order", {"serviceid": 60, "properties": {"vmbridge_id": "60"}})
    with answered(s, reply(**{"60": used(bandwidth_in=3)})):
        s.post("/test/metrics", {})
        call(s, "UsageUpdate")
    first, columns = metrics(s, 60), s.state()["services"]["60"]["columns"]
    assert first["bandwidth_in"]["records"] == {"2027-01": 3.0}
    assert columns["bwusage"] == 50
    logged = len(s.state()["activity"])
    with answered(s, reply(**{"60": used(bandwidth_in=9, bandwidth_mb=99, ipv4=5, stale=True)})):
        s.post("/test/metrics", {})
    values = metrics(s, 60)
    assert {n: values[n] for n in SUMS} == {n: first[n] for n in SUMS}
    assert values["ipv4"]["records"] == {"now": 5.0}
    assert [
        line
        for line in s.state()["activity"][logged:]
        if "not current for 1 services" in line and line.endswith(": 60")
    ]
    assert len(s.state()["activity"]) == logged + 1
    with answered(s, reply(**{"60": used(bandwidth_in=9, collected_at=0, stale=True, new=True)})):
        s.post("/test/metrics", {})
    assert len(s.state()["activity"]) == logged + 1
    assert metrics(s, 60)["bandwidth_in"] == first["bandwidth_in"]
    with answered(s, reply(**{"60": used(bandwidth_mb=99, stale=True)})):
        call(s, "UsageUpdate")
    assert s.state()["services"]["60"]["columns"] == columns


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00rubbish",
        b"[]",
        {"result": "success"},
        {"result": "success", "services": {"1": {"stale": False}}, "month": {}},
    ],
)
def test_a_bridge_that_misbehaves_changes_nothing_and_is_told(system: System, answer: Any) -> None:
    s = system
    s.wait_for(lambda: watched(s, 1), 60)
    s.post("/test/metrics", {})
    call(s, "UsageUpdate")
    before, logged = s.state()["services"]["1"], len(s.state()["activity"])
    with answered(s, answer):
        s.post("/test/metrics", {})
        s.post("/test/metrics", {"serviceid": 1})
        call(s, "UsageUpdate")
    after = s.state()
    assert after["services"]["1"] == before
    assert SHIM_SECRET not in json.dumps(after["activity"])
    told = [line for line in after["activity"][logged:] if line.startswith("vmbridge: Usage of server pve1")]
    assert len(told) == 3


def test_a_database_that_refuses_is_told(system: System) -> None:
    s, host = system, system.folder / "host/host.json"
    good, before = host.read_text(), s.state()["services"]
    try:
        host.write_text(json.dumps({**json.loads(good), "database_down": True}))
        call(s, "UsageUpdate")
    finally:
        host.write_text(good)
    assert s.state()["services"] == before
    assert s.state()["activity"][-1] == "vmbridge: Usage of server pve1 could not be written: PDOException"


def test_a_server_that_the_bridge_does_not_know(system: System) -> None:
    s, host = system, system.folder / "host/host.json"
    good = host.read_text()
    try:
        host.write_text(
            json.dumps({**json.loads(good), "server": {**json.loads(good)["server"], "accesshash": "pve9"}})
        )
        assert s.post("/test/metrics", {})["kept"] == 0
        assert any("'pve9' is not a server of the bridge; known: pve1" in line for line in s.state()["activity"])
    finally:
        host.write_text(good)


def test_the_tabs_show_our_numbers_and_the_others_stay(system: System) -> None:
    s = system
    s.order(3, configoptions={"RAM": "2|2 GiB"}, customfields={"SSH key": "ssh-ed25519 AAAA"})
    settled(s, 3)
    rates(s)
    s.wait_for(lambda: watched(s, 3), 60)
    s.post("/test/metrics", {})
    call(s, "UsageUpdate")
    for theme in ("", "&theme=six"):
        text = requests.get(s.page(3) + theme, timeout=10).text
        assert re.findall(r'href="#vmb-(\w+)" data-toggle="tab"', text) == [
            "configoptions",
            "metrics",
            "additionalinfo",
            "resourceusage",
        ]
        assert "vm-3.example.com" in text
        assert "ssh-ed25519 AAAA" in text
        assert "2|2 GiB" in text
        assert re.search(r'data-metric="ipv4"><th scope="row">IPv4 addresses</th>\s*<td>2 Addresses</td>', text)
        assert "64425 MB / 64425 MB" in text
