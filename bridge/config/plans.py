"""[plans.<name>]: keys of ours and of the driver's own, and what a plan must agree with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError, fields, validate

from bridge import names, zones
from bridge.config.reader import Reader
from bridge.config.schemas import ISO_NAMES, URL, Strict
from bridge.model import BY_CAPABILITY, HIDEABLE, LIMITS, PERMISSIONS, SELLABLE
from drivers import folder


def _name_rule(value: str) -> None:
    if names.unknown_macros(value):
        raise ValidationError(f"{', '.join(names.unknown_macros(value))} is not one of: {', '.join(names.MACROS)}.")


def _pointer_rule(value: str) -> None:
    if fault := zones.rule_fault(value):
        raise ValidationError(fault)


def _web_address(value: str) -> None:
    if value:
        URL(value)


def _ssh_keys(value: str) -> None:
    bad = names.bad_ssh_keys(value)
    if bad:
        raise ValidationError(f"Line {bad[0]} is not a public SSH key.")


def _limit() -> fields.Int:
    return fields.Int(load_default=0, validate=validate.Range(0, 1_000_000))


class PlanSchema(Strict.from_dict({word: _limit() for word in LIMITS}, name="Limits")):  # type: ignore[misc]
    server = fields.Str(required=True)
    cores = fields.Int(required=True, validate=validate.Range(1, 512))
    ram_mib = fields.Int(required=True, validate=validate.Range(64, 16 * 1024 * 1024))
    disk_gib = fields.Int(required=True, validate=validate.Range(1, 65536))
    rate_mbit = fields.Int(load_default=0, validate=validate.Range(0, 1_000_000))
    pools = fields.List(fields.Str(), load_default=list)
    templates = fields.List(fields.Str(), required=True, validate=validate.Length(min=1))
    allow = fields.List(fields.Str(validate=validate.OneOf((*PERMISSIONS, *HIDEABLE))), load_default=list)
    hide = fields.List(fields.Str(validate=validate.OneOf(HIDEABLE)), load_default=list)
    system_names = fields.Dict(keys=fields.Str(), values=fields.Str(validate=validate.Length(1, 60)), load_default=dict)
    show_node = fields.Bool(load_default=False)  # customers see the operator's node
    snapshots = fields.Int(load_default=0, validate=validate.Range(0, 100))
    snapshot_lifetime_h = fields.Int(load_default=0, validate=validate.Range(0, 87600))
    snapshot_memory = fields.Bool(load_default=None)  # without it: true where the driver delivers it
    ways_in = fields.List(
        fields.Int(validate=validate.Range(1, 65535)), load_default=[22, 3389], validate=validate.Length(1, 16)
    )  # ports by which customers come to their servers: what shuts one of them out is a trial
    firewall_rules = fields.Int(load_default=50, validate=validate.Range(1, 500))  # of the customer's own
    backups = fields.Int(load_default=0, validate=validate.Range(0, 1000))
    keep_backups = fields.Bool(load_default=False)
    rotation = fields.Str(load_default="safe", validate=validate.OneOf(["safe", "oldest_first"]))
    time_zone = fields.Str(load_default="UTC")
    retired = fields.Bool(load_default=False)  # not in the product's drop-down any more; its services live on
    manual_url = fields.Str(load_default="", validate=_web_address)  # shown as "User manual"
    additional_disk_gib = fields.Int(load_default=0, validate=validate.Range(0, 65536))
    dhcp4 = fields.Bool(load_default=False)
    dhcp6 = fields.Bool(load_default=False)
    os_user = fields.Str(
        load_default="root",
        validate=validate.Regexp(
            r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}\Z", error="must be a user's name: letters, digits, _ . -, 32 at most"
        ),
    )
    extra_ipv4 = fields.Int(load_default=0, validate=validate.Range(0, 256))
    extra_ipv6 = fields.Int(load_default=0, validate=validate.Range(0, 256))
    locations = fields.List(fields.Str(), load_default=list)
    vm_name = fields.Str(load_default="", validate=_name_rule)
    ssh_keys = fields.Str(load_default="", validate=_ssh_keys)
    ssh_keys_field = fields.Str(load_default="")
    ptr_name = fields.Str(load_default="", validate=_pointer_rule)  # default name of each address in reverse DNS
    forward_zone = fields.Str(load_default="")  # where host names get A and AAAA; empty: the domain's own zone
    isos = fields.List(fields.Str(validate=ISO_NAMES), load_default=list)  # offered beside those of [isos]


@dataclass(frozen=True)
class Plan:
    name: str
    server: str
    pools: tuple[str, ...]
    templates: tuple[str, ...]
    allow: tuple[str, ...]
    values: dict[str, Any]
    driver_values: dict[str, Any]


def plan_of(r: Reader, name: str, raw: Any, tables: dict[str, Any]) -> Plan | None:
    """One plan with its server and pools; None when too little of it is sound. Its faults are in `r`, by their
    paths."""
    path = f"plans.{name}"
    if not isinstance(raw, dict):
        r.fault(path, "not_a_table", "must be a table")
        return None
    server = raw.get("server")
    if server is not None and server not in tables["servers"]:
        r.fault(f"{path}.server", "unknown_server", f"there is no [servers.{server}]")
    for i, pool in enumerate(raw.get("pools") or ()):
        if pool not in tables["pools"]:
            r.fault(f"{path}.pools[{i}]", "unknown_pool", f"there is no [pools.{pool}]")
    settings = tables["servers"].get(str(server))
    driver = str(settings.get("driver", "")) if isinstance(settings, dict) else ""
    known = (
        driver in folder.names()
    )  # else that fault is told where it stands, and of the driver's keys only the names are checked
    schema = folder.load(driver).plan_schema() if known else None
    pins = folder.load(driver).pins_templates if known else True
    own = set(schema.fields) if schema else folder.words("plan_schema") - set(PlanSchema().fields)
    general = r.load(PlanSchema(), {k: v for k, v in raw.items() if k not in own}, path, own)
    special = r.load(schema, {k: v for k, v in raw.items() if k in own}, path) if schema else None
    if known:
        given = {k: v for k, v in (general or r.sound.get(path, {})).items() if k in raw}
        _delivered(r, path, given, driver)
    ids = _template_ids(r, path, (general or r.sound.get(path, {})).get("templates") or [], pins)
    if general is None or special is None:
        r.sound[path] = {**(general or {}), **(special or {}), **r.sound.get(path, {})}
        return None
    if general["snapshot_memory"] is None:
        general["snapshot_memory"] = "snapshot_memory" in folder.load(driver).delivered()
    return Plan(
        name=name,
        server=general["server"],
        pools=tuple(general["pools"]),
        templates=tuple(ids),
        allow=(*general["allow"], *(c for c in HIDEABLE if c not in (*general["hide"], *general["allow"]))),
        values=general,
        driver_values={**special, **({"template_ids": {k: v for k, v in ids.items() if v}} if pins else {})},
    )


def check_zone(r: Reader, name: str, plan: Plan | None, dns: dict[str, Any]) -> None:
    """The zone that a plan names for its servers' host names is one of [dns]."""
    zone = (plan.values if plan else r.sound.get(f"plans.{name}", {})).get("forward_zone")
    if zone and (zone not in dns or (dns[zone] and dns[zone].network is not None)):
        known = ", ".join(z for z, v in dns.items() if not v or v.network is None) or "none"
        text = f'there is no [dns."{zone}"] for host names; found: {known}'
        r.fault(f"plans.{name}.forward_zone", "unknown_zone", text)


