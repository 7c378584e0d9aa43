"""What is known of each kind of operation, in one record: its words, what it is for, how long it is tried, who may
order it, what it asks first. How it is done stands in recipes. A new verb is a record in one
of these modules and its recipe. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from bridge.kinds import contents, orders, switches
from bridge.kinds.record import Kind, Mail, Orderer

__all__ = ["ALL", "BILLING", "KINDS", "MAILS", "POWER", "Kind", "Mail", "Orderer", "deed", "running", "title", "where"]

ALL = [*orders.ORDERS, *switches.SWITCHES, *contents.CONTENTS]
KINDS = {k.name: k for k in ALL}


def where(fits: Callable[[Kind], bool]) -> tuple[str, ...]:
    """The names of the kinds that fit."""
    return tuple(k.name for k in ALL if fits(k))


BILLING = where(lambda k: k.billing)
MAILS = ("ready", *(k.mail.reason for k in ALL if k.mail), "restored", "backup_failed")  # to customers
POWER = where(lambda k: k.power)


def running(name: str) -> str:
    """What customers read while it runs; of a kind that this release does not know, its name."""
    return KINDS[name].running if name in KINDS else name


def title(name: str) -> str:
    return KINDS[name].title if name in KINDS else name


def deed(name: str) -> str:
    """What staff read: the word of the button that they press, else what its customer reads too."""
    return (name in KINDS and KINDS[name].staff) or title(name)
