"""Every write of the firewall cut, refused and killed at every call: it is made once or not at all, never half, never
twice; and any sequence of edits by two people is some order of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.customer import firewalls
from bridge.customer.direct import Reads
from bridge.errors import Refused, StoreUnavailable
from bridge.firewall import writing
from bridge.model import Rule
from tests.firewall_site import Site
from tests.pve.cluster import Fault

FIRST = ["in accept SSH", "in accept tcp 443", "in drop tcp 192.0.2.0/24"]
OTHER = Rule("in", "accept", proto="tcp", dport="8443")
EDITS: dict[str, tuple[firewalls.Make, list[str]]] = {  # what is asked, and what is there afterwards
    "add": (firewalls.add(Rule("out", "drop", proto="udp", dport="53"), 50), [*FIRST, "out drop udp 53"]),
    "edit": (firewalls.put(1, lambda old: OTHER), [FIRST[0], "in accept tcp 8443", FIRST[2]]),
    "delete": (firewalls.drop(1), [FIRST[0], FIRST[2]]),
    "move": (firewalls.move(1, 0), [FIRST[1], FIRST[0], FIRST[2]]),
    "switch": (firewalls.put(2, lambda old: replace(old, on=False)), [*FIRST[:2], FIRST[2] + " off"]),
}
CLOSED = firewalls.settings(policy_in="drop")
BEGIN: list[dict[str, Any]] = [
    {"type": "in", "action": "ACCEPT", "macro": "SSH", "enable": 1, "comment": "[vmb-00000001]"},
    {"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "443", "enable": 1},
    {
        "type": "in",
        "action": "DROP",
        "proto": "tcp",
        "source": "192.0.2.0/24",
        "enable": 1,
        "comment": "[vmb-00000003]",
    },
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.fixture
def site(made: Site) -> Iterator[Site]:
    anew(made)
    yield made
    made.cluster.faults, made.cluster.on_call = [], None


def anew(site: Site) -> None:
    """As it was: no change, no memory of one."""
    site.vm.rules = [dict(r) for r in BEGIN]
    site.vm.firewall = {"enable": "1", "policy_in": "ACCEPT", "policy_out": "ACCEPT"}
    site.store.change("DELETE FROM firewall_changes")
    site.store.change("UPDATE server_health SET ok = 1")


def act(site: Site, make: firewalls.Make, version: str = "") -> str:
    """As the page's form does it; what it says, empty when it went well."""
    driver, service = site.drivers["pve1"], site.store.service(1)
    version = version or driver.firewall(service.ref).version
    reads = Reads(site.clock)
    try:
        with reads.one_wait():
            asked = firewalls.Asked(version, True, "client Ada")
            firewalls.change(service, make, asked, reads, site.store, driver)
    except Refused as e:
        return e.sentence
    return ""


def now(site: Site) -> str:
    return site.drivers["pve1"].firewall(site.store.service(1).ref).version


def settled(site: Site) -> None:
    for _ in range(6):
        site.clock.time += 40
        writing.write_due("pve1", site.drivers["pve1"], site.store)


FAULTS = ("reset_before", "reset_after", "timeout_after", "lock", "unlisted", "modified", "quorum", "rubbish", "proxy")


def fault(kind: str, nth: int) -> Fault:
    """The `nth` call to the firewall's file."""
    where: dict[str, Any] = {"path": "/20000/", "nth": nth}
    return {
        "lock": lambda: Fault("status", reason="cfs-lock 'firewall-vm-20000' error: got lock request timeout", **where),
        "unlisted": lambda: Fault("status", reason="something that nobody knows", **where),
        "modified": lambda: Fault(
            "status", reason="detected modified configuration - file changed by other user? Try again.", **where
        ),
        "quorum": lambda: Fault("status", reason="cluster not ready - no quorum?", **where),
        "rubbish": lambda: Fault("body_after", body=b"<html>proxy</html>", **where),
        "proxy": lambda: Fault("status_after", status=596, reason="Connection timed out", **where),
    }.get(kind, lambda: Fault(kind, **where))()


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("what", EDITS)
def test_one_fault_at_every_call(what: str, kind: str, site: Site) -> None:
    """Made or not made, and told so: a change of which nothing is said was made."""
    make, after = EDITS[what]
    for nth in range(1, 30):
        anew(site)
        version = now(site)
        site.cluster.faults = [fault(kind, nth)]
        said = act(site, make, version)
        hit = site.cluster.faults[0].seen >= nth
        site.cluster.faults = []
        settled(site)
        made = site.lines()
        assert made in (FIRST, after), (nth, said, made)
        assert said or made == after, nth
        assert site.phase() in ("", "failed"), nth
        if said == firewalls.GOING_ON:
            assert made == after, nth
        if not hit:
            assert nth > 3
            assert made == after
            assert not said
            return
    raise AssertionError("there was always one more call")


