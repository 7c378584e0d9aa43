"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import browser, window

__all__ = ["browser", "window"]

pytest.register_assert_rewrite("tests.driver_contract")  # it is inherited by tests: what differs is told there too

if TYPE_CHECKING:
    from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    from tests.world import World

    made = World(tmp_path)
    yield made
    made.close()


LONGEST = (
    "test_kill",
    "test_faults",
    "test_pages_browser",
    "test_crashes",
    "test_console",
    "test_retention",
    "test_upgrade",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: with several workers the last one alone would decide how long it takes."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
