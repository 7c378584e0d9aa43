"""Plan + product options + configurable options -> Package. Later ones win; a wrong value is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bridge import names
from bridge.amounts import RANGES, Written, number, plain, read, shown
from bridge.config import Config, Plan, fold
from bridge.errors import BadRequest, NotBuilt, Refused
from bridge.model import LIMITS, OPTION_UNITS, PERMISSIONS, Package, Sentence

UNBUILT = {i: f"option {i}" for i in range(15 + len(PERMISSIONS), 25)}  # of the 24 that WHMCS has
POSITIONS = {
    1: "plan",
    2: "location",
    3: "OS templates",
    4: "cores",
    5: "RAM GiB",
    6: "system disk GiB",
    7: "additional disk GiB",
    8: "network Mbit/s",
    9: "extra IPv4",
    10: "extra IPv6",
    11: "backup quota",
    12: "snapshot quota",
    13: "snapshot lifetime h",
    14: "reverse-DNS ticket department",
    **{15 + i: f"permission {name}" for i, name in enumerate(PERMISSIONS)},
    **UNBUILT,
}
WORDS = {
    2: "location",
    4: "cores",
    5: "ram_gib",
    6: "disk_gib",
    7: "additional_disk_gib",
    8: "rate_mbit",
    9: "extra_ipv4",
    10: "extra_ipv6",
    11: "backups",
    12: "snapshots",
    13: "snapshot_lifetime_h",
}
ALWAYS = ("cores", "ram_gib", "disk_gib")  # every back end has them
LONGEST_DEPARTMENT = 100
STAYS = Sentence("The operating system stays as it is: this order does not change it.")


@dataclass(frozen=True)
class Resolved:
    """`warnings` are sentences for the operation log, `notices` for who orders it."""

    package: Package
    warnings: tuple[str, ...] = ()
    notices: tuple[Sentence, ...] = ()


def value_of(text: Any) -> str:
    """`4|4 vCPU` -> `4`."""
    return str(text if text is not None else "").partition("|")[0].strip()


def label_of(text: Any) -> str:
    """`4|4 vCPU` -> `4 vCPU`."""
    return str(text if text is not None else "").partition("|")[2].strip()


def _number(given: Written) -> str:
    """A number in its word's own unit, as a text; other words' values as they are."""
    return plain(Decimal(read(given))) if given.word in RANGES else given.text


def resolve(params: dict[str, Any], server: str, config: Config, before: Package | None = None) -> Resolved:
    """What is sold. `before`: the package of a service that exists keeps its template's and keys' birth values.

    Raises BadRequest, NotBuilt or Refused naming the option and the allowed values.
    """
    for table in ("configoptions", "customfields"):
        if not isinstance(params.get(table) or {}, dict):
            raise BadRequest(f"{table}: must be an object of names and values.", code="bad_option")
    product = {i: value_of(params.get(f"configoption{i}")) for i in range(1, 25)}
    plan = _plan(product[1], server, config)
    unbuilt = [POSITIONS[i] for i in UNBUILT if product[i] not in ("", "0")]
    chosen, warnings, later = _configurable(params.get("configoptions") or {}, config)
    unbuilt += later
    if unbuilt:
        raise NotBuilt(f"This cannot be delivered yet: {', '.join(unbuilt)}. Leave it blank or 0.", code="not_built")
    values = {
        word: (POSITIONS[i], _number(Written(POSITIONS[i], word, product[i], label_of(params.get(f"configoption{i}")))))
        for i, word in WORDS.items()
        if product[i] != ""
    } | chosen
    if apart := _apart(values, plan, config):
        raise NotBuilt(
            f"This comes with plan {plan.name!r} and cannot be ordered beside it: {', '.join(apart)}. Leave it blank.",
            code="not_built",
        )
    _backups(values, plan, config)
    templates = _templates(product[3], plan)
    notices: tuple[Sentence, ...] = ()
    if before is not None and "template" in values and values["template"][1] != before.template:
        if "template" in chosen:
            notices = (STAYS,)
        warnings.append(
            f"{values['template'][0]} says {values['template'][1]!r}: a system is changed by a reinstall, not by a"
            " change of package."
        )
    package = Package(
        plan=plan.name,
        server=server,
        template=_template(values.pop("template", None), templates, before),
        templates=templates,
        location=_location(values.pop("location", None), plan),
        permissions=_permissions(product, plan),
        options=dict(plan.driver_values),
        rdns_department=_department(product[14]),
        ssh_keys=before.ssh_keys if before else _ssh_keys(plan, params.get("customfields") or {}),
        **_numbers(values, plan, config.driver(plan.server).delivered()),
    )
    return Resolved(package, tuple(warnings), notices)


def _plan(name: str, server: str, config: Config) -> Plan:
    plan = config.plans.get(name)
    if plan is None:
        known = (
            ", ".join(sorted(p for p, v in config.plans.items() if v.server == server))
            or f"none (server {server!r} has no plans)"
        )
        raise BadRequest(f"plan: {shown(name)} is not one of: {known}.", code="unknown_plan")
    if plan.server != server:
        raise Refused(
            f"The access hash of the product's server is {server[:60]!r}, but plan {plan.name!r} belongs to server"
            f" {plan.server!r}.",
            code="plan_server_mismatch",
        )
    return plan


def _configurable(given: dict[str, Any], config: Config) -> tuple[dict[str, tuple[str, str]], list[str], list[str]]:
    """(word -> (name as people know it, value), warnings, what is not built)."""
    chosen: dict[str, tuple[str, str]] = {}
    warnings, unbuilt = [], []
    for name, raw in given.items():
        word, value, label = (
            config.options.get(fold(name)),
            value_of(raw),
            f"configurable option {shown(value_of(name))}",
        )
        if word is None:
            warnings.append(f"{label} is not in the table [options]; its value {shown(value)} has no effect.")
        elif word in UNBUILT.values() and value not in ("", "0"):
            unbuilt.append(label)
        elif word and word not in UNBUILT.values() and value != "":
            word, times = OPTION_UNITS.get(word, (word, Decimal(1)))
            value = _number(Written(label, word, value, label_of(raw), times, fold(name) in config.guessed))
            if word in chosen and chosen[word][1] != value:
                raise BadRequest(
                    f"{label}: says {shown(value)}, but {chosen[word][0]} says {shown(chosen[word][1])} of the same"
                    " thing.",
                    code="bad_option",
                )
            chosen[word] = (label, value)
    return chosen, warnings, unbuilt


def _numbers(values: dict[str, tuple[str, str]], plan: Plan, delivered: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Fields of the package: the plan's, overridden by what was ordered. A word that the server's driver does not
    deliver is refused."""
    ordered = {word: number(name, word, text) for word, (name, text) in values.items()}
    foreign = [values[w][0] for w, v in ordered.items() if w not in delivered and w not in ALWAYS and v]
    if foreign:
        words = ", ".join(sorted({*delivered, *ALWAYS} & {*WORDS.values(), *LIMITS}))
        raise NotBuilt(
            f"A server of plan {plan.name!r} cannot have this: {', '.join(foreign)}. Leave it blank or 0. It can"
            f" have: {words}.",
            code="not_built",
        )
    ram = ordered.pop("ram_gib", None)
    merged = {**plan.values, **ordered}
    fields = (
        "cores",
        "disk_gib",
        "rate_mbit",
        "additional_disk_gib",
        "extra_ipv4",
        "extra_ipv6",
        "backups",
        "snapshots",
        "snapshot_lifetime_h",
    )
    return {
        **{f: int(merged.get(f, 0)) for f in fields},
        "ram_mib": int(ram * 1024) if ram else merged["ram_mib"],
        **{f: plan.values[f] for f in ("dhcp4", "dhcp6", "os_user")},
        "limits": {w: int(merged[w]) for w in LIMITS if merged.get(w)},
    }


