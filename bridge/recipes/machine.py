"""Steps that several recipes share: looking, writing what differs, on and off. No recipe of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from bridge.dns import records
from bridge.errors import Busy, Capacity, Permanent, Transient, Unknown, Unlisted, UpstreamError, VmbridgeError
from bridge.kinds import KINDS
from bridge.model import Converged, Desired, Difference, Memory, Offline, Order, Seen, Vm, VmRef
from bridge.orders import addresses
from bridge.orders.wanted import order_of
from bridge.retries import QUICK_TRIES
from bridge.steps import Again, Back, Done, Job, Outcome, Step, Wait
from bridge.store.services import Changes

LOST_REPLY = 35.0  # longer than any time-out on the way: an unanswered call has ended by then
CHECK_RUNNING = 2.0
CHECK_AGENT, AGENT_WAIT = 3.0, 180.0


def ref(job: Job) -> VmRef:
    return job.service.ref


def order(job: Job, **changes: object) -> Order:
    return order_of(job.service, job.store, job.config, **changes)


def look(job: Job) -> Vm | None:
    """The machine as it is now; pages see it too, sooner than by the next bulk read."""
    vm = job.driver.look(ref(job))
    if vm:
        job.store.note_status(job.service.server, vm.vm_id, vm.node, vm.status, vm.uptime)
    return vm


def look_soon(job: Job, note: str = "") -> Again:
    """While a machine is on its way to another state; less often where each look counts."""
    return Again(max(CHECK_RUNNING, job.driver.poll_every), note)


def must_exist(job: Job, vm: Vm | None) -> Vm:
    if vm is None:
        raise Permanent("The machine is gone.", code="vm_absent", detail=f"VM {job.service.vm_id} is nowhere")
    return vm


def there(job: Job) -> bool:
    """Whether the step that looked has found the machine. Raises LookupError when none has looked: absence is never
    guessed."""
    if job.memory.exists is None:
        raise LookupError("no step has looked whether the machine is there")
    return job.memory.exists


def born(job: Job) -> bool:
    return bool(job.birth.task) or job.service.provisioned


def configure(job: Job) -> Outcome:
    """Write what differs; at birth with the first password, once."""
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


def note_seen(job: Job, seen: Seen | None) -> None:
    """What was read is kept; further addresses of the provider's that came or went are told to WHMCS."""
    if seen is None:
        return
    job.store.save_seen(job.service.id, seen.config, seen.pending)
    s, old = job.service, job.birth.floating
    if seen.floating == old:
        return
    with job.store.write():
        own = [a for a in s.birth.addresses if a not in old]
        job.save_birth(replace(job.birth, floating=seen.floating, addresses=(*own, *seen.floating)))
        if s.provisioned:  # before that the birth tells them
            tell_addresses(job)


def tell_addresses(job: Job) -> None:
    job.store.tell_addresses(job.service, job.op.id, addresses.told(job.service, job.store))


# -- what can only be written while the machine is off -----------------------------------------------
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
    error = (Capacity if code == Capacity.code else Permanent)(sentence, code=code, detail=detail)
    error.next_action = action
    error.retry_after = OFF_AGAIN_AFTER if isinstance(error, Capacity) else None  # it was switched off to find that out
    raise error


OFFLINE_TRIES = 5
REPEATS = 2  # times that the same is written once more at once
OFF_AGAIN_AFTER = 4 * 3600.0  # seconds until a machine is switched off once more for a change that had no room


def allocation_under_way(job: Job) -> Again | None:
    """A call whose reply was lost is not repeated before it must have ended."""
    sent = job.memory.allocated_at
    if sent and job.clock.now() - sent < LOST_REPLY:
        return Again(5.0, "The reply was lost; looking whether the disk was made.")
    return None


def allocate(job: Job, make: Callable[[], Converged]) -> Converged:
    """Let the driver make a disk."""
    job.save(replace(job.memory, allocated_at=job.clock.now()))
    try:
        return make()
    except Unknown:
        raise
    except UpstreamError:
        job.save(replace(job.memory, allocated_at=None))  # refused before anything was done
        raise


def take_vm_id(job: Job, beside: Changes | None = None) -> str:
    """The next id of our ranges for this service, in one transaction with what changes beside it. Where the back end
    chooses, the machine's uuid until it has."""
    with job.store.write():
        changes: Changes = {**beside} if beside else {}
        if job.driver.chooses_ids:
            changes["vm_id"] = changes["uuids"][0] if "uuids" in changes else job.service.uuids[0]
            job.save_service(**changes)
            return changes["vm_id"]
        number = job.store.next_vm_id(job.service.server, job.config.id_ranges(job.service.server))
        if number is None:
            raise Permanent("All VM ids of this server are used.", code="vm_ids_exhausted")
        changes["vm_id"] = str(number)
        job.save_service(**changes)
    return changes["vm_id"]


