"""The worker process: the engine's threads and APScheduler's table of jobs. The truth is in the store;
a missed run is caught up by the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial, wraps
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

import hooks
from bridge import alive, customer, metrics, recipes, watch
from bridge.context import Context
from bridge.costs.warnings import FORGOTTEN
from bridge.customer import dns as reverse
from bridge.dns import lookup, records, writer
from bridge.errors import StoreDamaged, StoreUnavailable
from bridge.firewall import writing
from bridge.metering import status, usage
from bridge.model import Capability
from bridge.operations import Engine
from bridge.orders import addresses
from bridge.outbox import Delivery
from bridge.retries import STUCK_AFTER, notify_staff
from bridge.staff import contents, findings, servers

log = structlog.get_logger()
STALLED_AFTER = 6 * 3600.0  # the longest backups end before
STALLED = (
    "task_stalled",
    "A task of the server has been running for more than 6 hours.",
    "Look at it in the server's own list of tasks; the operation goes on when it ends there.",
)
KEEP_NONCES = 900.0
KEEP_TOLD = FORGOTTEN * 86400.0
KEEP_EVENTS = 30 * 86400.0
KEEP_PASSWORDS = 72 * 3600.0
KEEP_STATUSES = 90 * 86400.0
PAUSE = 0.02  # between two transactions of a long clean-up, so that others get in
ZONES_AT_ONCE = 8  # in which records are written at the same time
STANDS_STILL = 60.0
LAST_CALL = 27.0  # a mail or a bulk read that has begun ends within this


def tell_stuck(context: Context) -> None:
    """Staff hears once of an operation that has been failing for long, or whose task does not end."""
    store, now = context.store, context.clock.now()
    told = [(op, (op.error_code, op.error_text, op.next_action)) for op in store.stuck_operations(now - STUCK_AFTER)]
    told += [(op, STALLED) for op in store.stalled_operations(now - STALLED_AFTER)]
    for op, error in told:
        for service in store.services_by([op.service]):
            with store.write():
                if store.notice(op.id):
                    notify_staff(store, op, service, error)


def prune(context: Context, stop: threading.Event | None = None) -> None:
    """Put right what a clock that was ahead has left. Forget old nonces, delivered events and history, and passwords
    that nobody fetched in 72 h."""
    now = context.clock.now()
    if ahead := context.store.stamps_ahead() + usage.put_right(context.store, context.config.worker["usage_time_zone"]):
        log.warning("clock_was_ahead", stamps=ahead)
    forget_history(context, now, stop or threading.Event())
    usage.forget(context.store, context.config.worker["usage_time_zone"], stop or threading.Event())
    context.store.prune(now - KEEP_NONCES, now - KEEP_EVENTS)
    while context.store.forget_told(now - KEEP_TOLD) and not (stop and context.clock.wait(stop, PAUSE)):
        pass
    context.store.forget_lookups(now - lookup.ASKED)
    context.store.prune_consoles(context.config.worker["history_days"] * 86400.0)
    for service in context.store.services_by(context.store.forget_old_passwords(now - KEEP_PASSWORDS)):
        key = service.id
        context.store.emit(
            "staff_notice",
            service.whmcs,
            key,
            f"password:{key}",
            service_id=service.service_id,
            reference=str(key),
            subject=f"vmbridge: the first password of service {service.service_id} was dropped",
            text="It was not used within 72 hours. Set a new one when the server is ready.",
        )


def forget_history(context: Context, now: float, stop: threading.Event) -> None:
    """Ended operations and findings older than `[worker] history_days`, and machines not seen for 90 days; in short
    transactions."""
    store, before = context.store, now - context.config.worker["history_days"] * 86400.0
    place: tuple[float, str] | None = (0.0, "")
    place = store.forget_operations(before)
    while place and not context.clock.wait(stop, PAUSE):
        place = store.forget_operations(before, place)
    kept = now - context.config.audit["keep_days"] * 86400.0
    while store.forget_audit(kept) and not context.clock.wait(stop, PAUSE):
        pass
    while (store.forget_findings(before) or store.forget_statuses(now - KEEP_STATUSES)) and not context.clock.wait(
        stop, PAUSE
    ):
        pass


def book(context: Context, stop: threading.Event | None = None) -> None:
    """Looked at twice a minute, so that a month ends in time; the store knows what is an hour old."""
    usage.book(context.store, context.config.worker["usage_time_zone"], stop)


def sweep_state(context: Context, server: str) -> None:
    """Looked at each minute, done each hour: the store knows when."""
    findings.sweep_state(server, context.drivers[server], context.store)


def sweep_contents(context: Context, server: str) -> None:
    contents.sweep_contents(server, context.drivers[server], context.store, context.config)


def care(context: Context) -> None:
    """Snapshots past their lifetime, and backups that are due."""
    customer.expire_snapshots(context.store)
    customer.start_backups(context.store, context.config)


def mirror(context: Context, server: str) -> None:
    """Each service's snapshots and backups once an hour, as the back end has them."""
    if context.store.health(server)["ok"]:
        customer.renew_mirror(server, context.drivers[server], context.store)


