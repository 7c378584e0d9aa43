"""TOML -> marshmallow -> frozen Config. Every fault is found in one pass and named by its path.

Values that are `env:NAME` or `file:/path` are read here, so that no secret need stand in the file. Here stands what
holds for the whole file; each noun's table has a module of its own."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bridge.config import database
from bridge.config import dns as dns_tables
from bridge.config.options import fold, guessed, words_of
from bridge.config.plans import Plan, PlanSchema, check_networks, check_zone, plan_of
from bridge.config.pools import Pool, PoolSchema, parse_range, pool_of
from bridge.config.reader import Reader
from bridge.config.schemas import SINGLE, KeySchema, WhmcsSchema
from bridge.config.servers import server_of
from bridge.config.webhooks import WebhookSchema, webhook_of
from bridge.errors import ConfigError
from bridge.model import Webhook
from bridge.zones import Zone
from drivers import folder
from drivers.base import Driver

__all__ = [
    "SINGLE",
    "Config",
    "KeySchema",
    "Plan",
    "PlanSchema",
    "Pool",
    "PoolSchema",
    "WebhookSchema",
    "WhmcsSchema",
    "fold",
    "from_dict",
    "load",
    "parse_range",
]

NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}\Z")
UNREADABLE: dict[type[Exception], str] = {
    FileNotFoundError: "is not there; name your file with --config or in the variable VMBRIDGE_CONFIG",
    PermissionError: "may not be read by this user",
    IsADirectoryError: "is a folder; name the file in it",
    UnicodeDecodeError: "is not text in UTF-8",
}
NAMED = ("whmcs", "servers", "plans", "pools", "dns", "webhooks")


@dataclass(frozen=True)
class Config:
    """The whole file, checked. `servers` values keep the driver's own keys in a dict."""

    path: str
    store: dict[str, Any]
    web: dict[str, Any]
    console: dict[str, Any]
    metrics: dict[str, Any]
    log: dict[str, Any]
    audit: dict[str, Any]
    worker: dict[str, Any]
    whmcs: dict[str, dict[str, Any]]
    servers: dict[str, dict[str, Any]]
    plans: dict[str, Plan]
    pools: dict[str, Pool]
    dns: dict[str, Zone]
    webhooks: dict[str, Webhook]
    options: dict[str, str]  # configurable option's name, folded -> word
    guessed: frozenset[str]  # those of them whose unit nobody has said
    isos: tuple[str, ...] = ()  # names and patterns of ISOs that every plan offers
    own_pools: frozenset[str] | None = None  # those that an installation may see; None: all

    def of(self, whmcs: str) -> Config:
        """What one installation may see and change: itself, its servers, their plans and these plans' pools. `pools`
        stays whole, since an older plan's addresses may be of any; shown are `own_pools`."""
        mine = self.whmcs[whmcs]["servers"]
        plans = {k: p for k, p in self.plans.items() if p.server in mine}
        return replace(
            self,
            whmcs={whmcs: self.whmcs[whmcs]},
            servers={k: s for k, s in self.servers.items() if k in mine},
            plans=plans,
            own_pools=None if set(self.servers) <= set(mine) else frozenset(n for p in plans.values() for n in p.pools),
        )

    def driver(self, server: str) -> type[Driver]:
        """The driver's class of a server."""
        return folder.load(self.servers[server]["driver"])

    def id_ranges(self, server: str) -> tuple[tuple[int, int], ...]:
        """The ids that a server's machines get from us; none where its back end chooses them."""
        return self.driver(server).id_ranges(self.servers[server])

    def isos_of(self, plan: str) -> tuple[str, ...]:
        """Names and patterns of the ISOs that a plan offers, its own list first; none: all that there are."""
        own = self.plans[plan].values["isos"] if plan in self.plans else ()
        return (*own, *self.isos)

    def secrets(self) -> list[str]:
        """Every secret text of the file, for masking."""
        secrets = [self.store["secret_key"], *database.secrets_of(self.store)]
        for w in self.whmcs.values():
            secrets += [w["api_secret"], *(k["secret"] for k in w["keys"])]
        for s in self.servers.values():
            secrets += [v for k, v in s.items() if k.endswith(("secret", "token", "password")) and v]
        secrets += [w.secret for w in self.webhooks.values()]
        for zone in self.dns.values():
            secrets += dns_tables.secrets_of(zone)
        return secrets

    def key(self, key_id: str) -> tuple[str, str] | None:
        """(whmcs name, secret) of a shim key."""
        for name, w in self.whmcs.items():
            for k in w["keys"]:
                if k["id"] == key_id:
                    return name, k["secret"]
        return None


