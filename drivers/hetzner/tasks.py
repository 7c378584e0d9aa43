"""What we wait for: one or several actions of the provider in one text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bridge.model import TaskResult, VmRef
from drivers.hetzner.api import Api

ASK = 40  # actions in one call; the address must not get too long


def of(server: int, actions: Iterable[Mapping[str, Any]]) -> str:
    """`SERVER:ACTION,ACTION`: all of them have to end."""
    return f"{server}:{','.join(str(a['id']) for a in actions)}"


def act(api: Api, server: int, verb: str, **values: Any) -> str:
    return of(server, [api.post(f"/servers/{server}/actions/{verb}", **values)["action"]])


def running(api: Api, server: int, command: str = "") -> list[dict[str, Any]]:
    """Actions of a server that have not ended, as the provider lists them; of one command or all."""
    actions = api.pages(f"/servers/{server}/actions", "actions", status="running")
    return [a for a in actions if command in ("", a["command"])]


def newest(api: Api, server: int, command: str) -> int:
    """The id of the server's newest action of this kind, in whatever state; 0 when none is listed."""
    rows = api.get(f"/servers/{server}/actions", sort="id:desc", per_page=50)["actions"]
    return max((int(a["id"]) for a in rows if a["command"] == command), default=0)


def find(api: Api, ref: VmRef, verb: str, since: float) -> str:
    command = {"take": "create_image", "rollback": "rebuild_server", "restore": "rebuild_server"}[verb]
    rows = api.get(f"/servers/{int(ref.vm_id)}/actions", sort="id:desc", per_page=25)["actions"]
    after = since + api.ahead - 2.0  # stamps are whole seconds
    begun = [a for a in rows if a["command"] == command and datetime.fromisoformat(a["started"]).timestamp() >= after]
    return of(int(ref.vm_id), begun[:1]) if begun else ""


def results(api: Api, tasks: Iterable[str]) -> dict[str, TaskResult]:
    """Task -> its end. One call for many; what the provider does not know is "unknown"."""
    tasks = list(tasks)
    wanted = {t: [a for a in t.partition(":")[2].split(",") if a] for t in tasks if ":" in t}
    ids = sorted({a for actions in wanted.values() for a in actions})
    known: dict[str, dict[str, Any]] = {}
    for i in range(0, len(ids), ASK):
        known |= {str(a["id"]): a for a in api.get("/actions", id=ids[i : i + ASK])["actions"]}
    answers = {t: _result([known.get(a) for a in actions]) for t, actions in wanted.items()}
    return answers | {t: TaskResult("unknown", f"not a task: {t[:80]}") for t in tasks if t not in answers}


BIRTH = "create_server"


def _result(actions: Sequence[Mapping[str, Any] | None]) -> TaskResult:
    """What follows a birth of a server that is there, its firewalls and networks, is made up for by converge before its
    first start."""
    bad = next((a for a in actions if a and a["status"] == "error"), None)
    if (
        bad
        and bad["command"] != BIRTH
        and any(a and a["command"] == BIRTH and a["status"] == "success" for a in actions)
    ):
        bad = None
    if bad:
        error = bad.get("error") or {}
        return TaskResult("failed", f"{error.get('code', 'error')}: {error.get('message', '')}")
    if any(a is None for a in actions):
        return TaskResult("unknown", "an action is not known any more")
    return TaskResult("running" if any(a and a["status"] == "running" for a in actions) else "done")
