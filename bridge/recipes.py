"""Kind of operation -> its steps. The only place where drivers, services and addresses are put together.

Every step may run twice: it looks first, and records what it must not lose before it acts.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from bridge import orders, passwords
from bridge.errors import Permanent, Refused, Transient, Unknown, UpstreamError
from bridge.model import Converged, Desired, Leftover, Order, Placement, Service, Vm, VmRef
from bridge.operations import Again, Back, Done, Job, Outcome, Step, Wait

LOST_REPLY = 35.0  # longer than any time-out on the way: an unanswered call has ended by then
CHECK_RUNNING = 2.0
CHECK_AGENT, AGENT_WAIT = 3.0, 180.0


def ref(job: Job) -> VmRef:
    s = job.service
    return VmRef(s.vm_id, s.uuids, s.node, s.build, identified=bool(s.build.get("identified")))


def order(job: Job, **changes: object) -> Order:
    return orders.order_of(job.service, job.store, job.config, **changes)


def look(job: Job) -> Vm | None:
    """The machine as it is now; pages see it too, sooner than by the next bulk read."""
    vm = job.driver.look(ref(job))
    if vm:
        job.store.note_status(job.service.server, vm.vm_id, vm.node, vm.status, vm.uptime)
    return vm


# -- create ---------------------------------------------------------------------------------------
def place(job: Job) -> Outcome:
    if job.service.node:
        return Done()
    package = orders.completed(job.service.package, job.config)
    planned = job.store.planned_room(job.service.server)
    found = job.driver.place(package, [replace(p, package=orders.completed(p.package, job.config)) for p in planned])
    with job.store.write():
        if job.store.planned_room(job.service.server) != planned:
            return Again(0.0)  # another create was placed meanwhile: count it
        job.store.plan_room(job.op, package.ram_mib, package.disk_gib + package.additional_disk_gib)
        job.save_service(node=found.node)
        job.save_build(source=found.source, storage=found.storage)
    return Done(f"on {found.node}")


def placement(job: Job) -> Placement:
    build = job.service.build
    return Placement(job.service.node, build["source"], build["storage"])


def copy(job: Job) -> Outcome:
    build, limits = job.service.build, job.config.worker
    if build.get("task"):
        return Done()
    if not job.store.take_slot(
        job.op, job.service.server, job.service.node, build["storage"], limits["per_node"], limits["per_storage"]
    ):
        return Again(5.0, "slot")
    repeated = settle_lost_copy(job)
    if isinstance(repeated, Again):
        return repeated
    if job.service.build.get("task"):
        return Done()
    job.save_build(sent_at=job.clock.now())
    try:
        task = job.driver.create(order(job), placement(job))
    except Refused as e:
        if e.code != "id_taken":
            raise
        return take_next_id(job)
    except Unknown:
        raise
    except UpstreamError:
        job.save_build(sent_at=None)  # refused before anything was done: nothing to look for
        raise
    job.save_build(task=task)
    return Done()


def settle_lost_copy(job: Job) -> Outcome:
    """A copy that may have been started: find its task, or be sure that there is none."""
    build = job.service.build
    if not build.get("sent_at") or build.get("task"):
        return Done()
    task = job.driver.find_create(order(job), placement(job), build["sent_at"])
    if task:
        job.save_build(task=task)
    elif job.clock.now() - build["sent_at"] < LOST_REPLY:
        return Again(5.0, "The reply was lost; looking whether the copy was started.")
    else:
        job.save_build(sent_at=None)
    return Done()


def take_next_id(job: Job) -> Outcome:
    """The id belongs to somebody else: leave it alone and take the next of our range."""
    ranges = [(a, b) for a, b in job.driver.settings["vm_ids"]]
    with job.store.write():
        found = job.store.next_vm_id(job.service.server, ranges)
        if found is None:
            raise Permanent("All VM ids of this server are used.", code="vm_ids_exhausted")
        job.save_service(vm_id=str(found))
        job.save_build(sent_at=None)
    return Again(0.0, f"VM id in use by somebody else; taking {found}")


def copied(job: Job) -> Outcome:
    build = job.service.build
    if build.get("copied"):
        return Done()
    if job.result is None:
        return Wait(build["task"])
    if job.result.state == "done":
        job.save_build(copied=True)
    elif job.result.state == "unknown":
        vm = look(job)
        if vm is None:
            job.save_build(task=None, sent_at=None)
            raise Back("copy", Unknown(detail=job.result.text))
        job.save_build(copied=True)
    else:
        job.save_build(task=None, sent_at=None)
        error = job.driver.task_error(job.result.text)
        if isinstance(error, Refused):
            take_next_id(job)
            raise Back("copy")
        raise Back("copy", error)
    job.store.free_slot(job.op)
    return Done()


def identify(job: Job) -> Outcome:
    if job.service.build.get("identified"):
        return Done()
    vm = job.driver.identify(order(job), ref(job))
    job.save_build(identified=True, agent=vm.agent or None)
    return Done()


def configure(job: Job) -> Outcome:
    """Write what differs. Then addresses that the machine no longer may use are given back."""
    if job.result is not None and job.result.state == "failed":
        raise job.driver.task_error(job.result.text)
    if job.result is not None and job.result.state == "done" and not job.data.get("more"):
        return configured(job)
    adopted = job.service.build.get("adopted", False)
    fresh = not job.service.provisioned and not adopted
    wanted = order(job, set_password=fresh and not job.service.build.get("password_sent"), birth=fresh)
    found = job.driver.converge(wanted, ref(job))
    if found.missing_disk:
        if wait := allocation_under_way(job):
            return wait
        found = allocate(job, wanted)
    if wanted.set_password:
        job.save_build(password_sent=True)
    job.save(more=found.more, changed=[*job.data.get("changed", ()), *found.changed], refused=list(found.refused))
    if found.seen:
        job.store.save_seen(job.service.id, found.seen.config, found.seen.pending)
    if found.task:
        return Wait(found.task)
    if found.more:
        return Again(0.0)
    return configured(job)


def allocation_under_way(job: Job) -> Again | None:
    """A call whose reply was lost is not repeated before it must have ended."""
    sent = job.data.get("allocated_at")
    if sent and job.clock.now() - sent < LOST_REPLY:
        return Again(5.0, "The reply was lost; looking whether the disk was made.")
    return None


def allocate(job: Job, wanted: Order) -> Converged:
    """Let the driver make the missing disk."""
    job.save(allocated_at=job.clock.now())
    try:
        return job.driver.converge(wanted, ref(job), allocate=True)
    except Unknown:
        raise
    except UpstreamError:
        job.save(allocated_at=None)  # refused before anything was done
        raise


def configured(job: Job) -> Outcome:
    refused = job.data.get("refused", [])
    job.store.release_leaving(job.service.id, job.config.worker["address_cool_down_h"] * 3600.0)
    changed = ", ".join(dict.fromkeys(job.data.get("changed", ())))
    return Done(" ".join([changed, *refused]).strip())


def start(job: Job) -> Outcome:
    if job.data.get("start_task"):
        return Done()
    job.save(start_task=job.driver.power(ref(job), "start") or "none")
    return Done()


def running(job: Job) -> Outcome:
    task = job.data.get("start_task", "none")
    if job.result is None and task != "none" and not job.data.get("start_ended"):
        return Wait(task)
    if job.result is not None:
        job.save(start_ended=True)
    vm = must_exist(job, look(job))
    if vm.status == "running":
        return Done()
    if job.result is not None and job.result.state == "failed":
        job.save(start_task="", start_ended=False)
        raise Back("start", job.driver.task_error(job.result.text))
    waited = job.data.get("waited", 0) + 1
    job.save(waited=waited)
    if waited % 15 == 0:  # the order got lost on the way: say it again
        job.save(start_task="", start_ended=False)
        raise Back("start")
    return Again(CHECK_RUNNING, "waiting until it runs")


def answering(job: Job) -> Outcome:
    """An image that has a guest agent is ready when it answers, but nobody waits for it longer than some minutes."""
    if not job.service.build.get("agent"):
        return Done()
    since = job.data.get("answering_since") or job.clock.now()
    answer = job.driver.answers(ref(job))
    if answer:
        return Done()
    if answer is None:
        return Done("the guest agent may not be asked: a privilege is missing")
    if job.clock.now() - since > AGENT_WAIT:
        return Done(f"the guest agent did not answer within {AGENT_WAIT / 60:.0f} min")
    job.save(answering_since=since)
    return Again(CHECK_AGENT, "waiting for the system inside")


def learn_addresses(job: Job) -> Outcome:
    """What DHCP or the provider gave goes back to WHMCS later, since it was not known when the order was accepted."""
    if any(n.role == "main" for n in orders.networks_of(job.service.id, job.store, job.config)):
        return Done()
    found = job.driver.addresses(ref(job))
    if found:
        job.save_build(addresses=list(found))
        job.store.emit("addresses", job.service.whmcs, job.service.id, f"addresses:{job.service.id}:{','.join(found)}",
                       service_id=job.service.service_id, addresses=list(found))
    return Done(", ".join(found))


def must_exist(job: Job, vm: Vm | None) -> Vm:
    if vm is None:
        raise Permanent("The machine is gone.", code="vm_absent", detail=f"VM {job.service.vm_id} is nowhere")
    return vm


def ready(job: Job) -> Outcome:
    """Record the birth and tell the customer, in one transaction."""
    s = job.service
    with job.store.write():
        job.store.renew(job.op, 30)
        job.save_service(provisioned=1, ran_when_suspended=None)
        job.store.plan_room(job.op, 0, 0)
        job.store.forget_password(s.id)
        job.store.emit(
            "ready", s.whmcs, s.id, f"ready:{s.id}", service_id=s.service_id, template=s.welcome_email,
            hostname=s.hostname, user=s.package.options.get("os_user", "root"), hold=job.config.whmcs[s.whmcs]["hold_welcome_mail"],
            addresses=[a["address"] for a in job.store.addresses_of(s.id)] or s.build.get("addresses", []),
        )
        job.store.emit("activity", s.whmcs, s.id, f"activity:{job.op.id}", service_id=s.service_id,
                       client_id=s.client_id, text=f"Server of service {s.service_id} is ready ({job.op.id})")
    return Done()


# -- suspend, unsuspend ---------------------------------------------------------------------------
def settle(job: Job) -> Outcome:
    """Bring a birth that was interrupted to a point where the machine is there or not."""
    build = job.service.build
    if build.get("copied") or (not build.get("sent_at") and not build.get("task")):
        return Done()
    found = settle_lost_copy(job)
    if isinstance(found, Again):
        return found
    build = job.service.build
    if not build.get("task"):
        return Done()
    if job.result is None:
        return Wait(build["task"])
    if job.result.state == "done" or look(job) is not None:
        job.save_build(copied=True)
    else:
        job.save_build(task=None, sent_at=None)
    return Done()


def born(job: Job) -> bool:
    return bool(job.service.build.get("task")) or job.service.provisioned


def remember_power(job: Job) -> Outcome:
    """Once per suspension: did it run? A repeat never overwrites it."""
    vm = look(job) if born(job) else None
    if job.service.ran_when_suspended is None:
        ran = vm is not None and vm.status not in ("stopped",)
        job.save_service(ran_when_suspended=int(ran or not job.service.provisioned))
    job.save(exists=vm is not None, on=vm is not None and vm.status != "stopped")
    if vm:
        job.save_service(node=vm.node)
    return Done("" if vm else "there is no machine")


def autostart_off(job: Job) -> Outcome:
    if job.data["exists"]:
        job.driver.set_autostart(ref(job), False)
    return Done()


def _off(job: Job, verb: str) -> Outcome:
    if not job.data["exists"] or not job.data["on"]:
        return Done()
    if job.result is None and not job.data.get("off_task"):
        job.save(off_task=job.driver.power(ref(job), verb) or "none")
    if job.result is None and job.data["off_task"] != "none":
        return Wait(job.data["off_task"])
    return Done()


def shut_off(job: Job) -> Outcome:
    return _off(job, "shut_off")


def hard_off(job: Job) -> Outcome:
    return _off(job, "hard_stop")


def stopped(job: Job) -> Outcome:
    """Done when the machine itself says so."""
    if not job.data["exists"]:
        return Done()
    vm = look(job)
    if vm is None or vm.status == "stopped":
        return Done()
    waited = job.data.get("waited", 0) + 1
    job.save(waited=waited, on=True)
    if waited % 5 == 0:
        job.save(off_task="")
        raise Back("off")
    return Again(CHECK_RUNNING, "waiting until it is off")


def start_if_suspended(job: Job) -> Outcome:
    """An order that took an unsuspend's place ends the suspension too."""
    return start(job) if job.service.ran_when_suspended else Done()


