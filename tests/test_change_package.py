"""Change of package in process: what is written, what waits for a restart, what is refused; the simulated cluster is
the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hooks
from bridge.errors import Refused
from bridge.model import Restart, State
from bridge.orders import upgrades
from bridge.outbox import Delivery
from bridge.whmcs import Whmcs
from tests.configs import raw_config
from tests.world import World

GROWS = "The system disk grows to 40 GiB for good: it cannot be made smaller after that."


def wider(**plan: Any) -> dict[str, Any]:
    """Plans and pools with room for every kind of change."""
    raw = raw_config()
    raw["plans"]["kvm-s"] |= {"locations": ["pve1", "pve2"], **plan}
    raw["plans"]["kvm-l"] = {**raw["plans"]["kvm-s"], "cores": 4, "ram_mib": 8192, "disk_gib": 40, "rate_mbit": 1000}
    raw["pools"]["other-v4"] = {
        **raw["pools"]["public-v4"],
        "ranges": ["198.51.100.10-198.51.100.20"],
        "gateway": "198.51.100.1",
    }
    raw["plans"]["elsewhere"] = {**raw["plans"]["kvm-s"], "pools": ["other-v4"]}
    return {"plans": raw["plans"], "pools": raw["pools"]}


@pytest.fixture
def wide(tmp_path: Path) -> Any:
    world = World(tmp_path, **wider())
    world.order("create")
    world.run()
    world.cluster.calls.clear()
    yield world
    world.close()


class Api(Whmcs):
    """The real client without its HTTP: what UpdateClientProduct would get."""

    def __init__(self) -> None:
        super().__init__("http://whmcs.example", "id", "secret")
        self.updates: list[dict[str, Any]] = []

    def call(self, action: str, **values: Any) -> dict[str, Any]:
        if action == "UpdateClientProduct":
            self.updates.append(values)
        return {}


def columns(world: World) -> dict[str, Any]:
    """What WHMCS is told of the service's addresses, once everything is delivered."""
    api = Api()
    delivery = Delivery(world.store, {"main": api}, hooks.load())
    while delivery.deliver_one():
        pass
    assert api.updates[-1].pop("serviceid") == 1042
    return api.updates[-1]


def puts(world: World) -> list[dict[str, str]]:
    return [p for _, m, path, p in world.cluster.calls if m != "GET"]


def test_the_same_package_writes_nothing(wide: World) -> None:
    wide.order("change_package")
    wide.run()
    assert wide.store.operations_of(1)[0].state is State.DONE
    assert puts(wide) == []


def test_a_bigger_plan_on_a_running_machine(wide: World) -> None:
    vm = wide.cluster.vms[20000]
    wide.order("change_package", configoption1="kvm-l")
    wide.run()
    assert vm.pending == {"cores": "4", "memory": "8192", "balloon": "8192"}
    assert "size=40G" in vm.config["scsi0"]
    assert "rate=119.21" in vm.config["net0"]
    service = wide.store.service(1)
    assert service.pending == ("ram_mib", "cores")
    assert service.package.cores == 4
    wide.order("reboot")
    wide.run()
    assert vm.config["memory"] == "8192"
    assert wide.store.service(1).pending == ()
    wide.cluster.calls.clear()
    wide.order("change_package", configoption1="kvm-l")
    wide.run()
    assert puts(wide) == []


def test_memory_is_hot_where_the_machine_allows_it(wide: World) -> None:
    vm = wide.cluster.vms[20000]
    vm.config |= {"hotplug": "network,disk,memory", "numa": "1"}
    wide.order("change_package", configoption5="4")
    wide.run()
    assert vm.config["memory"] == "4096"
    assert vm.pending == {}
    assert wide.store.service(1).pending == ()


def test_an_additional_disk_is_made_once_then_grows(wide: World) -> None:
    vm = wide.cluster.vms[20000]
    for gib in ("30", "30", "50"):
        wide.order("change_package", configoption7=gib)
        wide.run()
        assert vm.config["scsi1"].endswith(f"size={gib}G")
    assert not [k for k in vm.config if k.startswith("unused")]
    assert len([v for v in wide.cluster.volumes if "vm-20000-" in v]) == 2


