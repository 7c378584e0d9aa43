"""What each page of the dashboard shows, as values for its template. Nothing here is stored or asked for elsewhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from bridge.accounts.columns import HORIZONS
from bridge.accounts.nouns import ACTIVE, ADDON, DOMAIN, HOSTING, SUSPENDED, Account, Family, Invoice, Line, Owned
from bridge.costs import credit, events, rates
from bridge.model import Sentence

SOON = 30  # days before its end in which a domain that is not renewed needs attention
COUNTERS = {  # of the list's filters
    "all": (Sentence("Total services"), "fas fa-layer-group"),
    "active": (Sentence("Active"), "fas fa-check-circle"),
    "suspended": (Sentence("Suspended"), "fas fa-pause-circle"),
    "ending": (Sentence("Termination requested"), "fas fa-calendar-times"),
    "attention": (Sentence("Needs attention"), "fas fa-exclamation-triangle"),
}
STATES = {
    "active": Sentence("Active"),
    "suspended": Sentence("Suspended"),
    "pending": Sentence("Pending"),
    "completed": Sentence("Completed"),
    "pendingtransfer": Sentence("Pending transfer"),
    "pendingregistration": Sentence("Pending registration"),
    "grace": Sentence("Grace period"),
    "redemption": Sentence("Redemption period"),
}
REASONS = {
    "bad_row": Sentence("could not be read"),
    "bad_amount": Sentence("its price cannot be read"),
    "negative_amount": Sentence("its price is below zero"),
    "bad_date": Sentence("its date cannot be read"),
    "no_due_date": Sentence("it has no next due date"),
    "long_past_due": Sentence("it has been due for more than a year"),
    "unknown_cycle": Sentence("its billing cycle is not known"),
    "unknown_status": Sentence("its status is not known"),
    "twice": Sentence("it came twice"),
    "unknown_parent": Sentence("what it belongs to is not known"),
}
NO_FUNDS = {
    "off": Sentence("Adding funds is switched off here. Your invoices can be paid one by one."),
    "no_order": Sentence("Funds can be added once your first order is accepted."),
    "balance_full": Sentence("Your credit has reached the most that is allowed here."),
    "limits": Sentence("The limits for adding funds contradict each other here. Please write to us."),
}
REFUSED = {
    "not_a_number": Sentence("Please write an amount, such as 25.00."),
    "minimum": Sentence("This is less than the smallest top-up."),
    "maximum": Sentence("This is more than the largest top-up."),
    "maximum_balance": Sentence("Your credit would be more than what is allowed here."),
}


class Writes(Protocol):
    def money(self, value: Decimal | Fraction | int) -> str: ...
    def day(self, day: date | None) -> str: ...
    def month(self, day: date) -> str: ...


@dataclass(frozen=True)
class Row:
    """One service or domain of the list. `line` is None where its price is not counted."""

    owned: Owned
    line: Line | None
    month: Fraction
    reasons: tuple[Sentence, ...]

    @property
    def state(self) -> Sentence:
        return STATES.get(self.owned.status, Sentence("Unknown"))


def filter_of(owned: Owned) -> str:
    """Each is in one of them, or in `all` alone."""
    if owned.ending:
        return "ending"
    return owned.status if owned.status in (ACTIVE, SUSPENDED) else "all"


def overdue(account: Account) -> dict[tuple[str, int], Invoice]:
    """Lines with an open invoice that is past its due day."""
    found: dict[tuple[str, int], Invoice] = {}
    for invoice in events.open_invoices(account):
        if invoice.balance > 0 and invoice.due and invoice.due < account.today:
            for item in invoice.items:
                found.setdefault((events.KINDS.get(item.kind, item.kind), item.of), invoice)
    return found


def reasons(account: Account, owned: Owned, line: Line | None, late: dict[tuple[str, int], Invoice]) -> list[Sentence]:
    """Why somebody should look at it; empty when all is well."""
    found = []
    if owned.status == SUSPENDED:
        found.append(Sentence("Suspended: pay its invoice or write to us."))
    if (owned.kind, owned.id) in late:
        found.append(Sentence("An invoice is overdue."))
    if owned.status in ("grace", "redemption"):
        found.append(Sentence("It has expired and can still be renewed."))
    soon = account.today + timedelta(SOON)
    if line and line.kind == DOMAIN and line.not_renewed and line.expires and line.expires <= soon:
        found.append(Sentence("It ends soon and is not renewed."))
    return found


def rows(account: Account) -> list[Row]:
    """Every service and domain; what its add-ons cost is in its price of a month."""
    taxed, late = rates.with_tax(account), overdue(account)
    lines = {line.key: line for line in account.lines}
    addons: dict[int, list[Line]] = defaultdict(list)
    for addon in account.lines:
        if addon.kind == ADDON:
            addons[addon.parent].append(addon)
    found = []
    for owned in account.owned:
        line = lines.get((owned.kind, owned.id))
        own = [line] if line else []
        if owned.kind == HOSTING:
            own += [a for a in addons[owned.id] if a.status in (ACTIVE, SUSPENDED)]
        month = rates.rate(account, own, taxed).month if own else Fraction(0)
        found.append(Row(owned, line, month, tuple(reasons(account, owned, line, late))))
    return found


def counts(account: Account, every: list[Row]) -> dict[str, int]:
    found = Counter(filter_of(r.owned) for r in every)
    return {
        "all": len(every),
        **{name: found[name] for name in ("active", "suspended", "ending")},
        "attention": sum(bool(r.reasons) for r in every),
    }


def families(account: Account, every: list[Row]) -> list[tuple[Family, int]]:
    of = Counter(r.owned.family for r in every)
    return [(f, of[f.key]) for f in account.families if of[f.key]]


def lasts(account: Account, words: Writes) -> tuple[str, Sentence | str]:
    """(tone, the sentence) about how long the credit lasts."""
    found = credit.lasts(account)
    if found.how == "owed":
        return "bad", Sentence("%(missing)s are due now.", missing=words.money(found.missing))
    if found.how == "long":
        return "good", Sentence("Your credit covers more than three years.")
    if found.how == "nothing":
        return "good", Sentence("Nothing is to be charged.")
    on, missing = words.day(found.on), words.money(found.missing)
    if found.on == account.today:
        return "bad", Sentence("%(missing)s are missing today.", missing=missing)
    through = words.day(found.through)
    return "warn", Sentence(
        "Covered until %(through)s; on %(on)s %(missing)s are missing.", through=through, on=on, missing=missing
    )


def warning(account: Account, words: Writes) -> Sentence | str:
    """The one thing that the home page warns of."""
    found = credit.lasts(account)
    if found.suspends and found.line and found.how == "until":
        near = found.suspends <= account.today + timedelta(SOON)
        if near:
            return Sentence(
                "%(name)s could be suspended from %(day)s.", name=found.line.name, day=words.day(found.suspends)
            )
    return ""


def common(account: Account, words: Writes) -> dict[str, Any]:
    every = rows(account)
    found: dict[str, Any] = {
        "counts": counts(account, every),
        "counters_of": COUNTERS,
        "families": families(account, every),
        "every": every,
    }
    if "invoices" in account.may:
        found |= {
            "costs": rates.costs(account),
            "lasts": lasts(account, words),
            "warning": warning(account, words),
            "top_up": credit.top_up(account),
            "owed": credit.owed(account),
        }
    return found


def home(account: Account, words: Writes) -> dict[str, Any]:
    return common(account, words)


def dashboard(account: Account, words: Writes) -> dict[str, Any]:
    found = common(account, words)
    if "invoices" not in account.may:
        return found
    return found | {
        "coming": credit.coming(account)[:200],
        "horizons": HORIZONS,
        "not_counted": [(n, REASONS[n.reason]) for n in account.not_counted],
        "chart": chart(account, words),
        "checks": checks(account, found),
        "overdue": list({i.id: i for i in overdue(account).values()}.values()),
    }


def checks(account: Account, found: dict[str, Any]) -> list[tuple[bool, Sentence, str]]:
    """The daily list: (done, what, where to do it); each ticks itself."""
    own = [u for u in account.users if u.self or "owner" in account.may]
    late = [i for i in events.open_invoices(account) if i.balance > 0]
    return [
        (not found["counts"]["suspended"], Sentence("No service is suspended"), "list&vmb[show]=suspended"),
        (not found["counts"]["attention"], Sentence("Nothing needs attention"), "list&vmb[show]=attention"),
        (found["top_up"].recommended <= 0, Sentence("The credit covers what is coming"), "addfunds"),
        (not late, Sentence("No invoice is open"), "ledger"),
        (all(u.two_factor for u in own), Sentence("Two-factor authentication is on"), "verification"),
    ]


@dataclass(frozen=True)
class Bar:
    """A month of the chart: `parts` are (number of its family, height from the bottom, height, amount)."""

    first: date
    total: Decimal
    parts: tuple[tuple[int, float, float, Decimal], ...]


def chart(account: Account, words: Writes) -> dict[str, Any] | None:
    """What was invoiced in each of the last 12 months by family; heights in hundredths of the largest month."""
    of = {(owned.kind, owned.id): owned.family for owned in account.owned}
    of |= {line.key: line.family for line in account.lines}
    names = {f.key: n for n, f in enumerate(account.families)}
    months = [events.later(account.today.replace(day=1), -n) for n in range(11, -1, -1)]
    sums: dict[date, dict[int, Decimal]] = {m: defaultdict(Decimal) for m in months}
    for item in account.past:
        at = (item.at or item.due or account.today).replace(day=1)
        family = of.get((events.KINDS.get(item.kind, item.kind), item.of), "")
        if at in sums and item.amount > 0:
            sums[at][names.get(family, len(names))] += item.amount
    top = max((sum(s.values(), Decimal(0)) for s in sums.values()), default=Decimal(0))
    if top <= 0:
        return None
    bars = []
    for month in months:
        base, parts = Decimal(0), []
        for number, amount in sorted(sums[month].items()):
            parts.append((number, float(100 * base / top), float(100 * amount / top), amount))
            base += amount
        bars.append(Bar(month, base, tuple(parts)))
    used = sorted({n for s in sums.values() for n in s})
    return {"bars": bars, "top": top, "used": used, "families": account.families}


def listed(account: Account, words: Writes) -> dict[str, Any]:
    """The filter and the family stand in the address."""
    found = common(account, words)
    show, family = account.ask.show, account.ask.family
    chosen = [
        r
        for r in found["every"]
        if (show == "all" or (show == "attention" and r.reasons) or filter_of(r.owned) == show)
        and family in ("", r.owned.family)
    ]
    chosen.sort(key=lambda r: (-r.month, r.owned.name, r.owned.id))
    names = {f.key: f.name for f in account.families}
    return found | {"chosen": chosen[:MOST], "left_out": max(0, len(chosen) - MOST), "names": names}


MOST = 500  # rows of one page


def add_funds(account: Account, words: Writes) -> dict[str, Any]:
    found, typed = common(account, words), account.ask.amount.replace(",", ".")
    top = found.get("top_up")
    if not top:
        return found
    amount = typed or (str(top.amount) if top.amount else "")
    told = credit.added(account, amount) if amount else ""
    refused = credit.refusal(account)
    return found | {
        "amount": amount,
        "told": told if isinstance(told, tuple) else None,
        "wrong": REFUSED.get(told) if isinstance(told, str) and typed else None,
        "refused": NO_FUNDS.get(refused),
        "coming": credit.coming(account),
    }


def hub(account: Account, words: Writes) -> dict[str, Any]:
    return {}


def verification(account: Account, words: Writes) -> dict[str, Any]:
    """What is proven or filled in: (done, what it is, what it is good for, where to do it)."""
    month = account.today.strftime("%Y-%m")
    expired = [m for m in account.paymethods if m.expires and m.expires < month]
    own = next((u for u in account.users if u.self), None)
    url, steps = account.urls, []
    if own:
        steps += [
            (own.verified, Sentence("E-mail address"), own.mail, url.get("verify", ""), "verify"),
            (own.two_factor, Sentence("Two-factor authentication"), "", url.get("security", ""), ""),
        ]
    if "profile" in account.may:
        steps += [
            (account.client.has_address, Sentence("Address"), "", url.get("details", ""), ""),
            (account.client.has_tax_id, Sentence("Tax ID"), "", url.get("details", ""), ""),
        ]
    if "invoices" in account.may:
        good = len(account.paymethods) > len(expired)
        steps.append((good, Sentence("Payment method"), "", url.get("paymethods", ""), ""))
    others = [u for u in account.users if not u.self]
    return {"steps": steps, "others": others, "expired": len(expired)}
