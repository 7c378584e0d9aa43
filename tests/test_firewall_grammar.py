"""What people write into the form of a rule: named field by field, and whatever is taken here is taken by Proxmox
VE's own grammar with the same meaning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import BadRequest
from bridge.firewall import edits, grammar, ways
from bridge.model import Firewall, Rule
from drivers.proxmox import rules
from drivers.proxmox.driver import Proxmox
from drivers.proxmox.macros import MACROS
from tests.pve import firewalls as pve
from tests.pve import macros as theirs

CAN = Proxmox.firewall_can
BASE = {"way": "in", "action": "accept"}


def made(**form: str) -> Rule:
    values = {**BASE, **form}
    return grammar.rule_of(lambda name: values.get(name, ""), CAN, MACROS, None)


def taken(rule: Rule) -> dict[str, Any]:
    """As Proxmox VE reads it back from its file; raises what it says against it."""
    row = {k: str(v) for k, v in rules.row_of(rule).items()}
    assert pve.schema_faults(row) == {}
    kept = pve.verified({k: v for k, v in row.items() if v not in ("", "-")}, pve.Names())
    [line] = pve.lines_of(pve.written(kept))
    return pve.verified(pve.parsed(line), pve.Names())


GOOD: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"service": "SSH"}, {"service": "SSH"}),
    ({"source": "ANY"}, {"source": ""}),
    ({"source": "192.0.2.1, 198.51.100.0/24"}, {"source": "192.0.2.1,198.51.100.0/24"}),
    ({"source": "192.0.2.1 - 192.0.2.9"}, {"source": "192.0.2.1-192.0.2.9"}),
    ({"source": "2001:DB8::0001/128"}, {"source": "2001:db8::1/128"}),
    ({"dest": "2001:db8:0::/48", "proto": "icmpv6", "icmp": "echo-request"}, {"dest": "2001:db8::/48"}),
    ({"proto": "TCP", "dport": "80, 443,8000-8100"}, {"proto": "tcp", "dport": "80,443,8000:8100"}),
    ({"proto": "udp", "sport": "0053"}, {"sport": "53"}),
    ({"proto": "icmp", "icmp": "echo-request"}, {"icmp": "echo-request"}),
    ({"proto": "gre"}, {"proto": "gre"}),
    ({"comment": "# a | b -p [x]  "}, {"comment": "# a | b -p [x]  "}),
]


@pytest.mark.parametrize(("form", "fields"), GOOD)
def test_what_is_taken(form: dict[str, str], fields: dict[str, str]) -> None:
    rule = made(**form)
    assert {k: getattr(rule, k) for k in fields} == fields
    assert rules.rule_of({**taken(rule), "pos": 0}) == rules.rule_of({**taken(rules.rule_of(taken(rule))), "pos": 0})


BAD: list[tuple[str, dict[str, str], str]] = [
    ("way", {"way": "sideways"}, "Direction: “sideways” is not one of: IN, OUT."),
    ("action", {"action": "allow"}, "Action"),
    ("service", {"service": "Doom"}, "Service: “Doom” is not one of the list."),
    ("proto", {"proto": "0"}, "Protocol: “0”"),
    ("proto", {"proto": "tcp", "service": "SSH"}, "the service says it already"),
    ("source", {"source": "192.0.2.300"}, "Source: “192.0.2.300” is neither"),
    ("source", {"source": "10"}, "neither an address"),
    ("source", {"source": "192.0.2.7/24"}, "Did you mean 192.0.2.0/24?"),
    ("source", {"source": "192.0.2.0/255.255.255.0"}, "neither"),
    ("source", {"source": "192.0.2.0/33"}, "neither"),
    ("source", {"source": "fe80::1%eth0"}, "neither"),
    ("source", {"source": "192.0.2.1,"}, "neither"),
    ("source", {"source": "192.0.2.9-192.0.2.1"}, "ends before it begins"),
    ("source", {"source": "192.0.2.1-2001:db8::1"}, "neither"),
    ("source", {"source": "192.0.2.1-192.0.2.9,198.51.100.1"}, "stands alone"),
    ("source", {"source": "192.0.2.1,2001:db8::1"}, "IPv4 and IPv6 cannot stand in one rule"),
    ("source", {"source": "+staffs"}, "neither"),
    ("source", {"source": ",".join(f"192.0.2.{n}" for n in range(60))}, "at most 512"),
    ("dest", {"source": "192.0.2.1", "dest": "2001:db8::1"}, "both be IPv4 or both IPv6"),
    ("source", {"source": "2001:db8::1", "proto": "icmp"}, "icmp is of IPv4"),
    ("dport", {"dport": "80"}, "Destination port: only tcp"),
    ("dport", {"dport": "80", "proto": "icmp"}, "only tcp"),
    ("dport", {"dport": "0", "proto": "tcp"}, "“0” is neither a port"),
    ("dport", {"dport": "65536", "proto": "tcp"}, "neither a port"),
    ("dport", {"dport": "90-80", "proto": "tcp"}, "“90-80” ends before it begins"),
    ("dport", {"dport": "ssh", "proto": "tcp"}, "neither a port"),
    ("dport", {"dport": "٢٢", "proto": "tcp"}, "neither a port"),
    ("dport", {"dport": ",".join(str(n) for n in range(1, 17)), "proto": "tcp"}, "at most 15 numbers"),
    ("sport", {"sport": "80,", "proto": "tcp"}, "Source port"),
    ("icmp", {"icmp": "echo-request", "proto": "tcp"}, "ICMP type: only icmp, icmpv6 have types"),
    ("icmp", {"icmp": "packet-too-big", "proto": "icmp"}, "can be one of: echo-request"),
    ("dport", {"proto": "tcp", "dport": "80,,443"}, "“80,,443” is neither"),
    ("source", {"source": "192.0.2.1,"}, "“192.0.2.1,” is neither"),
    ("comment", {"comment": "VMBridge: ours"}, "means something to us"),
    ("comment", {"comment": "x [vmb-12345678]"}, "means something to us"),
    ("comment", {"comment": "x" * 101}, "at most 100"),
]


@pytest.mark.parametrize(("field", "form", "said"), BAD)
def test_what_is_refused_names_its_field(field: str, form: dict[str, str], said: str) -> None:
    with pytest.raises(BadRequest) as e:
        made(**form)
    assert said in e.value.sentence
    assert e.value.extra["field"] == field
    assert e.value.sentence.startswith(grammar.LABELS[field] + ": ")


OCTET = st.integers(0, 255)
V4 = st.builds(lambda a, b, c, d: f"{a}.{b}.{c}.{d}", OCTET, OCTET, OCTET, OCTET)
V6 = st.builds(lambda a, b: f"2001:db8:{a:x}::{b:x}", st.integers(0, 65535), st.integers(0, 65535))
ONE = st.one_of(
    V4, V6, st.builds(lambda a, n: f"{a}/{n}", st.one_of(V4, V6), st.integers(0, 129)),
    st.builds(lambda a, b: f"{a}-{b}", V4, V4), st.sampled_from(["any", "-", "", "10", "::", "0.0.0.0/0", "::/0", "+x",
      "a.b", "1.2.3.4%5"]),
)  # fmt: skip
NUMBER = st.integers(0, 70000).map(str)
PORT = st.one_of(
    NUMBER, st.builds(lambda a, b: f"{a}:{b}", NUMBER, NUMBER), st.sampled_from(["any", "ssh", " 80 ", "-"])
)
FORM = st.fixed_dictionaries(
    {
        "way": st.sampled_from(["in", "out", "IN"]),
        "action": st.sampled_from(["accept", "drop", "reject", ""]),
        "service": st.sampled_from(["", "", "", *MACROS]),
        "proto": st.sampled_from(["", "any", *grammar.PROTOCOLS, "6", "0", "bogus"]),
        "source": st.lists(ONE, max_size=3).map(",".join),
        "sport": st.lists(PORT, max_size=3).map(",".join),
        "dest": st.lists(ONE, max_size=2).map(",".join),
        "dport": st.lists(PORT, max_size=9).map(",".join),
        "icmp": st.sampled_from(["", "", "any", *grammar.ICMP["icmp"], *grammar.ICMP["icmpv6"], "0"]),
        "comment": st.text(st.characters(exclude_categories=("C", "Z")), max_size=30),
    }
)


@settings(max_examples=600, deadline=None)
@given(FORM)
def test_what_is_taken_here_is_taken_there_with_the_same_meaning(form: dict[str, str]) -> None:
    try:
        rule = made(**form)
    except BadRequest as e:
        assert e.extra["field"] in grammar.LABELS
        return
    try:
        back = rules.rule_of({**taken(rule), "pos": 0})
    except pve.Wrong as e:
        known = rule.service and "IPv" not in str(e)  # a service of one family with addresses of the other
        raise AssertionError(f"{rule} is refused: {e}") from None if not known else e
    marked = rules.rule_of({**taken(rule), "pos": 0})
    assert back == marked
    assert back.comment == " ".join(rule.comment.split())
    assert back.on == rule.on
    for field in ("way", "action", "service", "proto", "source", "sport", "dest", "dport", "icmp"):
        assert getattr(back, field) == getattr(rule, field), field


def test_services_are_what_the_hypervisor_means_by_them() -> None:
    for name, ports in MACROS.items():
        assert ports == tuple((line["proto"], line.get("dport", "")) for line in theirs.MACROS[name]), name
    assert set(grammar.ICMP["icmp"]) <= theirs.ICMP4
    assert set(grammar.ICMP["icmpv6"]) <= theirs.ICMP6
    assert set(grammar.PROTOCOLS) <= pve.PROTOCOLS


# -- who is let in --------------------------------------------------------------------------------------
SSH = Rule("in", "accept", "SSH")
WEB = Rule("in", "accept", "Web")
CLOSED = Firewall((SSH,), "drop")


def wall(*lines: Rule, policy: str = "drop") -> Firewall:
    return Firewall(lines, policy)


@pytest.mark.parametrize(
    ("before", "after", "closes"),
    [
        (wall(policy="accept"), wall(policy="drop"), True),
        (wall(policy="accept"), wall(policy="reject"), True),
        (wall(policy="drop"), wall(policy="accept"), False),
        (wall(SSH), wall(), True),
        (wall(SSH), wall(SSH, SSH), False),
        (wall(SSH, SSH), wall(SSH), False),
        (wall(SSH), wall(Rule("in", "accept", proto="tcp", dport="1:100")), False),
        (wall(SSH), wall(Rule("in", "accept", proto="6", dport="22,80")), False),
        (wall(SSH), wall(Rule("in", "accept", "SSH", source="0.0.0.0/0")), True),  # IPv6 is shut out
        (wall(SSH), wall(Rule("in", "accept", "SSH", source="192.0.2.0/24")), True),
        (wall(SSH), wall(Rule("in", "accept", "SSH", on=False)), True),
        (wall(SSH), wall(Rule("in", "accept", "SSH", sport="1:1023")), True),
        (wall(SSH), wall(Rule("in", "accept", "SSH", dest="203.0.113.9")), True),
        (wall(SSH), wall(Rule("in", "drop", source="198.51.100.7"), SSH), True),
        (wall(SSH), wall(SSH, Rule("in", "drop")), False),
        (wall(SSH), wall(Rule("in", "drop", proto="udp"), SSH), False),
        (wall(SSH), wall(Rule("in", "drop", proto="tcp", dport="80"), SSH), False),
        (wall(SSH), wall(Rule("out", "drop"), SSH), False),
        (wall(Rule("in", "accept", "RDP")), wall(), True),
        (wall(Rule("in", "accept", "Web")), wall(), False),
        (wall(Rule("in", "drop", "SSH"), SSH), wall(Rule("in", "drop", "SSH")), False),
        (wall(SSH, Rule("in", "drop", proto="tcp", dport="ssh")), wall(Rule("in", "drop", proto="tcp", dport="ssh"),
          SSH),
         True),  # staff's spelling
        (wall(Rule("in", "accept", proto="tcp", dport="ms-wbt-server")), wall(), True),
        (wall(Rule("in", "drop", "SSH"), SSH, policy="accept"), wall(policy="accept"), False),
        (wall(Rule("in", "accept", "SSH", source="192.0.2.1"), Rule("in", "accept", "SSH", source="192.0.2.2")),
         wall(Rule("in", "accept", "SSH", source="192.0.2.0/30")), False),
        # of a set or an alias nothing is known: what may be taken from somebody is a trial, and what is not is none
        (wall(Rule("in", "accept", "SSH", source="+office")), wall(), True),
        (wall(Rule("in", "accept", "SSH", source="10/8")), wall(), True),
        (wall(SSH, Rule("in", "drop", source="+bad")), wall(Rule("in", "drop", source="+bad"), SSH), True),
        (wall(SSH, Rule("in", "drop", source="home")), wall(SSH), False),
        (wall(Rule("in", "drop", source="+bad"), SSH), wall(SSH), False),
        (wall(Rule("in", "drop", source="+bad"), SSH), wall(Rule("in", "drop", source="+bad"), SSH, WEB), False),
        (wall(Rule("in", "accept", "SSH", dest="alias")), wall(), True),
    ],
)  # fmt: skip
def test_what_closes_the_way_in(before: Firewall, after: Firewall, closes: bool) -> None:
    assert ways.closes(before, after, MACROS, ("203.0.113.10", "2001:db8::10")) is closes


@pytest.mark.parametrize(
    ("before", "after", "shut"),
    [
        (wall(SSH), wall(), ways.Shut(22)),
        (wall(SSH), wall(Rule("in", "accept", "SSH", source="0.0.0.0/0")), ways.Shut(22, 6)),
        (wall(SSH), wall(Rule("in", "accept", "SSH", source="::/0")), ways.Shut(22, 4)),
        (wall(SSH), wall(Rule("in", "accept", "SSH", source="192.0.2.0/24"),
                         Rule("in", "accept", "SSH", source="::/0")),
         ways.Shut(22, 4, "198.51.100.7")),
        (wall(SSH), wall(Rule("in", "accept", "SSH", source="198.51.100.0-198.51.100.9"),
                         Rule("in", "accept", "SSH", source="2001:db8::/48")), None),
        (wall(policy="accept"), wall(SSH), None),  # nobody comes by Remote Desktop to a Linux
        (wall(Rule("in", "accept", "RDP"), Rule("in", "accept", proto="tcp", dport="2200:2300")), wall(),
         ways.Shut(2222)),
        (wall(Rule("in", "accept", "RDP")), wall(), ways.Shut(3389)),
        (wall(), wall(SSH), None),
    ],
)  # fmt: skip
def test_who_is_shut_out_is_said(before: Firewall, after: Firewall, shut: Any) -> None:
    own, ports = ("203.0.113.10", "2001:db8::10"), (22, 2222, 3389)
    assert ways.shuts(before, after, MACROS, own, ports, "198.51.100.7") == shut


def test_a_family_that_the_server_has_not_is_missed_by_nobody() -> None:
    only4 = wall(Rule("in", "accept", "SSH", source="0.0.0.0/0"))
    assert ways.shuts(wall(SSH), only4, MACROS, ("203.0.113.10",)) is None
    assert ways.shuts(wall(SSH), only4, MACROS, ("203.0.113.10",), viewer="2001:db8:9::1") is None


def test_an_own_port_of_ssh_is_a_way_in_where_no_other_is_open() -> None:
    moved, web = Rule("in", "accept", proto="tcp", dport="2222"), Rule("in", "accept", proto="tcp", dport="80,443")
    assert ways.closes(wall(moved, web), wall(web), MACROS)
    assert not ways.closes(wall(moved, web), wall(moved), MACROS)
    assert not ways.closes(wall(SSH, moved), wall(SSH), MACROS)
    assert ways.closes(wall(SSH, moved), wall(SSH), MACROS, (), (22, 2222))


def test_a_destination_counts_when_it_is_the_servers() -> None:
    both = wall(Rule("in", "accept", "SSH", dest="203.0.113.10"))
    assert ways.open_to_any(both, 22, MACROS, ("203.0.113.10",))
    assert not ways.open_to_any(both, 22, MACROS, ())


def test_of_equal_rules_none_is_moved_twice_whichever_release_goes_on() -> None:
    """What a record says of the list is compared without what a rule leaves empty; releases before kept the rules."""
    one, other = Rule("in", "accept", proto="tcp", dport="22"), Rule("in", "drop")
    before, done = Firewall((one, one, other)), Firewall((one, other, one))
    edit = edits.move(before, 0, 2)
    assert edits.applied(edit, before) == done
    for result in (edit["result"], [edits.says(r) for r in done.rules]):
        assert edits.applied({**edit, "result": result}, done) == done
        assert edits.applied({**edit, "result": result}, before) == done
    short = "935861437ba3aeae18d6db3cf6d4ed994307e83fb5fc18c587dc7975d537e229"
    assert edits.listed([one]) == short  # also where a later release knows more of a rule
