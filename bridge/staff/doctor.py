"""`vmbridge check`: what is wrong, each with its fix. Asks drivers about servers and WHMCS about its API roles."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import replace

from bridge import assets, names
from bridge.clock import SharedClock
from bridge.config import Config, Pool
from bridge.context import Context
from bridge.customer import isos
from bridge.dns import check as zones
from bridge.errors import ConfigError, VmbridgeError
from bridge.model import Capability, Finding, Iso
from bridge.orders import addresses, packages
from bridge.staff import servers
from bridge.store import Store

FULL_AT = 0.8
SOME = 10  # services that are named
CLOCKS_DIFFER = 5.0  # seconds


def check(context: Context, write_test: bool = False) -> list[Finding]:
    """`write_test`: a record is written into each zone of [dns] and removed again; nothing else has an effect."""
    config = context.config
    findings = _store(context)
    if findings[0].level == "fault":
        return findings
    findings += _clock(context)
    for name, driver in context.drivers.items():
        wanted = {p: packages.of_plan(v) for p, v in config.plans.items() if v.server == name}
        places = (
            {}
            if driver.shared_hosts
            else {
                f"{p} in {place}": replace(wanted[p], location=place)
                for p in wanted
                for place in config.plans[p].values["locations"]
            }
        )
        networks = sorted(
            {(config.pools[pool].bridge, config.pools[pool].vlan) for p in wanted for pool in config.plans[p].pools}
        )
        try:
            findings += driver.check({**wanted, **places}, networks)
        except VmbridgeError as e:
            findings.append(
                Finding(
                    "fault",
                    f"server {name}",
                    f"{e.sentence} {e.detail}".strip(),
                    e.next_action,
                )
            )
        findings += _ids(context, name)
        findings += _unfiltered(name, context.store)
    findings += _isos(context)
    for plan in config.plans.values():
        if plan.values["vm_name"]:
            example = names.from_rule(plan.values["vm_name"], 7, 1042, "shop.example.com", context.clock.now())
            used = names.host_name(example)
            findings.append(
                Finding(
                    "ok" if used == example.lower() else "warning",
                    f"plan {plan.name} vm_name",
                    f"gives e.g. {used}" + ("" if used == example.lower() else f", made from {example[:80]!r}"),
                    ""
                    if used == example.lower()
                    else f"use letters, digits, inner hyphens and dots, {names.LONGEST_NAME} characters at most",
                )
            )
    findings += [_pool(u) for u in addresses.uses(context.store, config)]
    findings += [f for pool in config.pools.values() if (f := _gateway(pool))]
    findings += zones.check(config, context.store, context.dns, context.whmcs, write_test)
    if any("console" in plan.allow for plan in config.plans.values()):
        findings.append(_console(config))
    for name in config.whmcs:
        findings.append(_whmcs(context, name))
    return findings


def _isos(context: Context) -> list[Finding]:
    """Plans that allow ISOs where there are none, and names in a list that no ISO has."""
    plans = [p for p in context.config.plans.values() if Capability.ISO in p.allow]
    there: dict[str, list[Iso]] = {}
    for name, driver in context.drivers.items():
        if Capability.ISO in driver.capabilities and any(p.server == name for p in plans):
            try:
                there[name] = driver.all_isos()
            except VmbridgeError:  # the driver's own look tells it
                return []
    findings = []
    for plan in plans:
        have = there.get(plan.server, [])
        if not have and plan.server in there:
            fix = f"give server {plan.server} some, or take iso off the plan's allow"
            text = "ISOs are allowed, and its server has none to offer"
            findings.append(Finding("warning", f"plan {plan.name}", text, fix))
        elif idle := [n for n in plan.values["isos"] if not isos.offered(have, [n])]:
            text = f"no ISO is called {', '.join(map(repr, idle))}"
            findings.append(Finding("warning", f"plan {plan.name}", text, "correct its isos, or upload what is meant"))
    everything = [i for rows in there.values() for i in rows]
    if there and (idle := [n for n in context.config.isos if not isos.offered(everything, [n])]):
        text = f"no ISO is called {', '.join(map(repr, idle))}"
        findings.append(Finding("warning", "[isos] offered", text, "correct it, or upload what is meant"))
    return findings


def _console(config: Config) -> Finding:
    if not config.web["public_url"]:
        return Finding("ok", "console", "dimmed for customers: [web] public_url is empty")
    if not assets.built("novnc/core/rfb.js"):
        return Finding(
            "fault",
            "console",
            "its files were not built",
            "run `make assets` where the bridge is installed from, or install the wheel",
        )
    return Finding("ok", "console", f"at {config.web['public_url']}/console")


def against_store(config: Config, store: Store) -> None:
    """What the configuration no longer has although services need it. Raises ConfigError naming each."""
    faults, rows = addresses.taken_faults(store, config), store.in_use()
    for table, kind, said, known, named in (
        ("whmcs", "whmcs", "are its", config.whmcs, [r["whmcs"] for r in rows]),
        ("servers", "server", "are on it", config.servers, [r["server"] for r in rows]),
        ("plans", "plan", "have it", config.plans, [r["plan"] for r in rows]),
    ):
        counts: Counter[str] = Counter()
        for name, row in zip(named, rows, strict=True):
            counts[name] += row["services"]
        for name in counts.keys() - known.keys():
            text = f"is missing, but {counts[name]} services {said}: put it back, or, if it has another name now, run"
            faults.append((f"{table}.{name}", f"{kind}_in_use", f"{text} `vmbridge rename {kind} {name} NEW`"))
    for row in rows:
        mine = config.whmcs[row["whmcs"]]["servers"] if row["whmcs"] in config.whmcs else config.servers
        plan = config.plans.get(row["plan"])
        for server in {row["server"], plan.server if plan else row["server"]} & config.servers.keys() - set(mine):
            text = f"lacks {server!r}, but services of this installation are on it or have a plan of it"
            faults.append((f"whmcs.{row['whmcs']}.servers", "server_in_use", text))
    if faults:
        raise ConfigError(sorted(set(faults)))


def _store(context: Context) -> list[Finding]:
    """Its schema, its key and what the configuration says of it; "ok" names its place."""
    newer = context.store.too_new()
    if newer:
        text = f"it is of a newer release of vmbridge: its schema has {', '.join(newer)}"
        return [Finding("fault", "store", text, "install that release again, or put a backup from before it back")]
    pending = context.store.pending_migrations()
    if pending:
        text = f"migrations are missing: {', '.join(pending)}" if context.store.begun() else "there is no database yet"
        return [Finding("fault", "store", text, "run `vmbridge migrate`")]
    try:
        against_store(context.config, context.store)
    except ConfigError as e:
        return [Finding("fault", where, text, "mend the configuration as it says") for where, _, text in e.faults]
    if not context.store.key_fits():
        return [
            Finding(
                "fault",
                "store",
                "what is sealed in it cannot be read with the configured secret_key",
                "put the key into [store] secret_key that this store was made with",
            )
        ]
    return [Finding("ok", "store", context.store.place)]


def _clock(context: Context) -> list[Finding]:
    """Of a store that several machines share; all of them go by its time."""
    if not isinstance(context.clock, SharedClock):
        return []
    wrong = context.clock.ahead
    if abs(wrong) < CLOCKS_DIFFER:
        return [Finding("ok", "clock", "goes with the database's")]
    text = f"this machine's clock is {abs(wrong):.0f} s {'ahead of' if wrong > 0 else 'behind'} the database's"
    fix = "let NTP set both; until then vmbridge goes by the database's, and only the times in its log are wrong"
    return [Finding("warning", "clock", text, fix)]


def _ids(context: Context, server: str) -> list[Finding]:
    used, total = servers.ids(server, context.store, context.config)
    if not total:
        return []
    if used >= total:
        return [
            Finding("fault", f"server {server} vm_ids", "all ids are used", f"add a range to [servers.{server}] vm_ids")
        ]
    if used >= total * FULL_AT:
        return [
            Finding(
                "warning",
                f"server {server} vm_ids",
                f"{used} of {total} ids are used",
                f"add a range to [servers.{server}] vm_ids",
            )
        ]
    return [Finding("ok", f"server {server} vm_ids", f"{used} of {total} used")]


def _unfiltered(server: str, store: Store) -> list[Finding]:
    """Machines that were sold with a firewall that filters nothing, as the daily look has found them: no machine is
    asked here."""
    off = [f for f in store.findings(server=server) if f["kind"] == "firewall_off"]
    if not off:
        return []
    services = ", ".join(str(f["service_id"]) for f in sorted(off, key=lambda f: f["id"])[:SOME])
    more = f" and {len(off) - SOME} more" if len(off) > SOME else ""
    text = f"the firewall of {len(off)} machine(s) filters nothing, so that rules cannot be changed: services "
    fix = (
        f"`vmbridge findings list --server {server}` says why and how, `vmbridge findings fix ID` switches one on;"
        f" `vmbridge findings sweep {server}` looks again"
    )
    return [Finding("warning", f"server {server} firewall", f"{text}{services}{more}", fix)]


def _pool(use: addresses.Use) -> Finding:
    name, fix = use.pool.name, f"add a range to [pools.{use.pool.name}]"
    if not use.free:
        return Finding("fault", f"pool {name}", "no free address", fix)
    level = "warning" if use.percent >= 100 * FULL_AT else "ok"
    return Finding(
        level, f"pool {name}", f"{use.taken + use.cooling} of {use.total} taken", fix if level == "warning" else ""
    )


def _gateway(pool: Pool) -> Finding | None:
    """A gateway that guests reach on the link although it is in another network: real set-ups have one, and so do
    misprints."""
    network = pool.gateway_outside
    if not network:
        return None
    if ipaddress.ip_address(pool.gateway).is_link_local:
        return Finding("ok", f"pool {pool.name}", f"its gateway {pool.gateway} is link-local")
    return Finding(
        "warning",
        f"pool {pool.name}",
        f"its gateway {pool.gateway} is not in {network}: guests need a route on the link to it",
        "nothing when your network is so and the images set such a route (see README, Gateways outside the"
        " network); else correct it",
    )


def _whmcs(context: Context, name: str) -> Finding:
    """A read that the API role must allow; the other actions cannot be tried without effect."""
    try:
        context.whmcs[name].call("GetClientsProducts", limitnum=1)
    except VmbridgeError as e:
        return Finding(
            "fault",
            f"whmcs {name}",
            f"{e.sentence} {e.detail}".strip(),
            e.next_action,
        )
    return Finding("ok", f"whmcs {name}", "API answers")