def _delivered(r: Reader, path: str, given: dict[str, Any], driver: str) -> None:
    """What a plan sells and its server's driver would never set, each by its name."""
    delivered, schema = folder.load(driver).delivered(), PlanSchema().fields
    can = ", ".join(sorted(delivered)) or "none of the words that a plan may add"
    for key, value in given.items():
        word = "ssh_keys" if key == "ssh_keys_field" else key
        if word in delivered or word not in (*SELLABLE, *BY_CAPABILITY):
            continue
        nothing = schema[key].load_default
        if value not in (False, nothing() if callable(nothing) else nothing):
            text = f"driver {driver!r} does not deliver this, so no plan can sell it: drop the line; it delivers {can}"
            r.fault(f"{path}.{key}", "not_delivered", text)


def _template_ids(r: Reader, path: str, templates: list[str], pins: bool) -> dict[str, list[str]]:
    """Name -> the ids it is bound to, from `name` and `name@id`; people see the name alone."""
    ids: dict[str, list[str]] = {}
    for i, text in enumerate(templates):
        name, at, own = text.partition("@")
        if not name or (at and not (own.isascii() and own.isdigit())):
            r.fault(f"{path}.templates[{i}]", "invalid", f"{text!r} must be NAME or NAME@ID, e.g. debian-12@9000")
        elif at and not pins:
            r.fault(f"{path}.templates[{i}]", "invalid", f"{text!r}: systems have no ids here; write {name!r}")
        else:
            ids.setdefault(name, []).extend([own] if at else [])
    for name in {t.partition("@")[0] for t in templates if "@" in t} & set(templates):
        r.fault(f"{path}.templates", "invalid", f"{name!r} stands with an id and without: drop the one without")
    return ids


def check_networks(r: Reader, name: str, plan: Plan | None, pools: dict[str, Any], driver: str) -> None:
    """A family comes from a pool or by DHCP, not both; extra addresses need a pool. Of a plan with other faults what is
    right is taken."""
    values = {**plan.values, **plan.driver_values} if plan else r.sound.get(f"plans.{name}", {})
    named = [p for p in values.get("pools") or () if isinstance(p, str)]
    provides = not driver or folder.load(driver).late_addresses  # then they are the provider's own
    families = {pools[p]["gateway"].version for p in named if pools.get(p)}
    unclear = any(not pools.get(p) for p in named)  # a pool that is missing or has faults of its own
    for family in (4, 6):
        if values.get(f"dhcp{family}") and family in families:
            r.fault(
                f"plans.{name}.dhcp{family}", "dhcp_and_pool", f"the plan has an IPv{family} pool too: drop one of them"
            )
        if values.get(f"extra_ipv{family}") and family not in families and not provides and not unclear:
            r.fault(f"plans.{name}.extra_ipv{family}", "no_pool", f"the plan has no IPv{family} pool to take them from")