def load(path: str | Path) -> Config:
    """Read and check the file. Raises ConfigError with every fault."""
    try:
        raw = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(
            [(str(path), "unreadable", UNREADABLE.get(type(e), f"cannot be read: {type(e).__name__}"))]
        ) from None
    except tomllib.TOMLDecodeError as e:
        raise ConfigError([(str(path), "not_toml", str(e))]) from None
    return from_dict(raw, str(path))


def from_dict(raw: dict[str, Any], path: str = "config.toml") -> Config:
    """The whole configuration from its tables. Raises ConfigError with every fault at once, each by its path."""
    r = Reader()
    for key in raw:
        if key not in (*SINGLE, *NAMED, "options"):
            near = difflib.get_close_matches(key, [*SINGLE, *NAMED, "options"], 1)
            r.fault(key, "unknown_key", "unknown table" + (f"; did you mean {near[0]!r}?" if near else ""))
    single = {n: r.load(s(), raw.get(n, {}), n) for n, s in SINGLE.items()}
    tables: dict[str, dict[str, Any]] = {}
    for name in NAMED:
        tables[name] = {}
        value = raw.get(name, {})
        if not isinstance(value, dict):
            r.fault(name, "not_a_table", "must be a table of tables")
            continue
        for key, inner in value.items():
            if name != "dns" and not NAME.match(key):
                r.fault(f"{name}.{key}", "bad_name", "use lower-case letters, digits, - and _")
            tables[name][key] = inner
    for name in ("whmcs", "servers", "plans"):
        if not tables[name]:
            r.fault(name, "missing", f"at least one [{name}.<name>] is needed")
    whmcs = {k: r.load(WhmcsSchema(), v, f"whmcs.{k}") for k, v in tables["whmcs"].items()}
    pools = {k: r.load(PoolSchema(), v, f"pools.{k}") for k, v in tables["pools"].items()}
    servers = {k: server_of(r, v, f"servers.{k}") for k, v in tables["servers"].items()}
    plans = {k: plan_of(r, k, v, tables) for k, v in tables["plans"].items()}
    dns = {k: dns_tables.zone_of(r, k, v) for k, v in tables["dns"].items()}
    webhooks = {k: r.load(WebhookSchema(), v, f"webhooks.{k}") for k, v in tables["webhooks"].items()}
    options = words_of(r, raw.get("options", {}))
    _across(r, whmcs, pools, single)
    _shares(r, whmcs, tables["servers"])
    _hooked(r, webhooks, tables["whmcs"])
    for name, plan in plans.items():
        check_networks(r, name, plan, pools, _driver_of(tables, name))
        check_zone(r, name, plan, dns)
    if r.faults:
        raise ConfigError(r.faults)
    tables_of = {n: dict(v or {}) for n, v in single.items()}
    return Config(
        path=path,
        store=tables_of["store"],
        web=tables_of["web"],
        console=tables_of["console"],
        metrics=tables_of["metrics"],
        log=tables_of["log"],
        audit=tables_of["audit"],
        worker=tables_of["worker"],
        whmcs={k: v for k, v in whmcs.items() if v},
        servers={k: v for k, v in servers.items() if v},
        plans={k: v for k, v in plans.items() if v},
        pools={k: pool_of(k, v) for k, v in pools.items() if v},
        dns={k: z for k, z in dns.items() if z},
        webhooks={k: webhook_of(k, v, {n: w for n, w in whmcs.items() if w}) for k, v in webhooks.items() if v},
        options=options,
        isos=tuple(tables_of["isos"].get("offered", ())),
        guessed=guessed(raw.get("options", {})),
    )