def _apart(values: dict[str, tuple[str, str]], plan: Plan, config: Config) -> list[str]:
    """Options that say something else than the plan of a word that its server only sells with it."""
    fixed = config.driver(plan.server).fixed
    sold = {**plan.driver_values, **plan.values, "ram_gib": Decimal(plan.values["ram_mib"]) / 1024}
    return [
        name for word, (name, text) in values.items() if word in fixed and number(name, word, text) != sold.get(word, 0)
    ]


def _backups(values: dict[str, tuple[str, str]], plan: Plan, config: Config) -> None:
    """A provider that makes them by itself keeps a number of its own, or none."""
    slots = config.driver(plan.server).own_backups
    if slots and "backups" in values and values["backups"][1] not in ("0", str(slots)):
        raise BadRequest(
            f"{values['backups'][0]}: {shown(values['backups'][1])} is not one of: 0, {slots} (the provider keeps"
            f" {slots}).",
            code="bad_option",
        )


def _templates(text: str, plan: Plan) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(t.strip() for t in text.split(",") if t.strip())) or plan.templates
    for template in wanted:
        if template not in plan.templates:
            raise BadRequest(
                f"OS templates: {shown(template)} is not one of: {', '.join(plan.templates)}.", code="bad_option"
            )
    return wanted


