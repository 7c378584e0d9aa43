"""The body of `POST /v1/dashboard/<page>`, column by column; `lib/Reader.php` of the add-on and its
parts write it in this order.

    {"today": "2026-11-26", "zone": "Europe/Berlin",
     "currency": {"code": "EUR", "prefix": "", "suffix": " EUR", "format": 3, "rate": "1.00000"},
     "client":   {"id": 7, "name": "Ada Ltd", "credit": "15.00", "exempt": false, "has_tax_id": true,
                  "has_address": true, "has_order": true, "discount": "0.00",
                  "warn": 3},              days before credit runs out for a mail, 0 = none, absent = cannot be chosen
     "may":      ["products", "invoices"],     words of WHMCS's permissions; of the account's owner all, and "owner"
     "settings": {"TaxType": "Exclusive"},     WHMCS's own names (SETTINGS) and texts; what is absent is not known
     "rates":    [[1, "VAT", "20.000"]],       at most one of each level: those of the client's country
     "rows":     {"services": [[...], ...]},   any of ROWS; what is absent is empty
     "cut":      {"past_items": 120},          how many rows of a list were left out
     "urls":     {"details": "clientarea.php?action=details"},
     "ask":      {"show": "active", "family": "g3", "horizon": 30, "month": "2026-11", "skip": 200}}

Amounts and dates are texts as the database has them ("10.00", "2026-12-05", "0000-00-00" or "" for none), ids whole
numbers, flags true and false. Amounts are in the client's currency, but for the limits of add-funds in `settings`:
WHMCS keeps those in its default currency; `currency.rate` is 1 of the default currency in the client's.

A row is an array of exactly these columns:

    groups        id, name, order                              product groups of the products below
    products      id, name, group, taxed, ours                 ours: its module is this one
    services      id, product, name, status, cycle, qty, amount, first, registered, due
                                                               name: the domain or host name; amount: recurring, for all
                                                               of qty; first: firstpaymentamount; due: nextduedate
    suspended     service, reason, kept_until                  suspendreason, overidesuspenduntil: where there are
    addons        id, service, name, status, cycle, amount, first, registered, due, taxed
    domains       id, name, years, status, amount, first, registered, due, expires, not_renewed
    cancels       service, kind, at                            kind: Immediate or End of Billing Period
    open          id, number, status, at, due, total, paid, balance
                                                               Unpaid, Payment Pending, Collections; at: its date; paid:
                                                               sum of in - out; balance: "" = total - paid
    open_items    invoice, kind, of, amount, due               kind: type; of: relid; every item of the rows of `open`
    past_items    invoice, kind, of, amount, due, at, status   Hosting, Addon and Domain of 13 months that are neither
                                                               cancelled nor draft; at, status: the invoice's
    paymethods    gateway, kind, expires                       expires: "2027-03", "" = never
    gateways      name, title                                  what WHMCS's form for adding funds offers
    users         id, name, mail, owner, self, two_factor, verified
    accounts      id, name, code, status, owner, current       every account that the user may open; code: currency
    metered       service, metric, name, unit, included, schema, brackets
                                                               schema: flat or simple; brackets: [[from, price], ...]
    cycles        product, cycle, price                        recurring price in the client's currency, none = not sold
    upgrades      product, to                                  products that it may be changed to
    invoices      id, number, at, due, paid_at, total, credit, status
                                                               of the ledger's month; no draft; without mass payments
    transactions  id, at, gateway, in, out, invoice, refund_of of the ledger's month
    credits       id, at, amount, invoice                      of the ledger's month, signed; never their descriptions
    credit_after  amount                                       one row: the sum of all credits after the ledger's month
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROWS: dict[str, tuple[str, ...]] = {
    "groups": ("id", "name", "order"),
    "products": ("id", "name", "group", "taxed", "ours"),
    "services": ("id", "product", "name", "status", "cycle", "qty", "amount", "first", "registered", "due"),
    "suspended": ("service", "reason", "kept_until"),
    "addons": ("id", "service", "name", "status", "cycle", "amount", "first", "registered", "due", "taxed"),
    "domains": (
        "id",
        "name",
        "years",
        "status",
        "amount",
        "first",
        "registered",
        "due",
        "expires",
        "not_renewed",
    ),
    "cancels": ("service", "kind", "at"),
    "open": ("id", "number", "status", "at", "due", "total", "paid", "balance"),
    "open_items": ("invoice", "kind", "of", "amount", "due"),
    "past_items": ("invoice", "kind", "of", "amount", "due", "at", "status"),
    "paymethods": ("gateway", "kind", "expires"),
    "gateways": ("name", "title"),
    "users": ("id", "name", "mail", "owner", "self", "two_factor", "verified"),
    "accounts": ("id", "name", "code", "status", "owner", "current"),
    "metered": ("service", "metric", "name", "unit", "included", "schema", "brackets"),
    "cycles": ("product", "cycle", "price"),
    "upgrades": ("product", "to"),
    "invoices": ("id", "number", "at", "due", "paid_at", "total", "credit", "status"),
    "transactions": ("id", "at", "gateway", "in", "out", "invoice", "refund_of"),
    "credits": ("id", "at", "amount", "invoice"),
    "credit_after": ("amount",),
}
# A user without the permission is not sent these, and does not see them if they are sent. The owner has them all.
NEEDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("groups", "products", "services", "suspended", "addons", "cancels"), frozenset({"products"})),
    **dict.fromkeys(("metered", "cycles", "upgrades"), frozenset({"products", "invoices"})),
    "domains": frozenset({"domains"}),
    **dict.fromkeys(("open", "open_items", "past_items", "paymethods", "gateways"), frozenset({"invoices"})),
    **dict.fromkeys(("invoices", "transactions", "credits", "credit_after"), frozenset({"invoices"})),
}
PRICED = ("services", "addons", "domains")  # lists whose `amount` and `first` are "0.00" for who may not see invoices
SETTINGS = (  # keys of WHMCS's configuration, of which the texts are sent
    "AddFundsEnabled",
    "AddFundsMinimum",
    "AddFundsMaximum",
    "AddFundsMaximumBalance",
    "AddFundsRequireOrder",
    "NoAutoApplyCredit",
    "EnableMassPay",
    "CreateInvoiceDaysBefore",
    "CreateInvoiceDaysBeforeMonthly",
    "CreateInvoiceDaysBeforeQuarterly",
    "CreateInvoiceDaysBeforeSemiAnnually",
    "CreateInvoiceDaysBeforeAnnually",
    "CreateInvoiceDaysBeforeBiennially",
    "CreateInvoiceDaysBeforeTriennially",
    "CreateDomainInvoiceDaysBefore",
    "ContinuousInvoiceGeneration",
    "AutoSuspension",
    "AutoSuspensionDays",
    "TaxEnabled",
    "TaxType",
    "TaxL2Compound",
    "TaxDomains",
    "TaxPerLineItem",
    "TaxInclusiveDeduct",
    "EnableEmailVerification",
    "Version",
)
PERMISSIONS = (  # of a user in an account, as WHMCS names them; `owner` is ours
    "owner",
    "profile",
    "contacts",
    "products",
    "manageproducts",
    "productsso",
    "domains",
    "managedomains",
    "invoices",
    "quotes",
    "tickets",
    "affiliates",
    "emails",
    "orders",
)
SHOWS = ("all", "active", "suspended", "ending", "attention")
ORDERS = ("name", "cost", "next")
HORIZONS = (30, 90, 365)
DAYS = (1, 3, 7, 14)  # before credit runs out, on which a client may want a mail


def seen(sent: Mapping[str, list[Any]], may: frozenset[str]) -> dict[str, list[Any]]:
    """Of the lists that were sent those that the user may see; without invoices also no price."""
    whole, sums = "owner" in may, "owner" in may or "invoices" in may
    return {
        name: rows if sums or name not in PRICED else [_unpriced(ROWS[name], row) for row in rows]
        for name, rows in sent.items()
        if whole or NEEDS.get(name, frozenset()) <= may
    }


def _unpriced(columns: tuple[str, ...], row: Any) -> Any:
    if not isinstance(row, list):
        return row
    return ["0.00" if columns[n : n + 1] in (("amount",), ("first",)) else value for n, value in enumerate(row)]
