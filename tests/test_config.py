"""Broken configurations: path and code of each fault, and several faults together."""

from __future__ import annotations

import copy
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from bridge import config
from bridge.errors import ConfigError
from drivers.proxmox.api import Api
from tests.configs import KEY, raw_config


def broken(path: str, value: Any) -> dict[str, Any]:
    """The good configuration with one value changed (`...` removes it)."""
    raw = copy.deepcopy(raw_config())
    *parents, last = path.split("/")
    at: Any = raw
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return raw


CASES = [
    ("stoer", {}, "stoer", "unknown_key"),
    ("store/secret_key", ..., "store.secret_key", "missing"),
    ("store/secret_key", "short", "store.secret_key", "invalid"),
    ("store/secret_key", "env:VMBRIDGE_NO_SUCH", "store.secret_key", "env_missing"),
    ("store/secret_key", "file:/no/such/file", "store.secret_key", "file_missing"),
    ("store/pth", "x", "store.pth", "unknown_key"),
    ("web/listen", "8080", "web.listen", "invalid"),
    ("web/public_url", "not a url", "web.public_url", "invalid"),
    ("worker/per_node", 0, "worker.per_node", "invalid"),
    ("metrics/listen", "everywhere", "metrics.listen", "invalid"),
    ("whmcs", {}, "whmcs", "missing"),
    ("whmcs/main/system_url", ..., "whmcs.main.system_url", "missing"),
    ("whmcs/main/system_url", "http://billing.example.com", "whmcs.main.system_url", "not_https"),
    ("whmcs/main/api_secret", ..., "whmcs.main.api_secret", "missing"),
    ("whmcs/main/keys", [], "whmcs.main.keys", "invalid"),
    ("whmcs/main/keys/0/secret", "short", "whmcs.main.keys[0].secret", "invalid"),
    ("whmcs/main/hold_welcome_mail", "maybe", "whmcs.main.hold_welcome_mail", "invalid"),
    ("servers/pve1/driver", ..., "servers.pve1.driver", "missing"),
    ("servers/pve1/driver", "vmware", "servers.pve1.driver", "unknown_driver"),
    ("servers/pve1/endpoint", "http://pve.test:8006", "servers.pve1.endpoint", "invalid"),
    ("servers/pve1/endpoint", "https://pve.test/pve", "servers.pve1.endpoint", "invalid"),
    ("servers/pve1/endpoint", "https://pve.test:8006/api2/json", "servers.pve1.endpoint", "invalid"),
    *(
        (f"{path}", url, path.replace("/", "."), "invalid")
        for path in ("servers/pve1/endpoint", "whmcs/main/system_url", "web/public_url")
        for url in (
            "https://ada:secret@pve.test:8006",
            "https://pve.test:8006?x=1",
            "https://pve.test:8006/#top",
            "https://pve.test:99999",
            "https:///pve",
            "https://pve.test:8006/a//b",
            "https://pve.test:8006/a b",
            "pve.test:8006",
            "ftp://pve.test",
        )
    ),
    ("whmcs/main/system_url", "https://billing.test/index.php", "whmcs.main.system_url", "invalid"),
    ("web/public_url", "http://billing.test/vmbridge", "web.public_url", "not_https"),
    ("servers/pve1/token_id", "root", "servers.pve1.token_id", "invalid"),
    ("servers/pve1/vm_ids", "many", "servers.pve1.vm_ids", "invalid"),
    ("servers/pve1/vm_ids", "200-100", "servers.pve1.vm_ids", "invalid"),
    ("servers/Bad Name", {"driver": "proxmox"}, "servers.Bad Name", "bad_name"),
    ("plans/kvm-s/server", "pve9", "plans.kvm-s.server", "unknown_server"),
    ("plans/kvm-s/cores", "two", "plans.kvm-s.cores", "invalid"),
    ("plans/kvm-s/cores", 0, "plans.kvm-s.cores", "invalid"),
    ("plans/kvm-s/corse", 2, "plans.kvm-s.corse", "unknown_key"),
    ("web/listen", "127.0.0.1:99999", "web.listen", "invalid"),
    ("servers/pve1/vm_ids", ["20000-20600", "20500-20700"], "servers.pve1.vm_ids", "invalid"),
    ("servers/pve1/scratch_vm_ids", [], "servers.pve1.scratch_vm_ids", "unknown_key"),
    ("plans/kvm-s/node", "a b", "plans.kvm-s.node", "invalid"),
    ("plans/kvm-s/vm_name", "vm-{serviceid}", "plans.kvm-s.vm_name", "invalid"),
    ("plans/kvm-s/ssh_keys", "not a key", "plans.kvm-s.ssh_keys", "invalid"),
    ("plans/kvm-s/dhcp4", True, "plans.kvm-s.dhcp4", "dhcp_and_pool"),
    ("plans/kvm-s/extra_ipv6", 1, "plans.kvm-s.extra_ipv6", "no_pool"),
    ("options/Processor", "coers", "options.Processor", "unknown_word"),
    ("plans/kvm-s/clone", "half", "plans.kvm-s.clone", "invalid"),
    ("plans/kvm-s/templates", [], "plans.kvm-s.templates", "invalid"),
    ("plans/kvm-s/pools", ["nowhere"], "plans.kvm-s.pools[0]", "unknown_pool"),
    ("plans/kvm-s/allow", ["flying"], "plans.kvm-s.allow[0]", "invalid"),
    ("pools/public-v4/ranges", ["203.0.113.9-203.0.113.5"], "pools.public-v4.ranges", "invalid"),
    ("pools/public-v4/ranges", ["2001:db8::1"], "pools.public-v4.ranges", "invalid"),
    ("pools/public-v4/prefix", 64, "pools.public-v4.prefix", "invalid"),
    ("pools/public-v4/gateway", "gate", "pools.public-v4.gateway", "invalid"),
    ("pools/public-v4/gateway", "0.0.0.0", "pools.public-v4.gateway", "invalid"),
    ("pools/public-v4/gateway", "224.0.0.1", "pools.public-v4.gateway", "invalid"),
    ("pools/public-v4/gateway", "127.0.0.1", "pools.public-v4.gateway", "invalid"),
    ("pools/public-v4/gateway", "fe80::1", "pools.public-v4.ranges", "invalid"),
    (
        "pools/other",
        {"ranges": ["203.0.113.20"], "prefix": 24, "gateway": "203.0.113.1"},
        "pools.other.ranges[0]",
        "overlap",
    ),
    ("dns/113.0.203.in-addr.arpa", {"provider": "bind"}, "dns.113.0.203.in-addr.arpa.provider", "unknown_provider"),
]


