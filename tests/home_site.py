"""A host with the dashboard's add-on and accounts that have something to say: two accounts of one user in two
currencies, a suspended service, a cancellation, a domain, an add-on, an unpaid invoice. For the demo,
pictures and tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from bridge.costs.events import later
from tests.system import System

ADDON = "index.php?m=vmbridgehome"
# client accounts; the owner of both, and a user of the first without invoices
COMPANY, BRANCH, USER, GUEST = 7, 8, 1, 2
SETTINGS = {
    "AddFundsEnabled": "on",
    "AddFundsMinimum": "10.00",
    "AddFundsMaximum": "500.00",
    "AddFundsMaximumBalance": "1000.00",
    "AddFundsRequireOrder": "on",
    "CreateInvoiceDaysBefore": "14",
    "CreateInvoiceDaysBeforeAnnually": "30",
    "ContinuousInvoiceGeneration": "on",
    "AutoSuspension": "on",
    "AutoSuspensionDays": "5",
    "TaxEnabled": "on",
    "TaxType": "Exclusive",
    "TaxDomains": "on",
    "EnableMassPay": "on",
    "Version": "8.13.0-release.1",
}


def rows_of(today: date) -> dict[str, Any]:
    """Tables of WHMCS's for `/test/tables`."""

    def day(n: int) -> str:
        return (today + timedelta(n)).isoformat()

    def service(i: int, product: int, name: str, amount: str, due: int, **more: Any) -> dict[str, Any]:
        return {
            "id": i,
            "userid": COMPANY,
            "packageid": product,
            "domain": name,
            "domainstatus": "Active",
            "billingcycle": "Monthly",
            "qty": 1,
            "amount": amount,
            "firstpaymentamount": amount,
            "regdate": day(-400),
            "nextduedate": day(due),
            **more,
        }

    past, items, paid = [], [], []
    for n in range(1, 13):
        at = later(today.replace(day=1), -n).isoformat()
        charged = {501: "12.00", 502: "8.00" if n > 1 else "20.00", 503: "8.00", 504: "25.00", 505: "4.50"}
        if n == 11:
            charged[506] = "120.00"
        net = sum(map(Decimal, charged.values()))
        tax = net / 5
        paid.append(
            {"id": 100 + n, "userid": COMPANY, "currency": 0, "gateway": "stripe", "date": f"{at} 10:00:00",
             "description": "Invoice Payment", "amountin": f"{net + tax:.2f}", "fees": "0.00", "amountout": "0.00",
             "invoiceid": 100 + n, "refundid": 0}
        )  # fmt: skip
        past.append(
            {
                "id": 100 + n,
                "userid": COMPANY,
                "invoicenum": f"2026-{100 + n}",
                "date": at,
                "duedate": at,
                "datepaid": at,
                "subtotal": f"{net:.2f}",
                "credit": "0.00",
                "tax": f"{tax:.2f}",
                "tax2": "0.00",
                "total": f"{net + tax:.2f}",
                "status": "Paid",
            }
        )
        for i, (relid, amount) in enumerate(charged.items()):
            items.append(
                {
                    "id": 1000 + n * 10 + i,
                    "invoiceid": 100 + n,
                    "userid": COMPANY,
                    "type": "Hosting",
                    "relid": relid,
                    "amount": amount,
                    "taxed": 1,
                    "duedate": at,
                }
            )
    return {
        "tbladdonmodules": [
            {"id": n + 1, "module": "vmbridgehome", "setting": k, "value": v}
            for n, (k, v) in enumerate({"where": "both", "landing": "", "horizon": "30"}.items())
        ],
        "tblconfiguration": [{"setting": k, "value": v} for k, v in SETTINGS.items()],
        "tblclients": [
            {
                "id": i,
                "firstname": "Ada",
                "lastname": "Byron",
                "companyname": name,
                "email": "ada@example.com",
                "address1": "1 Engine Road",
                "city": "Vienna",
                "country": country,
                "state": "",
                "currency": currency,
                "credit": credit,
                "taxexempt": 0,
                "tax_id": tax,
                "groupid": 0,
                "status": "Active",
                "language": "",
            }
            for i, name, country, currency, credit, tax in (
                (COMPANY, "Byron &amp; Sons", "AT", 1, "45.00", "ATU12345678"),
                (BRANCH, "Byron Overseas", "US", 2, "12.50", ""),
            )
        ],
        "tblusers": [
            {"id": USER, "first_name": "Ada", "last_name": "Byron", "email": "ada@example.com", "second_factor": "",
             "email_verified_at": day(-300)},
            {"id": GUEST, "first_name": "Gus", "last_name": "Guest", "email": "gus@example.com",
             "second_factor": "totp", "email_verified_at": None},
        ],
        "tblusers_clients": [
            {"id": 1, "auth_user_id": USER, "client_id": COMPANY, "owner": 1, "permissions": ""},
            {"id": 2, "auth_user_id": USER, "client_id": BRANCH, "owner": 1, "permissions": ""},
            {"id": 3, "auth_user_id": GUEST, "client_id": COMPANY, "owner": 0, "permissions": "products,tickets"},
        ],
        "tblorders": [
            {"id": c, "userid": c, "status": "Active", "invoiceid": 0, "amount": "9.00"} for c in (COMPANY, BRANCH)
        ],
        "tblproductgroups": [
            {"id": g, "name": name, "hidden": 0, "order": g}
            for g, name in ((1, "Virtual servers"), (2, "Storage"), (3, "LXC"), (4, "Hosting"), (5, "VPN"))
        ],
        "tblproducts": [
            {"id": p, "gid": g, "name": name, "tax": 1, "paytype": "recurring", "servertype": "", "welcomeemail": 0}
            for p, g, name in (
                (52, 2, "Storage box 1 TB"), (53, 3, "LXC S"), (54, 4, "Web hosting L"), (55, 5, "VPN"),
                (56, 3, "LXC M"),
            )
        ],
        "tblhosting": [
            service(501, 54, "shop.example.com", "12.00", 9),
            service(502, 52, "backup.example.com", "20.00", 12),
            service(503, 53, "old.example.com", "8.00", -6, domainstatus="Suspended",
                suspendreason="Overdue on payment"),
            service(504, 54, "intranet.example.com", "25.00", 20),
            service(505, 55, "", "4.50", 9),
            service(506, 53, "ci.example.com", "120.00", 40, billingcycle="Annually"),
            service(601, 54, "us.example.com", "15.00", 5, userid=BRANCH),
        ],
        "tblhostingaddons": [
            {"id": 1, "hostingid": 501, "addonid": 1, "userid": COMPANY, "name": "", "qty": 1,
             "firstpaymentamount": "9.00", "recurring": "9.00",
             "billingcycle": "Quarterly", "tax": "on", "status": "Active", "regdate": day(-80),
             "nextduedate": day(10)}
        ],
        "tbladdons": [{"id": 1, "name": "Extra backups"}],
        "tbldomains": [
            {"id": 1, "userid": COMPANY, "domain": "example.com", "type": "Register", "registrationdate": day(-340),
             "registrationperiod": 1,
             "firstpaymentamount": "15.00", "recurringamount": "15.00", "status": "Active", "nextduedate": day(25),
             "expirydate": day(25), "donotrenew": 0},
            {"id": 2, "userid": COMPANY, "domain": "byron-old.example", "type": "Register",
             "registrationdate": day(-340), "registrationperiod": 1,
             "firstpaymentamount": "15.00", "recurringamount": "15.00", "status": "Active", "nextduedate": day(18),
             "expirydate": day(18), "donotrenew": 1},
        ],
        "tblcancelrequests": [{"id": 1, "date": day(-2), "relid": 504, "reason": "No more need",
            "type": "End of Billing Period"}],
        "tblinvoices": [
            *past,
            {"id": 130, "userid": COMPANY, "invoicenum": "2026-130", "date": day(-20), "duedate": day(-6),
             "subtotal": "8.00", "credit": "0.00", "tax": "1.60", "tax2": "0.00", "total": "9.60",
             "status": "Unpaid"},
        ],
        "tblinvoiceitems": [
            *items,
            {"id": 2000, "invoiceid": 130, "userid": COMPANY, "type": "Hosting", "relid": 503, "amount": "8.00",
             "taxed": 1, "duedate": day(-6)},
        ],
        "tblaccounts": [
            {"id": 1, "userid": COMPANY, "currency": 0, "gateway": "stripe", "date": f"{day(-8)} 09:00:00",
             "description": "Invoice Payment", "amountin": "30.00", "fees": "0.00", "amountout": "0.00",
             "invoiceid": 0, "refundid": 0},
            *paid,
        ],
        "tblcredit": [{"id": 1, "clientid": COMPANY, "date": day(-8), "description": "staff's words",
            "amount": "30.00", "relid": 0}],
        "tbltax": [{"id": 1, "level": 1, "name": "VAT", "state": "", "country": "AT", "taxrate": "20.000"}],
        "tblproduct_upgrade_products": [{"id": 1, "product_id": 53, "upgrade_product_id": 56}],
        "tblpricing": [
            *(
                {"id": p, "type": "product", "currency": 1, "relid": p, "monthly": m, "quarterly": "-1.00",
                 "semiannually": "-1.00",
                 "annually": y, "biennially": "-1.00", "triennially": "-1.00"}
                for p, m, y in ((52, "20.00", "216.00"), (53, "8.00", "120.00"), (54, "12.00", "132.00"), (55, "4.50",
                    "48.00"),
                                (56, "14.00", "150.00"))
            ),
            *(
                {"id": 200 + n, "type": "usage", "currency": 1, "relid": n, "monthly": price}
                for n, price in ((1, "0.05"), (2, "2.50"), (3, "0.10"))
            ),
        ],
        "tblusage_items": [
            {"id": n, "rel_type": "Product", "rel_id": 1, "module_type": "servers", "module": "vmbridge", "metric": m,
             "included": included, "is_hidden": 0}
            for n, m, included in ((1, "bandwidth_total", "1.000000"), (2, "ipv4", "1.000000"), (3, "backup_gb", "0"))
        ],
        "tblpricing_bracket": [
            {"id": n, "floor": "0.000000", "ceiling": "0.000000", "rel_type": "usage", "rel_id": n,
             "schema_type": "simple"} for n in (1, 2, 3)
        ],
        "tblpaymethods": [{"id": 1, "userid": COMPANY, "gateway_name": "stripe", "payment_type": "CreditCard",
            "deleted_at": None}],
        "tblcreditcards": [{"id": 1, "pay_method_id": 1, "card_type": "Visa", "last_four": "4242",
            "expiry_date": day(400)}],
        "tblpaymentgateways": [
            {"id": n, "gateway": g, "setting": s, "value": v, "order": n}
            for n, (g, s, v) in enumerate(
                (("stripe", "name", "Card"), ("stripe", "visible", "on"), ("banktransfer", "name", "Bank transfer"),
                 ("banktransfer", "visible", "on"), ("hidden", "name", "Internal"), ("hidden", "visible", "")), 1)
        ],
    }  # fmt: skip


