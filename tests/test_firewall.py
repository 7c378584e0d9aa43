"""The firewall's page in process: rules and policies, what is refused and why, two people at once, what is ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.firewall_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def test_the_first_slice(site: Site) -> None:
    page = site.see()
    assert "Input policy" in page and "No rules yet" in page
    assert site.add(service="SSH", comment="mine") == ""
    assert site.lines() == ["in accept SSH"] and "mine" in site.see()
    assert site.add(action="drop", proto="tcp", source="192.0.2.0/24", dport="80,443") == ""
    assert site.lines() == ["in accept SSH", "in drop tcp 192.0.2.0/24 80,443"]
    assert site.submit("move", rule="1", up="1") == ""
    assert site.lines() == ["in drop tcp 192.0.2.0/24 80,443", "in accept SSH"]
    assert site.submit("delete", rule="0") == ""
    assert site.lines() == ["in accept SSH"]
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    assert site.vm.firewall["policy_in"] == "DROP" and site.phase() == "trial"
    site.work(61)
    assert site.vm.firewall["policy_in"] == "ACCEPT" and "taken back" in site.see()
