"""How the configuration of a machine is read and written. Rules and texts as read from
Proxmox VE's sources and schema."""

from __future__ import annotations

import re
import secrets
from typing import Any
from urllib.parse import unquote

from tests.pve import schema, volumes
from tests.pve.calls import Calls
from tests.pve.cluster import GIB, Error, Storage, Vm
from tests.pve.lines import DISK, MAC, SIZES, boot_order, new_mac, size_of

IMMEDIATE = re.compile(
    r"^(description|name|onboot|protection|tags|startup|ci\w+|sshkeys|ipconfig\d|nameserver|searchdomain|net\d)$"
)
COLD = ("aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro")  # vmconfig_update_disk


class Configs(Calls):
    # -- reading a machine ------------------------------------------------------------------------
    def get_vm_config(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if vm.temporary:
            return {"lock": "clone", "digest": self.c.digest(vm)}
        if name := p.get("snapshot"):
            if name not in vm.snapshots:
                raise Error(500, f"snapshot '{name}' does not exist")
            return {**vm.snapshots[name]["config"], "digest": self.c.digest(vm)}
        merged: dict[str, Any] = dict(vm.config)
        if p.get("current") != "1":
            for key, value in vm.pending.items():
                merged.pop(key, None)
                if value is not None:
                    merged[key] = value
        if "cipassword" in merged:
            merged["cipassword"] = "**********"
        if vm.template:
            merged["template"] = 1
        merged = {k: vm.by_hand.get(str(v), v) for k, v in merged.items()}
        return {**merged, "digest": self.c.digest(vm)}

    def get_vm_pending(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        rows = []
        for key in sorted({*vm.config, *vm.pending}):
            row: dict[str, Any] = {"key": key}
            if key in vm.config:
                row["value"] = "**********" if key == "cipassword" else vm.by_hand.get(vm.config[key], vm.config[key])
            if key in vm.pending:
                if vm.pending[key] is None:
                    row["delete"] = 1
                else:
                    row["pending"] = vm.pending[key]
            rows.append(row)
        return rows

    def get_vm_status_current(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        on = vm.status == "running"
        status: dict[str, Any] = {
            "status": "running" if vm.status in ("running", "paused") else "stopped",
            "vmid": vm.vmid,
            "uptime": int(self.c.clock.now() - vm.started) if on else 0,
            "qmpstatus": vm.status,
            "ha": {"managed": 0},
            **self.c.traffic(vm),
        }
        return {**status, "lock": vm.lock} if vm.lock else status

    # -- changing a machine -----------------------------------------------------------------------
    def put_vm_config(self, w: dict[str, str], p: dict[str, str]) -> Any:
        self._may_write(self.vm(w), p)
        self._write(self.vm(w), p)

    def _may_write(self, vm: Vm, p: dict[str, str]) -> None:
        """Who may write which key, and where what it names may be made (API2/Qemu.pm, `check_vm_modify_config_perm`,
        `check_storage_access`, `check_bridge_access`)."""
        for key, value in p.items():
            if re.match(r"^net\d+$", key):
                self.bridge(value)
            if volumes.DISK.match(key) and re.match(r"^[\w.-]+:\d+(,|$)", value) and "media=cdrom" not in value:
                self.c.need(f"/storage/{volumes.storage_of(value)}", "Datastore.AllocateSpace")
            if "import-from=" in value:
                self.c.need(f"/vms/{self._owner(value).vmid}", "VM.Clone")
            if DISK.match(key) and volumes.is_iso(value):
                if "media=cdrom" not in value:
                    text = "explicit 'media=cdrom' is required for iso images"
                    raise Error(400, "Parameter verification failed.", {key: text})
                self.c.need(f"/storage/{volumes.storage_of(value)}", "Datastore.AllocateSpace", "Datastore.Audit")
        gone = [k for k in p.get("delete", "").split(",") if k]
        for key in gone:
            if key.startswith("unused") and key in vm.config:
                self.c.need(f"/storage/{volumes.storage_of(vm.config[key])}", "Datastore.AllocateSpace")
        for key in [k for k in (*p, *gone) if k not in ("delete", "digest", "background_delay")]:
            privilege = next(name for pattern, name in schema.CONFIG_PRIVILEGES if pattern.search(key))
            if DISK.match(key) and all(
                re.search("media=cdrom|:cloudinit|^none$", line) for line in (p.get(key), vm.config.get(key)) if line
            ):
                privilege = "VM.Config.CDROM"
            if privilege == "root" or (
                "/dev/" in f"{p.get(key, '')}{vm.config.get(key, '')}" and key.startswith("serial")
            ):
                raise Error(500, f"only root can set '{key}' config")
            either = ("VM.Config.Network",) if privilege == "VM.Config.Cloudinit" else ()
            self.c.need(f"/vms/{vm.vmid}", "VM.Config.Options" if privilege == "Sys.Modify" else privilege, *either)
            if privilege == "Sys.Modify":
                self.c.need("/", privilege)

    def _write(self, vm: Vm, p: dict[str, str]) -> None:
        p = {k: v for k, v in p.items() if k != "background_delay"}
        gone = [k for k in p.pop("delete", "").split(",") if k]
        digest = p.pop("digest", "")
        self.unlocked(vm)
        if digest and digest != self.c.digest(vm):
            raise Error(500, "checksum mismatch (file change by other user?)")
        memory = int(p.get("memory", vm.config.get("memory", "512")).removeprefix("current="))
        if int(p.get("balloon", vm.config.get("balloon", 0))) > memory and "balloon" not in gone:
            raise Error(
                400,
                "Parameter verification failed.",
                {"balloon": "balloon value too large (must be smaller than assigned memory)"},
            )
        self._named(p)
        there = {*vm.config, *vm.pending, *p} - set(gone)
        missing = [d for d in boot_order(p.get("boot", "")) if d not in there]
        if missing:
            raise Error(500, f"invalid bootorder: device '{missing[0]}' does not exist'")
        before = boot_order(vm.config.get("boot", ""))
        for key in sorted(p, key=lambda k: k != "boot"):  # in any order; here the one that loses most
            self._set(vm, key, p[key])
            if "media=cdrom" in p[key] and before and key not in before:  # a new CD drive is marked bootable
                before.append(key)
                self._set(vm, "boot", "order=" + ";".join(before))
        for key in gone:
            if key in before:
                before.remove(key)
                self._set(vm, "boot", "order=" + ";".join(before))
            if key.startswith("unused") and key in vm.config:
                if any(vm.config[key] in str(s["config"]) for s in vm.snapshots.values()):
                    raise Error(500, f"unable to delete '{vm.config[key]}' - volume is still in use (snapshot?)")
                self.free(vm.config[key])
            if volumes.DISK.match(key) and key in vm.config and "media=cdrom" not in vm.config[key]:
                self._unused(vm, vm.config[key].split(",")[0])
                vm.content.pop(key, None)
            if vm.status == "stopped" or IMMEDIATE.match(key):
                vm.config.pop(key, None)
                vm.pending.pop(key, None)
            elif key in vm.config:
                vm.pending[key] = None

    def _named(self, p: dict[str, str]) -> None:
        """The format dns-name (pve-common, JSONSchema.pm), with the 63 characters of a label that the rest of the world
        holds to."""
        labels = p.get("name", "x").split(".")
        if not all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label) for label in labels):
            raise Error(
                400,
                "Parameter verification failed.",
                {"name": "invalid format - value does not look like a valid DNS name"},
            )

    def post_vm_config(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """As PUT, in a task: what is refused early is refused at once."""
        vm = self.vm(w)
        self._may_write(vm, p)
        self.unlocked(vm)
        return self.c.start_task("qmconfig", vm.node, vm.vmid, lambda: self._write(self.vm(w), dict(p)))

    def _owner(self, value: str) -> Vm:
        source = value.split("import-from=")[1].split(",")[0]
        owner = next((v for v in self.c.vms.values() if source in " ".join(v.config.values())), None)
        if owner is None:
            raise Error(500, f"volume '{source}' does not exist")
        return owner

    def _set(self, vm: Vm, key: str, value: str) -> None:
        if volumes.DISK.match(key) or re.match(r"net\d", key):
            value = volumes.plain(key, value)
        if key.startswith("net") and not MAC.search(value):
            model, _, rest = value.partition(",")
            value = f"{model}={new_mac()},{rest}"
        if key == "cipassword" and not re.match(r"^\$(1|5|6|2a|2y)\$", value):
            value = f"$5${secrets.token_hex(8)}$hashed"
        if key == "sshkeys":
            if not re.match(r"^(ssh-|ecdsa-)", unquote(value)):
                raise Error(400, "Parameter verification failed.", {"sshkeys": "SSH public key validation error"})
            value = unquote(value)
        if re.fullmatch(r"[\w-]+:cloudinit", value):
            there = next((k for k, v in vm.config.items() if volumes.DISK.match(k) and "cloudinit" in v), "")
            if there:
                raise Error(
                    400, "Parameter verification failed.", {key: f"cloud-init drive is already attached at '{there}'"}
                )
            self.c.need(f"/vms/{vm.vmid}", "VM.Config.Cloudinit")
            self.c.need(f"/storage/{value.split(':')[0]}", "Datastore.AllocateSpace")
            value = f"{value.split(':')[0]}:vm-{vm.vmid}-cloudinit,media=cdrom"
        if volumes.DISK.match(key) and "import-from=" in value:
            self._import(vm, key, value)
            return
        if DISK.match(key) and re.match(r"^[\w-]+:\d+(,|$)", value) and "media=cdrom" not in value:
            storage, _, size = value.partition(":")
            if key in vm.config:
                self._unused(vm, vm.config[key].split(",")[0])
            size, _, options = size.partition(",")
            store = self._disks_on(storage, vm.node)
            volume = volumes.new_name(self.c, store, vm.vmid, self._format(options))
            options = ",".join(o for o in options.split(",") if not o.startswith("format="))
            if store.total - store.used < int(size) * GIB:
                raise Error(500, f"unable to create volume: not enough free space in storage '{storage}'")
            store.used += int(size) * GIB
            self.c.volumes[volume] = int(size) * GIB
            value = ",".join(x for x in (volume, options, f"size={size}G") if x)
            if re.match(r"^(scsi|virtio)", key) and re.search(
                "^1$|disk", vm.config.get("hotplug", "1")
            ):  # these buses take one while it runs
                vm.config[key] = value
                return
        elif DISK.match(key) and volumes.is_cd(value):
            self._disc(vm, key, value)
            return
        elif DISK.match(key) and key in vm.config and value.split(",")[0] == vm.config[key].split(",")[0]:
            self._limits(vm, key, value)
            return
        if key == "tags":
            value = ";".join(sorted({t.lower() for t in re.split(r"[;, ]+", value) if t}))
        hot = key in ("memory", "balloon") and "memory" in vm.config.get("hotplug", "") and vm.config.get("numa") == "1"
        if vm.status == "stopped" or hot or IMMEDIATE.match(key) or value == vm.config.get(key):
            vm.config[key] = value
            vm.pending.pop(key, None)
        else:
            vm.pending[key] = value

    def _disc(self, vm: Vm, key: str, value: str) -> None:
        """Another medium in a drive that is there is there at once; a new drive of a machine that runs waits for its
        restart (create_disks in API2/Qemu.pm, vmconfig_update_disk in QemuServer.pm)."""
        if why := volumes.missing(self.c, value, vm.node):
            raise Error(500, why)
        if volumes.is_iso(value) and "size=" not in value:
            value += ",size=600M"
        there = key in vm.config
        if there and not volumes.is_cd(vm.config[key]) and vm.status != "stopped":
            text = "hotplug problem - unable to change media type"
            raise Error(400, "Parameter verification failed.", {key: text})
        if vm.status == "stopped" or there:
            vm.config[key] = value
            vm.pending.pop(key, None)
        else:
            vm.pending[key] = value

    def _import(self, vm: Vm, key: str, value: str) -> None:
        """A full copy of another machine's disk; the one that was there becomes unused."""
        storage, source = value.split(":")[0], value.split("import-from=")[1].split(",")[0]
        owner = self._owner(value)
        if owner.node != vm.node:
            raise Error(500, f"import failed: owner VM {owner.vmid} not on local node")
        slot = next(k for k, v in owner.config.items() if source in v)
        store = self._disks_on(storage, vm.node)
        volume = volumes.new_name(self.c, store, vm.vmid, self._format(value) or volumes.format_of(source))
        if key in vm.config:
            self._unused(vm, vm.config[key].split(",")[0])
        self.c.volumes[volume] = size_of(owner.config[slot])
        size = re.search(r"size=\w+", owner.config[slot])
        options = [o for o in value.split(",")[1:] if not o.startswith("import-from=")]
        vm.config[key] = ",".join([volume, *options, size.group(0) if size else "size=1G"])
        vm.content[key] = owner.content.get(slot, owner.config["name"])

    @staticmethod
    def _format(line: str) -> str:
        return next((o.partition("=")[2] for o in line.split(",") if o.startswith("format=")), "")

    def _disks_on(self, name: str, node: str) -> Storage:
        store = self.c.storages.get(name)
        if store is None or node not in store.nodes:
            raise Error(500, f"storage '{name}' does not exist")
        if "images" not in store.content.split(","):
            raise Error(
                400, "Parameter verification failed.", {"storage": f"storage '{name}' does not support vm images"}
            )
        if store.kind in ("iscsi", "iscsidirect"):
            raise Error(500, f"can't allocate space in {store.kind} storage")
        return store

    def _unused(self, vm: Vm, volume: str) -> None:
        number = next(i for i in range(100) if f"unused{i}" not in vm.config)
        vm.config[f"unused{number}"] = volume

    def _limits(self, vm: Vm, key: str, value: str) -> None:
        """Limits and most flags are written at once; those that QEMU cannot change live wait for a restart, with the
        whole line."""

        def rest(line: str) -> list[str]:
            return sorted(p for p in line.split(",") if p.split("=")[0] in COLD)

        size = re.search(r"size=\w+", vm.config[key])
        value = re.sub(r",size=\w+", "", value) + (f",{size.group(0)}" if size else "")
        for way in ("mbps", "iops"):
            if re.search(rf"\b{way}=", value) and re.search(rf"\b{way}_(rd|wr)=", value):
                raise Error(400, "Parameter verification failed.", {key: f"{way} and {way}_rd/wr exclude each other"})
        if vm.status == "stopped" or rest(value) == rest(vm.config[key]):
            vm.config[key] = value
            vm.pending.pop(key, None)
        else:
            vm.pending[key] = value

    def put_vm_resize(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        self.unlocked(vm)
        if p["disk"] not in vm.config:
            raise Error(400, "Parameter verification failed.", {"disk": f"disk '{p['disk']}' does not exist"})
        self.c.need(f"/storage/{volumes.storage_of(vm.config[p['disk']])}", "Datastore.AllocateSpace")
        match = re.fullmatch(r"(\+?)(\d+)([KMGT]?)", p["size"])
        if not match:
            raise Error(400, "Parameter verification failed.", {"size": "value does not match the regex pattern"})

        def effect() -> None:
            line = vm.config[p["disk"]]
            wanted = int(match.group(2)) * SIZES[match.group(3)] + (size_of(line) if match.group(1) else 0)
            if wanted < size_of(line):
                raise Error(500, "shrinking disks is not supported")
            vm.config[p["disk"]] = re.sub(r"size=\w+", f"size={wanted // GIB}G", line)

        return self.c.start_task("resize", vm.node, vm.vmid, effect)
