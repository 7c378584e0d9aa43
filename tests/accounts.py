"""A client's account as the add-on sends it, in few words: what a test does not say is plain."""

from __future__ import annotations

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
    """Everything that is sent; keys of the envelope may be named beside the rows: `today`, `may`, `rates`, `ask`, `cut`."""
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
