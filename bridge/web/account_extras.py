"""What the dashboard has beside its daily pages: the ledger, what-if, what changed, and the two files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

from bridge.accounts.nouns import HOSTING, Account, Line
from bridge.costs import calendars, events, ledger, past, what_if
from bridge.costs.events import Event
from bridge.errors import Forbidden
from bridge.model import Sentence
from bridge.web import language
from bridge.web.account_views import Writes, part

KINDS = {
    "invoice": Sentence("Invoice"),
    "payment": Sentence("Payment"),
    "refund": Sentence("Refund"),
    "credit_added": Sentence("Credit added"),
    "credit_taken": Sentence("Credit used"),
}
STATES = {  # of an invoice
    "paid": Sentence("paid"),
    "unpaid": Sentence("not paid yet"),
    "collections": Sentence("not paid yet"),
    "paymentpending": Sentence("its payment is under way"),
    "cancelled": Sentence("cancelled"),
    "refunded": Sentence("refunded"),
}
HEADINGS = {
    "date": Sentence("Date"),
    "kind": Sentence("What"),
    "invoice": Sentence("Invoice"),
    "gateway": Sentence("Payment method"),
    "amount": Sentence("Amount"),
    "currency": Sentence("Currency"),
    "credit_after": Sentence("Credit after"),
}
CYCLES = {
    "monthly": Sentence("monthly"),
    "quarterly": Sentence("every 3 months"),
    "semiannually": Sentence("every 6 months"),
    "annually": Sentence("yearly"),
    "biennially": Sentence("every 2 years"),
    "triennially": Sentence("every 3 years"),
}
WHY_NOT = {
    "no_service": Sentence("This service is not there any more, or its price cannot be read."),
    "not_running": Sentence("This service is not charged again, so there is nothing to compare."),
    "own_price": Sentence("Its price is its own or has options in it: what it would cost otherwise is not known here."),
    "not_offered": Sentence("This is not offered for this service."),
}
MONTHS = 13  # that the ledger offers
MOST = 500  # services to choose from
AHEAD = 365  # days of the calendar
ENTRIES = 2000  # of the calendar at most, by whole days: more is no file that comes whole through WHMCS


def name_of(line: Line) -> str:
    return line.name or line.product_name or f"#{line.id}"


def anomalies(account: Account, words: Writes) -> list[tuple[Line, Sentence]]:
    """The lines whose next charge is not as ever, each with its sentence."""
    odd = []
    for a in past.anomalies(account, words.used):
        old, new = words.money(a.old), words.money(a.new_amount)
        if a.new:
            said = Sentence("new since %(day)s: %(amount)s", day=words.day(a.since), amount=new)
        else:
            said = Sentence("%(old)s before, %(new)s now", old=old, new=new)
        odd.append((a.line, said))
    return odd


def ledger_page(account: Account, words: Writes) -> dict[str, Any]:
    """One month, and the months that can be chosen."""
    first, book = account.today.replace(day=1), ledger.ledger(account)
    shown = date.fromisoformat(f"{account.ask.month}-01") if account.ask.month else first
    months = [events.later(first, -n) for n in range(MONTHS)]
    return {
        "ledger": book,
        "entries": part(book.entries, account.ask.skip),
        "shown": shown,
        "months": [(f"{m:%Y-%m}", words.month(m)) for m in (months if shown in months else [*months, shown])],
        "kinds": KINDS,
        "states": STATES,
    }


@dataclass(frozen=True)
class Choice:
    """`what`: cancel, cycle or product; `query` leads to it."""

    title: Sentence
    query: str
    chosen: bool


def what_if_page(account: Account, words: Writes) -> dict[str, Any]:
    """Services to choose from, what can be asked of the chosen one, and the answer."""
    services = [line for line in account.lines if line.kind == HOSTING and what_if.choices(account, line)]
    ask = account.ask
    line = what_if.line_of(account, ask.service) if ask.service else next(iter(services), None)
    offered = services[:MOST]
    if line and line not in offered:  # what is asked about stands in the choice, whatever the answer is
        offered = [line, *offered]
    values: dict[str, Any] = {"services": offered, "line": line, "choices": [], "answer": None, "why": ""}
    if ask.service and line is None:
        return values | {"why": WHY_NOT["no_service"]}
    if line is None:
        return values
    values["choices"] = [
        _choice(account, line, kind, product, cycle, ask.product, ask.cycle)
        for kind, product, cycle in what_if.choices(account, line)
    ]
    answer = what_if.what_if(account, line.id, ask.cycle, ask.product, words.used)
    if isinstance(answer, str):
        return values | {"why": WHY_NOT[answer]}
    return values | {"answer": answer, "more": answer.saves < 0, "differs": abs(answer.saves) > Fraction(1, 200)}


def _choice(
    account: Account, line: Line, kind: str, product: int, cycle: str, asked_product: int, asked_cycle: str
) -> Choice:
    query = f"&vmb[service]={line.id}"
    if kind == what_if.CANCEL:
        return Choice(Sentence("cancel it"), query, not (asked_product or asked_cycle))
    if kind == "cycle":
        chosen = asked_cycle == cycle and not asked_product
        return Choice(Sentence("pay %(cycle)s", cycle=CYCLES[cycle]), f"{query}&vmb[cycle]={cycle}", chosen)
    name = account.products[product].name
    return Choice(
        Sentence("change to %(name)s", name=name), f"{query}&vmb[product]={product}", asked_product == product
    )


def csv_file(account: Account, words: Writes, host: str) -> dict[str, str]:
    """`{text, name, type}`, as for the calendar. Raises Forbidden for a user who may not see invoices."""
    _may(account, "invoices")
    month = account.ask.month or f"{account.today:%Y-%m}"
    said: Mapping[str, Sentence] = {**HEADINGS, **KINDS}

    def say(word: str) -> str:
        return language.translate(said[word])

    # the heading of the column "invoice" and the kind are the same word
    return {"text": ledger.as_csv(account, say), "name": f"ledger-{month}.csv", "type": "text/csv"}


def calendar_file(account: Account, words: Writes, host: str) -> dict[str, str]:
    """`text`, `name`, `type`: the charges of the next AHEAD days as a file. Raises Forbidden without the permission."""
    _may(account, "invoices")
    if not account.may & {"products", "domains"}:
        raise Forbidden("Ask the account's owner for access to services and domains.", code="no_permission")

    def say(event: Event) -> str:
        return f"{name_of(event.line)}: {words.money(event.gross)}"

    name, own = language.translate(Sentence("Charges to come")), urlsplit(host).hostname or "vmbridge"
    entries = events.events(account, AHEAD, words.used)
    if len(entries) > ENTRIES:
        end = entries[ENTRIES].taken
        entries = [e for e in entries if e.taken < end]
        name = language.translate(Sentence("Charges to come, before %(day)s", day=words.day(end)))
    text = calendars.calendar(account, entries, own, name, say)
    return {"text": text, "name": "charges.ics", "type": "text/calendar"}


def _may(account: Account, permission: str) -> None:
    if permission not in account.may and "owner" not in account.may:
        raise Forbidden("Ask the account's owner for access to invoices.", code="no_permission")
