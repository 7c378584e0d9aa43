"""The body of the dashboard's call -> an Account. The envelope is strict: a fault there is the caller's and names its
field. A row that cannot be read is neither an error nor a 0: it is listed as not counted, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load, validate

from bridge.accounts import cells
from bridge.accounts.columns import DAYS, HORIZONS, ORDERS, ROWS, SETTINGS, SHOWS
from bridge.accounts.nouns import Account, Ask, Client, Currency, Rate
from bridge.accounts.rows import Rows
from bridge.accounts.settings import settings_of
from bridge.errors import BadRequest

TEXT = validate.Length(max=1000)


class Amount(fields.Field[Decimal]):
    """A decimal as text."""

    def __init__(self, least: int | None = None, most: int | None = None, **more: Any) -> None:
        self.least, self.most = least, most
        super().__init__(**more)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Decimal:
        try:
            number = cells.amount(value)
        except cells.Unreadable:
            raise ValidationError('Must be a decimal number as text, e.g. "10.00".') from None
        if self.least is not None and number < self.least:
            raise ValidationError(f"Must be {self.least} or more.")
        if self.most is not None and number > self.most:
            raise ValidationError(f"Must be {self.most} or less.")
        return number


class Day(fields.Field[date]):
    """A day as text."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> date:
        try:
            return cells.some_day(value)
        except cells.Unreadable:
            raise ValidationError('Must be a day as text, e.g. "2026-11-26".') from None


class Strict(Schema):
    class Meta:
        unknown = RAISE


class CurrencySchema(Strict):
    code = fields.Str(required=True, validate=validate.Length(1, 10))
    prefix = fields.Str(load_default="", validate=validate.Length(max=10))
    suffix = fields.Str(load_default="", validate=validate.Length(max=10))
    format = fields.Int(load_default=1, strict=True, validate=validate.OneOf((1, 2, 3, 4)))
    rate = Amount(load_default=Decimal(1), least=0)


class ClientSchema(Strict):
    id = fields.Int(required=True, strict=True, validate=validate.Range(min=1))
    name = fields.Str(load_default="", validate=TEXT)
    credit = Amount(load_default=Decimal(0))
    exempt = fields.Bool(load_default=False)
    has_tax_id = fields.Bool(load_default=False)
    has_address = fields.Bool(load_default=False)
    has_order = fields.Bool(load_default=False)
    discount = Amount(load_default=Decimal(0), least=0, most=100)
    warn = fields.Int(load_default=None, allow_none=True, strict=True, validate=validate.OneOf((0, *DAYS)))


class AskSchema(Strict):
    show = fields.Str(load_default="all", validate=validate.OneOf(SHOWS))
    family = fields.Str(load_default="", validate=validate.Length(max=40))
    by = fields.Str(load_default="name", validate=validate.OneOf(ORDERS))
    horizon = fields.Int(load_default=30, strict=True, validate=validate.OneOf(HORIZONS))
    month = fields.Str(load_default="", validate=validate.Regexp(r"^([0-9]{4}-(0[1-9]|1[0-2]))?\Z"))
    tax = fields.Str(load_default="", validate=validate.OneOf(("", "with", "without")))
    service = fields.Int(load_default=0, strict=True, validate=validate.Range(min=0))
    cycle = fields.Str(load_default="", validate=validate.Length(max=40))
    product = fields.Int(load_default=0, strict=True, validate=validate.Range(min=0))
    amount = fields.Str(load_default="", validate=validate.Length(max=20))
    skip = fields.Int(load_default=0, strict=True, validate=validate.Range(0, 999_999))
    kept = fields.Int(load_default=0, strict=True, validate=validate.OneOf((0, 1)))


def _rows(value: Any) -> None:
    if not isinstance(value, list):
        raise ValidationError("Must be a list of rows.")


class BodySchema(Strict):
    today = Day(required=True)
    zone = fields.Str(load_default="", validate=validate.Length(max=60))
    language = fields.Str(load_default="", validate=validate.Length(max=60))
    currency = fields.Nested(CurrencySchema, required=True)
    client = fields.Nested(ClientSchema, required=True)
    may = fields.List(fields.Str(validate=validate.Length(max=40)), load_default=list, validate=validate.Length(max=60))
    settings = fields.Dict(
        keys=fields.Str(validate=validate.OneOf(SETTINGS)), values=fields.Str(validate=TEXT), load_default=dict
    )
    rates = fields.List(fields.Raw(), load_default=list, validate=validate.Length(max=2))
    rows = fields.Dict(
        keys=fields.Str(validate=validate.OneOf(list(ROWS))), values=fields.Raw(validate=_rows), load_default=dict
    )
    cut = fields.Dict(
        keys=fields.Str(validate=validate.OneOf(list(ROWS))),
        values=fields.Int(strict=True, validate=validate.Range(min=0)),
        load_default=dict,
    )
    urls = fields.Dict(keys=fields.Str(validate=TEXT), values=fields.Str(validate=TEXT), load_default=dict)
    ask = fields.Nested(AskSchema, load_default=dict)

    @pre_load
    def empty_arrays(self, data: Any, **_: Any) -> Any:
        """PHP writes an empty table as an empty list."""
        tables = ("settings", "rows", "cut", "urls", "ask")
        return {k: {} if v == [] and k in tables else v for k, v in data.items()} if isinstance(data, dict) else data


BODY = BodySchema()


def _first(messages: Any, path: str = "") -> str:
    """`client.credit: Must be ...` of the first fault."""
    if isinstance(messages, dict):
        key, inner = next(iter(messages.items()))
        name = str(key)[:60]
        return _first(inner, path if name in ("key", "value") else f"{path}.{name}".lstrip("."))
    return f"{path}: {messages[0] if isinstance(messages, list) and messages else messages}"


def read(body: Any) -> Account:
    """Raises BadRequest naming the field of the envelope that is wrong."""
    try:
        sent = BODY.load(body)
    except ValidationError as e:
        raise BadRequest(_first(e.messages), code="bad_dashboard") from None
    may = frozenset(sent["may"])
    currency = Currency(**sent["currency"])
    client = Client(**sent["client"])
    rows = Rows(sent["today"], sent["rows"], may)
    return rows.account(
        Account(
            today=sent["today"],
            zone=sent["zone"],
            currency=currency,
            client=client,
            may=may,
            settings=settings_of(sent["settings"], currency),
            rates=_rates(sent["rates"]),
            cut={k: n for k, n in sent["cut"].items() if n},
            urls=sent["urls"],
            ask=Ask(**(sent["ask"] or AskSchema().load({}))),
        )
    )


def _rates(sent: list[Any]) -> tuple[Rate, ...]:
    """A rate that cannot be read would make every price wrong: it is no row, it is a fault."""
    by_level: dict[int, Rate] = {}
    for n, row in enumerate(sent):
        try:
            level, name, percent = row
            rate = Rate(cells.whole(level), cells.text(name), cells.price(percent))
        except (ValueError, TypeError):
            raise BadRequest(f"rates[{n}]: must be [level, name, rate as text].", code="bad_dashboard") from None
        if rate.level not in (1, 2) or rate.level in by_level:
            raise BadRequest(f"rates[{n}]: its level must be 1 or 2, each once.", code="bad_dashboard")
        by_level[rate.level] = rate
    return tuple(by_level[level] for level in sorted(by_level))
