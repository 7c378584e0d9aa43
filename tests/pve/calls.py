"""What every part of the simulated API stands on."""

from __future__ import annotations

from tests.pve import volumes
from tests.pve.cluster import Cluster, Error, Vm


class Calls:
    """Mixed into Handlers, as are all that inherit it."""

    def __init__(self, cluster: Cluster) -> None:
        self.c = cluster

    def vm(self, words: dict[str, str]) -> Vm:
        vm = self.c.vms.get(int(words["vmid"]))
        if vm is None or vm.node != words["node"]:
            raise Error(
                500, f"Configuration file 'nodes/{words['node']}/qemu-server/{words['vmid']}.conf' does not exist"
            )
        return vm

    def unlocked(self, vm: Vm) -> None:
        if vm.lock:
            raise Error(500, f"VM is locked ({vm.lock})")
        if any(
            t.kind in ("qmshutdown", "qmreboot") and t.target == str(vm.vmid) and self.c.running(t)
            for t in self.c.tasks.values()
        ):
            raise Error(500, f"can't lock file '/var/lock/qemu-server/lock-{vm.vmid}.conf' - got timeout")

    def free(self, volume: str) -> None:
        store, size = self.c.storages[volumes.storage_of(volume)], self.c.volumes.pop(volume, 0)
        store.used = max(store.used - size, 0)

    def bridge(self, line: str) -> None:
        """SDN.Use on the VLAN where there is one, else on the whole bridge. Source: `check_vnet_access`."""
        parts = dict(x.partition("=")[::2] for x in line.split(","))
        if "bridge" in parts:
            tag = f"/{parts['tag']}" if parts.get("tag") else ""
            self.c.need(f"/sdn/zones/localnetwork/{parts['bridge']}{tag}", "SDN.Use")
