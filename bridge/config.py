"""TOML -> marshmallow -> frozen Config. Every fault is found in one pass and named by its path.

Values that are `env:NAME` or `file:/path` are read here, so that no secret need stand in the file.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from bridge import names
from bridge.errors import ConfigError, Refused
from bridge.model import MAILS, OPTION_WORDS, PERMISSIONS
from bridge.schedules import is_zone
from drivers import base as driver_base

NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")


def _listen(value: str) -> None:
    host, _, port = value.rpartition(":")
    if host not in ("127.0.0.1", "[::1]", "localhost", "0.0.0.0", "[::]") or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValidationError("Must be HOST:PORT with HOST 127.0.0.1, [::1], localhost, 0.0.0.0 or [::] and PORT 1 to 65535.")


URL = validate.URL(require_tld=False, schemes={"https", "http"})


class Strict(Schema):
    class Meta:
        unknown = RAISE


def _fernet_key(value: str) -> None:
    try:
        Fernet(value)
    except (ValueError, TypeError):
        raise ValidationError("Must be a Fernet key; `vmbridge keygen` prints one.") from None


def _name_rule(value: str) -> None:
    if names.unknown_macros(value):
        raise ValidationError(f"{', '.join(names.unknown_macros(value))} is not one of: {', '.join(names.MACROS)}.")


def _web_address(value: str) -> None:
    if value:
        URL(value)


def _ssh_keys(value: str) -> None:
    bad = names.bad_ssh_keys(value)
    if bad:
        raise ValidationError(f"Line {bad[0]} is not a public SSH key.")


def _zone(value: str) -> None:
    if not is_zone(value):
        raise ValidationError(f"{value!r} is not a time zone, e.g. Europe/Berlin.")


class StoreSchema(Strict):
    path = fields.Str(load_default="vmbridge.db")
    secret_key = fields.Str(required=True, validate=_fernet_key)


class WebSchema(Strict):
    listen = fields.Str(load_default="127.0.0.1:8080", validate=_listen)
    public_url = fields.Str(load_default="", validate=lambda v: v == "" or bool(URL(v)))
    workers = fields.Int(load_default=2, validate=validate.Range(1, 32))
    threads = fields.Int(load_default=32, validate=validate.Range(1, 256))
    costly_per_hour = fields.Int(load_default=6, validate=validate.Range(1, 1000))


class ConsoleSchema(Strict):
    listen = fields.Str(load_default="127.0.0.1:8081", validate=_listen)
    code_seconds = fields.Int(load_default=10, validate=validate.Range(1, 60))
    nonce_seconds = fields.Int(load_default=30, validate=validate.Range(1, 120))
    idle_min = fields.Int(load_default=30, validate=validate.Range(1, 1440))
    absolute_h = fields.Int(load_default=8, validate=validate.Range(1, 168))
    per_service = fields.Int(load_default=3, validate=validate.Range(1, 50))
    sessions = fields.Int(load_default=500, validate=validate.Range(1, 5000))


class MetricsSchema(Strict):
    listen = fields.Str(load_default="", validate=lambda v: _listen(v) if v else None)


class WorkerSchema(Strict):
    threads = fields.Int(load_default=8, validate=validate.Range(1, 64))
    per_node = fields.Int(load_default=2, validate=validate.Range(1, 50))
    per_storage = fields.Int(load_default=2, validate=validate.Range(1, 50))
    address_cool_down_h = fields.Int(load_default=24, validate=validate.Range(0, 8760))
    history_days = fields.Int(load_default=400, validate=validate.Range(1, 36500))
    usage_time_zone = fields.Str(load_default="UTC", validate=_zone)


class KeySchema(Strict):
    id = fields.Str(required=True, validate=validate.Regexp(r"^[A-Za-z0-9._-]{1,64}$"))
    secret = fields.Str(required=True, validate=validate.Length(min=16))


class WhmcsSchema(Strict):
    system_url = fields.Url(required=True, require_tld=False, schemes={"https", "http"})
    api_identifier = fields.Str(required=True)
    api_secret = fields.Str(required=True)
    hold_welcome_mail = fields.Bool(load_default=True)
    mail_templates = fields.Dict(keys=fields.Str(validate=validate.OneOf(MAILS)), values=fields.Str(), load_default=dict)
    keys = fields.List(fields.Nested(KeySchema), required=True, validate=validate.Length(1, 2))


class PlanSchema(Strict):
    server = fields.Str(required=True)
    cores = fields.Int(required=True, validate=validate.Range(1, 512))
    ram_mib = fields.Int(required=True, validate=validate.Range(64, 16 * 1024 * 1024))
    disk_gib = fields.Int(required=True, validate=validate.Range(1, 65536))
    rate_mbit = fields.Int(load_default=0, validate=validate.Range(0, 1_000_000))
    pools = fields.List(fields.Str(), load_default=list)
    templates = fields.List(fields.Str(), required=True, validate=validate.Length(min=1))
    allow = fields.List(fields.Str(validate=validate.OneOf(PERMISSIONS)), load_default=list)
    snapshots = fields.Int(load_default=0, validate=validate.Range(0, 100))
    snapshot_lifetime_h = fields.Int(load_default=0, validate=validate.Range(0, 87600))
    snapshot_memory = fields.Bool(load_default=True)
    backups = fields.Int(load_default=0, validate=validate.Range(0, 1000))
    keep_backups = fields.Bool(load_default=False)
    rotation = fields.Str(load_default="safe", validate=validate.OneOf(["safe", "oldest_first"]))
    time_zone = fields.Str(load_default="UTC")
    manual_url = fields.Str(load_default="", validate=_web_address)  # shown as "User manual"
    extra_ipv4 = fields.Int(load_default=0, validate=validate.Range(0, 256))
    extra_ipv6 = fields.Int(load_default=0, validate=validate.Range(0, 256))
    locations = fields.List(fields.Str(), load_default=list)
    vm_name = fields.Str(load_default="", validate=_name_rule)
    ssh_keys = fields.Str(load_default="", validate=_ssh_keys)
    ssh_keys_field = fields.Str(load_default="")


class PoolSchema(Strict):
    ranges = fields.List(fields.Str(), required=True, validate=validate.Length(min=1))
    prefix = fields.Int(required=True, validate=validate.Range(1, 128))
    gateway = fields.IP(required=True)
    dns = fields.List(fields.IP(), load_default=list)
    exclude = fields.List(fields.Str(), load_default=list)  # type: ignore[assignment]
    bridge = fields.Str(load_default="vmbr0")
    vlan = fields.Int(load_default=0, validate=validate.Range(0, 4094))
    reverse_zone = fields.Str(load_default="")

    @validates_schema
    def _ranges(self, data: dict[str, Any], **_: Any) -> None:
        for key in ("ranges", "exclude"):
            for text in data.get(key, ()):
                try:
                    first, last = parse_range(text)
                except ValueError:
                    raise ValidationError(f"{text!r} is not ADDRESS or FIRST-LAST.", key) from None
                if first.version != data["gateway"].version:
                    raise ValidationError(f"{text!r} and the gateway are of different families.", key)
                if int(last) < int(first):
                    raise ValidationError(f"{text!r} ends before it begins.", key)
        width = data["gateway"].max_prefixlen
        if data["prefix"] > width:
            raise ValidationError(f"Must be at most {width}.", "prefix")
        if data["prefix"] == width:
            return  # single addresses, routed to the host: their gateway is elsewhere
        network = ipaddress.ip_network(f"{data['gateway']}/{data['prefix']}", strict=False)
        for text in data["ranges"]:
            if not all(a in network for a in parse_range(text)):
                raise ValidationError(f"{text!r} is not inside the gateway's network {network}.", "ranges")


def parse_range(text: str) -> tuple[Any, Any]:
    """`a` or `a-b` -> (first, last) as ipaddress objects; ValueError when it is neither."""
    first, _, last = text.partition("-")
    start = ipaddress.ip_address(first.strip())
    end = ipaddress.ip_address(last.strip()) if last else start
    if start.version != end.version:
        raise ValueError(text)
    return start, end


@dataclass(frozen=True)
class Pool:
    name: str
    ranges: tuple[tuple[int, int], ...]
    excluded: tuple[tuple[int, int], ...]
    family: int
    prefix: int
    gateway: str
    dns: tuple[str, ...]
    bridge: str
    vlan: int


@dataclass(frozen=True)
class Plan:
    name: str
    server: str
    pools: tuple[str, ...]
    templates: tuple[str, ...]
    allow: tuple[str, ...]
    values: dict[str, Any]
    driver_values: dict[str, Any]


@dataclass(frozen=True)
class Config:
    """The whole file, checked. `servers` values keep the driver's own keys in a dict."""

    path: str
    store: dict[str, Any]
    web: dict[str, Any]
    console: dict[str, Any]
    metrics: dict[str, Any]
    worker: dict[str, Any]
    whmcs: dict[str, dict[str, Any]]
    servers: dict[str, dict[str, Any]]
    plans: dict[str, Plan]
    pools: dict[str, Pool]
    dns: dict[str, dict[str, Any]]
    options: dict[str, str]  # configurable option's name, folded -> word

    def secrets(self) -> list[str]:
        """Every secret text of the file, for masking."""
        found = [self.store["secret_key"]]
        for w in self.whmcs.values():
            found += [w["api_secret"], *(k["secret"] for k in w["keys"])]
        for s in self.servers.values():
            found += [v for k, v in s.items() if k.endswith(("secret", "token", "password")) and v]
        return found

    def key(self, key_id: str) -> tuple[str, str] | None:
        """(whmcs name, secret) of a shim key."""
        for name, w in self.whmcs.items():
            for k in w["keys"]:
                if k["id"] == key_id:
                    return name, k["secret"]
        return None


