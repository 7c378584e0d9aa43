"""Name servers that are killed (`kill -9`) between two writes and in the middle of one: PowerDNS with SQLite and BIND
with its journal, the real ones. Wishes stay, are written once after the return, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bridge import zones
from bridge.dns import writer
from bridge.model import RecordSet
from drivers.dns.contract import Provider
from tests.dns import servers
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned

FORWARD = "vps.example.com"
ZONES = (REVERSE, REVERSE6, STATIC, FORWARD)
OTHER = f"99.{REVERSE}"
KINDS = {"powerdns": servers.PowerDns, "rfc2136": servers.Bind}


class Cut:
    """A provider whose server dies at its `nth` change: before it, in its middle, or after it with its answer lost."""

    def __init__(self, provider: Provider, cuts: list[tuple[str, Callable[..., None]]]) -> None:
        self._provider, self._cuts = provider, cuts

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._provider, name)

        def change(*args: Any) -> Any:
            where, kill = self._cuts.pop(0) if self._cuts else ("", None)
            if kill and where != "after":
                kill(0.2 if where == "middle" else 0.0)
            made = real(*args)
            if kill and where == "after":
                kill()
                raise writer.StoreUnavailable  # the worker is gone with it: nothing of it is recorded
            return made

        return change if name in ("set", "remove") else real


@pytest.fixture(
    scope="module",
    params=[pytest.param("powerdns", marks=servers.needs_pdns), pytest.param("rfc2136", marks=servers.needs_named)],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with KINDS[request.param](tmp_path_factory.mktemp(request.param), *ZONES) as made:
        yield made


def test_a_server_that_is_killed_loses_and_doubles_nothing(server: Any, tmp_path: Path) -> None:
    tables = {z: server.settings() for z in ZONES}
    site = Zoned(tmp_path, tables, ptr_name=f"{{ip_dashed}}.{STATIC}", forward_zone=FORWARD)
    plain = dict(site.providers)

    def cut(where: str, nth: int) -> None:
        """The worker's turn in which the server dies, and everything after its return."""
        cuts: list[Any] = [("", None)] * nth + [(where, server.kill)]
        site.providers = {z: Cut(p, cuts) for z, p in plain.items()}
        for zone in site.store.zones_due():
            with suppress(writer.StoreUnavailable):  # the worker dies with it
                writer.write_due(zone, site.config, site.store, site.providers, {})
        assert cuts == [], (where, nth)
        assert site.open()
        server.start()
        site.clock.time += 1000
        site.write()
        assert site.open() == []
        assert server.dig(OTHER) == ["other.example.com"]

    plain[REVERSE].set(RecordSet(OTHER, "PTR", ("other.example.com",), 300))
    site.order("create")
    site.run()
    cut("middle", 2)
    own = site.addresses()
    for n, (where, nth) in enumerate([("before", 0), ("middle", 1), ("after", 0), ("after", 1)]):
        names = {a: "" if n == 1 else f"m{n}.customer.example" for a in own}
        for address, name in names.items():
            assert site.save(address, name) == ""
        cut(where, nth)
        for address, name in names.items():
            default = zones.default_name(f"{{ip_dashed}}.{STATIC}", address, "", 1, 1)
            assert site.fields()[address] == (name or default)
            assert server.dig(address) == [name or default], (where, nth)
    site.order("terminate")
    site.run()
    cut("after", 1)
    assert [server.dig(a) for a in own] == [[] for _ in own]
    assert server.dig(f"vm-1042.{FORWARD}", "A") == []
    assert site.store.rows("SELECT * FROM dns_records") == []
    site.close()
