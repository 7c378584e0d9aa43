"""`vmbridge check`: what is wrong, each with its fix. Asks drivers about servers and WHMCS about its API roles."""

from __future__ import annotations

import ipaddress

from bridge import packages
from bridge.config import Pool
from bridge.context import Context
from bridge.errors import VmbridgeError
from bridge.model import Finding

FULL_AT = 0.8


def check(context: Context) -> list[Finding]:
    config = context.config
    found = _store(context)
    for name, driver in context.drivers.items():
        wanted = {p: packages.of_plan(v) for p, v in config.plans.items() if v.server == name}
        networks = sorted({
            (config.pools[pool].bridge, config.pools[pool].vlan)
            for p in wanted for pool in config.plans[p].pools
        })
        try:
            found += driver.check(wanted, networks)
        except VmbridgeError as e:
            found.append(Finding("fault", f"server {name}", f"{e.sentence} {e.detail}".strip(), e.extra.get("fix", "")))
        found += _ids(context, name)
    for pool in config.pools.values():
        found.append(_pool(context, pool))
    for name in config.whmcs:
        found.append(_whmcs(context, name))
    return found


def _store(context: Context) -> list[Finding]:
    pending = context.store.pending_migrations()
    if pending:
        return [Finding("fault", "store", f"migrations are missing: {', '.join(pending)}", "run `vmbridge migrate`")]
    return [Finding("ok", "store", context.store.path)]


def _ids(context: Context, server: str) -> list[Finding]:
    ranges = context.config.servers[server].get("vm_ids", [])
    if not ranges:
        return []
    total = sum(b - a + 1 for a, b in ranges)
    used_to = context.store.vm_ids_used(server)
    used = sum(max(0, min(used_to - 1, b) - a + 1) for a, b in ranges)
    if used >= total:
        return [Finding("fault", f"server {server} vm_ids", "all ids are used", f"add a range to [servers.{server}] vm_ids")]
    if used >= total * FULL_AT:
        return [Finding("warning", f"server {server} vm_ids", f"{used} of {total} ids are used",
                        f"add a range to [servers.{server}] vm_ids")]
    return [Finding("ok", f"server {server} vm_ids", f"{used} of {total} used")]


def _pool(context: Context, pool: Pool) -> Finding:
    total = sum(b - a + 1 for a, b in pool.ranges) - sum(
        max(0, min(b, d) - max(a, c) + 1) for a, b in pool.ranges for c, d in pool.excluded
    )
    taken = [r for r in context.store.taken_addresses() if r["pool"] == pool.name]
    outside = [
        r["address"] for r in taken
        if not any(a <= int(ipaddress.ip_address(r["address"])) <= b for a, b in pool.ranges)
    ]
    if outside:
        return Finding("fault", f"pool {pool.name}", f"taken addresses are outside its ranges: {', '.join(outside[:5])}",
                       f"widen [pools.{pool.name}] ranges again")
    free = total - len(taken)
    if free <= 0:
        return Finding("fault", f"pool {pool.name}", "no free address", f"add a range to [pools.{pool.name}]")
    level = "warning" if len(taken) >= total * FULL_AT else "ok"
    return Finding(level, f"pool {pool.name}", f"{len(taken)} of {total} taken",
                   f"add a range to [pools.{pool.name}]" if level == "warning" else "")


def _whmcs(context: Context, name: str) -> Finding:
    """A read that the API role must allow; the other actions cannot be tried without effect."""
    try:
        context.whmcs[name].call("GetClientsProducts", limitnum=1)
    except VmbridgeError as e:
        return Finding(
            "fault", f"whmcs {name}", f"{e.sentence} {e.detail}".strip(),
            "give the API role GetClientsProducts, SendEmail, SendAdminEmail, UpdateClientProduct and LogActivity,"
            " and allow this machine's address under General Settings > Security",
        )
    return Finding("ok", f"whmcs {name}", "API answers")
