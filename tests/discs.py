"""A machine on a simulated Proxmox cluster with ISOs on local storage, its pages over HTTP; for the tests of discs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bridge import worker
from bridge.app import create_app
from tests.configs import raw_config
from tests.pve.cluster import Vm
from tests.test_iso import alert, words
from tests.test_signature import Shim
from tests.world import World

DEBIAN, RESCUE = "local:iso/Debian-12.5.0-amd64-netinst.iso", "local:iso/systemrescue-11.00-amd64.iso"
DISK = "scsi0"


class Site(World):
    """A running machine on pve1 whose product has the page; ISOs on local storage."""

    def __init__(
        self, path: Path, running: bool = True, everywhere: tuple[str, ...] | list[str] = (), **plan: Any
    ) -> None:
        raw = raw_config()
        raw["servers"]["pve1"]["iso_storage"] = "local"
        raw["plans"]["kvm-s"] |= {"allow": [*raw["plans"]["kvm-s"]["allow"], "iso"], "node": "pve1", **plan}
        super().__init__(
            path,
            servers=raw["servers"],
            plans=raw["plans"],
            web={"costly_per_hour": 100, "edits_per_hour": 1000},
            isos={"offered": list(everywhere)},
        )
        for name in (DEBIAN, RESCUE, "local:iso/debian-11.iso", "local:iso/netboot.iso"):
            self.cluster.add_iso(name.rpartition("/")[2])
        self.cluster.add_iso("only-elsewhere.iso", "pve2")
        self.order("create")
        self.run()
        if not running:
            self.order("stop")
            self.run()
        self.shim = Shim(create_app(self.context).test_client(), self.clock)
        self.cluster.calls.clear()

    @property
    def vm(self) -> Vm:
        return self.cluster.vms[20000]

    def see(self) -> str:
        reply = self.shim.send("GET", "/v1/services/1042/pages/iso?client=7")
        assert reply.status_code == 200, reply.text
        return words(reply.json["html"])

    def send(self, action: str, kind: str = "client", **form: str) -> Any:
        self.shim.count += 1
        return self.shim.send(
            "POST",
            "/v1/services/1042/pages/iso",
            {"params": {"userid": 7}, "actor": {"kind": kind, "id": 7, "name": ""}, "form": {"do": action, **form}},
        )

    def submit(self, action: str, **form: str) -> str:
        """What the page says went wrong; empty when it went well."""
        reply = self.send(action, **form)
        assert reply.status_code == 200, reply.text
        return "" if reply.json["redirect"] else alert(reply.json["html"])

    def mount(self, name: str = DEBIAN) -> None:
        assert self.submit("mount", iso=name) == ""

    def boot(self) -> str:
        return self.submit("boot", confirmed="1")

    def disc(self) -> str:
        return self.vm.config["ide0"].split(",")[0]

    def order_to_come(self) -> list[str]:
        return str(self.vm.pending.get("boot") or self.vm.config["boot"]).removeprefix("order=").split(";")

    def last(self, kind: str = "boot_iso") -> Any:
        return next(o for o in self.store.operations_of(1, 9) if o.kind == kind)

    def settle(self, seconds: float = 4000.0) -> None:
        """What the worker does, its job among it, until nothing is left of a disc that comes first."""
        end = self.clock.time + seconds
        while self.clock.time < end:
            self.run()
            worker.disks_first(self.context, "pve1")
            if not self.store.disc_order(1) and not self.store.current_operation(1):
                return
            self.clock.time += 15
