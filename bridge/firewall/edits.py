"""Changes of a firewall, as records that can be kept: each finds its rule again in whatever list there is by then,
and knows its own undoing.

Rules have no ids at a back end. One of ours has a mark; any other is named by what it says and, among equal ones, by
its number. A change that is applied twice is applied once; one whose rule somebody else has changed meanwhile is a
conflict, and nothing is overwritten.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from bridge.errors import Refused
from bridge.model import Firewall, Rule, Sentence

Edit = dict[str, Any]
Name = list[Any]  # [mark, what it says, its number among those that say the same]
POLICIES = ("policy_in", "policy_out", "logs")
EMPTY = {f.name: f.default for f in fields(Rule)}
CHANGED = Sentence(
    "Somebody else has changed the firewall meanwhile, so nothing of yours was written. Below it is as it is now."
)


class Conflict(Refused):
    code = "firewall_changed"
    sentence = CHANGED


def new_mark() -> str:
    return secrets.token_hex(4)


def packed(rule: Rule) -> dict[str, Any]:
    """As JSON keeps it."""
    return asdict(rule)


def unpacked(data: dict[str, Any]) -> Rule:
    return Rule(**{**data, "kept": tuple((k, v) for k, v in data.get("kept", ()))})


def says(rule: Rule) -> str:
    return json.dumps(packed(rule), sort_keys=True)


def listed(rules: Sequence[Rule]) -> str:
    """A whole list in short, to be compared, also by another release: what a rule leaves empty does not count."""
    said = [{k: v for k, v in packed(r).items() if v != EMPTY.get(k)} for r in rules]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def lists(result: str | list[str], rules: Sequence[Rule]) -> bool:
    """Whether a record's result is this list. Releases before kept what each rule says."""
    if isinstance(result, str):
        return result == listed(rules)
    return [unpacked(json.loads(r)) for r in result] == list(rules)


def name_of(rules: Sequence[Rule], place: int) -> Name | None:
    """None beyond the ends."""
    if not 0 <= place < len(rules):
        return None
    rule = rules[place]
    return [rule.mark, says(rule), sum(r == rule for r in rules[:place])]


def find(rules: Sequence[Rule], name: Name | None) -> int | None:
    if name is None:
        return None
    mark, text, number = name
    if mark:
        return next((i for i, r in enumerate(rules) if r.mark == mark), None)
    rule = unpacked(json.loads(text)) if text else None
    equal = [i for i, r in enumerate(rules) if r == rule]
    return equal[min(number, len(equal) - 1)] if equal else None


# -- making them ----------------------------------------------------------------------------------
def add(now: Firewall, rule: Rule) -> Edit:
    """Behind the last of the customer's rules: never before one of the host's that stands above them."""
    place = end_of_own(now.rules)
    return {"do": "add", "rule": packed(replace(rule, mark=rule.mark or new_mark())), **_between(now.rules, place)}


def put(now: Firewall, place: int, rule: Rule) -> Edit:
    old = now.rules[place]
    new = replace(rule, mark=old.mark or new_mark())
    return {"do": "put", "name": name_of(now.rules, place), "old": packed(old), "rule": packed(new)}


def drop(now: Firewall, place: int) -> Edit:
    old = now.rules[place]
    count = sum(r == old for r in now.rules)
    return {"do": "drop", "name": name_of(now.rules, place), "old": packed(old), "count": count}


def move(now: Firewall, place: int, to: int) -> Edit:
    """`to` is the place that it has afterwards."""
    rest = [r for i, r in enumerate(now.rules) if i != place]
    result = listed((*rest[:to], now.rules[place], *rest[to:]))
    return {"do": "move", "name": name_of(now.rules, place), "result": result, **_between(rest, to)}


def settings(now: Firewall, **to: Any) -> Edit:
    return {"do": "set", "was": {k: getattr(now, k) for k in to}, "to": to}


def goal(wanted: Firewall) -> Edit:
    """The whole of it: what a backup has overwritten comes back."""
    return {"do": "goal", "rules": [packed(r) for r in wanted.rules], **{k: getattr(wanted, k) for k in POLICIES}}


def end_of_own(rules: Sequence[Rule]) -> int:
    """The place behind the customer's last rule; the end while there is none."""
    own = [i for i, r in enumerate(rules) if not r.locked]
    return own[-1] + 1 if own else len(rules)


