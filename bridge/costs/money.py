"""Rounding, and an amount as WHMCS writes it for the client's currency."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from bridge.accounts.nouns import Currency

CENT = Decimal("0.01")
ZERO = Decimal(0)
SEPARATORS = {1: ("", "."), 2: (",", "."), 3: (".", ","), 4: (",", "")}  # WHMCS's formats: of thousands, of decimals


def rounded(value: Fraction | Decimal, digits: int = 2) -> Decimal:
    """Half up, away from zero, as WHMCS rounds."""
    top, bottom = value.as_integer_ratio()
    whole = (2 * abs(top) * 10**digits + bottom) // (2 * bottom)
    return Decimal(-whole if top < 0 else whole).scaleb(-digits)


def share(value: Decimal, part: Fraction) -> Decimal:
    """A part of an amount of 0 or more, rounded as `rounded` does; in whole numbers: every line needs it."""
    top, bottom = value.as_integer_ratio()
    top, bottom = top * part.numerator * 200, bottom * part.denominator
    return Decimal((top + bottom) // (2 * bottom)).scaleb(-2)


def up(value: Decimal, currency: Currency) -> Decimal:
    """To the currency's smallest unit, never less."""
    return value.quantize(Decimal(1).scaleb(-currency.digits), ROUND_CEILING)


def shown(value: Fraction | Decimal, currency: Currency, digits: int | None = None) -> str:
    """`1.234,50 EUR`: prefix, number, suffix, as WHMCS puts them together. More `digits` are for prices of an hour."""
    places = currency.digits if digits is None else digits
    number = rounded(value, places)
    thousands, point = SEPARATORS[currency.format]
    sign, text = "-" if number < 0 else "", f"{abs(number):,.{places}f}"
    whole, _, rest = text.partition(".")
    text = whole.replace(",", thousands) + (f"{point or '.'}{rest}" if rest else "")
    return f"{sign}{currency.prefix}{text}{currency.suffix}"


def hourly(value: Fraction, currency: Currency) -> str:
    """Four decimals, and more before it would read 0."""
    digits = 4
    while value and not rounded(value, digits) and digits < 12:
        digits += 1
    return shown(value, currency, digits)
