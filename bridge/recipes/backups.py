"""Backups: made, rotated, deleted, and restored over the same machine."""

from __future__ import annotations

from dataclasses import replace

import structlog

from bridge.errors import Busy, Permanent, Protected, Refused, Transient, Unlisted, UpstreamError, VmbridgeError
from bridge.model import Backup, Removing, State
from bridge.recipes.back import PUT_BACK, untouched
from bridge.recipes.firewall import FIREWALL_BACK, KEEP_FIREWALL
from bridge.recipes.machine import look, must_exist, once, order, ref, settle_task, task_failure
from bridge.recipes.switching import OFF_FIRST, START_AGAIN, keep_power, remember
from bridge.recipes.writing import CONFIGURE
from bridge.steps import Again, Back, Done, Job, Outcome, Step, Wait

log = structlog.get_logger()


def back_up(job: Job) -> Outcome:
    """One at a time per node: others would wait inside their task and hold nothing but a worker."""
    node = must_exist(job, look(job)).node
    job.save_service(node=node)
    claim_place(job)
    if job.memory.task or _archive(job):
        return Done()
    if job.driver.shared_hosts and not job.store.take_slot(job.op, job.service.server, f"{node}/backup", "", 1, 99):
        return Again(5.0, "slot")
    return once(job, "take", lambda: job.driver.backup(ref(job), "take", mark=job.op.id))


def claim_place(job: Job) -> int:
    """The row of this backup: a try that failed for good gave it back; a retry takes it again."""
    row = job.store.backup_of_operation(job.op.id)
    return int(row["id"]) if row else job.store.add_backup(job.service.id, job.op.id, job.memory.note, job.memory.date)


def _archive(job: Job) -> Backup | None:
    return next((b for b in job.driver.backups(ref(job)) if job.op.id in b.mark), None)


def _unmarked(job: Job) -> Backup | None:
    """The archive of a task that ended well and could not put our mark beside it: it is asked what it made."""
    if job.result is None or job.result.state != "done":
        return None
    name = job.driver.archive_of(job.memory.task)
    return next((b for b in job.driver.backups(ref(job)) if name and b.archive == name and not b.mark), None)


def backed_up(job: Job) -> Outcome:
    """Only an archive that is listed with a size and holds every disk that is sold is a backup; "OK" alone is not."""
    waiting = settle_task(job)
    if waiting:
        return waiting
    backup = _archive(job) or _unmarked(job)
    if backup is None or not backup.size:
        text = (
            job.result.text
            if job.result and job.result.state == "failed"
            else "the task ended, but no archive is listed"
        )
        error = job.driver.task_error(text)
        tries = job.memory.tries + 1
        job.save(replace(job.memory, task="", sent_at=None, tries=tries))
        if isinstance(error, (Busy, Transient)):
            raise Back("back_up", error)
        if tries >= 2:
            give_up_backup(job, error)
        job.save(replace(job.memory, cause=error.code))
        raise Back("back_up", Transient("The backup failed; it is tried once more.", code="backup_failed", detail=text))
    lacking = job.driver.left_out(order(job), ref(job), backup.archive)
    if lacking:
        remove_useless(job, backup)
        text = f"The archive was without the {' and the '.join(lacking)}; it was removed. {INCOMPLETE}"
        give_up_backup(job, Permanent(detail=text))
    job.store.backup_made(claim_place(job), backup)
    job.store.free_slot(job.op)
    return Done(f"{backup.size / 1024**3:.1f} GiB")


INCOMPLETE = "The findings and the staff tab say why; `converge` puts the disk back into backups."


def remove_useless(job: Job, backup: Backup) -> None:
    """Nobody shall restore from it. What cannot be removed now is in no list of the customer's either."""
    try:
        job.driver.backup(ref(job), "delete", backup.archive)
    except UpstreamError as e:
        log.warning("useless_backup_left", service=job.service.service_id, archive=backup.archive, detail=e.detail)


