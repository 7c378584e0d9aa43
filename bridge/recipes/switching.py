"""A machine's power as steps of other work: on, off, and back to what it was before. What customers order stands in
power.py."""

from __future__ import annotations

from dataclasses import replace

from bridge.model import Vm
from bridge.recipes.machine import AGENT_WAIT, CHECK_AGENT, look, look_soon, must_exist, ref, there
from bridge.steps import Again, Back, Done, Job, Outcome, Step, Wait


def start(job: Job) -> Outcome:
    if job.memory.start_task:
        return Done()
    task, note = power_on(job) if job.service.provisioned else (job.driver.power(ref(job), "start"), "")
    job.save(replace(job.memory, start_task=task or "none"))
    return Done(note)  # at birth the step before has seen that nothing lies in a drive


def power_on(job: Job, verb: str = "start") -> tuple[str, str]:
    """Start or restart it: (the task, what to say of it). What lies in its drive and is not there any more must not let
    that fail."""
    gone = job.driver.take_out_missing(ref(job))
    return job.driver.power(ref(job), verb), f"{gone} cannot be read any more and was unmounted" if gone else ""


def running(job: Job, starting: str = "start") -> Outcome:
    """`starting`: the step that begins anew when the order got lost."""
    task = job.memory.start_task or "none"
    if job.result is None and task != "none" and not job.memory.start_ended:
        return Wait(task)
    if job.result is not None:
        job.save(replace(job.memory, start_ended=True))
    vm = must_exist(job, look(job, obeyed=job.result is not None and job.result.state == "done"))
    if vm.status == "running":
        return Done()
    if job.result is not None and job.result.state == "failed":
        job.save(replace(job.memory, start_task="", start_ended=False))
        raise Back(starting, job.driver.task_error(job.result.text))
    waited = job.memory.waited + 1
    job.save(replace(job.memory, waited=waited))
    if waited % 15 == 0:  # the order got lost on the way: say it again
        job.save(replace(job.memory, start_task="", start_ended=False))
        raise Back(starting)
    return look_soon(job, "waiting until it runs")


def answering(job: Job) -> Outcome:
    """An image that has a guest agent is ready when it answers, but nobody waits for it longer than some minutes."""
    if not job.birth.agent:
        return Done()
    since = job.memory.answering_since or job.clock.now()
    answer = job.driver.answers(ref(job))
    if answer:
        return Done()
    if answer is None:
        return Done("the guest agent may not be asked: a privilege is missing")
    if job.clock.now() - since > AGENT_WAIT:
        return Done(f"the guest agent did not answer within {AGENT_WAIT / 60:.0f} min")
    job.save(replace(job.memory, answering_since=since))
    return Again(CHECK_AGENT, "waiting for the system inside")


def keep_power(job: Job, vm: Vm) -> None:
    """Whether it ran before, and what is on its disks. The first is kept with the service until something ends well or
    the customer switches it: a second try, of whatever operation, must not take what the first has left for the state
    of before."""
    kept = job.birth.ran_before
    ran = vm.status != "stopped" or bool(job.birth.restoring if kept is None else kept)
    before = job.driver.contents(ref(job))
    with job.store.write():
        job.save_birth(replace(job.birth, ran_before=ran))
        job.save(replace(job.memory, ran=ran, exists=True, before=before))


def power_settled(job: Job) -> None:
    if job.birth.ran_before is not None:
        job.save_birth(replace(job.birth, ran_before=None))


def _off(job: Job, verb: str) -> Outcome:
    if not there(job) or not job.memory.on:
        return Done()
    if job.result is None and not job.memory.off_task:
        job.save(replace(job.memory, off_task=job.driver.power(ref(job), verb) or "none"))
    if job.result is None and job.memory.off_task != "none":
        return Wait(job.memory.off_task)
    failed = job.result is not None and job.result.state == "failed"
    job.save(replace(job.memory, off_failed=job.result.text if failed and job.result else ""))
    return Done()


def shut_off(job: Job) -> Outcome:
    return _off(job, "shut_off")


def hard_off(job: Job) -> Outcome:
    return _off(job, "hard_stop")


def found_again(job: Job, vm: Vm | None) -> Outcome:
    """Keep for the steps after this whether the machine is there, where, and whether it runs."""
    job.save(replace(job.memory, exists=vm is not None, on=vm is not None and vm.status != "stopped"))
    if vm:
        job.save_service(node=vm.node)
    return Done("" if vm else "there is no machine")


def stopped(job: Job) -> Outcome:
    """Done when the machine itself says so."""
    if not there(job):
        return Done()
    obeyed = job.memory.off_task not in ("", "none") and not job.memory.off_failed and not job.memory.waited
    vm = look(job, obeyed)
    if vm is None or vm.status == "stopped":
        return Done()
    waited, failed = job.memory.waited + 1, job.memory.off_failed
    job.save(replace(job.memory, waited=waited, on=True, off_failed=""))
    if failed:
        job.save(replace(job.memory, off_task=""))
        raise Back("off", job.driver.task_error(failed))
    if waited % 5 == 0:
        job.save(replace(job.memory, off_task=""))
        raise Back("off")
    return look_soon(job, "waiting until it is off")


OFF = (Step("off", "Switching it off", shut_off), Step("stopped", "Waiting until it is off", stopped))


def off_first(job: Job) -> Outcome:
    return Done("what follows switches it off") if job.driver.switches_off else shut_off(job)


def stopped_first(job: Job) -> Outcome:
    return Done() if job.driver.switches_off else stopped(job)


OFF_FIRST = (Step("off", "Switching it off", off_first), Step("stopped", "Waiting until it is off", stopped_first))


def start_again(job: Job) -> Outcome:
    """Back to the power state of before."""
    vm = must_exist(job, look(job))
    if not job.memory.ran:
        return off_again(job, vm)
    if vm.status == "running":
        job.save(replace(job.memory, start_task="none"))
        return Done("it runs")
    return start(job)


def off_again(job: Job, vm: Vm) -> Outcome:
    """It was off before; a machine that was written anew may have been started by that."""
    if vm.status == "stopped":
        return Done("it was off before")
    if job.result is None and not job.memory.off_again:
        task = job.driver.power(ref(job), "hard_stop") or "none"
        job.save(replace(job.memory, off_again=task))
        if task != "none":
            return Wait(task)
    job.save(replace(job.memory, off_again=""))
    return look_soon(job, "waiting until it is off")


def running_again(job: Job) -> Outcome:
    waiting = running(job) if job.memory.ran else Done()
    if isinstance(waiting, Done):
        power_settled(job)
    return waiting


START_AGAIN = (Step("start", "Switching it on", start_again), Step("running", "Waiting until it runs", running_again))


def remember(job: Job) -> Outcome:
    """Before anything is lost: did it run, and what did its configuration say?"""
    vm = must_exist(job, look(job))
    if job.memory.ran is None:
        seen = job.driver.read(ref(job))
        job.store.save_seen(job.service.id, seen.config, seen.pending)
        keep_power(job, vm)
    job.save(replace(job.memory, on=vm.status != "stopped"))
    job.save_service(node=vm.node)
    return Done()
