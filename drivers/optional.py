"""What a driver builds for each capability. One that it does not declare answers with one error that names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from bridge.errors import NotBuilt, VmbridgeError
from bridge.model import (
    Backup,
    Capability,
    Charts,
    ConsoleTicket,
    Converged,
    Drive,
    Dropped,
    Firewall,
    Iso,
    Kept,
    Order,
    Package,
    Pointers,
    Rule,
    Seen,
    Snapshot,
    TaskResult,
    VmRef,
)

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


def not_built(driver: object, capability: Capability) -> NotBuilt:
    """What a driver without a capability answers when it is asked for it all the same."""
    return NotBuilt(f"This server does not offer {capability}.", detail=type(driver).__name__)


class ByCapability:
    """Of `Driver`: what its class does not build here it must not declare."""

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

    def archive_of(self, task: str) -> str:
        """The archive that a `take` of ours which ended well has made, as `backups` lists it; empty when nobody can
        tell. For one without its mark: where that could not be written the archive is whole all the same."""
        return ""

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

    def set_password(self, order: Order, ref: VmRef) -> bool:
        """Keep the new password for the next start; tell the running system too; true when that worked at once."""
        raise not_built(self, Capability.RESET_PASSWORD)

    def new_password(self, ref: VmRef) -> tuple[str, str]:
        """Where the provider chooses: (the task after whose success it holds, the password). A repeat makes another
        one."""
        raise not_built(self, Capability.RESET_PASSWORD)

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

    def firewall_off(self, ref: VmRef, seen: Seen) -> str:
        """What keeps the proven machine's firewall from filtering, as `Firewall.off`; `seen` was just read of it. One
        call at most."""
        return ""

    def firewall_switches(self) -> dict[str, str]:
        """Node -> the word for what keeps the firewalls of its machines from filtering: cluster, node or engine; empty
        when nothing does. Under the empty name what holds for nodes that are not named."""
        return {}


class Keeper(Protocol):
    """Who keeps a machine's reverse records: its driver, or somebody else for addresses that are not the provider's. As
    in `Driver`."""

    shared_hosts: ClassVar[bool]

    def pointers(self, ref: VmRef) -> Pointers: ...

    def set_pointer(self, ref: VmRef, address: str, name: str) -> str: ...

    def poll(self, tasks: Iterable[str]) -> dict[str, TaskResult]: ...

    def task_error(self, text: str) -> VmbridgeError: ...
