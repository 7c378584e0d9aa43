"""What every back end can do. One class per driver folder, found by the folder's name.

A driver knows its own back end and the kernel; it never sees the store, WHMCS or the web.
Methods that change something look first, and may be called again after any crash.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from bridge.clock import Clock
from bridge.errors import NotBuilt, VmbridgeError
from bridge.model import (
    BY_CAPABILITY,
    PERIODS,
    SELLABLE,
    Capability,
    Converged,
    Difference,
    Finding,
    Lack,
    Leftover,
    Machine,
    Offers,
    Order,
    Package,
    Placement,
    Planned,
    Seen,
    Sentence,
    Sold,
    TaskResult,
    Vm,
    VmRef,
    VmStatus,
)
from drivers.calls import Counted
from drivers.optional import NEEDS, ByCapability

NOWHERE: Mapping[str, str] = MappingProxyType({})
KEEP = frozenset({"backups", "addresses"})  # what can stay when a machine goes


class Driver(ByCapability, ABC):
    """The contract. `server_schema` and `plan_schema` are marshmallow schema classes for the config's keys that are the
    driver's own: nobody else reads them, but for `vm_ids`.

    A driver declares `capabilities`; what each needs (`needs`) must then be built, and what is built must be declared
    (checked at import). It declares in `delivers` what it writes of the words that any plan or order may sell; others
    are refused by name where a plan is configured and where a service is ordered. What every back end needs is
    abstract: a driver without it cannot be made."""

    name: ClassVar[str] = ""
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    # words of SELLABLE; those of BY_CAPABILITY come with their capability
    delivers: ClassVar[frozenset[str]] = frozenset()
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
    # the provider makes daily backups by itself, in a window of its own, and keeps this many
    own_backups: ClassVar[int] = 0
    snapshots_survive: ClassVar[bool] = False  # a restore or a reinstall leaves them alone
    # what writes over the disk switches the machine off by itself: nobody does so before
    switches_off: ClassVar[bool] = False
    chooses_passwords: ClassVar[bool] = False  # a new password is made by the provider (`new_password`), not by us
    # what a customer's firewall can be told: policies, order, drop, sport, lists (of addresses and ports), switch (a
    # rule off), log
    firewall_can: ClassVar[frozenset[str]] = frozenset()
    # names for ports that a rule may say in their place: each with its (protocol, ports) pairs
    firewall_services: ClassVar[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType({})
    password_notes: ClassVar[tuple[Sentence, ...]] = ()  # what a customer has to know before a new password is ordered
    firewall_most: ClassVar[int] = 0  # rules that a machine can have, whatever a plan says; 0: as the plan says
    firewall_protocols: ClassVar[tuple[str, ...]] = ()  # that a rule can name; empty: what the page offers
    firewall_in_machine: ClassVar[bool] = False  # it goes with the machine, and an archive brings its own
    firewall_by_hand: ClassVar[Mapping[str, str]] = {}  # `Firewall.off` -> what to do on the server, for staff
    shared_hosts: ClassVar[bool] = True  # nodes and storages are the operator's own: our limits for each hold
    boots_once: ClassVar[bool] = False  # it can start once from what lies in its drive (`boot_first`)
    default_port: ClassVar[int] = 443  # of an `endpoint` that names none
    poll_every: ClassVar[float] = 1.0  # seconds between two questions after tasks or a machine's state, at least

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What a driver declares, it builds, and the other way round. Raises TypeError naming what is missing or
        strange."""
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
    def look(self, ref: VmRef, obeyed: bool = False) -> Vm | None:
        """The proven machine; None: proven absent; or NotOurs. `obeyed`: a task of ours on it has just ended well."""
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