def many(
    services: int, charges: int, today: date, name: str = "vm.example.com"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """So many services of the branch with so many past charges: tblhosting, tblinvoices, tblinvoiceitems."""
    day = (today - timedelta(40)).isoformat()
    hosting = [
        {"id": 10000 + n, "userid": BRANCH, "packageid": 52 + n % 4, "domain": f"{n}.{name}",
         "domainstatus": "Active", "billingcycle": "Monthly", "qty": 1, "amount": "123.45",
         "firstpaymentamount": "123.45", "regdate": "2025-01-01",
         "nextduedate": (today + timedelta(20 + n % 9)).isoformat()}
        for n in range(services)
    ]  # fmt: skip
    invoice = {"id": 9000, "userid": BRANCH, "invoicenum": "2026-9000", "date": day, "duedate": day, "status": "Paid"}
    items = [
        {"id": 10000 + n, "invoiceid": 9000, "userid": BRANCH, "type": "Hosting", "relid": 10000 + n % max(1, services),
         "amount": "123.45", "taxed": 1, "duedate": day}
        for n in range(charges)
    ]  # fmt: skip
    return hosting, [invoice], items


def furnish(s: System, today: date | None = None, **more: Any) -> None:
    s.post("/test/tables", {"clear": ["tblconfiguration", "tbladdonmodules"], **rows_of(today or date.today()), **more})


def log_in(s: System, user: int = USER, client: int = COMPANY, admin: int = 0) -> None:
    s.post("/test/login", {"user": user, "client": client, "admin": admin})


@contextmanager
def furnished(folder: Path) -> Iterator[System]:
    """Everything runs, and has answered once: the bridge's first answer is its slowest."""
    with System(folder, speed=0.05) as s:
        furnish(s)
        requests.get(f"http://127.0.0.1:{s.host}/{ADDON}", timeout=60).raise_for_status()
        yield s
