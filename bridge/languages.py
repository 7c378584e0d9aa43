"""Languages by WHMCS's names of them, and sentences in each; English is complete, others are gettext catalogues in bridge/locale
(or in the folder VMBRIDGE_LOCALE), and two made-up ones show what a page does with long and with right-to-left text. What a
request's own language is stands in web/language.py."""

from __future__ import annotations

import gettext
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

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
RIGHT_TO_LEFT = ("ar", "fa", "he", "ar_XB")
PLACEHOLDER = re.compile(r"(%\(\w+\)[sd]|%%|%[A-Za-z]|<[^>]+>)")  # values, and the parts of a date
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
    if code in ("en_XA", "ar_XB"):
        return Pseudo()
    folder = os.environ.get("VMBRIDGE_LOCALE") or str(FOLDER)
    return gettext.translation("vmbridge", folder, [code], fallback=True)


def accepted(header: str) -> str:
    """The first language of an Accept-Language header that there is a name for; English where there is none."""
    known = {c.lower().replace("_", "-"): c for c in CODES.values()}
    for part in header.lower().split(",")[:10]:
        tag = part.split(";")[0].strip()
        language = known.get(tag) or known.get(tag.split("-")[0])
        if language:
            return language
    return "en"


def direction_of(code: str) -> str:
    return "rtl" if code in RIGHT_TO_LEFT else "ltr"


def in_language(code: str, message: str, **values: Any) -> str:
    """A sentence with its values; its own values, where they are sentences, are translated too."""
    template = message
    if isinstance(message, Sentence):
        template, values = message.template, {**message.values, **values}
    text = _catalogue(code).gettext(template) if template else ""  # the empty one is gettext's own header
    return (
        text % {k: in_language(code, v) if isinstance(v, Sentence) else v for k, v in values.items()}
        if values
        else text
    )


def in_plural(code: str, one: str, many: str, n: int) -> str:
    return _catalogue(code).ngettext(one, many, n)


def point_of(code: str) -> str:
    """The decimal separator."""
    return _catalogue(code).pgettext("decimal separator", ".")
