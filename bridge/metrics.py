"""What Prometheus reads: one listener, in the worker process, for all processes of the installation.

What stands in the store is read there at each scrape. What processes count (calls, retries, waits) each of them adds to
the store every ten seconds, so that a scrape sees all of them, whichever machine they run on, and a restart loses
nothing but the last seconds."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.context import Context
from bridge.counts import BOUNDS, counts
from bridge.errors import StoreUnavailable
from bridge.orders import addresses
from bridge.staff import servers
from bridge.store import Store
from bridge.store.retention import BACKED_UP
from bridge.watch import CERTIFICATE

log = structlog.get_logger()
SAVE_EVERY = 10.0
PATIENCE = 10.0  # seconds that a reader of metrics may take to ask and to read
STATES = ("running", "waiting", "waiting_for_staff")
COUNTERS = {
    "vmbridge_operation_failed_tries": ("Tries of a step that failed, by the error's class.", ("kind", "class")),
    "vmbridge_outbox_deliveries": ("Deliveries of events that were tried; class ok: taken.", ("event", "class")),
    "vmbridge_upstream_calls": (
        "Calls of back ends, of WHMCS (whmcs:NAME) and of DNS providers (dns:ZONE); class ok, or the error's.",
        ("server", "method", "class"),
    ),
}
HISTOGRAMS = {
    "vmbridge_operation_duration_seconds": ("From an operation's order to its end.", ("kind", "state")),
    "vmbridge_upstream_call_duration_seconds": ("How long calls took.", ("server", "method")),
    "vmbridge_store_write_wait_seconds": ("How long a change of the store waited for its turn to write.", ()),
}


class Installation(Collector):
    """Asked by each scrape, in the listener's own thread."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def describe(self) -> Iterable[Metric]:
        return []  # asked when it is registered: the store may not be there yet

    def collect(self) -> Iterator[Metric]:
        """Raises nothing for a store that cannot be read: then it says just that."""
        build = GaugeMetricFamily(
            "vmbridge_build_info", "Always 1; the release stands in the label.", labels=["version"]
        )
        build.add_metric([metadata.version("vmbridge")], 1.0)
        yield build
        readable = GaugeMetricFamily("vmbridge_store_readable", "1 when the store could be read for this answer.")
        try:
            with suppress(StoreUnavailable):  # what was counted here since the last time
                save(self.context.store)
            families = [
                *self._store(),
                *self._operations(),
                *self._servers(),
                *self._rooms(),
                *counted(self.context.store),
            ]
        except StoreUnavailable as e:
            log.warning("metrics_unread", detail=e.detail)
            readable.add_metric([], 0.0)
            yield readable
            return
        readable.add_metric([], 1.0)
        yield readable
        yield from families

    # -- families ---------------------------------------------------------------------------------
    def _store(self) -> Iterator[Metric]:
        """The store's own files and ages, consoles, the outbox, findings."""
        store, now = self.context.store, self.context.clock.now()
        yield _one("vmbridge_store_bytes", "Size of the store's files.", float(store.database.size()))
        seen = store.worker_seen()
        if seen is not None:
            yield _one("vmbridge_worker_seen_timestamp_seconds", "When a worker last said that it lives.", seen)
        for moment in store.facts(BACKED_UP).values():
            yield _one("vmbridge_store_backup_timestamp_seconds", "When `vmbridge backup` last made a copy.", moment)
        ends = GaugeMetricFamily(
            "vmbridge_certificate_end_timestamp_seconds", "When a peer's TLS certificate ends.", labels=["peer"]
        )
        for peer, moment in store.facts(CERTIFICATE).items():
            ends.add_metric([peer], moment)
        yield ends
        yield _one("vmbridge_consoles_open", "Consoles that customers have open.", float(store.consoles_open()))
        yield from self._outbox(now)
        kinds = GaugeMetricFamily(
            "vmbridge_findings", "Open findings, dismissed ones apart.", labels=["server", "kind"]
        )
        for row in store.finding_counts():
            kinds.add_metric([row["server"], row["kind"]], float(row["n"]))
        yield kinds

    def _outbox(self, now: float) -> Iterator[Metric]:
        rows = self.context.store.open_events()
        waiting = GaugeMetricFamily("vmbridge_outbox_events", "Events that wait to be delivered.", labels=["event"])
        failing = GaugeMetricFamily("vmbridge_outbox_failing", "Those of them that were refused.", labels=["event"])
        oldest = GaugeMetricFamily(
            "vmbridge_outbox_oldest_seconds", "How long the oldest of them waits; held ones apart.", labels=["event"]
        )
        for row in rows:
            waiting.add_metric([row["event"]], float(row["n"]))
            failing.add_metric([row["event"]], float(row["failing"]))
            if row["n"] > row["held"]:
                oldest.add_metric([row["event"]], max(0.0, now - row["oldest"]))
        held = sum(r["held"] for r in rows)
        yield from (waiting, failing, oldest)
        yield _one("vmbridge_outbox_held", "Events that a restore has held for a person.", float(held))

    def _operations(self) -> Iterator[Metric]:
        """Open operations by kind and state, and by server those that fail, wait for staff or are oldest."""
        store, now = self.context.store, self.context.clock.now()
        rows = store.open_operations()
        open_ones = GaugeMetricFamily("vmbridge_operations_open", "Open operations.", labels=["kind", "state"])
        by_kind: dict[tuple[str, str], int] = defaultdict(int)
        for row in rows:
            by_kind[row["kind"], row["state"]] += row["n"]
        for key, n in sorted(by_kind.items()):
            open_ones.add_metric(list(key), float(n))
        yield open_ones
        failing = GaugeMetricFamily(
            "vmbridge_operations_failing", "Open operations that are tried again.", labels=["server"]
        )
        staff = GaugeMetricFamily(
            "vmbridge_operations_waiting_for_staff", "Operations that a person has to look at.", labels=["server"]
        )
        oldest = GaugeMetricFamily(
            "vmbridge_operation_oldest_seconds",
            "How long ago the oldest open operation was ordered.",
            labels=["server"],
        )
        for server in sorted(self.context.config.servers):
            mine = [r for r in rows if r["server"] == server]
            failing.add_metric([server], float(sum(r["failing"] for r in mine if r["state"] == "running")))
            staff.add_metric([server], float(sum(r["n"] for r in mine if r["state"] == "waiting_for_staff")))
            oldest.add_metric([server], max((now - r["oldest"] for r in mine), default=0.0))
        yield from (failing, staff, oldest)
        due = store.longest_due()
        yield _one(
            "vmbridge_queue_age_seconds",
            "How long the operation waits for a worker that is longest due; of servers that answer.",
            max(0.0, now - due) if due is not None else 0.0,
        )

    def _servers(self) -> Iterator[Metric]:
        """One row for each configured server; a value that is not known is left out."""
        at, now = self.context, self.context.clock.now()
        texts = {
            "vmbridge_server_up": "1 while the server answers.",
            "vmbridge_server_key_good": "1 while our key can do what orders need.",
            "vmbridge_server_maintenance": "1 while staff has switched maintenance on.",
            "vmbridge_server_failures": "Reads in vain since the last good one.",
            "vmbridge_server_read_age_seconds": "Age of the last bulk read of machines.",
            "vmbridge_server_services": "Services that are not terminated.",
            "vmbridge_server_ids": "VM ids of the configured ranges.",
            "vmbridge_server_ids_left": "VM ids that were not given yet.",
            "vmbridge_budget_calls": "Calls an hour that the provider allows.",
            "vmbridge_budget_calls_left": "Calls that are left of it now.",
        }
        families = {n: GaugeMetricFamily(n, t, labels=["server"]) for n, t in texts.items()}
        for view in servers.views(at.store, at.config):
            row, label = at.store.health(view.name), [view.name]
            families["vmbridge_server_up"].add_metric(label, float(bool(row["ok"])))
            families["vmbridge_server_key_good"].add_metric(label, float(not row["key_fault"]))
            families["vmbridge_server_maintenance"].add_metric(label, float(bool(row["maintenance"])))
            families["vmbridge_server_failures"].add_metric(label, float(row["failures"]))
            families["vmbridge_server_services"].add_metric(label, float(view.services))
            if row["refreshed_at"]:
                families["vmbridge_server_read_age_seconds"].add_metric(label, max(0.0, now - row["refreshed_at"]))
            if view.ids_total:
                families["vmbridge_server_ids"].add_metric(label, float(view.ids_total))
                families["vmbridge_server_ids_left"].add_metric(label, float(view.ids_total - view.ids_used))
            driver = at.drivers.get(view.name)
            if driver and driver.calls_per_hour:
                left = at.store.calls_left(driver.account, driver.calls_per_hour)
                families["vmbridge_budget_calls"].add_metric(label, float(driver.calls_per_hour))
                families["vmbridge_budget_calls_left"].add_metric(label, left)
        yield from families.values()

    def _rooms(self) -> Iterator[Metric]:
        """Pools."""
        total = GaugeMetricFamily("vmbridge_pool_addresses", "Addresses of the pool.", labels=["pool"])
        taken = GaugeMetricFamily("vmbridge_pool_addresses_taken", "Those that services have.", labels=["pool"])
        cooling = GaugeMetricFamily(
            "vmbridge_pool_addresses_cooling", "Those that nobody may have yet.", labels=["pool"]
        )
        for use in addresses.uses(self.context.store, self.context.config):
            total.add_metric([use.pool.name], float(use.total))
            taken.add_metric([use.pool.name], float(use.taken))
            cooling.add_metric([use.pool.name], float(use.cooling))
        yield from (total, taken, cooling)


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def counted(store: Store) -> Iterator[Metric]:
    """Counters and histograms of all processes, as the store has them."""
    rows = store.counters()
    for name, (text, labels) in COUNTERS.items():
        family = CounterMetricFamily(name, text, labels=labels)
        for _, told, value in (r for r in rows if r[0] == name):
            family.add_metric([told.get(label, "") for label in labels], value)
        yield family
    for name, (text, labels) in HISTOGRAMS.items():
        yield _histogram(name, text, labels, rows)