class Killed(BaseException):
    """The process is gone: nothing of ours is cleaned up."""


def killed_at(site: Site, number: int, when: str, act: Callable[[], object]) -> bool:
    """Whether the process died at the `number`th call."""
    start, died = len(site.cluster.calls), []

    def watch(moment: str, index: int, method: str, path: str) -> None:
        if moment == when and index - start == number:
            died.append(path)
            site.cluster.on_call = None
            raise Killed()

    site.cluster.on_call = watch
    try:
        act()
    except Killed:
        pass
    finally:
        site.cluster.on_call = None
    return bool(died)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", EDITS)
def test_killed_at_every_call(what: str, when: str, site: Site) -> None:
    make, after = EDITS[what]
    for number in range(1, 40):
        anew(site)
        version = now(site)
        died = killed_at(site, number, when, lambda: act(site, make, version))  # noqa: B023
        site.clock.time += 100
        settled(site)
        assert site.lines() in (FIRST, after), number
        assert site.phase() in ("", "failed"), number
        if not died:
            assert number > 5
            assert site.lines() == after
            return
    raise AssertionError("there was always one more call")


# -- trials ---------------------------------------------------------------------------------------
WAYS_TO_CLOSE: dict[str, firewalls.Make] = {
    "policy": CLOSED,
    "delete": firewalls.drop(0),
    "switch": firewalls.put(0, lambda old: replace(old, on=False)),
    "edit": firewalls.put(0, lambda old: replace(old, source="192.0.2.7")),
    "move": firewalls.move(2, 0),
    "add": firewalls.add(Rule("in", "drop", proto="tcp", dport="22"), 50),
}


@pytest.mark.parametrize("what", WAYS_TO_CLOSE)
def test_a_trial_takes_itself_back_once(what: str, site: Site) -> None:
    if what == "add":  # below the rule that lets in it closes nothing
        site.vm.rules.pop(0)
    elif what != "policy":
        site.vm.firewall["policy_in"] = "DROP"
    before, policy = site.lines(), site.vm.firewall["policy_in"]
    assert act(site, WAYS_TO_CLOSE[what]) == ""
    assert site.phase() == "trial"
    during, until = site.lines(), ends(site)
    assert (during, site.vm.firewall["policy_in"]) != (before, policy)
    assert "on trial" in act(site, EDITS["add"][0])
    site.work(55)
    assert site.lines() == during
    assert site.phase() == "trial"
    site.work(6)
    assert (site.lines(), site.vm.firewall["policy_in"]) == (before, policy)
    assert site.phase() == "undone"
    writes = len(site.cluster.mutations())
    settled(site)
    assert len(site.cluster.mutations()) == writes
    with pytest.raises(Refused, match="taken back"):
        firewalls.keep(site.store.service(1), until, site.store)
    assert site.lines() == before
    assert act(site, EDITS["add"][0]) == ""
    assert site.phase() == ""


@pytest.mark.parametrize(
    "make",
    [
        EDITS["add"][0],
        EDITS["edit"][0],
        firewalls.drop(1),
        firewalls.settings(policy_out="drop"),
        firewalls.add(Rule("in", "drop", proto="tcp", dport="22"), 50),  # below what lets SSH in
        firewalls.move(1, 2),
    ],
)
def test_what_closes_no_way_in_is_no_trial(make: firewalls.Make, site: Site) -> None:
    site.vm.firewall["policy_in"] = "DROP"
    assert act(site, make) == ""
    assert site.phase() == ""


