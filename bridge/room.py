"""No room for what was ordered: it waits for room instead of failing, since it is paid for. When it is tried again, and
what is said meanwhile."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import Capacity
from bridge.model import Memory, Operation, Sentence, Service

WAITING = (
    "create",
    "redeploy",
    "change_package",
    "rename",
    "unsuspend",
)  # kinds of operations that are paid for and can wait
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 900.0  # seconds
NOTE = "waiting for room"
NEW = Sentence(
    "Waiting for room: there is no free place for your server just now. It is set up by itself as soon as there is"
    " one; you do not have to do anything."
)
CHANGE = Sentence(
    "Waiting for room: there is no free place for the change just now. Your server stays as it is, and the change"
    " follows by itself."
)


def waits(op: Operation, error: Exception) -> bool:
    return isinstance(error, Capacity) and op.kind in WAITING


def remembered(memory: Memory, error: Capacity, now: float, hours: float) -> Memory:
    """What the operation remembers of it: since when there is no room, how often it was tried, and when the next try is
    due (`room_due`, 0 when the time is over). An order keeps its time over restarts and steps that went well in
    between."""
    since, tries = now if memory.room_since is None else memory.room_since, memory.room_tries
    pause = error.retry_after or min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)
    end = since + hours * 3600.0
    due = min(now + pause, end) if now < end else 0.0
    return replace(memory, room_since=since, room_tries=tries + 1, room_due=due)


def told(error: Capacity, due: float, hours: float) -> tuple[str, str, str]:
    """(code, what is the matter, what staff can do) in the back end's words."""
    text = f"{error.sentence} {error.detail}".strip()
    if due:
        return error.code, text, f"It waits for room for {hours:g} h and goes on by itself. {error.next_action}"
    return error.code, f"{text} There was none within {hours:g} h.", error.next_action


def sentence(op: Operation, service: Service) -> Sentence | str:
    """What the customer reads of an operation; empty when it does not wait for room."""
    if not op.waits_for_room:
        return ""
    return CHANGE if service.provisioned else NEW
