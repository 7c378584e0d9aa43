"""From an order to a running machine: create, and what an interrupted birth needs to be settled."""

from __future__ import annotations

from dataclasses import replace

from bridge.dns import records
from bridge.errors import Capacity, NotOurs, Refused, Transient, Unknown, Unlisted, UpstreamError, VmbridgeError
from bridge.metering import usage
from bridge.model import Placement, State
from bridge.orders import addresses
from bridge.orders.wanted import completed, networks_of
from bridge.recipes.firewall import FIREWALL_BACK
from bridge.recipes.machine import (
    LOST_REPLY,
    again_until_done,
    look,
    order,
    ref,
    take_vm_id,
    tell_activity,
    tell_addresses,
)
from bridge.recipes.room import planned_rooms, promised
from bridge.recipes.switching import answering, running, start
from bridge.recipes.writing import configure
from bridge.steps import Again, Back, Done, Job, Outcome, Step, Wait
from drivers.base import KEEP

QUICK, SELDOM = 3, 1200.0  # machines made anew with the usual pauses, and the seconds between those after them
LEASE_CHECK, LEASE_WAIT = 3.0, 60.0  # seconds between two looks for a lease, and for how long


def place(job: Job) -> Outcome:
    """Choose where the machine goes and promise the room there, in one transaction with what others were promised."""
    if job.service.node:
        return Done()
    package = completed(job.service.package, job.config)
    if job.memory.place:
        package = replace(package, location=job.memory.place)
    taken, full = promised(job), job.memory.full
    try:
        chosen = job.driver.place(package, planned_rooms(taken, job), taken[1], full)
    except Capacity:
        if full:
            job.save(replace(job.memory, full={}))  # every place has been asked: the next try begins anew
        raise
    with job.store.write():
        if promised(job) != taken:
            return Again(0.0)  # another order was given room meanwhile: count it
        job.store.plan_room(job.op, package.ram_mib, package.disk_gib + package.additional_disk_gib)
        job.save_service(node=chosen.node)
        job.save_birth(
            replace(
                job.birth,
                source=chosen.source,
                storage=chosen.storage,
                source_node=chosen.source_node,
                disk_format=chosen.disk_format,
                template=package.template,
            )
        )
    return Done(f"on {chosen.node}")


def placement(job: Job) -> Placement:
    birth = job.birth
    return Placement(job.service.node, birth.source, birth.storage, birth.source_node, birth.disk_format)


def copy(job: Job) -> Outcome:
    """Order the copy once: `sent_at` is written before the call, and after a lost reply its task is looked for
    first."""
    birth, limits = job.birth, job.config.worker
    if birth.task:
        return Done()
    copier = birth.source_node or job.service.node
    if job.driver.shared_hosts and not job.store.take_slot(
        job.op, job.service.server, copier, birth.storage, limits["per_node"], limits["per_storage"]
    ):
        return Again(5.0, "slot")
    repeated = settle_lost_copy(job)
    if isinstance(repeated, Again):
        return repeated
    if job.birth.task:
        return Done()
    name = job.birth.asked_as or order(job).hostname
    job.save_birth(replace(job.birth, sent_at=job.clock.now(), asked_as=name))
    try:
        task = job.driver.create(order(job, set_password=True, birth=True, hostname=name), placement(job))
    except Refused as e:
        if e.code != "id_taken":
            raise
        return take_next_id(job)
    except Unknown:
        raise
    except Capacity as e:
        return another_place(job, e)
    except Unlisted:  # what is not known may also come after the begin: the next try looks first
        job.save_birth(replace(job.birth, doubtful=True))
        raise
    except UpstreamError:
        job.save_birth(replace(job.birth, sent_at=None))  # refused before anything was done: nothing to look for
        raise
    job.save_birth(replace(job.birth, task=task))
    return Done()


def another_place(job: Job, error: Capacity) -> Outcome:
    """No room there after all: the next place is chosen, and when none is left it waits. Nothing of this try is
    left."""
    with job.store.write():
        job.save(replace(job.memory, full={**job.memory.full, job.service.node: error.detail}))
        job.store.plan_room(job.op, 0, 0)
        job.save_service(node="")
        job.save_birth(replace(job.birth, task="", sent_at=None, source="", storage=""))
    job.store.free_slot(job.op)
    raise Back("place")