def running_if_suspended(job: Job) -> Outcome:
    return running(job) if job.service.ran_when_suspended else Done()


def start_if_ran(job: Job) -> Outcome:
    if job.service.ran_when_suspended is False:
        return Done("it was off before")
    return start(job)


def running_if_ran(job: Job) -> Outcome:
    if job.service.ran_when_suspended is False:
        return Done()
    return running(job)


def unsuspended(job: Job) -> Outcome:
    job.save_service(ran_when_suspended=None)
    return Done()


# -- terminate ------------------------------------------------------------------------------------
def prove(job: Job) -> Outcome:
    vm = look(job) if born(job) or job.data.get("look") else None
    job.save(exists=vm is not None, on=vm is not None and vm.status != "stopped")
    if vm:
        job.save_service(node=vm.node)
    return Done("" if vm else "there is no machine")


def destroy(job: Job) -> Outcome:
    if not job.data["exists"]:
        return Done()
    if job.result is None and not job.data.get("destroy_task"):
        job.save(destroy_task=job.driver.destroy(ref(job)) or "none")
    if job.result is None and job.data["destroy_task"] != "none":
        return Wait(job.data["destroy_task"])
    if job.result is not None and job.result.state == "failed":
        job.save(destroy_task="")
        if look(job) is not None:
            raise Back("prove", job.driver.task_error(job.result.text))
    return Done()


