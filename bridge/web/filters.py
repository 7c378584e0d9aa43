"""Numbers and times as people say them, for templates."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from ipaddress import IPv4Network
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from bridge import languages, recipes
from bridge.kinds import deed
from bridge.model import Network, Operation, Sentence
from bridge.web import language

SIZES = (
    Sentence("%(n)s B"),
    Sentence("%(n)s KiB"),
    Sentence("%(n)s MiB"),
    Sentence("%(n)s GiB"),
    Sentence("%(n)s TiB"),
)
TRAFFIC = (Sentence("%(n)s B"), Sentence("%(n)s KB"), Sentence("%(n)s MB"), Sentence("%(n)s GB"), Sentence("%(n)s TB"))
SPANS = (
    (Sentence("%(n)s d"), 86400),
    (Sentence("%(n)s h"), 3600),
    (Sentence("%(n)s min"), 60),
    (Sentence("%(n)s s"), 1),
)
DAYS = languages.plural("%(n)d day", "%(n)d days")
RATE = Sentence("%(n)s MB/s")
LONG = re.compile(r"\S{12,}")  # in escaped text; what is shorter has room everywhere
JOINT = re.compile(r"(?<=\w)[.:/@_=,-]+(?=\w)")


def number(value: float, digits: int = 0) -> str:
    """As the client's language writes it."""
    return languages.number_in(language.current(), value, digits)


def size(value: float) -> str:
    """Bytes -> `2.0 GiB`."""
    unit = 0
    while value >= 1024 and unit < len(SIZES) - 1:
        value, unit = value / 1024, unit + 1
    return language.translate(SIZES[unit], n=number(value, 1 if unit > 1 else 0))


def traffic(value: float) -> str:
    """Bytes -> `658.44 MB`: decimal, as traffic is sold."""
    unit = 0
    while value >= 1000 and unit < len(TRAFFIC) - 1:
        value, unit = value / 1000, unit + 1
    return language.translate(TRAFFIC[unit], n=number(value, 2 if unit else 0))


def span(seconds: float) -> str:
    """Seconds -> `12 d 4 h`, the two largest units."""
    rest, parts = int(seconds), []
    for unit, length in SPANS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(language.translate(unit, n=count))
    return " ".join(parts[:2]) or language.translate(SPANS[-1][0], n=0)


def ago(seconds: float) -> str:
    """Seconds -> `2 min ago`, one unit."""
    if seconds < 5:
        return language.translate("just now")
    unit, length = next(u for u in SPANS if seconds >= u[1])
    return language.translate("%(time)s ago", time=language.translate(unit, n=int(seconds // length)))


def took(seconds: float) -> str:
    """Seconds -> `0.4 s` for what is short, else as `span`."""
    return language.translate(SPANS[-1][0], n=number(seconds, 1)) if seconds < 60 else span(seconds)


def moment(epoch: float | None) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if epoch else ""


def when(epoch: float | None, zone: str) -> str:
    """A moment in the customer's time zone and language; in English `2026-11-25 02:30`."""
    return languages.moment_in(language.current(), datetime.fromtimestamp(epoch, ZoneInfo(zone))) if epoch else ""


def countdown(seconds: float) -> str:
    """`0 days 23:59:54`"""
    rest = max(0, int(seconds))
    days = language.translate_many(*DAYS, rest // 86400) % {"n": rest // 86400}
    return f"{days} {rest % 86400 // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"


def rate(value: float) -> str:
    """Bytes per second -> `1.3 MB/s`."""
    return language.translate(RATE, n=number(value / 1e6, 1))


def mask(network: Network) -> str:
    """The netmask of an IPv4 prefix."""
    return str(IPv4Network(f"0.0.0.0/{network.prefix}").netmask)


def translated(text: str) -> str:
    return language.translate(text)


def step_words(name: str, op: Operation) -> str:
    """What a step of an operation does."""
    recipe = recipes.BOOK.recipes.get(op.recipe or op.kind)
    return next((s.title for s in recipe.steps if s.name == name), name) if recipe else name


def joints(text: object) -> Markup:
    """Long words with separators (addresses, names, paths) stay whole on one line; what is longer than that goes on
    behind a separator, never within a part of it."""

    def jointed(word: re.Match[str]) -> str:
        parts = JOINT.sub(r"\g<0><wbr>", word[0])
        return parts if parts == word[0] else f'<span class="vmb-joints">{parts}</span>'

    return Markup(LONG.sub(jointed, str(escape(text))))


def commands(text: str) -> Markup:
    """Staff's sentences, with what stands between backticks as <code>; a terminal shows them as they are."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one without its other
        return joints(text)
    said = [joints(p) for p in parts]
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(said))


FILTERS = (
    number,
    size,
    traffic,
    span,
    ago,
    took,
    moment,
    when,
    countdown,
    rate,
    mask,
    translated,
    deed,
    step_words,
    joints,
    commands,
)
