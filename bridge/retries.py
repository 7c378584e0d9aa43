"""What becomes of an operation that does not go right: tried again, handed to staff, put back, or ended. Who
hears of it, too."""

from __future__ import annotations

import random
from dataclasses import replace

import structlog

from bridge import room
from bridge.clock import Clock
from bridge.config import Config
from bridge.counts import counts
from bridge.errors import (
    Busy,
    Capacity,
    NeedsOperator,
    NotOurs,
    Protected,
    RequestError,
    StorageAway,
    Unlisted,
    UpstreamError,
    VmbridgeError,
)
from bridge.kinds import KINDS, Orderer, deed
from bridge.model import Desired, Memory, Operation, Service, State
from bridge.steps import Book, Job
from bridge.store import Store

log = structlog.get_logger()

LONGEST_PAUSE = 900.0
RETRY = "Mend what is named, then retry."
QUICK_TRIES = 3  # after the first, some seconds apart
GIVE_UP_AFTER = 3600.0
STUCK_AFTER = 1800.0
STALE_LOCK_AFTER = 1800.0


def note_failing(job: Job, failing: dict[str, tuple[float, int]]) -> None:
    """Per step: (since when, tries). The earliest beside it is what the watch over stuck operations looks for."""
    since = min((since for since, _ in failing.values()), default=None)
    job.save(replace(job.memory, failing=failing, failing_since=since))


def _passes(e: VmbridgeError, tries: int) -> bool:
    """Whether one more try is worth it after so many. A machine that was not found may just have moved to another
    node."""
    if isinstance(e, Unlisted) or e.code == "vm_absent":
        return tries < QUICK_TRIES
    return (isinstance(e, UpstreamError) and e.retryable) or (e.code == "internal_error" and tries < 5)


def _ends_soon(e: VmbridgeError, op: Operation, memory: Memory) -> bool:
    """A customer's order that has begun nothing and meets a storage that is away ends after some quick tries, so that
    the server is free again: an hour without power buttons is worse than asking once more. What WHMCS wants goes on."""
    if not isinstance(e, StorageAway) or op.actor.startswith("system"):
        return False
    if Orderer.CLIENT not in KINDS[op.kind].by or KINDS[op.kind].billing:
        return False
    return not (memory.task or memory.sent_at or memory.doubtful_since or memory.torn or memory.disks.get("written"))


def _pause(e: VmbridgeError, attempts: int, retryable: bool) -> float:
    if isinstance(e, UpstreamError) and e.retry_after is not None:
        return e.retry_after
    base = 2.0 * 2 ** min(attempts, 12) if retryable else LONGEST_PAUSE
    longest = 60.0 if retryable and attempts <= 12 else LONGEST_PAUSE
    if isinstance(e, Busy):
        longest = 30.0  # locks end by themselves, and what waits for them shall follow soon
    return min(base, longest) * random.uniform(0.8, 1.2)


def notify_staff(store: Store, op: Operation, service: Service, error: tuple[str, str, str]) -> None:
    """One notice for what WHMCS cannot learn any more."""
    store.emit(
        "staff_notice",
        service.whmcs,
        service.id,
        f"staff:{op.id}:{error[0]}",
        subject=f"vmbridge: {deed(op.kind)} of service {service.service_id} needs attention",
        text=f"{error[1]}\nNext: {error[2]}",
        reference=op.id,
        service_id=service.service_id,
    )


