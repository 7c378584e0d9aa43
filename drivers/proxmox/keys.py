"""Every key of a virtual machine's configuration in Proxmox VE 8 and 9, and what we do about it: the one table that
birth, compare, the doctor, an order's refusal and a reinstall read. A test walks the official schema, so that no key of
either major is left out.

Who may write a key stands in qemu-server's API2/Qemu.pm (`check_vm_modify_config_perm`): what is in none of its lists
is for root@pam alone, so that no token can write or take it off; drives' and adapters' parts in QemuServer/Drive.pm and
Network.pm.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from bridge.model import Sentence


class Use(enum.Enum):
    """What becomes of a key that a template brings along."""

    SOLD = enum.auto()  # written from the order, at birth and later, and compared with it
    CLEARED = (
        enum.auto()
    )  # takes away or gives what was sold: taken off at birth and whenever it stands there again, and compared
    BIRTH = enum.auto()  # written or taken off at birth; who writes it later (staff, the customer) has his reason
    IMAGE = enum.auto()  # hardware that the image expects: comes with the clone, and with a reinstall
    KEPT = enum.auto()  # left to the template on purpose
    REFUSED = enum.auto()  # a template that has it is refused by name before the clone
    OWN = enum.auto()  # Proxmox VE's own book-keeping


ANY = re.compile(r"", re.DOTALL)
OFF = re.compile(r"^(0|no|off|false)\Z")
ON = re.compile(r"^(1|yes|on|true)\Z")
NUMBERED = re.compile(r"^([a-z]+)\d+\Z")
ALONE = ("efidisk0", "tpmstate0", "audio0", "rng0", "smbios1")  # there is only one: the number is part of the name


@dataclass(frozen=True)
class Key:
    """`why` is the reason of the choice. `bad` are the values meant where not every value is (of CLEARED, and of all
    that is `never` taken); `label` and `normal` are what people read of one that is CLEARED or, where a machine has it
    all the same, told; `root`: no token can write it."""

    use: Use
    why: str
    label: Sentence | None = None
    normal: str | bool = "none"
    bad: re.Pattern[str] = ANY
    never: re.Pattern[str] | None = None
    root: bool = False
    cold: bool = False  # takes effect at the next start

    def real(self, value: str) -> str | bool:
        """A value as people read it beside `normal`."""
        return not self.normal if isinstance(self.normal, bool) else value


def _refused(why: str, root: bool = True) -> Key:
    return Key(Use.REFUSED, why, never=ANY, root=root)


KEYS: dict[str, Key] = {
    # processor
    "cores": Key(Use.SOLD, "the package's cores"),
    "sockets": Key(Use.SOLD, "the package's cores"),
    "smp": Key(Use.CLEARED, "an old word for sockets", Sentence("Processors in an old setting (smp)"), cold=True),
    "vcpus": Key(
        Use.CLEARED, "only so many of the cores sold would run", Sentence("CPU cores switched on"), "all", cold=True
    ),
    "cpulimit": Key(Use.CLEARED, "less processor time than sold", Sentence("Limit of processor time"), "unlimited"),
    "cpuunits": Key(
        Use.CLEARED, "less or more weight than other servers", Sentence("Weight of processor time"), "as all"
    ),
    "affinity": Key(
        Use.REFUSED,
        "it ties every server of this template to the same cores of the host",
        Sentence("Cores of the host it is tied to"),
        "all",
        never=ANY,
        root=True,
    ),
    "cpu": Key(Use.IMAGE, "the operator chooses the type that its hosts and the image can do"),
    "numa": Key(Use.KEPT, "changes no size; memory can be added to a running server only with it"),
    "numa[n]": Key(
        Use.CLEARED, "a fixed layout of another size keeps it from starting", Sentence("Fixed memory layout"), cold=True
    ),
    "kvm": Key(
        Use.KEPT,
        "without it all is slow, but a host without hardware virtualisation runs nothing else; the doctor warns",
    ),
    "arch": Key(Use.IMAGE, "the image's own", root=True),
    "amd-sev": Key(Use.IMAGE, "encrypted memory, for images made for it", root=True),
    "intel-tdx": Key(Use.IMAGE, "encrypted memory, for images made for it", root=True),
    # memory
    "memory": Key(Use.SOLD, "the package's memory"),
    "balloon": Key(Use.SOLD, "the package's memory, none of it taken back"),
    "shares": Key(Use.BIRTH, "without effect while no memory is taken back"),
    "hugepages": Key(
        Use.KEPT, "the kind of the host's memory, not its amount; a size that does not fit is refused", root=True
    ),
    "keephugepages": Key(Use.KEPT, "what the host does with that memory afterwards", root=True),
    "allow-ksm": Key(Use.KEPT, "the operator chooses whether equal pages are shared"),
    "ivshmem": _refused("all servers of this template would share memory with one another"),
    # disks; the parts of their lines are in DRIVE
    **{
        f"{bus}[n]": Key(Use.SOLD, "system and additional disk, cloud-init drive, CD drive")
        for bus in ("scsi", "virtio", "sata", "ide")
    },
    "efidisk0": Key(Use.IMAGE, "the image's boot entries"),
    "tpmstate0": Key(Use.IMAGE, "the image's keys"),
    "unused[n]": Key(Use.OWN, "a clone does not have it"),
    "scsihw": Key(Use.IMAGE, "the controller that the image knows"),
    "boot": Key(Use.SOLD, "the system disk first"),
    "bootdisk": Key(Use.BIRTH, "an old word for the boot order"),
    "vmstatestorage": Key(Use.KEPT, "where the memory of snapshots goes is the operator's choice"),
    # network; the parts of the line are in NIC
    "net[n]": Key(Use.SOLD, "net0 is sold; further ones are taken off at birth"),
    # cloud-init
    "ciuser": Key(Use.BIRTH, "the plan's user"),
    "cipassword": Key(Use.SOLD, "the customer's password"),
    "sshkeys": Key(Use.BIRTH, "the customer's keys, or none"),
    "ciupgrade": Key(Use.BIRTH, "no upgrade before the first login"),
    "citype": Key(Use.IMAGE, "the form that the system inside reads"),
    "cicustom": Key(
        Use.CLEARED,
        "files in the place of our user, password and addresses",
        Sentence("Cloud-init files in place of ours"),
        bad=re.compile(r"(^|,)(user|network|meta)="),
    ),
    "nameserver": Key(Use.SOLD, "the pool's; the template's where the pool has none"),
    "searchdomain": Key(Use.KEPT, "the operator's"),
    "ipconfig[n]": Key(Use.SOLD, "of net0; others are taken off at birth"),
    # what the machine is made of beside
    "bios": Key(Use.IMAGE, "what the image boots with"),
    "machine": Key(Use.IMAGE, "what the image boots with"),
    "ostype": Key(Use.IMAGE, "what the image is"),
    "vga": Key(Use.BIRTH, "a screen for the console"),
    "serial[n]": Key(Use.BIRTH, "a socket, which cloud images write to", never=re.compile(r"^/dev/")),
    "parallel[n]": _refused("a device of the host"),
    "usb[n]": Key(Use.KEPT, "by the operator's mapping only", never=re.compile(r"^(?!.*mapping=)(?!(host=)?spice)")),
    "hostpci[n]": Key(Use.KEPT, "by the operator's mapping only", never=re.compile(r"^(?!.*mapping=)")),
    "virtiofs[n]": _refused("all servers of this template would share a folder of the host", root=False),
    "audio0": Key(Use.IMAGE, "sound that the image expects"),
    "rng0": Key(Use.IMAGE, "a source of randomness", never=re.compile(r"/dev/hwrng")),
    "tablet": Key(Use.IMAGE, "a pointer that the image knows"),
    "watchdog": Key(Use.IMAGE, "acts only when the system inside asks for it"),
    "keyboard": Key(Use.KEPT, "the layout of the console"),
    "spice_enhancements": Key(Use.KEPT, "our console is not SPICE", root=True),
    "tdf": Key(Use.IMAGE, "a way to keep time that old images need"),
    "localtime": Key(Use.IMAGE, "what the image takes the hardware clock for"),
    "startdate": Key(
        Use.CLEARED,
        "a wrong time at every start",
        Sentence("Date at each start"),
        "now",
        re.compile(r"^(?!now$)"),
        cold=True,
    ),
    "acpi": Key(
        Use.CLEARED, "it could not be asked to shut down", Sentence("Shutdown on request (ACPI)"), True, OFF, cold=True
    ),
    "freeze": Key(Use.CLEARED, "it would never boot", Sentence("Processor halted at the start"), False, ON, cold=True),
    "reboot": Key(
        Use.CLEARED, "a restart from inside would switch it off", Sentence("Restart from inside"), True, OFF, cold=True
    ),
    "hotplug": Key(Use.KEPT, "says what waits for a restart, which is told"),
    "agent": Key(Use.BIRTH, "on; what else it says of the agent is the image's"),
    "args": _refused("it can change anything, and no token can take it off"),
    "hookscript": _refused("it runs as root on the host for every customer, and no token can take it off"),
    # what the host and people do with it
    "name": Key(Use.SOLD, "the host name"),
    "description": Key(Use.SOLD, "whose it is, beside what staff wrote"),
    "tags": Key(Use.SOLD, "ours and the plan's, beside staff's"),
    "smbios1": Key(Use.SOLD, "the identity; what else it says is the image's"),
    "onboot": Key(Use.SOLD, "whether it starts with the host"),
    "startup": Key(Use.SOLD, "the plan's order; without one the template's, since it needs a privilege of its own"),
    "autostart": Key(Use.KEPT, "ignored by Proxmox VE"),
    "protection": Key(Use.BIRTH, "it could not be terminated; later it is staff's safety belt"),
    "migrate_downtime": Key(Use.KEPT, "the operator's"),
    "migrate_speed": Key(Use.KEPT, "the operator's"),
    "lock": Key(Use.OWN, "something is being done to it, or broke off"),  # waited for, see templates.refuse_locked
    "template": Key(Use.OWN, "a clone does not have it"),
    "vmgenid": Key(Use.OWN, "made anew with each clone", root=True),
}
KEYS |= {
    k: Key(Use.OWN, "of snapshots and running machines; a clone does not have it", root=True)
    for k in ("parent", "snaptime", "snapstate", "vmstate", "runningcpu", "runningmachine", "running-nets-host-mtu")
} | {k: Key(Use.OWN, "written by Proxmox VE alone", root=True) for k in ("meta", "digest", "special-sections")}

# Parameters of the call that are no keys of a configuration. `cdrom` is another word for ide2.
REQUEST = frozenset(
    [
        "delete",
        "revert",
        "digest",
        "force",
        "skiplock",
        "node",
        "vmid",
        "background_delay",
        "import-working-storage",
        "skip_cloud_init",
        "cdrom",
    ]
)

LIMIT, BURST = (
    Key(Use.SOLD, "the package's limit"),
    Key(Use.BIRTH, "beyond the limit sold; later beside it, where staff wants it"),
)


def _both(label: Sentence) -> Key:
    return Key(Use.CLEARED, "a limit beside the ones sold", label, "unlimited")


# Parts of the line of a disk that is sold. What is not there is unknown to both majors.
DRIVE: dict[str, Key] = {
    **dict.fromkeys(("mbps_rd", "mbps_wr", "iops_rd", "iops_wr"), LIMIT),
    "mbps": _both(Sentence("Limit of reading and writing together, MiB/s")),
    "iops": _both(Sentence("Limit of reading and writing together, IOPS")),
    **dict.fromkeys(("bps", "bps_rd", "bps_wr"), _both(Sentence("Limit in bytes per second"))),
    **{
        f"{unit}{way}_{what}": BURST
        for unit in ("mbps", "iops", "bps")
        for way in ("", "_rd", "_wr")
        for what in ("max", "max_length", "length")
    },
    "backup": Key(Use.CLEARED, "backups would be without it", Sentence("In backups"), True, OFF),
    "snapshot": Key(
        Use.CLEARED,
        "all that is written is lost when it is switched off",
        Sentence("Forgets what is written"),
        False,
        ON,
        cold=True,
    ),
    "ro": Key(Use.CLEARED, "nothing can be written", Sentence("Read only"), False, ON, cold=True),
    "cache": Key(
        Use.CLEARED,
        "unsafe loses what was written when the host stops; other ways are the operator's",
        Sentence("Cache"),
        "safe",
        re.compile(r"^unsafe\Z"),
        cold=True,
    ),
    "werror": Key(
        Use.CLEARED,
        "lost writes would go unseen",
        Sentence("Write errors"),
        "told",
        re.compile(r"^ignore\Z"),
        cold=True,
    ),
    "rerror": Key(
        Use.CLEARED,
        "failed reads would go unseen",
        Sentence("Read errors"),
        "told",
        re.compile(r"^ignore\Z"),
        cold=True,
    ),
    **dict.fromkeys(("file", "volume"), Key(Use.OWN, "the volume")),
    "import-from": Key(Use.OWN, "of the call that makes it"),
    "size": Key(Use.SOLD, "the package's size; written by growing alone"),
    "media": Key(Use.OWN, "what tells a CD from a disk"),
    "format": Key(Use.OWN, "the volume's own"),
    "replicate": Key(Use.KEPT, "the operator's replication"),
    "shared": Key(Use.KEPT, "says of a path that other nodes have it; a volume's storage tells it"),
    **dict.fromkeys(
        ("aio", "discard", "detect_zeroes", "iothread", "queues"), Key(Use.KEPT, "how, not how much; the operator's")
    ),
    **dict.fromkeys(
        ("ssd", "serial", "wwn", "vendor", "product", "model"), Key(Use.KEPT, "what the system inside reads of it")
    ),
    "scsiblock": Key(Use.KEPT, "of a device of the host, which a clone cannot have"),
    **dict.fromkeys(("cyls", "heads", "secs", "trans"), Key(Use.KEPT, "geometry for very old systems, until 8")),
}

# Parts of net0's line.
NIC: dict[str, Key] = {
    **dict.fromkeys(("model", "macaddr"), Key(Use.SOLD, "the plan's model with the service's address")),
    "bridge": Key(Use.SOLD, "the pool's"),
    "tag": Key(Use.SOLD, "the pool's VLAN"),
    "rate": Key(Use.SOLD, "the package's limit"),
    "firewall": Key(Use.SOLD, "the plan's"),
    "link_down": Key(Use.CLEARED, "no network", Sentence("Network cable plugged in"), True, ON),
    "trunks": Key(Use.CLEARED, "other customers' VLANs", Sentence("Further VLANs")),
    "mtu": Key(Use.KEPT, "the operator's network"),
    "queues": Key(Use.KEPT, "how, not how much"),
}


def base_name(name: str) -> str:
    """`scsi3` -> `scsi[n]`, as the schema writes it; what has no number stays."""
    match = NUMBERED.match(name)
    return f"{match.group(1)}[n]" if match and name not in ALONE else name


def of(name: str) -> Key:
    """What we do about a key. One that neither major knows is left alone: a later release's, and kept with the
    template."""
    return KEYS.get(base_name(name), UNKNOWN)


UNKNOWN = Key(Use.KEPT, "of a later release")


def takes(key: Key, value: object) -> bool:
    """Whether a value takes away or gives what was sold, and is taken off for that."""
    return key.use is Use.CLEARED and told(key, value)


def told(key: Key, value: object) -> bool:
    """Whether a value takes away or gives what was sold, also where only root can take it off."""
    return key.label is not None and bool(key.bad.search(str(value).strip()))
