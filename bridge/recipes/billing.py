"""What WHMCS orders of a machine that exists: suspend, unsuspend, terminate, change of package."""

from __future__ import annotations

from dataclasses import replace

from bridge.dns import records
from bridge.errors import Capacity, NeedsOperator, NotOurs, StorageAway, UpstreamError, VmbridgeError
from bridge.metering import usage
from bridge.model import Birth
from bridge.recipes.back import ON_AGAIN
from bridge.recipes.backups import remove_beyond
from bridge.recipes.birth import settle
from bridge.recipes.closing import close_network, off_unless_closed, open_network, stopped_unless_closed
from bridge.recipes.machine import (
    again_until_done,
    born,
    look,
    look_soon,
    ref,
    tell_activity,
    there,
)
from bridge.recipes.room import room
from bridge.recipes.switching import found_again, hard_off, power_settled, running, start, stopped
from bridge.recipes.writing import configure
from bridge.steps import Again, Back, Done, Job, Outcome, Step, Wait
from drivers.base import KEEP
from drivers.calls import within

SAMPLE_SECONDS = 10.0


def remember_power(job: Job) -> Outcome:
    """Once per suspension: did it run? A repeat never overwrites it."""
    vm = look(job) if born(job) else None
    if job.service.ran_when_suspended is None:
        birth = job.birth  # off only for a change under way, or by one that did not end well
        ran = (vm is not None and vm.status != "stopped") or bool(birth.offline or birth.ran_before)
        job.save_service(ran_when_suspended=int(ran or not job.service.provisioned))
    return found_again(job, vm)


def autostart_off(job: Job) -> Outcome:
    """Before it is off, so that its node's restart does not bring it back. A refusal must not keep it running: it is
    tried again then."""
    if not there(job):
        return Done()
    try:
        job.driver.set_autostart(ref(job), False)
    except (NotOurs, NeedsOperator):
        raise
    except UpstreamError as e:
        if e.retryable:
            raise
        job.save(replace(job.memory, autostart_later=True))
        return Done(f"later: {e.sentence} {e.detail}".strip())
    return Done()


def autostart_off_again(job: Job) -> Outcome:
    if job.memory.autostart_later:
        job.driver.set_autostart(ref(job), False)
    return Done()


def start_if_suspended(job: Job) -> Outcome:
    """An order that took an unsuspend's place ends the suspension too."""
    return start(job) if job.service.ran_when_suspended else Done()


def running_if_suspended(job: Job) -> Outcome:
    return running(job) if job.service.ran_when_suspended else Done()


def start_if_ran(job: Job) -> Outcome:
    if job.birth.restoring:
        return Done("its last restore did not end well: it stays off until it is restored or reinstalled")
    if job.service.ran_when_suspended is False:
        return Done("it was off before")
    return start(job)


def running_if_ran(job: Job) -> Outcome:
    if job.birth.restoring or job.service.ran_when_suspended is False:
        return Done()
    return running(job)


def configure_or_later(job: Job) -> Outcome:
    """A paid customer's machine is switched on even when something of its package cannot be written; that is told
    afterwards."""
    if job.birth.restoring:
        return Done("an unfinished restore comes first")
    try:
        waiting = room(job)
        return waiting if isinstance(waiting, Again) else configure(job)
    except (NotOurs, NeedsOperator):
        raise
    except UpstreamError as e:
        if e.retryable and not isinstance(e, StorageAway):  # a storage may be away for long
            raise
        job.save(replace(job.memory, later=True))
        if isinstance(e, Capacity) and e.retry_after:
            job.save(replace(job.memory, later_at=job.clock.now() + e.retry_after))
        return Done(f"later: {e.sentence} {e.detail}".strip())


def configure_if_failed(job: Job) -> Outcome:
    """Not at once where it would switch the machine off again for nothing."""
    if not job.memory.later:
        return Done()
    pause = (job.memory.later_at or 0.0) - job.clock.now()
    if pause > 0:
        error = Capacity(detail="The change is tried again later, since the machine has to be off for it.")
        error.retry_after = pause
        raise error
    waiting = room(job)
    return waiting if isinstance(waiting, Again) else configure(job)


