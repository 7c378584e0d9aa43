"""Drivers are found by their folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

import drivers
from bridge.errors import Refused
from drivers.base import Driver

NOT_MACHINES = frozenset({"dns"})  # folders beside the drivers' that hold something else


def names() -> list[str]:
    """The drivers that are installed, by folder name."""
    return sorted(n for n, folder in modules(drivers.__path__).items() if folder and n not in NOT_MACHINES)


def modules(path: Iterable[str]) -> Mapping[str, bool]:
    """The modules of a package by name, and whether each is a folder. Read once for each `__path__`: what is installed
    stays while the process runs, and whoever adds a folder has another path."""
    return _modules(tuple(path))


@lru_cache(maxsize=32)
def _modules(path: tuple[str, ...]) -> Mapping[str, bool]:
    return MappingProxyType({m.name: m.ispkg for m in pkgutil.iter_modules(path)})


def load(name: str) -> type[Driver]:
    """The driver class of a folder. Raises Refused naming those found."""
    if name not in names():
        raise Refused(f"There is no driver {name!r}; found: {', '.join(names())}.", code="unknown_driver")
    driver: type[Driver] = importlib.import_module(f"drivers.{name}").DRIVER
    return driver


def words(schema: str) -> set[str]:
    """The keys that any driver has in its `server_schema` or `plan_schema`: for a table whose driver is not known."""
    return {key for name in names() for key in getattr(load(name), schema)().fields}
