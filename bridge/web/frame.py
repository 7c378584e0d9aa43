"""What every customer page shows around its content: state, power, menu, what runs, what there is to say."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from flask import g, render_template, request

from bridge import causes, customer, kinds, languages, names, recipes, room
from bridge.dns.records import offered
from bridge.kinds import KINDS
from bridge.metering import status
from bridge.model import Capability, Desired, Operation, Sentence, Service, State
from bridge.orders.upgrades import LABELS
from bridge.orders.wanted import networks_of
from bridge.web import filters, language
from bridge.web.auth import context, guard
from bridge.web.dimmed import Often, power_reasons
from bridge.web.page import PAGES

SENTENCES = {
    State.STAFF: Sentence("A member of our staff has to act first, and has been told."),
    State.CANCELLED: Sentence("This was cancelled."),
    State.SUPERSEDED: Sentence("A newer order took its place."),
}
LONGER = Sentence("This takes longer than usual; it goes on by itself.")
RUNNING_FOR = Sentence("It has been running for %(time)s.")
AT_FIELD = 'id="vmb-wrong"'
TOLD_FOR = 60.0  # a success is said once, in passing
QUIET_FOR = 24 * 3600.0  # an old failure is history


def questions(service: Service) -> dict[tuple[str, str], tuple[str, str]]:
    """What is asked before an action on this server's machines, and the button that says yes; by (capability,
    action)."""
    kept = context().drivers[service.server].snapshots_survive
    return {
        form: ((kept and kind.ask_where_kept) or kind.ask or "", kind.ask_button or "")
        for form, kind in customer.asking().items()
    }


def timeline(op: Operation | None, service: Service) -> dict[str, Any] | None:
    """The newest operation in plain words; steps not yet begun are listed too."""
    if op is None:
        return None
    store = context().store
    begun = {r["name"]: r for r in store.steps(op.id)}
    recipe, steps = recipes.BOOK.of(op, service), []
    done = recipe.place(op.step) if recipe else 0
    for position, step in enumerate(recipe.steps if recipe else ()):
        if step.undo and not op.memory.ending:
            continue
        row = begun.get(step.name)
        state = row["state"] if row else "todo"
        if op.state.value == "done" or position < done:
            state = "done"
        took = row["ended_at"] - row["started_at"] if row and row["ended_at"] else None
        steps.append(
            {
                "title": step.title,
                "state": state,
                "took": took,
                "started": row["started_at"] if row else None,
                "no_room": op.waits_for_room and position == done,
            }
        )
    past = store.past_durations(op.kind)
    running = op.state.value in ("running", "waiting")
    left = None
    if past and op.started_at and running:
        guess = statistics.median(past) - (store.clock.now() - op.started_at)
        left = guess if guess >= 1 else None  # what is over already says nothing of its end
    no_room = room.sentence(op, service)
    return {
        "op": op,
        "steps": steps,
        "left": left,
        "running": running,
        "position": min(done + 1, len(steps)),
        "words": headline(op),
        "sentences": [s for s in said(op, no_room) if s],
        "ordered": KINDS[op.kind].ordered if running and op.kind in KINDS else None,
        "referred": op.state in (State.FAILED, State.STAFF) or (bool(op.error_code) and not no_room),
        "open": op.kind in KINDS and KINDS[op.kind].watched,
        **next_steps(op, service),
    }


def headline(op: Operation) -> Sentence | str:
    """What an operation that is shown above the page's content is called."""
    if op.state is State.FAILED:
        return causes.failed(op)
    if op.state is State.STAFF:
        return causes.waits(op)
    return kinds.running(op.kind) if op.state.value in ("running", "waiting") else kinds.title(op.kind)


def said(op: Operation, no_room: Sentence | str) -> list[Sentence | str]:
    """What is told of an operation beside its words: why it failed and what was kept, or how it stands."""
    if op.state is State.FAILED:
        told = Sentence("Our staff has been told.") if context().store.noticed(op.id) else ""
        return [causes.cause(op), causes.kept(op), told]
    if op.state is State.STAFF:
        return [causes.cause(op), SENTENCES[op.state]]
    if op.state in SENTENCES:
        return [SENTENCES[op.state]]
    if no_room or not op.error_code:
        return [no_room]
    return [LONGER, causes.cause(op)]


def next_steps(op: Operation, service: Service) -> dict[str, Any]:
    """What its customer can do about an operation that did not end well: `ticket` is WHMCS's page for one, `again` the
    form that orders it once more, {capability, why, question}; None where only staff can."""
    ended = op.state in customer.again.ENDED
    steps: dict[str, Any] = {
        "ticket": ticket(op, service) if op.state in (State.FAILED, State.STAFF) else "",
        "again": None,
    }
    if ended and op.kind in customer.ORDERED_BY:
        steps["again"] = again(op, service)
    return steps


