"""What a page of the customer's is: one record, made in the page's own module. Menu, title, reason when dimmed, its
forms and what they ask about follow from it; a page is there when its module is in this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from bridge import customer
from bridge.customer import Ask
from bridge.model import Capability, Operation, Sentence, Service
from bridge.web import language
from bridge.web.auth import context

Hindrance = Callable[[Service, Capability, Operation | None], str]
PAGES: dict[str, Page] = {}  # by capability, in the menu's order


def free(service: Service, capability: Capability, current: Operation | None) -> str:
    """A page that is only looked at."""
    return ""


def ordered(service: Service, capability: Capability, current: Operation | None) -> str:
    """Why nothing can be ordered on a page whose forms queue work; empty when something can."""
    at = context()
    return customer.reason(service, capability, at.drivers, current, at.store, at.config, told=True)


def edited(service: Service, capability: Capability, current: Operation | None) -> str:
    """Why nothing can be changed on a page whose forms are carried out at once, without an operation."""
    at = context()
    return customer.edit_reason(service, capability, at.drivers, at.store, at.config, told=True)


def nothing(service: Service, form: Mapping[str, Any]) -> str | None:
    return ""


@dataclass(frozen=True)
class Page:
    """`title` is the menu's and the page's, `button` how the button on top says it where that is shorter; `renamed`
    gives both, and `headed` the page's, where the server calls for another word. `place` orders the menu. The template
    has the capability's name and gets what `content` gives.

    `hindrance`: why nothing can be done there just now, empty when something can or it is only to be looked at.
    `listed`: there is something to see meanwhile, so the link works. `about`: the thing that a form acts on, as its
    page calls it; None when it is not there any more. `edits`: forms carried out at once, by their action; those that
    queue work are `FORMS` of the noun's module in customer/. `looks`: actions that only show the page in another
    way."""

    capability: Capability
    title: Sentence
    icon: str
    place: int
    content: Callable[[Service], dict[str, Any]]
    button: Sentence | None = None
    renamed: Callable[[Service], Sentence | None] = lambda service: None
    headed: Callable[[Service], Sentence | None] = lambda service: None
    hindrance: Hindrance = free
    listed: bool = False
    about: Callable[[Service, Mapping[str, Any]], str | None] = nothing
    edits: Mapping[str, Callable[[Ask], None]] = field(default_factory=dict)
    looks: frozenset[str] = frozenset()

    def heading(self, service: Service) -> Sentence:
        """What stands over the page, and in the browser's title."""
        return self.headed(service) or self.title


def register(page: Page) -> None:
    """Put it into the menu."""
    PAGES[page.capability] = page
    for known in sorted(PAGES.values(), key=lambda p: p.place):
        PAGES[known.capability] = PAGES.pop(known.capability)


def load() -> None:
    """Import every module of this folder: those of pages register them."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        import_module(f"{__package__}.{path.stem}")


def why(service: Service, capability: Capability) -> str:
    """The reason why nothing can be ordered, as the page says it."""
    current = context().store.current_operation(service.id)
    return language.translate(ordered(service, capability, current))
