"""Clients who want to know before their credit runs out: WHMCS's cron sends what they have, each is told once by mail.
Nothing of it is kept but that it was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.accounts import wire
from bridge.accounts.columns import DAYS
from bridge.accounts.nouns import Account
from bridge.costs import warnings
from bridge.costs.warnings import Notice
from bridge.errors import BadRequest
from bridge.languages import code_of, day_in, direction_of, in_language
from bridge.model import Sentence
from bridge.services import account_usage
from bridge.store import Store

EVENT = "low_credit"
SHARED = ("today", "zone", "settings")  # said once for all clients
MOST = 1000  # clients of one call
PAGE = "index.php?m=vmbridgehome&vmb[page]=addfunds"
SUBJECT = Sentence("Your credit will not cover everything")
TODAY = Sentence("Today %(missing)s are missing in your credit, first for %(name)s.")
LATER = Sentence(
    "Your credit covers everything until %(through)s. On %(on)s %(missing)s will be missing, first for %(name)s."
)
LINK = Sentence("Add funds before that day and nothing is interrupted:")
NOW = Sentence("Add funds now, so that nothing is interrupted:")
WHY = Sentence("You get this mail because you asked for it. You can switch it off on the same page.")


@dataclass(frozen=True)
class Answer:
    """`told`: how many were told now. `not_read`: clients whose account could not be read, by their place in the call,
    with the reason; they are tried again with the next call."""

    told: int
    not_read: dict[str, str]


def tell(sent: Mapping[str, Any], whmcs: str, system_url: str, store: Store, zone: str) -> Answer:
    """`{"today", "zone", "settings", "clients": [{"days", "language", "currency", "client", "may", "rates",
    "rows"}]}`, the parts as in `accounts.columns`. Raises BadRequest for a call that is none."""
    shared, clients = {k: sent[k] for k in SHARED if k in sent}, sent.get("clients")
    if extra := sorted(sent.keys() - {*SHARED, "clients"}):
        raise BadRequest(f"{extra[0]}: unknown field.", code="bad_dashboard")
    if not isinstance(clients, list) or len(clients) > MOST:
        raise BadRequest(f"clients: must be a list of at most {MOST} clients.", code="bad_dashboard")
    told, not_read = 0, dict[str, str]()
    for n, client in enumerate(clients):
        try:
            account, days, language = _read(client, shared)
        except BadRequest as e:
            not_read[str(n)] = e.sentence
            continue
        used = account_usage.used_of(account, whmcs, store, zone) if account.metered else None
        notice = warnings.warning(account, days, used)
        if notice and store.tell(whmcs, notice.key, EVENT, **_mail(account, notice, language, system_url)):
            told += 1
    return Answer(told, not_read)


def _read(client: Any, shared: Mapping[str, Any]) -> tuple[Account, int, str]:
    if not isinstance(client, dict) or client.get("days") not in DAYS or isinstance(client["days"], bool):
        raise BadRequest(f"days: must be one of {', '.join(map(str, DAYS))}.", code="bad_dashboard")
    account = wire.read({**shared, **{k: v for k, v in client.items() if k != "days"}})
    language = client.get("language")
    return account, client["days"], code_of(language) if isinstance(language, str) else "en"


def _mail(account: Account, notice: Notice, language: str, system_url: str) -> dict[str, Any]:
    """Whole sentences in the client's language; the hook makes HTML of them."""
    values = {"missing": notice.money, "name": notice.name}
    if notice.on > account.today:
        days = {"through": day_in(language, notice.through, year=True), "on": day_in(language, notice.on, year=True)}
        text = [in_language(language, LATER, **values, **days), in_language(language, LINK)]
    else:
        text = [in_language(language, TODAY, **values), in_language(language, NOW)]
    return {
        "client_id": notice.client,
        "subject": in_language(language, SUBJECT),
        "text": text,
        "link": f"{system_url.rstrip('/')}/{PAGE}",
        "why": in_language(language, WHY),
        "direction": direction_of(language),
    }
