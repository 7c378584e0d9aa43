"""A held clock, and a World: simulated cluster, store and engine in one process."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hooks
from bridge import config as config_module
from bridge import customer, recipes, services
from bridge.context import Context
from bridge.operations import Engine
from bridge.outbox import Delivery
from bridge.services import Answer, Caller
from drivers.proxmox.driver import Proxmox
from tests.configs import raw_config
from tests.held import HeldClock
from tests.pve.cluster import Cluster, default_cluster
from tests.pve.http import ClusterAdapter
from tests.stores import opened

OPEN = """SELECT 1 FROM operations WHERE state IN ('running', 'waiting')
    UNION ALL SELECT 1 FROM outbox WHERE sent_at IS NULL LIMIT 1"""
DUE = """SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM operations WHERE state = 'running' AND due_at > ?
    UNION ALL SELECT min(lease_until) FROM operations WHERE state = 'running' AND lease_until > ?
    UNION ALL SELECT min(due_at) FROM outbox WHERE sent_at IS NULL AND due_at > ?
    UNION ALL SELECT min(lease_until) FROM outbox WHERE sent_at IS NULL AND lease_until > ?) AS moments"""


class FakeWhmcs:
    """Records calls as WHMCS's API would get them; the real client is tested over HTTP elsewhere."""

    def __init__(self) -> None:
        self.templates: dict[str, str] = {}
        self.sent: list[tuple[str, tuple[Any, ...]]] = []
        self.passwords: list[str] = []  # in the order of their mails

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*args: Any, **fields: Any) -> None:
            self.sent.append((name, args))
            if "vmbridge_password" in fields:
                self.passwords.append(fields["vmbridge_password"])

        return call

    def mails(self) -> list[tuple[str, tuple[Any, ...]]]:
        return [s for s in self.sent if s[0] in ("send_email", "send_own_email")]


class World:
    """One installation on a held clock. `restart` is a killed worker followed by a new one."""

    def __init__(self, path: Path, cluster: Cluster | None = None, **config: Any) -> None:
        self.clock = HeldClock()
        self.config = config_module.from_dict(raw_config(**config), str(path / "config.toml"))
        self.cluster = cluster or default_cluster(self.clock)
        self.adapter = ClusterAdapter(self.cluster)
        self.path = path / "vmbridge.db"
        self.store = opened(self.path, self.clock)
        self.whmcs = FakeWhmcs()
        self.border: Callable[[str], None] = lambda name: None
        self.book = recipes.BOOK
        self.start()

    def start(self) -> None:
        def mount(session: Any) -> None:
            session.mount("https://", self.adapter)

        self.drivers = self.drivers_of(mount)
        self.engine = Engine(self.store, self.config, self.clock, self.drivers, self.book, lambda n: self.border(n))
        self.delivery = Delivery(
            self.store, dict.fromkeys(self.config.whmcs, self.whmcs), hooks.load(), lambda n: self.border(n)
        )
        self.context = Context(
            self.config, self.store, self.clock, dict.fromkeys(self.config.whmcs, self.whmcs), self.drivers
        )

    def drivers_of(self, mount: Callable[[Any], None]) -> dict[str, Any]:
        return {n: Proxmox(n, s, self.clock, mount) for n, s in self.config.servers.items()}

    def restart(self) -> None:
        """The old process is gone; its leases run out."""
        self.clock.time += 31
        self.start()

    def order(self, verb: str, service_id: int = 1042, **params: Any) -> Answer:
        values = {
            "configoption1": "kvm-s",
            "userid": 7,
            "domain": f"vm-{service_id}.example.com",
            "password": "Secret-pass-1",
            "status": "Pending" if verb == "create" else "Active",
            **params,
        }
        return services.run(verb, service_id, "pve1", values, Caller("main"), self.store, self.config, self.drivers)

    def page(self, capability: str, action: str, service_id: int = 1042, **form: Any) -> str:
        """One form of the customer's pages; returns the operation."""
        service = self.store.find_service("main", service_id)
        assert service
        ask = customer.Ask(service, form, Caller("main", "client Ada", True), self.store, self.config, self.drivers)
        return customer.act(capability, action, ask)

    def run(self, seconds: float = 900.0) -> None:
        """Let time pass until nothing is open, for at most `seconds`. It goes from one second to the next; those before
        something is due again, in which a worker would find nothing to do, are left out."""
        end = self.clock.time + seconds
        while self.clock.time < end:
            busy = self.engine.tick()
            busy = self.delivery.deliver_one() or busy
            if not busy:
                if self.store.row(OPEN) is None:
                    return
                [due] = self.store.column(DUE, *[self.clock.time] * 4)
                until = end if due is None else min(due, end)
                self.clock.time += float(max(1, math.ceil(until - self.clock.time)))

    def vms(self) -> list[int]:
        return sorted(v.vmid for v in self.cluster.vms.values() if not v.template)

    def close(self) -> None:
        self.store.close()
        for driver in self.drivers.values():
            driver._pool.shutdown(wait=False)