def unsuspended(job: Job) -> Outcome:
    ended = job.service.ran_when_suspended is not None
    job.save_service(ran_when_suspended=None)
    if job.birth.offline:
        job.save_birth(replace(job.birth, offline=None))
    if ended and not job.birth.restoring:
        power_settled(job)
    return Done()


def prove(job: Job) -> Outcome:
    return found_again(job, look(job) if born(job) or job.memory.look else None)


def last_traffic(job: Job) -> Outcome:
    """While it still runs: its counters end with it. What cannot be read is let go, nothing waits for it."""
    if not there(job) or job.memory.sampled:
        return Done()
    note, traffic = "", None
    try:
        with within(SAMPLE_SECONDS, job.clock):
            traffic = job.driver.traffic(ref(job))
    except (VmbridgeError, LookupError, TypeError, ValueError) as e:  # also an answer that is none
        note = (
            f"not read, the last known one counts: {getattr(e, 'sentence', type(e).__name__)}"
            f" {getattr(e, 'detail', '')}"
        ).strip()
    with job.store.write():
        if traffic:
            job.store.note_traffic(job.service.server, job.service.vm_id, *traffic)
        usage.book_one(job.service.id, job.store, job.config.worker["usage_time_zone"])
        job.save(replace(job.memory, sampled=True))
    return Done(note)


def keeping(job: Job) -> frozenset[str]:
    """What stays when the machine goes: with a new one to come its addresses too."""
    plan = job.config.plans.get(job.service.package.plan)
    if job.op.kind == "redeploy":
        return KEEP
    return frozenset({"backups"}) if plan is None or plan.values["keep_backups"] else frozenset()


def destroy(job: Job) -> Outcome:
    """Task after task, until the driver has nothing more to do."""
    if not there(job):
        return Done()
    task = job.memory.destroy_task
    if task and job.result is None:
        return Wait(task)
    job.save(replace(job.memory, destroy_task=""))
    if not job.memory.outlasting and (what := job.driver.outlasting(ref(job))):
        job.save(replace(job.memory, outlasting=what))
    if job.op.kind == "redeploy" and not job.birth.anew:
        # from here on whatever makes the service active has to finish the new machine
        job.save_birth(replace(job.birth, anew=True))
    if job.result is not None and job.result.state == "failed" and look(job) is not None:
        raise Back("prove", job.driver.task_error(job.result.text))
    task = job.driver.destroy(ref(job), keeping(job))
    if not task:
        return Done(tell_outlasting(job))
    job.save(replace(job.memory, destroy_task=task))
    return Wait(task)


def tell_outlasting(job: Job) -> str:
    """Nothing that is not ours is removed; staff hears of it once, since it goes on costing and nobody's service shows
    it any more."""
    if not job.memory.outlasting:
        return ""
    s, what = job.service, ", ".join(job.memory.outlasting)
    anew = " It is not attached to the new server." if job.op.kind == "redeploy" else ""
    text = f"{what} stays at the provider and goes on costing: it was attached by hand and is not ours.{anew}"
    job.store.emit(
        "staff_notice",
        s.whmcs,
        s.id,
        f"outlasting:{job.op.id}",
        subject=f"vmbridge: something of service {s.service_id} stays at the provider",
        text=f"{text}\nNext: Look at it in the provider's console; remove it, or attach it where it belongs.",
        reference=job.op.id,
        service_id=s.service_id,
    )
    return text


def sweep(job: Job) -> Outcome:
    """What would go on costing although the machine is gone."""
    return again_until_done(job, "sweep_task", lambda: job.driver.sweep(ref(job), keeping(job))) or Done()


