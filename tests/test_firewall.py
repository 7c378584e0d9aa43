"""The firewall's page in process: rules and policies, what is refused and why, two people at once, what is ours."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.firewall.writing import LOST_REPLY
from bridge.web import actions
from bridge.web import firewall as web
from tests.firewall_site import Site
from tests.pve.firewalls import parsed
from tests.test_iso import words


def test_the_first_slice(site: Site) -> None:
    page = site.see()
    assert "Input policy" in page
    assert "No rules yet" in page
    assert site.add(service="SSH", comment="mine") == ""
    assert site.lines() == ["in accept SSH"]
    assert "mine" in site.see()
    assert site.add(action="drop", proto="tcp", source="192.0.2.0/24", dport="80,443") == ""
    assert site.lines() == ["in accept SSH", "in drop tcp 192.0.2.0/24 80,443"]
    assert site.submit("move", rule="1", up="1") == ""
    assert site.lines() == ["in drop tcp 192.0.2.0/24 80,443", "in accept SSH"]
    assert site.submit("delete", rule="0") == ""
    assert site.lines() == ["in accept SSH"]
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    assert site.vm.firewall["policy_in"] == "DROP"
    assert site.phase() == "trial"
    site.work(61)
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert "taken back" in site.see()


# -- what comes over a server ------------------------------------------------------------------------
def rich(site: Site) -> list[str]:
    """Rules of the customer's, one of staff's, and policies."""
    assert site.add(service="SSH", comment="way in") == ""
    assert site.add(proto="tcp", dport="443", source="192.0.2.0/24") == ""
    site.as_staff(
        "POST", "rules", type="out", action="DROP", proto="tcp", dport="25", enable="1", comment="vmbridge: no mail"
    )
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    assert site.submit("keep") == ""
    assert site.phase() == ""
    return site.lines()


def test_a_restore_keeps_the_rules_of_now(site: Site) -> None:
    site.page("backups", "take", note="")
    site.run()
    before = rich(site)
    site.cluster.archives[next(iter(site.cluster.archives))]["firewall"][0].append(
        {"type": "in", "action": "ACCEPT", "enable": 1, "comment": "of then"}
    )
    site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"])
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    assert site.vm.restored
    assert site.lines() == before
    assert site.vm.firewall["policy_in"] == "DROP"
    assert site.vm.ipsets == {"ipfilter-net0": ["203.0.113.10"]}
    assert site.vm.firewall["enable"] == "1"
    assert site.store.service(1).birth.firewall_before is None


def test_a_reinstall_leaves_the_rules_alone(site: Site) -> None:
    before = rich(site)
    site.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    assert site.lines() == before


def test_a_rollback_leaves_the_rules_alone(site: Site) -> None:
    site.page("snapshots", "take", description="one")
    site.run()
    before = rich(site)
    site.page("snapshots", "rollback", name=next(iter(site.vm.snapshots)))
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    assert site.lines() == before


def test_a_suspension_leaves_the_rules_alone(site: Site) -> None:
    before = rich(site)
    for verb in ("suspend", "unsuspend"):
        site.order(verb)
        site.run()
    assert site.lines() == before
    assert site.vm.firewall["policy_in"] == "DROP"


def test_a_redeployed_server_has_the_rules_of_the_old_one(site: Site) -> None:
    before = rich(site)
    site.order("redeploy")
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    site.cluster.vms[20000] = site.cluster.vms[int(site.store.service(1).vm_id)]
    assert site.store.service(1).vm_id != "20000"
    assert site.lines() == before


def test_a_trial_is_over_when_a_restore_begins(site: Site) -> None:
    site.page("backups", "take", note="")
    site.run()
    assert site.add(service="SSH") == ""
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    site.see()
    until = site.until()
    site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"])
    site.run(20)
    site.work(120)
    site.run()
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert site.lines() == ["in accept SSH"]
    assert site.phase() == "undone"
    assert "has been taken back" in site.submit("keep", until=until, version="")
    assert "taken back" in site.see()


def test_a_trial_that_staff_has_changed_holds_up_no_restore(site: Site) -> None:
    """Nothing of theirs is overwritten, and the customer's archive comes back all the same."""
    site.page("backups", "take", note="")
    site.run()
    assert site.add(service="SSH") == ""
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    site.as_staff("PUT", "options", policy_in="REJECT")
    site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"])
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    assert site.vm.restored
    assert site.vm.firewall["policy_in"] == "REJECT"
    assert site.phase() == "undone"
    assert "somebody else has changed" in site.see()


