"""The nouns as frozen data, and the words of every state. No I/O, no time, no imports from the bridge."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Self


class Sentence(str):
    """A text that a customer may read: English wherever it is only text, with the template and the values it was made
    of, so that a page can say it in another language. `tests/messages.py` finds every one."""

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, **values: Any) -> Sentence:
        made = super().__new__(cls, template % values if values else template)
        made.template, made.values = template, values
        return made


BEGIN_ANEW = "begin_anew"  # the step of a redeploy before which the old machine is as it was
PROTECTED = "protected"  # the code of errors.Protected
NO_ROOM = ("no_capacity", "account_limit")  # the codes of errors.Capacity and of errors.Limit
GIVING_WAY = ("change_package", "rename", "unsuspend")


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


PERIODS = {
    "hour": 3600,
    "day": 86400,
    "week": 7 * 86400,
    "month": 30 * 86400,
    "year": 365 * 86400,
}  # of charts, in seconds
OPEN = (State.RUNNING, State.STAFF)
END = "end"  # where an operation stands when all its steps are done


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
    ACTIVITY = "activity"


HIDEABLE = (Capability.ACTIVITY.value,)  # every server has it, and a plan may hide it
PERMISSIONS = tuple(
    c.value for c in list(Capability)[2:] if c.value not in HIDEABLE
)  # ConfigOptions 15-23, in this order
DISK_LIMITS = ("read_mib_s", "write_mib_s", "read_iops", "write_iops")  # of one disk; 0 = unlimited
LIMITS = tuple(f"{disk}_{limit}" for disk in ("disk", "additional_disk") for limit in DISK_LIMITS)
OPTION_WORDS = (  # what a configurable option can be mapped to
    "cores",
    "ram_gib",
    "disk_gib",
    "additional_disk_gib",
    "rate_mbit",
    "extra_ipv4",
    "extra_ipv6",
    "template",
    "location",
    "backups",
    "snapshots",
    *LIMITS,
)


# What a plan or an order can sell beside cores, RAM, the system disk and its system: a driver says which of it it
# delivers (`Driver.delivers`), or has it by a capability. `pools`: addresses of our pools; `locations`: where the
# customer wants it.
SELLABLE = (
    "rate_mbit",
    "additional_disk_gib",
    *LIMITS,
    "pools",
    "dhcp4",
    "dhcp6",
    "extra_ipv4",
    "extra_ipv6",
    "locations",
    "os_user",
    "ssh_keys",
    "snapshot_memory",
)
BY_CAPABILITY = {
    "snapshots": Capability.SNAPSHOTS,
    "snapshot_lifetime_h": Capability.SNAPSHOTS,
    "backups": Capability.BACKUPS,
    "keep_backups": Capability.BACKUPS,
    "rotation": Capability.BACKUPS,
    "firewall_rules": Capability.FIREWALL,
}

# words of an option whose values are in another unit: the word that is sold, and what a value is multiplied by
OPTION_UNITS = {
    "ram_mib": ("ram_gib", 1 / Decimal(1024)),
    "disk_mib": ("disk_gib", 1 / Decimal(1024)),
    "disk_tib": ("disk_gib", Decimal(1024)),
    "additional_disk_mib": ("additional_disk_gib", 1 / Decimal(1024)),
    "additional_disk_tib": ("additional_disk_gib", Decimal(1024)),
    "rate_gbit": ("rate_mbit", Decimal(1000)),
    "rate_kbit": ("rate_mbit", 1 / Decimal(1000)),
}


@dataclass(frozen=True)
class Network:
    """One address of a service with what its pool says. `role` is main, extra or leaving (given back once the machine
    no longer may use it)."""

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
    additional_disk_gib: int = 0
    limits: dict[str, int] = field(default_factory=dict)  # words of LIMITS; absent = unlimited
    extra_ipv4: int = 0
    extra_ipv6: int = 0
    dhcp4: bool = False  # this family's address is not ours to give: only the guest knows it
    dhcp6: bool = False
    os_user: str = "root"  # who logs in, and whose password is set
    location: str = ""  # a node or the provider's place; empty = chosen by room
    backups: int = 0  # how many may be kept
    snapshots: int = 0
    snapshot_lifetime_h: int = 0  # 0 = they stay
    templates: tuple[str, ...] = ()  # what the customer may reinstall from
    ssh_keys: str = ""  # one public key per line, from the plan and the customer
    permissions: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # the driver's own plan keys: nobody else reads them
    rdns_department: str = ""  # of WHMCS, name or number: reverse records are asked for by ticket there

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Package:
        """From JSON, as `dataclasses.asdict` made it. Raises TypeError for a key that no package has."""
        return cls(**{**values, "templates": tuple(values.get("templates", ()))})


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(v) for v in value)


def _words(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()}


def _tries(value: Any) -> dict[str, tuple[float, int]]:
    return {str(step): (float(since), int(tries)) for step, (since, tries) in value.items()}


# How a value comes back from JSON, by the type of its field. None stands for the field's default, whatever the field
# is.
_READ: dict[str, Callable[[Any], Any]] = {
    "str": str,
    "bool": bool,
    "bool | None": bool,
    "int": int,
    "float | None": float,
    "tuple[str, ...]": _texts,
    "dict[str, Any] | None": dict,
    "dict[str, Any]": dict,
    "dict[str, str]": _words,
    "dict[str, tuple[float, int]]": _tries,
    "str | None": str,
    "Leftover | None": lambda value: Leftover(**value),
    "Removing | None": lambda value: Removing.read(value),
    "Package | None": lambda value: Package.read(value),
    "Offline | None": lambda value: Offline.read(value),
}


@dataclass(frozen=True)
class Stored:
    """What the store keeps as one JSON object, under the names of the fields; a field at its default is left out. Keys
    that this release does not know, since a newer one wrote them, are in `rest` and are written again as they were."""

    rest: dict[str, Any] = field(default_factory=dict, kw_only=True)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Raises ValueError naming the key whose value is of no form that any release has written."""
        own, known = _types(cls), dict[str, Any]()
        for name, value in values.items():
            if name in own and value is not None:
                try:
                    known[name] = _READ[own[name]](value)
                except (TypeError, ValueError) as e:
                    raise ValueError(f"{cls.__name__}.{name}: {value!r} cannot be read: {e}") from e
        return cls(rest={k: v for k, v in values.items() if k not in own}, **known)

    def stored(self) -> dict[str, Any]:
        """As it is written; of dicts, lists, texts, numbers and truth values alone."""
        plain = {
            f.name: _plain(value)
            for f in fields(self)
            if f.name != "rest" and (value := getattr(self, f.name)) != _default(f)
        }
        return {**self.rest, **plain}