def again(op: Operation, service: Service) -> dict[str, str]:
    """The button of a failed operation: `capability` it is ordered under, `why` it cannot be pressed, `question` before
    it."""
    at, kind = context(), KINDS[op.kind]
    capability, action = customer.ORDERED_BY[op.kind]
    current = at.store.current_operation(service.id)
    why = customer.reason(service, Capability(capability), at.drivers, current, at.store, at.config, told=True)
    why = why or Often(service)(op.kind)
    question = ""
    if customer.again.asks(kind):
        question = language.translate(questions(service)[capability, action][0], name=about(op, service))
    return {"capability": capability, "why": language.translate(why), "question": question}


def ticket(op: Operation, service: Service) -> str:
    """The address of WHMCS's page that opens a ticket, with what is to be said of an operation filled in."""
    return ticket_about(causes.failed(op), op.id, service)


def refused_by_host(capability: str, service: Service) -> dict[str, Any]:
    """What its customer can do about a form that the host refused: its ticket names this request."""
    what = Sentence("%(page)s: a change was refused.", page=PAGES[capability].heading(service))
    return {"reference": g.reference, "ticket": ticket_about(what, g.reference, service), "again": None}


def ticket_about(what: Sentence, reference: str, service: Service) -> str:
    """The address of WHMCS's page for a new ticket, subject and text in the client's language. What stands in it are
    WHMCS's own names (its templates supportticketsubmit-*.tpl)."""
    department = context().config.whmcs[service.whmcs]["ticket_department"]
    subject = language.translate(Sentence("%(what)s (%(name)s)", what=what, name=service.hostname))
    message = language.translate(
        Sentence("Service %(id)s, reference %(reference)s.", id=service.service_id, reference=reference)
    )
    step = {"step": "2", "deptid": str(department)} if department else {}
    values = {**step, "subject": subject, "message": message + "\n\n", "relatedservice": f"S{service.service_id}"}
    return f"submitticket.php?{urlencode(values)}"


def zone_of(service: Service) -> str:
    at = context()
    schedule = at.store.schedule(service.id)
    return str(schedule["time_zone"] if schedule else at.config.plans[service.package.plan].values["time_zone"])


def system_of(service: Service) -> Callable[[str], str]:
    """The names that people read for systems, by the word of a plan."""
    own: dict[str, str] = context().config.plans[service.package.plan].values["system_names"]
    return lambda word: own.get(word) or names.system_label(word)


def about(op: Operation, service: Service) -> str:
    """The thing that it was done with, as its page calls it; empty where that is the whole server."""
    asked = op.memory
    if asked.template:
        return system_of(service)(asked.template)
    if asked.backup:
        row = context().store.backup_row(service.id, asked.backup)
        return filters.when(row["made_at"], zone_of(service)) if row else ""
    return asked.description or asked.note or asked.name


def finished(service: Service, current: Operation | None) -> dict[str, Any] | None:
    """What has just ended well, in one line: its words, what it was done with and how long it took; None while
    something runs."""
    store = context().store
    last = None if current else store.newest(service.id)
    if last is None or last.state is not State.DONE or last.kind not in KINDS or not last.ended_at:
        return None
    if store.clock.now() - last.ended_at > TOLD_FOR:
        return None
    return {
        "words": KINDS[last.kind].succeeded,
        "about": about(last, service),
        "took": max(1, round(last.ended_at - (last.started_at or last.ended_at))),
    }


def place_of(service: Service) -> str:
    """Where the server stands, as its customer may know it: the provider's place, or the operator's node where the plan
    shows that."""
    at = context()
    told = str(at.store.about(service.server, service.vm_id).get("place") or "")
    own = "place" not in at.drivers[service.server].shows
    return told or ("" if own and not at.config.plans[service.package.plan].values["show_node"] else service.node)


def asked_lightly(verb: str, service: Service, now: dict[str, Any]) -> str:
    """What a click on Stop or Restart asks: what it does, and how long the server has been running."""
    question = language.translate(questions(service)["power", verb][0])
    if not now.get("uptime"):
        return question
    return f"{question} {language.translate(RUNNING_FOR, time=filters.span(now['uptime']))}"


def main_address(service: Service) -> str:
    """The address by which customers reach the server; empty while it has none."""
    at = context()
    networks = networks_of(service.id, at.store, at.config)
    own = next((n.address for n in networks if n.role == "main"), "")
    return own or next(iter(service.birth.addresses), "")


def shown_operation(service: Service, current: Operation | None, page: str) -> Operation | None:
    """What runs; else the last one, when it failed lately. On the Activity page what stands still has a row with the
    same words and buttons."""
    store = context().store
    if page == Capability.ACTIVITY and not (current and current.state in (State.RUNNING, State.WAITING)):
        return None
    newest = store.newest(service.id)
    if current or newest is None or newest.ended_at is None:
        return newest if newest and newest.ended_at is None else current
    lately = store.clock.now() - newest.ended_at < QUIET_FOR
    return newest if newest.state.value in ("failed", "cancelled") and lately else None


