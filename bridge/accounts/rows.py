"""Rows of each list -> nouns. What cannot be read is noted with its reason, and holds up nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from bridge.accounts.cells import Unreadable, amount, day, flag, letters, price, some_day, text, whole
from bridge.accounts.columns import seen
from bridge.accounts.nouns import (
    ACTIVE,
    ADDON,
    DOMAIN,
    FREE,
    GONE,
    HOSTING,
    MONTHS,
    ONE_TIME,
    SUSPENDED,
    Account,
    Credit,
    Family,
    Gateway,
    Invoice,
    Item,
    Line,
    Metered,
    NotCounted,
    Other,
    Owned,
    PastInvoice,
    PayMethod,
    Product,
    Transaction,
    User,
)

DOMAINS = Family("domains", "", 10**9)  # its name is the page's own word
STATUSES = ("pending", ACTIVE, SUSPENDED, "completed", *GONE)
OF_DOMAINS = ("pending", "pendingregistration", "pendingtransfer", ACTIVE, "grace", "redemption", *GONE)
LONG_PAST = 400  # days
CYCLES = {**MONTHS, ONE_TIME: 0, FREE: 0, "freeaccount": 0}
ZERO = Decimal(0)


class Rows:
    """One reading of all lists that the user may see."""

    def __init__(self, today: date, sent: Mapping[str, list[Any]], may: frozenset[str]) -> None:
        self.today, self.may = today, may
        self.sent = seen(sent, may)
        self.missed: list[NotCounted] = []
        self.owned: list[Owned] = []
        self.lines: list[Line] = []
        self.seen: set[tuple[str, int]] = set()
        self.families: dict[int, Family] = {}
        self.products: dict[int, Product] = {}
        self.services: dict[int, tuple[Owned, Line | None, date | None]] = {}  # with the day it is due
        self.suspensions: dict[int, tuple[str, date | None]] = {}
        self.cancels: dict[int, str] = {}

    def each(self, name: str, read: Callable[..., Any]) -> list[Any]:
        """What `read` makes of each row; rows that it cannot read, or has not a value for, are left out."""
        values = []
        for row in self.sent.get(name, ()):
            try:
                made = read(*row) if isinstance(row, list) else read()
            except Unreadable as e:
                self._miss(name, row, e.reason, e.value)
            except (TypeError, ValueError):
                self._miss(name, row, "bad_row", "")
            else:
                if made is not None:
                    values.append(made)
        return values

    def _miss(self, name: str, row: Any, reason: str, value: str) -> None:
        cells = row if isinstance(row, list) else []
        number = next((c for c in cells if type(c) is int and c >= 0), 0)
        called = (
            next((c for c in cells if type(c) is str and c), "") if name in ("services", "domains", "addons") else ""
        )
        self.missed.append(NotCounted(name, number, called[:200], reason, value))

    def account(self, frame: Account) -> Account:
        """The frame with everything that its rows say."""
        self._of_products()
        self.each("suspended", self._suspended)
        self.each("cancels", self._cancel)
        self.each("services", self._service)
        self.each("addons", self._addon)
        self.each("domains", self._domain)
        families = [*self.families.values()]
        if any(o.kind == DOMAIN for o in self.owned):
            families.append(DOMAINS)
        used = {o.family for o in self.owned}
        return replace(
            frame,
            families=tuple(sorted((f for f in families if f.key in used), key=lambda f: (f.order, f.name, f.key))),
            products=self.products,
            owned=tuple(self.owned),
            lines=tuple(self.lines),
            open=tuple(self._open()),
            past=tuple(self.each("past_items", _past_item)),
            paymethods=tuple(self.each("paymethods", lambda g, k, e: PayMethod(text(g), text(k), text(e)))),
            gateways=tuple(self.each("gateways", lambda name, title: Gateway(text(name), text(title)))),
            users=tuple(u for u in self.each("users", _user) if u.self or "owner" in self.may),
            others=tuple(self.each("accounts", _other)),
            metered=tuple(self.each("metered", _metered)),
            invoices=tuple(self.each("invoices", _past_invoice)),
            transactions=tuple(self.each("transactions", _transaction)),
            credits=tuple(
                self.each("credits", lambda i, at, a, v: Credit(whole(i), some_day(at), amount(a), whole(v)))
            ),
            credit_after=sum(self.each("credit_after", amount), ZERO),
            not_counted=tuple(self.missed),
        )

    def _of_products(self) -> None:
        for family in self.each("groups", lambda i, name, order: (whole(i), Family(f"g{i}", text(name), whole(order)))):
            self.families[family[0]] = family[1]
        cycles: dict[int, dict[str, Decimal]] = {}
        for product, cycle, cost in self.each("cycles", lambda p, c, a: (whole(p), letters(text(c)), price(a))):
            if cycle in MONTHS:
                cycles.setdefault(product, {})[cycle] = cost
        upgrades: dict[int, list[int]] = {}
        for product, to in self.each("upgrades", lambda p, to: (whole(p), whole(to))):
            upgrades.setdefault(product, []).append(to)

        def product_of(i: Any, name: Any, group: Any, taxed: Any, ours: Any) -> None:
            if whole(group) not in self.families:
                self.families[group] = Family(f"g{group}", "", 10**8)
            offered, others = cycles.get(whole(i), {}), tuple(upgrades.get(i, ()))
            self.products[i] = Product(i, text(name), f"g{group}", flag(taxed), flag(ours), offered, others)

        self.each("products", product_of)

    def _suspended(self, service: Any, reason: Any, until: Any) -> None:
        self.suspensions[whole(service)] = text(reason), day(until)

    def _cancel(self, service: Any, kind: Any, at: Any) -> None:
        said = letters(text(kind))
        if said not in ("immediate", "endofbillingperiod"):
            raise Unreadable("bad_row", kind)
        if self.cancels.get(whole(service)) != "immediate":
            self.cancels[service] = said

    def _service(
        self,
        i: Any,
        product: Any,
        name: Any,
        status: Any,
        cycle: Any,
        qty: Any,
        cost: Any,
        first: Any,
        at: Any,
        due: Any,
    ) -> None:
        """A row of `services`: kept as owned whatever follows, so that its add-ons and the list know it; as a line
        where its status and its product are known. Raises Unreadable for a cell that says nothing of the kind."""
        number, called, state = whole(i), text(name), letters(text(status))
        sold = self.products.get(whole(product))
        if state in GONE:
            return
        self._once(HOSTING, number)
        family, ours = (sold.family, sold.ours) if sold else ("g0", False)
        if family == "g0":
            self.families.setdefault(0, Family("g0", "", 10**8))
        cancelled = self.cancels.get(number, "") if state in (ACTIVE, SUSPENDED) else ""
        owned = Owned(HOSTING, number, called, family, state, bool(cancelled), ours)
        self.owned.append(owned)
        self.services[number] = owned, None, None
        if state not in STATUSES:
            raise Unreadable("unknown_status", status)
        if sold is None:
            raise Unreadable("unknown_parent", product)
        reason, until = self.suspensions.get(number, ("", None))
        ends = _lenient(due) if cancelled == "endofbillingperiod" else None
        self.services[number] = owned, None, ends
        line = self._line(
            HOSTING,
            number,
            called,
            family,
            state,
            cycle,
            cost,
            first,
            at,
            due,
            taxed=sold.taxed,
            product=sold.id,
            product_name=sold.name,
            qty=whole(qty),
            ours=ours,
            ending=bool(cancelled),
            ends=ends,
            reason=reason if state == SUSPENDED else "",
            kept_until=until,
        )
        self.services[number] = owned, line, ends
        self.lines.append(line)

    def _addon(
        self,
        i: Any,
        service: Any,
        name: Any,
        status: Any,
        cycle: Any,
        cost: Any,
        first: Any,
        at: Any,
        due: Any,
        taxed: Any,
    ) -> None:
        """A row of `addons`, a line in its service's family that ends with it. Raises Unreadable, also for one of no
        service that is there."""
        number, called, state = whole(i), text(name), letters(text(status))
        if state in GONE:
            return
        self._once(ADDON, number)
        if state not in STATUSES:
            raise Unreadable("unknown_status", status)
        if whole(service) not in self.services:
            raise Unreadable("unknown_parent", service)
        parent, line, ends = self.services[service]
        self.lines.append(
            self._line(
                ADDON,
                number,
                called,
                parent.family,
                state,
                cycle,
                cost,
                first,
                at,
                due,
                taxed=flag(taxed),
                parent=service,
                product_name=line.product_name if line else "",
                ending=parent.ending,
                ends=ends,
                kept_until=line.kept_until if line else None,
            )
        )

    def _domain(
        self,
        i: Any,
        name: Any,
        years: Any,
        status: Any,
        cost: Any,
        first: Any,
        at: Any,
        due: Any,
        expires: Any,
        kept: Any,
    ) -> None:
        """A row of `domains`: owned, and a line of 12 months for each year it is registered for. `kept` is WHMCS's "do
        not renew". Raises Unreadable."""
        number, called, state, not_renewed = whole(i), text(name), letters(text(status)), flag(kept)
        if state in GONE:
            return
        self._once(DOMAIN, number)
        self.owned.append(Owned(DOMAIN, number, called, DOMAINS.key, state, not_renewed and state == ACTIVE))
        if state not in OF_DOMAINS:
            raise Unreadable("unknown_status", status)
        if not 1 <= whole(years) <= 10:
            raise Unreadable("unknown_cycle", years)
        expiry, ending = day(expires), not_renewed and state == ACTIVE
        self.lines.append(
            self._line(
                DOMAIN,
                number,
                called,
                DOMAINS.key,
                state,
                "",
                cost,
                first,
                at,
                due,
                12 * years,
                expires=expiry,
                not_renewed=not_renewed,
                ending=ending,
                ends=expiry or day(due) if ending else None,
            )
        )

    def _once(self, kind: str, number: int) -> None:
        if (kind, number) in self.seen:
            raise Unreadable("twice", number)
        self.seen.add((kind, number))

    def _line(
        self,
        kind: str,
        i: int,
        name: str,
        family: str,
        state: str,
        cycle: Any,
        cost: Any,
        first: Any,
        at: Any,
        due: Any,
        months: int = 0,
        **more: Any,
    ) -> Line:
        """Raises Unreadable. What is neither active nor suspended costs nothing by itself: nobody needs its day."""
        word = "years" if months else letters(text(cycle))
        if not months and word not in CYCLES:
            raise Unreadable("unknown_cycle", cycle)
        months = months or CYCLES[word]
        word = FREE if word == "freeaccount" else word
        each, at_first, since, next_due = price(cost), price(first), day(at), day(due)
        if months and each and state in (ACTIVE, SUSPENDED):
            if next_due is None:
                raise Unreadable("no_due_date", due)
            if (self.today - next_due).days >= LONG_PAST:
                raise Unreadable("long_past_due", due)
        return Line(kind, i, name, family, state, word, months, each, at_first, since, next_due, **more)

    def _open(self) -> Iterable[Invoice]:
        items: dict[int, list[Item]] = {}
        for item in self.each("open_items", _open_item):
            items.setdefault(item.invoice, []).append(item)
        invoices = {invoice.id: invoice for invoice in self.each("open", _open_invoice)}
        for number in items.keys() - invoices.keys():
            self.missed.append(NotCounted("open_items", number, "", "unknown_parent", str(number)))
        for number, invoice in invoices.items():
            own = items.get(number, ())
            yield replace(invoice, items=tuple(item._replace(at=invoice.at, status=invoice.status) for item in own))