def give_up_backup(job: Job, error: VmbridgeError) -> None:
    job.save(replace(job.memory, cause=error.code))
    row = job.store.backup_of_operation(job.op.id)
    with job.store.write():
        if row:
            job.store.forget_backup(row["id"])
        _tell_failed(job)
    todo = getattr(error, "next_action", "")
    raise Permanent("The backup could not be made.", code="backup_failed", detail=error.detail, next_action=todo)


def rotate(job: Job) -> Outcome:
    """A scheduled backup is there: the oldest beyond the quota go. Never one that is not ours, never before the new one
    is found."""
    return remove_beyond(job, max(1, job.service.package.backups))


def complete(job: Job) -> Outcome:
    """None is begun that would lack a disk."""
    if not job.memory.task:
        lacking = job.driver.left_out(order(job), ref(job))
        if lacking:
            text = f"It would be without the {' and the '.join(lacking)}; nothing was made. {INCOMPLETE}"
            give_up_backup(job, Permanent(detail=text))
    return Done()


def make_room(job: Job) -> Outcome:
    """By plan the oldest goes before the new one is found, where there is no room for both; never for one that was
    refused or that ended before it had begun to write. What cannot be removed now goes when the new one is there."""
    if job.config.plans[job.service.package.plan].values["rotation"] != "oldest_first":
        return Done()
    task = job.memory.task or "none"
    if not job.memory.removing and (task == "none" or job.driver.poll([task])[task].state != "running"):
        return Done("it is not being written, so nothing is removed for it")
    try:
        return remove_beyond(job, max(0, job.service.package.backups - 1))
    except UpstreamError as e:
        job.save(replace(job.memory, removing=None))
        return Done(f"the oldest stays until the new one is there: {e.detail}")


def told_failed(job: Job) -> Outcome:
    """A backup that ends undone, for whatever cause: who relies on its schedule hears of it once."""
    if job.memory.ending[0] == State.FAILED:
        _tell_failed(job)
    return Done()


def _tell_failed(job: Job) -> None:
    s = job.service
    job.store.emit(
        "backup_failed", s.whmcs, s.id, f"backup_failed:{job.op.id}", service_id=s.service_id, hostname=s.hostname
    )


def remove_beyond(job: Job, keep: int) -> Outcome:
    """All but the newest `keep`, oldest first, one after the other."""
    now = job.memory.removing
    if now:
        if job.result is None and now.task != "none":
            return Wait(now.task)
        job.save(replace(job.memory, removing=None))
        if job.result is not None and job.result.state == "failed":
            return _held(job, now.id, job.driver.task_error(job.result.text))
        job.store.forget_backup(now.id)
    held = job.memory.held
    rows = [r for r in job.store.backups_of(job.service.id) if r["state"] == "ready"][keep:]
    rows = [r for r in rows if str(r["id"]) not in held]
    if not rows:
        return Done(f"protected, so they stay: {'; '.join(held.values())}" if held else "")
    try:
        task = job.driver.backup(ref(job), "delete", rows[-1]["archive"]) or "none"
    except Protected as e:
        return _held(job, rows[-1]["id"], e)
    job.save(replace(job.memory, removing=Removing(rows[-1]["id"], task)))
    return Again(0.0)


def _held(job: Job, backup: int, error: VmbridgeError) -> Outcome:
    """A rotation goes past what somebody wants to keep; an order to remove waits for it."""
    if not isinstance(error, Protected) or job.op.kind != "scheduled_backup":
        raise error
    job.save(replace(job.memory, held={**job.memory.held, str(backup): error.detail}))
    return Again(0.0)


def delete_backup(job: Job) -> Outcome:
    row = job.store.backup_row(job.service.id, job.memory.backup)
    if row is None or job.memory.task:
        job.save(replace(job.memory, task=job.memory.task or "none"))
        return Done()
    job.save(
        replace(
            job.memory, task=job.driver.backup(ref(job), "delete", row["archive"]) or "none", archive=row["archive"]
        )
    )
    return Done()


def backup_deleted(job: Job) -> Outcome:
    waiting = settle_task(job)
    if waiting:
        return waiting
    if any(b.archive == job.memory.archive for b in job.driver.backups(ref(job))):
        job.save(replace(job.memory, task=""))
        raise Back("delete", task_failure(job, "the archive is still listed"))
    job.store.forget_backup(job.memory.backup)
    return Done()