# -- the page ----------------------------------------------------------------------------------------
def test_a_look_costs_three_calls_and_serves_everybody(site: Site) -> None:
    site.see()
    assert [p.rpartition("/20000/")[2] for _, m, p, _ in site.cluster.calls] == [
        "config",
        "firewall/options",
        "firewall/rules",
    ]
    other = site.process()
    site.see()
    assert len(site.cluster.calls) == 3
    site.see(other)
    assert len(site.cluster.calls) == 6
    site.cluster.calls.clear()
    reply = site.shim.send("GET", "/v1/services/1042/pages/overview?client=7")
    assert "Firewall" in reply.json["html"]
    assert site.cluster.calls == []


def test_a_switch_off_is_told_and_nothing_is_changed(site: Site) -> None:
    site.add(service="SSH")

    def told(words: str) -> None:
        site.work(400)
        site.clock.time += 6
        assert words in site.see()
        assert 'aria-disabled="true"' in site.html
        before = site.lines()
        assert words in site.add(service="Web")
        assert site.lines() == before
        assert site.phase() == ""

    site.cluster.firewall_on = False
    told("switched off on our side")
    site.cluster.firewall_on = True
    site.cluster.node_firewalls["pve1"] = site.cluster.node_firewalls["pve2"] = {"enable": 0}
    told("host is switched off")
    site.cluster.node_firewalls["pve1"] = site.cluster.node_firewalls["pve2"] = {"nftables": 1}
    told("being changed over")
    site.cluster.node_firewalls.clear()
    site.vm.config["net0"] = site.vm.config["net0"].replace("firewall=1", "firewall=0")
    told("adapter of this server is not filtered")
    site.vm.config["net0"] = site.vm.config["net0"].replace("firewall=0", "firewall=1")
    site.vm.firewall["enable"] = "0"
    told("firewall of this server is switched off")
    site.vm.firewall["enable"] = "1"
    site.work(400)
    site.clock.time += 6
    assert site.add(service="Web") == ""


def test_what_is_ours_is_locked(site: Site) -> None:
    """Rules of staff's and security groups are seen, and stay where they are and what they are."""
    site.add(service="SSH")
    for values in (
        {"type": "out", "action": "DROP", "proto": "tcp", "dport": "25", "comment": "vmbridge: no mail"},
        {"type": "group", "action": "monitoring"},
    ):
        site.as_staff("POST", "rules", enable="1", **values)
    before = site.lines()
    page = site.see()
    assert "A group of our rules: monitoring" in page
    assert "no mail" in page
    assert page.count(" ours ") == 2
    for what, form in {
        "delete": {"rule": "0"},
        "edit": {"rule": "1", "way": "in", "action": "accept"},
        "switch": {"rule": "1", "on": "0"},
        "move": {"rule": "0", "to": "2"},
    }.items():
        assert "ours" in site.submit(what, **form)
        assert site.lines() == before
    assert "past one of ours" in site.submit("move", rule="2", to="0")
    assert site.lines() == before
    assert "not there any more" in site.submit("delete", rule="9")
    assert site.add(service="Web") == ""
    assert site.lines() == [*before, "in accept Web"]
    assert "ipfilter" not in site.see()
    assert site.vm.ipsets == {"ipfilter-net0": ["203.0.113.10"]}


