"""Privileges: what our calls are asked for is what the table says, what the README's role gives and what the doctor
looks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.model import Finding, Rule, State
from bridge.staff import doctor
from drivers.proxmox import privileges
from drivers.proxmox.privileges import NEEDS, Need
from tests.configs import raw_config
from tests.held import HeldClock
from tests.pve.cluster import default_cluster
from tests.world import World

README = Path(__file__).parent.parent / "README.md"


def made(path: Path, major: int = 9, shared: bool = False, **plan: Any) -> World:
    raw = raw_config()
    raw["plans"]["kvm-s"] |= {
        "additional_disk_gib": 5,
        "additional_storage": "big",
        "allow": [*raw["plans"]["kvm-s"]["allow"], "iso"],
        "locations": ["pve1", "pve2"],
        **plan,
    }
    raw["plans"]["kvm-s"]["templates"] = ["debian-12"] if shared else ["debian-12", "ubuntu-24.04"]
    if shared:
        raw["plans"]["kvm-s"]["storage"] = "ceph"
    cluster = default_cluster(HeldClock(), major=major, bulk_age=0.0)
    raw["servers"]["pve1"]["iso_storage"] = "discs"
    world = World(path, cluster, plans=raw["plans"], servers=raw["servers"], web={"costly_per_hour": 100})
    cluster.clock = world.clock
    cluster.add_storage("discs", ("pve1", "pve2"), "iso", shared=True)
    cluster.add_iso("debian-12.iso", storage="discs")
    cluster.add_storage("big", ("pve1", "pve2"))
    if shared:
        cluster.add_storage("ceph", ("pve1", "pve2"), shared=True)
        for vmid in (9000, 9001):
            del cluster.vms[vmid]
        cluster.add_template(9500, "debian-12", "pve1", "ceph", agent="enabled=1").agent_after = 5.0
    return world


def lived(world: World) -> World:
    """Everything that is ever done to a machine."""
    driver = world.drivers["pve1"]
    world.order("create", configoption2="pve2")
    world.run()
    assert world.store.operations_of(1, 1)[0].state is State.DONE, world.store.operations_of(1, 1)[0]

    def done(capability: str, action: str, **form: Any) -> None:
        world.page(capability, action, **form)
        world.run()
        op = world.store.operations_of(1, 1)[0]
        assert op.state is State.DONE, op

    ref = world.store.service(1).ref
    driver.console(ref)
    driver.charts(ref, "hour")
    driver.traffic(ref)
    driver.addresses(ref)
    driver.statuses()
    changed_firewall(world)
    disc = driver.isos(driver.drive(ref).fits)[0]
    driver.mount(ref, disc.id)
    done("iso", "boot")
    driver.mount(ref, "")
    done("snapshots", "take", note="one")
    snapshot = next(iter(world.cluster.vms[20000].snapshots))
    done("snapshots", "rollback", name=snapshot)
    done("snapshots", "delete", name=snapshot)
    done("reset_password", "reset")
    done("backups", "take", note="one")
    backup = world.store.backups_of(1)[0]["id"]
    done("backups", "restore", backup=backup, confirm="RESTORE")
    done("backups", "delete", backup=backup)
    done("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    for verb in ("reboot", "suspend", "unsuspend", "terminate"):
        world.order(verb)
        world.run()
    return world


def changed_firewall(world: World) -> None:
    """Every call of the page, and of the worker's look at what switches firewalls off."""
    driver, ref = world.drivers["pve1"], world.store.service(1).ref
    for wanted in ((Rule("in", "accept", "SSH"),), ()):
        while (now := driver.firewall(ref)).rules != wanted:
            driver.change_firewall(ref, now, replace(now, rules=wanted))
    driver.firewall_log(ref)
    driver.firewall_switches()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, set[tuple[str, str, str, tuple[str, ...]]]]]:
    needed = {}
    for major in (8, 9):
        needed[major] = set()
        for shared in (False, True):
            world = made(tmp_path_factory.mktemp("own"), major, shared, startup_order=3)
            world.cluster.privileges["/"].add("Sys.Modify")
            lived(world)
            doctor.check(world.context)
            needed[major] |= world.cluster.asked
            world.close()
    yield needed


