"""The engine: takes due operations by lease, runs their steps, waits for tasks without a thread, retries.

A step is a function of a Job. It may run twice, so it looks before it acts; what it must not lose it
saves before the act. It returns Done, Wait or Again, or raises. Which steps an operation has is known
to recipes.py; this file knows no machine.
"""

from __future__ import annotations

import math
import os
import random
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Unpack

import structlog

from bridge import room
from bridge.clock import Clock
from bridge.config import Config
from bridge.errors import (
    Busy,
    Capacity,
    LeaseLost,
    NeedsOperator,
    NotOurs,
    Protected,
    RequestError,
    StoreDamaged,
    StoreUnavailable,
    Unlisted,
    UpstreamError,
    VmbridgeError,
)
from bridge.kinds import KINDS, deed
from bridge.model import END, Birth, Desired, Memory, Operation, Service, State, TaskResult
from bridge.store import Store
from bridge.store.services import Changes
from bridge.store.tasks import TaskRow
from drivers.base import Driver, before_change

log = structlog.get_logger()

LEASE = 30.0
CALL_MARGIN = 3.0  # a changing call must end this long before the lease does
POLL_FAST, POLL_FAST_FOR, POLL_SLOW = 1.0, 60.0, 5.0
IDLE = 0.5  # at most: another worker may have begun a task and died
LONGEST_PAUSE = 900.0
LAST_LOOK = 5.0  # seconds that a stop waits for a poll under way
RETRY = "Mend what is named, then retry."
QUICK_TRIES = 3  # after the first, some seconds apart
GIVE_UP_AFTER = 3600.0
STUCK_AFTER = 1800.0
STALE_LOCK_AFTER = 1800.0


@dataclass(frozen=True)
class Done:
    """The step is finished; `note` is for the log."""

    note: str = ""


@dataclass(frozen=True)
class Wait:
    """Let go until the upstream task ends, then run the same step again with `job.result`."""

    task: str


@dataclass(frozen=True)
class Again:
    """Run the same step again after some seconds; nothing is wrong."""

    after: float
    note: str = ""


class Back(Exception):
    """Go back to an earlier step because of `error` (None: at once, nothing is wrong)."""

    def __init__(self, step: str, error: VmbridgeError | None = None) -> None:
        super().__init__(step)
        self.step, self.error = step, error


@dataclass
class Job:
    """What a step sees. `memory` is the operation's: write it with `save(replace(job.memory, ...))`."""

    op: Operation
    service: Service
    driver: Driver
    store: Store
    config: Config
    clock: Clock
    result: TaskResult | None = None
    memory: Memory = field(default_factory=Memory)

    def save(self, memory: Memory) -> None:
        """Write what the operation remembers, under our fence."""
        self.memory = memory
        self.store.save_memory(self.op, memory)

    @property
    def birth(self) -> Birth:
        return self.service.birth

    def save_birth(self, birth: Birth) -> None:
        """Write the birth record of the service, under our fence."""
        self.save_service(birth=birth)

    def save_service(self, **values: Unpack[Changes]) -> None:
        """Write columns of the service, under our fence."""
        with self.store.write():
            self.store.renew(self.op, LEASE)
            self.store.update_service(self.service.id, **values)
        self.reload()

    def reload(self) -> None:
        self.service = self.store.service(self.service.id)


Outcome = Done | Wait | Again


@dataclass(frozen=True)
class Step:
    """`title` is what customers read. `undo`: one of the recipe's last steps, which run only when the operation ends
    undone: they look what was changed for it and put that back."""

    name: str
    title: str
    run: Callable[[Job], Outcome]
    undo: bool = False


