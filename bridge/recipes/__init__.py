"""Kind of operation -> its steps. The only place where drivers, services and addresses are put together.

Every step may run twice: it looks first, and records what it must not lose before it acts.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.model import Desired, Service
from bridge.operations import Step
from bridge.recipes.backups import BACKUPS, RESTORE
from bridge.recipes.billing import CHANGE_PACKAGE, CLEAN_UP, CONVERGE, REDEPLOY, SUSPEND, TERMINATE, UNSUSPEND
from bridge.recipes.birth import CREATE
from bridge.recipes.power import CHANGE_PASSWORD, POWER
from bridge.recipes.reinstall import REINSTALL, RESET_PASSWORD
from bridge.recipes.snapshots import SNAPSHOTS

RECIPES = {
    "create": CREATE,
    "suspend": SUSPEND,
    "unsuspend": UNSUSPEND,
    "terminate": TERMINATE,
    "converge": CONVERGE,
    "change_package": CHANGE_PACKAGE,
    "change_password": CHANGE_PASSWORD,
    "redeploy": REDEPLOY,
    "clean_up": CLEAN_UP,
    "restore": RESTORE,
    "reinstall": REINSTALL,
    "reset_password": RESET_PASSWORD,
    **SNAPSHOTS,
    **BACKUPS,
}


def steps(kind: str, service: Service) -> Sequence[Step]:
    """The steps of an operation. What makes an unfinished machine active goes on with its birth; a change of package of a
    suspended one leaves it off."""
    if kind in ("unsuspend", "change_package") and service.build.get("anew") and service.desired is Desired.ACTIVE:
        return REDEPLOY
    unfinished = not service.provisioned and not service.build.get("adopted")
    if kind in ("unsuspend", "change_package") and unfinished and service.desired is Desired.ACTIVE:
        return CREATE
    if kind == "change_package" and service.desired is Desired.SUSPENDED:
        return SUSPEND if unfinished else (*SUSPEND, *CONVERGE)
    return RECIPES.get(kind, POWER)