def means(need: Need, method: str, call: str, path: str) -> bool:
    pattern = re.sub(r"\\\{[^}]+\\\}", ".+", re.escape(need.path))
    return need.call == f"{method} {call}" and bool(re.fullmatch(pattern, path))


@pytest.mark.parametrize("major", [8, 9])
def test_everything_that_a_call_is_asked_for_stands_in_the_table(asked: Any, major: int) -> None:
    needs = [n for n in NEEDS if n.major in (0, major)]
    unlisted = [a for a in asked[major] if not any(means(n, *a[:3]) and n.privilege in a[3] for n in needs)]
    assert unlisted == []


def test_the_readme_gives_what_the_table_says() -> None:
    text = README.read_text("utf-8")
    text = text[text.index("2. **Proxmox.**") : text.index("Templates are found by name")]
    told = {}
    for line in re.sub(r"\n     +", " ", text).split("\n"):
        where = re.match(r" *- on .*?`?/?(vms|storage|sdn|pool|`/`)", line)
        if where:
            told[where.group(1).strip("`/")] = set(
                re.findall(r"(?:VM|Datastore|SDN|Sys|Pool)(?:\.[A-Z][A-Za-z]+)+", line)
            )
    wanted: dict[str, set[str]] = {}
    for need in NEEDS:
        kind = need.path.split("/")[1]
        wanted.setdefault("" if kind == "nodes" else kind, set()).add(need.privilege)
    assert told == wanted


# -- the doctor -------------------------------------------------------------------------------------
def faults(world: World) -> list[Finding]:
    return [f for f in doctor.check(world.context) if f.level == "fault"]


def test_the_readmes_role_is_enough(tmp_path: Path) -> None:
    world = made(tmp_path)
    world.cluster.privileges = {
        "/vms": {n.privilege for n in NEEDS if n.path.startswith("/vms") and n.major in (0, 9) and n.when in USUAL},
        "/": {"Sys.Audit"},
        "/storage/local-lvm": {"Datastore.AllocateSpace", "Datastore.Audit"},
        "/storage/big": {"Datastore.AllocateSpace", "Datastore.Audit"},
        "/storage/nfs-backup": {"Datastore.AllocateSpace", "Datastore.Audit"},
        "/storage/discs": {"Datastore.Audit"},
        "/sdn/zones/localnetwork/vmbr0": {"SDN.Use"},
    }
    assert faults(world) == []
    lived(world)
    world.close()


USUAL = ("", "snapshots", "backups", "isos")
LACKS = sorted({(n.path.split("{")[0], n.privilege) for n in NEEDS if n.major in (0, 9) and n.when in USUAL})


@pytest.mark.parametrize(("where", "privilege"), LACKS, ids=lambda x: str(x).strip("/") or "root")
def test_a_privilege_that_is_missing_is_named(tmp_path: Path, where: str, privilege: str) -> None:
    world = made(tmp_path)
    for held in world.cluster.privileges.values():
        held.discard(privilege)
    findings = faults(world)
    assert findings, findings
    assert all(privilege in f.text and privilege in f.fix for f in findings), findings
    assert not any("there is no" in f.text or "no template" in f.text for f in findings)
    world.close()


def test_what_only_some_plans_need(tmp_path: Path) -> None:
    world = made(tmp_path, startup_order=2)
    assert [f.text for f in faults(world)] == ["missing on /: Sys.Modify"]
    world.close()
    (tmp_path / "pool").mkdir()
    world = made(tmp_path / "pool", template_pool="golden")
    assert "missing on /pool/golden: Pool.Audit" in [f.text for f in faults(world)]
    world.close()
    (tmp_path / "shared").mkdir()
    world = made(tmp_path / "shared", shared=True)
    world.cluster.privileges["/vms"].discard("VM.Migrate")
    assert [f.text for f in faults(world)] == ["missing on /vms: VM.Migrate"]
    world.close()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/storage/nfs-backup", "missing on /storage/nfs-backup: Datastore.AllocateSpace"),
        ("/sdn/zones/localnetwork/vmbr7", "missing on /sdn/zones/localnetwork/vmbr7: SDN.Use"),
        ("/vms/9000", "VM.Clone"),
    ],
)
def test_one_path_of_many(tmp_path: Path, path: str, text: str) -> None:
    """A deeper entry replaces what comes from above."""
    world = made(tmp_path)
    if "vmbr7" in path:
        world.cluster.vms[9000].config["net0"] = "virtio=BC:24:11:00:00:01,bridge=vmbr7"
    world.cluster.privileges[path] = {"Datastore.Audit", "VM.Audit"}
    assert any(text in f.text for f in faults(world)), faults(world)
    world.order("create", configoption2="")
    world.run()
    world.close()