def _between(rules: Sequence[Rule], place: int) -> Edit:
    return {"after": name_of(rules, place - 1), "before": name_of(rules, place)}


# -- applying them --------------------------------------------------------------------------------
def applied(edit: Edit, now: Firewall) -> Firewall:
    """The firewall with the edit done; `now` itself when it is done already. Raises Conflict."""
    return {"add": _add, "put": _put, "drop": _drop, "move": _move, "set": _set, "goal": _goal}[edit["do"]](edit, now)


def _add(edit: Edit, now: Firewall) -> Firewall:
    rule = unpacked(edit["rule"])
    place = next((i for i, r in enumerate(now.rules) if r.mark == rule.mark), None)
    rest = [r for i, r in enumerate(now.rules) if i != place]
    if place is not None:
        half = replace(rule, on=False)
        if now.rules[place] == rule and (rule.on or place > 0):
            return now
        if now.rules[place] not in (rule, half):  # somebody else goes on with it
            return now
    return replace(now, rules=_with(rest, rule, edit))


def _with(rest: list[Rule], rule: Rule, edit: Edit) -> tuple[Rule, ...]:
    before, after = find(rest, edit["before"]), find(rest, edit["after"])
    place = before if before is not None else after + 1 if after is not None else end_of_own(rest)
    return (*rest[:place], rule, *rest[place:])


def _put(edit: Edit, now: Firewall) -> Firewall:
    old, new = unpacked(edit["old"]), unpacked(edit["rule"])
    place = find(now.rules, [new.mark, "", 0])
    if place is None:
        place = find(now.rules, edit["name"])
    if place is None or now.rules[place] not in (old, new):
        raise Conflict()
    return replace(now, rules=(*now.rules[:place], new, *now.rules[place + 1 :]))


def _drop(edit: Edit, now: Firewall) -> Firewall:
    old, place = unpacked(edit["old"]), find(now.rules, edit["name"])
    if place is None or (not old.mark and sum(r == old for r in now.rules) < edit["count"]):
        return now
    if now.rules[place] != old:
        raise Conflict()
    return replace(now, rules=(*now.rules[:place], *now.rules[place + 1 :]))


def _move(edit: Edit, now: Firewall) -> Firewall:
    if lists(edit["result"], now.rules):  # of equal rules nobody can tell which one was moved
        return now
    place = find(now.rules, edit["name"])
    if place is None:
        raise Conflict()
    rest = [r for i, r in enumerate(now.rules) if i != place]
    if find(rest, edit["before"]) is None and find(rest, edit["after"]) is None and rest:
        raise Conflict()
    return replace(now, rules=_with(rest, now.rules[place], edit))


def _set(edit: Edit, now: Firewall) -> Firewall:
    for key, value in edit["to"].items():
        if getattr(now, key) not in (value, edit["was"][key]):
            raise Conflict()
    return replace(now, **edit["to"])


def _goal(edit: Edit, now: Firewall) -> Firewall:
    rules = tuple(unpacked(r) for r in edit["rules"])
    return replace(now, rules=rules, **{k: edit[k] for k in POLICIES})


# -- and back -------------------------------------------------------------------------------------
def undoing(edit: Edit, before: Firewall) -> Edit:
    """What takes the edit back, made from the firewall as it was before it."""
    do, rules = edit["do"], before.rules
    if do == "add":
        return {"do": "drop", "name": [edit["rule"]["mark"], "", 0], "old": edit["rule"], "count": 1}
    if do == "put":
        former = {**edit["old"], "mark": edit["rule"]["mark"]}
        return {"do": "put", "name": [former["mark"], "", 0], "old": edit["rule"], "rule": former}
    if do == "set":
        return {"do": "set", "was": edit["to"], "to": edit["was"]}
    place = find(rules, edit["name"]) or 0
    rest = [r for i, r in enumerate(rules) if i != place]
    if do == "drop":
        old = replace(unpacked(edit["old"]), mark=edit["old"]["mark"] or new_mark())
        return {"do": "add", "rule": packed(old), **_between(rest, place)}
    return {"do": "move", "name": edit["name"], "result": listed(rules), **_between(rest, place)}