# usual names of configurable options, so that most shops need no table of their own
USUAL_OPTIONS = {
    "cpu": "cores", "cpu cores": "cores", "vcpu": "cores", "vcpus": "cores", "cores": "cores", "ram": "ram_gib", "memory": "ram_gib",
    "system disk": "disk_gib", "disk": "disk_gib", "disk space": "disk_gib", "additional disk": "additional_disk_gib",
    "system disk read mb/s": "disk_read_mib_s", "system disk write mb/s": "disk_write_mib_s",
    "system disk read iops": "disk_read_iops", "system disk write iops": "disk_write_iops",
    "additional disk read mb/s": "additional_disk_read_mib_s", "additional disk write mb/s": "additional_disk_write_mib_s",
    "additional disk read iops": "additional_disk_read_iops", "additional disk write iops": "additional_disk_write_iops",
    "network bandwidth": "rate_mbit", "network": "rate_mbit", "network rate": "rate_mbit", "ipv4": "extra_ipv4", "ipv6": "extra_ipv6",
    "extra ipv4": "extra_ipv4", "extra ipv6": "extra_ipv6", "ipv4 addresses": "extra_ipv4", "ipv6 addresses": "extra_ipv6",
    "operating system": "template", "os": "template", "backups": "backups", "snapshots": "snapshots", "location": "location",
}
SINGLE = {
    "store": StoreSchema,
    "web": WebSchema,
    "console": ConsoleSchema,
    "metrics": MetricsSchema,
    "worker": WorkerSchema,
}
NAMED = ("whmcs", "servers", "plans", "pools", "dns")


