"""Room on the hosts: what other orders were promised, and whether a machine may grow where it stands."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import Capacity
from bridge.model import Planned, Sold
from bridge.orders.wanted import completed
from bridge.recipes.machine import order, ref
from bridge.steps import Again, Done, Job, Outcome

ROOMY = frozenset({"cores", "ram_mib", "disk_gib", "additional_disk_gib"})  # words of a package that take room
Promised = tuple[list[Planned], list[Sold]]


def promised(job: Job) -> Promised:
    """The creates that still run, and what was sold of the machines that stand."""
    return job.store.planned_room(job.service.server), job.store.sold_room(job.service.server)


def planned_rooms(taken: Promised, job: Job) -> list[Planned]:
    return [replace(p, package=completed(p.package, job.config)) for p in taken[0]]


def room(job: Job) -> Outcome:
    """Before anything is written: does what the machine grows by fit where it stands? Only that is counted."""
    if job.memory.room:
        return Done()
    taken = promised(job)
    seen = job.driver.read(ref(job))
    if not any(d.word in ROOMY and not d.same for d in job.driver.compare(order(job), seen.config, False)):
        return Done("nothing grows")
    where = replace(ref(job), node=seen.node)
    lack = job.driver.lacks(order(job), seen.config, where, job.driver.resources(), planned_rooms(taken, job), taken[1])
    if lack:
        raise Capacity(
            "There is no room for this where the server is.", detail=lack.detail, next_action=lack.next_action
        )
    with job.store.write():
        if promised(job) != taken:
            return Again(0.0)  # another order took room meanwhile: count it
        job.save(replace(job.memory, room=True))
    return Done()


def room_elsewhere(job: Job) -> None:
    """A machine that is made anew needs a place, with its own room given back. Asked before the old one goes; raises as
    `place` does."""
    taken = promised(job)
    s, package = job.service, completed(job.service.package, job.config)
    own = Planned(s.vm_id, "", package)
    sold = [x for x in taken[1] if x.vm_id != s.vm_id]
    job.driver.place(package, [*(p for p in planned_rooms(taken, job) if p.vm_id != s.vm_id), own], sold)