def ends(site: Site) -> float:
    """When the trial ends, as the page that shows it says."""
    row = site.store.firewall_change(1)
    assert row is not None
    assert row["phase"] == "trial"
    return row["due_at"]


@pytest.mark.parametrize("first", ["taken back", "kept"])
def test_a_page_of_an_earlier_trial_says_nothing_about_the_next(first: str, site: Site) -> None:
    """Another tab, or the same one sent once more: what it confirms was never this change."""
    assert act(site, CLOSED) == ""
    site.see()
    old = site.until()
    if first == "kept":
        assert site.submit("keep") == ""
        assert site.phase() == ""
        site.vm.firewall["policy_in"] = "ACCEPT"
    else:
        site.work(61)
        assert site.phase() == "undone"
    site.clock.time += 7
    assert act(site, CLOSED) == ""
    assert site.phase() == "trial"
    for do in ("keep", "back"):
        for until in (old, "", "nan", "x"):
            assert "Another one is on trial now" in site.submit(do, until=until, version="")
            assert site.phase() == "trial"
            assert site.vm.firewall["policy_in"] == "DROP"
    assert site.submit("keep") == ""
    assert site.phase() == ""
    site.work(61)
    assert site.vm.firewall["policy_in"] == "DROP"
    for until in (old, "", "0"):  # nobody knows any more how that one ended
        assert "That trial is over" in site.submit("keep", until=until, version="")


@pytest.mark.parametrize("back", [30.0, 3600.0, 86400.0 * 400])
def test_a_clock_that_is_put_back_makes_no_trial_longer(back: float, site: Site) -> None:
    assert act(site, CLOSED) == ""
    assert site.phase() == "trial"
    site.clock.time -= back
    for _ in range(3):
        site.work(61)
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert site.phase() == "undone"
    writes = len(site.cluster.mutations())
    site.work(back)
    assert len(site.cluster.mutations()) == writes
    assert site.vm.firewall["policy_in"] == "ACCEPT"


def test_a_clock_that_is_put_back_under_a_lease_leaves_nobody_waiting(site: Site) -> None:
    """The page's process died while it wrote; the clock was an hour ahead then."""
    site.clock.time += 3600
    version = now(site)
    assert killed_at(site, 1, "after", lambda: act(site, CLOSED, version))
    site.clock.time -= 3600
    site.work(1)
    site.work(100)
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert site.phase() in ("", "undone")


