"""WHMCS's configuration by its own names -> Settings."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

from bridge.accounts import cells
from bridge.accounts.nouns import Currency, Settings

CYCLES = {"Monthly": 1, "Quarterly": 3, "SemiAnnually": 6, "Annually": 12, "Biennially": 24, "Triennially": 36}
BEFORE = "CreateInvoiceDaysBefore"
DEFAULT_DAYS = 14  # of a fresh WHMCS
CENT = Decimal("0.01")


class _Texts:
    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts, self.unknown = texts, set[str]()

    def on(self, name: str, default: bool) -> bool:
        """WHMCS writes a set box as "on" or "1" and one that is not as nothing, "off" or "0"."""
        said = self.texts.get(name, "?").strip().lower()
        if said in ("on", "1", "yes", "true"):
            return True
        if said in ("", "0", "off", "no", "false"):
            return False
        self.unknown.add(name)
        return default

    def days(self, name: str, default: int) -> int:
        said = self.texts.get(name, "?").strip()
        if said.isascii() and said.isdigit() and len(said) <= 3:
            return int(said)
        self.unknown.add(name)
        return default

    def limit(self, name: str, currency: Currency) -> Decimal | None:
        """In the client's currency, to the cent. None where there is no limit or none is known."""
        said = self.texts.get(name, "?").strip()
        try:
            limit = cells.price(said) if said else Decimal(0)
        except cells.Unreadable:
            self.unknown.add(name)
            return None
        return (limit * currency.rate).quantize(CENT, ROUND_HALF_UP) if limit else None


def settings_of(texts: Mapping[str, str], currency: Currency) -> Settings:
    """What is absent or cannot be read is named in `unknown` and taken as a fresh WHMCS has it."""
    own = _Texts(texts)
    general = own.days(BEFORE, DEFAULT_DAYS)
    before = {0: general}
    for word, months in CYCLES.items():  # blank or absent: the general one
        before[months] = own.days(BEFORE + word, general) if texts.get(BEFORE + word, "").strip() else general
    domains = "CreateDomainInvoiceDaysBefore"
    kind = texts.get("TaxType", "?").strip().lower()
    if kind not in ("inclusive", "exclusive"):
        own.unknown.add("TaxType")
    return Settings(
        add_funds=own.on("AddFundsEnabled", False),
        minimum=own.limit("AddFundsMinimum", currency),
        maximum=own.limit("AddFundsMaximum", currency),
        maximum_balance=own.limit("AddFundsMaximumBalance", currency),
        needs_order=own.on("AddFundsRequireOrder", True),
        no_auto_credit=own.on("NoAutoApplyCredit", False),
        mass_pay=own.on("EnableMassPay", False),
        days_before=before,
        domain_days=own.days(domains, general) if texts.get(domains, "").strip() else general,
        continuous=own.on("ContinuousInvoiceGeneration", False),
        suspends=own.on("AutoSuspension", True),
        suspend_days=own.days("AutoSuspensionDays", 0),
        taxed=own.on("TaxEnabled", False),
        inclusive=kind == "inclusive",
        compound=own.on("TaxL2Compound", False),
        tax_domains=own.on("TaxDomains", False),
        tax_each_line=own.on("TaxPerLineItem", False),
        deduct=own.on("TaxInclusiveDeduct", False),
        verifies_mail=own.on("EnableEmailVerification", False),
        version=texts.get("Version", "")[:40],
        unknown=tuple(sorted(own.unknown)),
    )
