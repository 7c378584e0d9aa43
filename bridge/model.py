"""The nouns as frozen data, and the words of every state. No I/O, no time, no imports from the bridge."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Desired(enum.StrEnum):
    """What WHMCS ordered."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


class State(enum.StrEnum):
    """Where an operation stands."""

    WAITING = "waiting"  # behind the running one of the same service
    RUNNING = "running"  # the service's current operation, also between tries
    STAFF = "waiting_for_staff"  # a person must act; retry goes on
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # a newer billing order took its place


OPEN = (State.RUNNING, State.STAFF)
BILLING = ("create", "suspend", "unsuspend", "change_package", "terminate")
POWER = ("start", "stop", "reboot", "hard_stop")


class Capability(enum.StrEnum):
    """One word per feature: driver, plan, URL, page, menu."""

    OVERVIEW = "overview"
    POWER = "power"
    CONSOLE = "console"
    CHARTS = "charts"
    REINSTALL = "reinstall"
    SNAPSHOTS = "snapshots"
    BACKUPS = "backups"
    RESET_PASSWORD = "reset_password"
    RDNS = "rdns"
    ISO = "iso"
    FIREWALL = "firewall"


PERMISSIONS = tuple(c.value for c in list(Capability)[2:])  # ConfigOptions 15-23, in this order


@dataclass(frozen=True)
class Network:
    """One address of a service with what its pool says. `role` is main or extra."""

    address: str
    pool: str
    prefix: int
    gateway: str
    dns: tuple[str, ...] = ()
    bridge: str = ""
    vlan: int = 0
    role: str = "main"

    @property
    def family(self) -> int:
        return 6 if ":" in self.address else 4

    @property
    def cidr(self) -> str:
        return f"{self.address}/{self.prefix}"


@dataclass(frozen=True)
class Package:
    """What is sold, resolved from plan, product options and configurable options."""

    plan: str
    server: str
    template: str
    cores: int
    ram_mib: int
    disk_gib: int
    rate_mbit: int = 0  # 0 = unlimited
    permissions: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # the driver's own plan keys


@dataclass(frozen=True)
class Service:
    """One WHMCS service in one generation (create after terminate = a new generation)."""

    id: int
    whmcs: str
    service_id: int
    generation: int
    client_id: int
    desired: Desired
    server: str
    package: Package
    hostname: str
    vm_id: str
    mac: str
    uuids: tuple[str, ...]
    node: str
    build: dict[str, Any]  # how far the birth of the machine is proven; survives operations
    provisioned: bool
    ran_when_suspended: bool | None
    welcome_email: str
    created_at: float


@dataclass(frozen=True)
class Operation:
    """One row of the engine. `data` is the recipe's memory, `task` the open upstream task."""

    id: str
    service: int
    kind: str
    state: State
    step: int
    attempt: int
    data: dict[str, Any]
    task: str
    result: str
    fence: int
    stop: str  # "", cancelled, superseded
    due_at: float
    created_at: float
    started_at: float | None
    ended_at: float | None
    error_code: str
    error_text: str
    next_action: str
    note: str
    actor: str


@dataclass(frozen=True)
class VmRef:
    """A machine as we know it: the id, our uuids, and where it was last seen."""

    vm_id: str
    uuids: tuple[str, ...]
    node: str = ""
    build: dict[str, Any] = field(default_factory=dict)
    identified: bool = True


@dataclass(frozen=True)
class Vm:
    """A machine as the back end shows it, proven to be ours. `status`: running, stopped, paused, unknown."""

    vm_id: str
    node: str
    status: str
    lock: str = ""
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """What the machine has to look like: the goal of `converge`."""

    vm_id: str
    uuid: str
    hostname: str
    mac: str
    package: Package
    networks: tuple[Network, ...]
    password: str = ""  # sha512-crypt hash; plain only where the driver says so
    set_password: bool = False
    autostart: bool = True
    label: str = ""  # one line that names the service for people


@dataclass(frozen=True)
class Placement:
    """Where a new machine goes. `source` is the template's own id there."""

    node: str
    source: str
    storage: str


@dataclass(frozen=True)
class TaskResult:
    """One upstream task: `state` running, done, failed or unknown; `text` for staff."""

    state: str
    text: str = ""


@dataclass(frozen=True)
class Converged:
    """What `converge` did: a task still open, names of changed things, what waits for a restart."""

    task: str = ""
    changed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


@dataclass(frozen=True)
class VmStatus:
    """One line of the bulk read. CPU is a fraction of the assigned cores; memory and disk in bytes."""

    vm_id: str
    status: str
    node: str = ""
    name: str = ""
    uptime: int = 0
    cpu: float = 0.0
    cores: float = 0
    mem: int = 0
    maxmem: int = 0
    maxdisk: int = 0
    lock: str = ""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: `level` ok, warning or fault; `fix` is the exact remedy."""

    level: str
    subject: str
    text: str
    fix: str = ""