_TYPES: dict[type[Stored], dict[str, str]] = {}  # of each kind, by its fields: read once, for rows by the thousand


def _types(kind: type[Stored]) -> dict[str, str]:
    if kind not in _TYPES:
        _TYPES[kind] = {f.name: str(f.type) for f in fields(kind) if f.name != "rest"}
    return _TYPES[kind]


def _default(own: Field[Any]) -> Any:
    return own.default if own.default_factory is MISSING else own.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, Stored):
        return value.stored()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Offline(Stored):
    """A change that can only be written while the machine is off, and how far it is: `phase` off (being switched off),
    write or on (being switched on again). `tries`: writes that were refused; `error`: why it cannot be, as (code,
    sentence, detail, next action)."""

    phase: str
    tries: int = 0
    error: tuple[str, ...] = ()


@dataclass(frozen=True)
class Birth(Stored):
    """What is proven of a service's machine and goes on from one operation to the next, beside the columns of its
    service."""

    # the copy
    source: str = ""  # the template's own id
    storage: str = ""
    source_node: str = ""  # where the template stands; empty: on the same node
    disk_format: str = ""  # how the disks are made, where that has to be said
    template: str = ""  # the name of what it was made from
    sent_at: float | None = None  # epoch seconds: a copy was asked for then, and its task is not known yet
    asked_as: str = ""  # the host name in that call: the same at every try, whatever it is called meanwhile
    doubtful: bool = False  # the reply to that call was one that nobody knows
    task: str = ""  # the back end's task that copied it
    copied: bool = False
    # whose it is
    identified: bool = False  # it carries our uuid
    adopted: bool = False  # it was there before the service
    ordered: Package | None = None  # of an adopted machine: what it was adopted for, until a package is written to it
    old_vm_ids: tuple[str, ...] = ()  # of machines that a redeploy replaced: older backups carry them
    # what it has
    agent: bool = False  # its image says that a guest agent is installed
    password_sent: bool = False  # the first password was written to it
    addresses: tuple[str, ...] = ()  # given by DHCP or the provider, the further ones last
    floating: tuple[str, ...] = ()  # the provider's further addresses, which are among `addresses` too
    disc_was_first: bool = False  # it was started from a disc by us: its disk comes first again whenever it is written
    # what is not ended
    anew: bool = (
        False  # a redeploy has begun to remove the old machine: what makes the service active finishes the new one
    )
    restoring: str = ""  # the operation whose restore began to write over its disks and has not ended well
    ran_before: bool | None = None  # whether it ran before an operation that switched it off and has not ended well
    offline: Offline | None = None
    closed: dict[str, Any] | None = (
        None  # suspended with its network closed: its configuration before, in the back end's words
    )
    off_instead: str = ""  # why it could not be closed and was switched off
    firewall_before: dict[str, Any] | None = None  # its rules and policies, until they are put back


