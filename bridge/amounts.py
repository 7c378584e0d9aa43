"""Numbers of options: what a value means, and what is too doubtful to be sold. Pure; no store, no network.

A value is a plain number in its word's unit. What carries a unit or separators, what its label says otherwise, and what
is only likely in another unit is refused with the number to write: a wrong guess gives a customer a thousandth, or a
thousandfold, of what is paid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from bridge.errors import BadRequest
from bridge.model import LIMITS, OPTION_UNITS

RANGES: dict[str, tuple[int, int]] = {
    "cores": (1, 512),
    "ram_gib": (1, 16384),
    "disk_gib": (1, 65536),
    "additional_disk_gib": (0, 65536),
    "rate_mbit": (0, 1_000_000),
    "extra_ipv4": (0, 256),
    "extra_ipv6": (0, 256),
    "backups": (0, 1000),
    "snapshots": (0, 100),
    "snapshot_lifetime_h": (0, 87600),
    **dict.fromkeys(LIMITS, (0, 1_000_000)),
}
NUMBER = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)
WITH_UNIT = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z/]+)", re.ASCII | re.IGNORECASE)
SEPARATED = re.compile(r"\d{1,3}([,. '_])\d{3}(\1\d{3})*", re.ASCII)
NOTHING = ("unlimited", "none", "no", "off")
K = Decimal(1024)
SIZE = {
    "m": 1 / K,
    "mb": 1 / K,
    "mib": 1 / K,
    "g": Decimal(1),
    "gb": Decimal(1),
    "gib": Decimal(1),
    "t": K,
    "tb": K,
    "tib": K,
}
BITS = {
    **dict.fromkeys(("k", "kbit", "kbps", "kbit/s", "kb/s"), Decimal("0.001")),
    **dict.fromkeys(("m", "mbit", "mbps", "mbit/s", "mb/s"), Decimal(1)),
    **dict.fromkeys(("g", "gbit", "gbps", "gbit/s", "gb/s"), Decimal(1000)),
}
OF_BYTES = re.compile(
    r"([kmgKMG])i?(B/s|Bps|[Bb]yte/s|[Bb]ytes/s)"
)  # of a network: a capital B is a byte, a small one a bit
BYTES = {**dict.fromkeys(("mb", "mb/s", "mib/s"), Decimal(1)), **dict.fromkeys(("gb/s", "gib/s"), K)}
UNITS: dict[str, dict[str, Decimal]] = {
    "cores": dict.fromkeys(("core", "cores", "vcpu", "vcpus", "cpu", "cpus"), Decimal(1)),
    "ram_gib": SIZE,
    "disk_gib": SIZE,
    "additional_disk_gib": SIZE,
    "rate_mbit": BITS,
    **{w: BYTES if w.endswith("mib_s") else {"iops": Decimal(1)} for w in LIMITS},
}
NAMES = {"ram_gib": "GiB", "disk_gib": "GiB", "additional_disk_gib": "GiB", "rate_mbit": "Mbit/s"}
SAID = {**NAMES, "cores": "cores", **{w: "MB/s" if w.endswith("mib_s") else "IOPS" for w in LIMITS}}  # of labels
# Where nobody has said the unit: from so many on, or below so many, the value is more likely in another one
DOUBTFUL: dict[str, tuple[Decimal, Decimal, Decimal, Decimal]] = {
    # word: (below this: times this; from this on: times this), the factors as in OPTION_UNITS
    "ram_gib": (Decimal(0), Decimal(1), Decimal(512), 1 / K),
    "disk_gib": (Decimal(3), K, Decimal(10240), 1 / K),
    "additional_disk_gib": (Decimal(3), K, Decimal(10240), 1 / K),
    "rate_mbit": (Decimal(10), Decimal(1000), Decimal(200_000), 1 / Decimal(1000)),
}
ALIKE = Decimal("0.07")  # 1000 and 1024 are the same for people


@dataclass(frozen=True)
class Written:
    """A value as it was ordered. `said` is its label, the text behind `|`; `times` turns it into the word's own unit;
    `guessed`: nobody has said which unit it is in."""

    name: str
    word: str
    text: str
    said: str = ""
    times: Decimal = Decimal(1)
    guessed: bool = False


def shown(text: str) -> str:
    """A value as a sentence quotes it."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def number(name: str, word: str, text: str) -> int | Decimal:
    """A whole number of the word's range; RAM may have parts of a GiB. Raises BadRequest naming both."""
    return read(Written(name, word, text))


