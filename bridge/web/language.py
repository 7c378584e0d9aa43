"""The language of the request that is being answered: the client's, as WHMCS names it."""

from __future__ import annotations

from typing import Any

from flask import g, has_app_context

from bridge import languages


def choose(language: str) -> None:
    """For this request."""
    g.language = languages.code_of(language)


def current() -> str:
    return str(g.get("language", "en")) if has_app_context() else "en"


def direction() -> str:
    return languages.direction_of(current())


def translate(message: str, **values: Any) -> str:
    return languages.in_language(current(), message, **values)


def translate_many(one: str, many: str, n: int) -> str:
    return languages.in_plural(current(), one, many, n)
