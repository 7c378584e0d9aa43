"""What a change of package means for a service: what would change, what cannot, and the order itself. No upstream
calls: the machine's side is what was last read of it."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.config import Config
from bridge.errors import Refused
from bridge.model import Desired, Difference, Lack, Memory, Package, Restart, Sentence, Service
from bridge.orders import addresses, packages
from bridge.orders.wanted import completed, order_of, thawed
from bridge.store import Store
from drivers.base import Driver

LABELS = {
    "cores": Sentence("CPU cores"),
    "ram_mib": Sentence("RAM"),
    "disk_gib": Sentence("System disk"),
    "additional_disk_gib": Sentence("Additional disk"),
    "rate_mbit": Sentence("Network"),
    "extra_ipv4": Sentence("Extra IPv4 addresses"),
    "extra_ipv6": Sentence("Extra IPv6 addresses"),
    "mac": Sentence("MAC address"),
    "bridge": Sentence("Bridge"),
    "vlan": Sentence("VLAN"),
    "address": Sentence("Address set-up"),
    "backups": Sentence("Backups"),
    "name": Sentence("Name"),
    "disk_read_mib_s": Sentence("System disk read limit"),
    "disk_write_mib_s": Sentence("System disk write limit"),
    "disk_read_iops": Sentence("System disk read IOPS"),
    "disk_write_iops": Sentence("System disk write IOPS"),
    "additional_disk_read_mib_s": Sentence("Additional disk read limit"),
    "additional_disk_write_mib_s": Sentence("Additional disk write limit"),
    "additional_disk_read_iops": Sentence("Additional disk read IOPS"),
    "additional_disk_write_iops": Sentence("Additional disk write IOPS"),
}
UNITS = {"ram_mib": "MiB", "disk_gib": "GiB", "additional_disk_gib": "GiB", "rate_mbit": "Mbit/s"}


@dataclass(frozen=True)
class Preview:
    """What `change_package` to `package` would do. `refused` are sentences; when there is one, nothing would be
    done."""

    package: Package
    changes: tuple[Difference, ...]
    refused: tuple[str, ...]
    warnings: tuple[str, ...] = ()  # of options without effect, for staff
    notes: tuple[str, ...] = ()  # of single changes
    details: tuple[str, ...] = ()  # of what is refused, for staff

    @property
    def restart(self) -> Restart:
        restarts = {c.restart for c in self.changes if not c.refused}
        return next((r for r in (Restart.NOW, Restart.LATER) if r in restarts), Restart.NONE)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the customer has to know before it is ordered. A restart by the operation brings what waits for one
        too."""
        if self.refused:
            return ()
        if self.restart is Restart.NOW:
            return (OFF_AND_ON, *self.notes)
        waiting = [label(c) for c in self.changes if c.restart is Restart.LATER]
        return (*self.notes, Sentence(AT_NEXT_RESTART.template, what=_listed(waiting))) if waiting else self.notes


def label(row: Difference) -> str:
    """What people call it."""
    return LABELS.get(row.word) or row.label or row.word


OFF_AND_ON = Sentence(
    "When the order is carried out, your server is switched off and on again. It cannot be reached for some minutes."
)
AT_NEXT_RESTART = Sentence(
    "Your server is not restarted for this. These changes take effect when you restart it from its page: %(what)s."
)
NO_ROOM = Sentence("There is not enough room for this where your server is now: %(what)s.")
LESS = {
    4: Sentence("%(count)s of the server's extra IPv4 addresses will be taken away."),
    6: Sentence("%(count)s of the server's extra IPv6 addresses will be taken away."),
}


def _listed(words: Sequence[str]) -> Sentence:
    """Words as a list in the reader's language."""
    first, *more = (w if isinstance(w, Sentence) else Sentence(w) for w in words)
    return Sentence("%(first)s, %(more)s", first=first, more=_listed(more)) if more else first


