"""What a store holds, and what putting a copy of it back has done: records alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

Ranges = dict[str, list[tuple[int, int]]]  # server -> VM ids, both ends in it


class HeldEvent(TypedDict):
    id: int
    event: str
    created_at: float
    service_id: int | None
    whmcs: str | None


@dataclass(frozen=True)
class Holdings:
    """What a store holds. `at` is when it last changed, as far as its rows tell; 0 when it is empty."""

    at: float
    services: dict[str, int]  # desired state -> how many
    operations: int
    open_operations: int
    addresses: int
    unsent_events: int
    vm_ids: dict[str, int]  # server -> the next id
    migrations: tuple[str, ...]


class HeldOperation(TypedDict):
    """One that was open in the copy; `later`: its state in the replaced store, empty where that does not know it."""

    id: str
    kind: str
    state: str
    whmcs: str
    service_id: int
    vm_id: str
    server: str
    later: str


class LostService(TypedDict):
    """A generation of a service as the replaced store has it."""

    whmcs: str
    service_id: int
    generation: int
    desired: str
    server: str
    vm_id: str
    plan: str


class ChangedService(LostService):
    """With its desired state and its VM in the copy."""

    here: str
    here_vm: str


class Compared(ChangedService):
    package: str


class Unsent(HeldEvent):
    dedupe: str


@dataclass
class Restored:
    """What putting a copy back has done, for the person who did it."""

    holdings: Holdings
    moved_to: str = ""  # where the store that stood there is now
    replaced_readable: bool = False
    skipped: int = 0
    vm_ids: dict[str, tuple[int, int]] = field(default_factory=dict)  # server -> (next in the copy, next now)
    held_operations: list[HeldOperation] = field(default_factory=list)
    held_events: list[HeldEvent] = field(default_factory=list)
    sent_since: int = 0  # events of the copy that the replaced store had delivered
    unknown_services: list[LostService] = field(default_factory=list)  # only the replaced store has them
    changed_services: list[ChangedService] = field(default_factory=list)  # both have them, of another state or VM
    kept_addresses: list[str] = field(default_factory=list)
