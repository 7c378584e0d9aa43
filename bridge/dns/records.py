"""Which records a service shall have in the operator's zones: names of its addresses, and addresses of its names. No
call: what differs is written down, and the worker writes it out."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from bridge import names, zones
from bridge.config import Config
from bridge.errors import Refused
from bridge.model import Capability, Desired, Sentence, Service
from bridge.orders import addresses
from bridge.store import Store
from bridge.store.records import ADOPTED, RecordChanges, RecordFirst, RecordRow
from bridge.zones import Zone
from drivers import folder

log = structlog.get_logger()
PTR = "PTR"
NOT_HERE = Sentence("The name of this address is not kept here. Please write to us to have it changed.")
Key = tuple[str, str]  # (name, type) of a record


@dataclass(frozen=True)
class Want:
    """A record that a service shall have unless its customer chose otherwise; `value` is empty where it only may have
    one. `firm`: its address is known to be the service's by our own books, not by its guest's word."""

    zone: str
    address: str
    value: str
    firm: bool = True


@dataclass(frozen=True)
class Held:
    """One address of a service."""

    address: str
    role: str
    firm: bool


# -- who keeps what -------------------------------------------------------------------------------
def keeps(server: str, config: Config) -> bool:
    """Whether the reverse records of a server's machines are in zones of ours, and not the provider's."""
    return Capability.RDNS not in folder.load(str(config.servers[server]["driver"])).capabilities


def offered(service: Service, has: frozenset[Capability], config: Config) -> frozenset[Capability]:
    """What a server can do, reverse records among it where our own zones, or people, keep them."""
    if Capability.RDNS in has or not (config.dns or service.package.rdns_department):
        return has
    return has | {Capability.RDNS}


def held(service: Service, store: Store, config: Config) -> list[Held]:
    """The addresses that are the service's now: of our pools first, then those that a guest got by DHCP. Of the
    latter none that is somebody else's by our books: a guest may say anything."""
    addresses = [Held(r["address"], r["role"], True) for r in store.addresses_of(service.id) if r["role"] != "leaving"]
    known = {h.address for h in addresses}
    for text in service.birth.addresses:
        address = _single(str(text))
        if address and address not in known and _believed(address, service, store, config):
            addresses.append(Held(address, "main", False))
            known.add(address)
    return addresses