@dataclass(frozen=True)
class Removing(Stored):
    """A backup that is being removed: its row, and the back end's task ("none" when it was done at once)."""

    id: int
    task: str


@dataclass(frozen=True)
class Asked(Stored):
    """What an operation was ordered with."""

    warnings: tuple[str, ...] = ()  # create, change_package: what to tell staff of the order
    name: str = ""  # of snapshots, and rollback: the snapshot
    description: str = ""  # take_snapshot: the customer's text
    note: str = ""  # take_backup: the customer's text
    date: str = ""  # scheduled_backup: the local date that it is for, as 2026-11-26
    backup: int = 0  # restore, delete_backup: the row
    template: str = ""  # reinstall: the name of the new system
    leftover: Leftover | None = None  # clean_up: what to remove
    finding: int = 0  # clean_up: what it mends
    look: bool = False  # terminate: look for the machine, though no birth is recorded


@dataclass(frozen=True)
class Tries(Stored):
    """What the engine keeps of what went wrong, for every recipe."""

    failing: dict[str, tuple[float, int]] = field(default_factory=dict)  # step -> (since when, tries)
    failing_since: float | None = None  # the earliest of them, epoch seconds
    busy_since: float | None = None  # since when something holds the machine, epoch seconds
    room_since: float | None = None  # since when there is no room, epoch seconds
    room_tries: int = 0
    room_due: float | None = None  # when it is looked for again, epoch seconds; 0 when the time for that is over
    ending: tuple[str, ...] = ()  # what it ends as once it is put back: (state, code, text, next action, step)
    cause: str = ""  # the code behind one that says only what failed
    unchanged: bool = False  # it is put back: nothing is left of it, so that a retry begins anew


@dataclass(frozen=True)
class Call(Stored):
    """A call that must not happen twice (`once`), and waiting for what it does."""

    task: str = ""  # the back end's task; "none" when it was done at once
    sent_at: float | None = None  # epoch seconds: sent, and the reply is not here
    sent_as: str = ""  # the verb that it was sent as
    doubtful_since: float | None = None  # epoch seconds: its reply was one that nobody knows
    allocated_at: float | None = None  # epoch seconds: the making of a disk was sent
    waited: int = 0  # looks at a machine that is not yet as it shall be
    tries: int = 0  # of the whole, after it failed


@dataclass(frozen=True)
class Before(Stored):
    """How the machine was, of all recipes that look at it first."""

    exists: bool | None = None  # None: nobody has looked
    on: bool = False
    ran: bool | None = None  # before the operation; None: not kept yet
    before: dict[str, Any] | None = None  # what was on its disks, in the driver's words (`Driver.contents`)


@dataclass(frozen=True)
class Power(Stored):
    """Switching off and on. Tasks are "none" when it was done at once."""

    off_task: str = ""
    off_failed: str = ""  # what the task that failed said
    start_task: str = ""
    start_ended: bool = False
    answering_since: float | None = None  # since when the system inside is waited for, epoch seconds
    off_after: bool = False  # a change has started it though it was off
    off_again: str = ""  # the task that switches it off after that


