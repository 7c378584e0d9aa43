"""How often an hour a customer may do what: one table of all that a customer can do. Staff and WHMCS's billing are
never counted."""

from __future__ import annotations

import math

from bridge.config import Config
from bridge.errors import Refused
from bridge.kinds import KINDS, Kind, Orderer
from bridge.model import Sentence
from bridge.store import Store

HOUR = 3600.0
COSTLY, POWERS, EDITS = "costly_per_hour", "power_per_hour", "edits_per_hour"
OPERATIONS = (COSTLY, POWERS)  # these are counted by the operations that were begun


def _key(kind: Kind) -> str:
    return COSTLY if kind.costly else POWERS if kind.power else EDITS


HOURLY: dict[
    str, str
] = {  # what is done -> the key of [web] that says how often an hour, for all with the same key together
    **{k.name: _key(k) for k in KINDS.values() if Orderer.CLIENT in k.by},
    **dict.fromkeys(("schedule", "iso", "rdns", "firewall"), EDITS),
    "console": "consoles_per_hour",
}
OFTEN = Sentence("That was often enough for this hour. Try again in %(n)d min.")


def count(act: str, service: int, client: bool, store: Store, config: Config) -> None:
    """Raises Refused with the minutes to wait when a customer has done it, and its like, often enough. What leaves an
    operation is counted by that; call this in the transaction that begins it, so that many at once are counted one
    after the other."""
    if not client:
        return
    key = HOURLY[act]
    if key in OPERATIONS:
        seconds = wait(act, service, store, config)
    else:
        limit = int(config.web[key])
        seconds = HOUR / limit if store.spend(_account(key, service), limit, 0.0) else 0.0
    if seconds:
        raise Refused(sentence(seconds), code="too_often")


def wait(act: str, service: int, store: Store, config: Config) -> float:
    """The seconds until a customer may do it again; 0.0 when that is now. Changes nothing."""
    key, now = HOURLY[act], store.clock.now()
    limit = int(config.web[key])
    if key not in OPERATIONS:
        return store.full_in(_account(key, service), limit)
    times = store.costly_since(service, tuple(a for a, k in HOURLY.items() if k == key), now - HOUR)
    return times[-limit] + HOUR - now if len(times) >= limit else 0.0


def sentence(seconds: float) -> Sentence:
    return Sentence(OFTEN.template, n=max(1, math.ceil(seconds / 60)))


def _account(key: str, service: int) -> str:
    return f"{key.removesuffix('_per_hour')} {service}"
