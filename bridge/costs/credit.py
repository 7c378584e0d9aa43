"""What is owed, what credit covers, until when it lasts, and how much to add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from itertools import groupby
from typing import cast

from bridge.accounts.nouns import DOMAIN, SUSPENDED, Account, Line
from bridge.costs.events import FARTHEST, Event, events, open_invoices, recurs
from bridge.costs.metered import Used
from bridge.costs.money import CENT, ZERO, up
from bridge.costs.taxes import taxes_of

Usage = Mapping[tuple[int, str], Used]
STEPS = (30, 100, 370, FARTHEST)  # days looked ahead, farther only while credit still lasts


def owed(account: Account) -> Decimal:
    return sum((max(invoice.balance, ZERO) for invoice in open_invoices(account)), ZERO)


def balance(account: Account) -> Decimal:
    """Credit less what is owed; below 0 it is due."""
    return account.client.credit - owed(account)


@dataclass(frozen=True)
class TopUp:
    """`need` may be below 0: so much is left over. `recommended` = `pay_now` (by its invoice, or several at once: added
    credit does not pay what is invoiced already) + `to_come` (by adding funds).

    `amount` is what one payment of add-funds can be now, 0 where none can; `reason` says why not (off, no_order,
    balance_full, limits). `notes` say what differs from `to_come`: (minimum, amount), (payments, how many of them),
    (maximum_balance, amount)."""

    need: Decimal
    recommended: Decimal
    pay_now: Decimal
    to_come: Decimal
    amount: Decimal
    reason: str = ""
    notes: tuple[tuple[str, Decimal], ...] = ()


def need(account: Account, days: int, used: Usage | None = None) -> Decimal:
    """What is owed and what will be taken in so many days, less credit."""
    return owed(account) + sum((e.gross for e in events(account, days, used)), ZERO) - account.client.credit


def top_up(account: Account, days: int = 0, used: Usage | None = None) -> TopUp:
    """For the asked horizon, if none is said."""
    needed = need(account, days or account.ask.horizon, used)
    recommended = up(max(needed, ZERO), account.currency)
    pay_now = min(max(owed(account) - account.client.credit, ZERO), recommended)
    to_come = recommended - pay_now
    amount, reason, notes = clamp(account, to_come)
    return TopUp(needed, recommended, pay_now, to_come, amount, reason, notes)


def clamp(account: Account, wanted: Decimal) -> tuple[Decimal, str, tuple[tuple[str, Decimal], ...]]:
    """(amount of one payment, why there is none, what was changed), by WHMCS's limits of add-funds."""
    own, notes = account.settings, list[tuple[str, Decimal]]()
    if reason := refusal(account):
        return ZERO, reason, ()
    if wanted <= 0:
        return ZERO, "", ()
    amount = wanted
    if own.minimum is not None and amount < own.minimum:
        amount = own.minimum
        notes.append(("minimum", amount))
    if own.maximum is not None and amount > own.maximum:
        notes.append(("payments", (amount / own.maximum).to_integral_value(ROUND_CEILING)))
        amount = own.maximum
    room = _room(account)
    if room is not None and amount > room:
        amount = room
        notes.append(("maximum_balance", room))
    return amount, "", tuple(notes)


def _room(account: Account) -> Decimal | None:
    most = account.settings.maximum_balance
    return None if most is None else most - account.client.credit


def refusal(account: Account) -> str:
    """Why nothing can be added at all; empty where it can."""
    own, room = account.settings, _room(account)
    if not own.add_funds:
        return "off"
    if own.needs_order and not account.client.has_order:
        return "no_order"
    if own.minimum is not None and own.maximum is not None and own.maximum < own.minimum:
        return "limits"
    if room is not None and (room <= 0 or (own.minimum is not None and room < own.minimum)):
        return "balance_full"
    return ""


def added(account: Account, text: str) -> tuple[Decimal, Decimal, Decimal] | str:
    """(you pay, credit after, balance after) of a top-up, or why it cannot be: the reasons of `refusal`, not_a_number,
    minimum, maximum, maximum_balance. No tax: it is in the invoices that the credit pays."""
    if reason := refusal(account):
        return reason
    whole, point, rest = text.strip().partition(".")
    if not (text.isascii() and whole.isdigit() and len(whole) <= 12 and (rest.isdigit() if point else True)):
        return "not_a_number"
    amount, own, room = Decimal(text.strip()), account.settings, _room(account)
    if amount != amount.quantize(CENT) or amount <= 0:
        return "not_a_number"
    if own.minimum is not None and amount < own.minimum:
        return "minimum"
    if own.maximum is not None and amount > own.maximum:
        return "maximum"
    if room is not None and amount > room:
        return "maximum_balance"
    return amount, account.client.credit + amount, balance(account) + amount