@dataclass(frozen=True)
class Writing(Stored):
    """Writing what differs: `configure` of all recipes, and what goes before it."""

    room: bool = False  # it fits where it stands
    more: bool = False  # another look is needed
    changed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    sent: bool = False  # the new password went with it
    repeats: int = 0  # times that nothing but what had been written before was written
    later: bool = False  # unsuspend: it could not be written, and is tried again when the machine runs
    later_at: float | None = None  # not before then, epoch seconds


@dataclass(frozen=True)
class Making(Stored):
    """create and redeploy."""

    place: str = ""  # redeploy: where the new machine has to be
    full: dict[str, str] = field(default_factory=dict)  # places without room -> what they said
    failed: str | None = None  # what the copy that failed said
    remade: int = 0  # copies that failed so far
    clear_task: str = ""  # the task that removes what it left
    leases_since: float | None = None  # since when an address by DHCP is waited for, epoch seconds
    renewed: bool = False  # redeploy: the old machine is gone, the service has a new id


@dataclass(frozen=True)
class Closing(Stored):
    """suspend and unsuspend."""

    closed: bool = False  # nothing reaches it: it goes on running
    close_task: str = ""
    close_tries: int = 0
    close_looks: int = 0
    open_task: str = ""
    autostart_later: bool = False  # it could not be written while it ran


@dataclass(frozen=True)
class Removal(Stored):
    """terminate, redeploy and clean_up."""

    sampled: bool = False  # its traffic was read for the last time
    destroy_task: str = ""
    outlasting: tuple[str, ...] = ()  # what others attached to it and stays, as people call it
    waited_gone: int = 0
    sweep_task: str = ""
    remove_task: str = ""  # clean_up: of the leftover
    remove_ended: bool = False


@dataclass(frozen=True)
class Disk(Stored):
    """reinstall, rollback and restore: what is written over."""

    disks: dict[str, Any] = field(default_factory=dict)  # what the driver keeps between its calls of `reinstall`
    source: str = ""  # the own id of the template that it has chosen
    torn: bool = False  # the rollback that failed had begun to write


@dataclass(frozen=True)
class Password(Stored):
    """reinstall, reset_password and change_password."""

    made: bool = False  # by this operation
    told: str = ""  # when it takes effect, for staff
    at_once: bool = False
    asked_at: float | None = None  # when it was first asked for, epoch seconds
    doubt: bool = False  # the reply was lost: it may hold


@dataclass(frozen=True)
class Archives(Stored):
    """Backups and restore."""

    archive: str = ""  # the back end's own name of it
    removing: Removing | None = None
    held: dict[str, str] = field(default_factory=dict)  # rows that stay since somebody protects them -> who or what


@dataclass(frozen=True)
class Rules(Stored):
    """Of recipes that put a machine's firewall back: `firewall_sent` is when a call was sent whose reply was lost;
    `left_out`: without rules that name what is not there any more."""

    firewall_sent: float | None = None
    left_out: bool = False


@dataclass(frozen=True)
class Memory(Asked, Tries, Call, Before, Power, Writing, Making, Closing, Removal, Disk, Password, Archives, Rules):
    """What an operation remembers from step to step: each part says which recipes use it. They share one set of names
    since they share steps, and an operation may go on with another recipe's."""


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
    birth: Birth
    provisioned: bool
    ran_when_suspended: bool | None
    pending: tuple[str, ...]  # words of the package that wait for a restart
    welcome_email: str
    created_at: float

    @property
    def ref(self) -> VmRef:
        """Its machine, as drivers ask for it."""
        return VmRef(self.vm_id, self.uuids, self.node, self.birth, identified=self.birth.identified)


