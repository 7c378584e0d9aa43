"""Languages by WHMCS's names of them, and sentences in each; English is complete, others are gettext catalogues in
bridge/locale (or in the folder VMBRIDGE_LOCALE), and two made-up ones show what a page does with long and with
right-to-left text. Numbers, dates, directions and the choice of a language are Unicode's (CLDR), by Babel. What a
request's own language is stands in web/language.py."""

from __future__ import annotations

import gettext
import os
import re
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_decimal
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from bridge.model import Sentence

FOLDER = Path(__file__).parent / "locale"
CODES = {  # WHMCS's language files -> gettext's codes
    "arabic": "ar",
    "azerbaijani": "az",
    "catalan": "ca",
    "chinese": "zh",
    "croatian": "hr",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "estonian": "et",
    "farsi": "fa",
    "french": "fr",
    "german": "de",
    "hebrew": "he",
    "hungarian": "hu",
    "italian": "it",
    "macedonian": "mk",
    "norwegian": "nb",
    "portuguese-br": "pt_BR",
    "portuguese-pt": "pt",
    "romanian": "ro",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "turkish": "tr",
    "ukranian": "uk",
    "pseudo": "en_XA",
    "pseudo-rtl": "ar_XB",
}
PSEUDO = {"en_XA": "en", "ar_XB": "ar"}  # made-up language -> the one whose numbers, dates and direction it has
ISO = "%Y-%m-%d %H:%M"  # of a moment in English: 11/12/2026 would be two days
PLACEHOLDER = re.compile(r"(%\(\w+\)[sd]|%%|%[A-Za-z]|<[^>]+>)")  # values, and the parts of a date
ISOLATE, END = "\u2068", "\u2069"  # Unicode's: text in between has a direction of its own
ACCENTS = str.maketrans("aeiouycnAEIOUCN", "áéîöûýçñÁÉÎÖÛÇÑ")


class Pseudo(gettext.NullTranslations):
    """A third longer, with accents and brackets: what is not translated, cut or broken is seen at once."""

    def gettext(self, message: str) -> str:
        if not message.strip():
            return message
        parts = PLACEHOLDER.split(message)
        text = "".join(p if PLACEHOLDER.fullmatch(p) else p.translate(ACCENTS) for p in parts)
        return f"[{text}{' ~' * (len(message) // 6)}]"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


def code_of(language: str) -> str:
    return CODES.get(language.strip().lower(), "en")


@lru_cache(maxsize=64)
def _catalogue(code: str) -> gettext.NullTranslations:
    if code in PSEUDO:
        return Pseudo()
    folder = os.environ.get("VMBRIDGE_LOCALE") or str(FOLDER)
    return gettext.translation("vmbridge", folder, [code], fallback=True)


@lru_cache(maxsize=64)
def _locale(code: str) -> Locale:
    return Locale.parse(PSEUDO.get(code, code))


def accepted(header: str) -> str:
    """The language of an Accept-Language header that its sender likes best and that there is a name for; English where
    there is none."""
    known = {c.replace("_", "-"): c for c in CODES.values()}
    wanted = parse_accept_header(header, LanguageAccept)
    return known.get(wanted.best_match(known) or "", "en")


def direction_of(code: str) -> str:
    """`ltr` or `rtl`."""
    return str(_locale(code).text_direction)


def in_language(code: str, message: str, **values: Any) -> str:
    """A sentence with its values; its own values, where they are sentences, are translated too. From right to left
    each value keeps its own direction: `203-0-113-10.example.com` would fall apart at its dots."""
    template = message
    if isinstance(message, Sentence):
        template, values = message.template, {**message.values, **values}
    text = _catalogue(code).gettext(template) if template else ""  # the empty one is gettext's own header
    return text % {k: _value(code, v) for k, v in values.items()} if values else text


def _value(code: str, value: Any) -> Any:
    """Of a sentence in that language."""
    if isinstance(value, Sentence):
        return isolated(code, in_language(code, value))
    return isolated(code, value) if type(value) is str else value


def isolated(code: str, text: str) -> str:
    """In the direction of its own first letter, or from left to right, whatever stands around it."""
    return f"{ISOLATE}{text}{END}" if text and direction_of(code) == "rtl" else text


def plural(one: str, many: str) -> tuple[str, str]:
    """A sentence with its plural, marked for `make messages`."""
    return one, many


def in_plural(code: str, one: str, many: str, n: int) -> str:
    return _catalogue(code).ngettext(one, many, n)


def plurals_in(code: str, one: str, many: str) -> dict[str, str]:
    """Each form that numbers have in the language, by Unicode's name of it, for scripts: `{"one": "%(n)d day", "other":
    "%(n)d days"}`."""
    form = _locale(code).plural_form
    return {form(n): in_plural(code, one, many, n) for n in range(200)}


def number_in(code: str, value: float, digits: int = 0) -> str:
    """A number with so many digits behind the language's separator, without groups, in Latin digits."""
    pattern = f"0.{'0' * digits}" if digits else "0"
    return format_decimal(value, pattern, _locale(code), group_separator=False)


def tag_of(code: str) -> str:
    """The language as browsers name it, with what `number_in` writes numbers in: `de`, `ar-u-nu-latn`."""
    tag = _locale(code).language + (f"-{_locale(code).territory}" if _locale(code).territory else "")
    return f"{tag}-u-nu-latn"


def moment_in(code: str, moment: datetime) -> str:
    """Day and minute as the language writes them; in English `2026-11-25 02:30`."""
    if _locale(code).language == "en":
        return moment.strftime(ISO)
    locale = _locale(code)
    two_digits = re.sub(
        "d+", "dd", re.sub("M+", "MM", locale.datetime_skeletons["yMd"].pattern)
    )  # columns stay straight
    day, time = format_date(moment, two_digits, locale), format_time(moment, "HH:mm", locale=locale)
    return str(locale.datetime_formats["short"].format(time, day))


def day_in(code: str, day: date, year: bool = False) -> str:
    """A day as the language says it, its month in letters: `5 Dec`, with its year `5 Dec 2026`."""
    locale = _locale(code)
    if locale.language == "en":  # no day before its month in some countries, after it in others
        return f"{day.day} {format_date(day, 'MMM yyyy' if year else 'MMM', locale)}"
    return str(format_skeleton("yMMMd" if year else "MMMd", datetime(day.year, day.month, day.day), locale=locale))


def month_in(code: str, day: date) -> str:
    """`November 2026`."""
    return str(format_skeleton("yMMMM", datetime(day.year, day.month, 1), locale=_locale(code)))
