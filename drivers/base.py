"""What every back end can do. One class per driver folder, found by the folder's name.

A driver knows its own back end and the kernel; it never sees the store, WHMCS or the web.
Methods that change something look first, and may be called again after any crash.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import drivers
from bridge.clock import Clock
from bridge.errors import NotBuilt, Refused, VmbridgeError
from bridge.model import (
    BY_CAPABILITY,
    PERIODS,
    SELLABLE,
    Backup,
    Capability,
    Charts,
    ConsoleTicket,
    Converged,
    Difference,
    Drive,
    Dropped,
    Finding,
    Firewall,
    Iso,
    Kept,
    Lack,
    Leftover,
    Machine,
    Offers,
    Order,
    Package,
    Placement,
    Planned,
    Pointers,
    Rule,
    Seen,
    Sentence,
    Snapshot,
    Sold,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)

NOT_MACHINES = frozenset({"dns"})  # folders beside the drivers' that hold something else
NOWHERE: Mapping[str, str] = MappingProxyType({})
KEEP = frozenset({"backups", "addresses"})  # what can stay when a machine goes

# Called before each changing call; returns how many seconds the call may take at most, or raises LeaseLost.
before_change: ContextVar[Callable[[], float] | None] = ContextVar("before_change", default=None)

# Seconds that are left for a read on behalf of a page that waits; None: the driver's own time-outs hold.
time_left: ContextVar[Callable[[], float] | None] = ContextVar("time_left", default=None)


# True while nobody waits for the answer: such calls leave a reserve where the provider counts them.
background: ContextVar[bool] = ContextVar("background", default=False)


HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
NO_PATH = re.compile(r"[^A-Za-z0-9._~/-]|//|/\.{1,2}(/|$)")


def url_fault(text: str, schemes: Collection[str] = ("https",)) -> str:
    """What is wrong with the address of a server in a configuration, as a sentence; empty when we use all of it:
    scheme, host, port and path. Nothing of an address is dropped silently."""
    example = f"{next(iter(schemes))}://HOST[:PORT][/PATH]"
    try:
        parts = urlsplit(text)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        return f"Must be {example}."
    if parts.scheme not in schemes:
        return f"Must begin with {' or '.join(f'{s}://' for s in schemes)}."
    if parts.username is not None or parts.password is not None:
        return "Must hold no user name and no password: they have keys of their own, and addresses are shown in logs."
    if "?" in text or "#" in text:
        return "Must end before the ? or #: what follows has no use here."
    host = HOST.fullmatch(parts.hostname or "")
    if not host or not port_is_good or NO_PATH.search(parts.path):
        return f"Must be {example}."
    return ""


@contextmanager
def in_background() -> Iterator[None]:
    token = background.set(True)
    try:
        yield
    finally:
        background.reset(token)


@contextmanager
def within(seconds: float, clock: Clock) -> Iterator[None]:
    """The driver's reads inside end within so many seconds, all together."""
    end = clock.monotonic() + seconds
    token = time_left.set(lambda: end - clock.monotonic())
    try:
        yield
    finally:
        time_left.reset(token)


class Counted(Protocol):
    """The calls that a provider still allows."""

    def spend(self, background: bool) -> float: ...

    def told(self, remaining: int) -> None: ...


class Keeper(Protocol):
    """Who keeps a machine's reverse records: its driver, or somebody else for addresses that are not the provider's. As
    in `Driver`."""

    shared_hosts: ClassVar[bool]

    def pointers(self, ref: VmRef) -> Pointers: ...

    def set_pointer(self, ref: VmRef, address: str, name: str) -> str: ...

    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]: ...

    def task_error(self, text: str) -> VmbridgeError: ...