@dataclass(frozen=True)
class Operation:
    """One row of the engine. `memory` is the recipe's, `task` the open upstream task."""

    id: str
    service: int
    kind: str
    state: State
    recipe: str  # chosen when it begins, empty before
    step: str  # the name of the step that is next; empty before the first, END behind the last
    attempt: int
    memory: Memory
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
    request: str = ""  # of the call that ordered it; empty where nobody called

    @property
    def waits_for_room(self) -> bool:
        """It is tried again until there is room for what was ordered."""
        return (
            self.state in (State.RUNNING, State.WAITING)
            and self.memory.room_due is not None
            and self.error_code in NO_ROOM
        )

    @property
    def gives_way(self) -> bool:
        """It waits for room or for a protection to go, and the machine that is there goes on as it is: what its
        customer wants comes first."""
        unbegun = self.kind == "redeploy" and self.step == BEGIN_ANEW and self.error_code in (*NO_ROOM, PROTECTED)
        waits = unbegun or (self.waits_for_room and self.kind in GIVING_WAY)
        return self.state is State.RUNNING and waits and not self.task


@dataclass(frozen=True)
class VmRef:
    """A machine as we know it: the id, our uuids, and where it was last seen."""

    vm_id: str
    uuids: tuple[str, ...]
    node: str = ""
    birth: Birth = field(default_factory=Birth)
    identified: bool = True


@dataclass(frozen=True)
class Vm:
    """A machine as the back end shows it, proven to be ours. `status`: running, stopped, paused, unknown."""

    vm_id: str
    node: str
    status: str
    lock: str = ""
    uptime: int = 0
    agent: bool = False  # the image says that its guest agent is installed


@dataclass(frozen=True)
class Machine:
    """A machine that is not recorded as ours, as it is. `uuid` is empty when it has none; `addresses` are all that its
    configuration claims, `volumes` the disks it names."""

    vm_id: str
    node: str
    uuid: str
    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)  # as `Seen.config`


@dataclass(frozen=True)
class Leftover:
    """Something that outlived its machine. `kind`: disk, backup, firewall, snapshot or floating (an
    address); `name` is the back end's own; `listing` is where
    it was found; size in bytes; `made_at` is 0 when the back end does not tell."""

    kind: str
    vm_id: str
    name: str
    listing: str = ""
    size: int = 0
    made_at: float = 0.0
    protected: bool = False


@dataclass(frozen=True)
class Snapshot:
    """One snapshot as the back end lists it; `taken_at` in epoch seconds, `complete` false while it is made or removed;
    `broken`: not complete, and nothing works on it any more."""

    name: str
    taken_at: float
    description: str = ""
    with_memory: bool = False
    complete: bool = True
    broken: bool = False
    size: int = 0  # bytes; 0 where the back end does not tell


@dataclass(frozen=True)
class Backup:
    """One archive as the back end lists it; `size` in bytes, `mark` is what we wrote beside it."""

    archive: str
    made_at: float
    size: int
    mark: str = ""
    protected: bool = False
    automatic: bool = False  # the back end knows of itself whose it is: also one that nobody ordered here


@dataclass(frozen=True)
class Kept:
    """Snapshots by their machine's uuid and backups by its id, of all machines."""

    snapshots: dict[str, list[Snapshot]]
    backups: dict[str, list[Backup]]


@dataclass(frozen=True)
class Iso:
    """An image that can lie in a machine's drive. `id` is the back end's own; `name` begins with what it belongs to."""

    id: str
    name: str
    description: str = ""


@dataclass(frozen=True)
class Drive:
    """A machine's drive for ISOs: what lies in it, and the word by which the driver lists what fits. Of what lies
    there: `missing`, it cannot be read any more where the machine is; `waits`, the system inside sees it after the next
    restart; `starts`, the machine starts from it at each restart as long as it lies there; `started`, it was started
    from it once and runs so."""

    iso: Iso | None = None
    fits: str = ""
    missing: bool = False
    waits: bool = False
    starts: bool = False
    started: bool = False


@dataclass(frozen=True)
class Pointer:
    """A reverse record: the address as the standard writes it, and its host name; empty where there is none."""

    address: str
    name: str = ""


