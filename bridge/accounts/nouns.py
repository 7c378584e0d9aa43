"""What a client has at WHMCS, as frozen data. Amounts are Decimal in the client's currency, days are dates; None is
"not known" unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

ACTIVE, SUSPENDED = "active", "suspended"
HOSTING, ADDON, DOMAIN = "Hosting", "Addon", "Domain"  # kinds of lines, as invoices name them
GONE = ("terminated", "cancelled", "fraud", "transferredaway", "expired")  # not owned any more
MONTHS: dict[str, int] = {
    "monthly": 1,
    "quarterly": 3,
    "semiannually": 6,
    "annually": 12,
    "biennially": 24,
    "triennially": 36,
}
ONE_TIME, FREE = "onetime", "free"


@dataclass(frozen=True)
class Currency:
    """`format` is WHMCS's: 1 = 1234.56, 2 = 1,234.56, 3 = 1.234,56, 4 = 1,234. `rate`: one of the default currency."""

    code: str
    prefix: str = ""
    suffix: str = ""
    format: int = 1
    rate: Decimal = Decimal(1)

    @property
    def digits(self) -> int:
        return 0 if self.format == 4 else 2


@dataclass(frozen=True)
class Client:
    id: int
    name: str
    credit: Decimal
    exempt: bool = False
    has_tax_id: bool = False
    has_address: bool = False
    has_order: bool = False
    discount: Decimal = Decimal(0)  # percent of the client's group
    warn: int | None = None  # days before credit runs out for a mail, 0 = none; None: cannot be chosen


@dataclass(frozen=True)
class Rate:
    """A tax of the client's country; `percent` as WHMCS has it, with three decimals."""

    level: int
    name: str
    percent: Decimal


@dataclass(frozen=True)
class Settings:
    """WHMCS's own settings. `unknown` names those not sent or not readable: what follows from them is "about"."""

    add_funds: bool = False
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    maximum_balance: Decimal | None = None
    needs_order: bool = True
    no_auto_credit: bool = False
    mass_pay: bool = False
    days_before: Mapping[int, int] = field(default_factory=dict)  # months of the cycle -> days; 0 of every other
    domain_days: int = 14
    continuous: bool = True
    suspends: bool = True
    suspend_days: int = 0
    taxed: bool = False
    inclusive: bool = False
    compound: bool = False
    tax_domains: bool = False
    tax_each_line: bool = False
    deduct: bool = False
    verifies_mail: bool = False
    version: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A service, an add-on of one or a domain: what is charged again and again. `months` of its cycle, 0 where nothing
    recurs (`cycle` says which: one-time or free). `amount` is of a whole cycle and for all of `qty`, before group
    discount and, where prices are exclusive, tax. `ends`: it is cancelled, from that day on (None with `ending`: at
    once). Lines are only of what is owned: nothing that is gone."""

    kind: str
    id: int
    name: str
    family: str
    status: str
    cycle: str
    months: int
    amount: Decimal
    first: Decimal
    registered: date | None
    due: date | None
    taxed: bool = False
    parent: int = 0  # an add-on's service
    product: int = 0
    product_name: str = ""
    qty: int = 1
    ours: bool = False
    ending: bool = False
    ends: date | None = None
    expires: date | None = None  # a domain
    not_renewed: bool = False  # a domain that is not to be renewed
    reason: str = ""  # why it is suspended
    kept_until: date | None = None  # not suspended before

    @property
    def key(self) -> tuple[str, int]:
        """(kind, id): ids of services, add-ons and domains are counted apart."""
        return self.kind, self.id


@dataclass(frozen=True)
class Owned:
    """What is counted of a service or domain, also where its price cannot be."""

    kind: str
    id: int
    name: str
    family: str
    status: str
    ending: bool = False
    ours: bool = False


@dataclass(frozen=True)
class NotCounted:
    """A row that is in no sum, and why. `row`: its list; `reason`: one of REASONS; `value`: what stood there."""

    row: str
    id: int
    name: str
    reason: str
    value: str = ""


REASONS = (
    "bad_row",  # it has not the columns of its list
    "bad_amount",
    "negative_amount",
    "bad_date",
    "no_due_date",
    "long_past_due",
    "unknown_cycle",
    "unknown_status",
    "twice",
    "unknown_parent",  # an add-on without its service, an item without its invoice
)


@dataclass(frozen=True)
class Family:
    """`key` as in addresses: `g3` of a product group, `domains`."""

    key: str
    name: str
    order: int = 0


@dataclass(frozen=True)
class Product:
    id: int
    name: str
    family: str
    taxed: bool
    ours: bool
    cycles: Mapping[str, Decimal] = field(default_factory=dict)  # cycle -> its recurring price
    upgrades: tuple[int, ...] = ()


class Item(NamedTuple):
    """Of an invoice. `kind` Hosting, Addon, Domain, AddFunds, Invoice ...; `of`: the line's id. `at` and `status` are
    the invoice's."""

    invoice: int
    kind: str
    of: int
    amount: Decimal
    due: date | None
    at: date | None = None
    status: str = ""


