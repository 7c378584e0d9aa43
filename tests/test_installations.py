"""Two WHMCS on one bridge: what is not an installation's own is for it as if it did not exist, on every signed
route."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from bridge import config as config_module
from bridge.app import create_app
from bridge.errors import ConfigError
from bridge.kinds import BILLING, POWER
from bridge.services import Caller, run
from bridge.staff.doctor import against_store
from bridge.store import Store
from bridge.web.auth import sign
from bridge.web.reading import SCOPES
from tests.configs import KEY, raw_config
from tests.world import World

SECRETS = {"main-1": "shim-secret-0123456789", "other-1": "other-secret-0123456789"}
ADMIN = {"kind": "admin", "id": 1, "name": "mallory"}
THEIRS, NOWHERE = 1042, 9999
WHMCS_VERBS = [*BILLING, *POWER, "change_password", "preview", "retry", "cancel", "converge", "redeploy"]


def two(**main: Any) -> dict[str, Any]:
    """`main` has pve1 with plan kvm-s and pool public-v4; `other` has pve2 with plan kvm-b and pool private-v4."""
    raw = raw_config()
    keys = [{"id": "other-1", "secret": SECRETS["other-1"]}]
    pool = {**raw["pools"]["public-v4"], "ranges": ["198.51.100.10-198.51.100.99"], "gateway": "198.51.100.1"}
    return {
        **raw,
        "whmcs": {
            "main": {**raw["whmcs"]["main"], "servers": ["pve1"], **main},
            "other": {**raw["whmcs"]["main"], "servers": ["pve2"], "keys": keys},
        },
        "servers": {**raw["servers"], "pve2": {**raw["servers"]["pve1"], "vm_ids": "30000-30009"}},
        "plans": {**raw["plans"], "kvm-b": {**raw["plans"]["kvm-s"], "server": "pve2", "pools": ["private-v4"]}},
        "pools": {**raw["pools"], "private-v4": pool},
    }


class Other:
    """The other installation's shim: it signs well, and asks for what is not its own."""

    def __init__(self, client: FlaskClient, world: World) -> None:
        self.client, self.world, self.count = client, world, 0

    def send(self, method: str, target: str, body: Any = None, key: str = "other-1") -> Any:
        raw = b"" if body is None else json.dumps(body).encode()
        self.count += 1
        nonce, stamp = f"{self.count:032x}", str(int(self.world.clock.now()))
        headers = {
            "Vmbridge-Key": key,
            "Vmbridge-Timestamp": stamp,
            "Vmbridge-Nonce": nonce,
            "Vmbridge-Signature": sign(SECRETS[key], method, target, stamp, nonce, raw),
        }
        return self.client.open(target, method=method, data=raw, headers=headers)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[World]:
    """The first installation's machine runs, one create of it has failed, its server has findings and a sentence for
    customers."""
    world = World(tmp_path, **{k: v for k, v in two().items() if k != "store"})
    world.order("create")
    world.run()
    service = world.store.find_service("main", THEIRS)
    assert service
    world.store.find("pve1", service.id, "differs_from_package", "x", "secret words", "", {})
    world.store.find("pve1", None, "unknown_vm", "4711", "secret machine", "", {})
    world.store.set_maintenance("pve1", "secret sentence")
    yield world
    world.close()


@pytest.fixture
def other(pair: World) -> Other:
    return Other(create_app(pair.context).test_client(), pair)


def held(world: World) -> list[str]:
    """All that the store holds, but for nonces and what is noted of who looks and asks."""
    noted = ('"nonces"', '"server_health"', '"audit"')
    with closing(sqlite3.connect(world.path)) as conn:
        return [line for line in conn.iterdump() if not any(table in line for table in noted)]


def order(service: int, server: str, plan: str, **more: Any) -> dict[str, Any]:
    params = {
        "serviceid": service,
        "userid": 7,
        "domain": "a.example.com",
        "configoption1": plan,
        "password": "Secret-pass-1",
        "status": "Active",
        **more,
    }
    return {"params": params, "server": server, "actor": ADMIN}


