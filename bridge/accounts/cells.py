"""One cell of a row: what it has to be, or why it cannot be read. Nothing is guessed: what is no amount is never 0."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

AMOUNT = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,10})?")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
LONGEST = 200  # characters of a name
NO_DAY = ("", "0000-00-00")


class Unreadable(ValueError):
    """`reason` is one of `nouns.REASONS`, `value` what stood there."""

    def __init__(self, reason: str, value: Any = "") -> None:
        self.reason, self.value = reason, str(value)[:60]
        super().__init__(reason)


def whole(value: Any) -> int:
    """An id or a count."""
    if type(value) is not int or not 0 <= value < 2**53:
        raise Unreadable("bad_row", value)
    return value


def text(value: Any) -> str:
    if type(value) is not str:
        raise Unreadable("bad_row", value)
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 3]}..."


def flag(value: Any) -> bool:
    if value is not True and value is not False:
        raise Unreadable("bad_row", value)
    return bool(value)


@lru_cache(maxsize=4096)
def _decimal(value: str) -> Decimal | None:
    return Decimal(value) if AMOUNT.fullmatch(value) else None


def amount(value: Any) -> Decimal:
    """Of the database, as text; it may be below 0."""
    number = _decimal(value) if type(value) is str else None
    if number is None:
        raise Unreadable("bad_amount", value)
    return number


def price(value: Any) -> Decimal:
    number = amount(value)
    if number < 0:
        raise Unreadable("negative_amount", value)
    return number


@lru_cache(maxsize=4096)
def _date(value: str) -> date | None:
    if not DAY.fullmatch(value):
        return None
    try:
        parsed = date.fromisoformat(value)
    except ValueError:
        return None
    return parsed if 1990 <= parsed.year <= 2199 else None


def day(value: Any) -> date | None:
    """None where the database has none."""
    if type(value) is not str:
        raise Unreadable("bad_date", value)
    if value in NO_DAY:
        return None
    parsed = _date(value)
    if parsed is None:
        raise Unreadable("bad_date", value)
    return parsed


def some_day(value: Any) -> date:
    parsed = day(value)
    if parsed is None:
        raise Unreadable("bad_date", value)
    return parsed


@lru_cache(maxsize=256)
def letters(value: str) -> str:
    """A word of WHMCS's by its letters alone: "One Time" and "One-Time" are the same."""
    return "".join(c for c in value.lower() if c.isalpha())
