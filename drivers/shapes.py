"""The shape that a reply must have before anybody believes it: the keys that we use, and their types. Pure functions.

A shape is `TEXT`, `NUMBER`, `FLAG`, `SCALAR` or `ANYTHING`; `[shape]` a list; `{"key": shape}` an object with these
keys among others; `Maybe(shape)` what may also be null or absent; `Each(shape)` an object of any keys; or a function of
the value that returns what is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
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


def by_key(key: str, shapes: dict[str, Any]) -> Callable[[Any], str]:
    """An object whose shape hangs on what its `key` says; others are not looked at."""

    named, known = checking({key: TEXT}), {word: checking(shape) for word, shape in shapes.items()}

    def check(value: Any) -> str:
        return named(value) or known.get(value[key], ANYTHING)(value)

    return check


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
    if isinstance(shape, (dict, Each)):
        if not isinstance(value, dict):
            return f" is {kind(value)}, not an object"
        if isinstance(shape, Each):
            shape = dict.fromkeys(value, shape.shape)
        return next(
            (f".{key[:40]}{_joined(said)}" for key, inner in shape.items() if (said := _key(inner, key, value))), ""
        )
    return str(shape(value))


def fitting(shape: Any) -> Callable[[Any], bool]:
    """Whether a value fits: made once of a shape and asked of many replies, where `wrong` would say why not."""
    if isinstance(shape, Maybe):
        whole = fitting(shape.shape)
        return lambda v: v is None or whole(v)
    if isinstance(shape, list):
        row = fitting(shape[0])
        return lambda v: isinstance(v, list) and all(map(row, v))
    if isinstance(shape, Each):
        each = fitting(shape.shape)
        return lambda v: isinstance(v, dict) and all(map(each, v.values()))
    if isinstance(shape, dict):
        return _fitting_object(shape)
    return QUICK.get(shape) or (lambda v: not shape(v))


def _fitting_object(shape: dict[str, Any]) -> Callable[[Any], bool]:
    needed = [(key, fitting(inner)) for key, inner in shape.items() if not isinstance(inner, Maybe)]
    others = [(key, fitting(inner.shape)) for key, inner in shape.items() if isinstance(inner, Maybe)]

    def fits(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        for key, fit in needed:
            if key not in value or not fit(value[key]):
                return False
        for key, fit in others:
            inner = value.get(key)
            if inner is not None and not fit(inner):
                return False
        return True

    return fits


def _number(value: Any) -> bool:
    return (type(value) is int and -LARGEST < value < LARGEST) or not NUMBER(value)


QUICK: dict[Any, Callable[[Any], bool]] = {
    TEXT: lambda v: isinstance(v, str),
    NUMBER: _number,
    ANYTHING: lambda v: True,
}


def checking(shape: Any) -> Callable[[Any], str]:
    """`wrong` of one shape, quick for what fits: a reply may have ten thousand rows, and nearly all are right."""
    fits = fitting(shape)
    return lambda value: "" if fits(value) else wrong(shape, value).strip()


def _key(shape: Any, key: str, value: dict[str, Any]) -> str:
    if key not in value:
        return "" if isinstance(shape, Maybe) else "is missing"
    return wrong(shape, value[key])


def _joined(said: str) -> str:
    return said if said[0] in ".[ " else f" {said}"
