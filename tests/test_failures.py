"""A failure says what failed, why in the customer's words, what was kept, and what can be done: every class of error
with every kind of operation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge import causes, customer, errors
from bridge.errors import VmbridgeError
from bridge.kinds import ALL, KINDS, Orderer
from bridge.model import Memory, State
from tests import looks
from tests.configs import raw_config
from tests.looks import Look, Node
from tests.pve.cluster import Fault
from tests.test_layers import ROOT
from tests.world import World

SECRET = "pve1 local-lvm nfs-backup UPID:pve2 token_id: run `qm unlock 20000`"
STAFFS = re.compile(r"\b(pve\d?|local-lvm|nfs-backup|UPID|token|qm|node|storage '|retry)\b")


def classes(root: type[VmbridgeError] = VmbridgeError) -> list[type[VmbridgeError]]:
    return [root, *(c for sub in root.__subclasses__() if sub.__module__ == errors.__name__ for c in classes(sub))]


def codes() -> set[str]:
    """Every code that an operation can fail with, read from what raises it."""
    named: set[str] = {c.code for c in classes()}
    for folder in ("bridge/recipes", "bridge/orders", "bridge/operations.py", "drivers"):
        path = ROOT / folder
        for file in [path] if path.is_file() else path.rglob("*.py"):
            if "dns" in file.parts:  # records are written without an operation
                continue
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    named |= {
                        k.value.value
                        for k in node.keywords
                        if k.arg == "code" and isinstance(k.value, ast.Constant) and isinstance(k.value.value, str)
                    }
    return named


# what is only said to who orders it, before anything begins: forms, options, adoption, configuration
NEVER = re.compile(r"^(bad_|too_|unknown_(plan|option)|plan_server|already_|cannot_shrink|not_own|firewall_)")


def test_every_code_has_a_cause_in_customers_words() -> None:
    missing = sorted(c for c in codes() if c not in causes.CAUSES and not NEVER.match(c))
    assert missing == []
    for code, said in causes.CAUSES.items():
        assert said.endswith("."), code
        assert not STAFFS.search(said), code


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    raw = raw_config(web={"costly_per_hour": 900, "power_per_hour": 900})
    raw["plans"]["kvm-s"] |= {"templates": ["debian-12", "ubuntu-24.04"]}
    world = World(tmp_path_factory.mktemp("born"), **{k: v for k, v in raw.items() if k in ("plans", "web")})
    world.order("create")
    world.run()
    for noun in ("snapshots", "backups"):
        world.page(noun, "take", **{"description": "before nginx", "note": "before nginx"})
        world.run()
    yield world
    world.close()


def fail(world: World, kind: str, error: VmbridgeError, **data: Any) -> str:
    """An operation of the customer's that ended so."""
    key = world.store.submit(1, kind, "client Ada", Memory(**data))
    text = f"{error.sentence} {error.detail}".strip()
    world.store.end_operation(key, State.FAILED, (error.code, text, SECRET))
    return key


def banner(page: Node) -> Node:
    [section] = [n for n in page.find("section") if "data-operation" in n.at]
    return section


@pytest.mark.parametrize("kind", [k.name for k in ALL])
def test_every_class_of_error_with_every_kind(born: World, kind: str) -> None:
    look = Look(born)
    row = born.store.snapshots_of(1)[0]["name"]
    data = {"name": row, "backup": born.store.backups_of(1)[0]["id"], "template": "debian-12"}
    for error in classes():
        made = (
            error([("x", "y", SECRET)])
            if error is errors.ConfigError
            else (
                error(9.0)
                if error is errors.Waiting
                else (error("qm unlock 20000", "pve1") if error is errors.NeedsOperator else error(detail=SECRET))
            )
        )
        key = fail(born, kind, made, **data)
        text = banner(look.page()).text
        op = born.store.operation(key)
        for part in (causes.failed(op), causes.cause(op), causes.kept(op), f"Reference {key}."):
            assert part, (error, part, text)
            assert part in text, (error, part, text)
        assert "This did not work" not in text, text
        assert not STAFFS.search(text.replace(key, "")), text
        assert "Open a ticket" in text
        assert ("Try again" in text) == (Orderer.CLIENT in KINDS[kind].by and kind != "change_password"), kind


def test_what_failed_and_left_all_as_it_was_says_that(born: World) -> None:
    fail(born, "reinstall", errors.Capacity(), unchanged=True, template="debian-12")
    text = banner(Look(born).page()).text
    assert "Nothing was changed: the server is as it was before." in text
    assert "may not start" not in text
    assert "There was no free place for it." in text


@pytest.mark.parametrize(
    ("inner", "said"), [("no_capacity", causes.NO_SPACE), ("vm_locked", causes.HELD), ("", "could not be made")]
)
def test_a_backup_says_why_it_could_not_be_made(born: World, inner: str, said: str) -> None:
    fail(born, "take_backup", errors.Permanent(code="backup_failed"), cause=inner)
    assert said in banner(Look(born).page()).text


