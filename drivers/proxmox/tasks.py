"""The node's tasks by their UPID: how one ended, and which of ours is one whose reply was lost."""

from __future__ import annotations

import re

from bridge.errors import Unknown, VmbridgeError
from bridge.model import TaskResult, VmRef
from drivers.proxmox.api import Api
from drivers.proxmox.errors import from_text

UPID = re.compile(r"^UPID:([^:]+):[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:([0-9A-Fa-f]{8}):([^:]*):([^:]*):")
GOOD = re.compile(r"^(OK|WARNINGS: \d+)\Z")
CLOCK_SKEW = 300.0  # a node's clock may be this far from ours when tasks are searched by time
HOLDERS = {  # lock -> the kinds of tasks that take it
    "backup": ("vzdump",),
    "clone": ("qmclone",),
    "create": ("qmcreate", "qmrestore"),
    "migrate": ("qmigrate", "hamigrate"),
    "rollback": ("qmrollback",),
    "snapshot": ("qmsnapshot",),
    "snapshot-delete": ("qmdelsnapshot", "qmsnapshot"),
    "suspending": ("qmsuspend",),
    "import": ("qmcreate", "qmclone"),
    "destroyed": ("qmdestroy",),
}
UNSEEN = "unseen"
TASKS = {"rollback": "qmrollback", "restore": "qmrestore", "take": "vzdump"}


def look(api: Api, task: str) -> TaskResult:
    match = UPID.match(task)
    if not match:
        return TaskResult("unknown", f"not a task: {task[:80]}")
    try:
        status = api.get(f"nodes/{match.group(1)}/tasks/{task}/status")
    except VmbridgeError as e:  # a node keeps its tasks' logs for long, not for ever
        return TaskResult("unknown" if "no such task" in e.detail else "running", e.detail)
    if status.get("status") != "stopped":
        return TaskResult("running")
    text = str(status.get("exitstatus") or "unexpected status")
    if text == "job errors":  # all that vzdump says there
        text = _reason(api, match.group(1), task) or text
    if GOOD.match(text):
        return TaskResult("done", text)
    return TaskResult("unknown" if isinstance(from_text(text), Unknown) else "failed", text)


def _reason(api: Api, node: str, task: str) -> str:
    """Why a backup failed, as its log says it; empty when that cannot be read."""
    try:
        lines = [str(line.get("t", "")) for line in api.get(f"nodes/{node}/tasks/{task}/log", limit=0)]
    except VmbridgeError:
        return ""
    reasons = [m.group(1) for line in lines if (m := re.match(r"ERROR: Backup of VM \d+ failed - (.+)", line))]
    return f"job errors: {reasons[-1]}" if reasons else ""


def holder(api: Api, node: str, vm_id: str, lock: str) -> str:
    """The kind of the running task that holds a machine's lock; empty when none does, UNSEEN where we may not see
    everybody's. A vzdump of several machines names none, a clone its source; a migration's task is on the node that the
    machine comes from."""
    if "Sys.Audit" not in (api.get("access/permissions", path=f"/nodes/{node}").get(f"/nodes/{node}") or {}):
        return UNSEEN
    rows = api.get(f"nodes/{node}/tasks", source="active", limit=500)
    if lock == "migrate":
        rows = [*rows, *api.get("cluster/tasks")]
    kinds = HOLDERS.get(lock, ())
    mine = [r for r in rows if lock == "clone" or str(r.get("id") or "") in ("", vm_id)]
    return next((str(r["type"]) for r in mine if r.get("type") in kinds and not r.get("endtime")), "")


def find(api: Api, ref: VmRef, verb: str, since: float) -> str:
    rows = api.get(
        f"nodes/{ref.node}/tasks",
        source="all",
        vmid=int(ref.vm_id),
        typefilter=TASKS[verb],
        since=int(since - CLOCK_SKEW),
        limit=50,
    )
    mine = [t for t in rows if float(t.get("starttime") or 0) >= since - 5]  # an earlier one is another operation's
    return str(mine[0]["upid"]) if mine else ""
