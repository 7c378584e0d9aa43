"""The page of a server's firewall and its forms: direct edits, no operations."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from flask import request

from bridge import assets, customer
from bridge.customer import Ask, firewalls
from bridge.errors import BadRequest, Forbidden, Refused, VmbridgeError
from bridge.firewall import grammar
from bridge.model import Capability, Desired, Rule, Sentence, Service
from bridge.web import language, media
from bridge.web.assets import THROUGH_SHIM
from bridge.web.auth import body, context
from bridge.web.page import Page, edited, register
from drivers.base import Driver

SORTABLE = "sortable.js"
FIELDS = ("way", "action", "service", "proto", "source", "sport", "dest", "dport", "icmp", "comment")
# what people want most, in their words: its name, and what it stands for where the back end has no name for it
PRESETS = (
    ("SSH", Sentence("SSH (port 22)")),
    ("Web", Sentence("Web: HTTP and HTTPS (ports 80 and 443)")),
    ("Mail", Sentence("Mail: SMTP and Submission (ports 25, 465 and 587)")),
    ("Ping", Sentence("Ping")),
    ("RDP", Sentence("Remote Desktop, RDP (port 3389)")),
)
ACTIONS = {
    "accept": Sentence("ACCEPT"),
    "drop": Sentence("DROP"),
    "reject": Sentence("REJECT"),
}
NO_LOG = Sentence("The log cannot be read here. Our staff can tell more.")
AT_ONCE = 100  # rules of a table
SLOW = 10  # seconds until the host has taken a change over


# -- the page -------------------------------------------------------------------------------------
def content(service: Service) -> dict[str, Any]:
    """Values of the firewall's page: the rules as they are, the change on trial, and why nothing can be changed now."""
    at, driver = context(), context().drivers[service.server]
    plan = at.config.plans[service.package.plan]
    entry = firewalls.entries_of(service, plan.values["ways_in"]).ports[0]
    view = firewalls.view(
        service, most_of(plan.values["firewall_rules"], driver), entry, media.reads(), at.store, driver
    )
    why = media.why(service, Capability.FIREWALL)
    change = view["change"]
    if not why and view["firewall"] is not None:
        why = language.translate(view["off"])
    if not why and change:
        why = language.translate(firewalls.ON_TRIAL if change["phase"] == "trial" else firewalls.ANOTHER)
    state = [view["firewall"], why, change and (change["phase"], change["until"]), view["ending"]]
    form = asked_form()
    return {
        **view,
        "why": why,
        "full": language.translate(Sentence(firewalls.FULL.template, n=view["count"], m=view["limit"]))
        if view["firewall"] and view["count"] >= view["limit"]
        else "",
        "off": language.translate(view["off"]) if view["firewall"] is not None else "",
        "ending": language.translate(view["ending"]),
        "problem": language.translate(view["problem"]),
        "can": driver.firewall_can,
        "presets": [(n, language.translate(t)) for n, t in PRESETS if n in driver.firewall_services],
        "services": listed(driver),
        "service_words": {n: port_words(p) for n, p in driver.firewall_services.items()},
        "actions": {k: language.translate(v) for k, v in ACTIONS.items()},
        "protocols": driver.firewall_protocols or grammar.PROTOCOLS,
        "any_protocol": not driver.firewall_protocols,
        "icmp_types": list(dict.fromkeys(t for types in grammar.ICMP.values() for t in types)),
        "slow": SLOW,
        "firewall_state": hashlib.sha256(repr(state).encode()).hexdigest()[:12],
        "editing": chosen(view["firewall"], form),
        "blank": _values(Rule("in", "accept")),
        **portion(view["firewall"], form),
        "rule_actions": {
            k: language.translate(v) for k, v in ACTIONS.items() if k == "accept" or "drop" in driver.firewall_can
        },
        "sortable": {"name": SORTABLE, "path": THROUGH_SHIM[SORTABLE], "version": assets.version()}
        if "order" in driver.firewall_can and assets.built(THROUGH_SHIM[SORTABLE])
        else None,
        "show_form": form.get("do") in ("form", "add", "edit"),
        "log": dropped(service, driver) if form.get("do") == "log" and not view["problem"] else None,
        "trial_seconds": int(firewalls.TRIAL),
        "way_in": language.translate(firewalls.way_of(entry)),
    }


