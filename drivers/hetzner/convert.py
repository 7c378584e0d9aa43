"""Between our model and the provider's words. Pure functions."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

from bridge.model import Order, Vm, VmStatus

LABEL = "vmbridge"  # its value is the machine's uuid: the proof that a server is ours
SERVER = "vmbridge-server"  # a label of what a server has: its id, which outlives it
GB = 1024**3
STATUS = {
    "running": "running",
    "off": "stopped",
    "initializing": "prelaunch",
    "starting": "prelaunch",
    "stopping": "running",
}


def name(order: Order) -> str:
    """Unique in the project and the same at every try, so that a repeated create collides instead of making a second
    server."""
    readable = order.hostname.replace(".", "-")[:50].rstrip("-")
    return f"{readable}-{order.uuid[:8]}"


def user_data(order: Order) -> str:
    """Host name, password and keys for cloud-init. The password is the one of the order, as a hash: the provider's own
    is then never needed, and none is lost with a reply. JSON is YAML."""
    keys = [k for k in order.package.ssh_keys.splitlines() if k.strip()]
    wanted: dict[str, Any] = {
        "fqdn": order.hostname,
        "prefer_fqdn_over_hostname": False,
        "disable_root": False,
        "ssh_pwauth": True,
    }
    if order.password:
        wanted["chpasswd"] = {"expire": False, "users": [{"name": "root", "password": order.password, "type": "hash"}]}
    if keys:
        wanted["users"] = [{"name": "root", "ssh_authorized_keys": keys}]
    ours, theirs = "#cloud-config\n" + json.dumps(wanted, indent=1), order.package.options.get("user_data", "")
    return _parts(ours, theirs) if theirs else ours


def _parts(*texts: str) -> str:
    """Several in one, as cloud-init takes them: later ones add to earlier ones and do not replace what those say."""
    whole = MIMEMultipart(boundary="vmbridge-part")
    for text in texts:
        part = MIMEText(text, "cloud-config" if text.startswith("#cloud-config") else "x-shellscript")
        part["Merge-Type"] = "list(append)+dict(no_replace,recurse_list)+str()"
        whole.attach(part)
    return whole.as_string()


def status(server: Mapping[str, Any]) -> str:
    return STATUS.get(str(server["status"]), "unknown")


def vm(server: Mapping[str, Any]) -> Vm:
    return Vm(str(server["id"]), server["location"]["name"], status(server), "locked" if server["locked"] else "")


def line(server: Mapping[str, Any], now: float) -> VmStatus:
    """One row of the list; it has no use of CPU and memory and no uptime. Traffic is that of the calendar month, null
    at first."""
    kind = server["server_type"]
    return VmStatus(
        str(server["id"]),
        status(server),
        server["location"]["name"],
        server["name"],
        0,
        0.0,
        kind["cores"],
        0,
        int(kind["memory"] * GB),
        int(server["primary_disk_size"] * GB),
        "locked" if server["locked"] else "",
        0,
        server["ingoing_traffic"],
        server["outgoing_traffic"],
        traffic_since(now),
        traffic_by(now),
        about(server),
    )


def about(server: Mapping[str, Any]) -> str:
    """What people want to know of it and what seldom changes, in their words. The IPv4 address always has a reverse
    name, of the provider's making at first; of the IPv6 network those that were set."""
    image, place, net = server.get("image") or {}, server["location"], server["public_net"]
    names = {net["ipv4"]["ip"]: net["ipv4"].get("dns_ptr") or ""} if net.get("ipv4") else {}
    for one in (net.get("ipv6") or {}).get("dns_ptr") or ():
        names[str(ipaddress.ip_address(one["ip"]))] = one["dns_ptr"]
    return json.dumps(
        {
            "image": image.get("description") or image.get("name") or "",
            "place": f"{place['city']} ({place['name']})" if place.get("city") else place["name"],
            "names": names,
        },
        sort_keys=True,
    )


LATE = 6 * 3600.0  # seconds after the month's begin in which the old month's traffic may still be told


def traffic_since(now: float) -> float:
    """The begin of the month, in UTC, whose traffic the provider tells at this time, at the earliest."""
    month = datetime.fromtimestamp(now - LATE, UTC)
    return month.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


def traffic_by(now: float) -> float:
    """When that month's count had certainly begun: from then on a lower number is a correction, not a new month. 0
    while it may begin."""
    since = traffic_since(now)
    return since + LATE if traffic_since(now + LATE) == since else 0.0


def addresses(server: Mapping[str, Any]) -> tuple[str, ...]:
    """The IPv4 address and the first of the IPv6 network, which images set up."""
    net = server["public_net"]
    own = [net["ipv4"]["ip"]] if net.get("ipv4") else []
    if net.get("ipv6"):
        own.append(str(ipaddress.ip_network(net["ipv6"]["ip"])[1]))
    return tuple(own)


def retires(thing: Mapping[str, Any]) -> tuple[float, str]:
    """When something that the provider sells ends: (epoch, date) of a type's place, an image or an ISO; (0, "") when
    nothing is announced. It is sold until then. (Official description: `deprecation` {announced,
    unavailable_after}.)"""
    after = str((thing.get("deprecation") or {}).get("unavailable_after") or "")
    return (datetime.fromisoformat(after).timestamp(), after[:10]) if after else (0.0, "")