def pointers(context: Context, server: str) -> None:
    """Reverse records that could not be written at once."""
    if context.store.health(server)["ok"]:
        reverse.write_due(server, context.drivers[server], context.store)


def firewall_changes(context: Context, server: str) -> None:
    """What was not finished at once, and trials whose time is over."""
    if context.store.health(server)["ok"]:
        writing.write_due(server, context.drivers[server], context.store)


def firewall_switches(context: Context, server: str) -> None:
    """Looked at each minute, read each five."""
    if context.store.health(server)["ok"]:
        writing.read_switches(server, context.drivers[server], context.store)


def disks_first(context: Context, server: str) -> None:
    """Machines that started from a disc once, where the operation could not put their disk first again."""
    if context.store.health(server)["ok"]:
        customer.put_disks_first(server, context.store)


def read_offers(context: Context, server: str) -> None:
    """Looked at each minute, read each hour."""
    servers.read_offers(server, context.drivers[server], context.store)


def read_resources(context: Context, server: str) -> None:
    """Looked at twice a minute, read each minute."""
    if context.store.health(server)["ok"]:
        servers.read_resources(server, context.drivers[server], context.store)


def signs(context: Context, engine: Engine) -> None:
    """Tell systemd that the engine goes round; one that stands still is started anew by it."""
    if context.clock.monotonic() - engine.looked_at < STANDS_STILL:
        alive.notify("READY=1\nWATCHDOG=1")


def live(context: Context, stop: threading.Event, faults: list[StoreDamaged]) -> None:
    """Show that this worker lives. One whose store is damaged ends: it could only do harm, and who looks after it has
    to hear of it."""
    try:
        context.store.worker_lives()
    except StoreDamaged as e:
        log.error("store_damaged", detail=e.detail)
        faults.append(e)
        stop.set()
    except StoreUnavailable as e:
        not_saved("alive", e)


def leases(context: Context, server: str) -> None:
    """Addresses that only the guests know."""
    if context.store.health(server)["ok"] and addresses.learn(server, context.drivers[server], context.store):
        records.sweep(context.store, context.config, server)


def sweep_records(context: Context) -> None:
    """What services shall have in our zones, for what changed without an order."""
    records.sweep(context.store, context.config)


def look_up(context: Context) -> None:
    """Whether names lead back to their addresses."""
    lookup.look_due(context.store)


def certificates(context: Context) -> None:
    """When the certificates of those that are called end."""
    watch.look(context.config, context.store)


def patient(job: Callable[..., None]) -> Callable[..., None]:
    """A job for which nothing could be saved is done at its next turn: one line says so."""

    @wraps(job)
    def run_job(*args: Any) -> None:
        try:
            job(*args)
        except StoreUnavailable as e:
            not_saved(job.__name__, e)

    return run_job


def not_saved(doing: str, error: StoreUnavailable) -> None:
    log.warning("store_unavailable", doing=doing, detail=error.detail)


