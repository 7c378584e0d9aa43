"""What scripts may read with a token, and the document of the whole API; nothing that is sent makes a fault of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema

from bridge import cli
from bridge.app import create_app
from bridge.web import shapes
from bridge.web.openapi import calls, document
from bridge.web.reading import PREFIX, hashed
from tests.configs import raw_config
from tests.stores import place
from tests.test_signature import Shim
from tests.world import World

ALL = ["services", "operations", "findings", "pools"]


class Script:
    def __init__(self, world: World, scopes: list[str], whmcs: str = "", name: str = "report") -> None:
        self.world, self.client = world, create_app(world.context).test_client()
        self.token = f"{PREFIX}{name}-0123456789"
        assert world.store.add_token(name, hashed(self.token), scopes, whmcs)

    def get(self, path: str, token: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return self.client.get(f"/v1/read/{path}", headers=headers)


def test_what_there_is_is_read(world: World) -> None:
    script = Script(world, ALL)
    world.order("create")
    world.order("create", 1043)
    world.run()
    world.store.find("pve1", 1, "differs_from_package", "cores", "4 cores, sold 2", "fix it", {})
    services = script.get("services?limit=1").get_json()
    assert [s["service"] for s in services["services"]] == [1042]
    assert services["next"] == 1
    rest = script.get(f"services?limit=1&after={services['next']}").get_json()
    assert [s["service"] for s in rest["services"]] == [1043]
    one = services["services"][0]
    assert (one["plan"], one["server"], one["desired"], one["provisioned"]) == ("kvm-s", "pve1", "active", True)
    assert "password" not in json.dumps(services)
    assert "Secret-pass" not in json.dumps(services)
    operations = script.get("operations?state=done&service=1043").get_json()["operations"]
    assert [(o["kind"], o["service"]) for o in operations] == [("create", 1043)]
    assert script.get("findings").get_json()["findings"][0]["kind"] == "differs_from_package"
    pools = script.get("pools").get_json()["pools"]
    assert pools == [
        {
            "name": "public-v4",
            "family": 4,
            "total": 241,
            "taken": 2,
            "cooling": 0,
            "free": 239,
            "percent": 0.8,
        }
    ]


def test_a_token_reads_its_scopes_and_nothing_when_revoked(world: World) -> None:
    script = Script(world, ["pools"])
    assert script.get("pools").status_code == 200
    refused = script.get("services")
    assert refused.status_code == 403
    assert "'services'" in refused.get_json()["error"]["message"]
    for wrong in ("", "x", f"{PREFIX}unknown"):
        assert script.get("pools", wrong).status_code == 401
    assert script.client.get("/v1/read/pools").status_code == 401
    assert script.client.post("/v1/read/pools", headers={"Authorization": f"Bearer {script.token}"}).status_code == 405
    lines = [(r["kind"], r["who"], r["deed"]) for r in world.store.audited()]
    assert ("token", "report", "read pools") in lines
    row = world.store.tokens()[0]
    assert row["used_at"] == world.clock.time
    assert script.token not in json.dumps(world.store.rows("SELECT * FROM tokens"))
    assert world.store.revoke_token("report")
    assert not world.store.revoke_token("report")
    assert script.get("pools").status_code == 401
    assert (
        script.client.get("/v1/services/1042/charts", headers={"Authorization": f"Bearer {script.token}"}).status_code
        == 401
    )


def test_a_token_of_one_installation_sees_no_other(tmp_path: Path) -> None:
    whmcs = raw_config()["whmcs"]["main"]
    other = {**whmcs, "servers": ["pve2"], "keys": [{"id": "other-1", "secret": "other-secret-0123456789"}]}
    servers = raw_config()["servers"]
    servers["pve2"] = {**servers["pve1"], "vm_ids": "30000-30999"}
    world = World(tmp_path, whmcs={"main": {**whmcs, "servers": ["pve1"]}, "other": other}, servers=servers)
    try:
        world.order("create")
        world.store.find("pve1", None, "unknown_vm", "9", "not ours", "look", {})
        mine, others, every = (
            Script(world, ALL, "main", "mine"),
            Script(world, ALL, "other", "others"),
            Script(world, ALL, "", "every"),
        )
        for path in ("services", "operations", "findings"):
            assert len(mine.get(path).get_json()[path]) == len(every.get(path).get_json()[path]) == 1
            assert others.get(path).get_json()[path] == []
        assert others.get("pools").get_json()["pools"] == []
    finally:
        world.close()


@pytest.mark.parametrize(
    ("path", "field", "allowed"),
    [
        ("services?desired=gone", "desired", "suspended"),
        ("operations?state=x", "state", "waiting_for_staff"),
        ("services?limit=0", "limit", "500"),
        ("services?limit=501", "limit", "500"),
        ("services?after=-1", "after", "0"),
        ("services?after=99999999999999999999", "after", "9223372036854775807"),
        ("findings?servr=pve1", "servr", "server"),
        ("pools?x=1", "x", "nothing"),
    ],
)
def test_a_wrong_query_is_named_with_what_it_may_be(world: World, path: str, field: str, allowed: str) -> None:
    reply = Script(world, ALL).get(path)
    told = reply.get_json()["error"]
    assert reply.status_code == 400
    assert told["message"].startswith(f"{field}: ")
    assert allowed in told["message"]


# -- the document -----------------------------------------------------------------------------------
def test_the_document_has_every_path_and_is_for_who_has_a_key(world: World) -> None:
    app = create_app(world.context)
    made = document(app)
    have = {(path, method) for path, item in made["paths"].items() for method in item}
    assert len(have) == len(list(calls(app)))
    act = made["paths"]["/v1/services/{service_id}/{verb}"]["post"]
    assert act["security"] == [{"signature": []}]
    assert act["summary"]
    body = act["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert {"params", "actor", "server"} <= set(made["components"]["schemas"][body]["properties"])
    read = made["paths"]["/v1/read/services"]["get"]
    assert {p["name"] for p in read["parameters"]} == {"after", "limit", "server", "service", "desired"}
    assert made["paths"]["/health"]["get"]["security"] == []
    client = app.test_client()
    assert client.get("/v1/openapi.json").status_code == 401
    assert Shim(client, world.clock).send("GET", "/v1/openapi.json").get_json() == json.loads(json.dumps(made))
    script = Script(world, ["pools"])
    reply = client.get("/v1/openapi.json", headers={"Authorization": f"Bearer {script.token}"})
    assert reply.status_code == 200


# -- fuzz -------------------------------------------------------------------------------------------
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _wild(schema: type[Schema]) -> st.SearchStrategy[Any]:
    """Objects with the schema's names and anything behind them, and anything in the place of the object."""
    names = [n for n in schema().fields if n != "result"]
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=8), VALUES, max_size=6) if names else VALUES