def test_the_number_of_rules_is_the_plans(tmp_path: Path) -> None:
    site = Site(tmp_path, firewall_rules=2)
    site.as_staff("POST", "rules", type="group", action="monitoring", enable="1")  # does not count
    assert site.add(service="SSH") == ""
    assert site.add(service="Web") == ""
    assert "2 of 2 rules in use" in site.add(service="Ping")
    assert len(site.lines()) == 3
    assert "2 of 2 rules in use" in site.see()
    site.close()


OTHERS = {  # what another does meanwhile, what is told then, and the rules afterwards
    "adds": ({"do": "add", "service": "Web"}, "Somebody else has changed", ["in accept SSH", "in accept Web"]),
    "deletes": ({"do": "delete", "rule": "0"}, "Somebody else has changed", []),
    "is refused": ({"do": "edit", "rule": "0", "service": "Doom"}, "", ["in accept SSH", "in accept Ping"]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_of_two_at_the_border_one_is_told(other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read the list with room for one more, and the one begins and ends before the other has begun: a new
    rule is written whatever stands there, so it is looked at again."""
    site = Site(tmp_path, firewall_rules=2)
    form, told, lines = OTHERS[other]
    try:
        assert site.add(service="SSH") == ""
        second, real, met = site.process(), site.store.begin_firewall, []

        def begin(*args: Any) -> int:
            if not met:
                met.append(args)
                site.form(shim=second, version=site.version(), **{"way": "in", "action": "accept", **form})
            return real(*args)

        monkeypatch.setattr(site.store, "begin_firewall", begin)
        assert site.add(service="Ping").startswith(told)
        assert len(met) == 1
        assert site.lines() == lines
    finally:
        site.close()


def test_a_long_list_is_shown_in_parts_and_changed_like_any(tmp_path: Path) -> None:
    """Staff's own tools make lists that no plan sells: a view costs the same calls, a page no more than its part."""
    site = Site(tmp_path)
    try:
        site.vm.rules = [parsed(f"IN ACCEPT -p tcp -dport {1000 + n} # r{n}") for n in range(2000)]
        site.cluster.calls.clear()
        page = site.see()
        assert len(site.cluster.calls) == 3
        assert "r99 " in page
        assert "r100 " not in page
        assert "2000 of 50 rules in use" in page
        assert len(site.html) < 400_000
        site.html = site.form("part", first="1999").json["html"]
        assert "r1999" in site.html
        assert "r1899 " not in words(site.html)
        assert site.submit("move", rule="1999", to="0") == ""
        assert site.submit("switch", rule="1950", on="0") == ""
        assert site.submit("delete", rule="1000") == ""
        assert site.lines()[0] == "in accept tcp 2999"
        assert site.lines()[1949].endswith("off")
        assert len(site.lines()) == 1999
        assert len([m for m in site.cluster.mutations() if "firewall" in m[1]]) == 3
    finally:
        site.close()


def test_a_wrong_field_is_named_and_nothing_is_lost(site: Site) -> None:
    said = site.add(proto="tcp", dport="80,nonsense", comment="my shop")
    assert said.startswith("Destination port: “nonsense”")
    assert site.vm.rules == []
    assert 'value="my shop"' in site.html
    assert 'value="80,nonsense"' in site.html
    assert "Input policy: “maybe” is not one of" in site.submit("policy", policy_in="maybe", policy_out="accept")
    for bad in ("", "x", "-1", "999999", "٣"):
        assert "Rule: must be the number" in site.submit("delete", rule=bad)


def test_the_rule_for_ssh_comes_first(site: Site) -> None:
    asked = site.submit("policy", policy_in="drop", policy_out="accept")
    assert "Nobody would be let in by SSH" in site.html + asked
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert site.phase() == ""
    assert site.submit("policy", policy_in="drop", policy_out="accept", sure="1", ssh_first="1") == ""
    assert site.lines() == ["in accept SSH"]
    assert site.vm.firewall["policy_in"] == "DROP"
    assert site.phase() == "trial"
    site.work(61)
    assert site.lines() == ["in accept SSH"]
    assert site.vm.firewall["policy_in"] == "ACCEPT"


def test_who_may(site: Site) -> None:
    """Not what the product has not, not while suspended; a backup is not in the way, a restore is."""
    site.cluster.durations["vzdump"] = 300.0
    site.page("backups", "take", note="")
    site.run(20)
    assert site.store.current_operation(1)
    assert site.add(service="SSH") == ""
    site.run(600)
    site.cluster.durations["qmrestore"] = 300.0
    site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"])
    site.run(30)
    assert "restored" in site.add(service="Web")
    assert "Web" not in str(site.lines())
    site.run(600)
    site.order("suspend")
    site.run()
    assert "suspended" in site.add(service="Web")


def test_not_part_of_the_plan(tmp_path: Path) -> None:
    site = Site(tmp_path, firewall=False)
    reply = site.shim.send("GET", "/v1/services/1042/pages/firewall?client=7")
    assert reply.json["title"] == "Access Denied"
    assert site.form("add", way="in").status_code == 403
    site.close()


def test_what_was_dropped_is_shown(site: Site) -> None:
    assert site.submit("logging", on="1") == ""
    assert site.vm.firewall["log_level_in"] == "info"
    head = "20000 6 tap20000i0-IN 15/Jan/2027:08:00:05 +0000 policy DROP: IN=fwbr20000i0 OUT=fwbr20000i0"
    packet = "PHYSIN=fwln20000i0 MAC=aa SRC=198.51.100.7 DST=203.0.113.10 LEN=60 PROTO=TCP SPT=40000 DPT=2323 SYN"
    now = site.clock.now()
    site.cluster.firewall_log = [(now - 7200, f"{head} {packet}".replace("2323", "1111"))]
    site.cluster.firewall_log += [
        (now - 200 + n, f"{head} {packet}".replace("2323", str(3000 + n))) for n in range(120)
    ]
    site.cluster.firewall_log += [(now, "20001 6 tap20001i0-IN 15/Jan/2027:08:00:05 +0000 policy DROP: SRC=192.0.2.1")]
    site.form("log")
    page = site.form("log").json["html"]
    assert page.count("198.51.100.7") == 100
    assert "3119" in page
    assert "3019" not in page
    assert "1111" not in page
    site.cluster.privileges["/vms"] -= {"VM.Console"}
    site.clock.time += 6
    assert "cannot be read here" in site.form("log").json["html"]
    assert site.submit("logging", on="0") == ""
    assert site.vm.firewall["log_level_in"] == "nolog"


def test_a_change_of_addresses_keeps_the_rules(site: Site) -> None:
    before = rich(site)
    site.order("change_package", configoption9="1")
    site.run()
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    assert site.lines() == before
    assert len(site.vm.ipsets["ipfilter-net0"]) == 2
    assert site.vm.firewall["policy_in"] == "DROP"


def test_edits_are_counted_and_the_end_of_a_trial_is_not(tmp_path: Path) -> None:
    site = Site(tmp_path)
    object.__setattr__(site.config, "web", {**site.config.web, "edits_per_hour": 2})
    assert site.add(service="SSH") == ""
    assert site.submit("policy", policy_in="drop", policy_out="accept") == ""
    assert "often enough" in site.add(service="Web")
    assert site.submit("back") == ""
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    site.close()


def test_terminate_leaves_nothing(site: Site) -> None:
    site.add(service="SSH")
    site.submit("policy", policy_in="drop", policy_out="accept")
    site.order("terminate")
    site.run()
    site.work(120)
    assert site.phase() == ""
    assert 20000 not in site.cluster.vms


def test_a_rule_of_staffs_keeps_the_names_that_it_says(site: Site) -> None:
    """Of sets and services the customer has none; what the form has left alone is no fault of theirs."""
    site.vm.ipsets["bad"] = ["2001:db8:bad::7"]
    site.vm.rules.append(
        {"type": "in", "action": "DROP", "proto": "tcp", "source": "+bad", "dest": "2001:db8::1", "dport": "ssh",
         "enable": 1}
    )  # fmt: skip
    fields = {"way": "in", "action": "drop", "proto": "tcp", "source": "+bad", "dest": "2001:db8::1", "dport": "ssh"}
    assert site.submit("edit", rule="0", **fields, comment="mine") == ""
    assert site.lines() == ["in drop tcp +bad 2001:db8::1 ssh"]
    assert "mine" in site.see()
    assert "neither an address" in site.submit("edit", rule="0", **(fields | {"source": "+worse"}))
    assert "neither an address" in site.add(**fields)


ODD = (  # as staff writes them, or another tool of theirs
    "IN ACCEPT -source +dc/office -p 6 -dport ssh -log info # a",
    "IN Ceph(ACCEPT) -i net0 -source home # b",
    "IN SSH(DROP) -source +bad -p tcp # c",
    "OUT DROP -p icmp -dport echo-request # d",
    "IN REJECT -p icmp -icmp-type TOS-host-redirect # e",
    "IN ACCEPT -source 10/8,1.2.3.4 -p tcp -dport http,https,8000:8100 # f",
    "IN ACCEPT -p 47 # g",
    "|IN ACCEPT -source 2001:DB8::1 -p ipv6-icmp # h",
    "IN DHCPfwd(ACCEPT) # i",
)


@pytest.mark.parametrize("line", ODD)
def test_whatever_staff_has_written_is_edited_without_losing_anything(line: str, site: Site) -> None:
    """The form as a browser sends it back, with another comment; then each button."""
    site.vm.ipsets["bad"], site.cluster.dc_sets, site.cluster.dc_aliases = [], ["office"], ["home"]
    site.vm.rules = [parsed(line), parsed("OUT DROP -p tcp -dport 25")]
    [before, _] = site.rules()
    page = site.see()
    for word in (*before.source.split(","), before.service, before.comment):
        assert word in page
    sent = {f: str(v) for f, v in web._values(before).items()}
    assert site.submit("edit", rule="0", **{**sent, "comment": "now"}) == ""
    [after, _] = site.rules()
    assert replace(after, mark="", comment=before.comment) == before
    assert site.submit("switch", rule="0", on="0" if before.on else "1") == ""
    assert site.submit("move", rule="0", to="1") == ""
    [_, moved] = site.rules()
    assert moved == replace(after, on=not before.on)


def test_a_longer_comment_of_staffs_is_kept_and_nobody_elses_is(site: Site) -> None:
    words = "who asked for this and when " * 25
    site.vm.rules = [parsed(f"IN ACCEPT -p tcp -dport 25 # {words}")]
    [before] = site.rules()
    assert site.submit("edit", rule="0", **{**web._values(before), "dport": "26"}) == ""
    assert [(r.dport, r.comment) for r in site.rules()] == [("26", before.comment)]
    assert "Comment: at most 100 characters" in site.add(proto="tcp", dport="25", comment=words)


def test_a_rule_whose_names_are_gone_is_told_at_its_field(site: Site) -> None:
    """The host does not apply it any more, and takes it only without them."""
    site.vm.ipsets["bad"] = []
    site.vm.rules = [parsed("IN DROP -source +bad -p tcp -dport 22")]
    sent = {f: str(v) for f, v in web._values(site.rules()[0]).items()}
    del site.vm.ipsets["bad"]
    said = site.submit("edit", rule="0", **{**sent, "comment": "now"})
    assert "does not take this rule" in site.html + said
    assert re.search(r'name="vmb\[source\]"[^>]*aria-invalid', site.html)
    assert site.phase() == ""
    assert site.submit("edit", rule="0", **{**sent, "source": ""}) == ""


@pytest.mark.parametrize("number", ["\u00b2", "9" * 5000, "-1", "1.5", "\u0661"])
def test_a_number_that_is_none_opens_an_empty_form(site: Site, number: str) -> None:
    assert "Add Rule" in site.submit("form", rule=number)
    assert "must be the number of a rule" in site.submit("delete", rule=number)


def test_the_plans_own_ways_in_and_who_looks_at_the_page_count(tmp_path: Path) -> None:
    """The customer's own address comes with the form; what shuts it out is asked first, and a rule for it offered."""
    site = Site(tmp_path, ways_in=[2222])
    try:
        office = {"kind": "client", "id": 7, "name": "", "ip": "198.51.100.7"}

        def policy(**more: str) -> str:
            site.html = ""
            form = {"do": "policy", "policy_in": "drop", "policy_out": "accept", "version": site.version(), **more}
            site.shim.count += 1
            sent = {"params": {"userid": 7}, "actor": office, "form": form}
            reply = site.shim.send("POST", "/v1/services/1042/pages/firewall", sent)
            return str(reply.json["html"])

        assert "Nobody would be let in by port 2222" in policy()
        assert site.add(proto="tcp", dport="2222", source="192.0.2.0/24") == ""
        html = policy()
        assert "Your own address 198.51.100.7 would not be let in by port 2222" in html
        assert "from your address" in html
        assert policy(sure="1", ssh_first="1", port="2222", mine="1") == ""
        assert site.lines() == ["in accept tcp 192.0.2.0/24 2222", "in accept tcp 198.51.100.7 2222"]
        assert site.vm.firewall["policy_in"] == "DROP"
    finally:
        site.close()


def test_a_trial_is_not_kept_through_the_server_itself(site: Site) -> None:
    """A tunnel that was open goes on, whatever is closed: what comes from the server's own address says nothing."""
    site.add(service="SSH")
    assert site.submit("policy", policy_in="drop", policy_out="accept", sure="1") == ""
    site.see()
    sent = {"params": {"userid": 7}, "form": {"do": "keep", "until": site.until()}}
    for address, kept in (("203.0.113.10", False), ("::ffff:203.0.113.10", False), ("198.51.100.7", True)):
        actor = {"kind": "client", "id": 7, "name": "", "ip": address}
        reply = site.shim.send("POST", "/v1/services/1042/pages/firewall", {**sent, "actor": actor})
        assert bool(reply.json["redirect"]) is kept
        assert ("through the server itself" in reply.json["html"]) is not kept
        assert (site.phase() == "") is kept


ORDERS: dict[str, Any] = {  # in the sixty seconds of a trial
    "suspend": lambda s: s.order("suspend"),
    "stop": lambda s: s.page("power", "stop"),
    "hard stop": lambda s: s.page("power", "hard_stop", confirmed="1"),
    "reinstall": lambda s: s.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL"),
    "snapshot": lambda s: s.page("snapshots", "take", description="one"),
    "redeploy": lambda s: s.order("redeploy"),
    "another node": lambda s: s.cluster.migrate(20000, "pve1"),
    "another name": lambda s: s.order("rename", domain="new.example.com"),
}


@pytest.mark.parametrize("what", ORDERS)
def test_whatever_is_ordered_meanwhile_a_trial_is_taken_back(what: str, site: Site) -> None:
    assert site.add(service="SSH") == ""
    assert site.submit("policy", policy_in="drop", policy_out="accept", sure="1") == ""
    ORDERS[what](site)
    site.run(5)
    site.work(61)
    site.run()
    site.work(LOST_REPLY)
    assert site.store.operations_of(1, 1)[0].state.value == "done"
    assert site.vm.firewall["policy_in"] == "ACCEPT"
    assert site.lines() == ["in accept SSH"]
    assert site.phase() == "undone"
    assert "has been taken back" in site.see()


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "nonsense", "", "fc00::1", None, {"a": 1}])
def test_an_address_beside_whmcs_is_nobodys(address: Any) -> None:
    assert actions._outside(actions._address(address)) == ""