def gone(job: Job) -> Outcome:
    """Only absence on its node and in the cluster, with quorum, proves it."""
    if not job.data["exists"]:
        return Done()
    if look(job) is not None:
        waited = job.data.get("waited_gone", 0) + 1
        job.save(waited_gone=waited)
        if waited % 5 == 0:
            job.save(destroy_task="")
            raise Back("prove")
        return Again(CHECK_RUNNING, "waiting until it is gone")
    return Done()


def release(job: Job) -> Outcome:
    s = job.service
    with job.store.write():
        job.store.renew(job.op, 30)
        job.store.release_addresses(s.id, job.config.worker["address_cool_down_h"] * 3600.0)
        job.store.forget_password(s.id)
        job.save_service(provisioned=0, build={})
        job.store.emit("activity", s.whmcs, s.id, f"activity:{job.op.id}", service_id=s.service_id,
                       client_id=s.client_id, text=f"Server of service {s.service_id} is removed ({job.op.id})")
    return Done()


# -- clean up -------------------------------------------------------------------------------------
def left(job: Job) -> Leftover | None:
    """The leftover as it is listed now; None when it is gone."""
    wanted = Leftover(**job.data["leftover"])
    found = job.driver.leftovers((job.service.vm_id,), wanted.listing)
    return next((f for f in found if (f.kind, f.name, f.made_at) == (wanted.kind, wanted.name, wanted.made_at)), None)


