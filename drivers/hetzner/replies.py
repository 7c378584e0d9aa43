"""What each call's answer must look like: the keys that are used, as the official API description types them."""

from __future__ import annotations

import re
from typing import Any

from drivers.shapes import ANYTHING, FLAG, NUMBER, TEXT, Each, Maybe, checking, matching, wrong

TIME = matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
IP = matching(r"[0-9A-Fa-f.:]+(/\d+)?\Z")
LABELS = Each(TEXT)
POINTERS = Maybe([{"ip": IP, "dns_ptr": Maybe(TEXT)}])
ACTION = {
    "id": NUMBER,
    "status": TEXT,
    "command": TEXT,
    "started": TIME,
    "error": Maybe({"code": TEXT, "message": Maybe(TEXT)}),
}
PROTECTION = {"delete": FLAG}
SERVER = {
    "id": NUMBER,
    "name": TEXT,
    "status": TEXT,
    "locked": FLAG,
    "labels": LABELS,
    "server_type": {"name": TEXT, "cores": NUMBER, "memory": NUMBER, "architecture": TEXT},
    "primary_disk_size": NUMBER,
    "backup_window": Maybe(TEXT),
    "ingoing_traffic": Maybe(NUMBER),
    "outgoing_traffic": Maybe(NUMBER),
    "location": {"name": TEXT, "city": Maybe(TEXT)},
    "image": Maybe({"name": Maybe(TEXT), "description": Maybe(TEXT)}),
    "iso": Maybe({"id": NUMBER, "name": Maybe(TEXT), "description": Maybe(TEXT)}),
    "protection": PROTECTION,
    "volumes": Maybe([NUMBER]),
    "private_net": Maybe([{"network": NUMBER}]),
    "public_net": {
        "ipv4": Maybe({"id": NUMBER, "ip": IP, "dns_ptr": Maybe(TEXT)}),
        "ipv6": Maybe({"id": NUMBER, "ip": IP, "dns_ptr": POINTERS}),
        "floating_ips": [NUMBER],
        "firewalls": Maybe([{"id": NUMBER}]),
    },
}
IMAGE = {
    "id": NUMBER,
    "type": TEXT,
    "status": TEXT,
    "name": Maybe(TEXT),
    "description": Maybe(TEXT),
    "labels": LABELS,
    "image_size": Maybe(NUMBER),
    "disk_size": NUMBER,
    "architecture": TEXT,
    "created": TIME,
    "bound_to": Maybe(NUMBER),
    "protection": Maybe({"delete": FLAG}),
    "created_from": Maybe({"id": NUMBER}),
    "deprecation": Maybe({"unavailable_after": TIME}),
}
FLOATING = {
    "id": NUMBER,
    "name": TEXT,
    "type": TEXT,
    "ip": IP,
    "server": Maybe(NUMBER),
    "labels": LABELS,
    "created": TIME,
    "dns_ptr": POINTERS,
    "protection": PROTECTION,
}
PRIMARY = {
    "protection": Maybe({"delete": FLAG}),
    "id": NUMBER,
    "name": TEXT,
    "type": TEXT,
    "ip": IP,
    "assignee_id": Maybe(NUMBER),
    "labels": LABELS,
}
TYPE = {
    "name": TEXT,
    "cores": NUMBER,
    "memory": NUMBER,
    "disk": NUMBER,
    "architecture": TEXT,
    "locations": [{"name": TEXT, "available": FLAG, "deprecation": Maybe({"unavailable_after": TEXT})}],
    "prices": [{"location": TEXT, "price_monthly": {"net": NUMBER}, "included_traffic": NUMBER}],
}
ISO = {"id": NUMBER, "name": Maybe(TEXT), "description": Maybe(TEXT), "type": TEXT, "architecture": Maybe(TEXT)}
NAMED = {"id": NUMBER, "name": TEXT}
WALL = {
    **NAMED,
    "rules": Maybe(
        [
            {
                **dict.fromkeys(("direction", "protocol"), TEXT),
                **dict.fromkeys(("port", "description"), Maybe(TEXT)),
                **dict.fromkeys(("source_ips", "destination_ips"), Maybe([TEXT])),
            }
        ]
    ),
    "applied_to": Maybe(
        [
            {
                "type": TEXT,
                "label_selector": Maybe({"selector": TEXT}),
                "applied_to_resources": Maybe([{"type": TEXT, "server": Maybe({"id": NUMBER})}]),
            }
        ]
    ),
}
PAGED = {"meta": {"pagination": {"next_page": Maybe(NUMBER)}}}
PRICES = [{"type": TEXT, "prices": [{"price_monthly": {"net": NUMBER}}]}]
PRICING = {
    "currency": TEXT,
    "primary_ips": PRICES,
    "floating_ips": PRICES,
    "image": {"price_per_gb_month": {"net": NUMBER}},
    "server_backup": {"percentage": NUMBER},
}


