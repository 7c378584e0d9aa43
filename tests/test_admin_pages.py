"""The staff's pages in process: who may see and do what, what is shown, and that other people's text stays text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from bridge import cli
from bridge.app import create_app
from bridge.kinds import KINDS, deed
from bridge.metering import status
from bridge.model import Desired, State
from bridge.staff import servers
from tests.configs import raw_config
from tests.looks import whole
from tests.pve.cluster import Fault
from tests.test_signature import Shim, code
from tests.world import World

ADMIN = {"kind": "admin", "id": 1, "name": "grace"}
HOSTILE = "<script>alert(1)</script>\"'&\u202egnp.exe"
PAGES = ("overview", "operations", "servers", "pools", "dns", "findings")
OTHER = {"key": "other-1", "secret": "other-secret-0123456789"}


def shown(html: str) -> str:
    """HTML as a browser reads it: one space where there are several or a line ends."""
    return " ".join(whole(html).split())


class Staff(Shim):
    """An admin at the addon page of the first installation."""

    def page(
        self, page: str, actor: dict[str, Any] | None = None, key: dict[str, str] | None = None, **query: Any
    ) -> Any:
        actor = ADMIN if actor is None else actor
        text = urlencode({**query, **{f"actor_{k}": v for k, v in actor.items()}})
        return self.send("GET", f"/v1/admin/{page}" + (f"?{text}" if text else ""), **(key or {}))

    def html(self, page: str, **query: Any) -> str:
        reply = self.page(page, **query)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        return shown(reply.get_json()["html"])

    def form(
        self,
        page: str,
        query: str = "",
        actor: Any = None,
        key: dict[str, str] | None = None,
        action: str = "",
        **form: Any,
    ) -> Any:
        body = {"actor": ADMIN if actor is None else actor, "form": {"do": action, **form}}
        return self.send("POST", f"/v1/admin/{page}" + (f"?{query}" if query else ""), body, **(key or {}))

    def tab(self, service: int = 1042) -> str:
        return shown(self.send("GET", f"/v1/services/{service}/pages/admin?client=7&admin=1").get_json()["html"])


@pytest.fixture
def wide(tmp_path: Path) -> Any:
    """Two installations and two servers on one bridge."""
    raw = raw_config()
    main = {**raw["whmcs"]["main"], "servers": ["pve1", "pve2"]}
    keys = [{"id": "other-1", "secret": "other-secret-0123456789"}]
    whmcs = {"main": main, "other": {**main, "servers": ["pve1"], "keys": keys}}
    both = {**raw["servers"], "pve2": {**raw["servers"]["pve1"], "vm_ids": "30000-30009"}}
    pools = {
        **raw["pools"],
        "small": {
            **raw["pools"]["public-v4"],
            "ranges": ["198.51.100.10-198.51.100.19"],
            "gateway": "198.51.100.1",
            "exclude": ["198.51.100.12-198.51.100.13"],
        },
    }
    world = World(tmp_path, whmcs=whmcs, servers=both, pools=pools)
    world.order("create")
    world.run()
    yield world
    world.close()


@pytest.fixture
def staff(wide: World) -> Staff:
    return Staff(create_app(wide.context).test_client(), wide.clock)


def failed(world: World, service: int = 1050) -> str:
    """A create that the cluster refuses; its id."""
    world.cluster.faults = [
        Fault(
            "status", path="clone", method="POST", status=403, reason=f"Permission check failed {HOSTILE}", times=10**9
        )
    ]
    world.order("create", service)
    world.run(30)
    world.cluster.faults = []
    record = world.store.find_service("main", service)
    assert record
    op = world.store.operations_of(record.id)[0]
    assert op.state is State.FAILED
    return op.id


# -- who may --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "actor",
    [
        {},
        {"kind": "client", "id": 7, "name": "x"},
        {"kind": "system", "id": 1, "name": ""},
        {"kind": "admin", "id": "", "name": ""},
        {"kind": "root", "id": 1, "name": ""},
    ],
)
@pytest.mark.parametrize("page", PAGES)
def test_only_admins(staff: Staff, actor: dict[str, Any], page: str) -> None:
    assert staff.page(page, actor).status_code in (400, 403)
    assert staff.form(page, actor=actor or "nobody", action="maintenance", server="pve1", switch="on").status_code in (
        400,
        403,
    )


def test_unsigned_is_refused(staff: Staff) -> None:
    assert code(staff.client.get("/v1/admin/overview?actor_kind=admin&actor_id=1")) == (401, "bad_signature")
    assert code(staff.client.post("/v1/admin/servers", json={"actor": ADMIN, "form": {}})) == (401, "bad_signature")


def test_no_such_page(staff: Staff) -> None:
    assert code(staff.page("secrets")) == (404, "unknown_page")
    assert code(staff.form("servers", action="explode")) == (404, "unknown_page")
    assert code(staff.page("operation", id="0" * 12)) == (404, "unknown_operation")
    assert code(staff.page("service", id="4711")) == (404, "unknown_service")
    assert code(staff.page("service", id="'; --")) == (404, "unknown_service")


# -- another installation -------------------------------------------------------------------------
def test_another_installation_is_neither_seen_nor_touched(wide: World, staff: Staff) -> None:
    key = failed(wide)
    service = wide.store.find_service("main", 1050)
    assert service
    finding = wide.store.find("pve1", service.id, "differs", "1050", "secret finding of 1050", "", {})
    for page in PAGES:
        text = staff.page(page, key=OTHER).get_json()["html"]
        assert key not in text
        assert not re.search(r"\b1050\b", text)
        assert "vm-1042" not in text
        assert "secret finding" not in text
    assert "pve1" in staff.page("servers", key=OTHER).get_json()["html"]
    assert code(staff.page("operation", key=OTHER, id=key)) == (404, "unknown_operation")
    assert code(staff.page("service", key=OTHER, id="1042")) == (404, "unknown_service")
    for action in ("retry", "cancel"):
        assert code(staff.form("operation", key=OTHER, action=action, operation=key)) == (404, "unknown_operation")
    assert code(staff.form("service", key=OTHER, action="converge", service="1042")) == (404, "unknown_service")
    assert code(staff.form("service", key=OTHER, action="redeploy", service="1042", typed="1042")) == (
        404,
        "unknown_service",
    )
    assert (
        "ended already" in staff.form("findings", key=OTHER, action="dismiss", finding=str(finding)).get_json()["html"]
    )
    assert wide.store.operation(key).state is State.FAILED
    assert wide.store.findings(service.id)
    assert key in staff.html("overview")
    assert "secret finding" in staff.html("findings")


# -- what is shown --------------------------------------------------------------------------------
def test_the_first_screen_says_what_fails_and_what_is_at_risk(wide: World, staff: Staff) -> None:
    calm = staff.html("overview")
    assert "Nothing fails and nothing is stuck" in calm
    assert "Nothing found" in calm
    key = failed(wide)
    first = wide.store.find_service("main", 1042)
    assert first
    for _ in range(7):
        wide.store.take_address(
            "small", 4, wide.config.pools["small"].ranges, wide.config.pools["small"].excluded, first.id, "extra"
        )
    wide.store.find("pve1", None, "orphan", "vm 5", "A machine that nobody knows", "Look at it", {})
    wide.store.refresh_failed("pve1", "no route", down=True)
    wide.store.refresh_failed("pve1", "no route", down=True)
    text = staff.html("overview")
    assert key in text
    assert "Next:" in text
    assert "no route" in text
    assert "Pool small" in text
    assert "1 of 8 free" in text
    assert "nobody knows" in text


def test_attention_ends_when_something_newer_put_it_right(wide: World, staff: Staff) -> None:
    key = failed(wide)
    assert key in staff.html("operations", state="attention")
    wide.order("terminate", 1050)
    wide.run()
    assert key not in staff.html("operations", state="attention")
    assert key in staff.html("operations", state="failed")
    assert key not in staff.html("operations", state="done")
    assert key not in staff.html("operations", name="pve2")


def test_pages_of_operations(wide: World, staff: Staff) -> None:
    for _ in range(60):
        wide.order("converge")
        wide.run()
    first, second = staff.html("operations"), staff.html("operations", first="50")
    ids = [set(re.findall(r"vmb\[page]=operation&amp;vmb\[id]=([0-9a-f]{12})\"><strong>", t)) for t in (first, second)]
    assert len(ids[0]) == 50
    assert len(ids[1]) == 11
    assert not ids[0] & ids[1]
    assert "vmb[first]=50" in first
    assert "Older" in first
    assert "Older" not in second
    assert "vmb[first]=0" in second
    assert staff.html("operations", first="-5")
    assert staff.html("operations", first="9" * 30)
    tab = staff.tab()
    assert tab.count("<summary>") == 50


def test_pools_count_exclusions_and_cool_down(wide: World, staff: Staff) -> None:
    pool = wide.config.pools["small"]
    for _ in range(3):
        wide.store.take_address("small", 4, pool.ranges, pool.excluded, 1, "extra")
    wide.store.change("UPDATE addresses SET role = 'leaving' WHERE address = '198.51.100.11'")
    wide.store.release_leaving(1, 3600)
    text = re.sub(r"\s+", " ", staff.html("pools"))
    row = text[text.index("<strong>small") :]
    assert re.findall(r'vmb-num">(?:<details><summary>)?(\d+)', row[: row.index("</tr>")]) == ["2", "1", "5", "8"]
    assert '198.51.100.11 <span class="vmb-soft">free in 1 h' in row
    assert "not 198.51.100.12 - 198.51.100.13" in row


MACHINE_WORD = re.compile(r"(?<![\w.])[a-z]+(?:_[a-z]+)+\b")  # what the back end calls its settings has dots


def test_staff_read_words(wide: World, staff: Staff) -> None:
    """Of each kind of operation and each of its steps; a name of ours stands beside a step only, as the log has it."""
    service = wide.store.find_service("main", 1042)
    assert service
    born = wide.store.operations_of(service.id)[-1]
    for kind in KINDS:
        wide.store.end_operation(wide.store.submit(service.id, kind, "admin grace"), State.DONE)
    texts = [staff.html("operations", state=""), staff.tab(), staff.html("operation", id=born.id)]
    for text in texts:
        seen = re.sub(r'<(span|div) class="vmb-mono vmb-soft">.*?</\1>|<(style|script).*?</\2>', "", text, flags=re.S)
        plain = re.sub(r"<[^>]*>", " ", seen)
        assert MACHINE_WORD.findall(plain) == [], [
            plain[m.start() - 60 : m.end()] for m in MACHINE_WORD.finditer(plain)
        ]
    assert [kind for kind in KINDS if f">{deed(kind)}<" not in texts[0]] == []
    assert ">Redeploy<" in texts[0]
    assert ">Converge<" in texts[0]
    assert ">Backup<" in texts[0]
    assert "Choosing a place" in texts[2]


def test_hostile_text_stays_text(wide: World, staff: Staff) -> None:
    key = failed(wide)
    wide.store.change("UPDATE services SET hostname = ?", HOSTILE)
    wide.store.change(
        "UPDATE operations SET actor = ?, note = ?, data = ?",
        HOSTILE,
        HOSTILE,
        '{"warnings": ["<script>alert(1)</script>"]}',
    )
    wide.store.change("UPDATE operations SET next_action = ? WHERE id = ?", HOSTILE, key)
    wide.store.change("UPDATE steps SET message = ?, technical = ?", HOSTILE, HOSTILE)
    service = wide.store.find_service("main", 1042)
    assert service
    for owner in (None, service.id):
        wide.store.find("pve1", owner, "kind", HOSTILE + str(owner), HOSTILE, HOSTILE, {})
    wide.store.set_maintenance("pve1", HOSTILE)
    wide.store.refresh_failed("pve1", HOSTILE, down=False)
    wide.store.emit("activity", "main", None, "x")
    wide.store.change("UPDATE outbox SET error = ?, sent_at = NULL", HOSTILE)
    texts = [staff.html(p) for p in PAGES] + [
        staff.html("operation", id=key),
        staff.html("service", id="1042"),
        staff.html("service", id="1050"),
        staff.tab(),
    ]
    texts += [staff.html("operations", state=HOSTILE, name=HOSTILE, said=HOSTILE)]
    for text in texts:
        assert ("<script>alert" not in text and "&lt;script&gt;alert" in text) or "alert(1)" not in text
        for match in re.finditer("\u202e", text):
            before = text[: match.start()]
            assert before.rfind("<bdi") > before.rfind("</bdi>"), "the override reaches beyond its own words"
    assert sum("&lt;script&gt;" in t for t in texts) >= 9
    assert "<script>alert" not in staff.send("GET", "/v1/services/1042/pages/overview?client=7").get_json()["html"]


def test_the_tab_shows_the_package_beside_the_machine(wide: World, staff: Staff) -> None:
    service = wide.store.find_service("main", 1042)
    assert service
    assert "differs" not in staff.tab().partition("</style>")[2]
    seen, _ = wide.store.seen(service.id)
    wide.store.save_seen(service.id, {**seen, "memory": "1024"}, ("cores",))
    text = staff.tab().partition("</style>")[2]
    rows = re.findall(r"<tr.*?</tr>", text, re.S)
    memory = next(r for r in rows if "RAM" in r)
    assert "vmb-differs" in memory
    assert "2048 MiB" in memory
    assert "1024 MiB" in memory
    assert text.count("vmb-differs") == 1
    assert "waits for a restart" in next(r for r in rows if "CPU cores" in r)
    assert "<form" not in text
    assert "<button" not in text
    assert "<input" not in text
    assert "203.0.113.10/24" in text
    assert "PTR" in text
    assert "addonmodules.php?module=vmbridge&amp;vmb[page]=service&amp;vmb[id]=1042" in text


def test_the_tab_of_a_silent_host_has_nothing_green(wide: World, staff: Staff) -> None:
    assert "vmb-stale" not in staff.tab().partition("<style")[0]
    wide.store.change("INSERT OR IGNORE INTO server_health (server, ok) VALUES ('pve1', 0)")
    wide.store.change("UPDATE server_health SET ok = 0, error = 'no route to host' WHERE server = 'pve1'")
    text = staff.tab()
    assert "vmb-stale" in text.partition("<style")[0]
    assert "no route to host" in text


def test_the_tab_of_a_failure_names_cause_reference_and_next_action(wide: World, staff: Staff) -> None:
    key = failed(wide)
    text = staff.tab(1050)
    assert "<details open>" in text
    assert "Permission check failed" in text
    assert "Give both the user and the token the privilege" in text
    assert f"vmb[page]=operation&amp;vmb[id]={key}" in text


def test_the_tab_asks_the_store_few_times(wide: World, staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        wide.order("converge")
        wide.run()
    asked: list[str] = []
    rows = type(wide.store).rows
    monkeypatch.setattr(
        type(wide.store), "rows", lambda self, sql, *args: (asked.append(sql), rows(self, sql, *args))[1]
    )
    staff.tab()
    assert len(asked) <= 16
    assert sum("FROM steps" in a for a in asked) == 1


# -- what is done ---------------------------------------------------------------------------------
def test_get_changes_nothing(wide: World, staff: Staff) -> None:
    key = failed(wide)
    before = "\n".join(wide.store.db.conn.iterdump())
    for page in PAGES:
        staff.html(page, action="maintenance", server="pve1", switch="on", operation=key)
    staff.html("operation", id=key, action="retry", operation=key)
    staff.html("service", id="1042", action="redeploy", service="1042", typed="1042")
    assert "\n".join(wide.store.db.conn.iterdump()) == before


def test_retry_goes_on_and_names_the_page(wide: World, staff: Staff) -> None:
    key = failed(wide)
    assert 'value="retry"' in staff.html("operation", id=key)
    reply = staff.form("operation", f"id={key}", action="retry", operation=key).get_json()
    assert reply["redirect"] == f"page=operation&id={key}&said=retry"
    assert reply["html"] == ""
    assert "It goes on." in staff.html("operation", id=key, said="retry")
    wide.run()
    assert wide.store.operation(key).state is State.DONE
    again = staff.form("operation", f"id={key}", action="retry", operation=key).get_json()
    assert "cannot be retried: it is done." in again["html"]
    assert not again["redirect"]


def test_an_old_order_cannot_undo_a_newer_one(wide: World, staff: Staff) -> None:
    """A failed stop is not taken up after a suspend, nor a cancelled suspend after the service is active again."""
    wide.order("suspend")
    suspend = wide.store.operations_of(1)[0].id
    staff.form("operation", f"id={suspend}", action="cancel", operation=suspend)
    wide.run()
    assert wide.store.operation(suspend).state is State.CANCELLED
    assert 'value="retry"' in staff.html("service", id="1042")
    wide.order("unsuspend")
    wide.run()
    assert 'value="retry"' not in staff.html("service", id="1042")
    text = staff.form("operation", f"id={suspend}", action="retry", operation=suspend).get_json()["html"]
    assert "ordered to be active" in text
    assert wide.store.operation(suspend).state is State.CANCELLED
    assert wide.cluster.vms[20000].status == "running"


def test_cancel_of_what_has_ended_is_refused(wide: World, staff: Staff) -> None:
    done = wide.store.operations_of(1)[0].id
    assert (
        "cannot be cancelled: it has ended."
        in staff.form("operation", f"id={done}", action="cancel", operation=done).get_json()["html"]
    )


@pytest.mark.parametrize("typed", ["", "1043", "redeploy", "１０４２", "1042x"])
def test_redeploy_typed_wrongly_does_nothing(wide: World, staff: Staff, typed: str) -> None:
    reply = staff.form("service", "id=1042", action="redeploy", service="1042", typed=typed).get_json()
    assert "Nothing was done" in reply["html"]
    assert not reply["redirect"]
    assert len(wide.store.operations_of(1)) == 1


def test_redeploy_typed_rightly_makes_a_new_machine(wide: World, staff: Staff) -> None:
    old = wide.vms()
    reply = staff.form("service", "id=1042", action="redeploy", service="1042", typed=" 1042 ").get_json()
    assert reply["redirect"].startswith("page=operation&id=")
    assert reply["redirect"].endswith("said=redeploy")
    assert "admin grace" in [o.actor for o in wide.store.operations_of(1)]
    assert (
        "try again when this is done"
        in staff.form("service", "id=1042", action="redeploy", service="1042", typed="1042").get_json()["html"]
    )
    wide.run()
    assert len(wide.vms()) == 1
    assert wide.vms() != old
    assert wide.store.operations_of(1)[0].state is State.DONE


def test_redeploy_of_a_suspended_service_is_refused(wide: World, staff: Staff) -> None:
    wide.order("suspend")
    wide.run()
    assert "Redeploy needs an active service" in staff.html("service", id="1042")
    text = staff.form("service", "id=1042", action="redeploy", service="1042", typed="1042").get_json()["html"]
    assert "Redeploy needs an active service" in text
    assert 'name="vmb[typed]"' not in text


def test_a_finding_is_dismissed_once(wide: World, staff: Staff) -> None:
    key = wide.store.find("pve1", None, "orphan", "vm 5", "A machine that nobody knows", "Look at it", {})
    assert (
        staff.form("findings", action="dismiss", finding=str(key)).get_json()["redirect"]
        == "page=findings&said=dismiss"
    )
    assert "nobody knows" not in staff.html("findings")
    assert "ended already" in staff.form("findings", action="dismiss", finding=str(key)).get_json()["html"]
    assert "ended already" in staff.form("findings", action="dismiss", finding="x").get_json()["html"]


# -- maintenance ----------------------------------------------------------------------------------
def test_maintenance_holds_what_is_new_and_lets_the_rest_finish(wide: World, staff: Staff) -> None:
    wide.order("create", 1043)
    while not wide.store.operations_of(None, 1)[0].task:
        wide.engine.tick()
    assert staff.form("servers", action="maintenance", server="pve1", switch="on", text=" New\n disks ").get_json()[
        "redirect"
    ]
    wide.order("create", 1044)
    wide.order("suspend")
    wide.run(120)
    by_service = {row["service_id"]: op for op, row in reversed(wide.store.operations_listed("main"))}
    assert by_service[1043].state is State.DONE
    assert by_service[1043].kind == "create"
    assert by_service[1044].started_at is None
    assert by_service[1042].started_at is None
    assert by_service[1042].kind == "suspend"
    assert wide.store.service(1).desired is Desired.SUSPENDED
    assert wide.cluster.vms[20000].status == "running"
    view = next(v for v in servers.views(wide.store, wide.config) if v.name == "pve1")
    assert (view.running, view.waiting, view.maintenance) == (0, 2, "New disks")
    assert "2 operations wait, 0 run" in staff.html("overview")
    assert "New disks" in staff.html("servers")
    customer = staff.send("GET", "/v1/services/1043/pages/overview?client=7").get_json()["html"]
    assert re.search(r'data-field="maintenance">New disks<', customer)
    assert staff.send("GET", "/status/v1/services/1043?client=7").get_json()["maintenance"] == "New disks"
    staff.form("servers", action="maintenance", server="pve1", switch="off")
    wide.run()
    assert {o.state for o, _ in wide.store.operations_listed("main")} == {State.DONE}
    assert wide.cluster.vms[20000].status == "stopped"
    customer = staff.send("GET", "/v1/services/1043/pages/overview?client=7").get_json()["html"]
    assert re.search(r' hidden><strong>Maintenance</strong>\s*<span data-field="maintenance"><', customer)


def test_maintenance_refuses_what_makes_no_sense(wide: World, staff: Staff) -> None:
    assert code(staff.form("servers", action="maintenance", server="pve9", switch="on")) == (404, "unknown_server")
    assert (
        "at most 300"
        in staff.form("servers", action="maintenance", server="pve1", switch="on", text="x" * 301).get_json()["html"]
    )
    assert [v.maintenance for v in servers.views(wide.store, wide.config)] == ["", ""]
    staff.form("servers", action="maintenance", server="pve1", switch="on")
    assert servers.views(wide.store, wide.config)[0].maintenance == servers.SENTENCE


def test_maintenance_by_command(wide: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.findings, "opened", lambda path: wide.context)
    run = CliRunner().invoke
    assert "customers read: Back at six" in run(cli.main, ["maintenance", "pve1", "on", "--text", "Back at six"]).output
    assert wide.store.health("pve1")["maintenance"] == "Back at six"
    assert run(cli.main, ["maintenance", "pve1", "off"]).output.startswith("off")
    assert wide.store.health("pve1")["maintenance"] == ""
    wrong = run(cli.main, ["maintenance", "pve9", "on"])
    assert wrong.exit_code == 1
    assert "pve1, pve2" in wrong.output


def test_a_node_that_is_down_is_at_risk_though_its_cluster_answers(wide: World, staff: Staff) -> None:
    node = wide.cluster.vms[int(wide.store.service(1).vm_id)].node
    wide.cluster.nodes[node] = False
    wide.clock.time += 90
    status.refresh("pve1", wide.drivers["pve1"], wide.store)
    view = servers.views(wide.store, wide.config)[0]
    assert view.at_risk
    assert view.error.startswith(f"{node} is down, with ")
    assert view.error in staff.html("overview")
    assert servers.views(wide.store, wide.config, "another")[0].error == ""


def test_a_server_that_nobody_looks_at_is_at_risk(wide: World, staff: Staff) -> None:
    wide.store.claim_refresh("pve1", 0, 0, 45)
    wide.store.save_statuses("pve1", [])
    assert servers.views(wide.store, wide.config)[0].state == "ok"
    wide.clock.sleep(servers.SILENT_AFTER + 1)
    assert servers.views(wide.store, wide.config)[0].state == "silent"
    assert "is the worker running?" in staff.html("overview")


def test_the_servers_page_shows_what_a_plans_systems_mean(staff: Staff, wide: World) -> None:
    assert "systems mean" not in staff.html("servers")
    wide.cluster.add_template(9900, "debian-12", "pve2")
    wide.cluster.bulk()
    assert servers.read_resources("pve1", wide.drivers["pve1"], wide.store)
    assert "debian-12: template 9000 on pve1, 9001 on pve2, 9900 on pve2; two on pve2" in staff.html("servers")
    wide.order("create")
    wide.run()
    del wide.cluster.vms[9900]
    assert "debian-12 (from 900" in staff.tab()