def absent(job: Job) -> Outcome:
    if job.service.desired is not Desired.TERMINATED or job.driver.look(ref(job)) is not None:
        raise Permanent("The machine is there: what it has is not left over.", code="vm_present")
    return Done()


def remove(job: Job) -> Outcome:
    if job.data.get("remove_task"):
        return Done()
    found = left(job)
    if found is None:
        return Done("it is gone already")
    job.save(remove_task=job.driver.remove_leftover(ref(job), found) or "none")
    return Done()


def removed(job: Job) -> Outcome:
    task = job.data.get("remove_task") or "none"
    if job.result is None and task != "none" and not job.data.get("remove_ended"):
        return Wait(task)
    if job.result is not None:
        job.save(remove_ended=True)
    if left(job) is not None:
        job.save(remove_task="", remove_ended=False)
        failed = job.result is not None and job.result.state == "failed"
        raise Back("absent", job.driver.task_error(job.result.text) if failed and job.result else Transient(detail="it is still listed"))
    job.store.end_finding(job.data["finding"])
    return Done()


# -- power ----------------------------------------------------------------------------------------
def act(job: Job) -> Outcome:
    verb = job.op.kind
    if job.data.get("task"):
        return Done()
    vm = must_exist(job, look(job))
    if (verb == "start") == (vm.status == "running") and verb != "reboot":
        job.save(task="none")
        return Done("nothing to do")
    if verb == "reboot" and vm.status != "running":
        raise Refused("The server is off: start it instead.", code="not_running")
    sent = job.data.get("sent_at")
    if verb == "reboot" and sent:  # a second reboot is not harmless: did the first one happen?
        if vm.uptime < job.clock.now() - sent:
            job.save(task="none")
            return Done()
        if job.clock.now() - sent < LOST_REPLY:
            return Again(5.0, "The reply was lost; looking whether it restarts.")
    job.save(sent_at=job.clock.now())
    job.save(task=job.driver.power(ref(job), verb) or "none")
    return Done()


