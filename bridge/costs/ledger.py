"""Invoices, payments, refunds and credit in one dated list with the credit after each, and the same as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from bridge.accounts.nouns import Account
from bridge.costs.money import ZERO

INVOICE, PAYMENT, REFUND, ADDED, TAKEN = "invoice", "payment", "refund", "credit_added", "credit_taken"
ORDER = (INVOICE, PAYMENT, REFUND, ADDED, TAKEN)  # within a day
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet would compute what begins so
COLUMNS = ("date", "kind", "invoice", "gateway", "amount", "currency", "credit_after")


@dataclass(frozen=True)
class Entry:
    """`kind` is one of ORDER; `amount` is as large as the thing is, never below 0 but for a credit note; `credit`:
    after it. `number`: the invoice's as people know it."""

    at: date
    kind: str
    id: int
    amount: Decimal
    credit: Decimal
    invoice: int = 0
    number: str = ""
    gateway: str = ""
    status: str = ""

    @property
    def signed(self) -> Decimal:
        """Below 0 for what goes out."""
        return -self.amount if self.kind in (REFUND, TAKEN) and self.amount else self.amount


@dataclass(frozen=True)
class Ledger:
    """Oldest first. `opening` and `closing`: the credit before the first and after the last."""

    opening: Decimal
    closing: Decimal
    entries: tuple[Entry, ...]


def ledger(account: Account) -> Ledger:
    """Of the month that was sent. The credit that there is now, less what came later, is what there was at its end."""
    closing = account.client.credit - account.credit_after
    opening = credit = closing - sum((c.amount for c in account.credits), ZERO)
    numbers = {i.id: i.number for i in account.open} | {i.id: i.number for i in account.invoices}
    events: list[tuple[date, str, int, Decimal, Decimal, int, str, str]] = []
    for i in account.invoices:  # its total is after credit: what it asked for is both
        events.append((i.at, INVOICE, i.id, i.total + i.credit, ZERO, i.id, "", i.status))
    for t in account.transactions:
        if t.incoming:
            events.append((t.at, PAYMENT, t.id, t.incoming, ZERO, t.invoice, t.gateway, ""))
        if t.outgoing:
            events.append((t.at, REFUND, t.id, t.outgoing, ZERO, t.invoice, t.gateway, ""))
    for c in account.credits:
        events.append((c.at, ADDED if c.amount >= 0 else TAKEN, c.id, abs(c.amount), c.amount, c.invoice, "", ""))
    entries = []
    for at, kind, i_, amount, change, invoice, gateway, status in sorted(
        events, key=lambda f: (f[0], ORDER.index(f[1]), f[2])
    ):
        credit += change
        number = numbers.get(invoice, "") or (str(invoice) if invoice else "")
        entries.append(Entry(at, kind, i_, amount, credit, invoice, number, gateway, status))
    return Ledger(opening, closing, tuple(entries))


def cell(text: str) -> str:
    """A text that a spreadsheet takes for a text: what could be a formula gets an apostrophe before it."""
    risky = text.lstrip(" ").startswith(RISKY) or text.startswith(RISKY)
    return f"'{text}" if risky and not NUMBER.fullmatch(text) else text


def as_csv(account: Account, say: Callable[[str], str] = str) -> str:
    """RFC 4180, with amounts as plain numbers. `say` turns a column's or kind's word into the reader's language."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([cell(say(c)) for c in COLUMNS])
    for e in ledger(account).entries:
        row = (e.at.isoformat(), say(e.kind), e.number, e.gateway, f"{e.signed:.2f}", account.currency.code)
        writer.writerow([cell(c) for c in (*row, f"{e.credit:.2f}")])
    return out.getvalue()
