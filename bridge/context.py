"""Everything a process needs, opened once. The top layer: nothing below asks for a context."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from bridge import budget
from bridge import config as config_module
from bridge.clock import Clock, SharedClock
from bridge.config import Config
from bridge.dns import writer
from bridge.store import Store, opened
from bridge.whmcs import Whmcs
from drivers import folder
from drivers.base import Driver
from drivers.dns.contract import Provider


@dataclass
class Context:
    config: Config
    store: Store
    clock: Clock
    whmcs: dict[str, Whmcs]
    drivers: dict[str, Driver]
    dns: dict[str, Provider] = field(default_factory=dict)  # who answers for each zone

    def of(self, whmcs: str) -> Context:
        """As one installation may see and change it: see Config.of."""
        config = self.config.of(whmcs)
        return replace(
            self,
            config=config,
            whmcs={n: w for n, w in self.whmcs.items() if n == whmcs},
            drivers={n: d for n, d in self.drivers.items() if n in config.servers},
        )


def open_context(config: Config, clock: Clock | None = None) -> Context:
    where = config.store["url"] or str(Path(config.path).parent / config.store["path"])
    clock = clock or (SharedClock() if config.store["url"] else Clock())
    database = opened(where, config.store["password"], config.store["connections"], clock)
    store = Store(where, config.store["secret_key"], clock, database)
    whmcs = {
        n: Whmcs(w["system_url"], w["api_identifier"], w["api_secret"], w["mail_templates"], n)
        for n, w in config.whmcs.items()
    }
    store.webhooks = tuple(config.webhooks.values())
    for client in whmcs.values():
        client.webhooks = {h.name: (h.url, h.secret) for h in store.webhooks}
    drivers = {n: folder.load(s["driver"])(n, s, clock) for n, s in config.servers.items()}
    budget.give(drivers, store)
    return Context(config, store, clock, whmcs, drivers, writer.providers_of(config, clock))


def load_context(path: str) -> Context:
    """Raises Refused when the store is not for this release or this key."""
    context = open_context(config_module.load(path))
    context.store.fit()
    context.store.close()
    return context
