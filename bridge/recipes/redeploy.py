"""Staff's redeploy: the machine goes and comes again, with its service, addresses and names."""

from __future__ import annotations

import uuid
from dataclasses import replace

from bridge import passwords
from bridge.errors import Protected
from bridge.model import BEGIN_ANEW, Birth
from bridge.recipes.back import PUT_BACK
from bridge.recipes.billing import TERMINATE
from bridge.recipes.birth import CLEAR, CREATE, ready
from bridge.recipes.firewall import KEEP_FIREWALL
from bridge.recipes.machine import (
    born,
    look,
    ref,
    send_password,
    take_vm_id,
    without,
)
from bridge.recipes.room import room_elsewhere
from bridge.recipes.switching import keep_power
from bridge.steps import Done, Job, Outcome, Step


def begin_anew(job: Job) -> Outcome:
    """How it was, and whether there is room for the new one while the old one still stands: until something of that is
    removed, it can go back to it."""
    if job.birth.anew:
        return Done()
    try:
        if born(job):
            job.driver.removable(ref(job))
    except Protected as e:
        e.waits = True
        raise
    room_elsewhere(job)
    vm = look(job) if born(job) else None
    if vm and job.memory.ran is None:
        keep_power(job, vm)
    return Done()


def renew_identity(job: Job) -> Outcome:
    """A new VM id and uuid for the same service; addresses and MAC stay. The old machine is proven gone."""
    if job.memory.renewed:
        return Done()
    old = (*job.birth.old_vm_ids, job.service.vm_id)  # older backups carry these
    place = job.service.node if job.driver.late_addresses else ""  # where the provider's addresses are
    password = passwords.generate()
    hashed = passwords.hashed(password)
    with job.store.write():
        vm_id = take_vm_id(job, {"uuids": [str(uuid.uuid4()), *job.service.uuids], "node": "", "provisioned": 0})
        job.save(replace(job.memory, renewed=True, place=place))
        job.save_birth(Birth(old_vm_ids=old, firewall_before=job.birth.firewall_before))
        job.store.set_password(job.service.id, password, hashed)
        job.store.forget_snapshots(job.service.id)
        job.store.disk_comes_first(job.service.id)
        for row in job.store.backups_of(job.service.id) if job.driver.own_backups else ():  # they went with the machine
            job.store.forget_backup(row["id"])
    return Done(f"VM id {vm_id}")


def redeployed(job: Job) -> Outcome:
    """As `ready`, with the mail that names the new password."""
    with job.store.write():
        job.store.renew(job.op, 30)
        send_password(job, "redeploy", job.store.password(job.service.id))
    return ready(job)


REDEPLOY = (
    Step(BEGIN_ANEW, "Preparing", begin_anew),
    KEEP_FIREWALL,
    *without(TERMINATE, "release", "backups"),  # they stay
    Step("renew_identity", "Preparing the new server", renew_identity),
    *without(CREATE, "ready", "clear"),
    Step("ready", "Telling you that it is ready", redeployed),
    CLEAR,
    *PUT_BACK,
)
RECIPES = {"redeploy": REDEPLOY}