def _template(chosen: tuple[str, str] | None, templates: tuple[str, ...], before: Package | None) -> str:
    if chosen is None or before is not None:
        return before.template if before else templates[0]
    if chosen[1] not in templates:
        raise BadRequest(f"{chosen[0]}: {shown(chosen[1])} is not one of: {', '.join(templates)}.", code="bad_option")
    return chosen[1]


def _location(chosen: tuple[str, str] | None, plan: Plan) -> str:
    if chosen is None or chosen[1] == "0":
        return ""
    allowed = plan.values["locations"]
    if chosen[1] not in allowed:
        raise BadRequest(
            f"{chosen[0]}: {shown(chosen[1])} is not one of:"
            f" {', '.join(allowed) or f'none (plan {plan.name!r} has no locations)'}.",
            code="bad_option",
        )
    return chosen[1]


def _department(text: str) -> str:
    """Of WHMCS's support, by name or number; empty: none."""
    if len(text) > LONGEST_DEPARTMENT or not text.isprintable():
        raise BadRequest(
            f"{POSITIONS[14]}: {shown(text)} must be a support department's name or number,"
            f" at most {LONGEST_DEPARTMENT} characters.",
            code="bad_option",
        )
    return "" if text == "0" else text.strip()


def _ssh_keys(plan: Plan, fields: dict[str, Any]) -> str:
    name = plan.values["ssh_keys_field"]
    own = "\n".join(str(v or "") for k, v in fields.items() if name and fold(k) == fold(name))
    bad = names.bad_ssh_keys(own)
    if bad:
        raise BadRequest(
            f"{name}: line {bad[0]} is not a public SSH key (ssh-ed25519, ssh-rsa or ecdsa).", code="bad_ssh_key"
        )
    return names.ssh_keys(plan.values["ssh_keys"], own)


def _permissions(options: dict[int, str], plan: Plan) -> dict[str, str]:
    granted = {}
    for i, name in enumerate(PERMISSIONS):
        value = options.get(15 + i, "") or "plan"
        if value not in ("plan", "allow", "deny"):
            raise BadRequest(f"permission {name}: {shown(value)} must be plan, allow or deny.", code="bad_option")
        granted[name] = value
    return granted


def of_plan(plan: Plan) -> Package:
    """The plan as a package, without a product's options."""
    return Package(
        plan=plan.name,
        server=plan.server,
        template=plan.templates[0],
        templates=plan.templates,
        options=dict(plan.driver_values),
        ssh_keys=names.ssh_keys(plan.values["ssh_keys"]),
        **_numbers({}, plan),
    )


def plans_of(server: str, config: Config) -> dict[str, str]:
    """Plans of one server with a line for people."""
    return {
        p.name: f"{p.name}: {p.values['cores']} cores, {p.values['ram_mib'] / 1024:g} GiB RAM, {p.values['disk_gib']}"
        " GiB disk"
        for p in config.plans.values()
        if p.server == server and not p.values["retired"]
    }