VERBS = [v for v in WHMCS_VERBS if v != "create"]
CUSTOMER_FORMS = [
    ("power", {"do": "stop", "confirmed": "1"}),
    ("snapshots", {"do": "take"}),
    ("backups", {"do": "take"}),
    ("reinstall", {"do": "reinstall", "template": "debian-12", "confirm": "REINSTALL"}),
    ("reset_password", {"do": "reset"}),
    ("console", {"do": "connect"}),
    ("firewall", {"do": "add", "way": "in", "action": "ACCEPT", "service": "SSH"}),
    ("firewall", {"do": "policy", "policy_in": "DROP", "policy_out": "ACCEPT"}),
    ("iso", {"do": "mount", "iso": "local:iso/debian-12.iso"}),
    ("iso", {"do": "boot", "confirmed": "1"}),
    ("rdns", {"do": "save", "address": "203.0.113.10", "name": "mail.example.com"}),
]
PAGES = (
    *("overview", "charts", "snapshots", "backups", "reinstall", "reset_password", "console"),
    *("rdns", "iso", "firewall", "activity"),
)


def requests_about(
    service: int, server: str, plan: str, pool: str, operation: str, finding: int
) -> list[tuple[Any, ...]]:
    """(rule, method, target, body) for every signed route, about things of these names."""
    who = {f"actor_{k}": v for k, v in ADMIN.items()}
    asked: list[tuple[Any, ...]] = []
    rule = "/v1/services/<service:service_id>/<verb>"
    asked += [(rule, "POST", f"/v1/services/{service}/{v}", order(service, server, plan)) for v in VERBS]
    asked.append((rule, "POST", "/v1/services/77/create", order(77, server, plan, status="Pending")))
    asked.append((rule, "POST", "/v1/services/77/create", order(77, "", plan, status="Pending")))
    asked.append((rule, "POST", "/v1/services/77/create", order(77, server, "kvm-b", status="Pending")))
    asked.append((rule, "POST", "/v1/services/500/change_package", order(500, server, plan)))
    asked.append((rule, "POST", "/v1/services/500/change_package", order(500, "pve2", plan)))
    asked.append((rule, "POST", "/v1/services/500/preview", order(500, "pve2", plan)))
    rule = "/v1/services/<service:service_id>/pages/<capability>"
    for page in PAGES:
        for client in ("", "?client=7"):
            asked.append((rule, "GET", f"/v1/services/{service}/pages/{page}{client}", None))
    for capability, form in CUSTOMER_FORMS:
        body = {"params": {"serviceid": service, "userid": 7}, "form": form, "actor": {"kind": "client", "id": 7}}
        asked.append((rule, "POST", f"/v1/services/{service}/pages/{capability}", body))
    tab = "/v1/services/<service:service_id>/pages/admin"
    asked.append((tab, "GET", f"/v1/services/{service}/pages/admin?admin=1&client=7", None))
    rule = "/v1/services/<service:service_id>/charts"
    asked.append((rule, "GET", f"/v1/services/{service}/charts?period=hour&client=7", None))
    rule = "/status/v1/services/<service:service_id>"
    asked.append((rule, "GET", f"/status/v1/services/{service}?client=7", None))
    for what in ("test", "plans", "accounts", "usage"):
        asked.append((f"/v1/servers/<name>/{what}", "POST", f"/v1/servers/{server}/{what}", {}))
    asked.append(("/v1/servers/<name>/usage", "POST", "/v1/servers/pve2/usage", {"service_id": service}))
    # of clients alone: what is named beside them is refused
    asked.append(("/v1/dashboard/<page>", "POST", "/v1/dashboard/list", {"service": service}))
    asked.append(("/v1/low-credit", "POST", "/v1/low-credit", {"clients": [], "service": service}))
    for page, query in (
        ("overview", {}),
        ("operations", {"name": server}),
        ("operation", {"id": operation}),
        ("service", {"id": service}),
        ("servers", {}),
        ("pools", {"name": pool}),
        ("dns", {"name": pool}),
        ("findings", {"name": server}),
    ):
        asked.append(("/v1/admin/<page>", "GET", f"/v1/admin/{page}?{urlencode({**who, **query})}", None))
    for form in (
        {"do": "retry", "operation": operation},
        {"do": "cancel", "operation": operation},
        {"do": "redeploy", "service": str(service), "typed": str(service)},
        {"do": "converge", "service": str(service)},
        {"do": "dismiss", "finding": str(finding)},
        {"do": "fix", "finding": str(finding)},
        {"do": "maintenance", "server": server, "switch": "on", "text": "closed"},
        {"do": "maintenance", "server": server, "switch": "off"},
    ):
        asked.append(("/v1/admin/<page>", "POST", "/v1/admin/overview", {"actor": ADMIN, "form": form}))
    return asked


