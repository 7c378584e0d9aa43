"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    from tests.world import World

    made = World(tmp_path)
    yield made
    made.close()


ALONE = ("test_crashes", "test_faults", "test_packages", "test_config", "test_care", "test_orders")  # no fixture of the module to share


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers the tests of a module stay together, since they share a running system; the matrices are spread."""
    for item in items:
        name = item.path.stem
        if name not in ALONE:
            item.add_marker(pytest.mark.xdist_group(name))