@dataclass(frozen=True)
class Pointers:
    """The reverse records of a machine: one for each address of its own, and those that are set in its `networks` (as
    CIDR), of which any address may have one. `takes` are the seconds until others see a change, at best and at
    worst."""

    records: tuple[Pointer, ...] = ()
    networks: tuple[str, ...] = ()
    takes: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class RecordSet:
    """All records of one name and type in a DNS zone. Names are full, in lower case and without the last dot; `values`
    as well where they are names (PTR, NS), else an address as the standard writes it, or a TXT's text; `ttl` in
    seconds. `served`: the world sees these very values; false where the provider keeps them and answers otherwise.
    `rows` are the provider's own, for its next change."""

    name: str
    type: str
    values: tuple[str, ...]
    ttl: int
    served: bool = True
    rows: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Rule:
    """One line of a firewall. `way` is in or out; `action` accept, drop or reject; an empty field means any. `service`
    is a name of the back end's for one or more ports. `mark` is ours: it finds the rule again, whatever its place is by
    then. A `locked` one is the host's: customers see it and leave it alone."""

    way: str
    action: str
    service: str = ""
    proto: str = ""
    source: str = ""
    sport: str = ""
    dest: str = ""
    dport: str = ""
    icmp: str = ""
    comment: str = ""
    on: bool = True
    mark: str = ""
    locked: bool = False
    kept: tuple[tuple[str, str], ...] = ()  # what the back end has beside: never changed


@dataclass(frozen=True)
class Firewall:
    """A machine's firewall: its rules in the order in which they are asked, and what becomes of everything else.
    `version` is another one after every change, whoever made it; `off` is the word for what keeps it from filtering:
    machine or adapter."""

    rules: tuple[Rule, ...] = ()
    policy_in: str = "accept"
    policy_out: str = "accept"
    logs: bool = False  # what is dropped is written down
    version: str = ""
    off: str = ""


@dataclass(frozen=True)
class Dropped:
    """One packet that a firewall has stopped; `at` in epoch seconds, 0 when it is not told."""

    at: float
    way: str
    proto: str = ""
    source: str = ""
    sport: str = ""
    dest: str = ""
    dport: str = ""


