"""The signed routes: what is let in, and what is refused, over the real Flask application."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from bridge import config as config_module
from bridge.app import create_app
from bridge.context import Context, open_context
from bridge.web.auth import sign
from tests.configs import raw_config
from tests.held import HeldClock
from tests.stores import place

SECRET = "shim-secret-0123456789"
NONCE = "0123456789abcdef0123456789abcdef"


class Shim:
    """Signs as the PHP shim does; each argument can be spoilt."""

    def __init__(self, client: FlaskClient, clock: HeldClock) -> None:
        self.client, self.clock, self.count = client, clock, 0

    def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        key: str = "main-1",
        secret: str = SECRET,
        skew: int = 0,
        nonce: str = "",
        sent_body: bytes | None = None,
        sent_target: str = "",
    ) -> Any:
        raw = b"" if body is None else json.dumps(body).encode()
        self.count += 1
        nonce = nonce or f"{self.count:032x}"
        stamp = str(int(self.clock.now()) + skew)
        return self.client.open(
            sent_target or target,
            method=method,
            data=raw if sent_body is None else sent_body,
            headers={
                "Vmbridge-Key": key,
                "Vmbridge-Timestamp": stamp,
                "Vmbridge-Nonce": nonce,
                "Vmbridge-Signature": sign(secret, method, target, stamp, nonce, raw),
            },
        )

    def order(self, verb: str, service: int = 1, **params: Any) -> Any:
        return self.send(
            "POST",
            f"/v1/services/{service}/{verb}",
            {
                "params": {
                    "serviceid": service,
                    "userid": 7,
                    "domain": "a.example.com",
                    "configoption1": "kvm-s",
                    "password": "Secret-pass-1",
                    "status": "Pending" if verb == "create" else "Active",
                    **params,
                },
                "actor": {"kind": "system", "id": "", "name": ""},
                "server": "pve1",
            },
        )


@pytest.fixture
def context(tmp_path: Path) -> Any:
    raw = raw_config()
    raw["whmcs"]["main"]["keys"].append({"id": "main-2", "secret": "the-next-secret-987654"})
    raw["whmcs"]["main"]["servers"] = ["pve1"]
    raw["whmcs"]["other"] = {**raw["whmcs"]["main"], "keys": [{"id": "other-1", "secret": "other-secret-0123456789"}]}
    place(tmp_path / "vmbridge.db")
    made = open_context(config_module.from_dict(raw, str(tmp_path / "config.toml")), HeldClock())
    yield made
    made.store.close()


@pytest.fixture
def shim(context: Context) -> Shim:
    return Shim(create_app(context).test_client(), context.clock)


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, (reply.get_json(silent=True) or {}).get("error", {}).get("code", "")


def test_a_signed_order_is_accepted(shim: Shim) -> None:
    reply = shim.order("create")
    assert reply.status_code == 202
    assert reply.get_json()["properties"] == {"vmbridge_id": "1", "Dedicated IP": "203.0.113.10"}


def test_both_keys_of_a_rotation_work(shim: Shim) -> None:
    assert shim.send("POST", "/v1/servers/pve1/plans", {}).status_code == 200
    assert (
        shim.send("POST", "/v1/servers/pve1/plans", {}, key="main-2", secret="the-next-secret-987654").status_code
        == 200
    )


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"sent_body": b'{"a": 1}'}, 401, "bad_signature"),
        ({"sent_target": "/v1/services/2/suspend"}, 401, "bad_signature"),
        ({"sent_target": "/v1/services/1/suspend?x=1"}, 401, "bad_signature"),
        ({"key": "unknown"}, 401, "bad_signature"),
        ({"secret": "retired-secret-00000000"}, 401, "bad_signature"),
        ({"nonce": "short"}, 401, "bad_signature"),
        ({"skew": -301}, 401, "stale_timestamp"),
        ({"skew": 301}, 401, "stale_timestamp"),
    ],
)
def test_a_spoilt_request_is_refused(shim: Shim, change: dict[str, Any], status: int, word: str) -> None:
    assert code(shim.send("POST", "/v1/services/1/suspend", {}, **change)) == (status, word)


def test_a_stale_refusal_tells_the_time(shim: Shim) -> None:
    assert shim.send("POST", "/v1/services/1/suspend", {}, skew=-400).get_json()["error"]["time"] == int(
        shim.clock.now()
    )


def test_a_replay_is_refused(shim: Shim) -> None:
    assert shim.send("POST", "/v1/servers/pve1/plans", {}, nonce=NONCE).status_code == 200
    assert code(shim.send("POST", "/v1/servers/pve1/plans", {}, nonce=NONCE)) == (401, "replayed")


def test_an_oversized_body_is_refused(shim: Shim) -> None:
    assert shim.send("POST", "/v1/services/1/create", {"params": {"x": "y" * 300_000}}).status_code == 413


def test_another_installation_learns_nothing(shim: Shim) -> None:
    shim.order("create")
    other = {"key": "other-1", "secret": "other-secret-0123456789"}
    assert code(shim.send("POST", "/v1/services/1/suspend", {"params": {}}, **other)) == (404, "unknown_service")
    assert code(shim.send("GET", "/v1/services/1/pages/overview?client=7", **other)) == (404, "unknown_service")
    assert code(shim.send("GET", "/status/v1/services/1?client=7", **other)) == (404, "unknown_service")


def test_another_client_learns_nothing(shim: Shim) -> None:
    shim.order("create")
    assert code(shim.send("GET", "/v1/services/1/pages/overview?client=8")) == (404, "unknown_service")
    assert shim.send("GET", "/v1/services/1/pages/overview?client=7").status_code == 200


def test_status_by_token(shim: Shim, context: Context) -> None:
    shim.order("create")
    from bridge.web.auth import Guard

    token = Guard(context).issue(context.store.service(1))
    good = shim.client.get("/status/v1/services/1", headers={"Authorization": f"Bearer {token}"})
    assert good.status_code == 200
    assert good.get_json()["status"] == "building"
    again = shim.client.get(
        "/status/v1/services/1", headers={"Authorization": f"Bearer {token}", "If-None-Match": good.headers["ETag"]}
    )
    assert again.status_code == 304
    assert code(shim.client.get("/status/v1/services/2", headers={"Authorization": f"Bearer {token}"})) == (
        404,
        "unknown_service",
    )
    assert code(shim.client.get("/status/v1/services/1", headers={"Authorization": "Bearer x"})) == (401, "bad_token")
    assert code(shim.client.get("/status/v1/services/1")) == (401, "bad_signature")


def test_the_token_is_barred_by_suspension(shim: Shim, context: Context) -> None:
    from bridge.web.auth import Guard

    shim.order("create")
    token = Guard(context).issue(context.store.service(1))
    shim.order("suspend")
    reply = shim.client.get("/status/v1/services/1", headers={"Authorization": f"Bearer {token}"})
    assert code(reply) == (403, "suspended")


def test_cors_is_exactly_the_whmcs_origin(shim: Shim) -> None:
    good = shim.client.options("/status/v1/services/1", headers={"Origin": "http://127.0.0.1:1"})
    assert good.headers["Access-Control-Allow-Origin"] == "http://127.0.0.1:1"
    assert (
        "Access-Control-Allow-Origin"
        not in shim.client.options("/status/v1/services/1", headers={"Origin": "https://evil.test"}).headers
    )


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"configoption1": "kvm-x"}, "plan"),
        ({"configoption4": "many"}, "cores"),
        ({"configoption9": "300"}, "extra IPv4"),
        ({"configoption7": "-1|none"}, "additional disk GiB"),
        ({"configoptions": {"Backups": "many"}}, "Backups"),
        ({"configoption14": "7" * 101}, "reverse-DNS ticket department"),
        ({"configoption24": "7"}, "option 24"),
        ({"configoption15": "yes"}, "permission console"),
        ({"password": "abc"}, "password"),
        ({"configoption3": "windows"}, "OS templates"),
        ({"addonId": 5}, "addons"),
        ({"userid": "seven"}, "userid"),
        ({"configoptions": ["x"]}, "configoptions"),
    ],
)
def test_what_cannot_be_delivered_is_named(shim: Shim, context: Context, change: dict[str, Any], part: str) -> None:
    reply = shim.order("create", **change)
    assert reply.status_code in (400, 409, 422)
    assert part in reply.get_json()["error"]["message"]
    assert context.store.find_service("main", 1) is None
    assert context.store.taken_addresses() == []


def test_plan_and_server_must_agree(shim: Shim) -> None:
    reply = shim.send("POST", "/v1/services/1/create", {"params": {"configoption1": "kvm-s"}, "server": "pve2"})
    assert reply.get_json()["error"]["code"] == "plan_server_mismatch"
    assert "'pve2'" in reply.get_json()["error"]["message"]
    assert "'pve1'" in reply.get_json()["error"]["message"]


def test_blank_password_is_generated(shim: Shim) -> None:
    assert len(shim.order("create", password="").get_json()["properties"]["Password"]) == 16


def test_shared_vectors() -> None:
    path = Path(__file__).parent / "vectors/signature.json"
    for v in json.loads(path.read_text("utf-8")):
        assert (
            sign(v["secret"], v["method"], v["path"], str(v["timestamp"]), v["nonce"], v["body"].encode())
            == v["signature"]
        )