NEEDS: dict[Capability, tuple[str, ...]] = {  # what a driver builds to have it
    Capability.SNAPSHOTS: ("snapshots", "snapshot", "find_task", "contents"),
    Capability.BACKUPS: ("backups", "backup", "find_task", "contents"),
    Capability.REINSTALL: ("reinstall", "contents"),
    Capability.RESET_PASSWORD: ("set_password",),
    Capability.CHARTS: ("charts",),
    Capability.CONSOLE: ("console",),
    Capability.ISO: ("drive", "isos", "all_isos", "mount"),
    Capability.RDNS: ("pointers", "set_pointer"),
    Capability.FIREWALL: ("firewall", "change_firewall"),
}


def not_built(driver: Driver, capability: Capability) -> NotBuilt:
    """What a driver without a capability answers when it is asked for it all the same."""
    return NotBuilt(f"This server does not offer {capability}.", detail=type(driver).__name__)


class Driver(ABC):
    """The contract. `server_schema` and `plan_schema` are marshmallow schema classes for the config's keys that are the
    driver's own: nobody else reads them, but for `vm_ids`.

    A driver declares `capabilities`; what each needs (`needs`) must then be built, and what is built must be declared
    (checked at import). It declares in `delivers` what it writes of the words that any plan or order may sell; others
    are refused by name where a plan is configured and where a service is ordered. What every back end needs is
    abstract: a driver without it cannot be made."""

    name: ClassVar[str] = ""
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    delivers: ClassVar[frozenset[str]] = (
        frozenset()
    )  # words of SELLABLE; those of BY_CAPABILITY come with their capability
    server_schema: ClassVar[Any] = None
    plan_schema: ClassVar[Any] = None
    pins_templates: ClassVar[bool] = (
        False  # a plan may say `name@id`: the plan's key `template_ids` has the ids by name
    )
    present: ClassVar[frozenset[str]] = frozenset()  # keys of a plan that say how the back end is, not what was sold
    identity: ClassVar[str] = "smbios uuid"  # what a machine is recognised by, in people's words
    late_addresses: ClassVar[bool] = False  # true: the back end chooses the addresses
    chooses_ids: ClassVar[bool] = (
        False  # true: the back end chooses a machine's id; until `identify` its uuid stands for it
    )
    # what the overview can say of a machine: these, image, place, and traffic (of the calendar month)
    shows: ClassVar[frozenset[str]] = frozenset({"cpu", "mem", "uptime", "disk_rate", "adapter"})
    series: ClassVar[frozenset[str]] = frozenset(
        {"cpu", "mem", "maxmem", "diskread", "diskwrite", "netin", "netout"}
    )  # what `charts` measures
    periods: ClassVar[tuple[str, ...]] = tuple(PERIODS)  # how far back its history goes
    charts_age: ClassVar[float] = 0.0  # seconds that one read of a chart serves everybody at least
    fixed: ClassVar[frozenset[str]] = frozenset()  # words that come with the plan alone and cannot be ordered beside it
    own_backups: ClassVar[int] = (
        0  # the provider makes daily backups by itself, in a window of its own, and keeps this many
    )
    snapshots_survive: ClassVar[bool] = False  # a restore or a reinstall leaves them alone
    switches_off: ClassVar[bool] = (
        False  # what writes over the disk switches the machine off by itself: nobody does so before
    )
    chooses_passwords: ClassVar[bool] = False  # a new password is made by the provider (`new_password`), not by us
    # what a customer's firewall can be told: policies, order, drop, sport, lists (of addresses and ports), switch (a
    # rule off), log
    firewall_can: ClassVar[frozenset[str]] = frozenset()
    # names for ports that a rule may say in their place: each with its (protocol, ports) pairs
    firewall_services: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType({})
    password_notes: ClassVar[tuple[Sentence, ...]] = ()  # what a customer has to know before a new password is ordered
    firewall_protocols: ClassVar[tuple[str, ...]] = ()  # that a rule can name; empty: what the page offers
    firewall_in_machine: ClassVar[bool] = False  # it goes with the machine, and an archive brings its own
    shared_hosts: ClassVar[bool] = True  # nodes and storages are the operator's own: our limits for each hold
    boots_once: ClassVar[bool] = False  # it can start once from what lies in its drive (`boot_first`)
    poll_every: ClassVar[float] = 1.0  # seconds between two questions after tasks or a machine's state, at least

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if strange := sorted(cls.delivers - set(SELLABLE)):
            raise TypeError(f"{cls.__name__} delivers {', '.join(strange)}, which no plan can sell")
        for schema in (cls.server_schema, cls.plan_schema) if cls.plan_schema else ():
            if taken := sorted(set(schema().fields) & {*SELLABLE, *BY_CAPABILITY}):
                raise TypeError(
                    f"{cls.__name__}: {', '.join(taken)} is of every plan: it stands in `delivers`, in no schema"
                )
        if cls.server_schema and cls.chooses_ids == ("vm_ids" in cls.server_schema().fields):
            raise TypeError(
                f"{cls.__name__}: its servers have `vm_ids` where the driver does not choose ids, and only there"
            )
        if strange := sorted(
            cls.capabilities - set(NEEDS) - {Capability.OVERVIEW, Capability.POWER, Capability.ACTIVITY}
        ):
            raise TypeError(f"{cls.__name__}: nothing in the drivers' contract builds {', '.join(strange)}")
        cls.capabilities = cls.capabilities | {Capability.ACTIVITY}  # the bridge's own record
        for capability in NEEDS:
            missing = [m for m in cls.needs(capability) if getattr(cls, m) is getattr(Driver, m)]
            if bool(missing) == (capability in cls.capabilities):
                what = f"declared without {', '.join(missing)}" if missing else "built and not declared"
                raise TypeError(f"{cls.__name__}: {capability} is {what}")
        if cls.boots_once is (cls.boot_first is Driver.boot_first):
            raise TypeError(f"{cls.__name__}: boots_once and boot_first go together")

    @classmethod
    def needs(cls, capability: Capability) -> tuple[str, ...]:
        """The methods that a capability stands for."""
        if capability is Capability.RESET_PASSWORD and cls.chooses_passwords:
            return ("new_password",)
        return NEEDS[capability]

    @classmethod
    def delivered(cls) -> frozenset[str]:
        """Every word of SELLABLE and BY_CAPABILITY that a plan or an order on this back end can have."""
        return cls.delivers | {word for word, capability in BY_CAPABILITY.items() if capability in cls.capabilities}

    @classmethod
    def id_ranges(cls, settings: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
        """The ids that machines of this server get from us, as (first, last) each; none where the back end chooses
        them."""
        return () if cls.chooses_ids else tuple((int(a), int(b)) for a, b in settings["vm_ids"])

    @classmethod
    def adapter(cls, package: Package) -> str:
        """The network card of a package's machine, as people call it, for an overview that `shows` "adapter"."""
        return ""

    @classmethod
    def open_networks(cls, package: Package) -> tuple[str, ...]:
        """Names of networks that a package's machine is in and that `isolate` does not close."""
        return ()

    @classmethod
    def backup_window(cls, config: Mapping[str, Any]) -> str:
        """The hours in which the provider makes its `own_backups` of a machine of this configuration, in UTC, such as
        22-02; empty: it makes none."""
        return ""

    @property
    def keeps_backups(self) -> bool:
        """Whether the server is set up for backups, where the driver can make them."""
        return Capability.BACKUPS in self.capabilities

    def __init__(self, server: str, settings: Mapping[str, Any], clock: Clock) -> None:
        self.server, self.settings, self.clock = server, settings, clock
        self.key_asked_at = 0.0
        self.budget: Counted | None = None  # given to drivers with `calls_per_hour`

    @property
    def calls_per_hour(self) -> int:
        """How many calls the provider allows; 0 = it does not count."""
        return 0

    @property
    def account(self) -> str:
        """What the provider counts by; servers of one account share its calls. No secret."""
        return self.server

    def live_ages(self, watched: int) -> tuple[float, float]:
        """(seconds between two bulk reads at least, the same between two reads of the `watched` machines alone); 0 for
        the second: nothing is gained by reading them apart."""
        return 0.0, 0.0

    # -- birth ------------------------------------------------------------------------------------
    @abstractmethod
    def place(
        self,
        package: Package,
        planned: Sequence[Planned],
        sold: Sequence[Sold] = (),
        full: Mapping[str, str] = NOWHERE,
    ) -> Placement:
        """Choose node, template and storage; `planned` are the creates that still run, `sold` our machines that stand,
        `full` the nodes that have just refused for want of room, each with its words. Raises Capacity saying why for
        each node."""
        raise NotImplementedError

    def resources(self) -> str:
        """What its hosts have and what lies on them, one read, to be kept for `lacks`; empty where the provider sees to
        it alone."""
        return ""

    def systems(self, package: Package, resources: str) -> tuple[str, ...]:
        """What each system that a package sells means at the back end, a line for staff; no call: `resources` is what
        was kept."""
        return ()

    def lacks(
        self,
        order: Order,
        config: Mapping[str, Any],
        ref: VmRef,
        resources: str,
        planned: Sequence[Planned],
        sold: Sequence[Sold],
    ) -> Lack | None:
        """Why the machine, which has `config`, cannot grow to the order where it stands; None when it can. No call:
        `resources` is what was read before, empty when nothing was."""
        return None

    @abstractmethod
    def create(self, order: Order, placement: Placement) -> str:
        """Start making the machine; returns the task. Raises Refused(id_taken) when the id is foreign."""
        raise NotImplementedError

    @abstractmethod
    def find_create(self, order: Order, placement: Placement, since: float) -> str:
        """The task of an earlier `create` whose reply was lost; empty when it never started."""
        raise NotImplementedError

    @abstractmethod
    def identify(self, order: Order, ref: VmRef) -> Vm:
        """Write our identity into the machine that our own create task made; a repeat is harmless."""
        raise NotImplementedError

    # -- life -------------------------------------------------------------------------------------
    @abstractmethod
    def look(self, ref: VmRef) -> Vm | None:
        """The machine when it is proven ours; None when it is proven absent; raises NotOurs."""
        raise NotImplementedError

    @abstractmethod
    def converge(self, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
        """Write only what differs. Returns an open task when one must end before the next look. Only with `allocate` a
        missing additional disk is made: a repeat after a lost reply would make a second one."""
        raise NotImplementedError

    @abstractmethod
    def compare(self, order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
        """The package word by word beside a configuration that was read before; no call. What differs and is not
        refused is what `converge` writes. `restart` and `warning` of each are told to the customer before it is
        ordered."""
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def as_it_is(cls, package: Package, config: Mapping[str, Any]) -> Package:
        """The package with what a machine of this configuration has in place of what the plan sells; no call. With
        `order.frozen` `converge` then keeps it so and writes nothing else, and `compare` tells of nothing else."""
        raise NotImplementedError

    def set_password(self, order: Order, ref: VmRef) -> bool:
        """Keep the new password for the next start; tell the running system too; true when that worked at once."""
        raise not_built(self, Capability.RESET_PASSWORD)

    def new_password(self, ref: VmRef) -> tuple[str, str]:
        """Where the provider chooses: (the task after whose success it holds, the password). A repeat makes another
        one."""
        raise not_built(self, Capability.RESET_PASSWORD)

    @abstractmethod
    def answers(self, ref: VmRef) -> bool | None:
        """Whether the system inside answers; None when that cannot be told."""
        raise NotImplementedError

    @abstractmethod
    def addresses(self, ref: VmRef) -> tuple[str, ...]:
        """Addresses that the machine has from elsewhere (DHCP, the provider); empty while not known."""
        raise NotImplementedError

    @abstractmethod
    def set_autostart(self, ref: VmRef, on: bool) -> bool:
        """Start with the node, or not; true when something was written."""
        raise NotImplementedError

    @abstractmethod
    def power(self, ref: VmRef, verb: str) -> str:
        """start, stop (asks the guest), reboot, hard_stop, or shut_off (asks, then forces); returns the task."""
        raise NotImplementedError

    def unlock_hint(self, ref: VmRef, lock: str) -> str:
        """The command that frees a machine from a lock whose task has ended, for a person on its node; empty where
        nobody can."""
        return ""

    @abstractmethod
    def destroy(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        """The next step of removing the proven machine with its disks: called again after each task, until empty.
        `keep`: words of KEEP, where they would go with the machine."""
        raise NotImplementedError

    def removable(self, ref: VmRef) -> None:
        """Raises Protected where somebody has said that the machine stays; asked before it is touched."""
        return

    def outlasting(self, ref: VmRef) -> tuple[str, ...]:
        """What somebody else has attached to the machine and is not removed with it, though it costs; as people call
        it."""
        return ()

    def sweep(self, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
        """Remove what the machine, proven gone, has left and would go on costing; called again after each task, until
        empty."""
        return ""

    def isolates(self, package: Package) -> bool:
        """Whether a suspension leaves the machine on and closes its network."""
        return False

    def isolate(self, ref: VmRef, closed: bool, before: Mapping[str, Any]) -> str:
        """Close the machine's network, or open it as it was; `before` is the configuration as read before it was
        closed. Raises Permanent where it cannot be closed."""
        raise NotBuilt("This server cannot close a machine's network.", detail=type(self).__name__)

    def reachable(self, ref: VmRef) -> str:
        """What still reaches the machine although its network was closed, as a look says; empty when nothing does."""
        return ""

    # -- optional, by Capability ------------------------------------------------------------------
    def snapshots(self, ref: VmRef) -> list[Snapshot]:
        """The machine's snapshots, ours and others', oldest first."""
        raise not_built(self, Capability.SNAPSHOTS)

    def snapshot(self, ref: VmRef, verb: str, name: str, description: str = "", memory: bool = False) -> str:
        """take, rollback or delete; returns the task. A repeat makes no second one and removes nothing else; its
        task may be empty, or fail."""
        raise not_built(self, Capability.SNAPSHOTS)

    def backups(self, ref: VmRef) -> list[Backup]:
        """The machine's archives, ours and others', oldest first. Raises when the storage cannot be read."""
        raise not_built(self, Capability.BACKUPS)

    def backup(self, ref: VmRef, verb: str, archive: str = "", mark: str = "") -> str:
        """take (with `mark` beside it), restore or delete; returns the task, empty when there is nothing to do."""
        raise not_built(self, Capability.BACKUPS)

    def left_out(self, order: Order, ref: VmRef, archive: str = "") -> tuple[str, ...]:
        """What is sold and not in this archive, so that a restore would come back without it, in people's words;
        without an archive, in one that would be made now. Empty where all is in it, or where the back end leaves
        nothing out."""
        return ()

    def kept(self) -> Kept | None:
        """Snapshots and backups of all machines in one listing; None where each machine is asked for its own."""
        return None

    def find_task(self, ref: VmRef, verb: str, since: float) -> str:
        """A task of ours on this machine for `rollback`, `restore` or `take` (a backup) that began since; empty when
        there is none. For calls whose reply was lost."""
        raise not_built(self, Capability.BACKUPS)

    def contents(self, ref: VmRef) -> dict[str, Any]:
        """What is another answer once the proven machine's disks were written over, by a restore, a rollback or a
        reinstall; empty when there is nothing left of it. Two equal answers, neither empty, prove that nothing was."""
        raise not_built(self, Capability.REINSTALL)

    def reinstall(self, order: Order, ref: VmRef, memory: Mapping[str, Any], allocate: bool = False) -> Converged:
        """The next thing to do for a fresh system from `order.package.template` in the machine that is off: again until
        neither `task` nor `more`. `memory` is what the call before returned, the driver's own; `written` is said from
        when on the old system is replaced: what is refused before that leaves all as it was. Only with `allocate` a
        disk is made."""
        raise not_built(self, Capability.REINSTALL)

    def charts(self, ref: VmRef, period: str) -> Charts:
        """History of the proven machine over hour, day, week, month or year, in at most some 360 points; empty while
        there is none. A machine that is off has its history too."""
        raise not_built(self, Capability.CHARTS)

    def console(self, ref: VmRef) -> ConsoleTicket:
        """A way to the proven, running machine's screen, good for one connection within 10 seconds. Raises Refused when
        it does not run."""
        raise not_built(self, Capability.CONSOLE)

    def drive(self, ref: VmRef) -> Drive:
        """What lies in the proven machine's drive."""
        raise not_built(self, Capability.ISO)

    def isos(self, fits: str) -> list[Iso]:
        """The images that `Drive.fits` names; the same for all machines that say so."""
        raise not_built(self, Capability.ISO)

    def all_isos(self) -> list[Iso]:
        """Each image that some machine of this server can be offered, for the doctor."""
        raise not_built(self, Capability.ISO)

    def mount(self, ref: VmRef, iso: str) -> str:
        """Put the image with this id into the proven machine's drive in place of what lies there; empty: take out what
        lies there. Returns the task, empty when it is so already. Raises Refused(iso_gone). A repeat is harmless."""
        raise not_built(self, Capability.ISO)

    def take_out_missing(self, ref: VmRef) -> str:
        """Before the proven machine is switched on: take out what lies in its drives and cannot be read any more where
        it is, so that the start does not fail for it. Returns its name, empty when all is there. A repeat is
        harmless."""
        return ""

    def boot_first(self, ref: VmRef, disc: bool) -> bool:
        """From its next restart by `power` on the proven machine starts from what lies in its drive (`disc`), or from
        its own disk again; true when something was written. Raises Refused(no_iso) for an empty drive. A repeat is
        harmless."""
        raise not_built(self, Capability.ISO)

    def pointers(self, ref: VmRef) -> Pointers:
        """The reverse records of the proven machine's addresses."""
        raise not_built(self, Capability.RDNS)

    def set_pointer(self, ref: VmRef, address: str, name: str) -> str:
        """Write one reverse record; without a name the back end's own comes back, or none. Returns the task, empty when
        it is so already. Raises Refused(not_own_address) before anything is written. A repeat is harmless."""
        raise not_built(self, Capability.RDNS)

    def has_firewall(self, package: Package) -> bool:
        """Whether a package's machines have a firewall that customers may be given."""
        return True

    def plain_rule(self, rule: Rule) -> Rule:
        """The rule as `firewall` will tell it: without a service's name where the back end has none."""
        return rule

    def firewall(self, ref: VmRef) -> Firewall:
        """The proven machine's firewall as it is now."""
        raise not_built(self, Capability.FIREWALL)

    def change_firewall(self, ref: VmRef, now: Firewall, wanted: Firewall) -> bool:
        """One change on the way from `now`, which was just read, to `wanted`: again until the two are the same. What is
        added is off until it stands where it belongs. Raises Transient(firewall_changed) when it is not as it was read;
        nothing is written then. True while the change may not be seen at once."""
        raise not_built(self, Capability.FIREWALL)

    def firewall_log(self, ref: VmRef) -> list[Dropped]:
        """What was stopped lately, at most a hundred, the newest first. Raises Permanent(upstream_privilege) where our
        key may not look."""
        raise not_built(self, Capability.FIREWALL)

    def firewall_switches(self) -> dict[str, str]:
        """Node -> the word for what keeps the firewalls of its machines from filtering: cluster, node or engine; empty
        when nothing does. Under the empty name what holds for nodes that are not named."""
        return {}

    # -- reading ----------------------------------------------------------------------------------
    def prove_key(self) -> None:
        """Raises Permanent where our key cannot do what has to be done, though it can read. Without any effect; asked
        seldom."""
        return

    @abstractmethod
    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]:
        """State of many tasks at once."""
        raise NotImplementedError

    @abstractmethod
    def task_error(self, text: str) -> VmbridgeError:
        """The error that a failed task's text means."""
        raise NotImplementedError

    @abstractmethod
    def statuses(self, watched: Sequence[VmRef] = ()) -> list[VmStatus]:
        """Every machine in one bulk read, or only the `watched` ones where `live_ages` has a time for them. An error
        means the server is not healthy."""
        raise NotImplementedError

    @abstractmethod
    def traffic(self, ref: VmRef) -> tuple[int | None, int | None, float]:
        """The proven machine's counter now, as in VmStatus: (net_in, net_out, counting_since). Raises when it is
        gone."""
        raise NotImplementedError

    @abstractmethod
    def read(self, ref: VmRef) -> Seen:
        """The proven machine's configuration; raises when it is gone or not ours."""
        raise NotImplementedError

    @abstractmethod
    def inspect(self, vm_id: str, node: str = "") -> Machine:
        """A machine that is not recorded as ours, to adopt it or to see what it claims; raises NotFound, or Refused for
        a template. `node` is a hint."""
        raise NotImplementedError

    @abstractmethod
    def claiming(self, vm_ids: Collection[str]) -> list[Machine]:
        """Of these machines, which no service is known of, those that say they are ours: by the mark that a birth
        gives, or by an id of our ranges. Read anew; without templates and what is gone. `uuid` is empty where a list
        does not tell it."""
        raise NotImplementedError

    # -- what machines left -----------------------------------------------------------------------
    @abstractmethod
    def listings(self) -> list[str]:
        """The lists in which things can outlive their machine, one bulk read each (a storage of a node; snapshots,
        floating addresses by label)."""
        raise NotImplementedError

    @abstractmethod
    def leftovers(self, vm_ids: Collection[str], listing: str = "") -> list[Leftover]:
        """What is kept under these ids of machines that are gone: of one of `listings()`, or, without one, of what no
        list has (some reads for each id). Whether it was the service's own is for the caller to decide by its time."""
        raise NotImplementedError

    @abstractmethod
    def remove_leftover(self, ref: VmRef, leftover: Leftover) -> str:
        """Remove it once the machine is proven absent; returns the task, empty when it is done. Raises NotOurs when a
        machine has the id, NeedsOperator when our key may not remove it. A repeat is harmless."""
        raise NotImplementedError

    def offers(self) -> Offers | None:
        """What the provider sells now, for staff; None where machines are the operator's own."""
        return None

    def kinds(self, package: Package) -> tuple[str, str]:
        """(name, location) of what a package makes, as `offers` has them."""
        return "", package.location

    @abstractmethod
    def check(self, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
        """The doctor's look at this server."""
        raise NotImplementedError


def names() -> list[str]:
    """The drivers that are installed, by folder name."""
    return sorted(n for n, folder in modules(drivers.__path__).items() if folder and n not in NOT_MACHINES)


def modules(path: Iterable[str]) -> Mapping[str, bool]:
    """The modules of a package by name, and whether each is a folder. Read once for each `__path__`: what is installed
    stays while the process runs, and whoever adds a folder has another path."""
    return _modules(tuple(path))


@lru_cache(maxsize=32)
def _modules(path: tuple[str, ...]) -> Mapping[str, bool]:
    return MappingProxyType({m.name: m.ispkg for m in pkgutil.iter_modules(path)})


def load(name: str) -> type[Driver]:
    """The driver class of a folder. Raises Refused naming those found."""
    if name not in names():
        raise Refused(f"There is no driver {name!r}; found: {', '.join(names())}.", code="unknown_driver")
    driver: type[Driver] = importlib.import_module(f"drivers.{name}").DRIVER
    return driver


def words(schema: str) -> set[str]:
    """The keys that any driver has in its `server_schema` or `plan_schema`: for a table whose driver is not known."""
    return {key for name in names() for key in getattr(load(name), schema)().fields}
