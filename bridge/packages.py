"""Plan + product options + configurable options -> Package. Refuses what is not built, by name."""

from __future__ import annotations

from typing import Any

from bridge.config import Config, Plan
from bridge.errors import BadRequest, NotBuilt, Refused
from bridge.model import PERMISSIONS, Package

POSITIONS = {
    1: "plan", 2: "location", 3: "OS templates", 4: "cores", 5: "RAM GiB", 6: "system disk GiB",
    7: "additional disk GiB", 8: "network Mbit/s", 9: "extra IPv4", 10: "extra IPv6", 11: "backup quota",
    12: "snapshot quota", 13: "snapshot lifetime h", 14: "reverse-DNS ticket department",
    **{15 + i: f"permission {name}" for i, name in enumerate(PERMISSIONS)}, 24: "option 24",
}
NUMBERS = {4: (1, 512), 5: (1, 16384), 6: (1, 65536), 8: (0, 1_000_000)}
UNBUILT = (2, 7, 9, 10, 11, 12, 13, 14, 24)


def value_of(text: Any) -> str:
    """`4|4 vCPU` -> `4`."""
    return str(text if text is not None else "").partition("|")[0].strip()


def _number(position: int, text: str) -> int | None:
    if not text:
        return None
    low, high = NUMBERS[position]
    name = POSITIONS[position]
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise BadRequest(f"{name}: {text!r} must be a whole number from {low} to {high}.", code="bad_option")
    return int(text)


def _permissions(options: dict[int, str], plan: Plan) -> dict[str, str]:
    found = {}
    for i, name in enumerate(PERMISSIONS):
        value = options.get(15 + i, "") or "plan"
        if value not in ("plan", "allow", "deny"):
            raise BadRequest(f"permission {name}: {value!r} must be plan, allow or deny.", code="bad_option")
        found[name] = value
    return found


def resolve(params: dict[str, Any], server: str, config: Config) -> Package:
    """Raises BadRequest, NotBuilt or Refused naming the option and the allowed values."""
    if not isinstance(params.get("configoptions") or {}, dict):
        raise BadRequest("configoptions: must be an object of names and values.", code="bad_option")
    options = {i: value_of(params.get(f"configoption{i}")) for i in range(1, 25)}
    plan = config.plans.get(options[1])
    if plan is None:
        known = ", ".join(sorted(p for p, v in config.plans.items() if v.server == server))
        raise BadRequest(f"plan: {options[1]!r} is not one of: {known}.", code="unknown_plan")
    if plan.server != server:
        raise Refused(
            f"The product's server is {server!r}, but plan {plan.name!r} belongs to server {plan.server!r}.",
            code="plan_server_mismatch",
        )
    unbuilt = [POSITIONS[i] for i in UNBUILT if options[i] not in ("", "0")]
    unbuilt += [
        f"configurable option {name!r}" for name, value in (params.get("configoptions") or {}).items()
        if value_of(value) not in ("", "0")
    ]
    if unbuilt:
        raise NotBuilt(f"This cannot be delivered yet: {', '.join(unbuilt)}. Leave it blank or 0.", code="not_built")
    template = (options[3].split(",")[0].strip()) or plan.templates[0]
    if template not in plan.templates:
        raise BadRequest(f"OS templates: {template!r} is not one of: {', '.join(plan.templates)}.", code="bad_option")
    cores, ram, disk, rate = (_number(i, options[i]) for i in (4, 5, 6, 8))
    v = plan.values
    return Package(
        plan=plan.name, server=server, template=template, cores=cores or v["cores"],
        ram_mib=ram * 1024 if ram else v["ram_mib"], disk_gib=disk or v["disk_gib"],
        rate_mbit=v["rate_mbit"] if rate is None else rate,
        permissions=_permissions(options, plan), options=dict(plan.driver_values),
    )


def plans_of(server: str, config: Config) -> dict[str, str]:
    """Plans of one server with a line for people."""
    return {
        p.name: f"{p.name}: {p.values['cores']} cores, {p.values['ram_mib'] / 1024:g} GiB RAM, {p.values['disk_gib']} GiB disk"
        for p in config.plans.values() if p.server == server
    }
