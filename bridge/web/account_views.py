"""What each page of the dashboard shows, as values for its template. Nothing here is stored or asked for elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from bridge.accounts.columns import DAYS, HORIZONS
from bridge.accounts.nouns import HOSTING, Account, Line
from bridge.costs import credit, events, lists, metered, past, rates
from bridge.costs.lists import Attention
from bridge.model import Sentence

UNSEEN = {  # what a user may not see of what an account is charged for
    ("products", "domains"): Sentence(
        "Ask the account's owner for access to services and domains to see what they cost and what will be charged."
    ),
    ("products",): Sentence("Services are not counted here: ask the account's owner for access to them."),
    ("domains",): Sentence("Domains are not counted here: ask the account's owner for access to them."),
}
SUMMED = ("services", "addons", "domains", "open")  # lists of which a row that cannot be read is missing in sums
WEIGHS = {"TaxEnabled", "TaxType", "CreateInvoiceDaysBefore"}  # settings without which sums and days are about right
ROWS = 200  # of one page: what comes whole through WHMCS
NOTICED = 20  # of what stands above all
COUNTERS = {  # of the list's filters
    "all": (Sentence("Total services"), "fas fa-layer-group"),
    "active": (Sentence("Active"), "fas fa-check-circle"),
    "suspended": (Sentence("Suspended"), "fas fa-pause-circle"),
    "ending": (Sentence("Termination requested"), "fas fa-calendar-times"),
    "attention": (Sentence("Needs attention"), "fas fa-exclamation-triangle"),
}
ORDERS = {"cost": Sentence("Most expensive first"), "name": Sentence("By name"), "next": Sentence("Next charge first")}
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
UNKNOWN = Sentence("Not known")
METRICS = {
    "floating_ipv4": Sentence("Floating IPv4 addresses"),
    "floating_ipv6": Sentence("Floating IPv6 networks"),
    "ipv4": Sentence("IPv4 addresses"),
    "ipv6": Sentence("IPv6 addresses"),
    "snapshots": Sentence("Snapshots"),
    "bandwidth_in": Sentence("Incoming traffic"),
    "bandwidth_out": Sentence("Outgoing traffic"),
    "bandwidth_total": Sentence("Traffic in and out"),
    "snapshot_gb": Sentence("Snapshot storage (GB-months)"),
    "backup_gb": Sentence("Backup storage (GB-months)"),
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


@dataclass(frozen=True)
class Part:
    """So many rows of a list as a page has; the others by their own addresses. `first` and `last` count from 1;
    `before` and `after`: what the page before and the one after skip, None where there is none."""

    rows: list[Any]
    total: int
    skip: int

    @property
    def first(self) -> int:
        return self.skip + 1

    @property
    def last(self) -> int:
        return self.skip + len(self.rows)

    @property
    def before(self) -> int | None:
        return max(0, self.skip - ROWS) if self.skip else None

    @property
    def after(self) -> int | None:
        return self.last if self.last < self.total else None


def part(rows: Sequence[Any], skip: int = 0) -> Part:
    """What skips more than there is begins anew."""
    skip = skip if skip < len(rows) else 0
    return Part(list(rows[skip : skip + ROWS]), len(rows), skip)


class Writes(Protocol):
    used: credit.Usage
    ours: list[Attention]

    def money(self, value: Decimal | Fraction | int) -> str: ...
    def day(self, day: date | None) -> str: ...
    def month(self, day: date) -> str: ...
    def machine(self, service: int) -> Sentence | None: ...


def told(a: Attention, words: Writes) -> Sentence:
    """Why somebody should look at it."""
    known = a.values
    if a.code == "suspended":
        return Sentence("Suspended: pay its invoice or write to us.")
    if a.code == "overdue":
        return Sentence(
            "Invoice %(number)s has been due since %(day)s.",
            number=known["number"] or known["invoice"],
            day=words.day(known["due"]),
        )
    if a.code == "failed":
        return Sentence("What was ordered last did not succeed or waits for us: its page says more.")
    if a.code == "no_backup":
        return Sentence("It has a backup schedule, but no backup of the last 7 days.")
    if a.code == "quota":
        return _quota(known["what"], known["used"], known["sold"])
    if a.code == "domain_late":
        return Sentence("It has expired and can still be renewed.")
    if a.code == "domain_ends":
        return Sentence("It ends on %(day)s and is not renewed.", day=words.day(known["on"]))
    return Sentence("No stored card is good on %(day)s, when the next charge is due.", day=words.day(known["on"]))


def _quota(what: str, used: int, sold: int) -> Sentence:
    if what == "snapshots":
        return Sentence("%(n)d of %(m)d snapshots are in use: remove one before the last is needed.", n=used, m=sold)
    return Sentence("%(n)d of %(m)d backups are in use, and no schedule makes room.", n=used, m=sold)


def lasts(account: Account, words: Writes) -> tuple[str, Sentence]:
    """(tone, the sentence) about how long the credit lasts."""
    covered = credit.lasts(account, words.used)
    missing = words.money(covered.missing)
    if covered.how == "owed":
        return "bad", Sentence("%(missing)s are due now.", missing=missing)
    if covered.how == "long":
        return "good", Sentence("Your credit covers more than three years.")
    if covered.how == "nothing":
        return "good", Sentence("Nothing is to be charged.")
    if covered.on == account.today:
        return "bad", Sentence("%(missing)s are missing today.", missing=missing)
    through, on = words.day(covered.through), words.day(covered.on)
    return "warn", Sentence(
        "Covered until %(through)s; on %(on)s %(missing)s are missing.", through=through, on=on, missing=missing
    )


def warning(account: Account, words: Writes) -> Sentence | str:
    """The one thing that stands above all: what could be suspended first."""
    covered = credit.lasts(account, words.used)
    if covered.how != "until" or not covered.suspends or not covered.line:
        return ""
    if (covered.suspends - account.today).days > lists.SOON:
        return ""
    name = covered.line.name or covered.line.product_name
    return Sentence("%(name)s could be suspended from %(day)s.", name=name, day=words.day(covered.suspends))


def common(account: Account, words: Writes) -> dict[str, Any]:
    """What every page of the dashboard shows; sums only where invoices may be seen, and what is made of services and
    domains only where one of them may be. `unseen` says which of the two is in no sum, `missed` how many rows could not
    be read; `whole`: everything is in the sums, so that "nothing" may be said."""
    unseen = tuple(word for word in ("products", "domains") if word not in account.may)
    count = lists.counters(account, words.ours)
    values: dict[str, Any] = {
        "counts": {
            "all": count.total,
            **{n: getattr(count, n) for n in ("active", "suspended", "ending", "attention")},
        },
        "counters_of": COUNTERS,
        "families": [(f, c.total) for f, c in lists.families(account, words.ours) if c.total],
        "unseen": UNSEEN.get(unseen),
        "sees_costs": "invoices" in account.may and len(unseen) < 2,
    }
    if "invoices" in account.may:
        values["owed"] = credit.owed(account)
    if values["sees_costs"]:
        values |= {
            "costs": rates.costs(account),
            "lasts": lasts(account, words),
            "warning": warning(account, words),
            "top_up": credit.top_up(account, 0, words.used),
            "missed": sum(n.row in SUMMED for n in account.not_counted),
            "about": not WEIGHS.isdisjoint(account.settings.unknown),
        }
        values["whole"] = not (unseen or values["missed"] or account.cut.keys() & set(SUMMED))
    return values


def home(account: Account, words: Writes) -> dict[str, Any]:
    """The block on the client area's first page: nothing beside `common`."""
    return common(account, words)