@pytest.mark.parametrize("what", ["add", "policy"])
def test_a_store_that_is_locked_from_any_save_on(what: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may have been made is never said to be nothing, and ends as it should: made once, or taken back."""
    make = EDITS["add"][0] if what == "add" else CLOSED
    for number in range(1, 20):
        anew(site)
        version, saves = now(site), 0
        real, reached = site.store.change, False

        def locked(sql: str, *args: Any) -> int:
            nonlocal saves, reached
            saves += "SET edits" not in sql  # which says nothing about the change
            if saves >= number:  # noqa: B023
                reached = reached or "SET edits" not in sql
                raise StoreUnavailable()
            return real(sql, *args)  # noqa: B023

        before = len(site.cluster.mutations())
        monkeypatch.setattr(site.store, "change", locked)
        try:
            said = act(site, make, version)
        except StoreUnavailable:
            said = "nothing"
            assert len(site.cluster.mutations()) == before
        finally:
            monkeypatch.setattr(site.store, "change", real)
        if len(site.cluster.mutations()) > before and reached:
            assert "may have been made" in said
        site.clock.time += writing.LEASE
        settled(site)
        if reached and what == "policy":
            assert site.vm.firewall["policy_in"] == "ACCEPT"
        elif said != "nothing":
            assert site.lines() == (EDITS["add"][1] if what == "add" else FIRST)
        if not reached:
            return
    raise AssertionError("there was always one more save")


@pytest.mark.parametrize("who", ["customer", "worker", "worker after a crash"])
def test_a_store_that_is_locked_when_the_worker_has_written(
    who: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    if who == "worker after a crash":
        version = now(site)
        assert killed_at(site, 8, "after", lambda: act(site, EDITS["add"][0], version))
    else:
        assert act(site, CLOSED) == ""
    ended = "firewall_written" if who == "worker after a crash" else "firewall_ended"

    def locked(*_: Any) -> None:
        raise StoreUnavailable()

    monkeypatch.setattr(site.store, ended, locked)
    if who == "customer":
        with pytest.raises(Refused, match="taken back by itself"):
            firewalls.take_back(site.store.service(1), ends(site), Reads(site.clock), site.store, site.drivers["pve1"])
    else:
        site.clock.time += 100
        with pytest.raises(StoreUnavailable):
            writing.write_due("pve1", site.drivers["pve1"], site.store)
    monkeypatch.undo()
    site.clock.time += writing.LEASE
    settled(site)
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert "was not made" not in site.see()
    assert site.lines() == (EDITS["add"][1] if who == "worker after a crash" else FIRST)


@pytest.mark.parametrize("phase", ["undone", "failed"])
def test_an_operation_takes_over_nothing_that_has_ended(phase: str, site: Site) -> None:
    assert act(site, CLOSED) == ""
    assert site.phase() == "trial"
    row = site.store.take_back_firewall(1, ends(site), 90)
    assert row is not None
    assert site.store.take_over_firewall(1, 90) == 0
    site.store.firewall_ended(1, row["number"], phase)
    assert site.store.take_over_firewall(1, 90) == 0
    assert site.phase() == phase


def test_a_trial_that_is_kept_stays(site: Site) -> None:
    assert act(site, CLOSED) == ""
    until = ends(site)
    for _ in range(2):  # a double click says it twice
        firewalls.keep(site.store.service(1), until, site.store)
    settled(site)
    assert site.vm.firewall["policy_in"] == "DROP"
    assert site.phase() == ""


def test_a_trial_is_taken_back_at_once(site: Site) -> None:
    assert act(site, CLOSED) == ""
    until = ends(site)
    firewalls.take_back(site.store.service(1), until, Reads(site.clock), site.store, site.drivers["pve1"])
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert "taken back" not in site.see()
    with pytest.raises(Refused, match="taken back"):  # in another tab
        firewalls.keep(site.store.service(1), until, site.store)
    assert act(site, EDITS["add"][0]) == ""
    assert site.phase() == ""


@pytest.mark.parametrize("kind", FAULTS)
def test_a_revert_goes_on_until_it_is_done(kind: str, site: Site) -> None:
    for nth in range(1, 9):
        anew(site)
        assert act(site, CLOSED) == ""
        assert site.phase() == "trial"
        site.cluster.faults = [fault(kind, nth)]
        site.work(61)
        site.cluster.faults = []
        site.work(400)
        assert site.vm.firewall["policy_in"] == "ACCEPT", nth
        assert site.phase() == "undone", nth


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_trial_whose_maker_or_reverter_is_killed(when: str, site: Site) -> None:
    for number in range(1, 20):
        anew(site)
        version = now(site)
        died = killed_at(site, number, when, lambda: act(site, CLOSED, version))  # noqa: B023
        again = killed_at(site, number, when, lambda: site.work(100))
        site.work(100)
        assert site.vm.firewall["policy_in"] == "ACCEPT", number
        assert site.phase() in ("", "undone"), number
        if not died and not again:
            return
    raise AssertionError("there was always one more call")


def test_a_host_that_is_down_when_the_trial_ends(site: Site) -> None:
    assert act(site, CLOSED) == ""
    site.down(0)
    site.work(300)
    assert site.vm.firewall["policy_in"] == "DROP"
    assert site.phase() == "trial"
    with pytest.raises(Refused, match="taken back"):  # its time is over, whatever the host does
        firewalls.keep(site.store.service(1), ends(site), site.store)
    site.down(1)
    site.work(1)
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert site.phase() == "undone"


def test_what_staff_does_during_a_trial_stays(site: Site) -> None:
    assert act(site, CLOSED) == ""
    site.as_staff("POST", "rules", type="in", action="ACCEPT", macro="RDP", enable="1")
    site.as_staff("PUT", "options", policy_in="REJECT")
    site.work(61)
    assert site.vm.firewall["policy_in"] == "REJECT"
    assert site.lines()[0] == "in accept RDP"
    assert "somebody else has changed" in site.see()


# -- two people -------------------------------------------------------------------------------------
def test_a_change_of_somebody_else_is_shown_and_never_overwritten(site: Site) -> None:
    old = now(site)
    site.as_staff("POST", "rules", type="in", action="DROP", macro="RDP", enable="1")
    for make, _ in EDITS.values():
        assert "Somebody else" in act(site, make, old)
        assert site.lines() == ["in drop RDP", *FIRST]
        assert site.phase() == ""


@pytest.mark.parametrize("what", EDITS)
def test_a_change_between_two_calls_is_kept(what: str, site: Site) -> None:
    """Somebody adds a rule meanwhile: it stays, and ours is made or refused, each once."""
    for number in range(1, 20):
        anew(site)
        version, start, met = now(site), len(site.cluster.calls), []

        def meddle(moment: str, index: int, method: str, path: str) -> None:
            if moment == "after" and index == start + number:  # noqa: B023
                site.cluster.on_call = None
                met.append(path)  # noqa: B023
                site.vm.rules.insert(0, {"type": "in", "action": "DROP", "macro": "RDP", "enable": 1})

        site.cluster.on_call = meddle
        said = act(site, EDITS[what][0], version)
        site.cluster.on_call = None
        settled(site)
        lines = site.lines()
        rest = [x for x in lines if x != "in drop RDP"]
        assert lines.count("in drop RDP") == len(met), number
        assert rest == EDITS[what][1] or (said and rest == FIRST), (number, said, lines)
        if not met:
            return


PORT, PLACE = st.integers(1, 65535).map(str), st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("add"), PORT, st.just(0)),
    st.tuples(st.just("delete"), PLACE, st.just(0)),
    st.tuples(st.just("move"), PLACE, PLACE),
    st.tuples(st.just("switch"), PLACE, st.integers(0, 1)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.booleans(), STEPS), max_size=10))
def test_any_edits_of_two_people_are_some_order_of_them(
    made: Site, steps: list[tuple[bool, bool, tuple[str, Any, int]]]
) -> None:
    """Each acts on the page that they saw last, which may be old: then nothing is written. What is written is what
    that edit does to the list as it was seen; every rule stands once."""
    anew(made)
    made.vm.rules = [{"type": "out", "action": "DROP", "proto": "tcp", "dport": str(n), "enable": 1} for n in (1, 2, 2)]
    expected, seen = made.lines(), ["", ""]
    for second, looks, (what, first, other) in steps:
        if looks or not seen[second]:
            seen[second] = now(made)
        fresh = seen[second] == now(made)
        said = act(made, make_of(what, first, other), seen[second])
        if not said:
            assert fresh
            expected = applied(expected, what, first, other)
        assert made.lines() == expected, (what, first, other, said)
        assert made.phase() == ""
    marks = [r.mark for r in made.rules() if r.mark]
    assert len(marks) == len(set(marks))


def make_of(what: str, first: Any, other: int) -> firewalls.Make:
    return {
        "add": lambda: firewalls.add(Rule("out", "drop", proto="tcp", dport=str(first)), 50),
        "delete": lambda: firewalls.drop(first),
        "move": lambda: firewalls.move(first, other),
        "switch": lambda: firewalls.put(first, lambda old: replace(old, on=bool(other))),
    }[what]()


def applied(lines: list[str], what: str, first: Any, other: int) -> list[str]:
    """The edit on a plain list."""
    rules = list(lines)
    if what == "add":
        return [*rules, f"out drop tcp {first}"]
    line = rules.pop(first)
    if what == "move":
        rules.insert(min(other, len(rules)), line)
    if what == "switch":
        rules.insert(first, line.removesuffix(" off") + ("" if other else " off"))
    return rules
