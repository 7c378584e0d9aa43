"""A machine's rules and policies: read, and brought nearer to what is wanted by one guarded call at a time.

What the API does (pve-firewall's API2/Firewall/Rules.pm and VM.pm): a new rule always goes to the top, and is off;
rules have no ids, only places; `moveto=N` puts a rule before the one that is now at N; every write but the making of
a rule is refused when the digest is not that of the present list; a field is cleared by `delete`. A rule of ours
bears a mark in its comment, by which it is found again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bridge.errors import Transient, VmbridgeError
from bridge.model import Dropped, Firewall, Rule, VmRef
from drivers.proxmox import convert, proof
from drivers.proxmox.api import Api

MARK = re.compile(r"(?:^| )\[vmb-([0-9a-f]{8})\]\Z")
STAFFS = "vmbridge:"  # what a comment begins with that makes a rule the host's
NO_RULES = "da39a3ee5e6b4b0d3255bfef95601890afd80709"  # the digest of an empty list: SHA-1 of nothing
FIELDS = {  # ours -> PVE's
    "service": "macro",
    "proto": "proto",
    "source": "source",
    "sport": "sport",
    "dest": "dest",
    "dport": "dport",
    "icmp": "icmp-type",
}
KEPT = ("iface", "log")
POLICY = {"policy_in": "DROP", "policy_out": "ACCEPT"}  # PVE's defaults
MOST_PAIRS = 250_000  # that are compared each with each: 500 rules with 500
LOG_ON, LOG_OFF = "info", "nolog"
LOG_FOR, LOG_LINES, SHOWN = 3600, 5000, 100  # seconds back, lines read, lines shown
BY_HAND = {
    "machine": "VM > Firewall > Options > Firewall = Yes",
    "adapter": "VM > Hardware > Network Device (net0) > Firewall, ticked",
}
LINE = re.compile(r"^\d+ \d+ \S+-(IN|OUT) (\S+ [+-]\d{4}) (?:policy )?(DROP|REJECT): (.*)\Z")


def read(api: Api, ref: VmRef) -> Firewall:
    """Three reads: whose machine it is and whether its adapter is filtered, options, rules."""
    node, config = proof.present(api, ref)
    base = f"nodes/{node}/qemu/{ref.vm_id}/firewall"
    options = api.get(f"{base}/options")
    rows = sorted(api.get(f"{base}/rules"), key=lambda r: int(r["pos"]))
    policies = {k: str(options.get(k, default)).lower() for k, default in POLICY.items()}
    return Firewall(
        tuple(rule_of(r) for r in rows),
        policies["policy_in"],
        policies["policy_out"],
        logs=str(options.get("log_level_in", LOG_OFF)) != LOG_OFF,
        version=f"{rows[0].get('digest', '') if rows else NO_RULES}.{options.get('digest', '')}",
        off=_off(options, config),
    )


def _off(options: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    if not int(options.get("enable") or 0):
        return "machine"
    return "" if convert.parse_line(str(config.get("net0", ""))).get("firewall") == "1" else "adapter"


def off(api: Api, ref: VmRef, node: str, config: Mapping[str, Any]) -> str:
    """One read: of a machine whose configuration is known."""
    return _off(api.get(f"nodes/{node}/qemu/{ref.vm_id}/firewall/options"), config)


def rule_of(row: Mapping[str, Any]) -> Rule:
    """One row of the API's. Security groups, and what is marked as the host's, are locked."""
    kind, comment = str(row.get("type", "")), str(row.get("comment") or "")
    mark = MARK.search(comment)
    locked = kind not in ("in", "out") or comment.lower().startswith(STAFFS)
    return Rule(
        kind,
        str(row.get("action", "")) if kind not in ("in", "out") else str(row.get("action", "")).lower(),
        **{ours: str(row[theirs]) for ours, theirs in FIELDS.items() if row.get(theirs) not in (None, "")},
        comment=comment[: mark.start()] if mark and not locked else comment,
        on=bool(int(row.get("enable") or 0)),
        mark=mark.group(1) if mark and not locked else "",
        locked=locked,
        kept=tuple((k, str(row[k])) for k in KEPT if row.get(k) not in (None, "")),
    )


def row_of(rule: Rule) -> dict[str, Any]:
    """As the API takes it; without what is empty."""
    comment = f"{rule.comment} [vmb-{rule.mark}]".strip() if rule.mark else rule.comment
    row: dict[str, Any] = {
        "type": rule.way,
        "action": rule.action.upper() if rule.way in ("in", "out") else rule.action,
        "enable": int(rule.on),
        **{theirs: getattr(rule, ours) for ours, theirs in FIELDS.items()},
        "comment": comment,
        **dict(rule.kept),
    }
    return {k: v for k, v in row.items() if v != ""}


def change(api: Api, ref: VmRef, now: Firewall, wanted: Firewall) -> bool:
    """One call. First what opens, then what is new, places, contents, what goes, and last what closes."""
    node, _ = proof.present(api, ref)
    base = f"nodes/{node}/qemu/{ref.vm_id}/firewall"
    rules_version, _, options_version = now.version.partition(".")
    method, path, values = step(now, wanted)
    if path == "options":
        values["digest"] = options_version
    elif method != "post":  # the making of a rule does not look at it
        values["digest"] = rules_version
    words = {k.replace("-", "__"): v for k, v in values.items()}
    try:
        getattr(api, method)(f"{base}/{path}", **words)
    except VmbridgeError as e:
        if "detected modified configuration" in e.detail or "no rule at position" in e.detail:
            raise Transient(code="firewall_changed", detail=e.detail) from None
        named = [ours for ours, theirs in (("way", "type"), *FIELDS.items()) if theirs in e.extra.get("fields", ())]
        e.extra["field"] = named[0] if named else ""
        raise
    return False


def step(now: Firewall, wanted: Firewall) -> tuple[str, str, dict[str, Any]]:
    """(method, path, values) of the next call; the two must differ."""
    opening, closing = _options(now, wanted)
    if opening:
        return "put", "options", opening
    return _rules(now.rules, wanted.rules) or ("put", "options", closing)


def _options(now: Firewall, wanted: Firewall) -> tuple[dict[str, Any], dict[str, Any]]:
    """What can be written at once, and what has to wait until the rules are there."""
    options: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for key in POLICY:
        if (value := getattr(wanted, key)) != getattr(now, key):
            options[value != "accept"][key] = value.upper()
    if wanted.logs != now.logs:
        options[0].update(dict.fromkeys(("log_level_in", "log_level_out"), LOG_ON if wanted.logs else LOG_OFF))
    return options


def _rules(now: Sequence[Rule], wanted: Sequence[Rule]) -> tuple[str, str, dict[str, Any]] | None:
    pairs = paired(now, wanted)
    taken = set(pairs.values())
    missing = [w for i, w in enumerate(wanted) if i not in taken]
    if missing:  # the last first: each goes to the top
        return "post", "rules", {**row_of(replace(missing[-1], on=False)), "enable": 0}
    if (move := _move(len(now), pairs)) is not None:
        return "put", f"rules/{move[0]}", {"moveto": move[1]}
    for place, goal in pairs.items():
        if now[place] == wanted[goal]:
            continue
        have, want = row_of(now[place]), row_of(wanted[goal])
        if have != want:
            gone = [k for k in have if k not in want]
            return "put", f"rules/{place}", {**want, **({"delete": ",".join(gone)} if gone else {})}
    extra = [i for i in range(len(now)) if i not in pairs]
    return ("delete", f"rules/{extra[-1]}", {}) if extra else None


def paired(now: Sequence[Rule], wanted: Sequence[Rule]) -> dict[int, int]:
    """Place now -> place wanted. First as many as can stay in their order, so that of equal rules none is moved for
    another; then those that move; and what is left on both sides, since a rule can be changed into another one. What
    both have in common at either end stays: an edit of a long list costs no more than one of a short."""
    most = min(len(now), len(wanted))
    head = next((i for i in range(most) if now[i] != wanted[i]), most)
    tail = next((i for i in range(most - head) if now[-1 - i] != wanted[-1 - i]), most - head)
    middle = _paired(now[head : len(now) - tail], wanted[head : len(wanted) - tail])
    pairs = {i: i for i in range(head)} | {head + i: head + goal for i, goal in middle.items()}
    return pairs | {len(now) - i: len(wanted) - i for i in range(1, tail + 1)}


def _paired(now: Sequence[Rule], wanted: Sequence[Rule]) -> dict[int, int]:
    if len(now) * len(wanted) > MOST_PAIRS:
        return _by_turns(now, wanted)
    alike = _likeness(now, wanted)
    pairs = _in_order(len(now), len(wanted), alike)
    taken = set(pairs.values())
    for goal in (g for g in range(len(wanted)) if g not in taken):
        there = [i for i in range(len(now)) if i not in pairs and alike(i, goal)]
        if there:
            pairs[max(there, key=lambda i: alike(i, goal))] = goal
    return _rest(now, wanted, pairs)


def _by_turns(now: Sequence[Rule], wanted: Sequence[Rule]) -> dict[int, int]:
    """Of lists that are too long to be compared each with each: the same rule, word for word, the first with the
    first."""
    places: dict[Rule, list[int]] = {}
    for place in range(len(now) - 1, -1, -1):
        places.setdefault(now[place], []).append(place)
    pairs = {}
    for goal, rule in enumerate(wanted):
        if places.get(rule):
            pairs[places[rule].pop()] = goal
    return _rest(now, wanted, pairs)


def _rest(now: Sequence[Rule], wanted: Sequence[Rule], pairs: dict[int, int]) -> dict[int, int]:
    taken = set(pairs.values())
    left = [i for i in range(len(now)) if i not in pairs], [i for i in range(len(wanted)) if i not in taken]
    for place, goal in zip(*left, strict=False):
        if now[place].locked == wanted[goal].locked:
            pairs[place] = goal
    return pairs


def _likeness(now: Sequence[Rule], wanted: Sequence[Rule]) -> Callable[[int, int], int]:
    """3: the same rule, by its mark or word for word; 2: it says the same and has no other one's mark; 0: another."""
    marks = {r.mark for r in now if r.mark} & {r.mark for r in wanted if r.mark}
    bare = [[row_of(replace(r, mark="", on=True)) for r in rules] for rules in (now, wanted)]

    def alike(place: int, goal: int) -> int:
        a, b = now[place], wanted[goal]
        if a.mark in marks or b.mark in marks:
            return 3 if a.mark == b.mark else 0
        return 3 if a == b else 2 if bare[0][place] == bare[1][goal] else 0

    return alike


