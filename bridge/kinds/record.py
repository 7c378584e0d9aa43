"""What is known of one kind of operation. The records stand in the modules beside this one."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bridge.model import Desired, Sentence


class Orderer(enum.StrEnum):
    """Who may order an operation."""

    WHMCS = "whmcs"  # billing: its cron, its staff by WHMCS's own buttons
    CLIENT = "client"  # on the pages of the service
    STAFF = "staff"  # by the service tab, the addon or the command line
    SCHEDULE = "schedule"  # the worker's jobs


@dataclass(frozen=True)
class Mail:
    """A new password's way to its customer: `reason` is the word by which a host names its own template, `text` has
    `%s` for the server's name and stands in English, as WHMCS's own mails to edit."""

    reason: str
    subject: str
    text: str


@dataclass(frozen=True)
class Kind:
    """One kind of operation.

    `title`, `running`, `failed`, `succeeded` and `kept` are what customers read; `title` names the deed in a list,
    where what became of it stands beside, and `failed` in a sentence; `kept` is what is as it was when it failed with
    an unknown part of it done. The two `ask` words are the question before a customer's order and the button that says
    yes; `ask_where_kept` is the question where snapshots outlive it."""

    name: str
    title: Sentence
    running: Sentence
    failed: Sentence
    succeeded: Sentence
    kept: Sentence
    by: frozenset[Orderer]
    recipe: str = ""  # the kind's own name when empty
    wants: Desired | None = None  # what must still be ordered for an old one to make sense; None: anything
    billing: bool = (
        False  # writes the desired state: never refused for being busy, the newest takes the place of others
    )
    power: bool = False  # one of the power buttons
    endless: bool = False  # goes on until it is done or cancelled
    may_restart: bool = False  # may switch a running machine off: its customer was told, or has no use of it yet
    costly: bool = False  # takes the back end long: customers may order only some in an hour
    watched: bool = False  # long and decisive: its steps are shown without a click
    away: bool = False  # the machine is not there to be looked at meanwhile
    by_link: bool = False  # asks only where it is ordered by a link of WHMCS's menu, or once more after it failed
    ordered: Sentence | None = None  # what is told while it runs, where what was ordered is not what one sees yet
    ask: Sentence | None = None
    ask_where_kept: Sentence | None = None
    ask_button: Sentence | None = None
    mail: Mail | None = None  # the mail with a new password
    staff: str = ""  # what its own button in the addon says; else staff read the title as customers do


WHMCS, CLIENT, STAFF, SCHEDULE = Orderer.WHMCS, Orderer.CLIENT, Orderer.STAFF, Orderer.SCHEDULE
