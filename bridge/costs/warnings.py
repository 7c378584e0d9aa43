"""Whether a client is told that credit will not last: so many days before, once for each thing that is not covered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from bridge.accounts.nouns import Account
from bridge.costs.credit import Usage, lasts
from bridge.costs.money import shown

FORGOTTEN = 400  # days after which a key is of no use: what it was about is long past


@dataclass(frozen=True)
class Notice:
    """ "Covered until `through`; on `on` `missing` is missing". `key` is the same as long as it is the same event: the
    line and its due day, whatever the amount."""

    key: str
    client: int
    through: date
    on: date
    missing: Decimal
    money: str
    name: str


def warning(account: Account, days: int, used: Usage | None = None) -> Notice | None:
    """Nothing where credit is not used by itself, where there is none (such a client pays each invoice), and where the
    day is farther away."""
    if account.client.credit <= 0 or account.settings.no_auto_credit:
        return None
    until = lasts(account, used)
    if until.how != "until" or until.on is None or until.through is None or until.line is None:
        return None
    if until.on > account.today + timedelta(days):
        return None
    line = until.line
    key = f"{account.client.id}:{line.kind.lower()}:{line.id}:{until.due}"
    return Notice(
        key,
        account.client.id,
        until.through,
        until.on,
        until.missing,
        shown(until.missing, account.currency),
        line.name,
    )
