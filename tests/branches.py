"""Many ways from one way: a world goes its way once (the trunk), and wherever something may happen a copy of this
process takes the other way from there to its end (a branch). So nobody walks again the way that all have in common. The
process is copied by fork(2): a branch stands in the middle of the same call, and has its own copy of the store's
file."""

from __future__ import annotations

import gc
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import stores
from tests.world import World


class AtOnce(Executor):
    """In place of a driver's threads: a copy of a process has the one thread alone that copied it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as e:
            done.set_exception(e)
        return done


class Killed(BaseException):
    """The process is gone: nothing of ours may catch this."""


class Branches:
    """`grow` plays the trunk and returns how it ended; `ends` has what became of every branch, by its name."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.ends: dict[Any, Any] = {}
        self._pipe = -1  # of a branch: where it tells its end
        self._seen: set[Any] = set()
        self.alone()

    def alone(self) -> None:
        """To be done again when the world has made new drivers."""
        for driver in self.world.drivers.values():
            if hasattr(driver, "_pool"):
                driver._pool.shutdown()
                driver._pool = AtOnce()

    def new(self, *upstream: Any) -> bool:
        """Whether what a death now would leave to the next process is more than at the last one: in the store, told to
        WHMCS, or `upstream`, by which the caller counts what was done there. Otherwise the next one would go the same
        way."""
        if self._pipe >= 0:
            return False
        state = (stores.state(self.world.store), self.world.clock.time, len(self.world.whmcs.sent), *upstream)
        new = state not in self._seen
        self._seen.add(state)
        return new

    def branch(self, name: Any) -> bool:
        """True in the branch, which goes on from here; the trunk waits for its end and gets False."""
        if self._pipe >= 0:
            return False
        assert not stores.changing(self.world.store), "half a change cannot be copied"
        assert threading.current_thread() is threading.main_thread(), "no copy can be made beside the main thread"
        assert name not in self.ends, name
        read, write = os.pipe()
        path = self.folder / f"branch-{len(self.ends)}.db"
        stores.copied(self.world.store, path)
        child = os.fork()
        if child == 0:
            os.close(read)
            self._pipe = write
            self._move(path)
            return True
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        assert os.waitpid(child, 0)[1] == 0, f"the branch {name!r} has died"
        assert said, f"the branch {name!r} has died"
        fault, end = pickle.loads(said)
        assert not fault, f"in the branch {name!r}:\n{fault}"
        self.ends[name] = end
        return False

    def grow(self, play: Callable[[], Any]) -> Any:
        with self._quiet():
            try:
                end, fault = play(), ""
            except BaseException:
                if self._pipe < 0:
                    raise
                end, fault = None, traceback.format_exc()
            if self._pipe >= 0:  # nothing of the tests' own process may go on here
                with os.fdopen(self._pipe, "wb") as pipe:
                    pickle.dump((fault, end), pipe)
                os._exit(0)
        return end

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Nothing is looked through for garbage: that would copy all that is there."""
        gc.disable()
        try:
            yield
        finally:
            gc.enable()

    def _move(self, path: Path) -> None:
        """The branch's store is the copy. The open connections are the trunk's."""
        # what was open is never closed here: SQLite would take it for the last one's end
        self._trunk = stores.moved(self.world.store, path)
        self.world.path = path


def killed_anywhere(
    world: World, folder: Path, play: Callable[[], Any], end: Callable[[], Any]
) -> tuple[Any, dict[tuple[int, str], Any]]:
    """The worker dies before and after every upstream call and at every border of `play`, and another one goes on.
    Returns how it ends undisturbed, and (number, place) -> how it ends then. Where the next process would find the
    same as after an earlier death nobody dies once more."""
    branches, places = Branches(world, folder), 0

    def die(name: str, mutations: int) -> None:
        nonlocal places
        places += 1
        if branches.new(mutations) and branches.branch((places, name)):
            raise Killed

    def on_call(phase: str, index: int, method: str, path: str) -> None:
        under_way = phase == "before" and method != "GET" and not path.endswith("/agent/ping")
        die(f"{phase} {method} {path}", len(world.cluster.mutations()) - under_way)

    def all_of_it() -> Any:
        try:
            play()
        except Killed:
            world.restart()
            play()
        return end()

    world.cluster.on_call, world.border = on_call, lambda name: die(name, len(world.cluster.mutations()))
    wanted = branches.grow(all_of_it)
    assert len(branches.ends) > 5
    return wanted, branches.ends
