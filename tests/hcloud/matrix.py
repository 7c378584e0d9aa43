"""A deed once more for each call that goes wrong and for each border at which the worker dies: the end is always the
same."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge.model import State
from tests.branches import Branches, Killed
from tests.hcloud.project import Fault

Deed = Callable[[Any], Any]
Truth = Callable[[Any], bool]


def twin(born: Any, folder: Path, build: Callable[[Path], Any]) -> Any:
    """The same installation and project once more; `build` makes a fresh one of the same plan in a folder."""
    folder.mkdir()
    born.store.db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(born.path, folder / "vmbridge.db")
    made = build(folder)
    made.clock.time = born.clock.time
    made.project = copy.deepcopy(born.cloud)
    made.project.clock = made.clock
    made.project.calls.clear()
    made.start()
    return made


def ended_well(world: Any, what: object) -> None:
    last = world.store.operations_of(1)[0]
    assert last.state is State.DONE, (what, last.kind, last.error_text)


BY_THEMSELVES = ("page", "page before", "empty", "cut", "list", "a_code_of_tomorrow")  # these end without a person
COLUMNS = [
    *(pytest.param(kind, 3) for kind in ("page", "a_code_of_tomorrow")),  # `make matrix` plays every call
    *(pytest.param(kind, 1, marks=pytest.mark.matrix) for kind in (*BY_THEMSELVES, "forbidden")),
]


def turns(kinds: Sequence[str], deeds: Sequence[str]) -> list[Any]:
    """(kind, deed, every, turn): what `make test` plays, in which a call meets each third kind and a kind each third
    call, another third for each deed; and all of it, which `make matrix` plays."""
    places = [(kind, deed, (k + d) % 3) for d, deed in enumerate(deeds) for k, kind in enumerate(kinds)]
    return [
        *(pytest.param(kind, deed, 3, turn, id=f"{kind}-{deed}") for kind, deed, turn in places),
        *(pytest.param(k, d, 1, 0, id=f"{k}-{d}-whole", marks=pytest.mark.matrix) for k, d, _ in places),
    ]


def each_fault(
    start: Callable[[int], Any], do: Deed, right: Truth, match: str, kind: str, every: int = 1, turn: int = 0
) -> None:
    """Each call once, or each third of them from the first, the second or the third on (`turn`): at once or after a
    retry all is right; a failure says why and what to do."""
    world = start(1)
    branches, seen = Branches(world, Path(world.path).parent), 0

    def on_call(call: str) -> None:
        nonlocal seen
        if re.fullmatch(match, call):
            seen += 1
            if (seen - 1 - turn) % every == 0 and branches.branch((seen, call)):
                world.cloud.faults = [Fault(".*", kind)]

    def play() -> bool:
        do(world)
        world.run(4000)
        last = world.store.operations_of(1)[0]
        failed = last.state is State.FAILED
        if failed:
            assert kind not in BY_THEMSELVES, (kind, last.kind, last.error_text)
            assert last.error_text, kind
            assert last.next_action, kind
            world.store.retry(last.id)
            world.run(4000)
        ended_well(world, kind)
        assert right(world), (kind, world.cloud.mutations())
        return failed

    world.cloud.on_call = on_call
    assert not branches.grow(play)
    assert branches.ends
    world.close()


def each_border(start: Callable[[int], Any], do: Deed, right: Truth) -> int:
    """Killed at each border, another worker goes on; how many borders there are."""
    world = start(1)
    branches, seen = Branches(world, Path(world.path).parent), 0

    def border(name: str) -> None:
        nonlocal seen
        seen += 1
        if branches.branch((seen, name)):
            raise Killed

    def play() -> None:
        do(world)
        try:
            world.run()
        except Killed:
            world.restart()
            world.run()
        ended_well(world, seen)
        assert right(world), world.cloud.mutations()

    world.border = border
    branches.grow(play)
    world.close()
    return len(branches.ends)
