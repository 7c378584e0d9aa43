"""Kind of operation -> its steps. The only place where drivers, services and addresses are put together.

Every step may run twice: it looks first, and records what it must not lose before it acts.
"""

from __future__ import annotations

from bridge.kinds import KINDS
from bridge.model import Desired, Service
from bridge.recipes.backups import BACKUPS, RESTORE
from bridge.recipes.billing import CHANGE_PACKAGE, CLEAN_UP, CONVERGE, REDEPLOY, SUSPEND, TERMINATE, UNSUSPEND
from bridge.recipes.birth import CREATE
from bridge.recipes.discs import BOOT_DISK, BOOT_ISO
from bridge.recipes.power import CHANGE_PASSWORD, POWER
from bridge.recipes.reinstall import REINSTALL, RESET_PASSWORD
from bridge.recipes.snapshots import SNAPSHOTS
from bridge.steps import Book, Recipe

_STEPS = {
    "create": CREATE,
    "suspend": SUSPEND,
    "unsuspend": UNSUSPEND,
    "terminate": TERMINATE,
    "converge": CONVERGE,
    "change_package": CHANGE_PACKAGE,
    "change_while_suspended": (*SUSPEND, *CONVERGE),
    "change_password": CHANGE_PASSWORD,
    "redeploy": REDEPLOY,
    "clean_up": CLEAN_UP,
    "restore": RESTORE,
    "reinstall": REINSTALL,
    "reset_password": RESET_PASSWORD,
    "power": POWER,
    "boot_iso": BOOT_ISO,
    "boot_disk": BOOT_DISK,
    **SNAPSHOTS,
    **BACKUPS,
}
# A step that a release gives another name, or does without, is named here: {recipe: {old name: where to go on}}
_MOVED: dict[str, dict[str, str]] = {}


def choose(kind: str, service: Service) -> str:
    """The recipe of an operation that begins now. What makes an unfinished machine active goes on with its birth; a
    change of package of a suspended one leaves it off."""
    if kind not in ("unsuspend", "change_package"):
        return (kind in KINDS and KINDS[kind].recipe) or kind
    unfinished = not service.provisioned and not service.birth.adopted
    if service.desired is Desired.ACTIVE and (service.birth.anew or unfinished):
        return "redeploy" if service.birth.anew else "create"
    if kind == "change_package" and service.desired is Desired.SUSPENDED:
        return "suspend" if unfinished else "change_while_suspended"
    return kind


BOOK = Book(
    {name: Recipe(name, steps, _MOVED.get(name, {})) for name, steps in _STEPS.items()},
    choose,
    frozenset(KINDS),
)