def asked_form() -> dict[str, Any]:
    """What a browser has sent, when this page answers a form."""
    form = body().get("form") if request.method == "POST" else None
    return form if isinstance(form, dict) else {}


def portion(firewall: Any, form: dict[str, Any]) -> dict[str, Any]:
    """Of a long list the part that is asked for, or that has the rule which the form is about: {first, numbered:
    (place, rule, its fields that say something) of each, portions: (first, last) of what can be gone to from here}."""
    rules = firewall.rules if firewall is not None else ()
    asked = number_of(str(form.get("first") or form.get("rule") or "")) or 0
    first = max(0, min(asked, len(rules) - 1)) // AT_ONCE * AT_ONCE
    last = max(0, len(rules) - 1) // AT_ONCE * AT_ONCE
    begins = {0, first - AT_ONCE, first, first + AT_ONCE, last}
    return {
        "first": first,
        "numbered": [
            (first + i, r, {k: v for k, v in _values(r).items() if v})
            for i, r in enumerate(rules[first : first + AT_ONCE])
        ],
        "portions": [(at, min(at + AT_ONCE, len(rules)) - 1) for at in sorted(begins) if 0 <= at <= last],
    }


def chosen(firewall: Any, form: dict[str, Any]) -> dict[str, Any] | None:
    """The rule in the form: what was written, else the rule that is to be edited, else an empty one."""
    asked = number_of(str(form.get("rule") or ""))
    at = asked if asked is not None and firewall is not None and asked < len(firewall.rules) else None
    rule = firewall.rules[at] if at is not None else Rule("in", "accept")
    values = _values(rule)
    if form.get("do") in ("add", "edit"):
        values |= {f: str(form.get(f) or "") for f in FIELDS}
    return {**values, "number": "" if at is None else at}


def _values(rule: Rule) -> dict[str, Any]:
    """A rule as the fields of its form have it."""
    return {f: getattr(rule, f).replace(":", "-") if f in ("sport", "dport") else getattr(rule, f) for f in FIELDS}


def listed(driver: Driver) -> list[tuple[str, str]]:
    """All names for ports but the presets, each in words: `MySQL: tcp 3306`."""
    first = {n for n, _ in PRESETS}
    return [(n, f"{n}: {port_words(p)}") for n, p in sorted(driver.firewall_services.items()) if n not in first]


