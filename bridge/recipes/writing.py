"""The configuration as a step: what differs is written, what can only be written while the machine is off waits for
that."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import Busy, Capacity, Limit, Permanent, Transient, Unlisted, UpstreamError
from bridge.kinds import KINDS
from bridge.model import Converged, Desired, Difference, Offline, Order
from bridge.recipes.machine import (
    allocate,
    allocation_under_way,
    configured,
    look,
    look_soon,
    must_exist,
    note_seen,
    order,
    ref,
)
from bridge.recipes.switching import off_again, power_on
from bridge.retries import QUICK_TRIES
from bridge.steps import Again, Done, Job, Outcome, Step, Wait


def configure(job: Job) -> Outcome:
    """Write what differs; at birth with the first password, once. What was written is looked at in the same run, which
    knows what it did not touch."""
    outcome = _configure(job)
    for _ in range(REPEATS):
        if outcome != Again(0.0) or job.result is not None:
            break
        outcome = _configure(job)
    return outcome


def _configure(job: Job) -> Outcome:
    fresh = not job.service.provisioned and not job.birth.adopted
    return write_differences(job, order(job, set_password=fresh and not job.birth.password_sent, birth=fresh))


def write_differences(job: Job, wanted: Order) -> Outcome:
    """Then addresses that the machine no longer may use are given back."""
    if job.birth.offline and KINDS[job.op.kind].may_restart:
        return write_offline(job, wanted)
    if job.result is not None and job.result.state == "failed":
        raise job.driver.task_error(job.result.text)
    if job.result is not None and job.result.state == "done" and not job.memory.more:
        return as_it_was(job)
    converged = job.driver.converge(wanted, ref(job))
    if converged.missing_disk:
        if wait := allocation_under_way(job):
            return wait
        converged = allocate(job, lambda: job.driver.converge(wanted, ref(job), allocate=True))
    if converged.offline and KINDS[job.op.kind].may_restart and job.service.desired is Desired.ACTIVE:
        job.save_birth(replace(job.birth, offline=Offline("off")))
        return write_offline(job, wanted)
    if converged.offline:  # nothing is switched off that nobody ordered
        converged = replace(converged, refused=(*converged.refused, converged.offline))
    if converged.starts:
        job.save(replace(job.memory, off_after=True))
    note_written(job, wanted, converged)
    if converged.task:
        return Wait(converged.task)
    return Again(0.0) if job.memory.more else as_it_was(job)


def note_written(job: Job, wanted: Order, converged: Converged) -> None:
    """Raises Transient for what was sold and is not there though it was written twice. A password goes with what is
    written at birth, and can be seen by nobody: what has to be written once more brings it once more."""
    memory = job.memory
    again = converged.unproven and set(converged.changed) <= set(memory.changed)
    if wanted.birth and (wanted.set_password or again):
        job.save_birth(replace(job.birth, password_sent=wanted.set_password))
        memory = replace(memory, sent=wanted.set_password)
    job.save(
        replace(
            memory,
            more=converged.more,
            changed=(*memory.changed, *converged.changed),
            refused=converged.refused,
            repeats=memory.repeats + 1 if again else memory.repeats,
        )
    )
    note_seen(job, converged.seen)
    if job.memory.repeats < REPEATS or not again:
        return
    lacking = [d for d in differences(job, wanted, converged) if not d.same and not d.refused and not d.kept]
    if lacking:
        detail = ", ".join(f"{d.word} is {d.real} instead of {d.sold}" for d in lacking)
        raise Transient("What was written was not kept; it is written again.", detail=detail)
    job.save(replace(job.memory, more=False))


def differences(job: Job, wanted: Order, converged: Converged) -> list[Difference]:
    seen = converged.seen or job.driver.read(ref(job))
    return job.driver.compare(wanted, seen.config, False)


def as_it_was(job: Job) -> Outcome:
    """A change that starts a machine which was off leaves it on."""
    if job.memory.off_after:
        waiting = off_again(job, must_exist(job, look(job)))
        if not isinstance(waiting, Done):
            return waiting
        job.save(replace(job.memory, off_after=False))
    return configured(job)


def write_offline(job: Job, wanted: Order) -> Outcome:
    """Off, write, on again: phase by phase, kept with the machine so that whatever comes in between knows that it shall
    run. When the change cannot be, the machine is switched on as it was before that is said."""
    state = job.birth.offline or Offline("off")
    phase = {"off": _go_off, "write": _write_off, "on": _go_on}[state.phase]
    return phase(job, wanted, state)


def _go_off(job: Job, wanted: Order, state: Offline) -> Outcome:
    if must_exist(job, look(job)).status != "stopped":
        task = job.driver.power(ref(job), "shut_off") if job.result is None else ""
        return Wait(task) if task else Again(5.0, "waiting until it is off")
    job.save_birth(replace(job.birth, offline=Offline("write")))
    return Again(0.0)


def _write_off(job: Job, wanted: Order, state: Offline) -> Outcome:
    try:
        if job.result is not None and job.result.state == "failed":
            raise job.driver.task_error(job.result.text)
        converged = job.driver.converge(wanted, ref(job))
    except Busy:  # also by the change itself, whose reply was lost: it ends by itself
        raise
    except UpstreamError as e:
        tries = state.tries + 1
        if tries < OFFLINE_TRIES if e.retryable else isinstance(e, Unlisted) and tries <= QUICK_TRIES:
            job.save_birth(replace(job.birth, offline=replace(state, tries=tries)))
            raise
        job.save_birth(replace(job.birth, offline=Offline("on", error=(e.code, e.sentence, e.detail, e.next_action))))
        return Again(0.0)
    note_written(job, wanted, converged)
    if converged.task:
        return Wait(converged.task)
    if not job.memory.more:
        job.save_birth(replace(job.birth, offline=Offline("on")))
    return Again(0.0)


def _go_on(job: Job, wanted: Order, state: Offline) -> Outcome:
    if must_exist(job, look(job)).status != "running":
        task = power_on(job)[0] if job.result is None else ""
        return Wait(task) if task else look_soon(job, "waiting until it runs")
    job.save_birth(replace(job.birth, offline=None))
    if not state.error:
        return configured(job)
    code, sentence, detail, action = state.error
    error = {Capacity.code: Capacity, Limit.code: Limit}.get(code, Permanent)(sentence, code=code, detail=detail)
    error.next_action = action
    error.retry_after = OFF_AGAIN_AFTER if isinstance(error, Capacity) else None  # it was switched off to find that out
    raise error


OFFLINE_TRIES = 5
REPEATS = 2  # times that the same is written once more at once
OFF_AGAIN_AFTER = 4 * 3600.0  # seconds until a machine is switched off once more for a change that had no room
CONFIGURE = Step("configure", "Checking the configuration", configure)