def menu(service: Service, current: Operation | None) -> list[dict[str, Any]]:
    """Every page the server can have; dimmed with the reason where it is not part of the product, or nothing can be
    done there just now. `open`: the link works all the same, since there is something to look at."""
    at = context()
    has = offered(service, at.drivers[service.server].capabilities, at.config)
    entries = []
    named = titles(language.current())
    for name, page in PAGES.items():
        if page.capability not in has:
            continue
        seen = customer.may_see(service, page.capability, at.drivers, at.config)
        lasting = not seen or service.desired is not Desired.ACTIVE or not service.provisioned
        why = page.hindrance(service, page.capability, current) if seen else Sentence("Not part of your plan.")
        title, button = named[name]
        if other := page.renamed(service):
            title = button = language.translate(other)
        entries.append(
            {
                "name": name,
                "title": title,
                "button": button,
                "icon": page.icon,
                "why": language.translate(why),
                "open": not lasting and page.listed,
            }
        )
    return entries


STATES = {
    "running": Sentence("Running"),
    "stopped": Sentence("Stopped"),
    "paused": Sentence("Paused"),
    "suspended": Sentence("Suspended"),
    "terminated": Sentence("Ended"),
    "building": Sentence("Being set up"),
    "unknown": Sentence("Not known"),
    "prelaunch": Sentence("Starting"),
    "io-error": Sentence("Disk error"),
}
SCRIPT = {
    "copied": Sentence("Copied"),
    "cancel": Sentence("Cancel"),
    "up": Sentence("up %(time)s"),
    "ago": Sentence("as of %(time)s ago"),
    "last_known": Sentence("last known %(time)s ago"),
    "rate": filters.RATE,
    "percent": Sentence("%(n)s %%"),
    "unknown_yet": Sentence("not known yet"),
}


@lru_cache(maxsize=64)
def words(code: str) -> dict[str, Any]:
    """What the script says, in a language."""
    texts: dict[str, Any] = {k: languages.in_language(code, v) for k, v in (STATES | SCRIPT).items()}
    return texts | {
        "sizes": [languages.in_language(code, s) for s in filters.SIZES],
        "traffic": [languages.in_language(code, s) for s in filters.TRAFFIC],
        "spans": [[languages.in_language(code, s), n] for s, n in filters.SPANS],
        "days": languages.plurals_in(code, *filters.DAYS),
        "lang": languages.tag_of(code),
    }


@lru_cache(maxsize=64)
def titles(code: str) -> dict[str, tuple[str, str]]:
    """Page -> (title, how the button on top says it), in a language."""
    return {
        name: (languages.in_language(code, page.title), languages.in_language(code, page.button or page.title))
        for name, page in PAGES.items()
    }


def key_of(now: dict[str, Any]) -> str:
    """Whether a page is still true: as the script makes it of each poll."""
    op = now.get("operation")
    doing = f"{op['id']}.{op['step']}.{op['state']}.{str(op['failing']).lower()}" if op else ""
    return f"{now['status']}/{now['desired']}/{str(now['trouble']).lower()}/{doing}/{now.get('told', 0)}"


def render(
    template: str,
    service: Service,
    capability: str,
    message: str = "",
    tone: str = "bad",
    content: Callable[[], dict[str, Any]] = dict,
    field: str = "",
    **more: Any,
) -> str:
    """One page inside the frame. `content` is read after what runs: should that end meanwhile, the page still says that
    it runs and its script looks again; the other way round a page would keep showing what was begun as not done. A
    message about a `field` of the form that was sent stands there."""
    at = context()
    current = at.store.current_operation(service.id)
    now = status.view_during(service, current, at.store)
    public, often = at.config.web["public_url"], Often(service)
    now["restart"] = [LABELS.get(w, w) for w in service.pending]
    return render_template(
        template,
        service=service,
        now=now,
        capability=capability,
        message="" if field else language.translate(message),
        wrong=(field, language.translate(message) if field else ""),
        tone=tone,
        timeline=timeline(shown_operation(service, current, capability), service),
        power_reasons=power_reasons(service, now, current, often),
        often=lambda act: language.translate(often(act)),
        limited=often,
        menu=menu(service, current),
        theme=request.args.get("theme", "bs4"),
        public_url=public.rstrip("/"),
        words=words(language.current()),
        language=language.current().replace("_", "-"),
        direction=language.direction(),
        token=guard().issue(service) if public and service.desired is Desired.ACTIVE else "",
        key=key_of(now),
        system=system_of(service),
        place=place_of(service),
        zone=zone_of(service),
        age=max(0, int(at.clock.now() - now["as_of"])) if "as_of" in now else None,
        clock=at.clock.now(),
        counter=[],
        questions=questions(service),
        question_of=lambda verb: asked_lightly(verb, service, now),
        finished=finished(service, current),
        main_address=main_address(service),
        os_user=service.package.os_user,
        about=at.store.about(service.server, service.vm_id),
        manual=at.config.plans[service.package.plan].values["manual_url"],
        **{"form": {}, **content(), **more},
    )
