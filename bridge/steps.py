"""What an operation is made of: steps, the recipe they stand in, and what a step sees and answers.

A step is a function of a Job. It may run twice, so it looks before it acts; what it must not lose it saves before the
act. It returns Done, Wait or Again, or raises. Which steps an operation has is known to recipes/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Unpack

from bridge.clock import Clock
from bridge.config import Config
from bridge.errors import VmbridgeError
from bridge.model import END, Birth, Memory, Operation, Service, TaskResult
from bridge.store import Store
from bridge.store.services import Changes
from drivers.base import Driver

LEASE = 30.0


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
