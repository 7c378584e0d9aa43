"""The doctor: each planted fault is named, with its fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge import assets
from bridge.model import Finding
from bridge.staff import doctor
from bridge.whmcs import Whmcs
from tests.configs import raw_config
from tests.pve.cluster import Fault, default_cluster
from tests.world import World


def no_cloud_init(w: World) -> None:
    for vm in w.cluster.vms.values():
        vm.config.pop("ide2", None)


def template(w: World, **config: str) -> None:
    for vm in w.cluster.vms.values():
        vm.config.update(config)


def whmcs_down(w: World) -> None:
    def call(*args: Any, **kwargs: Any) -> None:
        raise Whmcs("https://billing.test", "id", "secret")._refused(
            "GetClientsProducts", "Invalid Permissions: not permitted"
        )

    w.whmcs.call = call


def full_pool(w: World) -> None:
    pool = w.config.pools["public-v4"]
    w.order("create", 1)
    for _ in range(240):
        w.store.take_address(pool.name, 4, pool.ranges, pool.excluded, 1, "extra")


PLANTED: list[tuple[str, Callable[[World], Any], str, str]] = [
    (
        "missing privilege",
        lambda w: w.cluster.privileges["/vms"].discard("VM.Config.CPU"),
        "VM.Config.CPU",
        "both the user and the token",
    ),
    (
        "no Sys.Audit",
        lambda w: [w.cluster.privileges.pop(p) for p in ("/", "/nodes")],
        "missing on /: Sys.Audit",
        "Sys.Audit on /",
    ),
    (
        "no storage privilege",
        lambda w: w.cluster.privileges.pop("/storage"),
        "Datastore.AllocateSpace",
        "/storage/local-lvm",
    ),
    ("no bridge privilege", lambda w: w.cluster.privileges.pop("/sdn/zones"), "SDN.Use", "vmbr0"),
    (
        "no template",
        lambda w: [setattr(v, "template", False) for v in w.cluster.vms.values()],
        "template named 'debian-12'",
        "templates",
    ),
    ("no cloud-init drive", no_cloud_init, "no cloud-init drive", "qm set"),
    ("template disk too big", lambda w: template(w, scsi0="local-lvm:base,size=100G"), "bigger disk", "raise disk_gib"),
    ("template locked", lambda w: template(w, lock="backup"), "locked (backup)", "qm unlock"),
    ("template with hookscript", lambda w: template(w, hookscript="local:snippets/x"), "hookscript", "remove it"),
    ("storage full", lambda w: setattr(w.cluster.storages["local-lvm"], "used", 500 * 1024**3), "no room", "free room"),
    ("storage missing", lambda w: w.cluster.storages.pop("local-lvm"), "no storage 'local-lvm'", "storage"),
    (
        "storage takes no disks",
        lambda w: setattr(w.cluster.storages["local-lvm"], "content", "iso"),
        "does not take disk images",
        "images",
    ),
    (
        "backups rotated by the storage",
        lambda w: setattr(w.cluster.storages["nfs-backup"], "prune", "keep-last=2"),
        "prunes to 2 backups, but up to 3 are sold",
        "keep-all=1",
    ),
    ("bridge missing", lambda w: w.cluster.bridges["pve1"].clear(), "has no bridge vmbr0", "create vmbr0"),
    ("clock skew", lambda w: w.cluster.skew.update(pve2=120.0), "differs by 120 s", "chrony"),
    ("wrong token", lambda w: setattr(w.cluster, "secret", "another"), "refused our key", "token_secret"),
    ("node down", lambda w: w.cluster.nodes.update(pve2=False), "is offline", "other nodes"),
    ("no quorum", lambda w: setattr(w.cluster, "quorate", False), "no quorum", "nodes back"),
    (
        "datacenter firewall off",
        lambda w: setattr(w.cluster, "firewall_on", False),
        "firewall is off",
        "Datacenter > Firewall",
    ),
    (
        "node's firewall off",
        lambda w: w.cluster.node_firewalls.update(pve2={"enable": 0}),
        "its firewall is off",
        "pve2 > Firewall > Options",
    ),
    (
        "node on nftables",
        lambda w: w.cluster.node_firewalls.update(pve2={"nftables": 1}),
        "on nftables",
        "nftables (tech preview) = No",
    ),
    ("unsupported major", lambda w: setattr(w.cluster, "major", 7), "VE 7 is not supported", "8 or 9"),
    (
        "server unreachable",
        lambda w: w.cluster.faults.append(Fault("status", status=595, reason="No route", times=99)),
        "does not answer",
        "8006",
    ),
    ("pool empty", full_pool, "no free address", "add a range"),
    ("WHMCS role", whmcs_down, "not permitted", "API role"),
]


@pytest.mark.parametrize(("plant", "text", "fix"), [p[1:] for p in PLANTED], ids=[p[0] for p in PLANTED])
def test_a_planted_fault_is_named_with_its_fix(
    world: World, plant: Callable[[World], Any], text: str, fix: str
) -> None:
    plant(world)
    findings = [f for f in doctor.check(world.context) if f.level != "ok"]
    assert [f for f in findings if text in f.text and fix in f.fix], findings


def test_a_healthy_installation_has_no_finding(world: World) -> None:
    assert [f for f in doctor.check(world.context) if f.level != "ok"] == []


@pytest.mark.parametrize("major", [8, 9])
def test_both_majors_are_fine(tmp_path: Any, major: int) -> None:
    from tests.held import HeldClock

    cluster = default_cluster(HeldClock(), major=major)
    world = World(tmp_path, cluster)
    cluster.clock = world.clock
    world.order("create")
    world.run()
    assert world.cluster.vms[20000].status == "running"
    assert not [f for f in doctor.check(world.context) if f.level == "fault"]
    world.close()


def test_vm_ids_running_out_are_told(tmp_path: Any) -> None:
    from tests.configs import raw_config

    servers = raw_config()["servers"]
    servers["pve1"]["vm_ids"] = "20000-20001"
    world = World(tmp_path, servers=servers)
    world.order("create", 1)
    world.order("create", 2)
    findings: list[Finding] = doctor.check(world.context)
    assert [f for f in findings if "all ids are used" in f.text]
    world.close()


def test_the_console_needs_an_address_and_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = {"kvm-s": {**raw_config()["plans"]["kvm-s"], "allow": ["console"]}}
    for public, built, level in (
        ("", False, "ok"),
        ("https://a.example/v", False, "fault"),
        ("https://b.example/v", True, "ok"),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        world = World(folder, web={"public_url": public}, plans=plans)
        monkeypatch.setattr(assets, "built", lambda name, built=built: built)
        assert [f.level for f in doctor.check(world.context) if f.subject == "console"] == [level]
        world.close()


@pytest.mark.parametrize(
    ("pool", "level", "text"),
    [
        ({"prefix": 32, "gateway": "198.51.100.254"}, "warning", "198.51.100.254 is not in 203.0.113.10/32"),
        ({"gateway": "198.51.100.1"}, "warning", "198.51.100.1 is not in 203.0.113.0/24"),
        ({"ranges": ["2001:db8::10"], "prefix": 64, "gateway": "fe80::1", "dns": []}, "ok", "is link-local"),
        ({}, "", ""),
    ],
)
def test_a_gateway_in_another_network_is_explained(tmp_path: Path, pool: dict[str, Any], level: str, text: str) -> None:
    pools = {"public-v4": {**raw_config()["pools"]["public-v4"], **pool}}
    world = World(tmp_path, pools=pools)
    findings = [f for f in doctor.check(world.context) if "its gateway" in f.text]
    assert [f.level for f in findings] == ([level] if level else []), findings
    assert all(text in f.text for f in findings)
    world.close()