def plain(reply: Any, names: tuple[Any, ...]) -> str:
    """A reply without what was asked for, and without what differs each time."""
    data = reply.get_json()
    if "error" in data:
        data["error"].pop("reference")
    text = json.dumps(data, sort_keys=True)
    for name in sorted((str(n) for n in names if len(str(n)) > 3), key=len, reverse=True):
        text = text.replace(name, "*")
    return text


def test_the_walk_is_over_every_signed_route(other: Other) -> None:
    app = other.client.application
    open_to_all = {"/health", "/ready", "/assets/<version>/<path:name>", "/static/<path:filename>"}
    no_ones = {"/v1/assets/<version>/<name>", "/v1/openapi.json"}  # of the release, the same for everybody
    by_token = {f"/v1/read/{name}" for name in SCOPES}  # an installation's token reads its own: test_reading
    routes = {
        (str(r.rule), m)
        for r in app.url_map.iter_rules()
        for m in (r.methods or set()) - {"HEAD", "OPTIONS"}
        if str(r.rule) not in open_to_all | no_ones | by_token
    }
    asked = {(rule, method) for rule, method, *_ in requests_about(1, "a", "b", "c", "d", 1)}
    assert routes == asked


def test_what_is_another_installations_is_as_if_it_did_not_exist(pair: World, other: Other) -> None:
    values = order(500, "pve2", "kvm-b", status="Pending")["params"]
    run("create", 500, "pve2", values, Caller("other"), pair.store, pair.config, pair.drivers)
    pair.run()
    mine = pair.store.find_service("other", 500)
    assert mine
    assert mine.provisioned
    service = pair.store.find_service("main", THEIRS)
    assert service
    operation = pair.store.operations_of(service.id)[0].id
    finding = next(f["id"] for f in pair.store.findings() if f["text"] == "secret machine")
    theirs = (THEIRS, "pve1", "kvm-s", "public-v4", operation, finding)
    nobodys = (NOWHERE, "nowhere-9", "nothing-9", "no-pool-9", "0" * 12, 987654)
    before = held(pair)
    for (_, method, target, body), (_, _, other_target, other_body) in zip(
        requests_about(*theirs), requests_about(*nobodys), strict=True
    ):
        reply, unknown = other.send(method, target, body), other.send(method, other_target, other_body)
        text = reply.get_data(as_text=True)
        assert (reply.status_code, plain(reply, theirs)) == (unknown.status_code, plain(unknown, nobodys)), target
        if body is not None or reply.status_code != 200:  # a page may say what it was asked for, nothing else may
            assert reply.status_code >= 400 or "ended already" in text or '"refused":["plan' in text, (target, text)
        for secret in ("secret", "203.0.113.", "public-v4", "vm-1042"):
            assert secret not in text, (target, secret)
    assert held(pair) == before


@pytest.mark.parametrize("server", ["pve1", "nowhere-9"])
def test_an_access_hash_that_is_not_the_installations_is_named(other: Other, server: str) -> None:
    """With a plan of its own as what does not agree with it, else as a server that it does not know."""
    said = other.send("POST", "/v1/services/501/create", order(501, server, "kvm-s")).get_json()["error"]
    assert said["code"] == "unknown_server"
    assert said["message"].endswith("known: pve2.")
    assert said["message"].startswith(f"The access hash '{server}' is not a server of the bridge")
    said = other.send("POST", "/v1/services/501/create", order(501, server, "kvm-b")).get_json()["error"]
    assert said["code"] == "plan_server_mismatch"
    assert "'pve2'" in said["message"]
    assert f"'{server}'" in said["message"]