def settled(job: Job) -> Outcome:
    task, verb = job.data["task"], job.op.kind
    if job.result is None and task != "none":
        return Wait(task)
    vm = must_exist(job, look(job))
    failed = job.result is not None and job.result.state == "failed"
    # a machine that still runs says nothing of a restart: there the task's end counts
    if (vm.status == "stopped") == (verb in ("stop", "hard_stop")) and not (failed and verb == "reboot"):
        return look_again(job)
    if failed and job.result is not None:
        if verb == "stop":
            job.save(task="", sent_at=None)
            raise Back("act", Refused("The system inside did not react; a hard stop turns it off.", code="no_reaction", detail=job.result.text))
        job.save(task="", sent_at=None)
        raise Back("act", job.driver.task_error(job.result.text))
    waited = job.data.get("waited", 0) + 1
    job.save(waited=waited, task="none")
    if waited > 60:
        job.save(waited=0, task="", sent_at=None)
        raise Back("act", Permanent("The server did not reach the new state.", code="state_not_reached"))
    return Again(CHECK_RUNNING)


def look_again(job: Job) -> Outcome:
    """Does anything still wait for a restart?"""
    if job.service.pending:
        seen = job.driver.read(ref(job))
        job.store.save_seen(job.service.id, seen.config, seen.pending)
    return Done()


# -- password -------------------------------------------------------------------------------------
def tell_password(job: Job) -> Outcome:
    if job.data.get("told"):
        return Done(job.data["told"])
    wanted = order(job, set_password=True)
    if not wanted.set_password:
        raise Permanent("The new password was not used in time and is forgotten; set it again.", code="password_forgotten")
    at_once = job.driver.set_password(wanted, ref(job))
    told = "set in the running system" if at_once else "the system inside takes it at its next restart"
    with job.store.write():
        job.save(told=told)
        job.store.forget_password(job.service.id)
    return Done(told)


# -- redeploy -------------------------------------------------------------------------------------
def begin_anew(job: Job) -> Outcome:
    """From here on whatever makes the service active has to finish the new machine."""
    job.save_build(anew=True)
    return Done()


def renew_identity(job: Job) -> Outcome:
    """A new VM id and uuid for the same service; addresses and MAC stay. The old machine is proven gone."""
    if job.data.get("renewed"):
        return Done()
    ranges = [(a, b) for a, b in job.driver.settings["vm_ids"]]
    password = passwords.generate()
    hashed = passwords.hashed(password)
    with job.store.write():
        found = job.store.next_vm_id(job.service.server, ranges)
        if found is None:
            raise Permanent("All VM ids of this server are used.", code="vm_ids_exhausted")
        job.save(renewed=True)
        job.save_service(vm_id=str(found), uuids=[str(uuid.uuid4())], node="", provisioned=0)
        job.save_build(**{key: None for key in job.service.build})
        job.store.set_password(job.service.id, password, hashed)
    return Done(f"VM id {found}")