def amount(word: str, value: Any) -> str:
    """A value with its unit; 0 and nothing as what they mean."""
    if value in ("", None):
        return "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value == 0 and word not in ("vlan", "cores"):
        return "none" if word.endswith(("disk_gib", "ipv4", "ipv6")) else "unlimited"
    if not isinstance(value, (int, float)):
        return str(value)
    unit = UNITS.get(word, "MiB/s" if word.endswith("mib_s") else "MiB" if word.endswith("_mib") else "")
    return f"{value} {unit}".strip()


def preview(service: Service, params: dict[str, Any], driver: Driver, store: Store, config: Config) -> Preview:
    """Raises as packages.resolve does when the wish itself is wrong."""
    resolved = packages.resolve(params, service.server, config, service.package)
    package = resolved.package
    rows = rows_of(thawed(service, package), driver, store, config)
    changes = [r for r in rows if not r.same and not r.kept and not _standing(r, service.package, package)]
    for family in (4, 6):
        word = f"extra_ipv{family}"
        before, after = getattr(service.package, word), getattr(package, word)
        if before != after:
            taken = Sentence(LESS[family].template, count=before - after) if after < before else ""
            changes.append(Difference(word, after, before, False, warning=taken))
    if service.desired is not Desired.ACTIVE:  # the operation then leaves its power alone
        changes = [replace(c, restart=Restart.NONE) for c in changes]
    refused = [*(r.refused for r in changes if r.refused), *_refused(service, package, store, config)]
    lack = _lack(replace(service, package=package), driver, store, config)
    if lack:
        refused.append(Sentence(NO_ROOM.template, what=LABELS.get(lack.word, Sentence(lack.word))))
    return Preview(
        package,
        tuple(changes),
        tuple(dict.fromkeys(refused)),
        resolved.warnings,
        (*(c.warning for c in changes if c.warning), *resolved.notices),
        (lack.detail,) if lack else (),
    )


def _standing(row: Difference, before: Package, after: Package) -> bool:
    """A refusal that this order does not touch: a disk that nobody sold, or that staff made bigger, refuses no
    cores."""
    nothing = object()
    return bool(row.refused) and getattr(before, row.word, nothing) == getattr(after, row.word, None)


def rows_of(service: Service, driver: Driver, store: Store, config: Config) -> list[Difference]:
    """The package beside the machine as last read; beside the package it was ordered with before the first reading."""
    seen, _ = store.seen(service.id)
    if not seen:
        return []
    row = store.status_row(service.server, service.vm_id)
    return driver.compare(order_of(service, store, config), seen, row is None or row["status"] != "stopped")


def beside_order(service: Service, driver: Driver, store: Store, config: Config) -> list[Difference]:
    """How an adopted machine differs from the package of its plan: what an explicit Converge writes, and what it
    cannot."""
    return [r for r in rows_of(thawed(service), driver, store, config) if not r.same]


ROOM_KNOWN = 900.0  # seconds for which the hosts are believed to be as they were read


def _lack(service: Service, driver: Driver, store: Store, config: Config) -> Lack | None:
    """Why the machine cannot grow to its package where it stands; None when it can, or when nothing fresh is known: the
    operation looks again before it writes."""
    row, (seen, _) = store.resources(service.server), store.seen(service.id)
    if row is None or not seen or row["read_at"] < store.clock.now() - ROOM_KNOWN:
        return None
    planned = [replace(p, package=completed(p.package, config)) for p in store.planned_room(service.server)]
    order = order_of(service, store, config)
    return driver.lacks(order, seen, service.ref, row["data"], planned, store.sold_room(service.server))


