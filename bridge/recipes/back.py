"""Back to how it was: the steps with which a recipe ends when it could not be done. They look first, and trust no
refusal's text."""

from __future__ import annotations

from dataclasses import replace

from bridge.model import Desired
from bridge.recipes.machine import look, must_exist, ref
from bridge.recipes.switching import power_settled, running, start
from bridge.steps import Done, Job, Outcome, Step


def untouched(job: Job) -> bool:
    """Whether its data are proven to be those of before this operation: by a look, whatever a refusal's text says."""
    before = job.memory.before
    if not before or job.memory.disks.get("written") or job.memory.task or job.memory.torn:
        return False
    return look(job) is not None and bool(before == job.driver.contents(ref(job)))


def put_back(job: Job) -> Outcome:
    """An operation that writes over the disk ends undone. Where it has not begun to, all is as it was; else it stays
    off, and what shall become of it is the customer's choice."""
    if job.memory.renewed:
        return Done("the old machine is gone")
    if job.memory.ran is None:  # it did not come to that
        job.save(replace(job.memory, unchanged=True))
        forget_new_password(job)
        return Done("nothing was changed")
    if job.memory.sent_at and not job.memory.task:  # its reply was lost
        job.save(replace(job.memory, task=job.driver.find_task(ref(job), job.memory.sent_as, job.memory.sent_at)))
    same = untouched(job)
    with job.store.write():
        if same and job.birth.restoring == job.op.id:
            job.save_birth(replace(job.birth, restoring="", firewall_before=None))
        if same and job.birth.anew:
            job.save_birth(replace(job.birth, anew=False, firewall_before=None))
        if same:
            forget_new_password(job)
        memory = replace(job.memory, start_task="", start_ended=False, waited=0) if same else job.memory
        job.save(replace(memory, unchanged=same))
    return Done("" if same else "something was written over the disk, so it stays as it is now")


def forget_new_password(job: Job) -> None:
    """One that was made for what then was not done."""
    with job.store.write():
        if job.memory.made:
            job.store.forget_password(job.service.id)
            job.save(replace(job.memory, made=False))


def start_back(job: Job) -> Outcome:
    if not job.memory.unchanged or not job.memory.ran or job.service.desired is not Desired.ACTIVE:
        return Done("it stays as it is")
    if must_exist(job, look(job)).status == "running":
        job.save(replace(job.memory, start_task="none"))
        return Done("it runs")
    return start(job)


def running_back(job: Job) -> Outcome:
    """Of a try that has changed nothing nothing is left in the operation's memory: a retry begins anew."""
    if job.memory.unchanged and job.memory.ran is not None and job.service.desired is Desired.ACTIVE:
        if job.memory.ran and not isinstance(waiting := running(job, "start_back"), Done):
            return waiting
        power_settled(job)
    if job.memory.unchanged:
        at_first = replace(job.memory, ran=None, before=None, off_task="", start_task="", start_ended=False)
        job.save(replace(at_first, task="", sent_at=None, torn=False, disks={}))
    return Done()


PUT_BACK = (
    Step("put_back", "Putting it back as it was", put_back, undo=True),
    Step("start_back", "Switching it on again", start_back, undo=True),
    Step("running_back", "Waiting until it runs", running_back, undo=True),
)


def on_again(job: Job) -> Outcome:
    """A change that needs the machine off ends undone: it does not stay off for that."""
    if not job.birth.offline or job.service.desired is not Desired.ACTIVE:
        return Done()
    if must_exist(job, look(job)).status == "running":
        job.save(replace(job.memory, start_task="none"))
        return Done("it runs")
    return start(job)


def running_on_again(job: Job) -> Outcome:
    if not job.birth.offline or job.service.desired is not Desired.ACTIVE:
        return Done()
    waiting = running(job, "on_again")
    if isinstance(waiting, Done):
        job.save(replace(job.memory, start_task="", start_ended=False))
        job.save_birth(replace(job.birth, offline=None))
    return waiting


ON_AGAIN = (
    Step("on_again", "Switching it on again", on_again, undo=True),
    Step("running_on_again", "Waiting until it runs", running_on_again, undo=True),
)