def plan(jobs: BackgroundScheduler, context: Context, stop: threading.Event, faults: list[StoreDamaged]) -> None:
    """What is looked at by itself, and how often: for all, and for each server by what its driver can do."""

    def every(seconds: float, job: Callable[..., None], *args: Any, name: str = "", jitter: int | None = None) -> None:
        jobs.add_job(
            patient(job),
            "interval",
            args=args,
            seconds=seconds,
            jitter=jitter,
            id=f"{job.__name__}{name}",
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )

    every(10, live, context, stop, faults)
    every(60, tell_stuck, context)
    every(600, prune, context, stop)
    every(30, book, context, stop)
    every(30, care, context)
    every(600, sweep_records, context, jitter=30)
    every(3, look_up, context)
    if context.config.metrics["listen"]:
        jobs.add_job(patient(certificates), args=(context,), id="certificates-first")
        every(3600, certificates, context, jitter=60)
    for server, driver in context.drivers.items():
        each = partial(every, name=f"-{server}")
        each(60, mirror, context, server, jitter=10)
        if Capability.RDNS in driver.capabilities:
            each(5, pointers, context, server)
        if Capability.FIREWALL in driver.capabilities:
            each(2, firewall_changes, context, server)
            each(60, firewall_switches, context, server, jitter=10)
        if driver.boots_once:
            each(15, disks_first, context, server)
        each(60, read_offers, context, server, jitter=10)
        each(30, read_resources, context, server, jitter=5)
        each(20, leases, context, server, jitter=5)
        each(60, sweep_state, context, server, jitter=10)
        each(60, sweep_contents, context, server, jitter=10)


def run(context: Context, stop: threading.Event, border: Callable[[str], None] | None = None) -> StoreDamaged | None:
    """Work until `stop`; running steps are finished first. Returns what has ended it, when that was a damaged store."""
    engine = Engine(context.store, context.config, context.clock, context.drivers, recipes.BOOK, border)
    delivery = Delivery(context.store, context.whmcs, hooks.load(), border)
    log.info("worker_started", owner=engine.owner)
    jobs = BackgroundScheduler(timezone="UTC")
    faults: list[StoreDamaged] = []
    plan(jobs, context, stop, faults)
    live(context, stop, faults)
    if alive.watched():
        jobs.add_job(signs, "interval", args=(context, engine), seconds=alive.every(), id="signs", max_instances=1)
        signs(context, engine)
    jobs.start()
    listener = metrics.listen(context)
    metrics.saving(context, stop)
    threads = [
        threading.Thread(target=_deliver, args=(context, delivery, stop), name="outbox", daemon=True),
        threading.Thread(target=_write_records, args=(context, stop), name="dns", daemon=True),
    ]
    for name in context.drivers:
        threads.append(
            threading.Thread(target=_refresh, args=(context, name, stop), name=f"status-{name}", daemon=True)
        )
    for thread in threads:
        thread.start()
    try:
        engine.run_forever(stop, context.config.worker["threads"])
    finally:
        stop.set()
        if listener:
            listener.shutdown()
            listener.server_close()
        jobs.shutdown(wait=False)
        end = context.clock.monotonic() + LAST_CALL
        for thread in threads:  # a mail whose answer is not recorded would be sent again
            thread.join(max(0.0, end - context.clock.monotonic()))
    log.info("worker_stopped", owner=engine.owner)
    return faults[0] if faults else None


def _deliver(context: Context, delivery: Delivery, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            if delivery.deliver_one():
                continue
        except StoreUnavailable as e:
            not_saved("outbox", e)
        except Exception:
            log.exception("outbox_fault")
        context.clock.wait(stop, 0.5)


def _write_records(context: Context, stop: threading.Event) -> None:
    """Zones beside each other, each one record at a time: one that does not answer holds up itself alone."""
    at_work: dict[str, Future[int]] = {}
    swept = False
    with ThreadPoolExecutor(ZONES_AT_ONCE, thread_name_prefix="zone") as pool:
        while not stop.is_set():
            try:
                if not swept:  # what the configuration has that it had not when this worker's forerunner ended
                    writer.note_places(context.config, context.store)
                    sweep_records(context)
                    swept = True
                at_work = {z: f for z, f in at_work.items() if not f.done()}
                for zone in context.store.zones_due():
                    if zone not in at_work:
                        at_work[zone] = pool.submit(_write_zone, context, zone)
            except StoreUnavailable as e:
                not_saved("records", e)
            except Exception:
                log.exception("records_fault")
            context.clock.wait(stop, 0.5)


def _write_zone(context: Context, zone: str) -> int:
    try:
        return writer.write_due(zone, context.config, context.store, context.dns, context.whmcs)
    except StoreUnavailable as e:
        not_saved(f"zone {zone}", e)
        return 0
    except Exception:
        log.exception("zone_fault", zone=zone)
        return 0


def _refresh(context: Context, server: str, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            status.refresh(server, context.drivers[server], context.store)
        except StoreUnavailable as e:
            not_saved("status", e)
        except Exception:
            log.exception("status_fault", server=server)
        context.clock.wait(stop, 1.0)