def _in_order(have: int, want: int, alike: Callable[[int, int], int]) -> dict[int, int]:
    """The pairs, rising on both sides, that are most alike together (an alignment by dynamic programming)."""
    best = [[0] * (want + 1) for _ in range(have + 1)]
    for i in range(have - 1, -1, -1):
        for j in range(want - 1, -1, -1):
            score = alike(i, j)
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + score if score else 0)
    pairs, i, j = {}, 0, 0
    while i < have and j < want:
        score = alike(i, j)
        if score and best[i][j] == best[i + 1][j + 1] + score:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _move(length: int, pairs: Mapping[int, int]) -> tuple[int, int] | None:
    """(place, moveto) that brings one rule into order while as many as possible stay where they are; None when all
    are."""
    places = sorted(pairs)
    staying = _rising([pairs[p] for p in places])
    if len(staying) == len(places):
        return None
    moving = next(i for i in range(len(places)) if i not in staying)
    behind = [places[i] for i in staying if pairs[places[i]] > pairs[places[moving]]]
    return places[moving], min(behind) if behind else length


def _rising(goals: Sequence[int]) -> set[int]:
    """The indexes of a longest rising run, of several the one that ends first (patience sorting)."""
    ends: list[int] = []  # of the runs by their length: the index with the least goal
    least: list[int] = []
    before: list[int] = []
    longest = -1
    for i, goal in enumerate(goals):
        at = bisect_left(least, goal)
        if at == len(least):
            longest = i
        before.append(ends[at - 1] if at else -1)
        ends[at : at + 1], least[at : at + 1] = [i], [goal]
    places = set()
    while longest >= 0:
        places.add(longest)
        longest = before[longest]
    return places


