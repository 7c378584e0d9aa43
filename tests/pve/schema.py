"""The calls the simulator knows, each with its parameters and privilege. Stricter than a mock: an unknown
parameter or a wrong type is 400, as in the real API. Compared with the official description by a test."""

from __future__ import annotations

import re

INT, BOOL, STR, NUM = "integer", "boolean", "string", "number"
ID = {"string": str}

BOOLEANS = (
    "acpi allow-ksm autostart ciupgrade freeze keephugepages kvm localtime numa onboot protection reboot tablet tdf"
    " template"
)
INTEGERS = "balloon cores cpuunits migrate_speed shares smp sockets vcpus"
NUMBERS = "cpulimit migrate_downtime"
STRINGS = (
    "affinity agent amd-sev arch args audio0 bios boot bootdisk cicustom cipassword citype ciuser cpu delete"
    " description digest efidisk0 hookscript hotplug hugepages intel-tdx ivshmem keyboard lock machine memory name"
    " nameserver ostype rng0 scsihw searchdomain smbios1 spice_enhancements sshkeys startdate startup tags tpmstate0"
    " vga vmgenid vmstatestorage watchdog"
)
COUNTS = {
    "net": 4,
    "ipconfig": 4,
    "serial": 4,
    "scsi": 31,
    "virtio": 16,
    "ide": 4,
    "sata": 6,
    "numa": 4,
    "usb": 4,
    "hostpci": 4,
    "parallel": 3,
    "virtiofs": 2,
}
CONFIG: dict[str, str] = {
    **dict.fromkeys(STRINGS.split(), STR),
    **dict.fromkeys(BOOLEANS.split(), BOOL),
    **dict.fromkeys(INTEGERS.split(), INT),
    **dict.fromkeys(NUMBERS.split(), NUM),
    **{f"{name}{i}": STR for name, count in COUNTS.items() for i in range(count)},
}
ONLY_9 = {"allow-ksm", "intel-tdx"}  # 9-only parameters of calls here: an 8 refuses them
VM = "/nodes/{node}/qemu/{vmid}"
FW = f"{VM}/firewall"
RULE = dict.fromkeys(
    ("type", "action", "macro", "iface", "source", "dest", "proto", "log", "sport", "dport", "comment", "icmp-type"),
    STR,
)
RULE |= {"enable": INT, "pos": INT, "digest": STR}

GUEST = ("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")