def test_each_sees_and_changes_its_own(pair: World, other: Other) -> None:
    assert other.send("POST", "/v1/servers/pve2/plans", {}).get_json()["plans"].keys() == {"kvm-b"}
    assert other.send("POST", "/v1/servers/pve1/plans", {}, "main-1").get_json()["plans"].keys() == {"kvm-s"}
    form = {"do": "maintenance", "server": "pve2", "switch": "on", "text": "closed"}
    assert other.send("POST", "/v1/admin/servers", {"actor": ADMIN, "form": form}).status_code == 200
    assert pair.store.health("pve2")["maintenance"] == "closed"
    who = urlencode({f"actor_{k}": v for k, v in ADMIN.items()})
    for key, has, has_not in (("other-1", "private-v4", "public-v4"), ("main-1", "public-v4", "private-v4")):
        html = other.send("GET", f"/v1/admin/pools?{who}", None, key).get_json()["html"]
        assert has in html
        assert has_not not in html


def test_a_shared_servers_totals_are_each_ones_own(tmp_path: Path) -> None:
    raw = two(servers=["pve1", "pve2"])
    world = World(tmp_path, **{k: v for k, v in raw.items() if k != "store"})
    world.order("create")
    run(
        "create",
        500,
        "pve2",
        order(500, "pve2", "kvm-b", status="Pending")["params"],
        Caller("other"),
        world.store,
        world.config,
        world.drivers,
    )
    assert world.store.service_counts("main") == {"pve1": 1}
    assert world.store.service_counts() == {"pve1": 1, "pve2": 1}
    assert set(world.store.loads("other")) == {"pve2"}
    assert set(world.store.loads()) == {"pve1", "pve2"}
    world.close()


# -- configuration --------------------------------------------------------------------------------
def faults(raw: dict[str, Any]) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as e:
        config_module.from_dict(raw)
    return e.value.faults


def test_with_several_installations_each_says_its_servers() -> None:
    raw = two()
    del raw["whmcs"]["other"]["servers"]
    assert [f[:2] for f in faults(raw)] == [("whmcs.other.servers", "missing")]
    assert "pve1, pve2" in faults(raw)[0][2]
    raw = two(servers=["pve1", "pve9"])
    assert [f[:2] for f in faults(raw)] == [("whmcs.main.servers[1]", "unknown_server")]
    assert [f[0] for f in faults(two(servers=[]))] == ["whmcs.main.servers"]
    assert config_module.from_dict(raw_config()).whmcs["main"]["servers"] == ["pve1"]  # alone it has all


def test_an_installation_keeps_the_servers_that_its_services_are_on(pair: World) -> None:
    against_store(pair.config, pair.store)
    moved = two(servers=["pve2"])
    config = config_module.from_dict({**moved, "store": {"path": "vmbridge.db", "secret_key": KEY}})
    with pytest.raises(ConfigError) as e:
        against_store(config, pair.store)
    assert e.value.faults[0][:2] == ("whmcs.main.servers", "server_in_use")
    assert "'pve1'" in e.value.faults[0][2]


def test_the_store_is_one_for_both(pair: World) -> None:
    again = Store(pair.path, KEY, pair.clock)
    assert again.find_service("main", THEIRS)
    assert not again.find_service("other", THEIRS)
    again.close()


def test_what_has_ended_on_a_server_that_is_gone_is_unknown(pair: World, other: Other) -> None:
    """Its row stays for ever; its pages would need a driver and a plan that nobody has any more."""
    pair.store.set_maintenance("pve1", "")
    pair.order("terminate")
    pair.run()
    targets = [
        f"/v1/services/{THEIRS}/pages/overview?client=7",
        f"/v1/services/{THEIRS}/pages/admin?admin=1&client=7",
        f"/v1/services/{THEIRS}/charts?period=hour&client=7",
        f"/status/v1/services/{THEIRS}?client=7",
        f"/v1/admin/service?id={THEIRS}&" + urlencode({f"actor_{k}": v for k, v in ADMIN.items()}),
    ]
    assert {other.send("GET", t, None, "main-1").status_code for t in targets} <= {200, 403}
    pair.config.whmcs["main"]["servers"] = ["pve2"]
    against_store(pair.config, pair.store)
    assert {other.send("GET", t, None, "main-1").status_code for t in targets} == {404}


def test_the_tab_tells_nothing_of_another_installations_server(pair: World, other: Other) -> None:
    service = pair.store.find_service("main", THEIRS)
    assert service
    pair.store.find("pve2", service.id, "duplicate_address", "x", "their machine on pve2 has it too", "", {})
    tab = other.send("GET", f"/v1/services/{THEIRS}/pages/admin?admin=1&client=7", None, "main-1").get_json()["html"]
    assert "secret words" in tab
    assert "has it too" not in tab