def settle_lost_copy(job: Job) -> Outcome:
    """A copy that may have been started: find its task, or be sure that there is none."""
    birth = job.birth
    if not birth.sent_at or birth.task:
        return Done()
    task = job.driver.find_create(order(job), placement(job), birth.sent_at)
    if task:
        job.save_birth(replace(job.birth, task=task, doubtful=False))
    elif not birth.doubtful and job.clock.now() - birth.sent_at < LOST_REPLY:
        return Again(5.0, "The reply was lost; looking whether the copy was started.")
    else:
        job.save_birth(replace(job.birth, sent_at=None, doubtful=False))
    return Done()


def take_next_id(job: Job) -> Outcome:
    """The id belongs to somebody else: leave it alone and take the next of our range."""
    with job.store.write():
        vm_id = take_vm_id(job)
        job.save_birth(replace(job.birth, sent_at=None))
    return Again(0.0, f"VM id in use by somebody else; taking {vm_id}")


def copied(job: Job) -> Outcome:
    """The clone's task has ended: a machine under our id counts as copied, none goes back to the copy, and what a
    failed one left is removed first."""
    birth = job.birth
    if birth.copied:
        return Done()
    if job.memory.failed is not None:
        return clear_failed(job)
    if not birth.task:  # a retry, after what had failed was removed
        raise Back("copy")
    if job.result is None:
        return Wait(birth.task)
    if job.result.state == "done":
        job.save_birth(replace(job.birth, copied=True))
    elif job.result.state == "unknown":
        vm = look(job)
        if vm is None:
            job.save_birth(replace(job.birth, task="", sent_at=None))
            raise Back("copy", Unknown(detail=job.result.text))
        job.save_birth(replace(job.birth, copied=True))
    else:
        job.save(replace(job.memory, failed=job.result.text))
        job.result = None
        return clear_failed(job)
    job.store.free_slot(job.op)
    return Done()


def clear_failed(job: Job) -> Outcome:
    """A copy that failed is made again. Where the back end chooses ids it has left a machine that costs money, proven
    ours by what came with the order: that goes first. Addresses that an earlier machine of the service has left for it
    stay."""
    if waiting := remove_failed(job):
        return waiting
    error = seldom(job, job.driver.task_error(job.memory.failed or ""))
    with job.store.write():
        job.save(replace(job.memory, failed=None))
        job.save_birth(replace(job.birth, task="", sent_at=None))
    if isinstance(error, Capacity):
        return another_place(job, error)
    if isinstance(error, Refused):
        take_next_id(job)
        raise Back("copy")
    raise Back("copy", error)


def seldom(job: Job, error: VmbridgeError) -> VmbridgeError:
    """Where each try makes a machine that is paid for, the fourth and later ones come far apart: what does not pass
    soon is no reason for a machine a minute."""
    job.save(replace(job.memory, remade=job.memory.remade + 1))
    if job.driver.chooses_ids and job.memory.remade > QUICK and isinstance(error, UpstreamError):
        error.retry_after = max(error.retry_after or 0.0, SELDOM)
    return error


def clear_begun(job: Job) -> Outcome:
    """A create that is given up leaves no failed machine that costs money. What takes its place (`settle`) looks for
    itself."""
    if job.memory.failed is None or job.memory.ending[0] == State.SUPERSEDED:
        return Done()
    if waiting := remove_failed(job):
        return waiting
    with job.store.write():
        job.save(replace(job.memory, failed=None))
        job.save_birth(replace(job.birth, task="", sent_at=None))
    return Done("what was begun is removed")


def remove_failed(job: Job) -> Wait | None:
    """Where the back end chooses ids a failed copy has left a machine, proven ours by what came with the order."""
    if not job.driver.chooses_ids:
        return None
    keep = KEEP if len(job.service.uuids) > 1 else frozenset[str]()
    return again_until_done(job, "clear_task", lambda: job.driver.destroy(ref(job), keep))


