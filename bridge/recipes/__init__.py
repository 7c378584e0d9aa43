"""Kind of operation -> its steps. The only place where drivers, services and addresses are put together.

Every step may run twice: it looks first, and records what it must not lose before it acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from bridge.kinds import KINDS
from bridge.model import Desired, Service
from bridge.steps import Book, Recipe, Step


def _steps() -> Mapping[str, tuple[Step, ...]]:
    """Recipe -> its steps: the RECIPES of every module of this folder. Raises ValueError where two have one name."""
    known: dict[str, tuple[Step, ...]] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        named = getattr(import_module(f"{__name__}.{path.stem}"), "RECIPES", {}) if path.stem != "__init__" else {}
        if twice := named.keys() & known.keys():
            raise ValueError(f"recipes/{path.name}: {', '.join(sorted(twice))} stands in another module too")
        known |= named
    return known


# A step that a release gives another name, or does without, is named here: {recipe: {old name: where to go on}}
_MOVED: dict[str, dict[str, str]] = {}


def choose(kind: str, service: Service) -> str:
    """The recipe of an operation that begins now. What makes an unfinished machine active goes on with its birth; a
    change of package of a suspended one leaves it off. A new name is written as a package is."""
    recipe = (kind in KINDS and KINDS[kind].recipe) or kind
    if recipe not in ("unsuspend", "change_package"):
        return recipe
    unfinished = not service.provisioned and not service.birth.adopted
    if service.desired is Desired.ACTIVE and (service.birth.anew or unfinished):
        return "redeploy" if service.birth.anew else "create"
    if recipe == "change_package" and service.desired is Desired.SUSPENDED:
        return "suspend" if unfinished else "change_while_suspended"
    return recipe


BOOK = Book(
    {name: Recipe(name, steps, _MOVED.get(name, {})) for name, steps in _steps().items()},
    choose,
    frozenset(KINDS),
)
