"""The shape that a reply must have before anybody believes it: the keys that we use, and their types. Pure functions.

A shape is `TEXT`, `NUMBER`, `FLAG`, `SCALAR` or `ANYTHING`; `[shape]` a list; `{"key": shape}` an object with these
keys among others; `Maybe(shape)` what may also be null or absent; `Each(shape)` an object of any keys;
`ByKey` an object of one of several shapes; or a function of the value that returns what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

LARGEST = 2.0**64
NUMERAL = re.compile(r"-?\d{1,19}(\.\d{1,19})?([eE][+-]?\d{1,2})?\Z")
KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}


@dataclass(frozen=True)
class Maybe:
    """Null, or absent from its object, or of this shape."""

    shape: Any


@dataclass(frozen=True)
class Each:
    """An object whose keys are not known before."""

    shape: Any


@dataclass(frozen=True)
class ByKey:
    """An object whose shape hangs on what its `key` says; others are not looked at."""

    key: str
    shapes: dict[str, Any]


def TEXT(value: Any) -> str:
    return "" if isinstance(value, str) else f"is {kind(value)}, not a text"


def NUMBER(value: Any) -> str:
    """Also as a text: some back ends write numbers so. None is larger than what 64 bits hold."""
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return "" if abs(value) < LARGEST else "is too large"
    if isinstance(value, str):
        return "" if NUMERAL.match(value) and abs(float(value)) < LARGEST else "is a text, not a number"
    return f"is {kind(value)}, not a number"


def FLAG(value: Any) -> str:
    return "" if isinstance(value, bool) or value in (0, 1, "0", "1") else f"is {kind(value)}, not a yes or no"


def SCALAR(value: Any) -> str:
    return f"is {kind(value)}, not a single value" if value is None or isinstance(value, (dict, list)) else ""


def ANYTHING(value: Any) -> str:
    return ""


def matching(pattern: str) -> Callable[[Any], str]:
    """A text of this form; what it holds is not repeated, since it may be anything."""
    form = re.compile(pattern)
    return lambda v: "" if isinstance(v, str) and form.match(v) else f"is {kind(v)} of another form"


def some(shape: Any) -> Callable[[Any], str]:
    """A list that is never empty."""
    check = checking([shape])
    return lambda v: "is empty" if v == [] else check(v)


def kind(value: Any) -> str:
    return KINDS.get(type(value), "a number")


def wrong(shape: Any, value: Any) -> str:
    """What does not fit, with its place (`[3].vmid is missing`); empty when all does. Nothing of the value itself is in
    it."""
    if isinstance(shape, Maybe):
        return "" if value is None else wrong(shape.shape, value)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f" is {kind(value)}, not a list"
        return next((f"[{i}]{_joined(said)}" for i, row in enumerate(value) if (said := wrong(shape[0], row))), "")
    if isinstance(shape, ByKey):
        return wrong({shape.key: TEXT}, value) or wrong(shape.shapes.get(value[shape.key], ANYTHING), value)
    if isinstance(shape, (dict, Each)):
        if not isinstance(value, dict):
            return f" is {kind(value)}, not an object"
        if isinstance(shape, Each):
            shape = dict.fromkeys(value, shape.shape)
        return next(
            (f".{key[:40]}{_joined(said)}" for key, inner in shape.items() if (said := _key(inner, key, value))), ""
        )
    return str(shape(value))


def all_fit(shape: Any) -> Callable[[list[Any]], bool]:
    """Whether all of these values fit, where `wrong` would say why one does not: made once of a shape, and asked of
    whole columns, since a reply may have ten thousand rows and nearly all are right."""
    if isinstance(shape, Maybe):
        there = all_fit(shape.shape)
        return lambda values: there([v for v in values if v is not None])
    if isinstance(shape, list):
        row = all_fit(shape[0])
        return lambda values: _are(list, values) and row([i for v in values for i in v])
    if isinstance(shape, Each):
        each = all_fit(shape.shape)
        return lambda values: _are(dict, values) and each([i for v in values for i in v.values()])
    if isinstance(shape, ByKey):
        return _all_by_key(shape)
    if isinstance(shape, dict):
        return _all_objects(shape)
    return QUICK.get(shape) or (lambda values: not any(map(shape, values)))


def _all_objects(shape: dict[str, Any]) -> Callable[[list[Any]], bool]:
    needed = [(itemgetter(key), all_fit(inner)) for key, inner in shape.items() if not isinstance(inner, Maybe)]
    others = [(key, all_fit(inner.shape)) for key, inner in shape.items() if isinstance(inner, Maybe)]

    def fit(values: list[Any]) -> bool:
        try:
            return (
                _are(dict, values)
                and all(column(list(map(key, values))) for key, column in needed)
                and all(column([i for v in values if (i := v.get(key)) is not None]) for key, column in others)
            )
        except KeyError:
            return False

    return fit


def _all_by_key(shape: ByKey) -> Callable[[list[Any]], bool]:
    named, known = all_fit({shape.key: TEXT}), {word: all_fit(inner) for word, inner in shape.shapes.items()}

    def fit(values: list[Any]) -> bool:
        return named(values) and all(rows([v for v in values if v[shape.key] == word]) for word, rows in known.items())

    return fit


def _are(kind: type, values: list[Any]) -> bool:
    return set(map(type, values)) <= {kind}


def _numbers(values: list[Any]) -> bool:
    whole = _are(int, values) and min(values, default=0) > -LARGEST and max(values, default=0) < LARGEST
    return whole or not any(map(NUMBER, values))


QUICK: dict[Any, Callable[[list[Any]], bool]] = {
    TEXT: lambda values: _are(str, values),
    NUMBER: _numbers,
    ANYTHING: lambda values: True,
}


def checking(shape: Any) -> Callable[[Any], str]:
    """`wrong` of one shape, quick for what fits."""
    fit = all_fit(shape)
    return lambda value: "" if fit([value]) else wrong(shape, value).strip()


def _key(shape: Any, key: str, value: dict[str, Any]) -> str:
    if key not in value:
        return "" if isinstance(shape, Maybe) else "is missing"
    return wrong(shape, value[key])


def _joined(said: str) -> str:
    return said if said[0] in ".[ " else f" {said}"
