"""Whatever comes into a route is answered: 400, 401, 403, 404 ... with our JSON, never 500."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from http.client import responses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.app import create_app
from bridge.console.codes import origin
from bridge.console.relay import Relay
from bridge.customer import direct
from bridge.errors import Transient
from bridge.web.auth import sign
from drivers.hetzner import screen
from drivers.proxmox.charts import series_of
from tests.system import free_port
from tests.test_charts import shim_of
from tests.test_signature import SECRET, Shim
from tests.world import World

SNAPSHOT = {"params": {"userid": 7}, "actor": {"kind": "client", "id": 7, "name": ""}}
NASTY: tuple[Any, ...] = (
    *(
        "",
        "0",
        "-1",
        "1042",
        "9" * 19,
        str(2**63),
        "9" * 4500,
        "１０４２",
        "1e9",
        "NaN",
        "0x1",
        " 1",
        "1\n",
        "%00",
        "a\0b",
        "../x",
    ),
    *("x" * 300, "'; --", "{{7*7}}", "%s%(x)s", "\u202e", "😀", "hour\n", "\ud800"),
    *(True, None, 0, -1, 1.5, 2**63, 2**64, 10**4000, [], [1], {}, {"a": [{}]}, ["1042"]),
)
PLACES = st.sampled_from([t for t in NASTY if isinstance(t, str) and t.isprintable()]) | st.text(max_size=20)
VALUES = st.sampled_from(NASTY) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
WORDS = ("params", "actor", "form", "server", "service_id", "billed")
INNER = (
    *("userid", "serviceid", "pid", "configoption1", "configoption4", "configoption6", "configoptions", "customfields"),
    *("clientsdetails", "password", "domain", "status", "welcome_email", "addonId", "kind", "id", "name", "do", "from"),
    *("confirmed", "description", "note", "backup", "template", "confirm", "time_zone", "on_monday", "time_monday"),
    *("address", "network", "iso", "find", "operation", "finding", "service", "typed", "switch", "text"),
)
BODIES = st.dictionaries(
    st.sampled_from(WORDS), st.dictionaries(st.sampled_from(INNER), VALUES, max_size=4) | VALUES, max_size=4
)
QUERIES = st.dictionaries(
    st.sampled_from(("client", "language", "theme", "ask", "period", "admin", "state", "name", "first", "said", "id"))
    | st.sampled_from(("actor_kind", "actor_id", "actor_name")),
    PLACES,
    max_size=5,
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("born"))
    world.order("create")
    world.run()
    yield world
    world.close()


@pytest.fixture(scope="module")
def shim(born: World) -> Shim:
    return shim_of(born)


def routes(born: World) -> list[tuple[str, str]]:
    return sorted(
        (m, r.rule)
        for r in create_app(born.context).url_map.iter_rules()
        for m in (r.methods or ())
        if m in ("GET", "POST") and not r.rule.startswith("/static")
    )


def answered(reply: Any) -> None:
    assert reply.status_code in responses, reply.text
    assert reply.status_code < 500 or reply.status_code == 503, reply.text
    if reply.status_code >= 400 and reply.status_code != 503:
        assert json.loads(reply.text)["error"]["code"] != "internal_error"


@MANY
@given(data=st.data())
def test_signed_routes(born: World, shim: Shim, data: st.DataObject) -> None:
    from urllib.parse import quote, urlencode

    method, rule = data.draw(st.sampled_from(routes(born)))
    good = {"service:service_id": "1042", "name": "pve1", "verb": "start", "capability": "snapshots", "page": "servers"}
    path = re.sub(
        r"<([^>]+)>",
        lambda m: (
            quote(data.draw(st.just(good.get(m.group(1), "x")) | PLACES).encode("utf-8", "replace"), safe="") or "x"
        ),
        rule,
    )
    query = data.draw(QUERIES)
    target = path + ("?" + urlencode({k: v.encode("utf-8", "replace") for k, v in query.items()}) if query else "")
    body = data.draw(BODIES) if method == "POST" else None
    shim.count += 1
    answered(shim.send(method, target, body))


@MANY
@given(raw=st.binary(max_size=80) | st.text(max_size=60).map(lambda t: t.encode("utf-16", "surrogatepass")))
@example(raw=b'{"params": {"userid": NaN}}')
@example(raw=b'{"params": {"userid": 1e999}}')
@example(raw=b'{"params": {"userid": -Infinity}}')
@example(raw=b'{"params": {"userid": ' + b"9" * 5000 + b"}}")
@example(raw=b'{"service_id": ' + b"9" * 20 + b"}")
@example(raw=b'{"form": {"do": "\\ud800", "description": "x"}}')
@example(raw=b'{"\\udfff": 1}')
@example(raw=b"[" * 100_000)
@example(raw=b"\xff\xfe{}")
def test_bodies(shim: Shim, raw: bytes) -> None:
    for target in ("/v1/services/1042/start", "/v1/services/1042/pages/snapshots", "/v1/servers/pve1/usage"):
        shim.count += 1
        reply = raw_send(shim, "POST", target, raw)
        answered(reply)
        if raw[:2] in (b"[[", b'{"') and b"do" not in raw[:14]:
            assert reply.status_code == 400


def raw_send(shim: Shim, method: str, target: str, raw: bytes, **changed: str) -> Any:
    stamp, nonce = str(int(shim.clock.now())), f"{shim.count:032x}"
    headers = {
        "Vmbridge-Key": "main-1",
        "Vmbridge-Timestamp": stamp,
        "Vmbridge-Nonce": nonce,
        "Vmbridge-Signature": sign(SECRET, method, target, stamp, nonce, raw),
        "Content-Type": "application/json",
    }
    return shim.client.open(target, method=method, data=raw, headers={**headers, **changed})


@pytest.mark.parametrize("stamp", ["9" * 4500, "9" * 4300, "1" * 13, "１２３", "-1", "1e9", "", "NaN", "1.5", "\xff"])
def test_timestamps(shim: Shim, stamp: str) -> None:
    nonce = "a" * 32
    target = "/v1/services/1042/pages/overview?client=7"
    try:
        signature = sign(SECRET, "GET", target, stamp, nonce, b"")
    except UnicodeError:
        signature = "x"
    changed = {"Vmbridge-Timestamp": stamp, "Vmbridge-Nonce": nonce, "Vmbridge-Signature": signature}
    reply = raw_send(shim, "GET", target, b"", **changed) if stamp.isascii() else shim.client.get(target)
    assert reply.status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer x.y.z", "Bearer " + "A" * 5000, "Basic eA==", "\xff", "Bearer é.x"]
)
def test_status_tokens(shim: Shim, header: str) -> None:
    reply = shim.client.get("/status/v1/services/1042", headers={"Authorization": header, "If-None-Match": '"' * 99})
    assert reply.status_code == 401


@pytest.mark.parametrize(
    "key", ["0", "0042", "9999999999", str(2**63), str(2**63 - 1), "9" * 25, "9" * 4500, "-1", "１０４２", "1.0", "+1"]
)
def test_service_ids(shim: Shim, key: str) -> None:
    for method, path in (
        *(("GET", f"/v1/services/{key}/pages/{p}?client=7") for p in ("overview", "admin", "nothing")),
        ("POST", f"/v1/services/{key}/pages/snapshots"),
        ("POST", f"/v1/services/{key}/suspend"),
        ("GET", f"/v1/services/{key}/charts?period=hour&client=7"),
        ("GET", f"/status/v1/services/{key}?client=7"),
    ):
        shim.count += 1
        assert raw_send(shim, method, path, b"{}" if method == "POST" else b"").status_code in (401, 403, 404), path


@pytest.mark.parametrize("period", ["", "decade", "hour\n", "HOUR", "hour,day", "\0", "x" * 500])
def test_an_unknown_period_of_charts(world: World, period: str) -> None:
    """On a service of its own: rubbish that is well signed may have given the others' to another client."""
    from urllib.parse import quote

    world.order("create")
    world.run()
    shim = shim_of(world)
    assert shim.send("GET", f"/v1/services/1042/charts?client=7&period={quote(period)}").status_code == 400
    assert shim.send("GET", f"/v1/services/1042/pages/charts?client=7&period={quote(period)}").status_code == 200