def redeployed(job: Job) -> Outcome:
    """As `ready`, with the mail that names the new password."""
    s = job.service
    with job.store.write():
        job.store.renew(job.op, 30)
        job.store.emit("password", s.whmcs, s.id, f"password:{job.op.id}", service_id=s.service_id, hostname=s.hostname, reason="redeployed",
                       user=s.package.options.get("os_user", "root"), password=job.store.password(s.id))
    return ready(job)


CREATE = (
    Step("place", "Choosing a node", place),
    Step("copy", "Starting the copy", copy),
    Step("copied", "Copying the template", copied),
    Step("identify", "Marking the server as yours", identify),
    Step("configure", "Setting processor, memory, disk and network", configure),
    Step("start", "Switching it on", start),
    Step("running", "Waiting until it runs", running),
    Step("answering", "Waiting for the system inside", answering),
    Step("addresses", "Looking up its addresses", learn_addresses),
    Step("ready", "Telling you that it is ready", ready),
)
OFF = (Step("off", "Switching it off", shut_off), Step("stopped", "Waiting until it is off", stopped))
SUSPEND = (
    Step("settle", "Finishing what was begun", settle),
    Step("remember_power", "Looking at the server", remember_power),
    Step("autostart_off", "Keeping it off", autostart_off),
    *OFF,
)
UNSUSPEND = (
    Step("configure", "Checking the configuration", configure),
    Step("start", "Switching it on", start_if_ran),
    Step("running", "Waiting until it runs", running_if_ran),
    Step("unsuspended", "Done", unsuspended),
)
TERMINATE = (
    Step("settle", "Finishing what was begun", settle),
    Step("prove", "Making sure it is the right server", prove),
    Step("off", "Switching it off", hard_off),
    Step("stopped", "Waiting until it is off", stopped),
    Step("destroy", "Removing the server", destroy),
    Step("gone", "Making sure it is gone", gone),
    Step("release", "Releasing the addresses", release),
)
CLEAN_UP = (
    Step("absent", "Making sure the server is gone", absent),
    Step("remove", "Removing what it left", remove),
    Step("removed", "Making sure nothing is left", removed),
)
POWER = (Step("act", "Sending the order", act), Step("settled", "Waiting for the server", settled))
CONVERGE = (Step("configure", "Writing what differs", configure),)
CHANGE_PACKAGE = (
    Step("configure", "Setting processor, memory, disk and network", configure),
    Step("start", "Switching it on", start_if_suspended),
    Step("running", "Waiting until it runs", running_if_suspended),
    Step("changed", "Done", unsuspended),
)
CHANGE_PASSWORD = (Step("tell_password", "Setting the new password", tell_password),)
REDEPLOY = (
    Step("begin_anew", "Preparing", begin_anew),
    *TERMINATE[:-1],
    Step("renew_identity", "Preparing the new server", renew_identity),
    *CREATE[:-1],
    Step("ready", "Telling you that it is ready", redeployed),
)


def steps(kind: str, service: Service) -> Sequence[Step]:
    """The steps of an operation. What makes an unfinished machine active goes on with its birth; a change of package of a
    suspended one leaves it off."""
    if kind in ("unsuspend", "change_package") and service.build.get("anew") and service.desired is Desired.ACTIVE:
        return REDEPLOY
    unfinished = not service.provisioned and not service.build.get("adopted")
    if kind in ("unsuspend", "change_package") and unfinished and service.desired is Desired.ACTIVE:
        return CREATE
    if kind == "change_package" and service.desired is Desired.SUSPENDED:
        return SUSPEND if unfinished else (*SUSPEND, *CONVERGE)
    return {
        "create": CREATE, "suspend": SUSPEND, "unsuspend": UNSUSPEND, "terminate": TERMINATE, "converge": CONVERGE,
        "change_package": CHANGE_PACKAGE, "change_password": CHANGE_PASSWORD, "redeploy": REDEPLOY, "clean_up": CLEAN_UP,
    }.get(kind, POWER)
