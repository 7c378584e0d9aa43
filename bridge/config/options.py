"""[options]: names of configurable options -> words of ours."""

from __future__ import annotations

import difflib
from typing import Any

from bridge.config.reader import Reader
from bridge.model import OPTION_UNITS, OPTION_WORDS

# usual names of configurable options, so that most shops need no table of their own
USUAL_OPTIONS = {
    "cpu": "cores",
    "cpu cores": "cores",
    "vcpu": "cores",
    "vcpus": "cores",
    "cores": "cores",
    "ram": "ram_gib",
    "memory": "ram_gib",
    "system disk": "disk_gib",
    "disk": "disk_gib",
    "disk space": "disk_gib",
    "additional disk": "additional_disk_gib",
    "system disk read mb/s": "disk_read_mib_s",
    "system disk write mb/s": "disk_write_mib_s",
    "system disk read iops": "disk_read_iops",
    "system disk write iops": "disk_write_iops",
    "additional disk read mb/s": "additional_disk_read_mib_s",
    "additional disk write mb/s": "additional_disk_write_mib_s",
    "additional disk read iops": "additional_disk_read_iops",
    "additional disk write iops": "additional_disk_write_iops",
    "network bandwidth": "rate_mbit",
    "network": "rate_mbit",
    "network rate": "rate_mbit",
    "ipv4": "extra_ipv4",
    "ipv6": "extra_ipv6",
    "extra ipv4": "extra_ipv4",
    "extra ipv6": "extra_ipv6",
    "ipv4 addresses": "extra_ipv4",
    "ipv6 addresses": "extra_ipv6",
    "operating system": "template",
    "os": "template",
    "backups": "backups",
    "snapshots": "snapshots",
    "location": "location",
}


def words_of(r: Reader, raw: Any) -> dict[str, str]:
    """The table of configurable options: usual names first, then the file's; an empty word means "not ours"."""
    words, known = dict(USUAL_OPTIONS), (*OPTION_WORDS, *OPTION_UNITS)
    if not isinstance(raw, dict):
        r.fault("options", "not_a_table", "must be a table of names and words")
        return words
    for name, word in raw.items():
        if word != "" and word not in known:
            near = difflib.get_close_matches(str(word), known, 1)
            r.fault(
                f"options.{name}",
                "unknown_word",
                f"{word!r} is not one of: {', '.join(known)}" + (f"; did you mean {near[0]!r}?" if near else ""),
            )
        words[fold(name)] = word
    return words


def guessed(raw: Any) -> frozenset[str]:
    """The usual names that the file does not name itself: in which unit their values are is our guess."""
    said = {fold(name) for name in raw} if isinstance(raw, dict) else set()
    return frozenset(USUAL_OPTIONS) - said


def fold(name: str) -> str:
    """A configurable option's name for comparing: the part before `|`, without case and outer blanks."""
    return name.partition("|")[0].strip().casefold()