@pytest.mark.parametrize("path", ["/vms", "/storage", "/sdn/zones"])
def test_without_propagation_it_reaches_nothing(tmp_path: Path, path: str) -> None:
    world = made(tmp_path)
    world.cluster.unpropagated.add(path)
    findings = faults(world)
    assert findings, findings
    assert all(f"given on {path} without propagation" in f.text and "Propagate" in f.fix for f in findings), findings
    world.close()


def test_without_any_permission_that_is_said_and_nothing_else(tmp_path: Path) -> None:
    world = made(tmp_path)
    world.cluster.privileges = {}
    [finding] = faults(world)
    assert "no privileges at all" in finding.text
    assert "both the user and the token" in finding.fix
    world.close()


# -- what is unknown --------------------------------------------------------------------------------
@pytest.mark.parametrize("nodes", [("pve1",), ("pve1", "pve2")])
def test_a_node_that_does_not_report_is_said_first_and_nothing_is_made_of_it(
    tmp_path: Path, nodes: tuple[str, ...]
) -> None:
    world = made(tmp_path)
    world.cluster.unseen = set(nodes)
    findings = [f for f in doctor.check(world.context) if f.level != "ok"]
    assert [f.subject for f in findings[: len(nodes)]] == [f"node {n}" for n in nodes]
    assert all("does not report" in f.text and "pvestatd" in f.fix for f in findings[: len(nodes)])
    assert not [f for f in findings if re.search(r"no room|there is no|no template|no node", f.text)], findings
    world.order("create")
    world.run(60)
    op = world.store.operations_of(1, 1)[0]
    if len(nodes) == 2:
        assert op.state is not State.FAILED, op
        assert "pvestatd" in op.error_text, op
        world.cluster.unseen = set()
        world.run()
    assert world.store.operations_of(1, 1)[0].state is State.DONE
    world.close()


def test_a_storage_that_does_not_answer_is_not_full(tmp_path: Path) -> None:
    world = made(tmp_path)
    world.cluster.storages["local-lvm"].online = False
    [finding] = [f for f in faults(world) if "local-lvm" in f.text]
    assert "does not answer" in finding.text
    assert "no room" not in finding.text
    world.close()


def test_templates_of_nodes_that_are_down_are_not_missed(tmp_path: Path) -> None:
    world = made(tmp_path)
    del world.cluster.vms[9001]
    world.cluster.nodes["pve1"] = False
    findings = [f for f in doctor.check(world.context) if "debian-12" in f.text]
    assert [(f.level, "not known now" in f.text) for f in findings] == [("warning", True)]
    world.close()


def test_the_table_names_only_privileges_of_proxmox() -> None:
    assert {n.privilege.split(".")[0] for n in NEEDS} == {"VM", "Datastore", "SDN", "Sys", "Pool"}
    assert len(set(NEEDS)) == len(NEEDS)
    assert privileges.NEEDS


@pytest.mark.parametrize("major", [8, 9])
def test_no_line_of_the_table_is_idle(asked: Any, major: int) -> None:
    """But for what is filtered instead of refused, and what the console's relay and leftovers alone call."""
    rare = (
        "GET /cluster/resources",
        "/firewall/aliases",
        "/firewall/ipset",
        "/content",
        "/vncwebsocket",
    )
    needs = [n for n in NEEDS if n.major in (0, major) and not any(r in n.call for r in rare)]
    idle = [n for n in needs if not any(means(n, *a[:3]) and n.privilege in a[3] for a in asked[major])]
    assert idle == []