def check_archive(job: Job) -> Outcome:
    """Nothing is stopped for an archive that is not there."""
    row = job.store.backup_row(job.service.id, job.memory.backup)
    backup = next((b for b in job.driver.backups(ref(job)) if row and b.archive == row["archive"]), None)
    if row is None or backup is None or not backup.size:
        job.store.forget_backup(job.memory.backup)
        raise Refused("This backup is not on the storage any more.", code="backup_gone")
    lacking = job.driver.left_out(order(job), ref(job), backup.archive)
    if lacking:
        raise Permanent(
            "This backup is not complete: the server would come back without a disk. Nothing was changed.",
            code="backup_incomplete",
            detail=f"{backup.archive} is without the {' and the '.join(lacking)}",
        )
    job.save(replace(job.memory, archive=backup.archive))
    return Done()


def before_restore(job: Job) -> Outcome:
    """A machine that an earlier restore left blank counts as ours here; it does not run."""
    if job.birth.restoring:
        vm = must_exist(job, look(job))
        if job.memory.ran is None:
            keep_power(job, vm)
        job.save(replace(job.memory, on=vm.status != "stopped"))
        return Done("an earlier restore did not end well")
    return remember(job)


def restore(job: Job) -> Outcome:
    if not job.birth.restoring:
        job.save_birth(replace(job.birth, restoring=job.op.id))
    return once(job, "restore", lambda: job.driver.backup(ref(job), "restore", job.memory.archive))


def restored(job: Job) -> Outcome:
    """The restore has ended. One that failed before it came to the disks is simply sent again; another one is tried
    three times from the check of its archive on."""
    waiting = settle_task(job)
    if waiting:
        return waiting
    if job.result is not None and job.result.state == "failed":
        tries = job.memory.tries + 1
        error = job.driver.task_error(job.result.text)
        job.save(replace(job.memory, task="", sent_at=None, tries=tries, cause=error.code))
        if untouched(job):  # it ended before it came to the disks
            raise Back("restore", error)
        if not isinstance(error, (Busy, Transient, Unlisted)) or tries >= 3:
            raise Back(
                "check_archive",
                Permanent(
                    "The restore did not work; it can be tried again, or the server reinstalled.",
                    code="restore_failed",
                    detail=job.result.text,
                ),
            )
        raise Back("restore", error)
    if not job.driver.snapshots_survive:
        job.store.forget_snapshots(job.service.id)
    return Done()


def told_restored(job: Job) -> Outcome:
    s = job.service
    with job.store.write():
        job.save_birth(replace(job.birth, restoring=""))
        job.store.emit("restored", s.whmcs, s.id, f"restored:{job.op.id}", service_id=s.service_id, hostname=s.hostname)
    return Done()


COMPLETE = Step("room", "Looking at its disks", complete)
BACK_UP = Step("back_up", "Starting the backup", back_up)
BACKED_UP = Step("backed_up", "Writing the backup", backed_up)
TOLD = Step("told", "Telling you that there is none", told_failed, undo=True)
RESTORE = (
    Step("check_archive", "Making sure the backup is there", check_archive),
    Step("remember", "Looking at the server", before_restore),
    *OFF_FIRST,
    KEEP_FIREWALL,
    Step("restore", "Starting the restore", restore),
    Step("restored", "Writing the backup back", restored),
    CONFIGURE,
    FIREWALL_BACK,
    *START_AGAIN,
    Step("told", "Telling you that it is done", told_restored),
    *PUT_BACK,
)
RECIPES = {
    "restore": RESTORE,
    "take_backup": (COMPLETE, BACK_UP, BACKED_UP, TOLD),
    "scheduled_backup": (
        COMPLETE,
        BACK_UP,
        Step("make_room", "Making room", make_room),
        BACKED_UP,
        Step("rotate", "Removing the oldest", rotate),
        TOLD,
    ),
    "delete_backup": (
        Step("delete", "Removing the backup", delete_backup),
        Step("deleted", "Making sure it is gone", backup_deleted),
    ),
}
