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