def dashboard(account: Account, words: Writes) -> dict[str, Any]:
    """`common`, and with invoices what is coming, checks, the chart and what is billed by use."""
    values = common(account, words)
    if "invoices" not in account.may:
        return values
    if not values["sees_costs"]:
        return values | {"chart": chart(account), "checks": checks(account, values, words)}
    noticed = [a for a in lists.attention(account) if a.code in ("overdue", "card_expired")]
    return values | {
        "coming": part(credit.coming(account, 0, words.used)),
        "horizons": HORIZONS,
        "not_counted": [(n, REASONS[n.reason]) for n in account.not_counted],
        "chart": chart(account),
        "checks": checks(account, values, words),
        "by_use": by_use(account, words),
        "noticed": [(a, told(a, words)) for a in noticed[:NOTICED]],
        "unnoticed": max(0, len(noticed) - NOTICED),
    }


def by_use(account: Account, words: Writes) -> Part:
    """Rows (the service, what is billed of it, so much so far, the forecast of this month)."""
    lines = {line.id: line for line in account.lines if line.kind == HOSTING}
    rows = list[tuple[Line, Sentence | str, Decimal, metered.Forecast]]()
    for service, of_service in metered.forecasts(account.metered, words.used, account.today).items():
        for f in of_service:
            title = METRICS.get(f.metric.metric, f.metric.name)
            rows.append((lines[service], title, words.used[service, f.metric.metric].month, f))
    return part(rows)