@dataclass(frozen=True)
class Charts:
    """History of one machine. `times` are epoch seconds, ascending, each where its `step` seconds begin; every series
    is as long, None where nothing was measured. Words: cpu (percent of the assigned cores), mem and maxmem (bytes),
    diskread, diskwrite, netin and netout (bytes per second); what a back end does not measure is left out."""

    step: int = 0
    times: tuple[int, ...] = ()
    series: dict[str, tuple[float | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """The configuration as the back end holds it, in its own words; `pending` are package words that wait for a
    restart."""

    config: dict[str, Any]
    pending: tuple[str, ...] = ()
    node: str = ""
    floating: tuple[str, ...] = ()  # the provider's further addresses, which can move between machines


class Restart(enum.StrEnum):
    """What a change does to a machine that runs. The driver says it, since only it knows what its back end can change
    live."""

    NONE = ""
    LATER = "later"  # written now; it takes effect when the customer restarts the machine from its page
    NOW = "now"  # the operation itself switches the machine off and on again


@dataclass(frozen=True)
class Difference:
    """One word of the package beside the machine. `refused` says why `converge` will not write it; `kept`: it never
    does, since the machine was adopted as it is, or nobody but the host's administrator can. `label` is what people
    call it, where it is only this back end's."""

    word: str
    sold: Any
    real: Any
    same: bool
    restart: Restart = Restart.NONE
    refused: str = ""
    warning: str = ""  # what to know before it is ordered
    label: str = ""
    kept: bool = False


@dataclass(frozen=True)
class Order:
    """What the machine has to look like: the goal of `converge`. At birth the template's leftovers are cleared too;
    later only the package, the identity and the network are written. `hostname` is one by `names.host_name`: every back
    end takes it."""

    vm_id: str
    uuid: str
    hostname: str
    mac: str
    package: Package
    networks: tuple[Network, ...]
    uuids: tuple[str, ...] = ()  # all that the service's machines ever had, the newest first
    password: str = ""  # sha512-crypt hash
    password_plain: str = ""  # only for guests that cannot take a hash
    set_password: bool = False
    birth: bool = False
    autostart: bool = True
    adopted: bool = False  # not made here: only compared beyond its package, never cleaned
    frozen: bool = (
        False  # adopted, and no package was ordered for it since: its size is kept, and nothing else is written
    )
    label: str = ""  # one line that names the service for people
    disc_was_first: bool = False  # the machine was started from a disc by us: its disk comes first again
    typed: str = ""  # the name that `hostname` was made from: a machine of before may carry it as it was cut then


@dataclass(frozen=True)
class Placement:
    """Where a new machine goes. `source` is the template's own id, `source_node` where it stands (empty: on the same
    node); `disk_format` how its disks are to be made, where that has to be said."""

    node: str
    source: str
    storage: str
    source_node: str = ""
    disk_format: str = ""


@dataclass(frozen=True)
class Planned:
    """A machine whose create still runs: its room is promised, and the back end's sums may show it or not."""

    vm_id: str
    node: str
    package: Package


class Sold(NamedTuple):
    """What was sold of a machine that stands; what is not yet written to it is promised all the same."""

    vm_id: str
    ram_mib: int
    cores: int


class Lack(NamedTuple):
    """Why a machine cannot grow where it stands: the word of the package, and for staff which host lacks what and what
    to do."""

    word: str
    detail: str
    next_action: str


@dataclass(frozen=True)
class TaskResult:
    """One upstream task: `state` running, done, failed or unknown; `text` for staff."""

    state: str
    text: str = ""


@dataclass(frozen=True)
class Converged:
    """What `converge` did. After `task` another look is needed when `more`. `missing_disk`: an additional disk has to
    be allocated, which must not happen twice, so the caller allows it. `seen` is None when nothing new was learned."""

    task: str = ""
    changed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    more: bool = False
    unproven: bool = False  # `more` is only a look at whether what was written is there now
    written: bool = False  # of a reinstall: the old system is replaced from now on
    missing_disk: bool = False
    starts: bool = False  # the task leaves the machine on, though it was off
    offline: str = ""  # what differs still and can only be written while the machine is off
    seen: Seen | None = None
    memory: dict[str, Any] = field(default_factory=dict)  # what the caller keeps for the next call
    source: str = ""  # the template's own id that a reinstall has chosen


class VmStatus(NamedTuple):
    """One line of the bulk read, in the order of the table's columns (a tuple: there are thousands each time). CPU is a
    fraction of the assigned cores; memory and disk in bytes. `status`: as a Machine's, or offline, when the host that
    the machine stands on is down and nothing can be done with it or said of it."""

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
    disk_io: int = 0  # bytes read and written by all disks since the start
    net_in: int | None = (
        None  # bytes that the machine received and sent, by a counter that begins anew at times; None: not told
    )
    net_out: int | None = None
    counting_since: float = 0.0  # epoch seconds: the counter was certainly not begun before; 0 = not told
    counting_by: float = 0.0  # and certainly begun by then; 0 = not told
    # JSON for people, of what seldom changes: {"image", "place", "names": {address: reverse DNS}}; empty: nothing to
    # tell
    about: str = ""


@dataclass(frozen=True)
class ConsoleTicket:
    """How to reach a machine's screen, once and within seconds: a websocket that carries RFB. `ca_file` empty: the
    usual authorities; `subprotocol` empty: none is offered. What is secret does not show in repr."""

    url: str = field(repr=False)
    password: str = field(repr=False)
    headers: dict[str, str] = field(repr=False, default_factory=dict)
    subprotocol: str = "binary"
    ca_file: str = ""


@dataclass(frozen=True)
class Offer:
    """A kind of machine that a provider sells in one place. `retired`: the day after which it does not, empty while it
    does; the price is net, for a month, as the provider writes it; traffic in bytes a month."""

    name: str
    location: str
    cores: float
    ram_gib: float
    disk_gib: int
    available: bool
    retired: str
    price: str
    traffic: int


@dataclass(frozen=True)
class Offers:
    """What a provider sells and for how much; `extras` are (what, net price a month)."""

    currency: str
    offers: tuple[Offer, ...]
    extras: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: `level` ok, warning or fault; `fix` is the exact remedy."""

    level: str
    subject: str
    text: str
    fix: str = ""


WEBHOOK_EVENTS = (
    "ready",
    "failed",
    "suspended",
    "unsuspended",
    "terminated",
    "finding_opened",
    "finding_closed",
    "backup_failed",
)


@dataclass(frozen=True)
class Webhook:
    """An address of the operator's own. `whmcs`: the installations that it hears of, `servers` theirs."""

    name: str
    url: str
    secret: str
    events: frozenset[str]
    whmcs: tuple[str, ...]
    servers: frozenset[str]