def _driver_of(tables: dict[str, dict[str, Any]], plan: str) -> str:
    """The driver of a plan's server; empty while one of them is not known."""
    raw = tables["plans"].get(plan)
    server = tables["servers"].get(str(raw.get("server"))) if isinstance(raw, dict) else None
    driver = str(server.get("driver", "")) if isinstance(server, dict) else ""
    return driver if driver in folder.names() else ""


def _across(r: Reader, whmcs: dict[str, Any], pools: dict[str, Any], single: dict[str, Any]) -> None:
    """Faults between tables: key ids that stand twice, addresses that are not encrypted, pools that overlap."""
    seen: dict[str, str] = {}
    for name, whole in whmcs.items():
        w = whole or r.sound.get(f"whmcs.{name}", {})
        for i, k in enumerate(w.get("keys") or ()):
            where = f"whmcs.{name}.keys[{i}].id"
            if not isinstance(k, dict) or "id" not in k:
                continue
            if k["id"] in seen:
                r.fault(where, "duplicate_key", f"key id {k['id']!r} stands at {seen[k['id']]} too")
            seen[k["id"]] = where
        url = w.get("system_url", "")
        if urlsplit(url).scheme == "http" and not _loopback(url):
            r.fault(f"whmcs.{name}.system_url", "not_https", "plain HTTP only to this machine")
    public = (single.get("web") or r.sound.get("web", {})).get("public_url", "")
    if public and urlsplit(public).scheme == "http" and not _loopback(public):
        r.fault("web.public_url", "not_https", "plain HTTP only to this machine")
    taken: list[tuple[int, int, str]] = []
    for name, p in pools.items():
        for i, text in enumerate((p or r.sound.get(f"pools.{name}", {})).get("ranges") or ()):
            try:
                a, b = (int(x) for x in parse_range(text))
            except ValueError:
                continue  # told as a fault of its own
            for c, d, other in taken:
                if a <= d and c <= b:
                    r.fault(f"pools.{name}.ranges[{i}]", "overlap", f"overlaps {other}")
            taken.append((a, b, f"pools.{name}.ranges[{i}]"))


def _shares(r: Reader, whmcs: dict[str, Any], servers: dict[str, Any]) -> None:
    """Which installation has which servers: all of them while there is one, else as it says."""
    for name, w in whmcs.items():
        if not w:
            continue
        if w["servers"] is None:
            if len(whmcs) > 1:
                text = (
                    "is required where several installations use the bridge: the names of [servers.<name>] that this"
                    " one may see and change"
                )
                r.fault(f"whmcs.{name}.servers", "missing", f"{text}; found: {', '.join(sorted(servers)) or 'none'}")
            w["servers"] = sorted(servers)
        for i, server in enumerate(w["servers"]):
            if server not in servers:
                known = ", ".join(sorted(servers)) or "none"
                r.fault(
                    f"whmcs.{name}.servers[{i}]", "unknown_server", f"there is no [servers.{server}]; found: {known}"
                )


def _hooked(r: Reader, webhooks: dict[str, Any], whmcs: dict[str, Any]) -> None:
    """A webhook hears of installations that there are."""
    for name, hook in webhooks.items():
        for i, one in enumerate((hook or {}).get("whmcs", ())):
            if one not in whmcs:
                text = f"there is no [whmcs.{one}]; found: {', '.join(sorted(whmcs)) or 'none'}"
                r.fault(f"webhooks.{name}.whmcs[{i}]", "unknown_whmcs", text)


def _loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