def test_disk_limits_are_set_kept_and_lifted(wide: World) -> None:
    vm = wide.cluster.vms[20000]
    vm.config["scsi0"] = vm.config["scsi0"].replace(",size", ",cache=writeback,iops_rd=5,iops_rd_max=50,mbps=7,size")
    options = {
        "System Disk Read MB/s": "100",
        "System Disk Write IOPS": "500",
        "Additional Disk": "10",
        "Additional Disk Write MB/s": "20|20 MB/s",
    }
    wide.order("change_package", configoptions=options)
    wide.run()
    assert vm.config["scsi0"].split(",")[1:] == ["cache=writeback", "mbps_rd=100", "iops_wr=500", "size=20G"]
    assert ",mbps_wr=20," in vm.config["scsi1"]
    assert vm.pending == {}
    wide.order("change_package", configoptions={**options, "System Disk Read MB/s": "0", "System Disk Write IOPS": ""})
    wide.run()
    assert vm.config["scsi0"].split(",")[1:] == ["cache=writeback", "size=20G"]


def test_extra_addresses_come_and_go(wide: World) -> None:
    vm = wide.cluster.vms[20000]
    assert set(wide.order("change_package", configoption9="2").properties) == {"vmbridge_id", "Dedicated IP"}
    assert columns(wide) == {"dedicatedip": "203.0.113.10", "assignedips": "203.0.113.11\n203.0.113.12"}
    wide.run()
    assert vm.ipsets["ipfilter-net0"] == ["203.0.113.10", "203.0.113.11", "203.0.113.12"]
    assert vm.config["ipconfig0"] == "ip=203.0.113.10/24,gw=203.0.113.1"  # the guest is set up for the main one only
    wide.order("change_package", configoption9="1")
    assert [a["role"] for a in wide.store.addresses_of(1)] == ["main", "extra", "leaving"]
    wide.run()
    assert vm.ipsets["ipfilter-net0"] == ["203.0.113.10", "203.0.113.11"]
    free = [a["address"] for a in wide.store.taken_addresses() if a["free_at"]]
    assert free == ["203.0.113.12"]