def read(given: Written) -> int | Decimal:
    """The value in the word's own unit. Raises BadRequest naming the option, the allowed values and, where it can be
    told, what to write."""
    word, text, ram = given.word, given.text, given.word == "ram_gib"
    low, high = RANGES[word]
    least: int | Decimal = Decimal("0.25") if ram else low
    value = Decimal(text) * given.times if NUMBER.fullmatch(text) else Decimal(-1)
    step = Decimal("0.0625") if ram else Decimal(1)
    if value > 0:
        _against_label(given, value)
        if given.guessed:
            _doubt(given, value)
    if not least <= value <= high or value % step:
        kind = f"a number in steps of {step}" if ram else "a whole number"
        unit = "" if given.times == 1 else f" of {NAMES.get(word, word)} once it is converted"
        raise BadRequest(
            f"{given.name}: {shown(text)} must be {kind} from {least} to {high}{unit}.{_hint(given)}", code="bad_option"
        )
    return value if ram else int(value)


def _hint(given: Written) -> str:
    """What to write instead, where the text can be understood."""
    quantity: Decimal | None = _quantity(given.word, given.text)
    if quantity is None and SEPARATED.fullmatch(given.text):
        quantity = Decimal(re.sub(r"\D", "", given.text))
    if quantity is None and given.text.casefold() in NOTHING and RANGES[given.word][0] == 0:
        quantity = Decimal(0)
    return "" if quantity is None else f" Write {plain(quantity / given.times)} if that is meant."


def _quantity(word: str, text: str, whole: bool = True) -> Decimal | None:
    match = (
        WITH_UNIT.fullmatch(text)
        if whole
        else re.match(WITH_UNIT.pattern + r"(?![a-z/])", text.strip(), WITH_UNIT.flags)
    )
    if match and word == "rate_mbit" and (bytes_ := OF_BYTES.fullmatch(match[2])):
        return Decimal(match[1]) * 8 * BITS[bytes_[1].lower()]
    factor = UNITS.get(word, {}).get(match[2].lower()) if match else None
    return Decimal(match[1]) * factor if match and factor is not None else None


def _against_label(given: Written, value: Decimal) -> None:
    """`2048|2 GB` is paid as 2 GB."""
    said = _quantity(given.word, given.said, whole=False) if given.word in SAID else None
    if said is not None and abs(said - value) > ALIKE * max(said, value):
        unit = SAID[given.word]
        raise BadRequest(
            f"{given.name}: {shown(given.text)} is {plain(value)} {unit}, but its label says"
            f" {shown(given.said.strip())}: did you mean {plain(said)} {unit}? Write {plain(said / given.times)}, or"
            " name the unit in [options].",
            code="doubtful_option",
        )


def _doubt(given: Written, value: Decimal) -> None:
    below, up, above, down = DOUBTFUL.get(given.word, (Decimal(0), Decimal(1), Decimal("Infinity"), Decimal(1)))
    if not 0 < value < below and value < above:
        return
    likely, unit = value * (up if value < below else down), NAMES[given.word]
    other = next(w for w, (sold, times) in OPTION_UNITS.items() if sold == given.word and value * times == likely)
    raise BadRequest(
        f"{given.name}: {plain(value)} {unit}: did you mean {plain(likely)} {unit}? [options] can say in which unit"
        f" its values are: {other!r}, or {given.word!r} where {plain(value)} {unit} is right.",
        code="doubtful_option",
    )


def plain(value: Decimal) -> str:
    """A number as people write it."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
