"""Hetzner Cloud's error codes -> our errors. Pure functions (codes as the official API description and its prose list
them)."""

from __future__ import annotations

from typing import Any

from bridge.errors import (
    Busy,
    Capacity,
    Limit,
    NotFound,
    Permanent,
    Protected,
    Refused,
    Transient,
    Unknown,
    Unlisted,
    VmbridgeError,
)

CAPACITY = ("resource_unavailable", "placement_error")
LIMIT = "resource_limit_exceeded"  # of the account: servers, addresses, volumes, snapshots, firewalls
AGAIN = ("conflict", "maintenance", "rate_limit_exceeded", "service_error")
LOST = ("server_error", "bad_gateway", "unavailable", "timeout")  # 5xx: the work may go on
NO_AGENT = ("guest_agent_unavailable",)  # also of a system that has only just started
KEY = ("unauthorized", "token_readonly")
PROTECTED = (
    "Take the delete protection off in the provider's console if it is to go: it goes on by itself within 15"
    " minutes, or retry. Otherwise cancel."
)
PROTECTED_CONTENT = (
    "Take the server's rebuild protection off in the provider's console if its disk may be overwritten, then retry."
)
ROOM = (
    "Wait until the provider has some again, raise the project's limits there, or name another location or type;"
    " then retry."
)
RAISE = (
    "Have the project's limit raised in the provider's console (Limits), or remove there what nobody needs; then retry."
)
TOKEN = (
    "Make an API token with read and write in the project's settings and put it into the server's `token`; then retry."
)
BROKEN = "The provider's API has a fault just now."
CONSOLE = "Look at the server's activities in the provider's console, mend the cause, then retry."


def from_reply(code: int | str, message: str, reference: str = "", details: Any = None) -> VmbridgeError:
    """One failed reply -> the error to raise. A number is the status of an answer that was no JSON."""
    limits = [str(row.get("name")) for row in details.get("limits") or ()] if isinstance(details, dict) else []
    detail = (
        f"{code}: {message}"
        + (f" [{', '.join(limits)}]" if limits else "")
        + (f" (correlation {reference})" if reference else "")
    )
    if isinstance(code, int) or code in LOST:
        return Unknown(detail=detail, next_action="Look at the provider's status page.")
    return from_code(code, detail)


def from_code(code: str, detail: str) -> VmbridgeError:
    """A reply's or a failed action's code."""
    if code == "locked":
        return Busy(detail=detail)
    if code in AGAIN:
        return Transient(detail=detail)
    if code in CAPACITY:
        return Capacity(detail=detail, next_action=ROOM)
    if code == LIMIT:
        return Limit(detail=detail, next_action=RAISE)
    if code == "protected":
        return Protected(detail=detail, next_action=PROTECTED)
    if code == "not_found":
        return NotFound("The machine is not there.", code="vm_absent", detail=detail)
    if code == "uniqueness_error":
        return Refused("The name is in use.", code="name_taken", detail=detail)
    if code in NO_AGENT:
        return Refused(
            "The system inside runs no guest agent that could set a password.", code="no_agent", detail=detail
        )
    if code in KEY:
        return Permanent("The server refused our key.", code="upstream_credentials", detail=detail, next_action=TOKEN)
    if code == "forbidden":
        return Permanent("Our key lacks a privilege.", code="upstream_privilege", detail=detail, next_action=TOKEN)
    if code in ("invalid_input", "json_error", "unsupported_error"):
        return Permanent("The server refused a value.", code="upstream_parameter", detail=detail)
    if code == "action_failed":
        return Unlisted(
            "The provider took the order, and it failed there.",
            code="upstream_failed",
            detail=detail,
            next_action=CONSOLE,
        )
    return Unlisted(detail=detail, next_action=CONSOLE)


def from_text(text: str) -> VmbridgeError:
    """A failed action's `code: message`."""
    code, _, message = text.partition(": ")
    if "locked" in message:  # an action too can end so
        code = "locked"
    return from_code(code, text)


def protected(what: str, sentence: str = "") -> Protected:
    """Names a thing of the project that has the provider's delete protection."""
    return Protected(sentence, detail=f"{what} has delete protection", next_action=PROTECTED)
