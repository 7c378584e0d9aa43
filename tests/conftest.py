"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from passlib.hash import sha512_crypt

from bridge import passwords
from bridge.origin import origin
from tests.browser import browser, window

__all__ = ["browser", "window"]

pytest.register_assert_rewrite("tests.driver_contract")  # it is inherited by tests: what differs is told there too

if TYPE_CHECKING:
    from tests.world import World


class Compiled(BytecodeCache):
    """Templates are compiled once for each process of the tests, not again for each application."""

    def __init__(self) -> None:
        self.codes: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self.codes.get(bucket.key):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.codes[bucket.key] = bucket.bytecode_to_string()


class FewRounds:
    """Machines' passwords are hashed in the least rounds there are: nobody here guesses them."""

    @staticmethod
    def using(rounds: int) -> type[sha512_crypt]:
        assert rounds >= 5000, "too weak for a machine's password"
        return sha512_crypt.using(rounds=1000)


def plain_lines() -> None:
    """What is logged is shown of a test that fails: neither coloured nor in columns, which costs more than the call."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )


plain_lines()
passwords.sha512_crypt = FewRounds
Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": Compiled()}


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: none of them is garbage, in this process and its copies."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nobody_asked() -> Iterator[None]:
    """Who asked is the process's own: a command that a test runs in its own process is not of the next test."""
    before = origin.set(None)
    yield
    origin.reset(before)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    from tests.world import World

    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """One of the `Site` that the test's module names."""
    made: World = request.module.Site(tmp_path)
    yield made
    made.close()


BOTH_ENGINES = ("test_account_usage", "test_borders", "test_engines", "test_restored", "test_retention", "test_rows")


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The database that the test's stores are on."""
    from tests import postgres, stores

    if request.param == stores.POSTGRESQL and (reason := postgres.missing()):
        pytest.skip(reason)
    with stores.on(request.param):
        yield request.param


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The tests of the store run on both engines, but for those about the file that a store is on SQLite."""
    from tests import stores

    chosen = any("engine" in m.args[0] for m in metafunc.definition.iter_markers("parametrize"))
    if metafunc.module.__name__.removeprefix("tests.") in BOTH_ENGINES and not chosen:
        about_a_file = any(metafunc.definition.iter_markers("file"))
        if "engine" not in metafunc.fixturenames:
            metafunc.fixturenames.insert(0, "engine")
        metafunc.parametrize(
            "engine", [stores.SQLITE] if about_a_file else [stores.SQLITE, stores.POSTGRESQL], indirect=True
        )


WAITING = (  # for real processes and browsers
    "test_kill",
    "test_pages_browser",
    "test_pages_looks_browser",
    "test_media_browser",
    "test_shim",
    "test_upgrade",
    "test_measures_browser",
    "test_page_files",
    "test_kill_edits",
    "test_home_browser",
    "test_addon",
    "test_firewall_browser",
    "test_hetzner_browser",
    "test_console_system",
    "test_admin_browser",
    "test_usage_shim",
    "test_upgrade_browser",
)
COMPUTING = (
    "test_crashes",
    "test_faults",
    "test_hetzner",
    "test_hetzner_life",
    "test_refusals",
    "test_hetzner_live",
    "test_cells",
    "test_hetzner_images",
    "test_update",
    "test_retention",
    "test_usage",
    "test_orders",
    "test_findings",
    "test_discs_once",
    "test_iso",
    "test_dns_life",
    "test_firewall_matrix",
)
LONGEST = [name for pair in zip(WAITING, COMPUTING, strict=True) for name in pair]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: with several workers the last one alone would decide how long it takes. Those that wait
    stand beside those that compute, so that the processors have work from the beginning to the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
