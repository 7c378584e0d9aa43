"""What Prometheus is told: values by their name, over HTTP; and that alerts and dashboard name what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bridge import metrics
from bridge.counts import Counts, counts
from bridge.errors import StoreUnavailable, Unreachable
from bridge.store.console import ALIVE
from bridge.watch import CERTIFICATE, ends, peers
from drivers.calls import calling
from tests.system import free_port
from tests.world import World

ROOT = Path(__file__).parent.parent
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    counts.take()


def scraped(world: World) -> Values:
    """Every sample by (name, labels), as a scrape over HTTP has it."""
    world.context.config.metrics["listen"] = f"127.0.0.1:{free_port()}"
    server = metrics.listen(world.context)
    assert server is not None
    try:
        reply = requests.get(f"http://{world.context.config.metrics['listen']}/metrics", timeout=30)
        other = requests.get(f"http://{world.context.config.metrics['listen']}/", timeout=30)
    finally:
        server.shutdown()
        server.server_close()
    assert (reply.status_code, other.status_code) == (200, 404)
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(reply.text)
        for s in family.samples
    }


def of(values: Values, name: str, **labels: str) -> float:
    """The one sample of this name with these labels among its own."""
    matching = [v for (n, told), v in values.items() if n == name and labels.items() <= dict(told).items()]
    assert len(matching) == 1, (name, labels, matching)
    return matching[0]


def test_an_installation_at_work(world: World) -> None:
    world.order("create", 1042)
    values = scraped(world)
    assert of(values, "vmbridge_operations_open", kind="create", state="running") == 1
    assert of(values, "vmbridge_pool_addresses_taken", pool="public-v4") == 1
    assert of(values, "vmbridge_pool_addresses", pool="public-v4") == 241
    assert of(values, "vmbridge_server_ids_left", server="pve1") == 9999
    assert of(values, "vmbridge_server_ids", server="pve1") == 10000
    world.clock.time += 40
    assert of(scraped(world), "vmbridge_queue_age_seconds") == 40
    world.run()
    values = scraped(world)
    assert of(values, "vmbridge_operation_duration_seconds_count", kind="create", state="done") == 1
    took = of(values, "vmbridge_operation_duration_seconds_sum", kind="create", state="done")
    assert 40 <= took < 300
    assert of(values, "vmbridge_operation_duration_seconds_bucket", kind="create", state="done", le="30.0") == 0
    assert of(values, "vmbridge_operation_duration_seconds_bucket", kind="create", state="done", le="+Inf") == 1
    assert of(values, "vmbridge_upstream_calls_total", server="pve1", method="POST", **{"class": "ok"}) >= 2
    assert of(values, "vmbridge_outbox_deliveries_total", event="ready", **{"class": "ok"}) == 1
    assert of(values, "vmbridge_queue_age_seconds") == 0
    assert of(values, "vmbridge_store_write_wait_seconds_count") > 10
    assert of(values, "vmbridge_store_bytes") > 10_000
    assert of(values, "vmbridge_server_services", server="pve1") == 1
    assert of(values, "vmbridge_build_info") == 1


def test_what_goes_wrong_is_told(world: World) -> None:
    store = world.store
    store.refresh_failed("pve1", "does not answer", True)
    store.refresh_failed("pve1", "does not answer", True)
    world.order("create", 1042)
    store.emit("ready", "main", None, "x")
    event = store.claim_event(60)
    assert event
    store.event_failed(event["id"], "no", 3600)
    world.clock.time += 1000
    values = scraped(world)
    assert of(values, "vmbridge_server_up", server="pve1") == float(store.health("pve1")["ok"])
    assert of(values, "vmbridge_server_failures", server="pve1") == 2
    assert of(values, "vmbridge_outbox_oldest_seconds", event="ready") == 1000
    assert of(values, "vmbridge_outbox_failing", event="ready") == 1
    assert of(values, "vmbridge_operation_oldest_seconds", server="pve1") == 1000
    store.worker_lives()
    store.backed_up()
    store.note_fact(f"{CERTIFICATE}pve1", 1_800_100_000.0)
    key = store.current_operation(1)
    assert key
    store.change("UPDATE operations SET state = 'waiting_for_staff' WHERE id = ?", key.id)
    values = scraped(world)
    assert of(values, "vmbridge_operations_waiting_for_staff", server="pve1") == 1
    assert of(values, "vmbridge_worker_seen_timestamp_seconds") == world.clock.time
    assert of(values, "vmbridge_store_backup_timestamp_seconds") == world.clock.time
    assert of(values, "vmbridge_certificate_end_timestamp_seconds", peer="pve1") == 1_800_100_000
    assert store.consoles_open() == 0
    store.open_console(1, 7, "client", "x", 3)
    assert of(scraped(world), "vmbridge_consoles_open") == 1
    world.clock.time += ALIVE + 1
    assert of(scraped(world), "vmbridge_consoles_open") == 0


def test_failed_tries_are_counted_by_class(world: World) -> None:
    world.order("create", 1042)
    driver = world.drivers["pve1"]

    def broken(*_: Any, **__: Any) -> None:
        raise Unreachable()

    driver.place = broken
    for _ in range(3):
        world.engine.tick()
        world.clock.time += 5
    values = scraped(world)
    assert of(values, "vmbridge_operation_failed_tries_total", kind="create", **{"class": "Unreachable"}) >= 1
    assert of(values, "vmbridge_operations_failing", server="pve1") == 1


def test_a_call_that_fails_is_counted_with_its_class(world: World) -> None:
    with pytest.raises(Unreachable), calling("pve1", "GET", "x", False):
        raise Unreachable()
    assert of(scraped(world), "vmbridge_upstream_calls_total", **{"class": "Unreachable"}) == 1


def test_what_cannot_be_saved_counts_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    counts.add("vmbridge_upstream_calls", {"server": "pve1", "method": "GET", "class": "ok"}, 5)

    def locked(*_: Any) -> None:
        raise StoreUnavailable()

    with monkeypatch.context() as m:
        m.setattr(world.store, "add_counts", locked)
        with pytest.raises(StoreUnavailable):
            metrics.save(world.store)
    metrics.save(world.store)
    world.store.add_counts({("vmbridge_upstream_calls", '{"class": "ok", "method": "GET", "server": "pve1"}'): 2})
    assert of(scraped(world), "vmbridge_upstream_calls_total", method="GET", server="pve1") == 7


def test_a_store_that_cannot_be_read_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(*_: Any) -> None:
        raise StoreUnavailable()

    monkeypatch.setattr(world.store, "open_operations", unread)
    values = scraped(world)
    assert of(values, "vmbridge_store_readable") == 0
    assert not [k for k in values if k[0] == "vmbridge_server_up"]


def test_a_place_that_is_taken_ends_no_worker(world: World) -> None:
    world.context.config.metrics["listen"] = f"127.0.0.1:{free_port()}"
    first = metrics.listen(world.context)
    assert first is not None
    assert metrics.listen(world.context) is None
    first.shutdown()
    first.server_close()
    world.context.config.metrics["listen"] = ""
    assert metrics.listen(world.context) is None
    assert metrics.saving(world.context, threading.Event()) is None


def test_buckets_are_those_that_values_belong_to() -> None:
    some, name = Counts(), "vmbridge_store_write_wait_seconds"
    for seconds in (0.001, 0.0011, 11):
        some.observe(name, {}, seconds)
    taken = {json.loads(labels).get("le", n): v for (n, labels), v in some.take().items()}
    assert taken == {"0.001": 1, "0.01": 1, "+Inf": 1, f"{name}_sum": pytest.approx(11.0021)}


def test_the_end_of_a_certificate_is_read(world: World, tmp_path: Path) -> None:
    from tests.pve.http import HttpsServer

    assert peers(world.config) == {"pve1": ("https://pve.test:8006", "", 8006)}
    with HttpsServer(world.cluster, tmp_path) as server:
        end = ends(f"https://127.0.0.1:{server.port}", str(server.ca_file))
        assert end > 1_700_000_000
        with pytest.raises(OSError, match=r"self.signed|unable to get"):
            ends(f"https://127.0.0.1:{server.port}")


# -- documents --------------------------------------------------------------------------------------
def known(world: World) -> set[str]:
    """Every sample's name that there can be."""
    names = {family.name for family in metrics.Installation(world.context).collect()}
    names |= {"vmbridge_store_backup_timestamp_seconds", "vmbridge_worker_seen_timestamp_seconds"}
    names |= {f"{n}_total" for n in metrics.COUNTERS}
    return names | {f"{n}_{part}" for n in metrics.HISTOGRAMS for part in ("bucket", "sum", "count")}


def test_alerts_dashboard_and_document_name_what_there_is(world: World) -> None:
    have = known(world)
    named: dict[str, set[str]] = {}
    for file in ("alerts.yml", "grafana.json", "metrics.md"):
        named[file] = set(re.findall(r"\bvmbridge_[a-z_]+", (ROOT / "docs" / file).read_text("utf-8")))
        assert named[file] <= have | set(metrics.COUNTERS) | set(metrics.HISTOGRAMS), file
    families = {f.name for f in metrics.Installation(world.context).collect()} - set(metrics.COUNTERS)
    missing = {f for f in families if f not in named["metrics.md"]}
    missing |= {c for c in metrics.COUNTERS if f"{c}_total" not in named["metrics.md"]}
    assert not missing


def test_promtool_takes_the_rules_and_what_is_served(world: World) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run(
        [promtool, "check", "rules", str(ROOT / "docs/alerts.yml")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics.Installation(world.context))
    served = generate_latest(registry)
    told = subprocess.run([promtool, "check", "metrics"], input=served, capture_output=True, timeout=60)
    assert told.returncode == 0, told.stderr.decode()