def test_a_storage_that_is_away_is_not_the_host(born: World) -> None:
    born.cluster.storages["nfs-backup"].online = False
    born.page("backups", "take")
    born.run(30)
    text = banner(Look(born).page("backups")).text
    assert "The storage for backups does not answer just now." in text
    assert "host" not in text


def test_a_customers_order_ends_soon_where_the_storage_is_away(fresh: World) -> None:
    """The server is free again within a minute, as it was; by schedule it is tried on."""
    backup = str(fresh.store.backups_of(1)[0]["id"])
    fresh.cluster.storages["nfs-backup"].online = False
    for action, form in (("take", {}), ("restore", {"backup": backup}), ("delete", {"backup": backup})):
        key = fresh.page("backups", action, **form)
        fresh.run(60)
        op = fresh.store.operation(key)
        assert (op.state, op.error_code) == (State.FAILED, "backup_storage_away"), action
        assert "by itself" not in op.next_action, action
        assert "does not answer just now" in banner(Look(fresh).page("backups")).text, action
        [vm] = [v for v in fresh.cluster.vms.values() if not v.template]
        assert vm.status == "running", action
        assert fresh.store.current_operation(1) is None, action
    assert len(fresh.store.backups_of(1)) == 1
    key = fresh.store.submit(1, "scheduled_backup", "system: schedule")
    fresh.run(300)
    assert fresh.store.operation(key).state is State.RUNNING
    fresh.cluster.storages["nfs-backup"].online = True
    fresh.run(600)
    assert fresh.store.operation(key).state is State.DONE


@pytest.mark.parametrize(
    ("kind", "path"), [("reinstall", "/config$"), ("snapshot", "/snapshot$"), ("rollback", "back$")]
)
def test_its_own_storage_that_is_away(fresh: World, kind: str, path: str) -> None:
    row = fresh.store.snapshots_of(1)[0]["name"]
    forms: dict[str, tuple[str, str, dict[str, str]]] = {
        "reinstall": ("reinstall", "reinstall", {"template": "ubuntu-24.04", "confirm": "REINSTALL"}),
        "snapshot": ("snapshots", "take", {}),
        "rollback": ("snapshots", "rollback", {"name": row}),
    }
    noun, action, form = forms[kind]
    away = "storage 'local-lvm' is not online"
    fresh.cluster.faults = [Fault("status", "POST", path, times=99, reason=away)]
    key = fresh.page(noun, action, **form)
    fresh.run(200)
    op = fresh.store.operation(key)
    assert (op.state, op.error_code) == (State.FAILED, "storage_away")
    text = banner(Look(fresh).page(noun)).text
    assert "The storage of your server does not answer just now. Nothing was changed" in text


