"""A record with a value that no release has written holds up its own service alone, and staff is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import customer
from tests.test_findings import Swept, made

STRANGE = '{"task": "x", "addresses": 5}'


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Swept]:
    """The record of service 1042 cannot be read, that of 1043 can."""
    world = made(tmp_path)
    world.order("create", 1043)
    world.run()
    world.store.change("UPDATE services SET build = ? WHERE service_id = 1042", STRANGE)
    with pytest.raises(ValueError):
        world.store.find_service("main", 1042)
    yield world
    world.close()


def test_sweeps_of_the_others_go_on_and_staff_is_told(two: Swept) -> None:
    assert two.contents() >= 1
    assert "service 1042 (main), VM 20000, cannot be read: ValueError" in two.one("unreadable_record")["text"]
    assert [s.service_id for s in two.store.services_of("pve1")] == [1043]
    two.store.change("UPDATE services SET build = '{}' WHERE service_id = 1042")
    two.state()
    assert "unreadable_record" not in two.open()


def test_the_others_are_mirrored(two: Swept) -> None:
    two.clock.time += 7200
    customer.renew_mirror("pve1", two.drivers["pve1"], two.store)
    rows = two.store.rows("SELECT mirrored_at FROM services")
    assert [r["mirrored_at"] for r in rows] == [two.clock.now()] * 2


def test_a_due_backup_of_another_begins(two: Swept) -> None:
    for key, due in ((1, 5.0), (2, 6.0)):
        two.store.save_schedule(key, "UTC", {str(d): "02:30" for d in range(7)}, due)
    two.store.change("UPDATE services SET package = json_set(package, '$.backups', 2)")
    two.clock.time += 86400
    assert customer.start_backups(two.store, two.config) == 1


def test_an_operation_whose_memory_cannot_be_read_waits_for_staff_and_the_next_one_runs(tmp_path: Path) -> None:
    world = made(tmp_path)
    world.order("suspend")
    world.order("create", 1043)
    world.store.change("UPDATE operations SET data = ?, due_at = 0 WHERE kind = 'suspend'", '{"warnings": 5}')
    world.run()
    states = {op.kind: (op.state.value, op.error_code) for op, _ in world.store.operations_listed("main")}
    assert states["suspend"] == ("waiting_for_staff", "unreadable")
    assert states["create"] == ("done", "")
    assert world.store.rows("SELECT data FROM operations WHERE kind = 'suspend'")[0]["data"] == '{"warnings": 5}'
    world.close()