def port_words(ports: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{proto} {port}".replace(":", "-").strip() for proto, port in ports)


def dropped(service: Service, driver: Driver) -> dict[str, Any]:
    """`rows` of the log, or none and a `problem` in the reader's language."""
    try:
        rows = firewalls.dropped(service, media.reads(), context().store, driver)
    except VmbridgeError:
        return {"rows": [], "problem": language.translate(NO_LOG)}
    return {"rows": rows, "problem": ""}


# -- forms ----------------------------------------------------------------------------------------
def _change(ask: Ask, make: firewalls.Make) -> None:
    service = customer.allow_edit(Capability.FIREWALL, ask)
    asked = firewalls.Asked(
        str(ask.form.get("version") or ""),
        bool(ask.form.get("sure")),
        ask.caller.actor,
        firewalls.entries_of(service, ask.config.plans[service.package.plan].values["ways_in"], ask.caller.address),
    )
    firewalls.change(service, make, asked, media.reads(), ask.store, ask.drivers[service.server])


def _number(ask: Ask, name: str = "rule") -> int:
    number = number_of(str(ask.form.get(name) or ""))
    if number is None:
        raise BadRequest(Sentence("Rule: must be the number of a rule in the table."), code="bad_rule")
    return number


def number_of(text: str, digits: int = 5) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def _rule(ask: Ask, old: Rule | None) -> Rule:
    driver = ask.drivers[ask.service.server]

    def field(name: str) -> str:
        longest = grammar.LONGEST_COMMENT if name == "comment" else grammar.LONGEST_LIST
        return ask.text(name, grammar.LABELS[name], max(longest, len(getattr(old, name, ""))))  # staff may write more

    can, services = driver.firewall_can, driver.firewall_services
    return driver.plain_rule(grammar.rule_of(field, can, services, old, driver.firewall_protocols))


def policy(ask: Ask) -> None:
    words = grammar.ACTIONS
    to = {k: grammar.one_of(k, ask.text(k, grammar.LABELS[k]).lower(), words) for k in ("policy_in", "policy_out")}
    if ask.form.get("ssh_first"):
        let_ssh_in(ask)
    _change(ask, firewalls.settings(**to))


def let_ssh_in(ask: Ask) -> None:
    """The rule for the way in, before the policy is changed that would shut it out; the form then goes on from
    there."""
    port, source = number_of(str(ask.form.get("port") or "22"), 5) or 22, ask.caller.address
    rule = way_rule(ask.drivers[ask.service.server], port, source if ask.form.get("mine") == "1" else "")
    _change(ask, firewalls.add(rule, limit_of(ask)))
    now = ask.drivers[ask.service.server].firewall(ask.store.service(ask.service.id).ref)
    ask.form["version"] = now.version  # type: ignore[index]


def way_rule(driver: Driver, port: int, source: str = "") -> Rule:
    """Lets one way in, from everywhere or from one address."""
    if port == 22 and not source:
        return ssh_rule(driver)
    way = language.translate(firewalls.way_of(port))
    comment = language.translate(Sentence("%(way)s from everywhere", way=way))
    if source:
        comment = language.translate(Sentence("%(way)s from %(address)s", way=way, address=source))
    return driver.plain_rule(Rule("in", "accept", "", "tcp", source, dport=str(port), comment=comment))


def ssh_rule(driver: Driver) -> Rule:
    comment = language.translate(Sentence("SSH from everywhere"))
    return driver.plain_rule(Rule("in", "accept", "SSH", comment=comment))


def limit_of(ask: Ask) -> int:
    return most_of(ask.config.plans[ask.service.package.plan].values["firewall_rules"], ask.drivers[ask.service.server])


def most_of(rules: int, driver: Driver) -> int:
    """What the plan sells, and no more than the back end can have."""
    return min(rules, driver.firewall_most or rules)


def add(ask: Ask) -> None:
    rule = ssh_rule(ask.drivers[ask.service.server]) if ask.form.get("preset") == "ssh" else _rule(ask, None)
    _change(ask, firewalls.add(rule, limit_of(ask)))


def edit(ask: Ask) -> None:
    def new(old: Rule) -> Rule:
        return replace(_rule(ask, old), on=old.on, mark=old.mark)

    _change(ask, firewalls.put(_number(ask), new))


def switch(ask: Ask) -> None:
    on = ask.form.get("on") == "1"
    _change(ask, firewalls.put(_number(ask), lambda old: replace(old, on=on)))


def delete(ask: Ask) -> None:
    _change(ask, firewalls.drop(_number(ask)))


def move(ask: Ask) -> None:
    number = _number(ask)
    to = number - 1 if ask.form.get("up") else number + 1 if ask.form.get("down") else _number(ask, "to")
    _change(ask, firewalls.move(number, to))


def logging(ask: Ask) -> None:
    _change(ask, firewalls.settings(logs=ask.form.get("on") == "1"))


def _trial(ask: Ask) -> Service:
    """What a trial needs is never counted, and waits for nothing."""
    service = customer.still_theirs(ask)
    if not customer.may_see(service, Capability.FIREWALL, ask.drivers, ask.config):
        raise Forbidden(Sentence("Access Denied"), code="access_denied")
    if service.desired is not Desired.ACTIVE:
        raise Refused(Sentence("The service is suspended."), code="suspended")
    return service


def _until(ask: Ask) -> float:
    """Which trial the page showed: when it ends. 0 where it says none."""
    try:
        return float(str(ask.form.get("until") or 0))
    except ValueError:
        return 0.0


def keep(ask: Ask) -> None:
    firewalls.keep(_trial(ask), _until(ask), ask.store, ask.caller.address)


def take_back(ask: Ask) -> None:
    service = _trial(ask)
    firewalls.take_back(service, _until(ask), media.reads(), ask.store, ask.drivers[service.server])


CLOSING = firewalls.CLOSING
register(
    Page(
        Capability.FIREWALL,
        Sentence("Firewall"),
        "fas fa-shield-alt",
        100,
        content,
        hindrance=edited,
        listed=True,
        edits={
            "policy": policy,
            "add": add,
            "edit": edit,
            "switch": switch,
            "delete": delete,
            "move": move,
            "logging": logging,
            "keep": keep,
            "back": take_back,
        },
        looks=frozenset({"form", "log", "part"}),
    )
)
