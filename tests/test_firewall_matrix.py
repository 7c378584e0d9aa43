"""Every write of the firewall cut, refused and killed at every call: it is made once or not at all, never half, never
twice; and any sequence of edits by two people is some order of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.firewall_site import Site
from tests.pve.cluster import Fault

FIRST = ["in accept SSH", "in accept tcp 443", "in drop tcp 192.0.2.0/24"]
EDITS: dict[str, tuple[dict[str, str], list[str]]] = {  # what is asked, and what is there afterwards
    "add": ({"way": "out", "action": "drop", "proto": "udp", "dport": "53"}, [*FIRST, "out drop udp 53"]),
    "edit": (
        {"rule": "1", "way": "in", "action": "accept", "proto": "tcp", "dport": "8443"},
        [FIRST[0], "in accept tcp 8443", FIRST[2]],
    ),
    "delete": ({"rule": "1"}, [FIRST[0], FIRST[2]]),
    "move": ({"rule": "2", "to": "0"}, [FIRST[2], FIRST[0], FIRST[1]]),
    "switch": ({"rule": "2", "on": "0"}, [FIRST[0], FIRST[1], FIRST[2] + " off"]),
}
TRIALS: dict[str, dict[str, str]] = {
    "policy": {"policy_in": "drop", "policy_out": "accept"},
    "delete": {"rule": "0", "sure": "1"},
    "switch": {"rule": "0", "on": "0", "sure": "1"},
    "move": {"rule": "2", "to": "0"},
}


def prepared(path: Path, trial: bool = False) -> Site:
    site = Site(path)
    site.add(service="SSH")
    site.add(proto="tcp", dport="443")
    site.add(action="drop", proto="tcp", source="192.0.2.0/24")
    if trial:
        site.vm.firewall["policy_in"] = "DROP"
    assert site.lines() == FIRST
    site.cluster.calls.clear()
    return site


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = prepared(tmp_path_factory.mktemp("model"))
    yield made
    made.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = prepared(tmp_path)
    yield made
    made.close()


def settled(site: Site) -> None:
    for _ in range(8):
        site.work(40)


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
    form, after = EDITS[what]
    rules, firewall = list(site.vm.rules), dict(site.vm.firewall)
    for nth in range(1, 20):
        site.vm.rules, site.vm.firewall = list(rules), dict(firewall)
        site.store.change("DELETE FROM firewall_changes")
        site.see()
        site.cluster.faults = [fault(kind, nth)]
        said = site.submit(what, fresh=False, version=site.version(), **form)
        hit = site.cluster.faults[0].seen >= nth
        site.cluster.faults = []
        settled(site)
        made = site.lines()
        assert made in (FIRST, after), (nth, said, made)
        assert said or made == after, nth
        assert site.phase() in ("", "failed"), nth
        if "finished by itself" in said:
            assert made == after or kind == "unlisted", nth
        if not hit:
            assert nth > 3 and made == after and not said
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
    form, after = EDITS[what]
    rules, firewall = list(site.vm.rules), dict(site.vm.firewall)
    for number in range(1, 30):
        site.vm.rules, site.vm.firewall = list(rules), dict(firewall)
        site.store.change("DELETE FROM firewall_changes")
        site.html = ""
        version = site.version()
        died = killed_at(site, number, when, lambda: site.submit(what, fresh=False, version=version, **form))  # noqa: B023
        site.shim = site.process()
        site.work(100)
        settled(site)
        assert site.lines() in (FIRST, after) and site.phase() in ("", "failed"), number
        if not died:
            assert number > 5 and site.lines() == after
            return
    raise AssertionError("there was always one more call")


# -- trials ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["policy", "delete", "switch", "move"])
def test_a_trial_takes_itself_back_once(what: str, tmp_path: Path) -> None:
    site = prepared(tmp_path, trial=what != "policy")
    if what == "move":  # what drops a network before it is let in
        assert site.submit("move", rule="2", to="1") == "" and site.phase() == ""
    before, policy = site.lines(), site.vm.firewall["policy_in"]
    form = TRIALS[what] if what != "move" else {"rule": "1", "to": "0"}
    assert site.submit(what, **form) == "" and site.phase() == "trial"
    during = site.lines()
    assert (during, site.vm.firewall["policy_in"]) != (before, policy)
    assert "on trial" in site.see() and "on trial" in site.add(service="Web")
    site.work(55)
    assert site.lines() == during and site.phase() == "trial"
    site.work(6)
    assert (site.lines(), site.vm.firewall["policy_in"]) == (before, policy) and site.phase() == "undone"
    assert "taken back" in site.see()
    writes = len(site.cluster.mutations())
    settled(site)
    assert len(site.cluster.mutations()) == writes
    assert "taken back" in site.submit("keep") and site.lines() == before
    assert site.add(service="Web") == "" and site.phase() == ""
    site.close()


def test_a_trial_that_is_kept_stays(site: Site) -> None:
    assert site.submit("policy", **TRIALS["policy"]) == "" and site.submit("keep") == ""
    settled(site)
    assert site.vm.firewall["policy_in"] == "DROP" and site.phase() == ""


def test_a_trial_is_taken_back_at_once(site: Site) -> None:
    assert site.submit("policy", **TRIALS["policy"]) == "" and site.submit("back") == ""
    assert site.vm.firewall["policy_in"] == "ACCEPT" and site.phase() == "" and "not confirmed" not in site.see()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_revert_goes_on_until_it_is_done(kind: str, site: Site) -> None:
    for nth in range(1, 9):
        site.store.change("DELETE FROM firewall_changes")
        assert site.submit("policy", **TRIALS["policy"]) == "" and site.phase() == "trial"
        site.cluster.faults = [fault(kind, nth)]
        site.work(61)
        site.cluster.faults = []
        site.work(400)
        assert site.vm.firewall["policy_in"] == "ACCEPT" and site.phase() == "undone", nth


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_trial_whose_maker_or_reverter_is_killed(when: str, site: Site) -> None:
    for number in range(1, 12):
        site.store.change("DELETE FROM firewall_changes")
        site.html = ""
        version = site.version()
        died = killed_at(
            site,
            number,
            when,
            lambda: site.submit("policy", fresh=False, version=version, **TRIALS["policy"]),  # noqa: B023
        )
        site.shim = site.process()
        again = killed_at(site, number, when, lambda: site.work(100))
        site.work(100)
        assert site.vm.firewall["policy_in"] == "ACCEPT" and site.phase() in ("", "undone"), number
        if not died and not again:
            return
    raise AssertionError("there was always one more call")


def test_a_host_that_is_down_when_the_trial_ends(site: Site) -> None:
    assert site.submit("policy", **TRIALS["policy"]) == ""
    site.store.set_maintenance("pve1", "")
    site.store.change("UPDATE server_health SET ok = 0")
    site.work(300)
    assert site.vm.firewall["policy_in"] == "DROP" and "being taken back" in site.see() + str(
        site.store.firewall_change(1)
    )
    site.store.change("UPDATE server_health SET ok = 1")
    site.work(1)
    assert site.vm.firewall["policy_in"] == "ACCEPT" and site.phase() == "undone"


def test_what_staff_does_during_a_trial_stays(site: Site) -> None:
    assert site.submit("policy", **TRIALS["policy"]) == ""
    site.as_staff("POST", "rules", type="in", action="ACCEPT", macro="RDP", enable="1")
    site.as_staff("PUT", "options", policy_in="REJECT")
    site.work(61)
    assert site.vm.firewall["policy_in"] == "REJECT" and site.lines()[0] == "in accept RDP"
    assert "somebody else has changed" in site.see()


# -- two people ---------------------------------------------------------------------------------------
def test_a_change_of_somebody_else_is_shown_and_never_overwritten(site: Site) -> None:
    site.see()
    old = site.version()
    site.as_staff("POST", "rules", type="in", action="DROP", macro="RDP", enable="1")
    for what, (form, _) in EDITS.items():
        assert "Somebody else" in site.submit(what, fresh=False, version=old, **form)
        assert site.lines() == ["in drop RDP", *FIRST] and site.phase() == ""


def test_a_change_between_two_calls_is_kept(site: Site) -> None:
    """Somebody adds a rule while ours is added: both are there, each once, and ours where it belongs."""
    for number in range(1, 14):
        rules = list(site.vm.rules)
        start = len(site.cluster.calls)
        site.html = ""
        version = site.version()
        seen = len(site.cluster.calls) - start

        def meddle(moment: str, index: int, method: str, path: str) -> None:
            if moment == "after" and index == start + seen + number:  # noqa: B023
                site.cluster.on_call = None
                site.vm.rules.insert(0, {"type": "in", "action": "DROP", "macro": "RDP", "enable": 1})

        site.cluster.on_call = meddle
        said = site.submit("add", fresh=False, version=version, **EDITS["add"][0])
        site.cluster.on_call = None
        settled(site)
        lines = site.lines()
        assert [x for x in lines if x != "in drop RDP"] in (FIRST, EDITS["add"][1]), number
        assert lines.count("in drop RDP") <= 1 and (said or lines[-1] == "out drop udp 53"), number
        site.vm.rules = rules


FORMS = st.one_of(
    st.tuples(st.just("add"), st.fixed_dictionaries({"way": st.just("out"), "action": st.sampled_from(["accept", "drop"]),
              "proto": st.just("tcp"), "dport": st.integers(1, 65535).map(str)})),
    st.tuples(st.just("delete"), st.fixed_dictionaries({"rule": st.integers(0, 5).map(str)})),
    st.tuples(st.just("move"), st.fixed_dictionaries({"rule": st.integers(0, 5).map(str), "to": st.integers(0, 5).map(str)})),
    st.tuples(st.just("switch"), st.fixed_dictionaries({"rule": st.integers(0, 5).map(str), "on": st.sampled_from("01")})),
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.booleans(), FORMS), max_size=8))
def test_any_edits_of_two_people_are_some_order_of_them(
    model: Site, steps: list[tuple[bool, bool, tuple[str, dict[str, str]]]]
) -> None:
    """Each acts on the page that they saw last, which may be old: then nothing is written. What is written is what that edit
    does to the list as it was seen; every rule stands once."""
    model.vm.rules = [
        {"type": "out", "action": "DROP", "proto": "tcp", "dport": str(n), "enable": 1} for n in (1, 2, 2)
    ]
    model.store.change("DELETE FROM firewall_changes")
    expected, seen = list(model.lines()), ["", ""]
    for second, looks, (what, form) in steps:
        if looks or not seen[second]:
            model.html, model.clock.time = "", model.clock.time + 6
            seen[second] = model.version()
        fresh = seen[second] == _now(model)
        said = model.submit(what, fresh=False, version=seen[second], **form)
        if not said and fresh:
            expected = applied(expected, what, form)
        assert fresh or said or model.lines() == expected
        assert model.lines() == expected, (what, form, said)
        assert model.phase() == ""
    marks = [r.mark for r in model.rules() if r.mark]
    assert len(marks) == len(set(marks))


def _now(site: Site) -> str:
    return site.drivers["pve1"].firewall(site.store.service(1).ref).version


def applied(lines: list[str], what: str, form: dict[str, str]) -> list[str]:
    """The edit on a plain list."""
    found, n = list(lines), int(form.get("rule", 0))
    if what == "add":
        return [*found, f"out {form['action']} tcp {form['dport']}"]
    line = found.pop(n)
    if what == "move":
        found.insert(min(int(form["to"]), len(found)), line)
    if what == "switch":
        found.insert(n, line.removesuffix(" off") + ("" if form["on"] == "1" else " off"))
    return found