@pytest.mark.parametrize(("path", "value", "where", "code"), CASES)
def test_a_fault_is_named(path: str, value: Any, where: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.from_dict(broken(path, value))
    assert (where, code) in [(p, c) for p, c, _ in caught.value.faults]


def test_faults_are_reported_together() -> None:
    raw = raw_config(store={}, web={"listen": "x"}, nonsense={})
    with pytest.raises(ConfigError) as caught:
        config.from_dict(raw)
    assert {p for p, _, _ in caught.value.faults} >= {"store.secret_key", "web.listen", "nonsense"}


SEVERAL: list[tuple[dict[str, Any], set[str]]] = [
    (
        {"plans/kvm-s/server": "pve9", "plans/kvm-s/corse": 2, "plans/kvm-s/storrage": "x", "plans/kvm-s/ram_mib": 1},
        {"plans.kvm-s.server", "plans.kvm-s.corse", "plans.kvm-s.storrage", "plans.kvm-s.ram_mib"},
    ),
    (
        {"plans/kvm-s/server": ..., "plans/kvm-s/corse": 2, "plans/kvm-s/templates": ["a@b"]},
        {"plans.kvm-s.server", "plans.kvm-s.corse", "plans.kvm-s.templates[0]"},
    ),
    (
        {"servers/pve1/driver": "promox", "servers/pve1/endpont": "x", "plans/kvm-s/corse": 2},
        {"servers.pve1.driver", "servers.pve1.endpont", "plans.kvm-s.corse"},
    ),
    ({"servers/pve1/driver": ..., "servers/pve1/endpont": "x"}, {"servers.pve1.driver", "servers.pve1.endpont"}),
    (
        {"servers/pve1/endpont": "x", "servers/pve1/vm_ids": "200-100", "servers/pve1/token_id": "root"},
        {"servers.pve1.endpont", "servers.pve1.vm_ids", "servers.pve1.token_id"},
    ),
    (
        {"plans/kvm-s/clone": "half", "plans/kvm-s/corse": 1, "plans/kvm-s/dhcp4": True, "plans/kvm-s/pools/1": "no"},
        {"plans.kvm-s.clone", "plans.kvm-s.corse", "plans.kvm-s.dhcp4", "plans.kvm-s.pools[1]"},
    ),
    (
        {"pools/public-v4/vlna": 1, "pools/public-v4/ranges": ["x", "203.0.113.9-203.0.113.5"]},
        {"pools.public-v4.vlna", "pools.public-v4.ranges"},
    ),
    (
        {"whmcs/main/hold": 1, "whmcs/main/system_url": "http://billing.example.com"},
        {"whmcs.main.hold", "whmcs.main.system_url"},
    ),
    ({"web/listen": "x", "web/public_url": "http://billing.test"}, {"web.listen", "web.public_url"}),
]


@pytest.mark.parametrize(("changes", "paths"), SEVERAL)
def test_several_faults_of_one_table_are_all_reported(changes: dict[str, Any], paths: set[str]) -> None:
    raw = raw_config()
    for path, value in changes.items():
        at: Any = raw
        *parents, last = path.split("/")
        for part in parents:
            at = at.setdefault(part, {})
        if isinstance(at, list):
            at.append(value)
        elif value is ...:
            del at[last]
        else:
            at[last] = value
    with pytest.raises(ConfigError) as caught:
        config.from_dict(raw)
    assert {p for p, _, _ in caught.value.faults} == paths


def test_a_near_key_is_suggested_and_secrets_are_not_printed() -> None:
    raw = broken("whmcs/main/api_secert", "hush-hush-hush")
    with pytest.raises(ConfigError) as caught:
        config.from_dict(raw)
    assert "did you mean 'api_secret'?" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_duplicate_key_ids_between_installations() -> None:
    raw = raw_config()
    raw["whmcs"]["second"] = raw["whmcs"]["main"]
    with pytest.raises(ConfigError) as caught:
        config.from_dict(raw)
    assert "duplicate_key" in [c for _, c, _ in caught.value.faults]


def test_the_example_is_valid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text(KEY)
    for name in ("WHMCS_API_ID", "WHMCS_API_SECRET", "VMBRIDGE_SHIM_SECRET", "PVE1"):
        monkeypatch.setenv(name, "a-long-enough-secret")
    text = (Path(__file__).parent.parent / "config.example.toml").read_text()
    path = tmp_path / "config.toml"
    path.write_text(text.replace("/etc/vmbridge/secret.key", str(tmp_path / "secret.key")))
    assert config.load(path).plans["kvm-s"].server == "pve1"


def test_a_servers_fault_is_not_blamed_on_its_plans() -> None:
    raw = broken("servers/pve1/token_secret", "env:VMBRIDGE_NO_SUCH")
    raw["plans"]["kvm-s"]["clone"] = "full"
    with pytest.raises(ConfigError) as caught:
        config.from_dict(raw)
    assert [path for path, _, _ in caught.value.faults] == ["servers.pve1.token_secret"]


def test_gateway_network_and_broadcast_are_never_given_out(tmp_path: Path) -> None:
    from tests.world import World

    raw = raw_config()
    raw["pools"]["public-v4"]["ranges"] = ["203.0.113.0-203.0.113.3", "203.0.113.255"]
    world = World(tmp_path, pools=raw["pools"])
    assert [world.order("create", i).properties["Dedicated IP"] for i in (1, 2)] == ["203.0.113.2", "203.0.113.3"]
    with pytest.raises(Exception, match="No free IPv4 address"):
        world.order("create", 3)
    world.close()


@pytest.mark.parametrize(
    ("endpoint", "base", "socket"),
    [
        ("https://pve.test", "https://pve.test:8006/api2/json", "wss://pve.test:8006/api2/json/x"),
        ("https://pve.test:8007/", "https://pve.test:8007/api2/json", "wss://pve.test:8007/api2/json/x"),
        ("https://h.test:443/a/pve/", "https://h.test:443/a/pve/api2/json", "wss://h.test:443/a/pve/api2/json/x"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:8006/api2/json", "wss://[2001:db8::1]:8006/api2/json/x"),
    ],
)
def test_all_of_an_endpoint_is_used(endpoint: str, base: str, socket: str) -> None:
    made = config.from_dict(broken("servers/pve1/endpoint", endpoint))
    api = Api(made.servers["pve1"])
    assert api._client(False)._store["base_url"] == base
    assert api.socket_url("x") == socket


@pytest.mark.parametrize("endpoint", ["https://api.test", "http://api.test/v1", "https://a:b@api.test/v1"])
def test_an_endpoint_of_the_cloud_has_a_path(endpoint: str) -> None:
    raw = raw_config()
    raw["servers"]["hz1"] = {"driver": "hetzner", "token": "x" * 64, "endpoint": endpoint}
    with pytest.raises(ConfigError) as caught:
        config.from_dict(raw)
    assert [f[0] for f in caught.value.faults] == ["servers.hz1.endpoint"]


GATEWAYS = [
    ("203.0.113.10-203.0.113.20", 24, "203.0.113.1", "", set()),
    ("203.0.113.10-203.0.113.20", 32, "198.51.100.254", "203.0.113.10/32", set()),
    ("203.0.113.8-203.0.113.15", 29, "198.51.100.254", "203.0.113.8/29", {"203.0.113.8", "203.0.113.15"}),
    ("10.0.0.5-10.0.0.9", 32, "169.254.0.1", "10.0.0.5/32", set()),
    ("2001:db8::10-2001:db8::20", 64, "fe80::1", "2001:db8::/64", set()),
    ("2001:db8::-2001:db8::20", 64, "fe80::1", "2001:db8::/64", {"2001:db8::"}),
    ("2001:db8:1::10-2001:db8:1::20", 64, "2001:db8::1", "2001:db8:1::/64", set()),
    ("2001:db8::1-2001:db8::9", 64, "2001:db8::1", "", {"2001:db8::1"}),
]


@pytest.mark.parametrize(("span", "prefix", "gateway", "outside", "never"), GATEWAYS)
def test_a_gateway_may_be_elsewhere(span: str, prefix: int, gateway: str, outside: str, never: set[str]) -> None:
    raw = raw_config()
    raw["pools"]["public-v4"] |= {"ranges": [span], "prefix": prefix, "gateway": gateway, "dns": []}
    pool = config.from_dict(raw).pools["public-v4"]
    assert pool.gateway == gateway
    assert pool.gateway_outside == outside
    kind = IPv4Address if pool.family == 4 else IPv6Address
    assert {str(kind(a)) for a, _ in pool.excluded} == never


def test_a_range_of_two_networks_is_refused_wherever_the_gateway_is() -> None:
    for gateway in ("203.0.113.1", "198.51.100.1"):
        raw = broken("pools/public-v4/ranges", ["203.0.113.250-203.0.114.5"])
        raw["pools"]["public-v4"]["gateway"] = gateway
        with pytest.raises(ConfigError) as caught:
            config.from_dict(raw)
        assert [f[0] for f in caught.value.faults] == ["pools.public-v4.ranges"]


def test_a_file_that_is_not_there_says_how_to_name_it(tmp_path: Path) -> None:
    for path, said in (("absent.toml", "name your file with --config"), ("", "is a folder"), ("latin", "not text")):
        (tmp_path / "latin").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigError) as e:
            config.load(tmp_path / path)
        assert said in str(e.value)