def checks(account: Account, values: dict[str, Any], words: Writes) -> list[tuple[bool, Sentence, str]]:
    """The daily list: (done, what, where to do it); each ticks itself. What the user cannot know is not in it."""
    own = [u for u in account.users if u.self or "owner" in account.may]
    late = [i for i in events.open_invoices(account) if i.balance > 0]
    paid = Counter((t.invoice, t.incoming) for t in account.transactions if t.incoming and t.invoice)
    refunded = {t.refund_of for t in account.transactions}
    twice = [k for k, n in paid.items() if n > 1] if not refunded - {0} else []
    own_checks = list[tuple[bool, Sentence, str]]()
    if "products" in account.may:
        own_checks.append(
            (not values["counts"]["suspended"], Sentence("No service is suspended"), "list&vmb[show]=suspended")
        )
    if values["sees_costs"]:
        usual = not past.anomalies(account, words.used)
        own_checks += [
            (not values["counts"]["attention"], Sentence("Nothing needs attention"), "list&vmb[show]=attention"),
            (usual, Sentence("Costs are as they were"), "list&vmb[by]=cost"),
        ]
    if values.get("whole"):
        covered = values["top_up"].recommended <= 0
        own_checks.append((covered, Sentence("The credit covers what is coming"), "addfunds"))
    return [
        *own_checks,
        (not late, Sentence("No invoice is open"), "ledger"),
        (not twice, Sentence("No invoice was paid twice this month"), "ledger"),
        (all(u.two_factor for u in own), Sentence("Two-factor authentication is on"), "verification"),
    ]


def chart(account: Account) -> dict[str, Any] | None:
    """What was invoiced in each of 12 months by family; a bar is (first day, total, parts), a part (number of its
    family, where it begins, its height, amount), in hundredths of the largest month."""
    months = past.months(account)
    number = {f.key: n for n, f in enumerate(account.families)}
    top = max((sum(s.values(), Decimal(0)) for _, s in months), default=Decimal(0))
    if top <= 0:
        return None
    bars, used = [], set[int]()
    for month, sums in months:
        base, parts = Decimal(0), []
        for n, amount in sorted((number.get(key, len(number)), a) for key, a in sums.items() if a > 0):
            parts.append((n, float(100 * base / top), float(100 * amount / top), amount))
            base += amount
            used.add(n)
        bars.append((date.fromisoformat(f"{month}-01"), base, parts))
    return {"bars": bars, "used": sorted(used)}


def listed(account: Account, words: Writes) -> dict[str, Any]:
    """The filter, the family and the order stand in the address."""
    chosen = lists.listed(account, words.ours)
    rows = [
        (row, STATES.get(row.owned.status, UNKNOWN), [told(a, words) for a in row.attention], _owed_by(row))
        for row in chosen
    ]
    return common(account, words) | {
        "chosen": part(rows, account.ask.skip),
        "names": {f.key: f.name for f in account.families},
        "orders": ORDERS,
        "machine": words.machine,
        "reasons": REASONS,
    }


def _owed_by(row: lists.Listed) -> int:
    """The invoice that has to be paid first, 0 where there is none."""
    return next((int(a.values["invoice"]) for a in row.attention if a.values.get("invoice")), 0)


def add_funds(account: Account, words: Writes) -> dict[str, Any]:
    """`common`, and what the typed amount comes to: `told` its sums, `wrong` why it is none, `refused` why no amount is
    taken."""
    values, typed = common(account, words) | {"warn_days": (0, *DAYS)}, account.ask.amount.replace(",", ".")
    if "invoices" not in account.may:
        return values
    top = values.get("top_up")
    amount = typed or (str(top.amount) if top and top.amount else "")
    sums = credit.added(account, amount) if amount else ""
    return values | {
        "amount": amount,
        "told": sums if isinstance(sums, tuple) else None,
        "wrong": REFUSED.get(sums) if isinstance(sums, str) and typed else None,
        "refused": NO_FUNDS.get(credit.refusal(account)),
    }


def verification(account: Account, words: Writes) -> dict[str, Any]:
    """What is proven or filled in: (done, what it is, more about it, where to do it, how)."""
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
    return {"steps": steps, "others": [u for u in account.users if not u.self], "expired": len(expired)}


def hub(account: Account, words: Writes) -> dict[str, Any]:
    """A page of links alone."""
    return {}
