"""What each call's answer must look like: the keys that are used, as the official API description types them."""

from __future__ import annotations

import re
from typing import Any

from drivers.shapes import ANYTHING, FLAG, NUMBER, SCALAR, TEXT, ByKey, Each, Maybe, checking, matching, some, wrong

UPID = matching(r"UPID:[^:\s]+:[0-9A-Fa-f]{8}:")
CALL = re.compile(r"^nodes/[^/]+/")
N, Q = r"nodes/[^/]+", r"nodes/[^/]+/qemu/\d+"
VM = {
    "vmid": NUMBER,
    "node": TEXT,
    **dict.fromkeys(("status", "name", "lock", "tags"), Maybe(TEXT)),
    **dict.fromkeys(
        ("template", "uptime", "cpu", "maxcpu", "mem", "maxmem", "maxdisk", "diskread", "diskwrite", "netin", "netout"),
        Maybe(NUMBER),
    ),
}
RESOURCE = ByKey(
    "type",
    {
        "qemu": VM,
        "lxc": VM,
        "node": {"node": TEXT, "status": Maybe(TEXT), **dict.fromkeys(("mem", "maxmem", "maxcpu"), Maybe(NUMBER))},
        "storage": {
            "storage": TEXT,
            "node": TEXT,
            **dict.fromkeys(("status", "content"), Maybe(TEXT)),
            **dict.fromkeys(("shared", "disk", "maxdisk"), Maybe(NUMBER)),
        },
    },
)
STATUS = ByKey(
    "type",
    {"cluster": {"quorate": Maybe(NUMBER)}, "node": {"name": TEXT, "online": Maybe(NUMBER), "ip": Maybe(TEXT)}},
)
SERIES = ("cpu", "mem", "maxmem", "diskread", "diskwrite", "netin", "netout")
RULE = {
    "pos": NUMBER,
    **dict.fromkeys(("type", "action", "digest"), TEXT),
    "enable": Maybe(NUMBER),
    **dict.fromkeys(("macro", "comment", "iface", "log", "source", "dest"), Maybe(TEXT)),
    **dict.fromkeys(("proto", "sport", "dport", "icmp-type"), Maybe(SCALAR)),
}
DIGEST = {"digest": TEXT}  # stands in every configuration, also of a clone that is being made


def configuration(value: Any) -> str:
    return wrong(DIGEST, value) or wrong(Each(SCALAR), {k: v for k, v in value.items() if k != "pending"})


def pending(value: Any) -> str:
    """Each key once, with a value, a value to come, or both."""
    said = wrong(some({"key": TEXT, "value": Maybe(SCALAR), "pending": Maybe(SCALAR), "delete": Maybe(NUMBER)}), value)
    return said or (
        "has a row without a value" if any(not r.keys() & {"value", "pending", "delete"} for r in value) else ""
    )


def snapshots(value: Any) -> str:
    """`current` is always among them."""
    row = {
        "name": TEXT,
        "description": Maybe(TEXT),
        "snapstate": Maybe(TEXT),
        "snaptime": Maybe(NUMBER),
        "vmstate": Maybe(FLAG),
    }
    return wrong(some(row), value) or ("" if any(r["name"] == "current" for r in value) else "has no row `current`")


def backup_started(value: Any) -> str:
    return "" if value == "OK" else UPID(value)


SHAPES: list[tuple[str, str, Any]] = [
    ("GET", "version", {"version": TEXT}),
    ("GET", "cluster/resources", [RESOURCE]),
    ("GET", "cluster/status", some(STATUS)),
    ("GET", "cluster/firewall/options", {"enable": Maybe(NUMBER)}),
    (
        "GET",
        "storage",
        [{"storage": TEXT, "type": Maybe(TEXT), "content": Maybe(TEXT), "prune-backups": Maybe(SCALAR)}],
    ),
    ("GET", "access/permissions", Each(Each(SCALAR))),
    ("GET", f"{N}/time", {"time": NUMBER}),
    ("GET", f"{N}/network", [{"iface": TEXT}]),
    ("GET", f"{N}/tasks", [{"upid": UPID, "starttime": Maybe(NUMBER)}]),
    ("GET", f"{N}/tasks/[^/]+/status", {"status": TEXT, "exitstatus": Maybe(TEXT)}),
    ("GET", f"{N}/tasks/[^/]+/log", [{"t": Maybe(TEXT)}]),
    (
        "GET",
        f"{N}/storage/[^/]+/content",
        [{"volid": TEXT, "vmid": Maybe(NUMBER), "size": Maybe(NUMBER), "ctime": Maybe(NUMBER)}],
    ),
    ("GET", f"{Q}/config", configuration),
    ("GET", f"{Q}/pending", pending),
    ("GET", f"{Q}/status/current", {"status": TEXT, **{k: VM[k] for k in ("uptime", "netin", "netout", "lock")}}),
    ("GET", f"{Q}/snapshot", snapshots),
    ("GET", f"{Q}/rrddata", Maybe([{"time": NUMBER, **dict.fromkeys(SERIES, Maybe(NUMBER))}])),
    (
        "GET",
        f"{Q}/agent/network-get-interfaces",
        {"result": [{"name": Maybe(TEXT), "ip-addresses": Maybe([{"ip-address": TEXT}])}]},
    ),
    ("GET", f"{Q}/firewall/options", Each(SCALAR)),
    ("GET", f"{Q}/firewall/rules", [RULE]),
    ("GET", f"{Q}/firewall/log", [{"t": Maybe(TEXT)}]),
    (
        "GET",
        f"{N}/firewall/options",
        {"enable": Maybe(NUMBER), "nftables": Maybe(NUMBER)},
    ),
    ("GET", f"{Q}/firewall/ipset", [{"name": TEXT}]),
    ("GET", f"{Q}/firewall/ipset/[^/]+", [{"cidr": TEXT}]),
    ("GET", f"{Q}/firewall/aliases", [{"name": TEXT}]),
    ("GET", ".*", lambda v: "is null" if v is None else ""),
    ("POST", f"{N}/vzdump", backup_started),
    ("POST", f"{N}/qemu", UPID),
    ("POST", f"{Q}/(clone|snapshot|snapshot/[^/]+/rollback|status/[a-z]+)", UPID),
    ("POST", f"{Q}/config", Maybe(UPID)),
    ("POST", f"{Q}/vncproxy", {"port": NUMBER, "ticket": TEXT, "password": Maybe(TEXT)}),
    ("PUT", f"{Q}/resize", UPID),
    ("DELETE", f"{Q}(/snapshot/[^/]+)?", UPID),
    ("DELETE", f"{N}/storage/[^/]+/content/.+", Maybe(UPID)),
    ("(POST|PUT|DELETE)", ".*", ANYTHING),  # nothing of it is used
]
COMPILED = [(re.compile(m), re.compile(p), checking(shape)) for m, p, shape in SHAPES]


def fault(method: str, path: str, data: Any) -> str:
    """What is wrong with the answer's `data`; empty when it is as it should be."""
    return next(check(data) for m, p, check in COMPILED if m.fullmatch(method) and p.fullmatch(path))