def sample(value: Any) -> str:
    """A time and what was measured then, which may be no number: that is a gap."""
    said = wrong([ANYTHING], value)
    return said or ("" if len(value) == 2 else " is no pair") or wrong(NUMBER, value[0])


METRICS = {"step": NUMBER, "time_series": Each({"values": [sample]})}
DONE = {"action": ACTION}


def listed(name: str, row: Any) -> dict[str, Any]:
    """The shape of one page of a listing."""
    return {name: [row], **PAGED}


SHAPES: list[tuple[str, str, Any]] = [
    ("GET", "/servers", listed("servers", SERVER)),
    ("GET", r"/servers/\d+", {"server": SERVER}),
    ("GET", r"/servers/\d+/actions", listed("actions", ACTION)),
    ("GET", r"/servers/\d+/metrics", {"metrics": METRICS}),
    ("GET", "/actions", {"actions": [ACTION]}),
    ("GET", "/server_types", listed("server_types", TYPE)),
    ("GET", "/images", listed("images", IMAGE)),
    ("GET", r"/images/\d+", {"image": IMAGE}),
    ("GET", "/floating_ips", listed("floating_ips", FLOATING)),
    ("GET", r"/floating_ips/\d+", {"floating_ip": FLOATING}),
    ("GET", "/primary_ips", listed("primary_ips", PRIMARY)),
    ("GET", "/isos", listed("isos", ISO)),
    ("GET", "/networks", listed("networks", {**NAMED, "subnets": [{"type": TEXT, "network_zone": TEXT}]})),
    ("GET", "/locations", listed("locations", {"name": TEXT, "network_zone": TEXT})),
    ("GET", "/firewalls", listed("firewalls", WALL)),
    ("GET", "/placement_groups", listed("placement_groups", NAMED)),
    ("GET", "/pricing", {"pricing": PRICING}),
    ("GET", ".*", lambda v: "" if v else "is empty"),
    ("POST", "/servers", {"server": {"id": NUMBER}, "next_actions": Maybe([ACTION]), **DONE}),
    ("POST", "/firewalls", {"firewall": {"id": NUMBER}}),
    ("POST", r"/firewalls/\d+/actions/[a-z_]+", {"actions": [ACTION]}),
    ("POST", "/floating_ips", {"floating_ip": {"id": NUMBER}, "action": Maybe(ACTION)}),
    ("POST", r"/servers/\d+/actions/request_console", {"wss_url": TEXT, "password": TEXT, "action": Maybe(ACTION)}),
    ("POST", r"/servers/\d+/actions/reset_password", {"root_password": TEXT, **DONE}),
    ("POST", r"/(servers|floating_ips)/\d+/actions/[a-z_]+", DONE),
    ("DELETE", r"/servers/\d+", DONE),
    ("(POST|PUT|DELETE)", ".*", Each(ANYTHING)),  # nothing of it is used
]
COMPILED = [(re.compile(m), re.compile(p), checking(shape)) for m, p, shape in SHAPES]


def fault(method: str, path: str, data: Any) -> str:
    """What is wrong with an answer; empty when it is as it should be."""
    return next(check(data) for m, p, check in COMPILED if m.fullmatch(method) and p.fullmatch(path))