@dataclass(frozen=True)
class Recipe:
    """The steps of an operation, in order, each name once. `moved`: steps that an earlier release had and this one has
    not -> the step at which an operation goes on that stands there."""

    name: str
    steps: tuple[Step, ...]
    moved: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [s.name for s in self.steps]
        strange = [m for m in self.moved if m in names] + [m for m in self.moved.values() if m not in (*names, END)]
        if len(set(names)) < len(names) or END in names or strange:
            raise ValueError(
                f"recipe {self.name!r}: a name stands twice, or `moved` leads nowhere: {names} {self.moved}"
            )

    def find(self, name: str) -> str | None:
        """Where an operation goes on that stands at `name`: a step of this recipe, END, or None when this release knows
        no such step."""
        name = self.moved.get(name, name) or self.steps[0].name
        return name if name == END or any(s.name == name for s in self.steps) else None

    def place(self, name: str) -> int:
        """How many steps come before this one; all of them for END and for what is not known."""
        known = self.find(name)
        return next((i for i, s in enumerate(self.steps) if s.name == known), len(self.steps))

    def after(self, name: str) -> str:
        place = self.place(name) + 1
        return self.steps[place].name if place < len(self.steps) else END


@dataclass(frozen=True)
class Book:
    """All recipes by name, and which one an operation takes when it begins: then it keeps it, whatever its steps
    write."""

    recipes: Mapping[str, Recipe]
    choose: Callable[[str, Service], str]
    kinds: frozenset[str]  # of operations; others are left to a release that knows them

    def of(self, op: Operation, service: Service) -> Recipe | None:
        """None: this release does not know the recipe that the operation began with."""
        return self.recipes.get(op.recipe or self.choose(op.kind, service))


@contextmanager
def held_up(doing: str) -> Iterator[None]:
    """A store that takes no changes for a while holds a worker up and does not end it; one that is damaged does."""
    try:
        yield
    except StoreDamaged:
        raise
    except StoreUnavailable as e:
        log.warning("store_unavailable", doing=doing, detail=e.detail)


