"""The engine: takes due operations by lease, runs their steps, waits for tasks without a thread.

It knows no machine: what a step is stands in steps.py, what becomes of one that fails in retries.py.
"""

from __future__ import annotations

import math
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import structlog

from bridge import logs
from bridge.clock import Clock
from bridge.config import Config
from bridge.durations import FAST, Durations, Key
from bridge.errors import LeaseLost, StoreDamaged, StoreUnavailable, VmbridgeError
from bridge.model import END, Operation, Service, State, TaskResult
from bridge.retries import Retries, note_failing, notify_staff
from bridge.steps import LEASE, Back, Book, Done, Job, Recipe, Step, Wait
from bridge.store import Store
from bridge.store.tasks import TaskRow
from drivers import reads
from drivers.base import Driver
from drivers.calls import before_change

log = structlog.get_logger()

CALL_MARGIN = 3.0  # a changing call must end this long before the lease does
IDLE = 0.5  # at most: another worker may have begun a task and died
NOTHING = dict.fromkeys(("service", "whmcs", "server", "node", "vm", "step"), "")  # of a line that is about no machine
LAST_LOOK = 5.0  # seconds that a stop waits for a poll under way
OWNER = "VMBRIDGE_OWNER"  # the name under which a worker works, where its supervisor has given one


def owner_name() -> str:
    """Of one worker: no other one on any machine has it."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"


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
        self.retries = Retries(store, config, clock, book)
        self.border = border or (lambda name: None)
        self.owner = os.environ.get(OWNER) or owner_name()
        self._durations = Durations()
        self._active: dict[str, Operation] = {}
        self._wake = threading.Event()  # a task has ended: look at once
        self._tasked = threading.Event()  # a step has ended, maybe with a task to ask for
        self._stop = threading.Event()  # let go at the next step border
        self._lock = threading.Lock()
        self.looked_at = clock.monotonic()  # when the loop last went round

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
                    self.looked_at = self.clock.monotonic()
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
                due = self.store.next_poll()
                if due is not None and due <= self.clock.now() and self.poll():
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
        return self.store.claim(self.owner, LEASE, self.book.kinds)

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
        now, key = self.clock.now(), (row["server"], row["kind"], row["step"])
        age = now - row["task_since"]
        if result.state == "running":
            self._durations.runs(row["task"], age)
            self.store.poll_later(row["id"], row["task"], self._ask_at(key, now, age))
        else:
            self._durations.ended(key, row["task"], age)
            self.store.task_ended(row["id"], row["task"], f"{result.state}:{result.text}")
            self._wake.set()

    def _ask_at(self, key: Key, now: float, age: float) -> float:
        """When to ask for a task. Where a question counts, it is for all tasks of the server at once: at common
        times."""
        every, pause = self.drivers[key[0]].poll_every, self._durations.pause(key, age)
        return now + pause if every <= FAST else (math.floor(now / every) + max(1, round(pause / every))) * every

    # -- one operation ----------------------------------------------------------------------------
    def run(self, op: Operation) -> None:
        """Run steps until one waits, fails or the recipe ends."""
        with self._lock:
            self._active[op.id] = op
        token = before_change.set(lambda: self._before_change(op))
        try:
            with logs.bound(operation=op.id, kind=op.kind, request=op.request, **NOTHING), reads.kept(self.clock):
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
            logs.bind(
                service=service.service_id,
                whmcs=service.whmcs,
                server=service.server,
                node=service.node,
                vm=service.vm_id,
                step=op.step,
            )
            recipe = self.book.of(op, service)
            ending = op.memory.ending
            if op.stop and not ending:
                if recipe and self.retries.turn_back(op, service, State(op.stop)):
                    continue
                self.store.finish(op, State(op.stop), note="Stopped between two steps.")
                return
            place = recipe.find(op.step) if recipe else None
            if recipe is None or place is None:
                self._unknown_step(op, service)
                return
            if place == END or (recipe.steps[recipe.place(place)].undo and not ending):
                self.retries.end(op)
                return
            if (op.recipe, op.step) != (recipe.name, place):
                if not op.recipe:
                    log.info("operation_begun", recipe=recipe.name, attempt=op.attempt)
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
                    self.retries.failed(op, job, back.error, step.name)
            return back.error is None
        except VmbridgeError as e:
            self.retries.failed(op, job, e, step.name)
            return False
        except Exception as e:
            log.exception("step_fault", operation=op.id, step=step.name)
            self.retries.failed(op, job, VmbridgeError(detail=f"{type(e).__name__}: {e}"), step.name)
            return False
        if isinstance(outcome, Done):
            with store.write():
                store.step_note(op.id, step.name, "done", outcome.note, "", ended=True)
                if step.name in (failing := job.memory.failing):
                    note_failing(job, {k: v for k, v in failing.items() if k != step.name})
                store.advance(op, recipe.after(step.name))
            return True
        if isinstance(outcome, Wait):
            key = (job.service.server, op.kind, step.name)
            store.await_task(op, outcome.task, self._ask_at(key, self.clock.now(), 0.0))
            return False
        store.step_note(op.id, step.name, "waiting", outcome.note, "", ended=False)
        store.put_off(op, self.clock.now() + outcome.after, outcome.note, op.attempt, ("", "", ""))
        return False


def _result(text: str) -> TaskResult | None:
    state, _, rest = text.partition(":")
    return TaskResult(state, rest) if state else None
