"""What a new machine is given: names, DHCP, Windows, IPv6, start order, keys, tags."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from bridge import names, services
from bridge.errors import ConfigError, Refused
from bridge.model import State
from bridge.orders import addresses
from drivers.proxmox import guest
from tests.configs import raw_config
from tests.world import World

ONE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
AT = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


def made(path: Path, plan: dict[str, Any] | None = None, pools: dict[str, Any] | None = None) -> World:
    raw = raw_config()
    raw["plans"]["kvm-s"] |= plan or {}
    return World(path, plans=raw["plans"], pools=raw["pools"] | (pools or {}))


def born(world: World, service: int = 1042, **values: Any) -> Any:
    """The machine of a create that ended well."""
    world.order("create", service, **values)
    world.run()
    record = world.store.find_service("main", service)
    assert record is not None, world.store.operations_of(record.id)[0]
    assert world.store.operations_of(record.id)[0].state is State.DONE, world.store.operations_of(record.id)[0]
    return world.cluster.vms[int(record.vm_id)]


def puts(world: World, word: str) -> list[str]:
    return [p[word] for _, m, _, p in world.cluster.calls if m in ("PUT", "POST") and word in p]


# -- names ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rule", "want"),
    [
        ("vm{service_id}", "vm1042"),
        ("c{client_id}-{service_id}.example.com", "c7-1042.example.com"),
        ("{domain}", "a.example.com"),
        ("{year}{month}{day}-{hour}{minute}{second}", "20270115-080000"),
        ("u{unixtime}", "u1800000000"),
        ("plain", "plain"),
        ("{random_digit_4}", r"\d{4}"),
        ("{random_letter_32}", r"[a-z]{32}"),
        ("x{random_letter_1}{random_digit_2}", r"x[a-z]\d\d"),
    ],
)
def test_each_macro(rule: str, want: str) -> None:
    name = names.from_rule(rule, 7, 1042, "a.example.com", AT, random.Random(1))
    assert name == want or re.fullmatch(want, name), name
    assert names.unknown_macros(rule) == []


@pytest.mark.parametrize(
    ("rule", "unknown"),
    [
        ("{serviceid}", ["{serviceid}"]),
        ("{random_digit_N}", ["{random_digit_N}"]),
        ("{random_digit_0}", ["{random_digit_0}"]),
        ("{random_letter_33}", ["{random_letter_33}"]),
        ("{}", ["{}"]),
        ("{ domain }-{x}", ["{ domain }", "{x}"]),
    ],
)
def test_unknown_macros_are_named_when_the_configuration_is_read(tmp_path: Path, rule: str, unknown: list[str]) -> None:
    assert names.unknown_macros(rule) == unknown
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, {"vm_name": rule})
    assert caught.value.faults[0][0] == "plans.kvm-s.vm_name"
    assert "client_id" in caught.value.faults[0][2]


def test_random_parts_differ() -> None:
    assert len({names.from_rule("{random_letter_8}", 1, 1, "", AT) for _ in range(50)}) == 50


def test_the_rule_names_the_machine_and_whmcs_hears_of_it(tmp_path: Path) -> None:
    world = made(tmp_path, {"vm_name": "c{client_id}-{service_id}.{domain}"})
    answer = world.order("create", domain="example.com")
    assert answer.properties["Domain"] == "c7-1042.example.com"
    world.run()
    assert world.cluster.vms[20000].config["name"] == "c7-1042.example.com"
    world.close()


@pytest.mark.parametrize(
    ("rule", "domain", "name"),
    [
        ("vm.{domain}." + "y" * 60, "", "vm." + "y" * 60),
        ("vm.{domain}." + "y" * 60, "not a name", "vm.not-a-name"),
        ("{domain}", "x" * 62 + "-shop.example.com", "x" * 62),
        ("{domain}_{service_id}", "example.com.", "example.com.1042"),
        ("{domain}", "", "vm-1042"),
        ("{service_id}", "", "vm-1042"),
    ],
)
def test_a_rule_never_makes_an_order_fail(tmp_path: Path, rule: str, domain: str, name: str) -> None:
    world = made(tmp_path, {"vm_name": rule})
    answer = world.order("create", domain=domain)
    world.run()
    assert world.cluster.vms[20000].config["name"] == name
    assert world.store.service(1).provisioned
    assert answer.properties.get("Domain", domain) == name
    world.close()


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("My Server!", "my-server"),
        ("", "vm-1042"),
        ("ümlaut.de", "xn--mlaut-jva.de"),
        ("-.-", "vm-1042"),
        ("A.Example.COM", "a.example.com"),
        ("a..b", "a.b"),
        ("x" * 62 + "-shop.example.com", "x" * 62),
        ("x" * 300, "x" * 63),
        ("shop\u200b.example.com\n", "shop.example.com"),
    ],
)
def test_what_customers_type_becomes_a_name_the_node_takes(world: World, domain: str, name: str) -> None:
    assert born(world, domain=domain).config["name"] == name


# -- DHCP -------------------------------------------------------------------------------------------
def test_dhcp_has_no_set_of_addresses_and_whmcs_learns_what_was_given(tmp_path: Path) -> None:
    world = made(tmp_path, {"pools": [], "dhcp4": True, "bridge": "vmbr0", "vlan": 77})
    for template in world.cluster.vms.values():
        template.agent_after, template.leases = 20.0, ("192.0.2.77", "2001:db8::77")
        template.config["agent"] = "1"
    answer = world.order("create")
    assert "Dedicated IP" not in answer.properties
    world.run()
    vm = world.cluster.vms[20000]
    assert vm.config["ipconfig0"] == "ip=dhcp"
    assert ",tag=77" in vm.config["net0"]
    assert vm.ipsets == {}
    assert vm.firewall["enable"] == "1"
    assert "nameserver" not in vm.config
    assert ("update_service", (1042,)) in world.whmcs.sent
    assert list(world.store.service(1).birth.addresses) == [
        "192.0.2.77",
        "2001:db8::77",
    ]
    assert [e["event"] for e in world.store.events() if e["event"] == "addresses"] == ["addresses"]
    assert [a["primaryip"] for a in services.accounts("pve1", "main", world.store)] == ["192.0.2.77"]
    world.cluster.calls.clear()
    world.order("converge")
    world.run()
    assert world.cluster.mutations() == []
    world.close()


def test_dhcp_of_both_families(tmp_path: Path) -> None:
    world = made(tmp_path, {"pools": [], "dhcp4": True, "dhcp6": True})
    assert born(world).config["ipconfig0"] == "ip=dhcp,ip6=dhcp"
    assert world.store.operations_of(1)[0].state is State.DONE  # no agent: nobody waits for addresses
    world.close()


def test_dhcp_beside_a_pool_of_the_same_family_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, {"dhcp4": True})
    assert caught.value.faults[0][:2] == ("plans.kvm-s.dhcp4", "dhcp_and_pool")


def test_a_fixed_ipv4_beside_dhcp_for_ipv6(tmp_path: Path) -> None:
    world = made(tmp_path, {"dhcp6": True})
    vm = born(world)
    assert vm.config["ipconfig0"] == "ip=203.0.113.10/24,gw=203.0.113.1,ip6=dhcp"
    assert vm.ipsets == {}
    world.close()


# -- Windows ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("ostype", ["win11", "win10", "w2k8", "wxp"])
def test_windows_gets_the_plain_password_at_birth_alone(tmp_path: Path, ostype: str) -> None:
    world = made(tmp_path, {"os_user": "Administrator"})
    for template in world.cluster.vms.values():
        template.config["ostype"] = ostype
    vm = born(world, password="Secret-pass-1")
    assert puts(world, "cipassword") == ["Secret-pass-1"]
    assert vm.config["ciuser"] == "Administrator"
    world.cluster.calls.clear()
    for verb in ("suspend", "unsuspend", "converge", "reboot"):
        world.order(verb)
        world.run()
    world.order("change_package", configoption4="4")
    world.run()
    assert puts(world, "cipassword") == []
    assert "Secret-pass-1" not in str(world.store.rows("SELECT * FROM services")) + str(
        world.store.rows("SELECT * FROM operations")
    )
    world.close()


def test_linux_gets_the_hash(world: World) -> None:
    born(world, password="Secret-pass-1")
    [sent] = puts(world, "cipassword")
    assert sent.startswith("$6$")
    assert "Secret-pass-1" not in str(world.cluster.calls)


# -- IPv6 -------------------------------------------------------------------------------------------
SIX = {
    "ranges": ["2001:db8:40::10-2001:db8:40::1f"],
    "prefix": 128,
    "gateway": "fe80::1",
    "bridge": "vmbr0",
    "vlan": 40,
}


def test_single_ipv6_addresses(tmp_path: Path) -> None:
    world = made(tmp_path, {"pools": ["public-v4", "v6"]}, {"v6": SIX})
    vm = born(world, configoption10="2")
    assert vm.config["ipconfig0"] == "ip=203.0.113.10/24,gw=203.0.113.1,ip6=2001:db8:40::10/128,gw6=fe80::1"
    assert vm.ipsets["ipfilter-net0"] == ["2001:db8:40::10", "2001:db8:40::11", "2001:db8:40::12", "203.0.113.10"]
    world.cluster.calls.clear()
    world.order("converge")
    world.run()
    assert world.cluster.mutations() == []
    world.close()


def test_ipv6_alone(tmp_path: Path) -> None:
    world = made(tmp_path, {"pools": ["v6"]}, {"v6": SIX})
    assert world.order("create").properties["Dedicated IP"] == "2001:db8:40::10"
    world.run()
    assert world.cluster.vms[20000].config["ipconfig0"] == "ip6=2001:db8:40::10/128,gw6=fe80::1"
    world.close()


def test_a_used_up_ipv6_pool_is_named(tmp_path: Path) -> None:
    world = made(tmp_path, {"pools": ["v6"]}, {"v6": {**SIX, "ranges": ["2001:db8:40::10"]}})
    world.order("create", 1)
    with pytest.raises(Refused, match="No free IPv6 address in pool 'v6'"):
        world.order("create", 2)
    world.close()


# -- the rest ---------------------------------------------------------------------------------------
def test_start_order(tmp_path: Path) -> None:
    world = made(tmp_path, {"startup_order": 30})
    world.cluster.privileges["/"].add("Sys.Modify")
    assert born(world).config["startup"] == "order=30"
    world.close()


def test_start_order_without_its_privilege_is_a_named_failure(tmp_path: Path) -> None:
    world = made(tmp_path, {"startup_order": 30})
    world.order("create")
    world.run()
    op = world.store.operations_of(1)[0]
    assert (op.state, op.error_code) == (State.FAILED, "upstream_privilege")
    assert "Sys.Modify" in op.error_text
    world.close()


def test_keys_of_operator_and_customer_replace_the_templates(tmp_path: Path) -> None:
    own = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/ me+you@home"
    world = made(tmp_path, {"ssh_keys": f"{ONE} operator", "ssh_keys_field": "SSH key"})
    vm = born(world, customfields={"SSH key": own})
    assert vm.config["sshkeys"] == f"{ONE} operator\n{own}"
    [sent] = puts(world, "sshkeys")
    assert unquote(sent) == vm.config["sshkeys"]
    assert "+" not in sent
    assert " " not in sent
    world.cluster.calls.clear()
    world.order("converge")
    world.run()
    assert world.cluster.mutations() == []
    world.close()


def test_without_keys_the_templates_are_removed(world: World) -> None:
    assert "sshkeys" not in born(world).config


def test_tags_are_ours_at_birth_and_beside_staffs_later(tmp_path: Path) -> None:
    world = made(tmp_path, {"tags": ["web", "paid"]})
    vm = born(world)
    assert vm.config["tags"] == "paid;vmbridge;web"
    vm.config["tags"] = "vmbridge;urgent"
    world.order("converge")
    world.run()
    assert vm.config["tags"] == "paid;urgent;vmbridge;web"
    world.close()


@pytest.mark.parametrize(
    ("plan", "key", "want"),
    [
        ({"onboot": False}, "onboot", "0"),
        ({"os_user": "admin"}, "ciuser", "admin"),
        ({"nic_model": "e1000"}, "net0", "e1000=02:56:4D"),
        ({"rate_mbit": 0}, "net0", "firewall=1,tag=40"),
        ({"firewall": False}, "net0", "firewall=0"),
    ],
)
def test_plain_words_of_the_plan(tmp_path: Path, plan: dict[str, Any], key: str, want: str) -> None:
    world = made(tmp_path, plan)
    assert want in born(world).config[key]
    world.close()


def leasing(path: Path, leases: tuple[str, ...], after: float = 0.0, **plan: Any) -> World:
    world = made(path, {"pools": [], "dhcp4": True, "dhcp6": True, **plan})
    for template in world.cluster.vms.values():
        template.agent_after, template.leases, template.lease_after = 5.0, leases, after
        template.config["agent"] = "1"
    return world


def told(world: World) -> list[list[str]]:
    return [e["dedupe"].split(":", 3)[3].split(",") for e in world.store.events() if e["event"] == "addresses"]


def look(world: World) -> list[str]:
    """One look by the worker, an hour later."""
    world.clock.time += 3601
    world.store.save_statuses("pve1", world.drivers["pve1"].statuses())
    addresses.learn("pve1", world.drivers["pve1"], world.store)
    return list(world.store.service(1).birth.addresses)


def test_only_the_adapter_that_was_given_has_the_servers_addresses(tmp_path: Path) -> None:
    world = leasing(tmp_path, ("2001:db8::77", "192.0.2.77"))
    born(world)
    assert told(world) == [["192.0.2.77", "2001:db8::77"]]  # not docker0's, not the tunnel's, nothing link-local
    world.close()


@pytest.mark.parametrize("after", [20.0, 300.0])
def test_a_lease_after_the_agents_first_answer_is_learned(tmp_path: Path, after: float) -> None:
    world = leasing(tmp_path, ("192.0.2.77",), after)
    born(world)
    world.store.save_statuses("pve1", world.drivers["pve1"].statuses())
    soon = after < 60
    assert told(world) == ([["192.0.2.77"]] if soon else [])
    waited = 0
    while not told(world) and waited < 20:
        world.clock.time += 61
        waited += 1
        addresses.learn("pve1", world.drivers["pve1"], world.store)
    assert told(world) == [["192.0.2.77"]]
    assert waited < 8
    world.run(30)
    assert ("update_service", (1042,)) in world.whmcs.sent
    world.close()


def test_another_lease_is_told_and_silence_forgets_none(tmp_path: Path) -> None:
    world = leasing(tmp_path, ("192.0.2.77", "2001:db8::77"))
    vm = born(world)
    first = ["192.0.2.77", "2001:db8::77"]
    assert look(world) == first
    assert len(told(world)) == 1
    vm.leases = ("192.0.2.77", "2001:db8::99", "2001:db8::77")  # a temporary address of its own
    assert look(world) == first
    assert len(told(world)) == 1
    vm.leases = ("192.0.2.78", "2001:db8::99")
    assert look(world) == ["192.0.2.78", "2001:db8::99"]
    assert told(world)[-1] == ["192.0.2.78", "2001:db8::99"]
    vm.leases = ()
    assert look(world) == ["192.0.2.78", "2001:db8::99"]
    assert len(told(world)) == 2
    vm.status = "stopped"
    world.cluster.calls.clear()
    assert look(world) == ["192.0.2.78", "2001:db8::99"]
    assert not [path for _, _, path, _ in world.cluster.calls if "agent" in path]
    world.close()


def test_a_pool_beside_dhcp(tmp_path: Path) -> None:
    """The family that is ours stays ours, whatever the guest says; the other one is learned beside it."""
    world = leasing(tmp_path, ("192.0.2.77", "2001:db8::77"), pools=["public-v4"], dhcp4=False)
    born(world)
    assert told(world) == [["203.0.113.10", "2001:db8::77"]]
    assert list(world.store.service(1).birth.addresses) == ["2001:db8::77"]
    world.close()


def test_nothing_is_written_beside_an_operation(tmp_path: Path) -> None:
    world = leasing(tmp_path, ("192.0.2.77",))
    vm = born(world)
    vm.leases = ("192.0.2.78",)
    world.clock.time += 3601
    world.store.save_statuses("pve1", world.drivers["pve1"].statuses())
    world.order("reboot")
    addresses.learn("pve1", world.drivers["pve1"], world.store)
    assert list(world.store.service(1).birth.addresses) == ["192.0.2.77"]
    world.run()
    assert look(world) == ["192.0.2.78"]
    world.close()


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        (
            [{"name": "eth0", "hardware-address": "aa:bb:cc:00:00:01", "ip-addresses": [{"ip-address": "10.0.0.5"}]}],
            ("10.0.0.5",),
        ),
        ([{"name": "eth0", "hardware-address": "aa:bb:cc:00:00:01"}], ()),
        ([{"name": "eth0", "ip-addresses": [{"ip-address": "10.0.0.5"}]}], ()),
        (
            [
                {
                    "name": "x",
                    "hardware-address": "AA:BB:CC:00:00:01",
                    "ip-addresses": [{"ip-address": "fe80::1%2"}, {"ip-address": "?"}, {}],
                }
            ],
            (),
        ),
        (None, ()),
        ({"error": {"class": "CommandNotFound"}}, ()),
    ],
)
def test_answers_of_agents(rows: Any, want: tuple[str, ...]) -> None:
    assert guest.leased(rows, "AA:BB:CC:00:00:01") == want
    assert guest.leased(rows, "") == ()