def _lenient(value: Any) -> date | None:
    try:
        return day(value)
    except Unreadable:
        return None


def _open_item(invoice: Any, kind: Any, of: Any, cost: Any, due: Any) -> Item:
    return Item(whole(invoice), text(kind), whole(of), amount(cost), day(due))


def _past_item(invoice: Any, kind: Any, of: Any, cost: Any, due: Any, at: Any, status: Any) -> Item:
    return Item(whole(invoice), text(kind), whole(of), amount(cost), day(due), day(at), letters(text(status)))


def _open_invoice(i: Any, number: Any, status: Any, at: Any, due: Any, total: Any, paid: Any, balance: Any) -> Invoice:
    left = amount(balance) if text(balance) else amount(total) - amount(paid)
    return Invoice(whole(i), text(number), letters(text(status)), day(at), day(due), left)


def _past_invoice(
    i: Any, number: Any, at: Any, due: Any, paid: Any, total: Any, credit: Any, status: Any
) -> PastInvoice:
    return PastInvoice(
        whole(i), text(number), some_day(at), day(due), day(paid), amount(total), amount(credit), letters(text(status))
    )


def _transaction(i: Any, at: Any, gateway: Any, incoming: Any, outgoing: Any, invoice: Any, refund: Any) -> Transaction:
    return Transaction(
        whole(i), some_day(at), text(gateway), amount(incoming), amount(outgoing), whole(invoice), whole(refund)
    )


def _user(i: Any, name: Any, mail: Any, owner: Any, own: Any, two_factor: Any, verified: Any) -> User:
    return User(whole(i), text(name), text(mail), flag(owner), flag(own), flag(two_factor), flag(verified))


def _other(i: Any, name: Any, code: Any, status: Any, owner: Any, current: Any) -> Other:
    return Other(whole(i), text(name), text(code), letters(text(status)), flag(owner), flag(current))


def _metered(service: Any, metric: Any, name: Any, unit: Any, included: Any, schema: Any, brackets: Any) -> Metered:
    if not isinstance(brackets, list):
        raise Unreadable("bad_row", brackets)
    steps = tuple(sorted((price(start), price(cost)) for start, cost in brackets))
    return Metered(
        whole(service), text(metric), text(name), text(unit), price(included), letters(text(schema)) == "flat", steps
    )