def _refused(service: Service, package: Package, store: Store, config: Config) -> list[str]:
    """What cannot be done whatever the machine looks like."""
    old = service.package
    reasons: list[str] = []
    read = bool(store.seen(service.id)[0])  # once the machine was read, it and not the order says what cannot shrink
    if not read and package.disk_gib < old.disk_gib:
        reasons.append(
            Sentence(
                "The system disk has %(size)s GiB and cannot shrink to %(wanted)s GiB.",
                size=old.disk_gib,
                wanted=package.disk_gib,
            )
        )
    if not read and package.additional_disk_gib < old.additional_disk_gib:
        reasons.append(
            Sentence(
                "The additional disk has %(size)s GiB and cannot shrink to %(wanted)s GiB.",
                size=old.additional_disk_gib,
                wanted=package.additional_disk_gib,
            )
        )
    if package.location and package.location != service.node and package.location != old.location:
        reasons.append(
            Sentence(
                "The server is in %(place)s; it cannot move to %(wanted)s.",
                place=service.node or old.location,
                wanted=package.location,
            )
        )
    plan = config.plans[package.plan]
    mains = [r for r in store.addresses_of(service.id) if r["role"] == "main"]
    for row in mains:
        if row["pool"] not in plan.pools:
            reasons.append(
                f"Its address {row['address']} is from pool {row['pool']!r}, which plan {plan.name!r} does not have."
            )
    have = {ipaddress.ip_address(r["address"]).version for r in mains}
    missing = {config.pools[p].family for p in plan.pools} - have
    if missing and have:
        reasons.append(f"Plan {plan.name!r} needs an IPv{min(missing)} address, which the server was not made with.")
    reasons += [text for family in (4, 6) if (text := addresses.lacking(service.id, package, family, store, config))]
    for word in ("dhcp4", "dhcp6"):
        if getattr(package, word) != getattr(old, word):
            reasons.append(f"Plan {plan.name!r} gets its address in another way ({word}).")
    return reasons


def order(service: Service, wanted: Preview, actor: str, store: Store, config: Config) -> str:
    """Write the package, take and mark addresses, queue the work: one transaction. Returns the operation."""
    open_now = store.newest_open(service.id)
    if open_now and open_now.kind == "change_package" and wanted.package == service.package:
        return open_now.id  # the same order again, still under way
    for kind in ("disk_bigger_than_sold", "no_room"):
        store.set_findings(service.server, kind, [], _ordered(service), _ordered(service))
    addresses.adjust(service.id, wanted.package, store, config)
    store.update_service(service.id, package=wanted.package, birth=thawed(service).birth)
    tell_unknown_options(wanted.warnings, service, store)
    return store.submit(service.id, "change_package", actor, Memory(warnings=wanted.warnings))


def _ordered(service: Service) -> str:
    """Subject of the finding about an order that was refused: it lasts until an order fits, whatever sweeps see."""
    return f"order of {service.id}"


def refuse(service: Service, wanted: Preview, store: Store) -> Refused:
    """Tell staff, since it may have been paid for, and keep a finding where the machine has more disk than is sold; the
    error to raise."""
    sentence = " ".join(wanted.refused)
    why = " ".join([*wanted.refused, *wanted.details])
    text = f"WHMCS ordered a package that the machine cannot have: {why} Nothing was changed."
    with store.write():
        if any("shrink" in t for t in wanted.refused):
            store.find(
                service.server,
                service.id,
                "disk_bigger_than_sold",
                _ordered(service),
                text,
                "Sell the bigger package again, or move the customer's data to a smaller server by hand.",
                {},
            )
        if wanted.details:
            store.find(
                service.server,
                service.id,
                "no_room",
                _ordered(service),
                text,
                "Make room there or move the machine, then run Change Package in WHMCS again.",
                {},
            )
        store.emit(
            "staff_notice",
            service.whmcs,
            service.id,
            f"refused:{service.id}:{zlib.crc32(sentence.encode())}",
            subject=f"vmbridge: change_package of service {service.service_id} was refused",
            text=text,
            reference=f"service {service.service_id}",
            service_id=service.service_id,
        )
    return Refused(f"{why} Nothing was changed.", code="cannot_change")


def tell_unknown_options(warnings: Sequence[str], service: Service, store: Store) -> None:
    """An option that customers pay for and nobody delivers: staff hears of each once."""
    for warning in warnings:
        store.emit(
            "staff_notice",
            service.whmcs,
            service.id,
            f"option:{service.whmcs}:{zlib.crc32(warning.encode())}",
            subject="vmbridge: an ordered option has no effect",
            text=f"{warning} Service {service.service_id}.",
            reference=f"service {service.service_id}",
            service_id=service.service_id,
        )
