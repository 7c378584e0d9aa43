"""Every error of the product, and what each says to whom. No I/O, no imports from the rest of the bridge.

VmbridgeError
├── RequestError              a caller asked for something that cannot be: 4xx
│   ├── BadRequest            a field is missing or wrong
│   ├── Unauthorized          signature, key, time or token does not hold
│   ├── Forbidden             known, but not allowed in this state
│   ├── NotFound              unknown service, server, page
│   ├── Refused               understood and refused (already_created, service_busy, suspended ...)
│   └── NotBuilt              an ordered value that this release cannot deliver
├── ConfigError               all faults of a configuration file together
├── LeaseLost                 another worker owns the operation now
├── StoreUnavailable          the store cannot be written just now (locked, full, read-only); nothing was changed
│   ├── StoreUnknown          nobody could say yet whether the change was saved
│   └── StoreDamaged          it is damaged, missing or not to be opened: a person has to act
└── UpstreamError             the back end did not do it; `executed` says whether it may have
    ├── Transient             try again soon: nothing is wrong with the order
    │   └── Waiting           the provider counts calls, and they are used up
    ├── Busy                  the object is locked and will be free again
    ├── Unknown               lost reply: look before acting again
    ├── Permanent             configuration or privileges must be mended first
    │   ├── Protected             somebody wants to keep it: a person has to take the protection off
    │   └── Unlisted          a reason that we do not know: tried again a few times before it counts as permanent
    ├── Capacity              no room; another storage or node is needed
    │   └── Limit                 the account at the provider may have no more of it
    ├── NotOurs               the object under our id is not proven to be ours
    ├── Unreachable           the server does not answer
    │   └── StorageAway           it does, but a storage of it is not there
    └── NeedsOperator         only a person at the node can go on (stale lock)
"""

from __future__ import annotations

from typing import Any, Literal

Executed = Literal["no", "unknown"]


class VmbridgeError(Exception):
    """Root. `code` is stable, `sentence` is for people in WHMCS, `detail` for staff and logs, `next_action` what staff
    can do."""

    code = "internal_error"
    http_status = 500
    sentence = "Something went wrong."
    next_action = "Look at the log, then retry."

    def __init__(self, sentence: str = "", *, code: str = "", detail: str = "", **extra: Any) -> None:
        self.sentence = sentence or type(self).sentence
        self.code = code or type(self).code
        self.detail = detail
        self.extra = extra
        super().__init__(f"{self.sentence} {detail}".strip())


class RequestError(VmbridgeError):
    """What was asked cannot be done as it was asked; nothing was changed."""

    code = "bad_request"
    http_status = 400


class BadRequest(RequestError):
    """A field is missing or wrong; the sentence names it and the allowed values. `extra["field"]` is its name in the
    form, if it has one."""

    sentence = "The request is not valid."


class Unauthorized(RequestError):
    """No key of ours has signed it, or it was signed too long ago, or it came before."""

    code = "unauthorized"
    http_status = 401
    sentence = "The request is not signed with a valid key."


class Forbidden(RequestError):
    """Who asks may not, on this service or at all."""

    code = "forbidden"
    http_status = 403
    sentence = "Access Denied"


class NotFound(RequestError):
    """What the address, the id or the name says is not there."""

    code = "not_found"
    http_status = 404
    sentence = "There is no such thing here."


class Refused(RequestError):
    """It cannot be done now, or in this state; the sentence says why."""

    code = "refused"
    http_status = 409
    sentence = "This cannot be done now."


class NotBuilt(RequestError):
    """The back end cannot do this at all."""

    code = "not_built"
    http_status = 422


class ConfigError(VmbridgeError):
    """`faults` is a list of (path, code, text)."""

    code = "config"

    def __init__(self, faults: list[tuple[str, str, str]]) -> None:
        self.faults = faults
        super().__init__("\n".join(f"{path}: {text} [{code}]" for path, code, text in faults))


class LeaseLost(VmbridgeError):
    """Another worker has this operation: whoever meets this stops without a trace."""

    code = "lease_lost"
    sentence = "Another worker has taken this operation over."


class StoreUnavailable(VmbridgeError):
    """Nothing was written. What was asked may be asked again in `RETRY_AFTER` seconds."""

    RETRY_AFTER = 10
    code = "store_unavailable"
    http_status = 503
    sentence = "Nothing was changed: the bridge cannot save anything just now. Please try again in a minute."