def identify(job: Job) -> Outcome:
    if job.birth.identified:
        return Done()
    vm = job.driver.identify(order(job), ref(job))
    with job.store.write():
        if vm.vm_id != job.service.vm_id:
            job.save_service(vm_id=vm.vm_id)  # the back end's own, known from here on
        job.save_birth(replace(job.birth, identified=True, agent=vm.agent))
        usage.begin(job.service.id, job.store, job.config.worker["usage_time_zone"])
    return Done()


def configure_new(job: Job) -> Outcome:
    """A mark that the back end said it took and did not keep is given again: identify looks whose it is, and refuses
    what is not ours."""
    try:
        return configure(job)
    except NotOurs as e:
        if job.memory.changed:  # it was ours when something was written to it
            raise
        job.save_birth(replace(job.birth, identified=False))
        raise Back(
            "identify", Transient("The server did not keep its mark; it is given again.", detail=e.detail)
        ) from None


def learn_addresses(job: Job) -> Outcome:
    """Then they have their names, and the names their addresses."""
    outcome = _learn_addresses(job)
    if isinstance(outcome, Done):
        records.adjust(job.store.service(job.service.id), job.store, job.config)
    return outcome


def _learn_addresses(job: Job) -> Outcome:
    """What DHCP or the provider gave goes back to WHMCS later, since it was not known when the order was accepted. A
    guest whose agent answers may have no lease yet: it is waited for, but not for long; later ones are learned by the
    worker."""
    given = addresses.given(job.service, job.store)
    mains = [n.family for n in networks_of(job.service.id, job.store, job.config) if n.role == "main"]
    if mains and not given:
        return Done()
    own = job.driver.addresses(ref(job))
    if given:
        own = tuple(a for a in own if addresses.family(a) in given)
    since = job.memory.leases_since or job.clock.now()
    if given and not own and job.birth.agent and job.clock.now() - since < LEASE_WAIT:
        job.save(replace(job.memory, leases_since=since))
        return Again(LEASE_CHECK, "waiting for an address by DHCP")
    whole = (*own, *job.birth.floating)
    if whole:
        job.save_birth(replace(job.birth, addresses=whole))
        tell_addresses(job)
    return Done(", ".join(whole))


def ready(job: Job) -> Outcome:
    """Record the birth and tell the customer, in one transaction."""
    s = job.service
    with job.store.write():
        job.store.renew(job.op, 30)
        job.save_service(provisioned=1, ran_when_suspended=None)
        job.store.plan_room(job.op, 0, 0)
        job.store.forget_password(s.id)
        job.store.emit(
            "ready",
            s.whmcs,
            s.id,
            f"ready:{s.id}",
            service_id=s.service_id,
            template=s.welcome_email,
            hostname=s.hostname,
            user=s.package.os_user,
            hold=job.config.whmcs[s.whmcs]["hold_welcome_mail"],
            addresses=[a["address"] for a in job.store.addresses_of(s.id)] or list(s.birth.addresses),
        )
        tell_activity(job, "ready")
    return Done()


def settle(job: Job) -> Outcome:
    """Bring a birth that was interrupted to a point where the machine is there or not."""
    birth = job.birth
    if birth.copied or (not birth.sent_at and not birth.task):
        return Done()
    outcome = settle_lost_copy(job)
    if isinstance(outcome, Again):
        return outcome
    birth = job.birth
    if not birth.task:
        return Done()
    if job.result is None:
        return Wait(birth.task)
    if job.result.state == "done" or look(job) is not None:
        job.save_birth(replace(job.birth, copied=True))
    else:
        job.save_birth(replace(job.birth, task="", sent_at=None))
    return Done()


CLEAR = Step("clear", "Removing what was begun", clear_begun, undo=True)
CREATE = (
    Step("place", "Choosing a place", place),
    Step("copy", "Starting the copy", copy),
    Step("copied", "Copying the template", copied),
    Step("identify", "Marking the server as yours", identify),
    Step("configure", "Setting processor, memory, disk and network", configure_new),
    FIREWALL_BACK,
    Step("start", "Switching it on", start),
    Step("running", "Waiting until it runs", running),
    Step("answering", "Waiting for the system inside", answering),
    Step("addresses", "Looking up its addresses", learn_addresses),
    Step("ready", "Telling you that it is ready", ready),
    CLEAR,
)

RECIPES = {"create": CREATE}
