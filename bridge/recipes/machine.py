"""Looks and writes that several recipes share; switching and the configuration stand apart. No recipe of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from bridge.dns import records
from bridge.errors import Permanent, Transient, Unknown, Unlisted, UpstreamError, VmbridgeError
from bridge.kinds import KINDS
from bridge.model import Converged, Memory, Order, Seen, Vm, VmRef
from bridge.orders import addresses
from bridge.orders.wanted import order_of
from bridge.steps import Again, Done, Job, Outcome, Step, Wait
from bridge.store.services import Changes

CHECK_RUNNING = 2.0
LOST_REPLY = 35.0  # longer than any time-out on the way: an unanswered call has ended by then
CHECK_AGENT, AGENT_WAIT = 3.0, 180.0


def ref(job: Job) -> VmRef:
    return job.service.ref


def order(job: Job, **changes: object) -> Order:
    return order_of(job.service, job.store, job.config, **changes)


def look(job: Job, obeyed: bool = False) -> Vm | None:
    """The machine as it is now; pages see it too, sooner than by the next bulk read. `obeyed`: a task of ours on it
    has just ended well."""
    vm = job.driver.look(ref(job), obeyed)
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


def tell_activity(job: Job, became: str) -> None:
    """A line in WHMCS's own activity log; `became`: "ready", "removed"."""
    s = job.service
    job.store.emit(
        "activity",
        s.whmcs,
        s.id,
        f"activity:{job.op.id}",
        service_id=s.service_id,
        client_id=s.client_id,
        text=f"Server of service {s.service_id} is {became} ({job.op.id})",
    )


def send_password(job: Job, kind: str, password: str) -> None:
    """By the mail of this kind: another may have taken its recipe over."""
    mail = KINDS[kind].mail
    assert mail, kind
    s = job.service
    job.store.emit(
        "password",
        s.whmcs,
        s.id,
        f"password:{job.op.id}",
        service_id=s.service_id,
        hostname=s.hostname,
        reason=mail.reason,
        subject=mail.subject,
        text=mail.text,
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


def without(steps: tuple[Step, ...], *names: str) -> tuple[Step, ...]:
    """A recipe's steps but these. Raises ValueError for a name that is none of them."""
    if missing := set(names) - {s.name for s in steps}:
        raise ValueError(f"no such steps: {sorted(missing)}")
    return tuple(s for s in steps if s.name not in names)


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
