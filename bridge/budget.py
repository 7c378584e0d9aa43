"""How many calls a back end may still be asked, where its provider counts them: a token bucket in the store, shared by
all processes."""

from __future__ import annotations

from bridge.store import Store
from drivers.base import Driver

RESERVE = 0.2  # of the hour's calls: what nobody waits for leaves them to orders and to customers


class Budget:
    def __init__(self, store: Store, account: str, per_hour: int) -> None:
        self._store, self._account, self._per_hour = store, account, per_hour

    def spend(self, background: bool) -> float:
        """Take one call; else how many seconds until there is one."""
        return self._store.spend(self._account, self._per_hour, self._per_hour * RESERVE if background else 0.0)

    def told(self, remaining: int) -> None:
        """What the provider itself says is left: others may use the same key."""
        self._store.budget_at_most(self._account, self._per_hour, remaining)


def give(drivers: dict[str, Driver], store: Store) -> None:
    """To each driver whose provider counts."""
    for driver in drivers.values():
        if driver.calls_per_hour:
            driver.budget = Budget(store, driver.account, driver.calls_per_hour)