class StoreUnknown(StoreUnavailable):
    """The connection broke while a change was saved, and the database could not be asked since whether it was."""

    code = "store_unknown"
    sentence = (
        "The bridge lost the connection to its records while it saved this; it may have been saved. Please look in a"
        " minute before you ask again."
    )


class StoreDamaged(StoreUnavailable):
    """`detail` says what is wrong with the file."""

    code = "store_damaged"
    sentence = "The bridge's records cannot be read just now. Nothing was changed. Please try again later."


class UpstreamError(VmbridgeError):
    """A failed call to a back end. `retry_after` (seconds) is a hint; None follows the back-off. `next_action` is for
    staff."""

    code = "upstream"
    http_status = 502
    retryable = True
    executed: Executed = "no"
    retry_after: float | None = None
    next_action = "It is tried again by itself."

    def __init__(self, sentence: str = "", *, next_action: str = "", **more: Any) -> None:
        """`next_action`: what a person can do where the class's own text says too little; drivers say it in their back
        end's words."""
        super().__init__(sentence, **more)
        if next_action:
            self.next_action = next_action


class Transient(UpstreamError):
    """It passes by itself, within seconds or minutes."""

    code = "transient"
    sentence = "The server is busy; this goes on by itself."


class Waiting(Transient):
    """The provider counts calls, and this one has to wait for `retry_after` seconds."""

    code = "calls_used_up"
    sentence = "The provider's allowance of calls is used up; this goes on by itself."

    def __init__(self, seconds: float) -> None:
        super().__init__(detail=f"the next call is possible in {seconds:.0f} s")
        self.retry_after = seconds


class Busy(UpstreamError):
    """Somebody else's task or lock holds the machine."""

    code = "vm_locked"
    sentence = "Another task holds the server; this goes on when it ends."


class Unknown(UpstreamError):
    """Nobody can tell whether it was done: it is looked up before it is sent again."""

    code = "reply_lost"
    executed = "unknown"
    sentence = "The reply was lost; the result is looked up before anything is repeated."


class Unreachable(UpstreamError):
    """No connection, or none that can be trusted: nothing was done."""

    code = "server_unreachable"
    sentence = "The server does not answer; this goes on when it does."


class StorageAway(Unreachable):
    """The host answers, but a storage that is needed does not: nothing was done. `code` says which one it is."""

    code = "storage_away"
    sentence = "The storage does not answer; this goes on when it does."
    next_action = "See that the storage is mounted and active; this goes on by itself then."


class Permanent(UpstreamError):
    """It will not go better by itself: a person mends the cause."""

    code = "upstream_refused"
    retryable = False
    sentence = "The server refused the request."
    next_action = "Mend the cause, then retry."


class Protected(Permanent):
    """Somebody wants to keep it: it is never removed by us while the protection lasts. An order to remove it waits for
    that."""

    code = "protected"
    waits = False  # true: nothing has begun yet, and it is asked again until the protection is off
    sentence = "It is protected against removal; nothing of it was removed."


class Unlisted(Permanent):
    """Refused or failed for a reason that is not in our lists: many such reasons pass by themselves."""

    code = "upstream_error"


class Capacity(UpstreamError):
    """No node, storage, pool or project has room for it."""

    code = "no_capacity"
    retryable = False
    sentence = "There is no room for this."
    next_action = "Make room, then retry."


class Limit(Capacity):
    """The account at the provider may have no more of it; only staff can have its limits raised."""

    code = "account_limit"
    sentence = "The limit of the account at the provider is reached."
    next_action = "Have the account's limit raised, then retry."


class NotOurs(UpstreamError):
    """What stands there is not proven to be the service's."""

    code = "not_ours"
    retryable = False
    sentence = "The machine under this id is not proven to belong to this service; nothing was touched."
    next_action = "Look at the machine; `vmbridge adopt` records it, cancel leaves it."


class NeedsOperator(UpstreamError):
    """`command` is what a person runs on `node`."""

    code = "needs_operator"
    retryable = False
    sentence = "A member of staff must free the machine first."

    def __init__(self, command: str, node: str, detail: str = "") -> None:
        super().__init__(detail=detail or f"run `{command}` on {node}")
        self.command, self.node = command, node
        self.next_action = f"Run `{command}` on {node}, then retry."
