"""Snapshots of a proven machine. Texts and rules: qemu-server's API2/Qemu.pm and AbstractConfig (guest-common)."""

from __future__ import annotations

from bridge.errors import Permanent, UpstreamError
from bridge.model import Sentence, Snapshot
from drivers.proxmox import convert, media
from drivers.proxmox.api import Api

DONE = {"take": "already used", "delete": "does not exist"}


def listed(api: Api, base: str) -> list[Snapshot]:
    """`current` is no snapshot; one with a `snapstate` is being made or removed, or was when its task ended badly. Then
    not every disk has it, and only `force` removes it (AbstractConfig's snapshot_delete)."""
    rows = [r for r in api.get(f"{base}/snapshot") if r["name"] != "current"]
    snapshots = [
        Snapshot(
            str(r["name"]),
            float(r.get("snaptime") or 0),
            str(r.get("description") or "").rstrip("\n"),
            bool(int(r.get("vmstate") or 0)),
            not r.get("snapstate"),
        )
        for r in rows
    ]
    return sorted(snapshots, key=lambda s: (s.taken_at, s.name))


def act(api: Api, base: str, verb: str, name: str, description: str, memory: bool) -> str:
    try:
        if verb == "take":
            return str(
                api.post(f"{base}/snapshot", snapname=name, description=description or None, vmstate=memory or None)
            )
        if verb == "delete":
            half = any(s.name == name and not s.complete for s in listed(api, base))
            return str(api.delete(f"{base}/snapshot/{name}", force=True if half else None))
        _refuse_lost_disc(api, base, name)
        return str(api.post(f"{base}/snapshot/{name}/rollback"))
    except UpstreamError as e:
        if verb in DONE and DONE[verb] in e.detail:
            return ""
        raise


def _refuse_lost_disc(api: Api, base: str, name: str) -> None:
    """With its memory a snapshot comes back running, with the ISO that lay in its drive; without that the disks would
    be written over and the start then fail. Raises Permanent."""
    if not any(s.name == name and s.with_memory for s in listed(api, base)):
        return
    config, node = api.get(f"{base}/config", snapshot=name), base.split("/")[1]
    discs = [media.volume(config[k]) for k in convert.cd_drives(config)]
    gone = [media.iso(d).name for d in discs if d and not media.there(api, node, d)]
    if gone:
        raise Permanent(
            Sentence(
                "This snapshot was taken with the ISO %(name)s in the drive, which is not there any more. Nothing"
                " was changed.",
                name=gone[0],
            ),
            code="iso_gone",
            detail=", ".join(gone),
            next_action="Upload the ISO again, then retry.",
        )