class _Reader:
    """One pass over the file; collects (path, code, text)."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str, str]] = []

    def fault(self, path: str, code: str, text: str) -> None:
        self.faults.append((path, code, text))

    def resolve(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {k: self.resolve(v, f"{path}.{k}") for k, v in value.items()}
        if isinstance(value, list):
            return [self.resolve(v, f"{path}[{i}]") for i, v in enumerate(value)]
        if isinstance(value, str) and value.startswith("env:"):
            if value[4:] not in os.environ:
                self.fault(path, "env_missing", f"the environment has no variable {value[4:]}")
                return ""
            return os.environ[value[4:]]
        if isinstance(value, str) and value.startswith("file:"):
            try:
                return Path(value[5:]).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as e:
                self.fault(path, "file_missing", f"cannot read {value[5:]}: {type(e).__name__}")
                return ""
        return value

    def load(self, schema: Schema, raw: Any, path: str, also: Iterable[str] = ()) -> dict[str, Any] | None:
        """`also` are keys known elsewhere, named in suggestions."""
        if not isinstance(raw, dict):
            self.fault(path, "not_a_table", "must be a table")
            return None
        unresolved = len(self.faults)
        value = self.resolve(raw, path)
        missing = {p for p, _, _ in self.faults[unresolved:]}
        try:
            return dict(schema.load(value))
        except ValidationError as e:
            self._walk(e.messages, path, [*schema.fields, *also], missing)
            return None

    def _walk(self, messages: Any, path: str, known: list[str], missing: set[str]) -> None:
        if isinstance(messages, dict):
            for key, inner in messages.items():
                where = path if key == "_schema" else f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
                self._walk(inner, where, known, missing)
            return
        if path in missing:
            return
        for text in messages:
            code = "invalid"
            if text == "Unknown field.":
                near = difflib.get_close_matches(path.rsplit(".", 1)[-1], known, 1)
                code, text = "unknown_key", "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
            elif text.startswith("Missing data"):
                code, text = "missing", "is required"
            self.fault(path, code, text)


def load(path: str | Path) -> Config:
    """Read and check the file. Raises ConfigError with every fault."""
    try:
        raw = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError([(str(path), "unreadable", f"cannot be read: {type(e).__name__}")]) from None
    except tomllib.TOMLDecodeError as e:
        raise ConfigError([(str(path), "not_toml", str(e))]) from None
    return from_dict(raw, str(path))


def from_dict(raw: dict[str, Any], path: str = "config.toml") -> Config:
    r = _Reader()
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
    servers = {k: _server(r, v, f"servers.{k}") for k, v in tables["servers"].items()}
    plans = {k: _plan(r, k, v, tables) for k, v in tables["plans"].items()}
    for key, value in tables["dns"].items():
        provider = value.get("provider", "") if isinstance(value, dict) else ""
        r.fault(f"dns.{key}.provider", "unknown_provider", f"there is no DNS provider {provider!r}; found: none")
    options = _options(r, raw.get("options", {}))
    _across(r, whmcs, pools, single)
    for name, plan in plans.items():
        if plan is not None:
            _plan_networks(r, name, plan, pools, str(tables["servers"][plan.server]["driver"]))
    if r.faults:
        raise ConfigError(r.faults)
    return Config(
        path=path,
        **{n: dict(v or {}) for n, v in single.items()},
        whmcs={k: v for k, v in whmcs.items() if v},
        servers={k: v for k, v in servers.items() if v},
        plans={k: v for k, v in plans.items() if v},
        pools={k: _pool(k, v) for k, v in pools.items() if v},
        dns={},
        options=options,
    )


def _options(r: _Reader, raw: Any) -> dict[str, str]:
    """The table of configurable options: usual names first, then the file's; an empty word means "not ours"."""
    found = dict(USUAL_OPTIONS)
    if not isinstance(raw, dict):
        r.fault("options", "not_a_table", "must be a table of names and words")
        return found
    for name, word in raw.items():
        if word != "" and word not in OPTION_WORDS:
            near = difflib.get_close_matches(str(word), OPTION_WORDS, 1)
            r.fault(f"options.{name}", "unknown_word", f"{word!r} is not one of: {', '.join(OPTION_WORDS)}"
                    + (f"; did you mean {near[0]!r}?" if near else ""))
        found[fold(name)] = word
    return found


