"""Who asks, from where, and under which number: known where a request or a command comes in, and written down with all
that it orders."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Origin:
    """`kind`: client, admin or system (as WHMCS says), token, command line, schedule or worker; `address`: of the
    person's browser where WHMCS tells it, else of who called; `request`: the first twelve digits of the call's nonce,
    which WHMCS's module log has too. `noted`: what was asked stands in the audit log already."""

    kind: str = "worker"
    name: str = ""
    address: str = ""
    request: str = ""
    noted: bool = False


origin: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current() -> Origin:
    """The worker itself where nobody asks."""
    return origin.get() or Origin()