class Retries:
    """The rules, over a store and the book of recipes."""

    def __init__(self, store: Store, config: Config, clock: Clock, book: Book) -> None:
        self.store, self.config, self.clock, self.book = store, config, clock, book

    def failed(self, op: Operation, job: Job, e: VmbridgeError, step: str) -> None:
        """The retry rules. Tries are counted by the step that fails: going back for another try begins the steps before
        it anew.

        - a person must act (NotOurs, NeedsOperator, a lock older than 30 min): waiting_for_staff
        - a cause that is not known: three quick tries more, each after the step's own look; then it counts as permanent
        - suspend and terminate: again, three times quickly, then at most every 15 min, for ever
        - what only the customer can mend (RequestError): failed with that sentence, no notice to staff
        - a customer's order whose storage is away before it has begun: three quick tries more, then failed
        - others: retryable errors again with back-off for an hour, then failed; the rest failed at once
        """
        if isinstance(e, Capacity) and room.waits(op, e):
            self._no_room(op, job, e)
            return
        store, now = self.store, self.clock.now()
        e = self._stale(job, e, now)
        counts.add("vmbridge_operation_failed_tries", {"kind": op.kind, "class": type(e).__name__})
        since, tries = job.memory.failing.get(step, (now, 0))
        note_failing(job, {**job.memory.failing, step: (since, tries + 1)})
        error = (e.code, f"{e.sentence} {e.detail}".strip(), e.next_action)
        log.warning("step_failed", operation=op.id, kind=op.kind, code=e.code, detail=e.detail, attempt=tries + 1)
        staff, endless, too_long = (
            isinstance(e, (NotOurs, NeedsOperator)),
            KINDS[op.kind].endless or (isinstance(e, Protected) and e.waits),
            now - since > GIVE_UP_AFTER,
        )
        soon = _ends_soon(e, op, job.memory)
        passes = tries < QUICK_TRIES if soon else _passes(e, tries)
        retryable = passes or (endless and not staff and tries < QUICK_TRIES)
        with store.write():
            store.step_note(op.id, op.step, "retrying", e.sentence, e.detail, ended=False)
            if op.memory.ending[:1] == (State.SUPERSEDED,):  # what takes its place looks for itself
                self.end(op)
            elif staff:
                store.wait_for_staff(op, error)
            elif endless or (retryable and not too_long):
                store.put_off(op, now + _pause(e, tries, retryable), "", tries + 1, error)
            else:
                store.step_note(op.id, op.step, "failed", e.sentence, e.detail, ended=True)
                if retryable:  # nothing goes on by itself any more
                    error = (e.code, f"This was tried for an hour without success. {e.detail}".strip(), RETRY)
                elif soon:
                    error = (*error[:2], RETRY)
                if self.turn_back(op, job.service, State.FAILED, error):
                    store.put_off(op, now, "", 0, ("", "", ""))
                else:
                    self.end(op, State.FAILED, error)
            gave_up = staff or not retryable or too_long or now - since > STUCK_AFTER
            customers = (
                isinstance(e, RequestError) and e.code != "vm_absent"
            )  # theirs to mend; a machine that is gone is not
            if (gave_up or isinstance(e, Protected)) and not customers and store.notice(op.id):
                notify_staff(store, op, job.service, error)

    def _no_room(self, op: Operation, job: Job, e: Capacity) -> None:
        """What is paid for waits for room, for `[worker] wait_for_room_h`. Staff hears of it at once, and again when it
        is given up."""
        store, hours = self.store, self.config.worker["wait_for_room_h"]
        note_failing(job, {})  # what went wrong on the way here is over: its hour must not end the wait
        job.save(room.remembered(job.memory, e, self.clock.now(), hours))
        due = job.memory.room_due or 0.0
        error = room.told(e, due, hours)
        log.warning("no_room", operation=op.id, kind=op.kind, detail=e.detail, due=due)
        with store.write():
            store.step_note(op.id, op.step, "waiting" if due else "failed", e.sentence, e.detail, ended=not due)
            if due:
                store.put_off(op, due, room.NOTE, op.attempt + 1, error)
            else:
                store.finish(op, State.FAILED, error)
            first = store.notice(op.id)
            if first or not due:
                notify_staff(store, op, job.service, error if due else (f"{e.code} over", *error[1:]))

    def _stale(self, job: Job, e: VmbridgeError, now: float) -> VmbridgeError:
        """A lock that stays for too long is for a person, where a person can free it."""
        if not isinstance(e, Busy):
            job.memory = replace(job.memory, busy_since=None)
            return e
        since, lock = job.memory.busy_since or now, str(e.extra.get("lock") or "")
        job.memory = replace(job.memory, busy_since=since)
        command = job.driver.unlock_hint(job.service.ref, lock) if lock and now - since >= STALE_LOCK_AFTER else ""
        return NeedsOperator(command, e.extra.get("node", job.service.node), e.detail) if command else e

    def turn_back(
        self, op: Operation, service: Service, state: State, error: tuple[str, str, str] = ("", "", "")
    ) -> bool:
        """Let the recipe put back what was changed before an operation ends undone; false when it has nothing for that,
        or is at it. A retry begins anew where the steps say `unchanged`, else it goes on where this one stood."""
        recipe = self.book.of(op, service)
        first = next((s.name for s in recipe.steps if s.undo), None) if recipe else None
        if first is None or op.memory.ending or service.desired is Desired.TERMINATED:
            return False
        with self.store.write():
            memory = self.store.operation(op.id).memory
            self.store.save_memory(op, replace(memory, ending=(state.value, *error, op.step)))
            self.store.advance(op, first)
        return True

    def end(self, op: Operation, state: State = State.DONE, error: tuple[str, str, str] = ("", "", "")) -> None:
        """As it was to end before it was put back, with what went wrong on the way back."""
        if not op.memory.ending:
            self.store.finish(op, state, error)
            return
        ends, code, text, action, _ = op.memory.ending
        if error[0]:
            code, text, action = (code or error[0]), f"{text} It could not be put back: {error[1]}".strip(), error[2]
        note = "" if code else "Stopped between two steps."
        self.store.finish(op, State(ends), (code, text, action), note)
