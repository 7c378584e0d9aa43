"""A client's account as the add-on sends it, in few words: what a test does not say is plain."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import Any

from bridge.accounts import wire
from bridge.accounts.columns import PERMISSIONS, ROWS
from bridge.accounts.nouns import Account

TODAY = "2026-11-26"
SETTINGS = {
    "AddFundsEnabled": "on",
    "AddFundsMinimum": "",
    "AddFundsMaximum": "",
    "AddFundsMaximumBalance": "",
    "AddFundsRequireOrder": "on",
    "NoAutoApplyCredit": "",
    "EnableMassPay": "on",
    "CreateInvoiceDaysBefore": "14",
    "CreateInvoiceDaysBeforeAnnually": "30",
    "CreateDomainInvoiceDaysBefore": "14",
    "ContinuousInvoiceGeneration": "on",
    "AutoSuspension": "on",
    "AutoSuspensionDays": "5",
    "TaxEnabled": "on",
    "TaxType": "Exclusive",
    "TaxL2Compound": "",
    "TaxDomains": "on",
    "TaxPerLineItem": "",
    "TaxInclusiveDeduct": "",
    "EnableEmailVerification": "on",
    "Version": "8.13.1-release.1",
}


def row(list_: str, **cells: Any) -> list[Any]:
    """A row of the list in its order; every column has to be said."""
    assert set(cells) == set(ROWS[list_]), (list_, set(ROWS[list_]) ^ set(cells))
    return [cells[name] for name in ROWS[list_]]


def service(
    i: int = 1, amount: str = "10.00", cycle: str = "Monthly", due: str = "2026-12-05", **more: Any
) -> list[Any]:
    plain = {"product": 1, "name": f"vm-{i}.example.com", "status": "Active", "qty": 1, "registered": "2025-01-05"}
    own = {"id": i, "amount": amount, "cycle": cycle, "due": due, "first": amount}
    return row("services", **{**plain, **own, **more})


def addon(
    i: int = 1, amount: str = "9.00", cycle: str = "Quarterly", due: str = "2026-12-05", **more: Any
) -> list[Any]:
    plain = {"service": 1, "name": "Backup space", "status": "Active", "registered": "2025-01-05", "taxed": True}
    own = {"id": i, "amount": amount, "cycle": cycle, "due": due, "first": amount}
    return row("addons", **{**plain, **own, **more})


def domain(i: int = 1, amount: str = "30.00", years: int = 2, due: str = "2027-03-01", **more: Any) -> list[Any]:
    plain = {"name": f"example-{i}.com", "status": "Active", "registered": "2025-03-01", "not_renewed": False}
    own = {"id": i, "amount": amount, "years": years, "due": due, "first": amount, "expires": due}
    return row("domains", **{**plain, **own, **more})


def invoice(i: int = 100, total: str = "6.00", **more: Any) -> list[Any]:
    plain = {"number": "", "status": "Unpaid", "at": "2026-11-20", "due": "2026-12-04", "paid": "0.00", "balance": ""}
    return row("open", **{**plain, "id": i, "total": total, **more})


def item(
    invoice: int = 100, amount: str = "6.00", kind: str = "Hosting", of: int = 99, due: str = "2026-12-04"
) -> list[Any]:
    return [invoice, kind, of, amount, due]


def past(
    of: int, amount: str, due: str, kind: str = "Hosting", at: str = "", status: str = "Paid", invoice: int = 0
) -> list[Any]:
    return [invoice or 1000 + of, kind, of, amount, due, at or due, status]


def body(
    credit: str = "0.00",
    settings: dict[str, str] | None = None,
    client: dict[str, Any] | None = None,
    currency: dict[str, Any] | None = None,
    **rows: list[Any],
) -> dict[str, Any]:
    """Everything that is sent; keys of the envelope may be named beside the rows: `today`, `may`, `rates`, `ask`,
    `cut`."""
    envelope = {k: rows.pop(k) for k in ("today", "zone", "may", "rates", "ask", "cut", "urls") if k in rows}
    given: dict[str, Any] = {"groups": [[3, "VPS", 1]], "products": [[1, "VPS S", 3, True, True]], **rows}
    return {
        "today": TODAY,
        "zone": "Europe/Berlin",
        "may": list(PERMISSIONS),
        "currency": {"code": "EUR", "prefix": "", "suffix": " EUR", "format": 1, "rate": "1.00000", **(currency or {})},
        "client": {
            "id": 7,
            "name": "Ada Ltd",
            "credit": credit,
            "exempt": False,
            "has_tax_id": True,
            "has_address": True,
            "has_order": True,
            "discount": "0.00",
            **(client or {}),
        },
        "settings": {**SETTINGS, **(settings or {})},
        "rows": given,
        **envelope,
    }


def account(credit: str = "0.00", **more: Any) -> Account:
    return wire.read(body(credit, **more))


VAT = [[1, "VAT", "20.000"]]


def made_up(r: Random, most: int = 6) -> dict[str, Any]:
    """A body with everything that happens: cycles, states, ends, taxes, invoices, limits."""
    day = date(2026, 1, 1) + timedelta(r.randrange(700))

    def near(low: int, high: int) -> str:
        return (day + timedelta(r.randint(low, high))).isoformat()

    def cost(high: int = 20000) -> str:
        return f"{r.choice((r.randrange(high), r.randrange(300), 0)) / 100:.2f}"

    services, addons, domains, cancels, invoices, items, before = [], [], [], [], [], [], []
    for n in range(1, r.randint(0, most) + 1):
        due = near(-60, 400)
        services.append(
            service(
                n,
                cost(),
                r.choice(("Monthly", "Monthly", "Quarterly", "Semi-Annually", "Annually", "Biennially", "Triennially",
                  "One Time", "Free Account")),
                due,
                product=r.randint(1, 2),
                status=r.choice(("Active", "Active", "Active", "Suspended", "Pending", "Terminated")),
                first=cost(),
                registered=r.choice((due, "2025-01-05")),
            )
        )  # fmt: skip
        if not r.randrange(5):
            cancels.append([n, r.choice(("Immediate", "End of Billing Period")), near(-20, 0)])
        if not r.randrange(3):
            addons.append(addon(n, cost(), "Monthly", near(-10, 90), service=n, taxed=bool(r.randrange(2))))
        if not r.randrange(3):
            many = r.choice((False, True))
            number = 500 + n
            if many:
                invoices.append(invoice(number, cost()))
                items.append(item(number, cost(), of=n, due=due))
            else:
                before.append(past(n, cost(), due, status=r.choice(("Paid", "Refunded"))))
    for n in range(1, r.randint(0, 2) + 1):
        domains.append(
            domain(
                n,
                cost(),
                r.randint(1, 3),
                near(-20, 500),
                status=r.choice(("Active", "Grace")),
                not_renewed=not r.randrange(4),
            )
        )
    if not r.randrange(4):
        invoices.append(invoice(900, "50.00"))
        items.append(item(900, "50.00", r.choice(("AddFunds", "Invoice")), 7))
    choice = {
        "TaxType": r.choice(("Exclusive", "Inclusive")),
        "TaxL2Compound": r.choice(("", "on")),
        "TaxPerLineItem": r.choice(("", "on")),
        "TaxInclusiveDeduct": r.choice(("", "on")),
        "TaxEnabled": r.choice(("", "on", "on")),
        "CreateInvoiceDaysBefore": str(r.randrange(20)),
        "CreateInvoiceDaysBeforeMonthly": r.choice(("", "3")),
        "AutoSuspensionDays": str(r.randrange(9)),
    }
    rates = r.choice(([], [[1, "VAT", "19.000"]], [[1, "GST", "5.000"], [2, "QST", "9.975"]]))
    return body(
        f"{r.choice((0, r.randrange(5000), r.randrange(300000))) / 100:.2f}",
        choice,
        {"exempt": not r.randrange(4), "discount": r.choice(("0.00", "0.00", "10.00", "12.50"))},
        {"format": r.choice((1, 1, 4))},
        today=day.isoformat(),
        rates=rates,
        products=[[1, "VPS S", 3, True, True], [2, "VPS M", 3, False, True]],
        services=services,
        addons=addons,
        domains=domains,
        cancels=cancels,
        open=invoices,
        open_items=items,
        past_items=before,
    )
