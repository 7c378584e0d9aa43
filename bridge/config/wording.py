"""The schema library's messages in people's words. What is given is not repeated: it may be a secret."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import fields

MISSING, UNKNOWN = "Missing data for required field.", "Unknown field."
PLAIN = {
    MISSING: "is required",
    "Field may not be null.": "must have a value",
    "Not a valid string.": "must be a text in quotes",
    "Not a valid utf-8 string.": "must be a text in quotes",
    "Not a valid integer.": "must be a whole number",
    "Not a valid number.": "must be a number",
    "Number too large.": "is too large a number",
    "Not a valid boolean.": "must be true or false",
    "Not a valid list.": 'must be a list, e.g. ["a", "b"]',
    "Not a valid mapping type.": "must be a table of names and values",
    "Invalid input type.": "must be a table",
    "Invalid type.": "must be a table",
    "Invalid value.": "is not allowed here",
    "Not a valid URL.": "must be a web address, e.g. https://host.example.com",
    "Not a valid IP address.": "must be an IP address",
    "Not a valid IPv4 address.": "must be an IPv4 address",
    "Not a valid IPv6 address.": "must be an IPv6 address",
    "String does not match expected pattern.": "has characters that are not allowed here",
}
N = r"(-?[\d.]+)"
FORMS: list[tuple[str, str]] = [
    (rf"Must be greater than or equal to {N} and less than or equal to {N}\.", "must be from {0} to {1}"),
    (rf"Must be greater than or equal to {N}\.", "must be {0} or more"),
    (rf"Must be less than or equal to {N}\.", "must be {0} or less"),
    (rf"Must be greater than {N}\.", "must be more than {0}"),
    (rf"Must be less than {N}\.", "must be less than {0}"),
    (r"Must be one of: (.*)\.", "must be one of: {0}"),
]
LENGTHS: list[tuple[str, str]] = [
    (r"Shorter than minimum length (\d+)\.", "at least {0}"),
    (r"Longer than maximum length (\d+)\.", "at most {0}"),
    (r"Length must be between (\d+) and (\d+)\.", "{0} to {1}"),
    (r"Length must be (\d+)\.", "exactly {0}"),
]


def in_words(text: str, field: Any = None) -> str:
    """`field` is the schema's, where it is known: a list has entries, a text characters."""
    if text in PLAIN:
        return PLAIN[text]
    for form, said in FORMS:
        if match := re.fullmatch(form, text, re.S):
            return said.format(*match.groups())
    for form, said in LENGTHS:
        if match := re.fullmatch(form, text):
            return _length(said.format(*match.groups()), match.groups()[-1], field)
    return text


def _length(count: str, last: str, field: Any) -> str:
    if count == "at least 1":
        return "must name at least one" if isinstance(field, fields.List) else "must not be empty"
    what = "entries" if isinstance(field, (fields.List, fields.Dict)) else "characters"
    return f"must have {count} {what if last != '1' else {'entries': 'entry', 'characters': 'character'}[what]}"


def inner(at: Any, key: Any) -> Any:
    """The field below a schema or field; None where it is not known."""
    if isinstance(at, fields.List):
        return at.inner
    if isinstance(at, fields.Nested):
        at = at.schema
    return getattr(at, "fields", {}).get(key)