def fold(name: str) -> str:
    """A configurable option's name for comparing: the part before `|`, without case and outer blanks."""
    return name.partition("|")[0].strip().casefold()


def _plan_networks(r: _Reader, name: str, plan: Plan, pools: dict[str, Any], driver: str) -> None:
    """A family comes from a pool or by DHCP, not both; extra addresses need a pool."""
    provides = driver_base.load(driver).late_addresses  # then they are the provider's own
    families = {pools[p]["gateway"].version for p in plan.pools if pools.get(p)}
    for family in (4, 6):
        if plan.driver_values.get(f"dhcp{family}") and family in families:
            r.fault(f"plans.{name}.dhcp{family}", "dhcp_and_pool", f"the plan has an IPv{family} pool too: drop one of them")
        if plan.values[f"extra_ipv{family}"] and family not in families and not provides:
            r.fault(f"plans.{name}.extra_ipv{family}", "no_pool", f"the plan has no IPv{family} pool to take them from")


def _server(r: _Reader, raw: Any, path: str) -> dict[str, Any] | None:
    if not isinstance(raw, dict) or "driver" not in raw:
        r.fault(f"{path}.driver", "missing", f"is required; found: {', '.join(driver_base.names())}")
        return None
    try:
        driver = driver_base.load(str(raw["driver"]))
    except Refused as e:
        r.fault(f"{path}.driver", e.code, e.sentence)
        return None
    value = r.load(driver.server_schema(), {k: v for k, v in raw.items() if k != "driver"}, path)
    return None if value is None else {"driver": raw["driver"], **value}


