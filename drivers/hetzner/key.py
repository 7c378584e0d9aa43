"""Whether the API token may write. No call says so; a key that may only read answers `token_readonly` to any change,
here one of a server that cannot exist, so that nothing happens whatever the answer is."""

from __future__ import annotations

from bridge.errors import Permanent, VmbridgeError
from drivers.hetzner.api import Api
from drivers.hetzner.errors import TOKEN

LATELY = 3600.0  # seconds for which a change that was taken proves it


def writes(api: Api, ask: bool = False) -> None:
    """Raises Permanent for a token that may only read; any other answer says nothing about that. Without `ask` a change
    that was taken lately is answer enough."""
    if not ask and api.wrote_at and api.now() - api.wrote_at < LATELY:
        return
    try:
        api.post("/servers/0/actions/poweron")
    except VmbridgeError as e:
        if "token_readonly" in e.detail:
            raise Permanent(
                "The API token may only read.", code="upstream_credentials", next_action=TOKEN, detail=e.detail
            ) from None