@pytest.mark.parametrize("name", ["x" * 3000, "a%00b", "..%2f..%2fx", "%ff", "novnc/" + "y" * 300])
def test_asset_names(shim: Shim, name: str) -> None:
    from bridge import assets

    assert shim.client.get(f"/assets/{assets.version()}/{name}").status_code == 404


RUBBISH: list[Any] = [
    *({"a": 1}, "x", 7, True, [1], ["x"], [None], [{"time": "x"}], [{"time": "NaN", "cpu": 1}], [{"time": 1e300}]),
    *([{"time": -5}], [{"time": [1]}], [{"time": 2**70}], [[1, 2]], [{"cpu": 1}]),
]


@pytest.mark.parametrize("rows", RUBBISH, ids=repr)
def test_records_that_are_rubbish_are_a_calm_page(tmp_path: Path, rows: Any) -> None:
    world = World(tmp_path)
    try:
        world.order("create")
        world.run()
        world.cluster.rrd = lambda *args: rows
        for driver in world.drivers.values():
            get = driver.api.get
            driver.api.get = lambda path, _get=get, **kw: rows if path.endswith("rrddata") else _get(path, **kw)
        shim = shim_of(world)
        reply = shim.send("GET", "/v1/services/1042/charts?client=7&period=hour")
        assert reply.status_code == 200
        assert reply.json["failed"]
        assert reply.json["message"] == direct.NOT_READ
        assert shim.send("GET", "/v1/services/1042/pages/charts?client=7&period=hour").status_code == 200
    finally:
        world.close()