def test_an_address_that_leaves_and_comes_back_stays_the_same(wide: World) -> None:
    for count in ("2", "0", "2"):
        wide.order("change_package", configoption9=count)
    wide.run()
    assert [a["address"] for a in wide.store.addresses_of(1)] == ["203.0.113.10", "203.0.113.11", "203.0.113.12"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"configoption6": "10"}, "system disk has 20 GiB and cannot shrink to 10 GiB"),
        ({"configoption1": "elsewhere"}, "from pool 'public-v4', which plan 'elsewhere' does not have"),
        ({"configoption2": "pve1"}, "cannot move to pve1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(wide: World, change: dict[str, str], why: str) -> None:
    if "configoption2" in change and wide.store.service(1).node == "pve1":
        change, why = {"configoption2": "pve2"}, "cannot move to pve2"
    before = wide.store.service(1)
    with pytest.raises(Refused) as caught:
        wide.order("change_package", configoption4="8", **change)
    assert why in caught.value.sentence
    assert caught.value.sentence.endswith("Nothing was changed.")
    wide.run()
    assert puts(wide) == []
    assert wide.store.service(1) == before
    if "configoption6" in change:
        assert [f["kind"] for f in wide.store.findings(1)] == ["disk_bigger_than_sold"]
        assert len([e for e in wide.store.events() if e["event"] == "staff_notice"]) == 1


def test_no_free_address_changes_nothing(tmp_path: Path) -> None:
    config = wider()
    config["pools"]["public-v4"]["ranges"] = ["203.0.113.10-203.0.113.11"]
    world = World(tmp_path, **config)
    world.order("create")
    world.run()
    with pytest.raises(Refused, match="No free IPv4 address in pool 'public-v4'"):
        world.order("change_package", configoption9="2", configoption4="8")
    service = world.store.service(1)
    assert service.package.cores == 2
    assert len(world.store.addresses_of(1)) == 1
    assert world.store.current_operation(1) is None
    world.close()


def test_the_preview_says_what_the_operation_then_does(wide: World) -> None:
    values = {
        "configoption1": "kvm-l",
        "configoption7": "10",
        "configoptions": {"System Disk Write IOPS": "500"},
        "userid": 7,
    }
    preview = upgrades.preview(wide.store.service(1), values, wide.drivers["pve1"], wide.store, wide.config)
    assert {c.word for c in preview.changes} == {
        "cores",
        "ram_mib",
        "disk_gib",
        "additional_disk_gib",
        "rate_mbit",
        "disk_write_iops",
    }
    assert {c.word: c.restart for c in preview.changes if c.restart} == {
        "cores": Restart.LATER,
        "ram_mib": Restart.LATER,
    }
    assert preview.restart is Restart.LATER
    assert preview.notices == (
        GROWS,
        (
            "Your server is not restarted for this. These changes take effect when you restart it from its page: CPU"
            " cores, RAM."
        ),
    )
    wide.order("change_package", **values)
    wide.run()
    after = upgrades.preview(wide.store.service(1), values, wide.drivers["pve1"], wide.store, wide.config)
    assert after.changes == ()
    assert set(wide.store.service(1).pending) == {"cores", "ram_mib"}


@pytest.mark.parametrize("hotplug", ["0", "1", "network", "cpu,disk", "cpu,disk,memory,network"])
def test_what_is_told_to_wait_for_a_restart_is_what_then_waits(wide: World, hotplug: str) -> None:
    wide.cluster.vms[20000].config |= {"hotplug": hotplug, "numa": "1"}
    wide.order("change_package")
    wide.run()  # read once more
    values = {"configoption1": "kvm-s", "configoption4": "4", "configoption5": "4", "configoption7": "10", "userid": 7}
    told = upgrades.preview(wide.store.service(1), values, wide.drivers["pve1"], wide.store, wide.config)
    started = wide.cluster.vms[20000].started
    wide.order("change_package", **values)
    wide.run()
    waits = {"cores": "cores", "memory": "ram_mib", "scsi1": "additional_disk_gib"}
    assert {c.word for c in told.changes if c.restart is Restart.LATER} == {
        w for k, w in waits.items() if k in wide.cluster.vms[20000].pending
    }
    assert told.restart is Restart.LATER
    assert wide.cluster.vms[20000].started == started


def test_a_machine_that_is_off_or_suspended_needs_no_restart(wide: World) -> None:
    for verb in ("stop", "suspend"):
        wide.order(verb)
        wide.run()
        preview = upgrades.preview(
            wide.store.service(1),
            {"configoption1": "kvm-l", "userid": 7},
            wide.drivers["pve1"],
            wide.store,
            wide.config,
        )
        assert preview.changes
        assert preview.restart is Restart.NONE
        assert preview.notices == (GROWS,)


def test_what_cannot_be_taken_back_is_said_before_it_is_ordered(wide: World) -> None:
    def notices(**options: str) -> list[str]:
        values = {"configoption1": "kvm-s", "userid": 7, "configoptions": options}
        return list(
            upgrades.preview(wide.store.service(1), values, wide.drivers["pve1"], wide.store, wide.config).notices
        )

    assert notices(**{"System Disk": "40"}) == [GROWS]
    assert notices(**{"Additional Disk": "20"}) == []  # a disk that was not there
    assert notices(**{"Operating System": "ubuntu-24.04"}) == [
        "The operating system stays as it is: this order does not change it."
    ]
    assert notices(**{"IPv4 Addresses": "2"}) == []
    wide.order("change_package", configoptions={"IPv4 Addresses": "2"})
    wide.run()
    assert notices(**{"IPv4 Addresses": "1"}) == ["1 of the server's extra IPv4 addresses will be taken away."]


def test_a_refused_change_has_no_notices(wide: World) -> None:
    values = {"configoption1": "kvm-s", "configoption4": "8", "configoption6": "10", "userid": 7}
    preview = upgrades.preview(wide.store.service(1), values, wide.drivers["pve1"], wide.store, wide.config)
    assert preview.refused == ("The system disk has 20 GiB and cannot shrink to 10 GiB.",)
    assert preview.notices == ()


def test_a_change_while_suspended_leaves_it_off(wide: World) -> None:
    wide.order("suspend")
    wide.order("change_package", configoption4="8")
    wide.run()
    vm = wide.cluster.vms[20000]
    assert vm.status == "stopped"
    assert vm.config["cores"] == "8"
    assert vm.config["onboot"] == "0"
    wide.order("unsuspend")
    wide.run()
    assert vm.status == "running"
    assert vm.config["onboot"] == "1"


def test_a_change_right_after_unsuspend_still_starts_it(wide: World) -> None:
    wide.order("suspend")
    wide.run()
    wide.order("unsuspend")
    wide.order("change_package", configoption4="8")
    wide.run()
    assert wide.cluster.vms[20000].status == "running"
    assert wide.cluster.vms[20000].config["cores"] == "8"


def test_a_change_during_create_makes_the_bigger_machine(tmp_path: Path) -> None:
    world = World(tmp_path, **wider())
    world.order("create")
    world.engine.tick()
    world.order("change_package", configoption1="kvm-l", configoption7="10")
    world.run()
    vm = world.cluster.vms[20000]
    assert (vm.status, vm.config["cores"]) == ("running", "4")
    assert "size=10G" in vm.config["scsi1"]
    assert world.vms() == [20000]
    assert len(world.whmcs.mails()) == 1
    world.close()


def test_the_password_goes_to_the_guest_and_is_never_sent_again(wide: World) -> None:
    vm = wide.cluster.vms[20000]
    wide.order("change_password", password="Another-pass-2")
    wide.run()
    assert vm.guest_password == "root:Another-pass-2"
    assert vm.config["cipassword"].startswith("$6$")
    assert len(wide.whmcs.mails()) == 1  # the welcome mail of before
    assert wide.store.password(1) == ""
    wide.cluster.calls.clear()
    wide.order("change_package", configoption4="3")
    wide.run()
    assert not [p for p in puts(wide) if "cipassword" in p]


def test_the_password_without_an_agent_works_after_the_next_restart(wide: World) -> None:
    wide.cluster.vms[20000].agent_after = None
    wide.order("change_password", password="Another-pass-2")
    wide.run()
    op = wide.store.operations_of(1)[0]
    assert op.state is State.DONE
    assert "next restart" in wide.store.steps(op.id)[0]["message"]


def test_redeploy_makes_a_new_machine_with_the_same_addresses(wide: World) -> None:
    before = wide.store.service(1)
    wide.order("redeploy")
    wide.run()
    after = wide.store.service(1)
    assert wide.vms() == [20001]
    assert wide.cluster.vms[20001].status == "running"
    assert after.uuids != before.uuids
    assert after.mac == before.mac
    assert after.mac in wide.cluster.vms[20001].config["net0"]
    assert wide.cluster.vms[20001].config["ipconfig0"] == "ip=203.0.113.10/24,gw=203.0.113.1"
    mails = wide.whmcs.mails()
    assert len(mails) == 2
    assert mails[1][1][1] == "Your server was set up anew"


def test_back_to_the_old_package_after_a_growth_that_failed(wide: World) -> None:
    wide.cluster.storages["local-lvm"].used = wide.cluster.storages["local-lvm"].total
    wide.order("change_package", configoption7="900")
    wide.run()
    assert wide.store.operations_of(1)[0].error_code == "no_capacity"
    wide.order("suspend")
    wide.run()
    wide.order("unsuspend")
    wide.run()
    op = wide.store.operations_of(1)[0]
    assert op.waits_for_room
    assert op.error_code == "no_capacity"
    assert wide.cluster.vms[20000].status == "running"
    wide.order("change_package")
    wide.run()
    assert wide.store.operations_of(1)[0].state is State.DONE
    assert wide.store.service(1).package.additional_disk_gib == 0
    assert wide.store.findings(1) == []


def test_a_network_that_staff_lets_through_is_left_alone(wide: World) -> None:
    vm = wide.cluster.vms[20000]
    vm.ipsets["ipfilter-net0"].append("203.0.113.64/28")
    wide.order("change_package", configoption9="1")
    wide.run()
    assert sorted(vm.ipsets["ipfilter-net0"]) == ["203.0.113.10", "203.0.113.11", "203.0.113.64/28"]


def test_the_preview_counts_free_addresses(wide: World) -> None:
    values = {"configoption1": "kvm-s", "configoption9": "256", "userid": 7}
    preview = upgrades.preview(wide.store.service(1), values, wide.drivers["pve1"], wide.store, wide.config)
    assert preview.refused == ("No free IPv4 address in pool 'public-v4'.",)
    with pytest.raises(Refused, match="No free IPv4 address"):
        wide.order("change_package", **values)
    assert [e["event"] for e in wide.store.events()].count("staff_notice") == 1


def test_whmcs_no_longer_shows_what_was_given_back(wide: World) -> None:
    wide.order("change_package", configoption9="1")
    wide.order("change_package", configoption9="0")
    assert columns(wide) == {"dedicatedip": "203.0.113.10", "assignedips": "", "unset[]": ["assignedips"]}
    assert [e["error"] for e in wide.store.events() if e["event"] == "addresses"] == ["superseded", ""]


def test_an_option_that_nobody_delivers_is_told_to_staff_once(wide: World) -> None:
    for _ in range(2):
        wide.order("change_package", configoptions={"Gold support": "1"})
        wide.run()
    assert [e["event"] for e in wide.store.events()].count("staff_notice") == 1
