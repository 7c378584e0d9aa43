"""Starting once from the mounted ISO, and what sees to it that it stays once."""

from __future__ import annotations

from itertools import takewhile

from bridge.customer.gate import Ask, Forms, Prepared
from bridge.errors import Refused
from bridge.model import Memory
from bridge.recipes.discs import SERVES_BOTH
from bridge.store import Store

AGAIN, SELDOM = (
    900.0,
    86400.0,
)  # seconds until what failed is begun anew: twice as long each time, as staff is told
TRIES = 10  # of them are looked at; by then it is once a day


def boot(ask: Ask) -> Prepared:
    """Whether an ISO lies there the operation looks itself: nothing is asked inside a request."""
    if not ask.drivers[ask.service.server].boots_once:
        raise Refused(SERVES_BOTH, code="not_supported")
    return Memory(), None


def put_disks_first(server: str, store: Store) -> int:
    """An operation for each machine of a server whose disk does not come first again and for which nothing is under
    way."""
    due = store.disc_orders_due(server)
    for key in due:
        with store.write():
            if store.current_operation(key) is None:
                newest = store.operations_of(key, TRIES)
                failed = len(list(takewhile(lambda o: o.kind == "boot_disk", newest)))
                store.submit(key, "boot_disk", "system: schedule")
                store.disc_order_later(key, min(AGAIN * 2**failed, SELDOM))
    return len(due)


FORMS: Forms = {("iso", "boot"): ("boot_iso", boot)}
