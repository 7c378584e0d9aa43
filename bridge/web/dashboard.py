"""POST /v1/dashboard/<page>: the client's dashboard in WHMCS. What is shown comes with the question and is kept
nowhere; a page is a view of one Account (bridge/accounts) and its numbers (bridge/costs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from flask import Blueprint, Response, g, render_template, request

from bridge import languages
from bridge.accounts import wire
from bridge.accounts.nouns import HOSTING, Account
from bridge.costs import credit, money
from bridge.costs.lists import Attention
from bridge.errors import NotFound
from bridge.model import Sentence
from bridge.services import account_usage
from bridge.store.status import Machine
from bridge.web import account_extras, account_views, filters, frame, language
from bridge.web.auth import body, context, signed_look
from bridge.web.replies import success

routes = Blueprint("dashboard", __name__)
FRESH = 900.0  # seconds; an idle server is read every minute
NEARLY = Decimal("0.8")  # of a quota
TITLES = {
    "home": Sentence("Dashboard"),
    "dashboard": Sentence("Dashboard"),
    "list": Sentence("Services"),
    "addfunds": Sentence("Add funds"),
    "ledger": Sentence("Ledger"),
    "whatif": Sentence("What if"),
    "hub": Sentence("Account"),
    "verification": Sentence("Verification centre"),
}
MENU = {  # page -> icon
    "dashboard": "fas fa-tachometer-alt",
    "list": "fas fa-server",
    "addfunds": "fas fa-wallet",
    "ledger": "fas fa-book",
    "whatif": "fas fa-calculator",
    "hub": "fas fa-building",
    "verification": "fas fa-user-check",
}
NEEDS = {  # page -> the permissions of which one set is enough for something to be seen
    "list": ({"products"}, {"domains"}),
    "addfunds": ({"invoices"},),
    "ledger": ({"invoices"},),
    "whatif": ({"invoices", "products"},),
}
LEADS = {  # WHMCS's own page -> the permission without which WHMCS does not open it
    "details": "profile",
    "contacts": "contacts",
    "ticket": "tickets",
    "order": "orders",
    "invoices": "invoices",
    "users": "owner",
}


def _isolated(amount: str) -> str:
    """From left to right also within words of the other direction: sign and currency stay on their side."""
    return f"\u2066{amount}\u2069" if languages.direction_of(language.current()) == "rtl" else amount


class Words:
    """Amounts and days of an account as its client reads them."""

    def __init__(self, account: Account, used: credit.Usage, machines: Mapping[int, Machine]) -> None:
        self.account, self.used, self.machines = account, used, machines
        self.ours = [Attention("failed", HOSTING, n) for n, machine in machines.items() if machine.failed]
        self.ours += [Attention("no_backup", HOSTING, n) for n, machine in machines.items() if machine.no_backup]
        self.ours += [a for n, machine in machines.items() for a in _nearly_full(n, machine)]

    def money(self, value: Decimal | Fraction | int) -> str:
        return _isolated(money.shown(Fraction(value), self.account.currency))

    def machine(self, service: int) -> Sentence | None:
        """The machine's state, where it is known and no older than some minutes."""
        seen = self.machines.get(service)
        fresh = seen is not None and seen.seen_at > context().clock.now() - FRESH
        return frame.STATES.get(seen.status) if seen and fresh else None

    def hourly(self, value: Fraction) -> str:
        return _isolated(money.hourly(value, self.account.currency))

    def day(self, day: date | None) -> str:
        far = day is not None and day.year != self.account.today.year
        return languages.day_in(language.current(), day, far) if day else ""

    def month(self, day: date) -> str:
        return languages.month_in(language.current(), day)


def units(value: Decimal, unit: str) -> str:
    """So much of what is billed by use."""
    text = filters.number(float(value), 2 if unit else 0)
    return language.translate(filters.TRAFFIC[3], n=text) if unit == "GB" else f"{text} {unit}".rstrip()


def _nearly_full(service: int, machine: Machine) -> Iterator[Attention]:
    """Quotas of which nothing goes by itself. Whoever was sold one alone and uses it has what he wanted."""
    kept = context().drivers[machine.server].own_backups if machine.server in context().drivers else 0
    for what, used, sold, goes in (
        ("snapshots", machine.snapshots, machine.snapshots_sold, machine.snapshots_go),
        ("backups", machine.backups, machine.backups_sold, machine.backups_go or bool(kept)),
    ):
        if sold > 1 and used > NEARLY * sold and not goes:
            yield Attention("quota", HOSTING, service, values={"what": what, "used": used, "sold": sold})


def seen(account: Account) -> dict[str, tuple[str, Sentence]]:
    """The pages that there is something to see on: page -> (icon, title)."""
    return {
        page: (icon, TITLES[page])
        for page, icon in MENU.items()
        if page not in NEEDS or any(need <= account.may for need in NEEDS[page])
    }


@routes.post("/v1/dashboard/<page>")
@signed_look
def show(page: str) -> Response:
    """{html, title}; of a file {text, name, type}. Raises BadRequest for a body that is none, NotFound for a page that
    there is not."""
    language.choose(request.args.get("language", ""))
    if page not in VIEWS and page not in FILES:
        raise NotFound("There is no such page.", code="unknown_page")
    account = wire.read(body())
    words = Words(account, counted(account), machines(account))
    if page in FILES:
        return success(**FILES[page](account, words, context().config.whmcs[g.whmcs]["system_url"]))
    title = language.translate(TITLES[page])
    return success(html=render(page, account, words), title=title)


def counted(account: Account) -> credit.Usage:
    """What is billed by use, for who may see what it costs."""
    if not account.metered or "invoices" not in account.may:
        return {}
    at = context()
    return account_usage.used_of(account, g.whmcs, at.store, at.config.worker["usage_time_zone"])


def machines(account: Account) -> Mapping[int, Machine]:
    """Services of ours as they were last seen; nobody is asked."""
    ours = [line.id for line in account.lines if line.kind == HOSTING and line.ours]
    return {m.service_id: m for m in context().store.machines(g.whmcs, ours)}


def render(page: str, account: Account, words: Words) -> str:
    """The HTML of one page of the dashboard."""
    return render_template(
        f"dashboard/{page}.html",
        page=page,
        account=account,
        pages=seen(account),
        ask=account.ask,
        url={k: address for k, address in account.urls.items() if k not in LEADS or LEADS[k] in account.may},
        may=account.may,
        can_pay="invoices" in account.may,
        balance=credit.balance(account),
        theme=request.args.get("theme", "bs4"),
        language=language.current().replace("_", "-"),
        direction=language.direction(),
        money=words.money,
        hourly=words.hourly,
        day=words.day,
        month=words.month,
        units=units,
        anomalies=account_extras.anomalies(account, words) if page == "dashboard" else [],
        **VIEWS[page](account, words),
    )


VIEWS: dict[str, Callable[[Account, Words], dict[str, Any]]] = {
    "home": account_views.home,
    "dashboard": account_views.dashboard,
    "list": account_views.listed,
    "addfunds": account_views.add_funds,
    "hub": account_views.hub,
    "verification": account_views.verification,
    "ledger": account_extras.ledger_page,
    "whatif": account_extras.what_if_page,
}
FILES: dict[str, Callable[[Account, Words, str], dict[str, str]]] = {
    "csv": account_extras.csv_file,
    "calendar": account_extras.calendar_file,
}