# -- what was dropped -----------------------------------------------------------------------------
def log(api: Api, ref: VmRef, now: float) -> list[Dropped]:
    """Of the last hour. The node writes one line a second at most, unless it was told otherwise."""
    node, _ = proof.present(api, ref)
    base = f"nodes/{node}/qemu/{ref.vm_id}/firewall"
    rows = api.get(f"{base}/log", since=max(0, int(now - LOG_FOR)), limit=LOG_LINES)
    lines = [d for r in rows if (d := dropped(str(r.get("t") or ""))) is not None]
    return lines[: -SHOWN - 1 : -1]


def dropped(line: str) -> Dropped | None:
    """`VMID LEVEL CHAIN TIME ACTION: PACKET`, as pvefw-logger writes it; None for anything else."""
    match = LINE.match(line.strip())
    if not match:
        return None
    try:
        at = datetime.strptime(match.group(2), "%d/%b/%Y:%H:%M:%S %z").timestamp()
    except ValueError:
        at = 0.0
    words = dict(w.split("=", 1) for w in match.group(4).split() if "=" in w)
    keys = ("PROTO", "SRC", "SPT", "DST", "DPT")
    proto, source, sport, dest, dport = (words.get(k, "")[:60] for k in keys)
    return Dropped(at, match.group(1).lower(), proto.lower(), source, sport, dest, dport)


# -- switches -------------------------------------------------------------------------------------
def switches(api: Api) -> dict[str, str]:
    """Node -> what keeps firewalls there from filtering; one read for the cluster and one for each node that is on."""
    off = "" if int(api.get("cluster/firewall/options").get("enable") or 0) else "cluster"
    reasons = {"": off}
    for row in api.get("cluster/status"):
        if row.get("type") == "node" and int(row.get("online") or 0):
            options = api.get(f"nodes/{row['name']}/firewall/options")
            node = "" if int(options.get("enable", 1) or 0) else "node"
            reasons[str(row["name"])] = off or node or ("engine" if int(options.get("nftables") or 0) else "")
    return reasons