def _plan(
    r: _Reader, name: str, raw: Any, tables: dict[str, Any]
) -> Plan | None:
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
    if server is not None and driver not in driver_base.names():
        return None  # the server's own fault is told; without its driver nothing can be said of the plan's keys
    schema = driver_base.load(driver).plan_schema() if driver else None
    own = set(schema.fields) if schema else set()
    general = r.load(PlanSchema(), {k: v for k, v in raw.items() if k not in own}, path, own)
    special = r.load(schema, {k: v for k, v in raw.items() if k in own}, path) if schema else {}
    if general is None or special is None:
        return None
    return Plan(
        name=name, server=general["server"], pools=tuple(general["pools"]),
        templates=tuple(general["templates"]), allow=tuple(general["allow"]),
        values=general, driver_values=special,
    )


def _pool(name: str, v: dict[str, Any]) -> Pool:
    def spans(key: str) -> tuple[tuple[int, int], ...]:
        return tuple((int(a), int(b)) for a, b in map(parse_range, v[key]))

    return Pool(
        name=name, ranges=spans("ranges"), excluded=(*spans("exclude"), *_not_for_hosts(v)), family=v["gateway"].version,
        prefix=v["prefix"], gateway=str(v["gateway"]), dns=tuple(map(str, v["dns"])),
        bridge=v["bridge"], vlan=v["vlan"],
    )


def _not_for_hosts(v: dict[str, Any]) -> list[tuple[int, int]]:
    """The gateway, and the first and last address of an IPv4 network: they lie in a range at times, and are never given out."""
    gateway, prefix = v["gateway"], v["prefix"]
    network = ipaddress.ip_network(f"{gateway}/{prefix}", strict=False)
    never = [int(gateway)]
    if gateway.version == 4 and prefix < 31:
        never += [int(network.network_address), int(network.broadcast_address)]
    elif gateway.version == 6 and prefix < 127:
        never.append(int(network.network_address))  # the subnet-router anycast address (RFC 4291)
    return [(n, n) for n in never]


def _across(r: _Reader, whmcs: dict[str, Any], pools: dict[str, Any], single: dict[str, Any]) -> None:
    seen: dict[str, str] = {}
    for name, w in whmcs.items():
        for i, k in enumerate(w["keys"] if w else ()):
            where = f"whmcs.{name}.keys[{i}].id"
            if k["id"] in seen:
                r.fault(where, "duplicate_key", f"key id {k['id']!r} stands at {seen[k['id']]} too")
            seen[k["id"]] = where
        if w and urlsplit(w["system_url"]).scheme == "http" and not _loopback(w["system_url"]):
            r.fault(f"whmcs.{name}.system_url", "not_https", "plain HTTP only to this machine")
    taken: list[tuple[int, int, str]] = []
    for name, p in pools.items():
        for i, text in enumerate(p["ranges"] if p else ()):
            a, b = (int(x) for x in parse_range(text))
            for c, d, other in taken:
                if a <= d and c <= b:
                    r.fault(f"pools.{name}.ranges[{i}]", "overlap", f"overlaps {other}")
            taken.append((a, b, f"pools.{name}.ranges[{i}]"))


def _loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
