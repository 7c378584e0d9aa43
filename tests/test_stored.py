"""What stands in the store as JSON is read whatever release wrote it, and written as earlier ones read it."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from bridge.model import _READ, Birth, Leftover, Memory, Offline, Package, Removing, Stored
from tests.world import World

PACKAGE = Package(
    "kvm-s", "pve1", "debian-12", 2, 2048, 20, templates=("debian-12", "ubuntu"), limits={"disk_read_iops": 5}
)
ENDING = ("failed", "c", "t", "", "place")
# As earlier releases wrote it, with the lists, nulls and truth values that they used
FORMS: list[tuple[dict[str, Any], Birth]] = [
    ({}, Birth()),
    (
        {"source": "9000", "storage": "local-lvm", "sent_at": 1700000000.5, "task": "UPID:pve1:1"},
        Birth(source="9000", storage="local-lvm", sent_at=1700000000.5, task="UPID:pve1:1"),
    ),
    (
        {"source_node": "", "disk_format": "", "copied": True, "identified": True, "agent": None, "doubtful": None},
        Birth(copied=True, identified=True),
    ),
    (
        {"addresses": ["192.0.2.1", "198.51.100.9"], "floating": ["198.51.100.9"], "password_sent": True},
        Birth(addresses=("192.0.2.1", "198.51.100.9"), floating=("198.51.100.9",), password_sent=True),
    ),
    (
        {"adopted": True, "identified": True, "copied": True, "ordered": asdict(PACKAGE)},
        Birth(adopted=True, identified=True, copied=True, ordered=PACKAGE),
    ),
    ({"offline": {"phase": "write", "tries": 2}}, Birth(offline=Offline("write", 2))),
    (
        {"offline": {"phase": "on", "error": ["no_capacity", "No room.", "", "Wait."]}},
        Birth(offline=Offline("on", error=("no_capacity", "No room.", "", "Wait."))),
    ),
    ({"closed": {"firewalls": []}, "off_instead": "why"}, Birth(closed={"firewalls": []}, off_instead="why")),
    ({"restoring": "0123456789ab", "ran_before": False}, Birth(restoring="0123456789ab", ran_before=False)),
    ({"anew": True, "old_vm_ids": ["20000", 20001]}, Birth(anew=True, old_vm_ids=("20000", "20001"))),
]


@pytest.mark.parametrize(("written", "birth"), FORMS)
def test_every_form_is_read(written: dict[str, Any], birth: Birth) -> None:
    assert Birth.read(json.loads(json.dumps(written))) == birth


@pytest.mark.parametrize("birth", [birth for _, birth in FORMS])
def test_what_is_written_is_read_again(birth: Birth) -> None:
    assert Birth.read(json.loads(json.dumps(birth.stored()))) == birth


def test_a_field_at_its_default_is_left_out_and_what_is_false_of_three_is_not() -> None:
    assert Birth().stored() == {}
    assert Birth(ran_before=False, closed={}).stored() == {"ran_before": False, "closed": {}}


def test_keys_of_a_newer_release_are_kept() -> None:
    birth = Birth.read({"copied": True, "offline": {"phase": "off", "since": 5}, "hibernated": {"at": 5}})
    later = replace(birth, copied=False)
    assert later.stored() == {"offline": {"phase": "off", "since": 5}, "hibernated": {"at": 5}}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ({"sent_at": "yesterday"}, "Birth.sent_at"),
        ({"addresses": 5}, "Birth.addresses"),
        ({"ordered": {"plan": "kvm-s"}}, "Birth.ordered"),
        ({"offline": {"tries": 1}}, "Birth.offline"),
    ],
)
def test_a_value_that_no_release_has_written_is_refused_by_its_name(written: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Birth.read(written)


# As earlier releases kept what an operation remembers
REMEMBERED: list[tuple[dict[str, Any], Memory]] = [
    ({}, Memory()),
    ({"warnings": ["no rate"], "template": "ubuntu"}, Memory(warnings=("no rate",), template="ubuntu")),
    (
        {"failing": {"copy": [1700000000.5, 2]}, "failing_since": 1700000000.5},
        Memory(failing={"copy": (1700000000.5, 2)}, failing_since=1700000000.5),
    ),
    ({"failing": {}, "failing_since": None, "ending": ["failed", "c", "t", "", "place"]}, Memory(ending=ENDING)),
    ({"room_since": 5.0, "room_tries": 3, "room_due": 0.0}, Memory(room_since=5.0, room_tries=3, room_due=0.0)),
    ({"task": "none", "sent_at": None, "torn": None, "disks": None, "before": None, "ran": None}, Memory(task="none")),
    (
        {"exists": False, "on": False, "ran": True, "before": {"image": 5}, "failed": ""},
        Memory(exists=False, ran=True, before={"image": 5}, failed=""),
    ),
    (
        {"removing": {"id": 4, "task": "none"}, "held": {"7": "protected"}, "full": {"pve1": "no room"}},
        Memory(removing=Removing(4, "none"), held={"7": "protected"}, full={"pve1": "no room"}),
    ),
    (
        {"leftover": {"kind": "disk", "vm_id": "20000", "name": "local:20000/d.raw"}, "finding": 3},
        Memory(leftover=Leftover("disk", "20000", "local:20000/d.raw"), finding=3),
    ),
    ({"disks": {"written": True}, "source": "9000"}, Memory(disks={"written": True}, source="9000")),
]


@pytest.mark.parametrize(("written", "memory"), REMEMBERED)
def test_every_form_of_a_memory_is_read_and_read_again(written: dict[str, Any], memory: Memory) -> None:
    assert Memory.read(json.loads(json.dumps(written))) == memory
    assert Memory.read(json.loads(json.dumps(memory.stored()))) == memory


def test_a_memory_keeps_what_another_release_remembers() -> None:
    memory = Memory.read({"memory": True, "task": "UPID:pve1:1"})
    assert replace(memory, task="").stored() == {"memory": True}


def test_every_field_can_be_read() -> None:
    kinds = Stored.__subclasses__()
    assert {
        f"{k.__name__}.{f.name}: {f.type}" for k in kinds for f in fields(k) if f.name != "rest" and f.type not in _READ
    } == set()


def test_the_store_keeps_it_under_the_same_names(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.order("create")
    world.store.update_service(1, birth=Birth(task="UPID:pve1:1", addresses=("192.0.2.1",), rest={"later": 1}))
    [row] = world.store.rows("SELECT build FROM services")
    assert json.loads(row["build"]) == {"task": "UPID:pve1:1", "addresses": ["192.0.2.1"], "later": 1}
    assert world.store.service(1).birth == Birth(task="UPID:pve1:1", addresses=("192.0.2.1",), rest={"later": 1})
