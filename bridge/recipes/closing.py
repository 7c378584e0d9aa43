"""Suspension that leaves a machine on and closes its network, by plan. What cannot be closed, or is not seen closed, is
switched off."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import NeedsOperator, NotOurs, Unlisted, UpstreamError
from bridge.orders.wanted import completed
from bridge.recipes.machine import again_until_done, look_soon, ref, there
from bridge.recipes.switching import shut_off, stopped
from bridge.retries import QUICK_TRIES
from bridge.steps import Done, Job, Outcome

LOOKS = 10  # at a network that was closed and is not seen closed yet


def close_network(job: Job) -> Outcome:
    """By plan a suspended machine goes on running, and nothing reaches it: seen, not believed. How its network was is
    kept before."""
    job.save(replace(job.memory, closed=False))
    if not there(job) or not job.driver.isolates(completed(job.service.package, job.config)):
        return Done()
    before = job.birth.closed
    if before is None:
        before = job.driver.read(ref(job)).config
        job.save_birth(replace(job.birth, closed=before))
    try:
        waiting = again_until_done(job, "close_task", lambda: job.driver.isolate(ref(job), True, before))
        if waiting:
            return waiting
        open_still = job.driver.reachable(ref(job))
    except (NotOurs, NeedsOperator):
        raise
    except UpstreamError as e:
        tries = job.memory.close_tries + 1
        job.save(replace(job.memory, close_tries=tries))
        if e.retryable or (isinstance(e, Unlisted) and tries <= QUICK_TRIES):
            raise
        return off_instead(job, f"{e.sentence} {e.detail}".strip())
    if not open_still:
        job.save_birth(replace(job.birth, off_instead=""))
        job.save(replace(job.memory, closed=True))
        return Done(f"it goes on running; nothing reaches it by its public addresses{_beside(job)}")
    looks = job.memory.close_looks + 1
    job.save(replace(job.memory, close_looks=looks))
    if looks < LOOKS:
        return look_soon(job, open_still)
    return off_instead(job, open_still)


def off_instead(job: Job, why: str) -> Outcome:
    """Kept with the machine for the staff's tab, until it is opened again."""
    job.save_birth(replace(job.birth, off_instead=why[:300]))
    return Done(f"its network cannot be closed, so it is switched off instead: {why}")


def _beside(job: Job) -> str:
    networks = job.driver.open_networks(completed(job.service.package, job.config))
    return f"; its private networks are not covered ({', '.join(networks)})" if networks else ""


def open_network(job: Job) -> Outcome:
    before = job.birth.closed
    if before is None:
        return Done()
    waiting = again_until_done(job, "open_task", lambda: job.driver.isolate(ref(job), False, before))
    if waiting is None:
        job.save_birth(replace(job.birth, closed=None, off_instead=""))
    return waiting or Done()


def off_unless_closed(job: Job) -> Outcome:
    return Done() if job.memory.closed else shut_off(job)


def stopped_unless_closed(job: Job) -> Outcome:
    return Done() if job.memory.closed else stopped(job)