def _single(text: str) -> str:
    """One address; of a network the first that a guest has in it."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    many = network.num_addresses > 1 and "/" in text and ipaddress.ip_interface(text).ip == network.network_address
    return str(network.network_address + 1 if many else ipaddress.ip_interface(text).ip)


def _believed(address: str, service: Service, store: Store, config: Config) -> bool:
    if not keeps(service.server, config):
        return True  # the provider's word, not the guest's
    at = ipaddress.ip_address(address)
    taken = any(r["held"] and r["service"] != service.id for r in store.records_at(address))
    used = {p.gateway for p in config.pools.values()} | {d for p in config.pools.values() for d in p.dns}
    return not at.is_link_local and not taken and address not in used and addresses.pool_of(address, config) is None


# -- what it shall have ---------------------------------------------------------------------------
def wants(service: Service, store: Store, config: Config) -> dict[Key, Want]:
    """(name, type) -> what is to stand there for a service: PTR of each address that it holds, and the forward names
    that lead back."""
    own, all_zones = held(service, store, config), tuple(config.dns.values())
    wanted: dict[Key, Want] = {}
    rule = _rule(service, config)
    if keeps(service.server, config):
        for h in own:
            route, key = _route(h.address, service, config)
            if not route:
                continue
            name = default_of(service, h.address, config)
            wanted[key, PTR] = Want(route, h.address, name, h.firm)
            below = zones.zone_of_name(name, all_zones)
            if below and "{ip_dashed}" in rule:  # so the name leads back to the address
                wanted[name, _type(h.address)] = Want(below.name, h.address, h.address, h.firm)
    name, below = _forward(service, store, config)
    for h in reversed([h for h in own if h.role == "main"] if below else []):
        if below:
            wanted[name, _type(h.address)] = Want(below.name, h.address, h.address, h.firm)
    return wanted


def _route(address: str, service: Service, config: Config) -> tuple[str, str]:
    """(zone, or `ticket:` and a department, where the PTR of an address is kept; its record's name); empty where
    nobody keeps it."""
    zone, department = zones.zone_of(address, config.dns.values()), service.package.rdns_department
    if zone:
        return zone.name, zone.record(address)
    return f"{zones.TICKET}:{department}" if department else "", ipaddress.ip_address(address).reverse_pointer


def kept_here(service: Service, address: str, config: Config) -> bool:
    """Whether somebody keeps the name of an address for us: a zone, or a department."""
    return bool(_route(address, service, config)[0])


def _type(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _forward(service: Service, store: Store, config: Config) -> tuple[str, Zone | None]:
    """(name, zone) of the A and AAAA records of the service's own host name; None where it has none."""
    plan = config.plans.get(service.package.plan)
    said = str(plan.values["forward_zone"]) if plan else ""
    name = names.host_name(service.hostname, f"vm-{service.service_id}")
    if not said:
        zone = zones.zone_of_name(name, config.dns.values())
        for other in config.plans.values():  # names of addresses are nobody's to order
            if zone and other.values["ptr_name"].endswith(f".{zone.name}"):
                return "", None
        return name, zone
    zone = config.dns.get(said)
    if not name.endswith(f".{said}"):
        first = name.partition(".")[0]
        name = f"{first}.{said}"
        if any(_anothers(name, kind, service, store) for kind in ("A", "AAAA")):
            name = f"{first[:50]}-{service.service_id}.{said}"
    if any(zones.is_default(str(p.values["ptr_name"]), name) for p in config.plans.values()):
        return "", None  # it would lead away from the address that has this name
    return (name, zone) if len(name) <= zones.LONGEST else ("", None)


def _anothers(name: str, kind: str, service: Service, store: Store) -> bool:
    row = store.record(name, kind)
    return row is not None and bool(row["held"]) and row["service"] != service.id


def adjust(service: Service, store: Store, config: Config, adopted: bool = False) -> int:
    """Write down what is to be changed for the service as it is now; how many records that is. A repeat changes
    nothing, and is no write. With `adopted` the names that its addresses have already are its customer's."""
    if not _todo(service, store, config):
        return 0
    with store.write():
        todo = _todo(service, store, config, ADOPTED if adopted else 0)
        for act in todo:
            act()
    return len(todo)


def _todo(service: Service, store: Store, config: Config, own: int = 0) -> list[Callable[[], None]]:
    """What is to be done for a record so that it is as it is wanted."""
    wanted, rows = wants(service, store, config), {(r["name"], r["type"]): r for r in store.records_of(service.id)}
    todo: list[Callable[[], None]] = []
    for key, want in wanted.items():
        row = rows.get(key) or store.record(*key)
        if row and row["held"] and row["service"] == service.id:
            if values := _renewed(row, want):
                todo.append(partial(store.want_record, *key, **values))
        elif row is None or not row["held"] or (key[1] == PTR and want.firm):
            chosen = _chosen(want.address, key, rows)
            left = row is not None and row["service"] != service.id and _left_by_hand(row, want, config)
            holds: RecordFirst = {
                "zone": want.zone,
                "service": service.id,
                "address": want.address,
                "wanted": chosen or want.value,
                "chosen": int(bool(chosen) or left),
                "own": own if key[1] == PTR and want.firm else 0,
            }
            todo.append(partial(store.hold_record, *key, **holds))
    return todo + [partial(_drop, key, rows[key], store, config) for key in rows.keys() - wanted.keys()]


def _left_by_hand(row: RecordRow, want: Want, config: Config) -> bool:
    """Whether a name of a former holder stands where a person would have to remove it, and was not asked to."""
    zone = config.dns.get(want.zone)
    by_hand = zone.provider == zones.TICKET if zone else want.zone.startswith(f"{zones.TICKET}:")
    return by_hand and bool(row["ours"]) and not row["asked_at"]


def _chosen(address: str, key: Key, rows: Mapping[Key, RecordRow]) -> str:
    """What the customer chose for an address whose record is called otherwise now, since another zone holds it."""
    old = [r["wanted"] for r in rows.values() if r["address"] == address and r["chosen"]] if key[1] == PTR else []
    return str(old[0]) if old else ""


def _renewed(row: RecordRow, want: Want) -> RecordChanges:
    """What is another now of a row that the service has: what the customer chose stays."""
    values: RecordChanges = {}
    if not row["chosen"] and (row["wanted"], row["address"]) != (want.value, want.address):
        values = {"wanted": want.value, "address": want.address}
    if row["zone"] != want.zone and not (row["chosen"] and str(row["zone"]).startswith(f"{zones.TICKET}:")):
        values["zone"] = want.zone
    return values


def _drop(key: Key, row: RecordRow, store: Store, config: Config) -> None:
    """Where a person wrote it and a provider keeps the zone, the provider removes it."""
    store.drop_record(*key)
    zone = zones.zone_of(str(row["address"]), config.dns.values()) if key[1] == PTR else None
    if zone and zone.name != row["zone"] and zone.record(str(row["address"])) == key[0]:
        store.want_record(*key, zone=zone.name)


def sweep(store: Store, config: Config, server: str = "") -> int:
    """Every living service, for what changed without an order: addresses by DHCP, the configuration. How many records
    changed."""
    changed = 0
    for name in [server] if server else list(config.servers):
        for service in store.services_of(name) if config.dns or store.has_records() else ():
            if service.desired is not Desired.TERMINATED:
                changed += adjust(service, store, config)
    for row in store.records_without_service():
        _drop((row["name"], row["type"]), row, store, config)
        changed += 1
    return changed


# -- the customer's wish --------------------------------------------------------------------------
def wish(service: Service, address: str, name: str, store: Store, config: Config) -> None:
    """What the customer wants as the name of an address; empty: the default one, or none. Written soon by the worker.
    Raises Refused."""
    with store.write():
        mine = {h.address: h for h in held(service, store, config)}
        if address not in mine:
            raise Refused(
                Sentence("%(address)s is not an address of your server.", address=address), code="not_own_address"
            )
        route, record = _route(address, service, config)
        department = service.package.rdns_department
        if not route:
            raise Refused(NOT_HERE, code="no_zone")
        row, value = store.record(record, PTR), name.lower() or default_of(service, address, config)
        by_hand = department or (route in config.dns and config.dns[route].provider == zones.TICKET)
        chosen, firm = int(bool(name or by_hand)), mine[address].firm
        if row is None or not row["held"] or row["service"] != service.id:
            if row is not None and row["held"] and not firm:
                raise Refused(NOT_HERE, code="no_zone")
            store.hold_record(record, PTR, zone=route, service=service.id, address=address, wanted="")
        elif row["asked_at"] and not row["refused"] and (row["wanted"], row["chosen"]) == (value, chosen):
            return  # asked for already
        # of an address by a guest's word nobody else's record is replaced
        route = f"{zones.TICKET}:{department}" if department else route
        store.want_record(record, PTR, zone=route, wanted=value, chosen=chosen, own=int(firm))


def _rule(service: Service, config: Config) -> str:
    plan = config.plans.get(service.package.plan)
    return str(plan.values["ptr_name"]) if plan else ""


def default_of(service: Service, address: str, config: Config) -> str:
    """The name that an address has by its plan; empty without one, and where a person would have to write it."""
    zone = zones.zone_of(address, config.dns.values())
    if zone is None or zone.provider == zones.TICKET:
        return ""
    return zones.default_name(_rule(service, config), address, service.hostname, service.service_id, service.client_id)
