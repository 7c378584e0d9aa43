"""Snapshots, vzdump, restore and import as the simulated cluster does them; rules and texts as read from Proxmox VE's
sources."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from typing import Any

from tests.pve import volumes
from tests.pve.calls import Calls
from tests.pve.cluster import GIB, Error, Vm

NOTES = 2.0  # seconds, at most, that an archive is listed without its notes


class Archives(Calls):
    """Handlers of calls; mixed into Handlers."""

    # -- snapshots --------------------------------------------------------------------------------
    def get_vm_snapshot(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.vm(w)
        rows: list[dict[str, Any]] = [
            {
                "name": name,
                "snaptime": int(s["time"]),
                "description": s["description"],
                "vmstate": int(s["vmstate"]),
                **({"snapstate": s["snapstate"]} if s["snapstate"] else {}),
            }
            for name, s in vm.snapshots.items()
        ]
        return [
            *rows,
            {
                "name": "current",
                "description": "You are here!",
                "running": int(vm.status == "running"),
                "digest": self.c.digest(vm),
            },
        ]

    def post_vm_snapshot(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm, name = self.vm(w), p["snapname"]
        if not re.fullmatch(r"(?i)[a-z][a-z0-9_-]{1,39}", name):
            raise Error(
                400, "Parameter verification failed.", {"snapname": "invalid format - invalid configuration ID"}
            )
        self.unlocked(vm)
        if name in vm.snapshots:
            return self._failing("qmsnapshot", vm, f"snapshot name '{name}' already used")
        if not volumes.takes_snapshots(self.c, vm.config):
            return self._failing("qmsnapshot", vm, "snapshot feature is not available")
        if p.get("vmstate") == "1" and vm.status != "running":
            p = {**p, "vmstate": "0"}
        vm.config["lock"] = "snapshot"
        vm.snapshots[name] = {
            "time": self.c.clock.now(),
            "description": p.get("description", ""),
            "vmstate": p.get("vmstate") == "1",
            "snapstate": "prepare",
            "config": copy.deepcopy(vm.config),
            "content": {},
            "running": vm.status == "running",
        }

        def effect() -> None:
            vm.config.pop("lock", None)
            snap = vm.snapshots[name]
            snap |= {"snapstate": "", "config": copy.deepcopy(vm.config), "content": dict(vm.content)}

        return self.c.start_task("qmsnapshot", vm.node, vm.vmid, effect)

    def delete_vm_snapshot_snapname(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm, name = self.vm(w), w["snapname"]
        self.unlocked(vm)
        if name not in vm.snapshots:
            return self._failing("qmdelsnapshot", vm, f"snapshot '{name}' does not exist")
        vm.config["lock"] = "snapshot-delete"
        half, vm.before = (
            bool(vm.snapshots[name]["snapstate"]),
            {"snapstate": vm.snapshots[name]["snapstate"], "name": name},
        )
        vm.snapshots[name]["snapstate"] = "delete"

        def effect() -> None:
            if half and p.get("force") != "1":  # the disk has no such snapshot; lock and state stay
                command = f"/usr/bin/qemu-img snapshot -d {name}"
                raise Error(500, f"command '{command}' failed: exit code 1")
            vm.config.pop("lock", None)
            vm.snapshots.pop(name, None)

        return self.c.start_task("qmdelsnapshot", vm.node, vm.vmid, effect)

    def post_vm_snapshot_snapname_rollback(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm, name = self.vm(w), w["snapname"]
        self.unlocked(vm)
        if name not in vm.snapshots:
            return self._failing("qmrollback", vm, f"snapshot '{name}' does not exist")
        if state := vm.snapshots[name]["snapstate"]:
            text = f"unable to rollback to incomplete snapshot (snapstate = {state})"
            return self._failing("qmrollback", vm, text)
        vm.before = {"status": vm.status, "started": vm.started}
        vm.config["lock"], vm.status = "rollback", "stopped"

        def effect() -> None:
            """The whole configuration comes back, but not the description; memory brings it up running."""
            snap = vm.snapshots[name]
            vm.config = {**copy.deepcopy(snap["config"]), "description": vm.config.get("description", "")}
            vm.content, vm.pending = dict(snap["content"]), {}
            vm.status, vm.started = ("running", self.c.clock.now()) if snap["vmstate"] else ("stopped", 0.0)
            vm.rolled_back.append(name)
            for why in [volumes.missing(self.c, v, vm.node) for k, v in vm.config.items() if volumes.DISK.match(k)]:
                if why and snap["vmstate"]:
                    vm.config.pop("lock", None)
                    vm.status, vm.started = "stopped", 0.0
                    raise Error(500, why)

        return self.c.start_task("qmrollback", vm.node, vm.vmid, effect)

    def _failing(self, kind: str, vm: Vm, text: str) -> str:
        task = self.c.start_task(kind, vm.node, vm.vmid, None, end_in=0.0)
        self.c.tasks[task].status = text
        return task

    def get_storage(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return [
            {
                "storage": s.name,
                "content": s.content,
                "type": s.kind,
                **({"snapshot-as-volume-chain": 1} if s.chain else {}),
                **({"prune-backups": s.prune} if s.prune else {}),
            }
            for s in self.c.storages.values()
            if {"Datastore.Audit", "Datastore.AllocateSpace"} & set(self.c.held(f"/storage/{s.name}"))
        ]

    # -- backups ----------------------------------------------------------------------------------
    def post_nodes_node_vzdump(self, w: dict[str, str], p: dict[str, str]) -> Any:
        vm = self.c.vms.get(int(p["vmid"]))
        if vm is None or vm.node != w["node"]:
            return "OK"  # nothing to do on this node, and nothing said
        self.c.need(f"/vms/{vm.vmid}", "VM.Backup")
        store = self.c.storages.get(p["storage"])
        if store is None or "backup" not in store.content:
            raise Error(
                400, "Parameter verification failed.", {"storage": f"storage '{p['storage']}' does not support backups"}
            )
        self.c.need(f"/storage/{store.name}", "Datastore.AllocateSpace")
        if re.search(r"\{\{(?!cluster|guestname|node|vmid)", p.get("notes-template", "")) or "\n" in p.get(
            "notes-template", ""
        ):
            raise Error(400, "Parameter verification failed.", {"notes-template": "invalid"})
        busy = [t.end for t in self.c.tasks.values() if t.kind == "vzdump" and t.node == vm.node and self.c.running(t)]
        begin = max([*busy, self.c.clock.now()])  # one at a time per node; the others wait inside their task
        if not busy:
            vm.config["lock"] = "backup"
        disks = {k: v for k, v in vm.config.items() if volumes.DISK.match(k) and "media=cdrom" not in v}
        included = {k: not re.search(r"\bbackup=(0|no|off)\b", v) for k, v in disks.items()}
        if vm.config.get("bios") != "ovmf":
            included |= {k: False for k in included if k == "efidisk0"}
        log = [f"INFO: starting new backup job: vzdump {vm.vmid}"]
        for disk, taken in included.items():
            volume = disks[disk].split(",")[0]
            log.append(
                f"INFO: include disk '{disk}' '{volume}'"
                if taken
                else f"INFO: exclude disk '{disk}' '{volume}' (backup=no)"
            )
        held = {
            "config": {k: v for k, v in vm.config.items() if k != "lock"},
            "disks": [d for d, taken in included.items() if taken],
            "content": {k: v for k, v in vm.content.items() if included.get(k)},
            "firewall": [copy.deepcopy(vm.rules), copy.deepcopy(vm.ipsets), dict(vm.firewall)],
        }

        # named after the time when it began, as its ctime is (VZDump.pm, exec_backup_task; Storage.pm, archive_info)
        stamp = datetime.fromtimestamp(begin, UTC).strftime("%Y_%m_%d-%H_%M_%S")
        file = f"vzdump-qemu-{vm.vmid}-{stamp}.vma.zst"
        name, size = f"{store.name}:backup/{file}", 3 * GIB if held["disks"] else 1_258_291

        log.append(f"INFO: creating vzdump archive '/mnt/pve/{store.name}/dump/{file}'")

        def appear() -> None:
            """The file has its name before it has its notes."""
            if name in self.c.volumes or not store.online or store.total - store.used < size:
                return
            self.c.add_volume(name, "" if store.shared else vm.node, 3, made=begin)
            self.c.volumes[name] = size
            self.c.archives[name] = copy.deepcopy(held)
            store.used += size

        def effect() -> None:
            if vm.config.get("lock") == "backup":
                vm.config.pop("lock")
            appear()
            if name not in self.c.volumes:
                what = "no space left on device" if store.online else f"storage '{store.name}' is not online"
                log.append(f"ERROR: Backup of VM {vm.vmid} failed - {what}")
                raise Error(500, "job errors")
            if self.c.notes_fail:
                log.append("WARN: unable to add notes - unable to open file: No space left on device")  # and ends OK
            else:
                self.c.about[name].notes = p.get("notes-template", "")
            if p.get("remove", "1") == "1" and self.c.prunes:
                mine = f":backup/vzdump-qemu-{vm.vmid}-"
                for old in [v for v in self.c.volumes if mine in v and v != name]:
                    del self.c.volumes[old]

        took = self.c.duration("vzdump")
        task = self.c.start_task("vzdump", vm.node, vm.vmid, effect, log, begin - self.c.clock.now() + took)
        self.c.meanwhile.append((self.c.tasks[task], begin + took - min(NOTES, took / 2), appear))
        return task

    def get_nodes_node_vzdump_extractconfig(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """The archive's own configuration, with a line for each disk that is in it (VZDump/QemuServer.pm, assemble)."""
        archive = p["volume"]
        self.c.need(f"/storage/{archive.split(':')[0]}", "Datastore.AllocateSpace")
        owner = re.findall(r"(?:qemu-|/vm/)(\d+)", archive)[-1]
        self.c.need(f"/vms/{owner}", "VM.Backup")
        store = self.c.storages[archive.split(":")[0]]
        if not store.online:
            raise Error(500, f"storage '{store.name}' is not online")
        if archive not in self.c.archives or archive not in self.c.volumes:
            raise Error(500, f"volume '{archive}' does not exist")
        held = self.c.archives[archive]
        lines = [f"#{line}" for line in held["config"].get("description", "").splitlines()]
        lines += [f"{k}: {v}" for k, v in held["config"].items() if k not in ("description", "digest")]
        return "\n".join([*lines, *(f"#qmdump#map:{d}:drive-{d}:local-lvm:raw:" for d in held["disks"])]) + "\n"

    def post_nodes_node_qemu(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Restore over a machine: its disks are gone before the archive is read."""
        vm, archive = self.c.vms.get(int(p["vmid"])), p["archive"]
        if vm is None or vm.node != w["node"] or p.get("force") != "1":
            raise Error(500, f"unable to restore VM {p['vmid']}: config file does not exist")
        self.c.need(f"/vms/{vm.vmid}", "VM.Backup", "VM.Allocate")
        self.c.need(f"/storage/{volumes.storage_of(archive)}", "Datastore.AllocateSpace")
        self.c.need(f"/vms/{vm.vmid}", "VM.Backup")
        for key, line in self.c.archives.get(archive, {}).get("config", {}).items():
            if volumes.DISK.match(key) and "media=cdrom" not in line and ":" in line:
                self.c.need(f"/storage/{volumes.storage_of(line)}", "Datastore.AllocateSpace")
            if re.match(r"^net\d+$", key):
                self.bridge(line)
        self.unlocked(vm)
        if vm.config.get("protection") == "1":
            raise Error(500, f"unable to restore VM {vm.vmid} - protection mode enabled")
        if vm.status != "stopped":
            raise Error(500, f"unable to restore VM {vm.vmid} - vm is running")
        store = self.c.storages[archive.split(":")[0]]
        if not store.online:
            raise Error(500, f"storage '{store.name}' is not online")
        if archive not in self.c.archives or archive not in self.c.volumes:
            raise Error(500, f"volume '{archive}' does not exist")
        old = dict(vm.config)
        vm.before = {"config": old, "snapshots": dict(vm.snapshots), "pending": dict(vm.pending)}
        vm.config = {"lock": "create", "memory": "128"}
        vm.snapshots.clear()
        vm.pending.clear()

        def effect() -> None:
            held = copy.deepcopy(self.c.archives[archive])
            for key in [k for k, v in held["config"].items() if volumes.DISK.match(k) and "media=cdrom" not in v]:
                if key not in held["disks"]:  # its line becomes a comment
                    held["config"]["description"] = (
                        f"{held['config'].get('description', '')}\n{key}: {held['config'].pop(key)}"
                    )
            for key, value in old.items():  # what the archive does not have becomes unused
                if volumes.DISK.match(key) and key not in held["disks"] and "media=cdrom" not in value:
                    held["config"][f"unused{len([k for k in held['config'] if k.startswith('unused')])}"] = value.split(
                        ","
                    )[0]
            vm.config = {k: v for k, v in held["config"].items() if not k.startswith(("parent", "lock"))}
            vm.content = held["content"]
            if any(held["firewall"]):  # an archive without a firewall file leaves the one that is there
                vm.rules, vm.ipsets, vm.firewall = held["firewall"]
            vm.restored.append(archive)

        return self.c.start_task("qmrestore", vm.node, vm.vmid, effect)

    def undo_archive(self, kind: str, target: str, early: bool) -> None:
        """What a failing task leaves behind. `early`: a snapshot is cleaned up, a deletion has not begun, a rollback
        has switched the machine off at most, a restore has not come to the configuration. Later: snapshot, deletion and
        rollback leave their lock, and a restore the blank configuration (guest-common's AbstractConfig, qemu-server's
        restore_vma_archive)."""
        vm = self.c.vms.get(int(target)) if target.isdigit() else None
        if vm is None:
            return
        if kind in ("vzdump", "qmrestore") or early:
            vm.config.pop("lock", None)
        if kind == "qmsnapshot" and early:
            for name in [n for n, s in vm.snapshots.items() if s["snapstate"]]:
                del vm.snapshots[name]
        if kind == "qmdelsnapshot" and early and vm.before.get("name") in vm.snapshots:
            vm.snapshots[vm.before["name"]]["snapstate"] = vm.before["snapstate"]
        if kind == "qmrollback" and early:
            vm.status, vm.started = vm.before["status"], vm.before["started"]
        if kind == "qmrestore" and early:
            vm.config, vm.pending = {k: v for k, v in vm.before["config"].items() if k != "lock"}, vm.before["pending"]
            vm.snapshots = vm.before["snapshots"]