@MANY
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(("time", "cpu", "mem", "netin")), VALUES, max_size=4) | VALUES, max_size=6
    )
    | VALUES
)
@example(rows=[{"time": 1000, "cpu": "0.5", "mem": "x"}, {"time": 1060, "cpu": float("nan"), "mem": {}}])
def test_every_record_becomes_numbers_or_a_fault(rows: Any) -> None:
    try:
        series = series_of(rows)
    except Transient:
        return
    json.dumps([series.times, series.series], allow_nan=False)


@MANY
@given(
    metrics=st.fixed_dictionaries(
        {}, optional={"step": VALUES, "time_series": st.dictionaries(st.just("cpu"), VALUES) | VALUES}
    )
    | VALUES
)
def test_every_metric_becomes_numbers_or_a_fault(metrics: Any) -> None:
    class Api:
        def get(self, path: str, **query: str) -> Any:
            return {"metrics": metrics}

    try:
        series = screen.charts(Api(), {"id": 1, "server_type": {"cores": 2}}, "hour", 1e9)
    except Transient:
        return
    json.dumps([series.times, series.series], allow_nan=False)


# -- the console's process ----------------------------------------------------------------------------
def test_the_console_answers_everything(born: World) -> None:
    big = b"9" * 5000
    form = b"POST /console HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
    asked = [
        b"POST /console HTTP/1.1\r\nContent-Length: %s\r\n\r\nx" % big,
        b"POST /console HTTP/1.1\r\nContent-Length: -1\r\n\r\nx",
        b"POST /console HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        *(
            form % (len(b), b)
            for b in (b"", b"code=", b"code=%ff%00", b"code=" + b"x" * 4000, b"code[]=1", b"\xff" * 100)
        ),
        b"GET /console/socket HTTP/1.1\r\nHost: x\r\nOrigin: \xff\r\n\r\n",
        b"GET /console?" + b"x" * 3000 + b" HTTP/1.1\r\nAccept-Language: " + b"," * 2000 + b"\r\n\r\n",
        b"GET /console HTTP/1.1\r\nAccept-Language: \xff;q=NaN\r\n\r\n",
    ]

    async def ask(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return answer

    async def run() -> list[bytes]:
        relay, port = Relay(born.context), free_port()
        await relay.start(f"127.0.0.1:{port}")
        try:
            return [await ask(port, data) for data in asked]
        finally:
            await relay.stop()

    for data, reply in zip(asked, asyncio.run(run()), strict=True):
        assert re.match(rb"HTTP/1.1 4\d\d ", reply), (data[:60], reply[:80])


# -- who may read live values --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "system_url,good,bad",
    [
        ("https://billing.example.com/whmcs/", "https://billing.example.com", "https://billing.example.com/whmcs"),
        ("https://Billing.example.com", "https://billing.example.com", "http://billing.example.com"),
        ("https://billing.example.com:443/a/b", "https://billing.example.com", "https://billing.example.com:8443"),
        ("http://billing.example.com:8080/x", "http://billing.example.com:8080", "http://billing.example.com"),
        ("https://bücher.example/w", "https://xn--bcher-kva.example", "null"),
        ("https://billing.example.com/w", "https://billing.example.com", "https://billing.example.com.evil.test"),
    ],
)
def test_origins_are_compared(born: World, shim: Shim, system_url: str, good: str, bad: str) -> None:
    settings_of = born.config.whmcs["main"]
    was = settings_of["system_url"]
    settings_of["system_url"] = system_url
    try:
        for said, allowed in ((good, good), (bad, None), ("null", None), ("", None)):
            reply = shim.client.get("/status/v1/services/1042", headers={"Origin": said})
            assert reply.headers.get("Access-Control-Allow-Origin") == allowed
        assert origin(system_url) == good
    finally:
        settings_of["system_url"] = was


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"params": {"userid": 2**70}}, "params.userid"),
        ({"params": {"configoptions": {"RAM": 2**70}}}, "params.configoptions.RAM"),
        ({"params": {"userid": 7}, "form": {"a": [1, -(2**64)]}}, "form.a[1]"),
        ({"params": {"userid": float("inf")}}, "params.userid"),
        ([2**70], "[0]"),
        (2**70, "the body"),
        ({"x" * 300: 2**70}, "x" * 60),
    ],
)
def test_a_number_that_nothing_can_be_is_refused_by_its_fields_name(shim: Shim, value: Any, field: str) -> None:
    said = shim.send("POST", "/v1/services/1042/suspend", value)
    assert said.status_code == 400
    assert said.json["error"]["code"] == "number_too_large"
    assert said.json["error"]["message"].startswith(f"{field}: is a number beyond 64 bits")
