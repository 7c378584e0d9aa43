"""Removing what a terminated machine left, as steps: only once the machine is proven gone."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import Permanent
from bridge.model import Desired, Leftover
from bridge.recipes.machine import (
    ref,
    task_failure,
)
from bridge.steps import Back, Done, Job, Outcome, Step, Wait


def left(job: Job) -> Leftover | None:
    """The leftover as it is listed now; None when it is gone."""
    wanted = job.memory.leftover
    if wanted is None:
        raise LookupError("it was ordered without saying what is left over")
    listed = job.driver.leftovers((job.service.vm_id,), wanted.listing)
    return next((f for f in listed if (f.kind, f.name, f.made_at) == (wanted.kind, wanted.name, wanted.made_at)), None)


def absent(job: Job) -> Outcome:
    if job.service.desired is not Desired.TERMINATED or job.driver.look(ref(job)) is not None:
        raise Permanent("The machine is there: what it has is not left over.", code="vm_present")
    return Done()


def remove(job: Job) -> Outcome:
    if job.memory.remove_task:
        return Done()
    leftover = left(job)
    if leftover is None:
        return Done("it is gone already")
    job.save(replace(job.memory, remove_task=job.driver.remove_leftover(ref(job), leftover) or "none"))
    return Done()


def removed(job: Job) -> Outcome:
    task = job.memory.remove_task or "none"
    if job.result is None and task != "none" and not job.memory.remove_ended:
        return Wait(task)
    if job.result is not None:
        job.save(replace(job.memory, remove_ended=True))
    if left(job) is not None:
        job.save(replace(job.memory, remove_task="", remove_ended=False))
        raise Back("absent", task_failure(job, "it is still listed"))
    job.store.end_finding(job.memory.finding)
    return Done()


CLEAN_UP = (
    Step("absent", "Making sure the server is gone", absent),
    Step("remove", "Removing what it left", remove),
    Step("removed", "Making sure nothing is left", removed),
)
RECIPES = {"clean_up": CLEAN_UP}