def send_password(job: Job, reason: str, password: str) -> None:
    """By mail; `reason` says which."""
    s = job.service
    job.store.emit(
        "password",
        s.whmcs,
        s.id,
        f"password:{job.op.id}",
        service_id=s.service_id,
        hostname=s.hostname,
        reason=reason,
        user=s.package.os_user,
        password=password,
    )


def set_password(job: Job, wanted: Order) -> str:
    """Once; what to say of when it takes effect."""
    if not job.memory.told:
        at_once = job.driver.set_password(wanted, ref(job))
        job.save(
            replace(
                job.memory,
                told="set in the running system" if at_once else "the system inside takes it at its next restart",
                at_once=at_once,
            )
        )
    return str(job.memory.told)


def configured(job: Job) -> Outcome:
    refused = job.memory.refused
    with job.store.write():
        job.store.release_leaving(job.service.id, job.config.worker["address_cool_down_h"] * 3600.0)
        if job.service.provisioned or job.birth.adopted:  # a birth does so at its end
            records.adjust(job.store.service(job.service.id), job.store, job.config)
    if not refused:
        for finding in job.store.findings(job.service.id):
            if finding["kind"] == "differs_from_package":
                job.store.end_finding(finding["id"])
    changed = ", ".join(dict.fromkeys(job.memory.changed))
    return Done(" ".join([changed, *refused]).strip())


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
    vm = must_exist(job, look(job))
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


# -- power of before, and back to it -----------------------------------------------------------------
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
    vm = look(job)
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


def without(steps: tuple[Step, ...], *names: str) -> tuple[Step, ...]:
    """A recipe's steps but these. Raises ValueError for a name that is none of them."""
    if missing := set(names) - {s.name for s in steps}:
        raise ValueError(f"no such steps: {sorted(missing)}")
    return tuple(s for s in steps if s.name not in names)


OFF = (Step("off", "Switching it off", shut_off), Step("stopped", "Waiting until it is off", stopped))


def off_first(job: Job) -> Outcome:
    return Done("what follows switches it off") if job.driver.switches_off else shut_off(job)


def stopped_first(job: Job) -> Outcome:
    return Done() if job.driver.switches_off else stopped(job)


OFF_FIRST = (Step("off", "Switching it off", off_first), Step("stopped", "Waiting until it is off", stopped_first))


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


def once(job: Job, verb: str, send: Callable[[], str]) -> Outcome:
    """Send a call that must not happen twice, and keep its task; after a lost reply the task is looked for."""
    if job.memory.task:
        return Done()
    sent, doubtful = job.memory.sent_at, job.memory.doubtful_since
    if sent or doubtful:
        task = job.driver.find_task(ref(job), verb, float(sent or doubtful or 0))
        if task:
            job.save(replace(job.memory, task=task))
            return Done("found after a lost reply")
        if sent and job.clock.now() - sent < LOST_REPLY:
            return Again(5.0, "The reply was lost; looking whether it was begun.")
    job.save(replace(job.memory, sent_at=job.clock.now(), sent_as=verb, doubtful_since=None))
    try:
        task = send()
    except Unknown:
        raise
    except Unlisted:  # what is not known may also come after the begin: the next try looks first
        job.save(replace(job.memory, sent_at=None, doubtful_since=job.memory.sent_at))
        raise
    except UpstreamError:
        job.save(replace(job.memory, sent_at=None))  # refused before anything was done
        raise
    job.save(replace(job.memory, task=task or "none"))
    return Done()


Chain = Literal[
    "clear_task", "close_task", "open_task", "sweep_task"
]  # where a task of `again_until_done` is remembered


def again_until_done(job: Job, key: Chain, act: Callable[[], str]) -> Wait | None:
    """Call it, await its task, and so on until it has nothing more to do: then None. The task stands under `key`."""
    task: str = getattr(job.memory, key)
    if job.result is None and task:
        return Wait(task)
    if job.result is not None and job.result.state == "failed":
        job.save(_chained(job.memory, key, ""))
        raise job.driver.task_error(job.result.text)
    task = act()
    job.save(_chained(job.memory, key, task))
    return Wait(task) if task else None


def _chained(memory: Memory, key: Chain, task: str) -> Memory:
    changed: dict[str, Any] = {key: task}
    return replace(memory, **changed)


def settle_task(job: Job) -> Wait | None:
    """Wait for the task that the step before has kept; None when there is nothing to wait for any more."""
    task = job.memory.task or "none"
    return Wait(task) if job.result is None and task != "none" else None


def task_failure(job: Job, otherwise: str) -> VmbridgeError:
    """What the failed task says; `otherwise` where none failed and the effect is missing all the same."""
    if job.result is not None and job.result.state == "failed":
        return job.driver.task_error(job.result.text)
    return Transient("What was ordered is not to be seen yet; it is looked at again.", detail=otherwise)


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
CONFIGURE = Step("configure", "Checking the configuration", configure)