BODY = st.fixed_dictionaries(
    {},
    optional={
        "params": _wild(shapes.ParamsShape) | VALUES,
        "actor": st.builds(lambda k, i: {"kind": k, "id": i}, st.sampled_from(["client", "admin", "system"]), VALUES)
        | _wild(shapes.ActorShape)
        | VALUES,
        "form": st.dictionaries(st.sampled_from(["do", "from", "operation", "name"]) | st.text(max_size=8), VALUES)
        | VALUES,
        "server": VALUES,
        "service_id": VALUES,
        "billed": VALUES,
    },
)
WORDS = st.sampled_from(
    [
        "1042",
        "1043",
        "create",
        "terminate",
        "suspend",
        "change_package",
        "preview",
        "retry",
        "overview",
        "snapshots",
        "firewall",
        "rdns",
        "pve1",
        "findings",
        "operation",
        "x",
    ]
)
QUERY = st.dictionaries(
    st.sampled_from(["after", "limit", "actor_kind", "actor_id", "state", "client"]),
    st.text("0123456789abcadmin-%\u00e9", max_size=6),
    max_size=3,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_that_is_sent_is_answered_by_a_fault(fuzzed: World, data: st.DataObject) -> None:
    app = create_app(fuzzed.context)
    rule, _, method = data.draw(st.sampled_from(list(calls(app))))
    path = "".join(
        data.draw(st.sampled_from(["1042", "7"]) if "service:" in part else WORDS) if i % 2 else part
        for i, part in enumerate(rule.rule.replace(">", "<").split("<"))
    )
    if method == "get":
        query = data.draw(QUERY)
        path += f"?{urlencode(query)}" if query else ""
    shim = Shim(app.test_client(), fuzzed.clock)
    body = data.draw(BODY) if method == "post" else None
    if path.startswith("/v1/read"):
        reply = app.test_client().get(path, headers={"Authorization": f"Bearer {PREFIX}fuzz-0123456789"})
    else:
        reply = shim.send(method.upper(), path, body)
    known = reply.status_code == 503 and path.startswith("/ready")  # no worker has been seen
    assert reply.status_code < 500 or known, (method, path, body, reply.get_data(as_text=True))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    world = World(tmp_path_factory.mktemp("fuzz"))
    world.order("create")
    world.run()
    assert world.store.add_token("fuzz", hashed(f"{PREFIX}fuzz-0123456789"), ALL, "")
    yield world
    world.close()


# -- the command line -------------------------------------------------------------------------------
def test_tokens_from_the_command_line(tmp_path: Path) -> None:
    world_config = raw_config()
    lines = ["[store]", f'secret_key = "{world_config["store"]["secret_key"]}"', "[whmcs.main]"]
    w = world_config["whmcs"]["main"]
    lines += [f'{k} = "{w[k]}"' for k in ("system_url", "api_identifier", "api_secret")]
    lines += [f'keys = [{{ id = "main-1", secret = "{w["keys"][0]["secret"]}" }}]', "[servers.pve1]"]
    lines += [f'{k} = "{v}"' for k, v in world_config["servers"]["pve1"].items()]
    lines += ["[plans.kvm-s]"] + [f"{k} = {json.dumps(v)}" for k, v in world_config["plans"]["kvm-s"].items()]
    lines += ["[pools.public-v4]"] + [f"{k} = {json.dumps(v)}" for k, v in world_config["pools"]["public-v4"].items()]
    (tmp_path / "config.toml").write_text("\n".join(lines))
    place(tmp_path / "vmbridge.db")

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli.main, [*words, "--config", str(tmp_path / "config.toml")])

    made = run("token", "add", "report", "--scope", "pools", "--scope", "findings")
    token = made.stdout.split()[0]
    assert made.exit_code == 0
    assert token.startswith(PREFIX)
    assert len(token) > 40
    assert "already" in run("token", "add", "report", "--scope", "pools").output
    assert "services, operations" in run("token", "add", "other").output
    assert "'nobody'" in run("token", "add", "other", "--scope", "pools", "--whmcs", "nobody").output
    assert "letters" in run("token", "add", "a b", "--scope", "pools").output
    listed = run("token", "list").output
    assert "findings,pools" in listed
    assert "never used" in listed
    assert token not in listed
    assert run("token", "revoke", "report").output == "revoked\n"
    assert run("token", "revoke", "report").exit_code == 1
    audit = [json.loads(x)["deed"] for x in run("audit").output.splitlines()]
    assert audit == ["token add", "token revoke"]
    assert json.loads(run("openapi").output)["openapi"] == "3.1.0"
