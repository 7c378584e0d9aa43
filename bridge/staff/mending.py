"""What is found is mended by a command that proves identity first; the work itself is an operation like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge import services
from bridge.config import Config
from bridge.dns import records
from bridge.errors import NotFound, Refused
from bridge.kinds import deed
from bridge.model import Desired, Leftover, Memory, Service
from bridge.staff.findings import fixable
from bridge.store import Store
from bridge.store.findings import FindingRow
from drivers.base import Driver


def fix(key: int, actor: str, store: Store, config: Config, drivers: Mapping[str, Driver]) -> str:
    """Mend one finding after the back end has proven what it is about; a sentence on what happens now. Raises NotFound
    or Refused, or the back end's own error (NotOurs when a machine under the id is somebody else's)."""
    finding = store.finding(key)
    if finding is None:
        raise NotFound(f"There is no finding {key}.", code="unknown_finding")
    if finding["ended_at"] is not None:
        raise over()
    if not fixable(finding) or finding["service"] is None:
        raise Refused(f"This cannot be mended by itself. {finding['fix']}", code="no_fix")
    if finding["server"] not in drivers:
        raise Refused(f"Server {finding['server']!r} is not in the configuration any more.", code="unknown_server")
    service = store.service(finding["service"])
    free(service, store)
    return FIXES[finding["kind"]](finding, service, drivers[finding["server"]], actor, store, config)


def over() -> Refused:
    return Refused("This is over: there is nothing left to do.", code="finding_over")


def free(service: Service, store: Store) -> None:
    if store.newest_open(service.id):
        raise Refused(services.busy_reason(service, store) or "The service is busy.", code="service_busy")


def submit(
    finding: FindingRow,
    service: Service,
    kind: str,
    actor: str,
    store: Store,
    asked: Memory | None = None,
) -> str:
    """Queue it if the service is still as it was when the back end was asked."""
    with store.write():
        free(service, store)
        if store.service(service.id).desired is not service.desired:
            raise over()
        operation = store.submit(service.id, kind, actor, asked)
        store.swept([service.id], 0.0)
    return f"Operation {operation} ({deed(kind)}) has begun."


def end(finding: FindingRow, store: Store) -> Refused:
    store.end_finding(finding["id"])
    return over()


def _suspend(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    vm = driver.look(service.ref)
    if service.desired is not Desired.SUSPENDED or vm is None or vm.status == "stopped":
        raise end(finding, store)
    return submit(finding, service, "suspend", actor, store)


def _terminate(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    if driver.look(service.ref) is None:
        raise end(finding, store)
    return submit(finding, service, "terminate", actor, store, Memory(look=True))


def _absent(service: Service, driver: Driver) -> None:
    if driver.look(service.ref) is not None:
        raise Refused(f"VM {service.vm_id} is still there: remove it first.", code="vm_present")


def _clean_up(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    item = Leftover(**finding["data"]["leftover"])
    _absent(service, driver)
    user = store.volume_user(service.server, item.name) if item.kind == "disk" else ""
    if user == "?":
        raise Refused(
            "Not every other machine of this server has been read yet, and one may use this disk. Try again later.",
            code="unread",
        )
    if user:
        raise Refused(f"VM {user} uses this disk.", code="in_use")
    return submit(finding, service, "clean_up", actor, store, Memory(leftover=item, finding=finding["id"]))


def _release(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    _absent(service, driver)
    with store.write():
        free(service, store)
        count = store.release_addresses(service.id, config.worker["address_cool_down_h"] * 3600.0)
        records.adjust(store.service(service.id), store, config)
        for row in store.findings(service.id, dismissed=True):
            if row["kind"] == "leftover_address" and row["service"] == service.id:
                store.end_finding(row["id"])
    return f"{count} address(es) given back."


def _converge(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    driver.look(service.ref)
    return submit(finding, service, "converge", actor, store)


def _remove_snapshot(
    finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config
) -> str:
    name = finding["data"]["name"]
    if all(s.name != name or not s.broken for s in driver.snapshots(service.ref)):
        raise end(finding, store)
    return submit(finding, service, "delete_snapshot", actor, store, Memory(name=name))


FIXES: dict[str, Callable[[FindingRow, Service, Driver, str, Store, Config], str]] = {
    "suspended_but_running": _suspend,
    "leftover_vm": _terminate,
    "leftover_disk": _clean_up,
    "leftover_backup": _clean_up,
    "leftover_firewall": _clean_up,
    "leftover_snapshot": _clean_up,
    "leftover_floating": _clean_up,
    "leftover_address": _release,
    "differs_from_package": _converge,
    "firewall_off": _converge,
    "unfinished_snapshot": _remove_snapshot,
}