class Engine:
    """One per worker process. `border` is called at every step border (tests stop the process there)."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clock: Clock,
        drivers: Mapping[str, Driver],
        book: Book,
        border: Callable[[str], None] | None = None,
    ) -> None:
        self.store, self.config, self.clock, self.drivers, self.book = store, config, clock, drivers, book
        self.border = border or (lambda name: None)
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._active: dict[str, Operation] = {}
        self._wake = threading.Event()  # a task has ended: look at once
        self._tasked = threading.Event()  # a step has ended, maybe with a task to ask for
        self._stop = threading.Event()  # let go at the next step border
        self._lock = threading.Lock()

    # -- loop -------------------------------------------------------------------------------------
    def run_forever(self, stop: threading.Event, threads: int) -> None:
        """Work until `stop`; running steps are finished first, then nothing is held any more."""
        self._stop, drained = stop, threading.Event()
        with held_up("poll_now"):
            self.store.poll_now()  # what an earlier process left may have ended long ago
        keeper = threading.Thread(target=self._keep_leases, args=(drained,), name="leases", daemon=True)
        poller = threading.Thread(target=self._poll_loop, args=(stop,), name="poller", daemon=True)
        keeper.start()
        poller.start()
        free = threading.Semaphore(threads)
        try:
            with ThreadPoolExecutor(threads, thread_name_prefix="step") as pool:
                while not stop.is_set():
                    if not free.acquire(timeout=0.2):
                        continue
                    op = None
                    if not stop.is_set():
                        with held_up("claim"):
                            op = self._claim()
                    if op is None:
                        free.release()
                        self.clock.wait(self._wake, 0.2)
                        self._wake.clear()
                        continue
                    pool.submit(self._run_and_free, op, free)
        finally:
            drained.set()
            self._tasked.set()
            for thread in (keeper, poller):  # the store is closed behind this: nobody may be reading then
                thread.join(LAST_LOOK)
            with held_up("free_owner"):  # the leases run out by themselves then
                self.store.free_owner(self.owner)

    def _run_and_free(self, op: Operation, free: threading.Semaphore) -> None:
        try:
            self.run(op)
        except Exception:
            log.exception("engine_fault", operation=op.id)
        finally:
            free.release()
            self._tasked.set()

    def _poll_loop(self, stop: threading.Event) -> None:
        """Asks when the next task is due; with nothing to ask for it looks rarely: an idle worker should cost
        nothing."""
        while not stop.is_set():
            self._tasked.clear()
            pause = IDLE
            try:
                self.poll()
                due = self.store.next_poll()
                pause = IDLE if due is None else min(IDLE, max(0.05, due - self.clock.now()))
            except Exception:
                log.exception("poll_fault")
            self.clock.wait(self._tasked, pause)

    def _keep_leases(self, stop: threading.Event) -> None:
        while not self.clock.wait(stop, LEASE / 3):
            with self._lock:
                held = list(self._active.values())
            for op in held:
                try:
                    self.store.renew(op, LEASE)
                except LeaseLost:
                    log.warning("lease_lost", operation=op.id)
                except (
                    Exception
                ):  # the next time may be in time; whether it was is asked before each change at a back end
                    log.exception("lease_fault", operation=op.id)

    def tick(self) -> bool:
        """One poll and one operation, in this thread; true when there was something to do."""
        polled = self.poll()
        op = self._claim()
        if op is None:
            return polled
        self.run(op)
        return True

    def _claim(self) -> Operation | None:
        down = [name for name in self.config.servers if not self.store.health(name)["ok"]]
        return self.store.claim(self.owner, LEASE, down, self.book.kinds)

    # -- tasks ------------------------------------------------------------------------------------
    def poll(self) -> bool:
        """Ask once for every open task that is due, many per server at a time."""
        rows = self.store.open_tasks()
        for server in {r["server"] for r in rows} & set(self.drivers):
            mine = [r for r in rows if r["server"] == server]
            try:
                results = self.drivers[server].poll([r["task"] for r in mine])
            except Exception:
                log.exception("poll_fault", server=server)  # one server's fault must not hold the others
                continue
            for row in mine:
                self._polled(row, results[row["task"]])
        return bool(rows)

    def _polled(self, row: TaskRow, result: TaskResult) -> None:
        now = self.clock.now()
        if result.state == "running":
            pause = POLL_FAST if now - row["task_since"] < POLL_FAST_FOR else POLL_SLOW
            self.store.poll_later(row["id"], row["task"], self._ask_at(row["server"], now, pause))
        else:
            self.store.task_ended(row["id"], row["task"], f"{result.state}:{result.text}")
            self._wake.set()

    def _ask_at(self, server: str, now: float, pause: float) -> float:
        """When to ask for a task. Where a question counts, it is for all tasks of the server at once: at common
        times."""
        every = self.drivers[server].poll_every
        return now + pause if every <= POLL_FAST else (math.floor(now / every) + max(1, round(pause / every))) * every

    # -- one operation ----------------------------------------------------------------------------
    def run(self, op: Operation) -> None:
        """Run steps until one waits, fails or the recipe ends."""
        with self._lock:
            self._active[op.id] = op
        token = before_change.set(lambda: self._before_change(op))
        try:
            self._steps(op)
        except LeaseLost:
            log.warning("lease_lost", operation=op.id)
        except StoreUnavailable as e:  # as after a crash: the step is taken up again when the lease has run out
            log.warning("store_unavailable", operation=op.id, detail=e.detail)
        finally:
            before_change.reset(token)
            with self._lock:
                self._active.pop(op.id, None)

    def _before_change(self, op: Operation) -> float:
        return self.store.renew(op, LEASE) - self.clock.now() - CALL_MARGIN

    def _steps(self, op: Operation) -> None:
        """From step to step, each from what the store says now, until one waits, fails or the recipe ends. Raises
        LeaseLost."""
        result = _result(op.result)
        while True:
            now = self.store.operation(op.id)
            if now.fence != op.fence:
                raise LeaseLost()
            op = now
            with self._lock:
                self._active[op.id] = op
            service = self.store.service(op.service)
            recipe = self.book.of(op, service)
            ending = op.memory.ending
            if op.stop and not ending:
                if recipe and self._turn_back(op, service, State(op.stop)):
                    continue
                self.store.finish(op, State(op.stop), note="Stopped between two steps.")
                return
            place = recipe.find(op.step) if recipe else None
            if recipe is None or place is None:
                self._unknown_step(op, service)
                return
            if place == END or (recipe.steps[recipe.place(place)].undo and not ending):
                self._end(op)
                return
            if (op.recipe, op.step) != (recipe.name, place):
                self.store.stand(op, recipe.name, place)
                continue
            if self._stop.is_set():
                self.store.let_go(op)
                return
            step = recipe.steps[recipe.place(place)]
            self.border(f"{op.kind}.{step.name}")
            job = Job(op, service, self.drivers[service.server], self.store, self.config, self.clock, result, op.memory)
            result = None
            if not self._step(op, job, step, recipe):
                return

    def _unknown_step(self, op: Operation, service: Service) -> None:
        """Another release has begun it. What it has left undone nobody here can know, so a person decides."""
        error = (
            "unknown_step",
            f"This release does not know the step {op.step!r} of {op.recipe or op.kind!r}, at which another one has"
            " left this.",
            "Look at the machine; cancel this operation and order anew, or let the release go on that began it.",
        )
        log.warning("step_unknown", operation=op.id, kind=op.kind, recipe=op.recipe, step=op.step)
        with self.store.write():
            self.store.wait_for_staff(op, error)
            if self.store.notice(op.id):
                notify_staff(self.store, op, service, error)

    def _step(self, op: Operation, job: Job, step: Step, recipe: Recipe) -> bool:
        """Run one step; false when the operation has been let go."""
        store = self.store
        store.step_started(op.id, step.name)
        try:
            outcome = step.run(job)
        except (LeaseLost, StoreUnavailable):
            raise
        except Back as back:
            with store.write():
                text = back.error.sentence if back.error else ""
                store.step_note(op.id, step.name, "failed", text, back.error.detail if back.error else "", ended=True)
                store.advance(op, back.step)
                op = store.operation(op.id)
                if back.error:
                    self._failed(op, job, back.error, step.name)
            return back.error is None
        except VmbridgeError as e:
            self._failed(op, job, e, step.name)
            return False
        except Exception as e:
            log.exception("step_fault", operation=op.id, step=step.name)
            self._failed(op, job, VmbridgeError(detail=f"{type(e).__name__}: {e}"), step.name)
            return False
        if isinstance(outcome, Done):
            with store.write():
                store.step_note(op.id, step.name, "done", outcome.note, "", ended=True)
                if step.name in (failing := job.memory.failing):
                    _note_failing(job, {k: v for k, v in failing.items() if k != step.name})
                store.advance(op, recipe.after(step.name))
            return True
        if isinstance(outcome, Wait):
            store.await_task(op, outcome.task, self._ask_at(job.service.server, self.clock.now(), POLL_FAST))
            return False
        store.step_note(op.id, step.name, "waiting", outcome.note, "", ended=False)
        store.put_off(op, self.clock.now() + outcome.after, outcome.note, op.attempt, ("", "", ""))
        return False

    # -- failures ---------------------------------------------------------------------------------
    def _failed(self, op: Operation, job: Job, e: VmbridgeError, step: str) -> None:
        """The retry rules. Tries are counted by the step that fails: going back for another try begins the steps before
        it anew.

        - a person must act (NotOurs, NeedsOperator, a lock older than 30 min): waiting_for_staff
        - a cause that is not known: three quick tries more, each after the step's own look; then it counts as permanent
        - suspend and terminate: again, three times quickly, then at most every 15 min, for ever
        - what only the customer can mend (RequestError): failed with that sentence, no notice to staff
        - others: retryable errors again with back-off for an hour, then failed; the rest failed at once
        """
        if isinstance(e, Capacity) and room.waits(op, e):
            self._no_room(op, job, e)
            return
        store, now = self.store, self.clock.now()
        e = self._stale(job, e, now)
        since, tries = job.memory.failing.get(step, (now, 0))
        _note_failing(job, {**job.memory.failing, step: (since, tries + 1)})
        error = (e.code, f"{e.sentence} {e.detail}".strip(), e.next_action)
        log.warning("step_failed", operation=op.id, kind=op.kind, code=e.code, detail=e.detail, attempt=tries + 1)
        staff, endless, too_long = (
            isinstance(e, (NotOurs, NeedsOperator)),
            KINDS[op.kind].endless or (isinstance(e, Protected) and e.waits),
            now - since > GIVE_UP_AFTER,
        )
        retryable = _passes(e, tries) or (endless and not staff and tries < QUICK_TRIES)
        with store.write():
            store.step_note(op.id, op.step, "retrying", e.sentence, e.detail, ended=False)
            if op.memory.ending[:1] == (State.SUPERSEDED,):  # what takes its place looks for itself
                self._end(op)
            elif staff:
                store.wait_for_staff(op, error)
            elif endless or (retryable and not too_long):
                store.put_off(op, now + _pause(e, tries, retryable), "", tries + 1, error)
            else:
                store.step_note(op.id, op.step, "failed", e.sentence, e.detail, ended=True)
                if retryable:  # nothing goes on by itself any more
                    error = (e.code, f"This was tried for an hour without success. {e.detail}".strip(), RETRY)
                if self._turn_back(op, job.service, State.FAILED, error):
                    store.put_off(op, now, "", 0, ("", "", ""))
                else:
                    self._end(op, State.FAILED, error)
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
        _note_failing(job, {})  # what went wrong on the way here is over: its hour must not end the wait
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

    # -- endings ----------------------------------------------------------------------------------
    def _turn_back(
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

    def _end(self, op: Operation, state: State = State.DONE, error: tuple[str, str, str] = ("", "", "")) -> None:
        """As it was to end before it was put back, with what went wrong on the way back."""
        if not op.memory.ending:
            self.store.finish(op, state, error)
            return
        ends, code, text, action, _ = op.memory.ending
        if error[0]:
            code, text, action = (code or error[0]), f"{text} It could not be put back: {error[1]}".strip(), error[2]
        note = "" if code else "Stopped between two steps."
        self.store.finish(op, State(ends), (code, text, action), note)


def _note_failing(job: Job, failing: dict[str, tuple[float, int]]) -> None:
    """Per step: (since when, tries). The earliest beside it is what the watch over stuck operations looks for."""
    since = min((since for since, _ in failing.values()), default=None)
    job.save(replace(job.memory, failing=failing, failing_since=since))


def _passes(e: VmbridgeError, tries: int) -> bool:
    """Whether one more try is worth it after so many. A machine that was not found may just have moved to another
    node."""
    if isinstance(e, Unlisted) or e.code == "vm_absent":
        return tries < QUICK_TRIES
    return (isinstance(e, UpstreamError) and e.retryable) or (e.code == "internal_error" and tries < 5)


def _pause(e: VmbridgeError, attempts: int, retryable: bool) -> float:
    if isinstance(e, UpstreamError) and e.retry_after is not None:
        return e.retry_after
    base = 2.0 * 2 ** min(attempts, 12) if retryable else LONGEST_PAUSE
    longest = 60.0 if retryable and attempts <= 12 else LONGEST_PAUSE
    if isinstance(e, Busy):
        longest = 30.0  # locks end by themselves, and what waits for them shall follow soon
    return min(base, longest) * random.uniform(0.8, 1.2)


def _result(text: str) -> TaskResult | None:
    state, _, rest = text.partition(":")
    return TaskResult(state, rest) if state else None


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
