"""Charges to come as an iCalendar file (RFC 5545): whole days, stable UIDs, so that a calendar that reads it again
moves entries and makes none twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from bridge.accounts.nouns import Account
from bridge.costs.events import Event

ESCAPES = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": None})
WIDEST = 75  # octets of a line


def escaped(text: str) -> str:
    """3.3.11; control characters are not allowed in it at all."""
    return "".join(c for c in text.translate(ESCAPES) if c >= " " and c != "\x7f")


def folded(line: str) -> str:
    """3.1: no line is longer than 75 octets, and no character is cut."""
    lines, own, size = [], "", 0
    for c in line:
        octets = len(c.encode("utf-8", "replace"))
        if size + octets > WIDEST:
            lines.append(own)
            own, size = " ", 1
        own, size = own + c, size + octets
    return "\r\n".join([*lines, own])


def calendar(account: Account, events: Sequence[Event], host: str, name: str, say: Callable[[Event], str]) -> str:
    """One entry for each charge on the day on which credit is taken. `host` of the installation makes the UIDs its own,
    `name` is the calendar's, `say` one charge's sentence."""
    stamp = f"{account.today:%Y%m%d}T000000Z"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//vmbridge//dashboard//EN", "CALSCALE:GREGORIAN"]
    lines += ["METHOD:PUBLISH", f"X-WR-CALNAME:{escaped(name)}"]
    for event in events:
        kind = f"{event.kind}-{event.line.kind}" if event.kind != event.line.kind else event.kind
        lines += [
            "BEGIN:VEVENT",
            f"UID:{escaped(f'{account.client.id}-{kind.lower()}-{event.line.id}-{event.due:%Y%m%d}@{host}')}",
            f"DTSTAMP:{stamp}",
            f"DTSTART;VALUE=DATE:{event.taken:%Y%m%d}",
            f"DTEND;VALUE=DATE:{event.taken + timedelta(1):%Y%m%d}",
            f"SUMMARY:{escaped(say(event))}",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        ]
    return "".join(f"{folded(line)}\r\n" for line in [*lines, "END:VCALENDAR"])
