"""What the bridge has counted of an account's services, as the dashboard's forecasts want it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from bridge.accounts.nouns import HOSTING, Account
from bridge.costs.metered import Used
from bridge.metering import usage
from bridge.store import Store

MOST = 500  # services of one account
PLACES = 6  # of a unit


def used_of(account: Account, whmcs: str, store: Store, zone: str) -> Mapping[tuple[int, str], Used]:
    """Of what is billed by use alone, and only of services of ours that the account has."""
    ours = {line.id for line in account.lines if line.kind == HOSTING and line.ours}
    wanted = {(m.service, m.metric) for m in account.metered if m.service in ours}
    ids = sorted({service for service, _ in wanted})[:MOST]
    counted = usage.so_far(whmcs, ids, store, zone) if ids else {}
    return {
        (service, metric): Used(
            _decimal(counted[service].now[metric]), [_decimal(n) for n in counted[service].days.get(metric, ())]
        )
        for service, metric in sorted(wanted)
        if service in counted and metric in counted[service].now
    }


def _decimal(value: float) -> Decimal:
    return Decimal(repr(round(value, PLACES)))