def gone(job: Job) -> Outcome:
    """Only absence on its node and in the cluster, with quorum, proves it."""
    if not there(job):
        return Done()
    if look(job) is not None:
        waited = job.memory.waited_gone + 1
        job.save(replace(job.memory, waited_gone=waited))
        if waited % 5 == 0:
            job.save(replace(job.memory, destroy_task=""))
            raise Back("prove")
        return look_soon(job, "waiting until it is gone")
    return Done()


def drop_backups(job: Job) -> Outcome:
    """By plan the archives go with the machine; those that are kept stay on the storage. Last, so that a storage that
    cannot be read holds back neither addresses nor a new order."""
    plan = job.config.plans.get(job.service.package.plan)
    rows = [r for r in job.store.backups_of(job.service.id) if r["state"] == "ready"]
    job.store.save_schedule(job.service.id, "UTC", {}, None)
    if job.driver.own_backups:  # they went with the machine; at most the newest is left, as something else
        for row in rows:
            job.store.forget_backup(row["id"])
        return Done(
            "the newest stays as a snapshot at the provider and costs by its size" if rows and keeping(job) else ""
        )
    if plan is None or plan.values["keep_backups"]:
        return Done(f"{len(rows)} backups stay" if rows else "")
    return remove_beyond(job, 0)


def release(job: Job) -> Outcome:
    s = job.service
    with job.store.write():
        job.store.renew(job.op, 30)
        job.store.release_addresses(s.id, job.config.worker["address_cool_down_h"] * 3600.0)
        job.store.forget_password(s.id)
        job.store.forget_pointers(s.id)
        job.store.forget_firewall(s.id)
        job.store.disk_comes_first(s.id)
        usage.end(s.id, job.store, job.config.worker["usage_time_zone"])
        job.save_service(provisioned=0, birth=Birth(old_vm_ids=s.birth.old_vm_ids))
        records.adjust(job.store.service(s.id), job.store, job.config)  # nothing of it keeps its names
        tell_activity(job, "removed")
    return Done()


SUSPEND = (
    Step("settle", "Finishing what was begun", settle),
    Step("remember_power", "Looking at the server", remember_power),
    Step("autostart_off", "Keeping it off", autostart_off),
    Step("close_network", "Closing its network", close_network),
    Step("off", "Switching it off", off_unless_closed),
    Step("stopped", "Waiting until it is off", stopped_unless_closed),
    Step("autostart_again", "Making sure it stays off", autostart_off_again),
)
UNSUSPEND = (
    Step("open_network", "Opening its network", open_network),
    Step("configure", "Checking the configuration", configure_or_later),
    Step("start", "Switching it on", start_if_ran),
    Step("running", "Waiting until it runs", running_if_ran),
    Step("unsuspended", "Done", unsuspended),
    Step("configure_again", "Checking the configuration again", configure_if_failed),
    *ON_AGAIN,
)
TERMINATE = (
    Step("settle", "Finishing what was begun", settle),
    Step("prove", "Making sure it is the right server", prove),
    Step("traffic", "Reading its traffic", last_traffic),
    Step("off", "Switching it off", hard_off),
    Step("stopped", "Waiting until it is off", stopped),
    Step("destroy", "Removing the server", destroy),
    Step("gone", "Making sure it is gone", gone),
    Step("sweep", "Removing what went with it", sweep),
    Step("release", "Releasing the addresses", release),
    Step("backups", "Removing its backups", drop_backups),
)
ROOM = Step("room", "Looking for room", room)
CONVERGE = (
    ROOM,
    Step("configure", "Writing what differs", configure),
)
CHANGE_PACKAGE = (
    ROOM,
    Step("configure", "Setting processor, memory, disk and network", configure),
    Step("start", "Switching it on", start_if_suspended),
    Step("running", "Waiting until it runs", running_if_suspended),
    Step("changed", "Done", unsuspended),
    *ON_AGAIN,
)

RECIPES = {
    "suspend": SUSPEND,
    "unsuspend": UNSUSPEND,
    "terminate": TERMINATE,
    "converge": CONVERGE,
    "change_package": CHANGE_PACKAGE,
    "change_while_suspended": (*SUSPEND, *CONVERGE),
}
