"""Snapshots: take, delete, and going back to one."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import Unknown, UpstreamError
from bridge.model import Snapshot
from bridge.recipes.back import PUT_BACK
from bridge.recipes.machine import LOST_REPLY, look, look_soon, must_exist, once, ref, settle_task, task_failure
from bridge.recipes.switching import START_AGAIN, remember
from bridge.recipes.writing import CONFIGURE
from bridge.steps import Again, Back, Done, Job, Outcome, Step, Wait
from bridge.store.snapshots import SnapshotRow


def take(job: Job) -> Outcome:
    """Takes it once: one of the name that is complete, or a call that is on its way, is not taken again. With the
    memory where the plan says so and the machine runs."""
    name = job.memory.name
    row = claim_place(job)
    snapshot = next((s for s in job.driver.snapshots(ref(job)) if s.name == name), None)
    if (snapshot and snapshot.complete) or job.memory.task:
        return Done()
    if snapshot and snapshot.broken:  # of an earlier try
        return remove_broken(job, name)
    vm = must_exist(job, look(job))
    sent = job.memory.sent_at
    if sent and job.clock.now() - sent < LOST_REPLY and not snapshot:
        return Again(5.0, "The reply was lost; looking whether it was begun.")
    plan = job.config.plans[job.service.package.plan].values
    memory = bool(plan["snapshot_memory"]) and vm.status == "running"
    job.save(replace(job.memory, sent_at=job.clock.now()))
    try:
        task = job.driver.snapshot(ref(job), "take", name, row["description"], memory)
    except Unknown:
        raise
    except UpstreamError:
        job.save(replace(job.memory, sent_at=None))  # refused before anything was done
        raise
    job.save(replace(job.memory, task=task or "none"))
    return Done("with memory" if memory else "disks only")


def claim_place(job: Job) -> SnapshotRow:
    """A try that failed for good gave its place in the quota back; a retry takes it again."""
    name = job.memory.name
    row = job.store.snapshot_row(job.service.id, name)
    if row is None:
        job.store.add_snapshot(job.service.id, name, job.memory.description, False)
        row = job.store.snapshot_row(job.service.id, name)
    assert row is not None  # just added
    return row


def taken(job: Job) -> Outcome:
    waiting = settle_task(job)
    if waiting:
        return waiting
    name = job.memory.name
    failed = job.result is not None and job.result.state == "failed"
    snapshot = next((s for s in job.driver.snapshots(ref(job)) if s.name == name), None)
    if snapshot and not snapshot.complete and not failed:
        return look_soon(job, "being made")
    if snapshot is None or not snapshot.complete:
        error = task_failure(job, "the snapshot is not listed")
        job.save(replace(job.memory, task="", sent_at=None))
        raise Back("take", error)
    claim_place(job)
    keep(job, snapshot)
    return Done(name)


def remove_broken(job: Job, name: str) -> Outcome:
    """One that was never finished; the step that calls this looks again afterwards."""
    if job.result is not None and job.result.state == "failed":
        raise job.driver.task_error(job.result.text)
    task = job.driver.snapshot(ref(job), "delete", name)
    return Wait(task) if task else Again(1.0)


def leftover(job: Job) -> Outcome:
    """It could not be taken: what there is of it stays in the customer's list, and in the quota, until it is
    removed."""
    name = job.memory.name
    snapshot = next((s for s in job.driver.snapshots(ref(job)) if s.name == name), None)
    if snapshot and job.driver.snapshots_survive and not snapshot.complete:  # it would go on costing
        job.driver.snapshot(ref(job), "delete", name)
        snapshot = None
    job.save(replace(job.memory, task="", sent_at=None, unchanged=True))
    if snapshot is None:
        job.store.forget_snapshot(job.service.id, name)
        return Done("nothing is left of it")
    claim_place(job)
    if snapshot.complete:
        keep(job, snapshot)
    else:
        job.store.snapshot_state(job.service.id, name, "unfinished")
    return Done()


def keep(job: Job, snapshot: Snapshot) -> None:
    lifetime = job.service.package.snapshot_lifetime_h * 3600.0
    job.store.snapshot_ready(job.service.id, snapshot.name, snapshot, lifetime)


def clear_unfinished(job: Job) -> Outcome:
    """Before a reinstall stops anything: they would be in its way."""
    if job.driver.snapshots_survive:
        return Done()
    listed = job.driver.snapshots(ref(job))
    half = next((s for s in listed if not s.complete), None)
    if half:
        return remove_broken(job, half.name)
    for row in job.store.snapshots_of(job.service.id, foreign=True):
        if row["state"] == "unfinished" and row["name"] not in {s.name for s in listed}:
            job.store.forget_snapshot(job.service.id, row["name"])
    return Done()


def delete_snapshot(job: Job) -> Outcome:
    name = job.memory.name
    if job.memory.task:
        return Done()
    if all(s.name != name for s in job.driver.snapshots(ref(job))):
        job.save(replace(job.memory, task="none"))
        return Done("it is gone already")
    job.save(replace(job.memory, task=job.driver.snapshot(ref(job), "delete", name) or "none"))
    return Done()


def snapshot_deleted(job: Job) -> Outcome:
    waiting = settle_task(job)
    if waiting:
        return waiting
    name = job.memory.name
    left = next((s for s in job.driver.snapshots(ref(job)) if s.name == name), None)
    if left:
        job.save(replace(job.memory, task=""))
        raise Back("delete", task_failure(job, "the snapshot is still listed"))
    job.store.forget_snapshot(job.service.id, name)
    return Done()


def roll_back(job: Job) -> Outcome:
    """Not harmless twice: what was written after the first would be lost. So a lost reply is looked up first."""
    return once(job, "rollback", lambda: job.driver.snapshot(ref(job), "rollback", job.memory.name))


def rolled_back(job: Job) -> Outcome:
    waiting = settle_task(job)
    if waiting:
        return waiting
    vm = must_exist(job, look(job))
    if job.result is not None and job.result.state == "failed":
        job.save(
            replace(job.memory, task="", sent_at=None, torn=bool(vm.lock))
        )  # it holds its lock from when it begins to write
        raise Back("roll_back", job.driver.task_error(job.result.text))
    return Done()


RECIPES = {
    "take_snapshot": (
        Step("take", "Taking the snapshot", take),
        Step("taken", "Waiting until it is complete", taken),
        Step("leftover", "Looking what is left of it", leftover, undo=True),
    ),
    "delete_snapshot": (
        Step("delete", "Removing the snapshot", delete_snapshot),
        Step("deleted", "Making sure it is gone", snapshot_deleted),
    ),
    "rollback": (
        Step("remember", "Looking at the server", remember),
        Step("roll_back", "Going back to the snapshot", roll_back),
        Step("rolled_back", "Waiting until it is done", rolled_back),
        CONFIGURE,
        *START_AGAIN,
        *PUT_BACK,
    ),
}
