"""A fresh system in the same machine, and a new password."""

from __future__ import annotations

from dataclasses import replace

from bridge import passwords
from bridge.errors import Refused, Unknown
from bridge.model import Order
from bridge.recipes.back import PUT_BACK, forget_new_password
from bridge.recipes.backups import before_restore
from bridge.recipes.firewall import FIREWALL_BACK
from bridge.recipes.machine import (
    allocate,
    allocation_under_way,
    look,
    must_exist,
    order,
    ref,
    send_password,
    set_password,
)
from bridge.recipes.snapshots import clear_unfinished
from bridge.recipes.switching import OFF_FIRST, answering, running, start
from bridge.recipes.writing import write_differences
from bridge.steps import Again, Done, Job, Outcome, Step, Wait


def check_system(job: Job) -> Outcome:
    """Nothing is switched off for a system that is not there. What the old disks are is kept before the first
    change."""
    if not job.memory.disks:
        converged = job.driver.reinstall(fresh(job), ref(job), {})
        job.save(replace(job.memory, disks=converged.memory, source=converged.source))
    return Done(template_of(job))


def template_of(job: Job) -> str:
    return job.memory.template or job.service.package.template


def fresh(job: Job, **changes: object) -> Order:
    """The order with the new system, which is the service's only once it is on the disk."""
    wanted = order(job, **changes)
    return replace(wanted, package=replace(wanted.package, template=template_of(job)))


def replace_disks(job: Job) -> Outcome:
    """Again until the driver has nothing more to do; what the old disks were is kept before the first change."""
    if job.result is not None and job.result.state == "failed":
        raise job.driver.task_error(job.result.text)
    memory, wanted = job.memory.disks, fresh(job, set_password=True)
    converged = job.driver.reinstall(wanted, ref(job), memory)
    if converged.missing_disk:
        if wait := allocation_under_way(job):
            return wait
        converged = allocate(job, lambda: job.driver.reinstall(wanted, ref(job), memory, allocate=True))
    with job.store.write():
        job.save(replace(job.memory, disks=converged.memory))
        if converged.written:
            job.store.change_template(job.service.id, template_of(job))
            if job.memory.source:
                job.save_birth(replace(job.birth, source=job.memory.source, template=template_of(job)))
    job.reload()
    if converged.task:
        return Wait(converged.task)
    if converged.more:
        return Again(0.0)
    job.save(replace(job.memory, allocated_at=None))
    if not job.driver.snapshots_survive:
        job.store.forget_snapshots(job.service.id)
    return Done()


def set_up_again(job: Job) -> Outcome:
    """The package, the network and the new password into the fresh system."""
    return write_differences(job, order(job, set_password=not job.memory.sent, birth=True))


def mail_password(job: Job) -> Outcome:
    """The new password goes out, once, and is forgotten here."""
    s = job.service
    password = job.store.password(s.id)
    with job.store.write():
        job.store.renew(job.op, 30)
        if password:
            send_password(job, job.op.kind, password)
            job.store.forget_password(s.id)
        if job.op.kind == "reinstall":
            job.save_birth(replace(job.birth, restoring="", ran_before=None))
    return Done()


def reset_password(job: Job) -> Outcome:
    if job.driver.chooses_passwords:
        return password_of_provider(job)
    if not job.memory.told:
        new_password(job)
    try:
        return Done(set_password(job, order(job, set_password=True)))
    except Unknown:
        job.save(replace(job.memory, doubt=True))
        raise


def password_of_provider(job: Job) -> Outcome:
    """It is kept before it holds: the provider tells it once. One whose reply was lost is replaced by the next."""
    if job.memory.told:
        return Done(job.memory.told)
    task = job.memory.task
    if task and job.result is None:
        return Wait(task)
    try:
        if job.result is not None and job.result.state != "done":
            job.store.forget_password(job.service.id)
            job.save(replace(job.memory, task=""))
            raise job.driver.task_error(job.result.text)
        if not task:
            must_exist(job, look(job))
            task, password = job.driver.new_password(ref(job))
            with job.store.write():
                job.store.set_password(job.service.id, password, passwords.hashed(password))
                job.save(replace(job.memory, task=task, asked_at=job.memory.asked_at or job.clock.now()))
            return Wait(task)
    except Refused as e:
        return no_agent_yet(job, e)
    job.save(replace(job.memory, told="set in the running system", at_once=True))
    return Done(job.memory.told)


def no_agent_yet(job: Job, error: Refused) -> Outcome:
    """A system that has just started gets a minute for its agent."""
    since = job.memory.asked_at or job.clock.now()
    job.save(replace(job.memory, asked_at=since))
    if error.code != "no_agent" or job.clock.now() - since > NO_AGENT_FOR:
        job.save(replace(job.memory, asked_at=None))
        raise error
    return Again(10.0, "waiting for the system's guest agent")


def forget_unused(job: Job) -> Outcome:
    """One that was refused before it could hold. After a lost reply it may hold, so it stays for a retry."""
    if not job.memory.told and not job.memory.doubt:
        forget_new_password(job)
        job.save(replace(job.memory, unchanged=True))
    return Done()


def new_password(job: Job) -> Outcome:
    """Made before anything changes, so that a crash does not make a second one; never one that something else has
    left."""
    if not job.memory.made:
        password = passwords.generate()
        hashed = passwords.hashed(password)
        with job.store.write():
            job.save(replace(job.memory, made=True))
            job.store.set_password(job.service.id, password, hashed)
    return Done()


NO_AGENT_FOR = 60.0  # seconds

REINSTALL = (
    Step("password", "Preparing", new_password),
    Step("remember", "Looking at the server", before_restore),
    Step("check", "Making sure the system is there", check_system),
    Step("clear", "Removing unfinished snapshots", clear_unfinished),
    *OFF_FIRST,
    Step("replace_disks", "Copying the new system", replace_disks),
    Step("configure", "Setting processor, memory, disk and network", set_up_again),
    FIREWALL_BACK,
    Step("start", "Switching it on", start),
    Step("running", "Waiting until it runs", running),
    Step("answering", "Waiting for the system inside", answering),
    Step("mail", "Sending you the password", mail_password),
    *PUT_BACK,
)
RESET_PASSWORD = (
    Step("reset", "Setting the new password", reset_password),
    Step("mail", "Sending it to you", mail_password),
    Step("forget", "Forgetting it again", forget_unused, undo=True),
)

RECIPES = {"reinstall": REINSTALL, "reset_password": RESET_PASSWORD}
