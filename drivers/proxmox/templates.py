"""Whether a template can make what a plan sells. One judgement, by which an order is refused before anything is made, a
reinstall before anything is stopped, and the doctor names the fault with its fix. What is done about each key stands in
keys.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.errors import Busy
from bridge.model import Package, VmRef
from drivers.proxmox import convert, keys, proof
from drivers.proxmox.api import Api
from drivers.proxmox.keys import Use

PAGES = {"2": 2, "1024": 1024}  # MiB of a huge page; `any` takes what fits


@dataclass(frozen=True)
class Template:
    """One template as it stands on one node."""

    vm_id: str
    node: str
    config: Mapping[str, Any]

    def __str__(self) -> str:
        return f"template {self.vm_id} on {self.node}"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a template, with its fix. Not `fatal`: worth to know, but an order is carried out."""

    text: str
    fix: str
    fatal: bool = True


def read(api: Api, node: str, vm_id: str) -> Template:
    return Template(vm_id, node, api.get(f"nodes/{node}/qemu/{vm_id}/config"))


def refuse_locked(api: Api, template: Template) -> None:
    """Raises Busy while a task is at work on it, such as its own backup: what needs it waits. Raises NeedsOperator,
    naming it and the command, when that task has ended without freeing it. Busy names no lock: the machine of the order
    is not the one that is held."""
    try:
        proof.refuse_locked(api, VmRef(template.vm_id, (), template.node), template.node, template.config)
    except Busy as e:
        text = "The template of this system is being worked on; this goes on when that ends."
        raise Busy(text, code="template_locked", detail=f"{template}: {e.detail}") from None


def judge(template: Template, package: Package) -> list[Fault]:
    """Everything that is to say of it for this package; pure."""
    return [*_disks(template, package), *_keys(template, package), *_warnings(template), *locked(template)]


def locked(template: Template, held: bool = True) -> list[Fault]:
    """What a lock means for orders; `held`: whether the task that took it may be at work still."""
    lock = template.config.get("lock")
    if not lock:
        return []
    fix = f"qm unlock {template.vm_id} (as root)"
    if held:
        text, fix = "orders wait until it is free", f"nothing while a task is at work on it, else {fix}"
    else:
        text = "the task that took it has ended, so orders wait for staff"
    return [Fault(f"{template} is locked ({lock}): {text}", fix, fatal=not held)]


def fatal(template: Template, package: Package) -> str:
    """Why no order can be made of it, in one line; empty when it can."""
    return "; ".join(f.text for f in judge(template, package) if f.fatal)


def _disks(template: Template, package: Package) -> list[Fault]:
    """What a template's drives lack: cloud-init, one system disk no bigger than the plan's, on a storage."""
    config, faults = template.config, []
    disks, system = convert.disks(config), convert.system_disk(config)
    if not convert.cloud_init_slot(config):
        faults.append(
            Fault(
                f"{template} has no cloud-init drive: user, password and addresses would never reach the system",
                f"qm set {template.vm_id} --ide2 {package.options['storage']}:cloudinit",
            )
        )
    if not system:
        return [*faults, Fault(f"{template} has no system disk", "attach one and set the boot order")]
    if len(disks) > 1:
        return [*faults, _second(template, disks, system)]
    line = convert.parse_line(str(config[system]))
    if convert.size_bytes(line.get("size", "")) > package.disk_gib * 1024**3:
        faults.append(
            Fault(
                f"{template} has a bigger disk than the plan's {package.disk_gib} GiB",
                "raise disk_gib: disks cannot shrink",
            )
        )
    if ":" not in (line.get("") or line.get("file") or ""):
        faults.append(Fault(f"{template} has a device of the host as {system}", "move it to a storage: qm disk import"))
    return faults


def _second(template: Template, disks: list[str], system: str) -> Fault:
    """Given away with every order, and in the way of every change of package; a plan's additional disk is made
    apart."""
    booted = any(d in disks for d in convert.boot_devices(template.config))
    others = ", ".join(d for d in disks if d != system)
    if not booted:
        return Fault(
            f"{template} has several disks ({', '.join(disks)}) and boots from none of them",
            f"qm set {template.vm_id} --boot order=<the system disk>, and remove the others",
        )
    return Fault(
        f"{template} boots from {system} and has further disks ({others}), which no plan sells",
        f"qm set {template.vm_id} --delete {others.replace(' ', '')}; a plan's additional disk is made with each"
        " server",
    )


def _keys(template: Template, package: Package) -> list[Fault]:
    """Keys of a template that its machines must not inherit, or that its plan does not go with."""
    faults = []
    for name, value in template.config.items():
        key = keys.of(name)
        if key.never and key.never.search(str(value)):
            fix = f"remove it: qm set {template.vm_id} --delete {name}" + (" (as root)" if key.root else "")
            faults.append(Fault(f"{template} has {name} ({value}): {key.why}", fix))
    page = PAGES.get(str(template.config.get("hugepages", "")), 1)
    if package.ram_mib % page:
        faults.append(
            Fault(
                f"{template} has memory in pages of {page} MiB, of which {package.ram_mib} MiB is no multiple",
                "sell whole pages, or take hugepages off the template",
            )
        )
    parts = convert.parse_line(str(template.config.get("cicustom", "")))
    if parts.get("vendor") and keys.takes(keys.KEYS["cicustom"], template.config["cicustom"]):
        faults.append(
            Fault(
                f"{template} has cicustom with files in place of our user, password or addresses beside the vendor's",
                f"qm set {template.vm_id} --cicustom vendor={parts['vendor']}",
            )
        )
    return faults


def _warnings(template: Template) -> list[Fault]:
    """What of a template is worth knowing and keeps no order from being made."""
    config, faults = template.config, []
    own = _cleared(config)
    if own:
        faults.append(
            Fault(
                f"{template} has settings that every order takes off: {', '.join(own)}",
                "nothing has to be done; take them off the template to be rid of this line",
                fatal=False,
            )
        )
    if str(config.get("kvm", 1)) == "0":
        faults.append(
            Fault(
                f"{template} runs without hardware virtualisation (kvm: 0): servers of it are many times slower",
                f"qm set {template.vm_id} --delete kvm, unless the hosts have none",
                fatal=False,
            )
        )
    if convert.is_windows(config):
        faults.append(
            Fault(
                f"{template} is Windows: Proxmox keeps its first password in clear in the VM's configuration",
                "have customers change it; it needs cloudbase-init inside",
                fatal=False,
            )
        )
    if not convert.AGENT_ON.match(str(config.get("agent", ""))):
        faults.append(
            Fault(
                f"{template} does not say that a guest agent is installed",
                f"install qemu-guest-agent in it and run qm set {template.vm_id} --agent enabled=1: "
                "passwords then change at once",
                fatal=False,
            )
        )
    if not convert.cd_slot(config):
        faults.append(Fault(f"{template} has no free CD slot", "free ide0", fatal=False))
    return faults


def _cleared(config: Mapping[str, Any]) -> list[str]:
    """Keys and parts of lines that would take away or give what is sold."""
    own = [name for name, value in config.items() if keys.takes(keys.of(name), value)]
    for slot, table in [*((d, keys.DRIVE) for d in convert.disks(config)), ("net0", keys.NIC)]:
        for part, value in convert.parse_line(str(config.get(slot, ""))).items():
            if part in table and table[part].use is Use.CLEARED and keys.takes(table[part], value):
                own.append(f"{slot} {part}={value}")
    return own