def _histogram(
    name: str, text: str, labels: tuple[str, ...], rows: list[tuple[str, dict[str, str], float]]
) -> HistogramMetricFamily:
    """The store has what fell into each bucket; Prometheus wants how many were at most so long."""
    family = HistogramMetricFamily(name, text, labels=labels)
    hits: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    sums = {tuple(t.get(n, "") for n in labels): v for series, t, v in rows if series == f"{name}_sum"}
    for series, told, value in rows:
        if series == f"{name}_bucket":
            hits[tuple(told.get(n, "") for n in labels)][told["le"]] = value
    for key, by_bound in sorted(hits.items()):
        total, buckets = 0.0, []
        for bound in [*(f"{float(b)}" for b in BOUNDS[name]), "+Inf"]:
            total += by_bound.get(bound, 0.0)
            buckets.append((bound, total))
        family.add_metric(list(key), buckets, sums.get(key, 0.0))
    return family


# -- what each process adds -----------------------------------------------------------------------
def save(store: Store) -> None:
    """Add what this process has counted to the store. Raises StoreUnavailable, and keeps it then."""
    if taken := counts.take():
        try:
            store.add_counts(taken)
        except BaseException:
            counts.give_back(taken)
            raise


def saving(context: Context, stop: threading.Event) -> threading.Thread | None:
    """A thread that adds it until `stop`, begun; None where nobody asked for metrics."""
    if not context.config.metrics["listen"]:
        return None

    def run() -> None:
        while not context.clock.wait(stop, SAVE_EVERY):
            with suppress(StoreUnavailable):  # the next time
                save(context.store)

    thread = threading.Thread(target=run, name="counts", daemon=True)
    thread.start()
    return thread


# -- the listener ---------------------------------------------------------------------------------
class Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *args: Any) -> None:
        """One line for each scrape tells nobody anything."""


class Server(WSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("metrics_not_sent", exc_info=True)


class Server6(Server):
    address_family = socket.AF_INET6


def application(context: Context) -> Any:
    """WSGI: /metrics, and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Installation(context))
    inner = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("PATH_INFO") != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"There is /metrics here, and nothing else.\n"]
        return inner(environ, start_response)

    return app


def listen(context: Context) -> Server | None:
    """Answer at `[metrics] listen`, in one thread of its own; None where nobody asked for it, or the place is taken: a
    second worker on the same machine works without."""
    where = context.config.metrics["listen"]
    if not where:
        return None
    host, _, port = where.rpartition(":")
    kind = Server6 if host.startswith("[") else Server
    try:
        server = make_server(host.strip("[]"), int(port), application(context), kind, Handler)
    except OSError as e:
        log.warning("metrics_not_served", listen=where, detail=str(e))
        return None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    log.info("metrics_served", listen=where)
    return server
