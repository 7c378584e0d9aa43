"""converge as a property: from any configuration to any package, twice is once, and what it says is what it does."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config import from_dict
from bridge.model import LIMITS, Network, Order, Package, VmRef
from bridge.orders import packages
from drivers.proxmox.driver import Proxmox
from tests.configs import raw_config
from tests.held import HeldClock
from tests.pve.cluster import Cluster, Vm, default_cluster
from tests.pve.http import ClusterAdapter

CONFIG = from_dict(raw_config())
UUID = "5b1e0f0e-7f5b-4a53-8a53-0d8a1f6f6c11"
number = st.sampled_from([0, 1, 7, 100, 5000])
drive = st.fixed_dictionaries(
    {},
    optional={
        "cache": st.sampled_from(["none", "writeback", "unsafe"]),
        "mbps_rd": number,
        "mbps_wr": number,
        "iops_rd": number,
        "iops_wr": number,
        "iops_rd_max": st.just(9000),
        "discard": st.just("on"),
        "iothread": st.just(1),
        "backup": st.sampled_from(["0", "1"]),
        "ro": st.just("1"),
        "snapshot": st.just("1"),
        "iops": st.just("50"),
        "werror": st.just("ignore"),
    },
)
network = st.fixed_dictionaries(
    {},
    optional={
        "bridge": st.sampled_from(["vmbr0", "vmbr1"]),
        "tag": st.integers(1, 99),
        "rate": st.sampled_from(["5", "23.84", "119.21"]),
        "firewall": st.sampled_from(["0", "1"]),
        "queues": st.just("4"),
        "mtu": st.just("1400"),
        "link_down": st.sampled_from(["0", "1"]),
        "trunks": st.just("2;3"),
    },
)


@st.composite
def machines(draw: st.DrawFn) -> dict[str, Any]:
    """A configuration as somebody may have left it."""
    system = draw(st.sampled_from(["scsi0", "virtio0", "sata0"]))
    line = ",".join(f"{k}={v}" for k, v in draw(drive).items() if v)
    config = {
        "name": draw(st.sampled_from(["vm-1.example.com", "old-name"])),
        "cores": str(draw(st.integers(1, 8))),
        "memory": str(draw(st.sampled_from([512, 2048, 8192]))),
        "smbios1": f"uuid={UUID},serial=x",
        "boot": draw(st.sampled_from([f"order={system}", "c", f"order=net0;{system}", f"order=ide2;{system};net0"])),
        "bootdisk": system,
        system: (
            f"local-lvm:vm-20000-disk-0{',' + line if line else ''},"
            f"size={draw(st.sampled_from(['2252M', '10G', '20G', '40G']))}"
        ),
        "net0": ",".join(["virtio=02:56:4D:00:00:01", *(f"{k}={v}" for k, v in draw(network).items())]),
    }
    config |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "sockets": st.sampled_from(["1", "2"]),
                "balloon": st.just("512"),
                "tags": st.sampled_from(["vip", "Vmbridge;a", ""]),
                "description": st.sampled_from(["a note of staff", "vmbridge other\nWHMCS x"]),
                "onboot": st.sampled_from(["0", "1"]),
                "hotplug": st.sampled_from(["network,disk,usb", "disk,memory,cpu", "0"]),
                "numa": st.sampled_from(["0", "1"]),
                "nameserver": st.just("1.1.1.1"),
                "ipconfig0": st.just("ip=198.51.100.9/24,gw=198.51.100.1"),
                "protection": st.just("1"),
                "net1": st.just("virtio=02:56:4D:00:00:02,bridge=vmbr9"),
                "sshkeys": st.just("ssh-ed25519 AAAA old"),
                "vga": st.just("serial0"),
                "vcpus": st.just("1"),
                "cpulimit": st.just("0.5"),
                "cpuunits": st.just("100"),
                "numa0": st.just("cpus=0,memory=512"),
                "acpi": st.sampled_from(["0", "1"]),
                "reboot": st.just("0"),
                "freeze": st.just("1"),
                "startdate": st.sampled_from(["now", "2006-06-17"]),
                "cicustom": st.sampled_from(
                    ["vendor=local:snippets/v", "user=local:snippets/u,vendor=local:snippets/v"]
                ),
                "affinity": st.just("0-1"),
            },
        )
    )
    config["balloon"] = config.get("balloon", config["memory"])
    if draw(st.booleans()):
        bus = "scsi1" if system == "scsi0" else "scsi3"
        config[bus] = f"local-lvm:vm-20000-disk-1,size={draw(st.sampled_from(['5G', '30G']))}"
    config["ide2"] = "local-lvm:vm-20000-cloudinit,media=cdrom"
    return {
        "config": config,
        "running": draw(st.booleans()),
        "firewall": draw(st.sampled_from([{}, {"enable": "1"}, {"enable": "1", "policy_in": "DROP"}])),
    }


@st.composite
def wishes(draw: st.DrawFn) -> Package:
    plain = packages.of_plan(CONFIG.plans["kvm-s"])
    return replace(
        plain,
        cores=draw(st.integers(1, 8)),
        ram_mib=draw(st.sampled_from([512, 2048, 8192])),
        disk_gib=draw(st.sampled_from([10, 20, 60])),
        additional_disk_gib=draw(st.sampled_from([0, 10, 50])),
        rate_mbit=draw(st.sampled_from([0, 42, 200, 1000])),
        limits={w: n for w in LIMITS if (n := draw(number))},
        options={
            **plain.options,
            "nic_model": draw(st.sampled_from(["virtio", "e1000"])),
            "firewall": draw(st.booleans()),
            "tags": draw(st.sampled_from([[], ["gold"]])),
        },
    )


def prepared(machine: dict[str, Any]) -> tuple[Cluster, Proxmox]:
    cluster = default_cluster(HeldClock())
    cluster.vms[20000] = Vm(
        20000,
        "pve1",
        dict(machine["config"]),
        status="running" if machine["running"] else "stopped",
        firewall=dict(machine["firewall"]),
    )
    driver = Proxmox(
        "pve1",
        CONFIG.servers["pve1"],
        cluster.clock,
        lambda session: session.mount("https://", ClusterAdapter(cluster)),
    )
    return cluster, driver


def ordered(package: Package, birth: bool) -> Order:
    pool = Network("203.0.113.10", "public-v4", 24, "203.0.113.1", ("9.9.9.9",), "vmbr0", 40)
    extra = replace(pool, address="203.0.113.11", role="extra")
    return Order(
        "20000",
        UUID,
        "vm-1.example.com",
        "02:56:4D:00:00:01",
        package,
        (pool, extra),
        birth=birth,
        label="WHMCS main, service 1, client 7",
    )


def converge(cluster: Cluster, driver: Proxmox, order: Order) -> list[str]:
    """To the end, as the recipe does it; the sentences of what was refused."""
    for _ in range(10):
        converged = driver.converge(order, VmRef("20000", (UUID,), "pve1"), allocate=True)
        cluster.clock.sleep(60)
        if not converged.task and not converged.more:
            return list(converged.refused)
        if not converged.more:
            return list(converged.refused)
    raise AssertionError("it never ends")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(machines(), wishes(), st.booleans())
def test_twice_is_once_and_what_is_said_is_done(machine: dict[str, Any], package: Package, birth: bool) -> None:
    cluster, driver = prepared(machine)
    order = ordered(package, birth and not machine["running"])
    refused = converge(cluster, driver, order)
    assert [v for v in driver.poll([t for t in cluster.tasks]).values() if v.state == "failed"] == []
    cluster.calls.clear()
    assert converge(cluster, driver, order) == refused
    assert cluster.mutations() == []
    seen = driver.read(VmRef("20000", (UUID,), "pve1"))
    rows = driver.compare(order, seen.config, machine["running"])
    assert [r for r in rows if not r.same and not r.refused and not r.kept] == []
    assert [r.word for r in rows if r.kept] == [k for k in ("affinity",) if k in machine["config"]]
    assert sorted({r.refused for r in rows if r.refused}) == sorted(refused)
    vm = cluster.vms[20000]
    assert not [k for k in vm.config if k.startswith("unused")]
    assert "uuid=" + UUID in vm.config["smbios1"]
    if not order.birth:  # what staff or the customer added stays
        assert [vm.config.get(k) for k in ("net1", "sshkeys", "protection")] == [
            machine["config"].get(k) for k in ("net1", "sshkeys", "protection")
        ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(machines(), wishes())
def test_the_comparison_before_names_what_changes(machine: dict[str, Any], package: Package) -> None:
    cluster, driver = prepared(machine)
    order = ordered(package, False)
    before = driver.compare(order, driver.read(VmRef("20000", (UUID,), "pve1")).config, machine["running"])
    real = {r.word: r.real for r in before}
    converge(cluster, driver, order)
    after = {
        r.word: r.real
        for r in driver.compare(order, driver.read(VmRef("20000", (UUID,), "pve1")).config, machine["running"])
    }
    sold = {r.word: r.sold for r in before}  # what was taken off has no line any more
    changed = {
        w
        for w in {**real, **after}
        if str(after.get(w, sold.get(w))).lower() != str(real.get(w, 0)).lower()
        and not (after.get(w) == 0 and w not in real)
    }
    assert changed == {r.word for r in before if not r.same and not r.refused and not r.kept}


def test_the_uuid_is_looked_at_before_every_write() -> None:
    cluster, driver = prepared(
        {
            "config": {
                "name": "x",
                "cores": "1",
                "memory": "512",
                "smbios1": f"uuid={uuid.uuid4()}",
                "scsi0": "local-lvm:vm-20000-disk-0,size=20G",
            },
            "running": True,
            "firewall": {},
        }
    )
    try:
        driver.converge(ordered(packages.of_plan(CONFIG.plans["kvm-s"]), False), VmRef("20000", (UUID,), "pve1"))
    except Exception as e:
        assert getattr(e, "code", "") == "not_ours"
    assert cluster.mutations() == []
    assert len(cluster.calls) == 1
