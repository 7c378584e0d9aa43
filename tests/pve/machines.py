"""How a machine is cloned, moved, switched and destroyed. Rules and texts as read from
Proxmox VE's sources and schema."""

from __future__ import annotations

import copy
import re
import uuid
from typing import Any

from tests.pve import volumes
from tests.pve.cluster import Error, Storage, Vm
from tests.pve.configs import Configs
from tests.pve.history import Histories
from tests.pve.lines import DISK, MAC, booted, cores_of, new_mac, size_of, starts_from


class Machines(Configs, Histories):
    def post_vm_clone(self, w: dict[str, str], p: dict[str, str]) -> Any:
        source, new = self.vm(w), int(p["newid"])
        self.c.need(f"/vms/{new}", "VM.Allocate")
        self._named(p)
        target = p.get("target", source.node)
        if target not in self.c.nodes:
            raise Error(500, f"no such cluster node '{target}'")
        storage = self._disks_on(p["storage"], source.node) if "storage" in p else None
        if storage and target != source.node:
            self._disks_on(storage.name, target)
            if not storage.shared:
                raise Error(500, f"can't clone to non-shared storage '{storage.name}'")
        self.unlocked(source)
        full = p.get("full", "0" if source.template else "1") == "1"
        for word in ("storage", "format"):
            if not full and word in p:
                raise Error(500, f"parameter '{word}' not allowed for linked clones")
        drives = {k: v for k, v in source.config.items() if volumes.DISK.match(k) and ":" in v}
        shared = self._may_copy(source, drives, storage)
        if target != source.node and not shared:
            raise Error(500, f"can't clone VM to node '{target}' (VM uses local storage)")
        if new in self.c.vms:
            raise Error(500, f"unable to create VM {new}: config file already exists")
        for slot, line in drives.items():
            kind = self.c.storages[volumes.storage_of(line)].kind
            if not full and "media=cdrom" not in line and slot != "tpmstate0" and kind not in volumes.LINKED:
                raise Error(500, f"Linked clone feature is not supported for '{line.split(',')[0]}' ({slot})")
        busy = [t for t in self.c.tasks.values() if t.kind == "qmclone" and self.c.running(t) and t.node == source.node]
        disks = [k for k, v in source.config.items() if volumes.DISK.match(k) and "media=cdrom" not in v]
        kind = "full" if full else "linked"
        log = [f"creating a clone of VM {source.vmid} with ID {new}"]
        log += [f"create {kind} clone of drive {d} ({source.config[d].split(',')[0]})" for d in disks]
        if len(busy) >= self.c.parallel_allocations:
            task = self.c.start_task("qmclone", source.node, source.vmid, None, log, 0.0)
            which = storage.name if storage else "local-lvm"
            self.c.tasks[
                task
            ].status = f"clone failed: can't lock file '/var/lock/pve-manager/pve-storage-{which}' - got timeout"
            return task
        made = Vm(new, source.node, {"lock": "clone"}, temporary=True)
        self.c.vms[new] = made

        def effect() -> None:
            config = {
                k: v for k, v in copy.deepcopy(source.config).items() if k != "lock" and not k.startswith("unused")
            }
            for key in list(config):
                if key.startswith("net"):
                    config[key] = MAC.sub(new_mac(), config[key])
            for slot, line in drives.items():
                config[slot] = self._copied(source, made, slot, line, storage, full, p.get("format", ""))
            identity = config.get("smbios1", "uuid=")  # clone_vm makes one where there is none
            config["smbios1"] = re.sub(r"uuid=[^,]*", f"uuid={uuid.uuid4()}", identity)
            config |= {k: p[k] for k in ("name", "description") if k in p}
            made.by_hand = dict(source.by_hand)
            made.agent_after, made.leases, made.lease_after = source.agent_after, source.leases, source.lease_after
            made.content = {d: source.content.get(d, source.config["name"]) for d in disks}
            made.config, made.temporary, made.rules = config, False, copy.deepcopy(source.rules)
            made.ipsets, made.firewall = copy.deepcopy(source.ipsets), dict(source.firewall)
            made.node = target
            self.switched(new, False)

        return self.c.start_task("qmclone", source.node, source.vmid, effect, log)

    def _may_copy(self, source: Vm, drives: dict[str, str], storage: Storage | None) -> bool:
        """The checks of `check_storage_access_clone` and `check_bridge_access`; whether all that it has is shared."""
        for line in drives.values():
            if "media=cdrom" not in line:
                self.c.need(
                    f"/storage/{storage.name if storage else volumes.storage_of(line)}", "Datastore.AllocateSpace"
                )
        for key, line in source.config.items():
            if re.match(r"^net\d+$", key):
                self.bridge(line)
        stores = [self.c.storages.get(volumes.storage_of(line)) for line in drives.values()]
        return all(s is not None and s.shared for s in stores)

    def _copied(
        self, source: Vm, made: Vm, slot: str, line: str, storage: Storage | None, full: bool, wanted: str
    ) -> str:
        volume, _, rest = line.partition(",")
        old = self.c.storages[volumes.storage_of(volume)]
        if "media=cdrom" in line and "cloudinit" not in line:
            return line
        store = storage if full and storage else old
        if "cloudinit" in line:
            name = f"vm-{made.vmid}-cloudinit"
            return (
                f"{store.name}:{made.vmid}/{name}.qcow2,{rest}"
                if store.kind in volumes.FILES
                else f"{store.name}:{name},{rest}"
            )
        word = (wanted or volumes.format_of(volume)) if full else "qcow2"
        new = volumes.new_name(self.c, store, made.vmid, word)
        if not full and store.kind in volumes.FILES:
            new = f"{store.name}:{source.vmid}/{volume.rpartition('/')[2]}/{new.partition(':')[2]}"
        store.used += size_of(line)
        self.c.volumes[new] = size_of(line)
        return f"{new},{rest}" if rest else new

    def post_vm_migrate(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Of a machine that is off: shared volumes stay, local ones are copied where the target has the storage."""
        vm = self.vm(w)
        self.unlocked(vm)
        target = p["target"]
        if target not in self.c.nodes or target == vm.node:
            raise Error(400, "Parameter verification failed.", {"target": "target is local node."})
        if vm.status != "stopped":
            raise Error(500, "can't migrate running VM without --online")
        for key, line in vm.config.items():
            if volumes.DISK.match(key) and ":" in line:
                store = self.c.storages.get(volumes.storage_of(line))
                if store is None or target not in store.nodes:
                    raise Error(500, f"storage '{volumes.storage_of(line)}' is not available on node '{target}'")
        vm.config["lock"] = "migrate"

        def effect() -> None:
            vm.config.pop("lock", None)
            lines = [v for k, v in vm.config.items() if DISK.match(k) and volumes.is_iso(v)]
            if any(not self.c.storages[volumes.storage_of(line)].shared for line in lines):
                raise Error(500, "migration aborted")  # the log says: local cdrom image
            vm.node = target

        return self.c.start_task("qmmigrate", vm.node, vm.vmid, effect)

    # -- power ------------------------------------------------------------------------------------
    def post_vm_status_start(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)

        def effect() -> None:
            if vm.lock:
                raise Error(500, f"VM is locked ({vm.lock})")
            if vm.status != "stopped":
                raise Error(500, f"VM {vm.vmid} already running")
            wanted = {**vm.config, **{k: v for k, v in vm.pending.items() if v is not None}}
            if (
                int(wanted.get("cores", 1)) * int(wanted.get("sockets", 1)) > self.c.processors
            ):  # QemuServer.pm, config_to_command
                raise Error(500, f"MAX {self.c.processors} vcpus allowed per VM on this node")
            self._boot(vm)

        return self.c.start_task("qmstart", vm.node, vm.vmid, effect)

    def _pend(self, vm: Vm) -> None:
        """What waited for this holds now."""
        for key, value in vm.pending.items():
            vm.config.pop(key, None)
            if value is not None:
                vm.config[key] = value
        vm.pending.clear()

    def _boot(self, vm: Vm) -> None:
        self._pend(vm)
        for why in [volumes.missing(self.c, v, vm.node) for k, v in vm.config.items() if DISK.match(k)]:
            if why:
                vm.status, vm.started = "stopped", 0.0
                raise Error(500, why)
        layout = sum(
            int(n) for k, v in vm.config.items() if re.match(r"numa\d", k) for n in re.findall(r"memory=(\d+)", v)
        )
        if layout and layout != int(vm.config.get("memory", "512").removeprefix("current=")):
            raise Error(500, "total memory for NUMA nodes must be equal to vm static memory")
        vm.status, vm.started, vm.ran = "running", self.c.clock.now(), self._inside(vm)
        self.switched(vm.vmid, True)

    def _inside(self, vm: Vm) -> dict[str, Any]:
        """What the guest has of it: the cores that run, the disk it booted, what cloud-init was told, what it may
        write."""
        c, disk = vm.config, booted(vm.config)
        line = c.get(disk, "")
        files = re.findall(r"(user|network|meta)=", c.get("cicustom", ""))
        drive = any("cloudinit" in v for k, v in c.items() if DISK.match(k))
        return {
            "cores": int(c.get("vcpus", 0)) or cores_of(c),
            "disk": disk,
            "from": starts_from(c),
            "system": vm.content.get(disk, ""),
            "user": c.get("ciuser", "") if drive and "user" not in files else "",
            "password": c.get("cipassword", "") if drive and "user" not in files else "",
            "address": c.get("ipconfig0", "") if drive and "network" not in files else "",
            "halted": c.get("freeze") == "1",
            "online": "link_down=1" not in c.get("net0", ""),
            "writes": not re.search(r"\b(ro|snapshot)=1", line),
        }

    def post_vm_status_stop(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if p.get("overrule-shutdown") == "1":
            for t in self.c.tasks.values():
                if t.kind == "qmshutdown" and t.target == str(vm.vmid) and self.c.running(t):
                    t.effect, t.end, t.status = None, self.c.clock.now(), "interrupted by signal"
        return self.c.start_task("qmstop", vm.node, vm.vmid, lambda: self._off(vm))

    def _off(self, vm: Vm) -> None:
        if vm.lock:
            raise Error(500, f"VM is locked ({vm.lock})")
        if vm.status != "stopped":
            self._pend(vm)
            vm.status, vm.started = "stopped", 0.0
            self.switched(vm.vmid, False)

    def post_vm_status_shutdown(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)

        def effect() -> None:
            if vm.status == "stopped":
                return
            if not vm.acpi and p.get("forceStop") != "1":
                raise Error(500, "VM quit/powerdown failed - got timeout")
            self._off(vm)

        wait = float(p.get("timeout", 60)) if not vm.acpi and vm.status != "stopped" else None
        return self.c.start_task("qmshutdown", vm.node, vm.vmid, effect, end_in=wait)

    def post_vm_status_reboot(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if vm.status == "stopped":
            raise Error(500, f"VM {vm.vmid} not running")

        def effect() -> None:
            if vm.lock:
                raise Error(500, f"VM is locked ({vm.lock})")
            if not vm.acpi:
                raise Error(500, "VM quit/powerdown failed - got timeout")
            try:
                self._boot(vm)
            except Error:  # what starts it again is another task, of qmeventd's
                self.switched(vm.vmid, False)

        wait = None if vm.acpi else float(p.get("timeout", 60))
        return self.c.start_task("qmreboot", vm.node, vm.vmid, effect, end_in=wait)

    def delete_vm(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        if vm.status != "stopped":
            raise Error(500, f"VM {vm.vmid} is running - destroy failed")
        if vm.config.get("protection") == "1":
            raise Error(500, f"can't remove VM {vm.vmid} - protection mode enabled")

        def effect() -> None:
            if vm.lock:
                raise Error(500, f"VM is locked ({vm.lock})")
            self.c.vms.pop(vm.vmid, None)
            for volume in [v for v in self.c.volumes if re.search(rf"[:/]vm-{vm.vmid}-[^/]+$", v)]:
                self.free(volume)

        return self.c.start_task("qmdestroy", vm.node, vm.vmid, effect)
