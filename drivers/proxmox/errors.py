"""Proxmox VE's error texts -> our errors. Pure functions (texts as read in PVE 8.4 and 9.1 sources)."""

from __future__ import annotations

import re

from bridge.errors import (
    Busy,
    Capacity,
    NotFound,
    Permanent,
    Protected,
    Refused,
    StorageAway,
    Transient,
    Unknown,
    Unlisted,
    Unreachable,
    VmbridgeError,
)

ABSENT = re.compile(r"[Cc]onfiguration file '.*' does not exist|unable to find configuration file")
TAKEN = re.compile(r"already exists|File exists")
LOCKED = re.compile(r"VM is locked \(([\w-]+)\)")
TRANSIENT = re.compile(
    r"can't lock file '.*' - got timeout|got lock request timeout|cluster not ready - no quorum|no quorum!"
    r"|cluster filesystem not online|checksum mismatch|detected modified configuration|replication running"
    r"|command '.*' failed: got timeout|hostname lookup '.*' failed|Too many redirections"
)
KEPT = re.compile(r"cannot remove protected")
CAPACITY = re.compile(r"not enough free space|no space|out of space|[Tt]hin pool .* full|MAX \d+ vcpus", re.I)
AWAY = re.compile(r"storage '[^']*' is not online")
UNPROTECT = (
    "Take the protection off in the storage's list of backups if it is to go: it goes on by itself within 15"
    " minutes, or retry."
)
ROOM = "Free room or add a node or storage, then retry."
QCOW2 = (
    "Move the server's raw disks (Hardware > Disk Action > Move Storage) to format qcow2 or to a storage that takes"
    " snapshots; then retry."
)
KEY = (
    "Look whether the token or its user has expired or was removed, and correct the server's token_id and"
    " token_secret; then retry."
)
PRIVILEGE = "Give both the user and the token the privilege that is named (`vmbridge check` lists all), then retry."
NODE = (
    "See that the node is on, in the cluster and answers on port 8006, or name another of its hosts in the server's"
    " endpoint."
)
LOG = "Look at the task's log on the node, mend the cause, then retry."
UNKNOWN_STATUS = (596, 597, 598, 599, 502, 504)


def absent(error: VmbridgeError) -> bool:
    return isinstance(error, NotFound) and error.code == "vm_absent"


def from_reply(status: int, text: str, errors: object = None) -> VmbridgeError:
    """One failed reply -> the error to raise. `text` is the reason phrase (or body message)."""
    detail = f"{status} {text}" + (f" {errors}" if errors else "")
    if status == 401:
        return Permanent("The server refused our key.", code="upstream_credentials", detail=detail, next_action=KEY)
    if status == 403:
        return Permanent("Our key lacks a privilege.", code="upstream_privilege", detail=detail, next_action=PRIVILEGE)
    if status == 595:
        return Unreachable("The node does not answer the host that we ask.", detail=detail, next_action=NODE)
    if status in UNKNOWN_STATUS and not TRANSIENT.search(text):
        return Unknown(detail=detail)
    if status == 400:
        fields = tuple(errors) if isinstance(errors, dict) else ()
        return Permanent("The server refused a value.", code="upstream_parameter", detail=detail, fields=fields)
    return from_text(text, detail)


def from_text(text: str, detail: str = "") -> VmbridgeError:
    """A reason phrase or a task's exit status -> the error to raise."""
    detail = detail or text
    locked = LOCKED.search(text)
    if locked:
        return Busy(detail=detail, lock=locked.group(1))
    if ABSENT.search(text):
        return NotFound("The machine is not there.", code="vm_absent", detail=detail)
    if TRANSIENT.search(text):
        return Transient(detail=detail)
    if "quit/powerdown failed" in text:  # shutdown and reboot of a guest that ignores ACPI
        return Refused("The system inside did not react; a hard stop turns it off.", code="no_reaction", detail=detail)
    if KEPT.search(text):
        return Protected(detail=detail, next_action=UNPROTECT)
    if AWAY.search(text):
        return StorageAway(detail=detail)
    if CAPACITY.search(text):
        return Capacity(detail=detail, next_action=ROOM)
    if TAKEN.search(text):
        return Refused("The id is in use.", code="id_taken", detail=detail)
    if "snapshot feature is not available" in text:
        return Permanent(
            "A disk of this server cannot take snapshots.", code="no_snapshots", detail=detail, next_action=QCOW2
        )
    if text == "unexpected status" or text.startswith("unable to get last line"):
        return Unknown(detail=detail)
    return Unlisted(detail=detail, next_action=LOG)
