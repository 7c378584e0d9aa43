"""What the cluster, its nodes, storages and tasks answer. Rules and texts as read from
Proxmox VE's sources and schema."""

from __future__ import annotations

import re
from typing import Any

from tests.pve import volumes
from tests.pve.archives import Archives
from tests.pve.cluster import MIB, Error, Task, Vm


class Hosts(Archives):
    # -- cluster and nodes ------------------------------------------------------------------------
    def get_version(self, w: dict[str, str], p: dict[str, str]) -> Any:
        return {"version": f"{self.c.major}.1.2", "release": f"{self.c.major}.1", "repoid": "0"}

    def get_access_permissions(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """With a path what holds there, else every path that an entry names or the tree begins with, if there is
        anything."""
        if "path" in p:
            return {p["path"]: self.c.held(p["path"])}
        tops = {"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
        return {path: held for path in sorted(tops | set(self.c.privileges)) if (held := self.c.held(path))}

    def get_cluster_status(self, w: dict[str, str], p: dict[str, str]) -> Any:
        rows: list[dict[str, Any]] = [
            {"type": "cluster", "name": "sim", "quorate": int(self.c.quorate), "nodes": len(self.c.nodes), "version": 3}
        ]
        return rows + [{"type": "node", "name": n, "online": int(on), "local": 0} for n, on in self.c.nodes.items()]

    def get_cluster_resources(self, w: dict[str, str], p: dict[str, str]) -> Any:
        kind = p.get("type", "")
        rows: list[dict[str, Any]] = []
        if kind in ("", "vm"):
            rows += [r for r in self.c.bulk() if "VM.Audit" in self.c.held(f"/vms/{r['vmid']}")]
        if kind in ("", "node"):
            rows += [
                {
                    "type": "node",
                    "node": n,
                    "id": f"node/{n}",
                    **self._node(n, on),
                }
                for n, on in self.c.nodes.items()
            ]
        if kind in ("", "storage"):
            for s in self.c.storages.values():
                if "Datastore.Audit" not in self.c.held(f"/storage/{s.name}"):
                    continue
                for n in s.nodes:
                    known = s.online and self.c.nodes[n] and n not in self.c.unseen
                    rows.append(
                        {
                            "type": "storage",
                            "storage": s.name,
                            "node": n,
                            "id": f"storage/{n}/{s.name}",
                            "content": s.content,
                            "shared": int(s.shared),
                            "plugintype": s.kind,
                            "status": "available" if known else "unknown",
                            **({"maxdisk": s.total, "disk": s.used} if known else {}),
                        }
                    )
        return rows

    def _node(self, name: str, on: bool) -> dict[str, Any]:
        """What pvestatd last said, and only to who may look at nodes."""
        if name in self.c.unseen:
            return {"status": "unknown" if on else "offline"}
        row: dict[str, Any] = {"status": "online" if on else "offline"}
        if "Sys.Audit" in self.c.held(f"/nodes/{name}"):
            row |= {"maxmem": self.c.memory, "mem": self.c.memory // 4, "maxcpu": self.c.processors, "cpu": 0.1}
        return row

    def get_cluster_nextid(self, w: dict[str, str], p: dict[str, str]) -> Any:
        if "vmid" in p:
            if int(p["vmid"]) in self.c.vms:
                raise Error(400, "Parameter verification failed.", {"vmid": f"VM {p['vmid']} already exists"})
            return p["vmid"]
        return str(next(i for i in range(100, 10**6) if i not in self.c.vms))

    def get_cluster_tasks(self, w: dict[str, str], p: dict[str, str]) -> Any:
        if "Sys.Audit" not in self.c.held("/"):
            return []
        return [self._task(t) for t in self.c.tasks.values() if t.start < self.c.clock.now() - 5][-25:]

    def get_nodes_node_time(self, w: dict[str, str], p: dict[str, str]) -> Any:
        now = int(self.c.clock.now() + self.c.skew[w["node"]])
        return {"time": now, "localtime": now, "timezone": "UTC"}

    def get_nodes_node_network(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """Only bridges that our token may use; one that is shown says nothing of its VLANs."""
        zone = "/sdn/zones/localnetwork"
        return [
            {"iface": b, "type": "bridge"}
            for b in sorted(self.c.bridges[w["node"]])
            if any(
                {"SDN.Audit", "SDN.Use"} & set(self.c.held(path))
                for path in [f"{zone}/{b}", *(x for x in self.c.privileges if x.startswith(f"{zone}/{b}/"))]
            )
        ]

    # -- storages ---------------------------------------------------------------------------------
    def _may(self, storage: str, vmid: int, backup: bool) -> bool:
        """Whether the content list shows a volume to our token."""
        held = set(self.c.held(f"/storage/{storage}"))
        one = {"Datastore.AllocateSpace"} <= held and "VM.Backup" in self.c.held(f"/vms/{vmid}")
        disk = {"Datastore.Audit"} <= held and "VM.Config.Disk" in self.c.held(f"/vms/{vmid}")
        return "Datastore.Allocate" in held or (one if backup else disk)

    def _storage(self, w: dict[str, str]) -> str:
        if why := volumes.unavailable(self.c, w["storage"], w["node"]):
            raise Error(500, why)
        return w["storage"]

    def get_nodes_node_storage_storage_content(self, w: dict[str, str], p: dict[str, str]) -> Any:
        storage = self._storage(w)
        rows = self._isos(storage, w["node"], p)
        for name, size in self.c.volumes.items():
            vmid, node, made, notes, protected = self._about(name)
            backup = ":backup/" in name
            if (
                not name.startswith(f"{storage}:")
                or node not in ("", w["node"])
                or p.get("vmid", str(vmid)) != str(vmid)
            ):
                continue
            if p.get("content", "backup" if backup else "images") != (
                "backup" if backup else "images"
            ) or not self._may(storage, vmid, backup):
                continue
            row: dict[str, Any] = {
                "volid": name,
                "size": size,
                "vmid": vmid,
                "content": "backup" if backup else "images",
                "format": "raw",
            }
            row |= {"ctime": int(made)} if made else {}
            row |= {"notes": notes} if notes else {}
            rows.append(row | ({"protected": 1} if protected else {}))
        return rows

    def _isos(self, storage: str, node: str, p: dict[str, str]) -> list[dict[str, Any]]:
        """As `volume_list` and `check_volume_access` have them: they are nobody's, and only of a storage with that
        content."""
        if p.get("content", "iso") != "iso" or "vmid" in p or "iso" not in self.c.storages[storage].content.split(","):
            return []
        rows = [
            {"volid": v, "size": 600 * MIB, "content": "iso", "format": "iso", "ctime": 1_700_000_000}
            for v, nodes in self.c.isos.items()
            if volumes.storage_of(v) == storage and node in nodes
        ]
        return sorted(rows, key=lambda r: str(r["volid"]).lower())

    def _about(self, name: str) -> tuple[int, str, float, str, bool]:
        about = self.c.about.get(name)
        if about:
            return about.vmid, about.node, about.made, about.notes, about.protected
        vmid = int(re.findall(r"vm-(\d+)-", name)[-1])  # a machine's disk: where the machine is
        vm = self.c.vms.get(vmid)
        return vmid, vm.node if vm else "", 0.0, "", False

    def delete_nodes_node_storage_storage_content_volume(self, w: dict[str, str], p: dict[str, str]) -> Any:
        storage, name = self._storage(w), w["volume"]
        backup = ":backup/" in name
        match = re.findall(r"(?:vm-|qemu-|/vm/)(\d+)", name)
        if not name.startswith(f"{storage}:") or not match:
            raise Error(500, f"unable to parse volume ID '{name}'")
        if backup:
            self.c.need(f"/storage/{storage}", "Datastore.AllocateSpace")
            self.c.need(f"/vms/{match[-1]}", "VM.Backup")
        else:
            self.c.need(f"/storage/{storage}", "Datastore.Allocate")
        if name in self.c.about and self.c.about[name].protected:
            raise Error(500, f"cannot remove protected archive '{name}'")

        def effect() -> None:
            if self.c.volumes.pop(name, None) is None and not backup:
                raise Error(500, f"no such logical volume '{name}'")
            self.c.about.pop(name, None)

        return self.c.start_task("imgdel", w["node"], f"{match[-1]}@{storage}", effect)

    # -- tasks ------------------------------------------------------------------------------------
    def _task(self, t: Task) -> dict[str, Any]:
        row: dict[str, Any] = {
            "upid": t.upid,
            "node": t.node,
            "type": t.kind,
            "id": t.target,
            "user": t.user,
            "starttime": int(t.start),
        }
        return {**row, "status": "RUNNING"} if self.c.running(t) else {**row, "status": t.status, "endtime": int(t.end)}

    def get_nodes_node_tasks(self, w: dict[str, str], p: dict[str, str]) -> Any:
        """A token's own, and with Sys.Audit everybody's."""
        source = p.get("source", "archive")
        everybody = "Sys.Audit" in self.c.held(f"/nodes/{w['node']}")
        rows = []
        for t in reversed(self.c.tasks.values()):
            live = self.c.running(t)
            if (
                t.node != w["node"]
                or (t.user != self.c.token and not everybody)
                or (source == "archive" and live)
                or (source == "active" and not live)
            ):
                continue
            if (
                p.get("vmid", t.target) != t.target
                or p.get("typefilter", t.kind) != t.kind
                or t.start < float(p.get("since", 0))
            ):
                continue
            rows.append(self._task(t))
        return rows[: int(p.get("limit", 50))]

    def _find(self, w: dict[str, str]) -> Task:
        t = self.c.tasks.get(w["upid"])
        if t is None:
            raise Error(400, "Parameter verification failed.", {"upid": "no such task"})
        if t.node != w["node"] or t.user != self.c.token:
            raise Error(500, "Permission check failed (/nodes, Sys.Audit)")
        return t

    def get_nodes_node_tasks_upid_status(self, w: dict[str, str], p: dict[str, str]) -> Any:
        t = self._find(w)
        row = {k: v for k, v in self._task(t).items() if k not in ("status", "endtime")}
        return (
            {**row, "status": "running"}
            if self.c.running(t)
            else {**row, "status": "stopped", "exitstatus": t.status or "OK"}
        )

    def get_nodes_node_tasks_upid_log(self, w: dict[str, str], p: dict[str, str]) -> Any:
        t = self._find(w)
        lines = t.log + ([] if self.c.running(t) else [f"TASK {t.status or 'OK'}"])
        return [{"n": i + 1, "t": text} for i, text in enumerate(lines)][: int(p.get("limit", 50)) or None]

    def delete_nodes_node_tasks_upid(self, w: dict[str, str], p: dict[str, str]) -> Any:
        t = self._find(w)
        self.undo(t)
        t.effect, t.end, t.status = None, self.c.clock.now(), "interrupted by signal"

    def undo(self, task: Task, early: bool = False) -> None:
        """A task that fails cleans up behind itself, more or less; `early`: it had not changed anything yet."""
        self.undo_archive(task.kind, task.target, early)
        if task.kind == "qmclone":
            new = re.search(r"with ID (\d+)", " ".join(task.log))
            if new and self.c.vms.get(int(new.group(1)), Vm(0, "", {})).temporary:
                del self.c.vms[int(new.group(1))]
