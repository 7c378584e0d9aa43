"""When a backup is due: weekdays with times in the customer's own time zone. Pure; daily work is keyed by the local
date, so that the clock's changes neither double nor drop it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")
MISSED_FOR = 24 * 3600.0  # an older missed slot is not made up for


def is_time(text: str) -> bool:
    return bool(TIME.match(text))


@lru_cache(maxsize=1)
def zones() -> tuple[str, ...]:
    """Every time zone's name, in order; read from the disk once."""
    return tuple(
        sorted(available_timezones() - {"localtime", "posixrules", "Factory"})
    )  # those are the bridge's own host's


def is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return name in zones()


def moment(day: date, time: str, zone: str) -> float:
    """Epoch seconds of a local time: in the hour that is skipped in spring the time counts from the old offset (02:30
    becomes 03:30), of the hour that comes twice in autumn the first one counts."""
    hour, minute = map(int, time.split(":"))
    return (
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC).timestamp()
    )


def next_due(days: dict[str, str], zone: str, now: float, last_date: str = "") -> float | None:
    """The next moment after `now` whose local date has not been served; None for an empty grid."""
    today = datetime.fromtimestamp(now, ZoneInfo(zone)).date()
    for ahead in range(15):
        day = today + timedelta(days=ahead)
        time = days.get(str(day.weekday()))
        if time and day.isoformat() > last_date and moment(day, time, zone) > now:
            return moment(day, time, zone)
    return None


def newest_missed(days: dict[str, str], zone: str, now: float, last_date: str) -> str:
    """The local date of the newest slot of the last 24 h that was not served; empty when there is none."""
    today = datetime.fromtimestamp(now, ZoneInfo(zone)).date()
    for back in range(3):
        day = today - timedelta(days=back)
        time = days.get(str(day.weekday()))
        if time and day.isoformat() > last_date and now - MISSED_FOR < moment(day, time, zone) <= now:
            return day.isoformat()
    return ""
