"""The firewall's page in process: rules and policies, what is refused and why, two people at once, what is ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firewall_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def test_the_first_slice(site: Site) -> None:
    page = site.see()
    assert "Input policy" in page and "No rules yet" in page
    assert site.add(service="SSH", comment="mine") == ""
    assert site.lines() == ["in accept SSH"] and "mine" in site.see()
    assert site.add(action="drop", proto="tcp", source="192.0.2.0/24", dport="80,443") == ""
    assert site.lines() == ["in accept SSH", "in drop tcp 192.0.2.0/24 80,443"]
    assert site.submit("move", rule="1", up="1") == ""
    assert site.lines() == ["in drop tcp 192.0.2.0/24 80,443", "in accept SSH"]
    assert site.submit("delete", rule="0") == ""
    assert site.lines() == ["in accept SSH"]
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    assert site.vm.firewall["policy_in"] == "DROP" and site.phase() == "trial"
    site.work(61)
    assert site.vm.firewall["policy_in"] == "ACCEPT" and "taken back" in site.see()


# -- what comes over a server ------------------------------------------------------------------------
def rich(site: Site) -> list[str]:
    """Rules of the customer's, one of staff's, and policies."""
    assert site.add(service="SSH", comment="way in") == ""
    assert site.add(proto="tcp", dport="443", source="192.0.2.0/24") == ""
    site.as_staff(
        "POST", "rules", type="out", action="DROP", proto="tcp", dport="25", enable="1", comment="vmbridge: no mail"
    )
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    assert site.submit("keep") == "" and site.phase() == ""
    return site.lines()


def test_a_restore_keeps_the_rules_of_now(site: Site) -> None:
    site.page("backups", "take", note="")
    site.run()
    before = rich(site)
    site.cluster.archives[next(iter(site.cluster.archives))]["firewall"][0].append(
        {"type": "in", "action": "ACCEPT", "enable": 1, "comment": "of then"}
    )
    site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"])
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done" and site.vm.restored
    assert site.lines() == before and site.vm.firewall["policy_in"] == "DROP"
    assert site.vm.ipsets == {"ipfilter-net0": ["203.0.113.10"]} and site.vm.firewall["enable"] == "1"
    assert site.store.service(1).birth.firewall_before is None


def test_a_reinstall_leaves_the_rules_alone(site: Site) -> None:
    before = rich(site)
    site.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done" and site.lines() == before


def test_a_rollback_leaves_the_rules_alone(site: Site) -> None:
    site.page("snapshots", "take", description="one")
    site.run()
    before = rich(site)
    site.page("snapshots", "rollback", name=next(iter(site.vm.snapshots)))
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done" and site.lines() == before


def test_a_suspension_leaves_the_rules_alone(site: Site) -> None:
    before = rich(site)
    for verb in ("suspend", "unsuspend"):
        site.order(verb)
        site.run()
    assert site.lines() == before and site.vm.firewall["policy_in"] == "DROP"


def test_a_redeployed_server_has_the_rules_of_the_old_one(site: Site) -> None:
    before = rich(site)
    site.order("redeploy")
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    site.cluster.vms[20000] = site.cluster.vms[int(site.store.service(1).vm_id)]
    assert site.store.service(1).vm_id != "20000" and site.lines() == before


def test_a_trial_is_over_when_a_restore_begins(site: Site) -> None:
    site.page("backups", "take", note="")
    site.run()
    assert site.add(service="SSH") == "" and site.submit("policy", policy_in="drop", policy_out="accept") == ""
    site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"])
    site.run(20)
    site.work(120)
    site.run()
    assert site.vm.firewall["policy_in"] == "ACCEPT" and site.lines() == ["in accept SSH"] and site.phase() == ""
