"""Power by the customer's or staff's word, and WHMCS's change of password."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import Permanent, Refused, Unknown, UpstreamError
from bridge.recipes.machine import LOST_REPLY, look, look_soon, must_exist, order, ref, set_password
from bridge.recipes.switching import power_on, power_settled
from bridge.steps import Again, Back, Done, Job, Outcome, Step, Wait


def act(job: Job) -> Outcome:
    """Send the verb once, unless the machine is so already. A reboot whose reply was lost is told by the uptime."""
    verb = job.op.kind
    if job.memory.task:
        return Done()
    vm = must_exist(job, look(job))
    if (verb == "start") == (vm.status == "running") and verb != "reboot":
        job.save(replace(job.memory, task="none"))
        return Done("nothing to do")
    if verb == "reboot" and vm.status != "running":
        raise Refused("The server is off: start it instead.", code="not_running")
    sent = job.memory.sent_at
    if verb == "reboot" and sent:  # a second reboot is not harmless: did the first one happen?
        if vm.uptime < job.clock.now() - sent:
            job.save(replace(job.memory, task="none"))
            return Done()
        if job.clock.now() - sent < LOST_REPLY:
            return Again(5.0, "The reply was lost; looking whether it restarts.")
    job.save(replace(job.memory, sent_at=job.clock.now()))
    try:
        task, note = power_on(job, verb) if verb in ("start", "reboot") else (job.driver.power(ref(job), verb), "")
    except Unknown:
        raise
    except UpstreamError:
        job.save(replace(job.memory, sent_at=None))  # refused before anything was done
        raise
    job.save(replace(job.memory, task=task or "none"))
    return Done(note)


def settled(job: Job) -> Outcome:
    """The machine is as it was ordered to be, whatever the task said; a minute after the task's end is waited for
    it."""
    task, verb = job.memory.task, job.op.kind
    if job.result is None and task != "none":
        return Wait(task)
    vm = must_exist(job, look(job))
    failed = job.result is not None and job.result.state == "failed"
    # a machine that still runs says nothing of a restart: there the task's end counts
    if (vm.status == "stopped") == (verb in ("stop", "hard_stop")) and not (failed and verb == "reboot"):
        power_settled(job)
        return look_again(job)
    if failed and job.result is not None:
        job.save(replace(job.memory, task="", sent_at=None))
        raise Back("act", job.driver.task_error(job.result.text))
    waited = job.memory.waited + 1
    job.save(replace(job.memory, waited=waited, task="none"))
    if waited > 60:
        job.save(replace(job.memory, waited=0, task="", sent_at=None))
        if verb == "stop":
            raise Back("act", Refused("The system inside did not react; a hard stop turns it off.", code="no_reaction"))
        raise Back("act", Permanent("The server did not reach the new state.", code="state_not_reached"))
    return look_soon(job)


def look_again(job: Job) -> Outcome:
    """Does anything still wait for a restart?"""
    if job.service.pending:
        seen = job.driver.read(ref(job))
        job.store.save_seen(job.service.id, seen.config, seen.pending)
    return Done()


def tell_password(job: Job) -> Outcome:
    wanted = order(job, set_password=True)
    if not wanted.set_password and not job.memory.told:
        raise Permanent(
            "The new password was not used in time and is forgotten; set it again.", code="password_forgotten"
        )
    told = set_password(job, wanted)
    job.store.forget_password(job.service.id)
    return Done(told)


POWER = (Step("act", "Sending the order", act), Step("settled", "Waiting for the server", settled))
CHANGE_PASSWORD = (Step("tell_password", "Setting the new password", tell_password),)

RECIPES = {"change_password": CHANGE_PASSWORD, "power": POWER}