@dataclass(frozen=True)
class Lasts:
    """Until when the credit covers everything.

    `how`: `until` (through `through`; on `on` so much is `missing`, first for `line`, of `due`), `owed` (invoices are
    open beyond the credit: `missing` now), `long` (more than three years), `nothing` (nothing is to come).
    `suspends`: the first day on which `line` could be suspended, None where nothing is. `manual`: WHMCS does not use
    credit by itself."""

    how: str
    through: date | None = None
    on: date | None = None
    missing: Decimal = ZERO
    line: Line | None = None
    due: date | None = None
    suspends: date | None = None
    manual: bool = False


def lasts(account: Account, used: Usage | None = None) -> Lasts:
    """What is open is owed first, though WHMCS takes it only by hand. `missing` is of the whole day on which credit
    runs out."""
    known = account.memo.get("lasts")
    if known is None or known[0] is not used:
        known = account.memo["lasts"] = used, _lasts(account, used)
    return cast(Lasts, known[1])


def _lasts(account: Account, used: Usage | None) -> Lasts:
    """Looks ahead in ever longer steps and stops at the first charge that is not covered."""
    left, today, manual = balance(account), account.today, account.settings.no_auto_credit
    if left < 0:
        return Lasts("owed", on=today, missing=-left, manual=manual)
    comes = any(
        recurs(line) and (line.amount or (line.registered == line.due and line.first)) for line in account.lines
    )
    if not used and left >= _most(account):
        return Lasts("long" if comes else "nothing", manual=manual)
    ahead: list[Event] = []
    for days in STEPS:
        ahead = events(account, days, used)
        if short := _short(ahead, left):
            event, missing = short
            return Lasts(
                "until",
                event.taken - timedelta(1),
                event.taken,
                missing,
                event.line,
                event.due,
                suspension(account, event),
                manual,
            )
    return Lasts("long" if comes or ahead else "nothing", manual=manual)


def _short(ahead: list[Event], left: Decimal) -> tuple[Event, Decimal] | None:
    """The first event that is not covered, and what is missing on its day."""
    for _, day in groupby(ahead, key=lambda e: e.taken):
        first = None
        for event in day:
            left -= event.gross
            if left < 0 and first is None:
                first = event
        if first is not None:
            return first, -left
    return None


def _most(account: Account) -> Decimal:
    """No more than this is taken in all the time that is looked ahead."""
    taxes, total = taxes_of(account), ZERO
    for line in account.lines:
        if line.months and line.due is not None:
            late = max((account.today - line.due).days, 0)
            times = (FARTHEST + 400 + late) // (28 * line.months) + 2
            total += max(taxes.charge(line, a).gross + CENT * 3 for a in (line.amount, line.first)) * times
    return total


def suspension(account: Account, event: Event) -> date | None:
    """When WHMCS could suspend what is not paid; None for domains, for what is suspended already and where it does
    not."""
    if not account.settings.suspends or event.line.kind == DOMAIN or event.line.status == SUSPENDED:
        return None
    day = event.due + timedelta(account.settings.suspend_days)
    kept = event.line.kept_until
    return max(day, account.today, kept) if kept else max(day, account.today)


@dataclass(frozen=True)
class Coming:
    """An event with the credit that is left after it; `short`: credit does not cover it. `first_short`: the line where
    credit runs out stands above it."""

    event: Event
    left: Decimal
    short: bool
    first_short: bool = False


def coming(account: Account, days: int = 0, used: Usage | None = None) -> list[Coming]:
    """The list "Coming up" of the asked horizon, from the balance on."""
    left, rows, run_out = balance(account), list[Coming](), balance(account) < 0
    for event in events(account, days or account.ask.horizon, used):
        left -= event.gross
        rows.append(Coming(event, left, left < 0, left < 0 and not run_out))
        run_out = run_out or left < 0
    return rows
