"""A machine's firewall goes and comes with the machine and its archives; the customer's rules are those of now. Kept
before something writes over them, and put back before the machine starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bridge.errors import Permanent, Transient, Unknown
from bridge.firewall import edits, writing
from bridge.model import Capability, Firewall, Rule
from bridge.recipes.machine import LOST_REPLY, born, look, ref
from bridge.steps import Again, Done, Job, Outcome, Step

CALLS = 10  # of one run of the step; the next goes on


def keep_firewall(job: Job) -> Outcome:
    """As it is now, once what was open is ended: a trial is taken back. One that an operation before has kept and not
    put back yet is the customer's last; what stands there by now is the archive's or the template's."""
    if not _goes_with_machine(job):
        return Done()
    if job.birth.firewall_before and (job.birth.restoring or job.birth.anew):
        return Done("kept by an operation before")
    if not born(job) or look(job) is None:
        return Done("there is no machine")
    if not writing.settle(job.service, job.store, job.driver):
        return Again(2.0, "waiting until a change of its firewall is written")
    now = job.driver.firewall(ref(job))
    job.save_birth(replace(job.birth, firewall_before=edits.goal(now)))
    return Done(f"{len(now.rules)} rules")


def _goes_with_machine(job: Job) -> bool:
    return Capability.FIREWALL in job.driver.capabilities and job.driver.firewall_in_machine


def firewall_back(job: Job) -> Outcome:
    """Call by call, each after a look; what is ours was written by `configure` before."""
    goal = job.birth.firewall_before
    if not goal or not _goes_with_machine(job):
        return Done()
    sent = job.memory.firewall_sent
    if sent and job.clock.now() - sent < LOST_REPLY:
        return Again(5.0, "The reply was lost; looking whether it was written.")
    job.save(replace(job.memory, firewall_sent=None))
    for _ in range(CALLS):
        now = job.driver.firewall(ref(job))
        wanted = edits.applied(_possible(goal, now, job.memory.left_out), now)
        if writing.same(now, wanted):
            job.save_birth(replace(job.birth, firewall_before=None))
            return Done("without rules that name what is not there any more" if job.memory.left_out else "")
        _write(job, now, wanted)
    return Again(0.0)


def _write(job: Job, now: Firewall, wanted: Firewall) -> None:
    try:
        job.driver.change_firewall(ref(job), now, wanted)
    except Unknown:
        job.save(replace(job.memory, firewall_sent=job.clock.now()))
        raise
    except Transient as e:
        if e.code != "firewall_changed":
            raise
    except Permanent as e:
        if e.code != "upstream_parameter" or job.memory.left_out:
            raise
        job.save(replace(job.memory, left_out=True))  # a set or an alias that went with the old file


def _possible(goal: dict[str, Any], now: Firewall, without_names: bool) -> dict[str, Any]:
    """The goal; `without_names` those of the host's rules that name a set or an alias are as they are now."""
    if not without_names:
        return goal
    rules = [r for r in map(edits.unpacked, goal["rules"]) if not _names(r) or r in now.rules]
    return {**goal, "rules": [edits.packed(r) for r in rules]}


def _names(rule: Rule) -> bool:
    """Whether it says a set or an alias; addresses begin otherwise."""
    return any(v and not (v[0].isdigit() or ":" in v) for v in (rule.source, rule.dest))


KEEP_FIREWALL = Step("keep_firewall", "Keeping its firewall", keep_firewall)
FIREWALL_BACK = Step("firewall_back", "Putting its firewall in place", firewall_back)