def test_a_full_storage_is_told_as_such(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.order("create")
    world.run()
    world.cluster.storages["nfs-backup"].used = world.cluster.storages["nfs-backup"].total
    world.page("backups", "take")
    world.run()
    text = banner(Look(world).page("backups")).text
    assert text.startswith(
        "The backup did not work. The storage has not enough free space. Your server and your earlier"
    )
    assert "Our staff has been told." in text
    world.close()


# -- once more --------------------------------------------------------------------------------------
INPUTS: dict[str, dict[str, Any]] = {
    "take_snapshot": {"description": "before <b>nginx</b>", "name": "snap-1"},
    "take_backup": {"note": "notes & more"},
    "reset_password": {},
    "start": {},
    "stop": {},
    "reboot": {},
}
ASKING: dict[str, dict[str, Any]] = {
    "rollback": {"name": ""},
    "delete_snapshot": {"name": ""},
    "restore": {"backup": 0},
    "delete_backup": {"backup": 0},
    "reinstall": {"template": "ubuntu-24.04"},
    "hard_stop": {},
}


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    raw = raw_config(web={"costly_per_hour": 3})
    raw["plans"]["kvm-s"] |= {"templates": ["debian-12", "ubuntu-24.04"]}
    world = World(tmp_path, **{k: v for k, v in raw.items() if k in ("plans", "web")})
    world.order("create")
    world.run()
    for noun in ("snapshots", "backups"):
        world.page(noun, "take")
        world.run()
    world.clock.time += 3700
    yield world
    world.close()


def rows(world: World, data: dict[str, Any]) -> dict[str, Any]:
    own = {"name": world.store.snapshots_of(1)[0]["name"], "backup": world.store.backups_of(1)[0]["id"]}
    return {k: v or own.get(k, v) for k, v in data.items()}


def test_what_customers_order_and_what_can_be_tried_again_are_the_same() -> None:
    """`boot_iso` needs an ISO in the drive besides."""
    ordered = {k.name for k in ALL if Orderer.CLIENT in k.by}
    assert (
        set(INPUTS) | set(ASKING) | {"boot_iso"} == set(customer.ORDERED_BY) == ordered - {"change_password"}
    )  # its password is not kept


@pytest.mark.parametrize("kind", [*INPUTS, *ASKING])
def test_once_more_with_the_same_input(fresh: World, kind: str) -> None:
    data = rows(fresh, {**INPUTS, **ASKING}[kind])
    key = fail(fresh, kind, errors.Unlisted(), **data)
    look = Look(fresh)
    [form] = [f for f in banner(look.page()).find("form") if f.hidden()["do"] == "again"]
    sent = form.hidden()
    [button] = form.find("button")
    page, do = sent.pop("capability"), sent.pop("do")
    reply = look.send(page, do, **sent)
    if kind in ASKING:
        asked = looks.read(reply["html"])
        assert "Please confirm" in asked.text
        assert not reply["redirect"]
        assert fresh.store.newest(1).id == key
        assert button.at["data-confirm"] in asked.text
        [question] = [f for f in asked.find("form") if "confirmed" in f.hidden()]
        sent = question.hidden()
        reply = look.send(sent.pop("capability"), sent.pop("do"), **sent)
    assert reply["redirect"], reply["html"]
    new = fresh.store.newest(1)
    assert new
    assert new.id != key
    assert new.kind == kind
    assert new.actor.startswith("client")
    kept = {k: v for k, v in data.items() if not (kind == "take_snapshot" and k == "name")}
    assert {k: getattr(new.memory, k) for k in kept} == kept


def test_once_more_has_the_guards_of_a_new_order(fresh: World) -> None:
    look = Look(fresh)
    key = fail(fresh, "take_snapshot", errors.Unlisted(), description="x")
    for _ in range(2):
        fresh.page("snapshots", "take")
        fresh.run()
    other = fail(fresh, "take_snapshot", errors.Unlisted(), description="x")
    reply = look.send("snapshots", "again", operation=key)  # the quota is full
    assert "3 of 3 in use: remove one first." in looks.read(reply["html"]).text
    assert not reply["redirect"]
    fresh.order("reboot")
    reply = look.send("snapshots", "again", operation=other)
    assert "try again when this is done" in looks.read(reply["html"]).text
    fresh.run()
    reply = look.send("power", "again", operation=fail(fresh, "terminate", errors.Unlisted()))
    assert "Only our staff can try this again." in looks.read(reply["html"]).text
    for wrong in ("", "nothing", fresh.store.operations_of(1)[-1].id):
        reply = look.send("snapshots", "again", operation=wrong)
        said = looks.read(reply["html"]).text
        assert "There is no such operation any more." in said or "there is nothing to try again" in said
    fresh.order("create", 1043, userid=8)
    fresh.run()
    foreign = fresh.store.submit(2, "reboot", "client Eve")
    fresh.store.end_operation(foreign, State.FAILED, ("no_reaction", "", ""))
    reply = look.send("power", "again", operation=foreign)
    assert "There is no such operation any more." in looks.read(reply["html"]).text


# -- a ticket ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("department", [0, 4])
def test_a_ticket_has_subject_service_and_reference_filled_in(tmp_path: Path, department: int) -> None:
    whmcs = {**raw_config()["whmcs"]["main"], "ticket_department": department}
    world = World(tmp_path, whmcs={"main": whmcs})
    world.order("create")
    world.run()
    world.cluster.faults = [Fault("fail_task", "POST", "/snapshot$", reason="no space left on device", times=99)]
    world.page("snapshots", "take")
    world.run()
    [link] = [a for a in banner(Look(world).page()).find("a") if "Open a ticket" in a.text]
    address = urlsplit(link.at["href"])
    values = {k: v[0] for k, v in parse_qs(address.query).items()}
    op = world.store.newest(1)
    assert op
    assert address.path == "submitticket.php"
    assert values["subject"] == "The snapshot did not work. (vm-1042.example.com)"
    assert values["relatedservice"] == "S1042"
    assert values["message"].startswith(f"Service 1042, reference {op.id}.")
    assert (values.get("step"), values.get("deptid")) == (("2", "4") if department else (None, None))
    world.close()


def test_what_ended_well_is_named_in_one_line(fresh: World) -> None:
    look = Look(fresh)

    def told() -> str:
        fresh.run()
        [line] = look.page().find("p", class_="vmb-finished")
        return re.sub(r"\d+ \w+\.$", "", line.text)

    fresh.page("snapshots", "take", description="before <nginx>")
    assert told() == "The snapshot is ready: before <nginx>. Took "
    fresh.order("reboot")
    assert told() == "The server has restarted. Took "
    for kind in ALL:
        assert not kind.succeeded.endswith("."), kind.name