@dataclass(frozen=True)
class Invoice:
    """An open one. `balance` is what is still to be paid."""

    id: int
    number: str
    status: str
    at: date | None
    due: date | None
    balance: Decimal
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class PayMethod:
    gateway: str
    kind: str
    expires: str = ""  # "2027-03"; empty = never


@dataclass(frozen=True)
class Gateway:
    """A way of paying, as WHMCS's form names it and as people read it."""

    name: str
    title: str


@dataclass(frozen=True)
class User:
    id: int
    name: str
    mail: str
    owner: bool
    self: bool
    two_factor: bool
    verified: bool


@dataclass(frozen=True)
class Other:
    """A client account that the user may open."""

    id: int
    name: str
    code: str
    status: str
    owner: bool
    current: bool


@dataclass(frozen=True)
class Metered:
    """What is billed by use: `brackets` are (from so many units on, price of a unit); `flat`: the bracket that the
    whole lies in prices all of it, else each part has its own bracket's price. Without brackets no price is known."""

    service: int
    metric: str
    name: str
    unit: str
    included: Decimal
    flat: bool
    brackets: tuple[tuple[Decimal, Decimal], ...] = ()


@dataclass(frozen=True)
class PastInvoice:
    id: int
    number: str
    at: date
    due: date | None
    paid_at: date | None
    total: Decimal
    credit: Decimal
    status: str


@dataclass(frozen=True)
class Transaction:
    id: int
    at: date
    gateway: str
    incoming: Decimal
    outgoing: Decimal
    invoice: int
    refund_of: int


@dataclass(frozen=True)
class Credit:
    id: int
    at: date
    amount: Decimal
    invoice: int


@dataclass(frozen=True)
class Ask:
    """What the address of the page asks for."""

    show: str = "all"
    family: str = ""
    by: str = "name"  # order of the list
    horizon: int = 30
    month: str = ""
    tax: str = ""  # with, without; empty: as the host's prices
    service: int = 0
    cycle: str = ""
    product: int = 0
    amount: str = ""
    kept: int = 0  # 1: the choice was just kept
    skip: int = 0  # rows of a long list before those that are shown


@dataclass(frozen=True)
class Account:
    today: date
    zone: str
    currency: Currency
    client: Client
    may: frozenset[str]
    settings: Settings
    rates: tuple[Rate, ...] = ()
    families: tuple[Family, ...] = ()
    products: Mapping[int, Product] = field(default_factory=dict)
    owned: tuple[Owned, ...] = ()
    lines: tuple[Line, ...] = ()
    not_counted: tuple[NotCounted, ...] = ()
    open: tuple[Invoice, ...] = ()
    past: tuple[Item, ...] = ()
    paymethods: tuple[PayMethod, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    users: tuple[User, ...] = ()
    others: tuple[Other, ...] = ()
    metered: tuple[Metered, ...] = ()
    invoices: tuple[PastInvoice, ...] = ()
    transactions: tuple[Transaction, ...] = ()
    credits: tuple[Credit, ...] = ()
    credit_after: Decimal = Decimal(0)
    cut: Mapping[str, int] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    ask: Ask = Ask()
    # What was computed of it once, by whom it is computed; another account made of it by `replace` begins without.
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