# (method, path) -> (parameters, privilege path, privileges of which one is enough); what depends on values stands with
# the handler
CALLS: dict[tuple[str, str], tuple[dict[str, str], str, tuple[str, ...]]] = {
    ("GET", "/version"): ({}, "", ()),
    ("GET", "/access/permissions"): ({"path": STR, "userid": STR}, "", ()),
    ("GET", "/cluster/status"): ({}, "/", ("Sys.Audit",)),
    ("GET", "/cluster/resources"): ({"type": STR}, "", ()),
    ("GET", "/cluster/nextid"): ({"vmid": INT}, "", ()),
    ("GET", "/cluster/tasks"): ({}, "", ()),
    ("GET", "/cluster/firewall/options"): ({}, "/", ("Sys.Audit",)),
    ("GET", "/nodes/{node}/time"): ({}, "/nodes/{node}", ("Sys.Audit",)),
    ("GET", "/nodes/{node}/network"): ({"type": STR}, "", ()),
    ("GET", "/nodes/{node}/tasks"): (
        {"source": STR, "vmid": INT, "typefilter": STR, "since": INT, "limit": INT, "start": INT, "userfilter": STR},
        "",
        (),
    ),
    ("GET", "/nodes/{node}/tasks/{upid}/status"): ({}, "", ()),
    ("GET", "/nodes/{node}/tasks/{upid}/log"): ({"start": INT, "limit": INT}, "", ()),
    ("DELETE", "/nodes/{node}/tasks/{upid}"): ({}, "", ()),
    ("GET", f"{VM}/config"): ({"current": BOOL, "snapshot": STR}, "/vms/{vmid}", ("VM.Audit",)),
    ("PUT", f"{VM}/config"): (CONFIG, "", ()),
    ("POST", f"{VM}/config"): ({**CONFIG, "background_delay": INT}, "", ()),
    ("POST", f"{VM}/vncproxy"): ({"websocket": BOOL, "generate-password": BOOL}, "/vms/{vmid}", ("VM.Console",)),
    ("GET", f"{VM}/vncwebsocket"): ({"port": INT, "vncticket": STR}, "/vms/{vmid}", ("VM.Console",)),
    ("POST", f"{VM}/agent/ping"): ({}, "/vms/{vmid}", GUEST),
    ("GET", f"{VM}/agent/network-get-interfaces"): ({}, "/vms/{vmid}", GUEST),
    ("POST", f"{VM}/agent/set-user-password"): (
        {"username": STR, "password": STR, "crypted": BOOL},
        "/vms/{vmid}",
        ("VM.GuestAgent.Unrestricted",),
    ),
    ("GET", f"{VM}/snapshot"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("POST", f"{VM}/snapshot"): (
        {"snapname": STR, "description": STR, "vmstate": BOOL},
        "/vms/{vmid}",
        ("VM.Snapshot",),
    ),
    ("DELETE", f"{VM}/snapshot/{{snapname}}"): ({"force": BOOL}, "/vms/{vmid}", ("VM.Snapshot",)),
    ("POST", f"{VM}/snapshot/{{snapname}}/rollback"): (
        {"start": BOOL},
        "/vms/{vmid}",
        ("VM.Snapshot.Rollback", "VM.Snapshot"),
    ),
    ("GET", "/storage"): ({"type": STR}, "", ()),
    ("POST", "/nodes/{node}/vzdump"): (
        {
            "vmid": STR,
            "storage": STR,
            "mode": STR,
            "compress": STR,
            "notes-template": STR,
            "protected": BOOL,
            "remove": BOOL,
        },
        "/storage/{storage}",
        (),
    ),
    ("GET", "/nodes/{node}/vzdump/extractconfig"): ({"volume": STR}, "", ()),
    ("POST", "/nodes/{node}/qemu"): (
        {"vmid": INT, "archive": STR, "force": BOOL, "unique": BOOL, "storage": STR, "start": BOOL},
        "",
        (),
    ),
    ("GET", f"{VM}/pending"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("GET", f"{VM}/status/current"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("GET", f"{VM}/rrddata"): ({"timeframe": STR, "cf": STR}, "/vms/{vmid}", ("VM.Audit",)),
    ("POST", f"{VM}/status/start"): ({"timeout": INT}, "/vms/{vmid}", ("VM.PowerMgmt",)),
    ("POST", f"{VM}/status/stop"): ({"timeout": INT, "overrule-shutdown": BOOL}, "/vms/{vmid}", ("VM.PowerMgmt",)),
    ("POST", f"{VM}/status/shutdown"): ({"timeout": INT, "forceStop": BOOL}, "/vms/{vmid}", ("VM.PowerMgmt",)),
    ("POST", f"{VM}/status/reboot"): ({"timeout": INT}, "/vms/{vmid}", ("VM.PowerMgmt",)),
    ("POST", f"{VM}/clone"): (
        {
            "newid": INT,
            "name": STR,
            "description": STR,
            "full": BOOL,
            "storage": STR,
            "target": STR,
            "format": STR,
            "pool": STR,
        },
        "/vms/{vmid}",
        ("VM.Clone",),
    ),
    ("POST", f"{VM}/migrate"): ({"target": STR, "online": BOOL}, "/vms/{vmid}", ("VM.Migrate",)),
    ("PUT", f"{VM}/resize"): ({"disk": STR, "size": STR, "digest": STR}, "/vms/{vmid}", ("VM.Config.Disk",)),
    ("DELETE", VM): ({"purge": BOOL, "destroy-unreferenced-disks": BOOL}, "/vms/{vmid}", ("VM.Allocate",)),
    ("GET", "/nodes/{node}/storage/{storage}/content"): (
        {"content": STR, "vmid": INT},
        "/storage/{storage}",
        ("Datastore.Audit", "Datastore.AllocateSpace"),
    ),
    ("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}"): ({"delay": INT}, "", ()),
    ("GET", f"{FW}/aliases"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("DELETE", f"{FW}/aliases/{{name}}"): ({"digest": STR}, "/vms/{vmid}", ("VM.Config.Network",)),
    ("GET", f"{FW}/ipset"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("DELETE", f"{FW}/ipset/{{name}}"): ({"force": BOOL}, "/vms/{vmid}", ("VM.Config.Network",)),
    ("GET", f"{FW}/options"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("PUT", f"{FW}/options"): (
        {
            "enable": BOOL,
            "policy_in": STR,
            "policy_out": STR,
            "dhcp": BOOL,
            "ndp": BOOL,
            "radv": BOOL,
            "macfilter": BOOL,
            "ipfilter": BOOL,
            "log_level_in": STR,
            "log_level_out": STR,
            "delete": STR,
            "digest": STR,
        },
        "/vms/{vmid}",
        ("VM.Config.Network",),
    ),
    ("GET", f"{FW}/rules"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("POST", f"{FW}/rules"): (RULE, "/vms/{vmid}", ("VM.Config.Network",)),
    ("PUT", f"{FW}/rules/{{pos}}"): (
        {**{k: v for k, v in RULE.items() if k != "pos"}, "moveto": INT, "delete": STR},
        "/vms/{vmid}",
        ("VM.Config.Network",),
    ),
    ("GET", f"{FW}/log"): ({"start": INT, "limit": INT, "since": INT, "until": INT}, "/vms/{vmid}", ("VM.Console",)),
    ("GET", "/nodes/{node}/firewall/options"): ({}, "/nodes/{node}", ("Sys.Audit",)),
    ("DELETE", f"{FW}/rules/{{pos}}"): ({"digest": STR}, "/vms/{vmid}", ("VM.Config.Network",)),
    ("POST", f"{FW}/ipset"): ({"name": STR, "comment": STR, "rename": STR}, "/vms/{vmid}", ("VM.Config.Network",)),
    ("GET", f"{FW}/ipset/{{name}}"): ({}, "/vms/{vmid}", ("VM.Audit",)),
    ("POST", f"{FW}/ipset/{{name}}"): (
        {"cidr": STR, "nomatch": BOOL, "comment": STR},
        "/vms/{vmid}",
        ("VM.Config.Network",),
    ),
    ("DELETE", f"{FW}/ipset/{{name}}/{{cidr}}"): ({"digest": STR}, "/vms/{vmid}", ("VM.Config.Network",)),
}
# qemu-server's API2/Qemu.pm, check_vm_modify_config_perm: what is in no list is for root alone
CONFIG_PRIVILEGES = (
    (re.compile(r"^(cores|cpu|cpulimit|cpuunits|numa\d*|smp|sockets|vcpus)$"), "VM.Config.CPU"),
    (re.compile(r"^(memory|balloon|shares|allow-ksm)$"), "VM.Config.Memory"),
    (re.compile(r"^net\d$"), "VM.Config.Network"),
    (re.compile(r"^(ci\w+|sshkeys|nameserver|searchdomain|ipconfig\d)$"), "VM.Config.Cloudinit"),
    (re.compile(r"^startup$"), "Sys.Modify"),
    (
        re.compile(
            r"^(acpi|hotplug|kvm|machine|scsihw|smbios1|tablet|vga|watchdog|audio0|rng0|serial\d|usb\d|hostpci\d"
            r"|virtiofs\d)$"
        ),
        "VM.Config.HWType",
    ),
    (
        re.compile(r"^(scsi|virtio|sata|ide|unused)\d+$|^(boot|bootdisk|vmstatestorage|efidisk0|tpmstate0)$"),
        "VM.Config.Disk",
    ),
    (re.compile(r"^freeze$"), "VM.PowerMgmt"),
    (
        re.compile(
            r"^(agent|autostart|bios|description|keyboard|localtime|migrate_downtime|migrate_speed|name|onboot|ostype"
            r"|protection|reboot|startdate|startup|tags|tdf|template)$"
        ),
        "VM.Config.Options",
    ),
    (re.compile(r"."), "root"),
)
ROUTES = [
    (
        method,
        re.compile(
            "^"
            + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
            .replace("(?P<cidr>[^/]+)", "(?P<cidr>.+)")
            .replace("(?P<volume>[^/]+)", "(?P<volume>.+)")
            + "$"
        ),
        path,
    )
    for method, path in CALLS
]
ROUTES_OF = {method: [r[1:] for r in ROUTES if r[0] == method] for method, _, _ in ROUTES}


def fault(kind: str, value: str) -> str:
    """What the API says of a value of the wrong type; empty when it is right."""
    if kind == BOOL and value not in ("0", "1"):
        return f"type check ('boolean') failed - got '{value}'"
    if kind == INT and not re.fullmatch(r"-?\d+", value):
        return f"type check ('integer') failed - got '{value}'"
    if kind == NUM and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return f"type check ('number') failed - got '{value}'"
    return ""
