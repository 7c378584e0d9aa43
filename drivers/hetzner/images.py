"""What is kept of servers as images: snapshots and backups; and disks written anew from an image. Labels say whose an
image is: a snapshot outlives its server, and nothing else tells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from bridge.errors import NotFound, NotOurs, Permanent, Protected
from bridge.model import Backup, Kept, Snapshot, VmRef
from drivers.hetzner import proof, tasks
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL, retires
from drivers.hetzner.errors import PROTECTED_CONTENT, protected

SNAPSHOT = "vmbridge-snapshot"  # a label: our name of a snapshot
OPERATION = "vmbridge-operation"  # a label: which operation of ours made a backup
KEPT = "vmbridge-kept"  # a label: a backup that was kept as a snapshot when its server went
GB = 10**9


def of(uuids: Collection[str], more: str = "") -> str:
    """A label selector for what belongs to one machine."""
    return f"{LABEL} in ({','.join(uuids)}){more}"


def listed(api: Api, uuids: Collection[str]) -> list[dict[str, Any]]:
    """Snapshots that we made of this machine, also unfinished ones."""
    return list(api.pages("/images", "images", type="snapshot", label_selector=of(uuids, f",{SNAPSHOT}")))


def made_at(image: Mapping[str, Any]) -> float:
    """Seconds since 1970, from `created` (ISO 8601)."""
    return datetime.fromisoformat(image["created"]).timestamp()


def size(image: Mapping[str, Any]) -> int:
    """In bytes; the provider counts in GB, and knows none while it copies."""
    return round((image["image_size"] or 0) * GB)


def snapshots(images: Iterable[Mapping[str, Any]]) -> list[Snapshot]:
    listed = [
        Snapshot(
            i["labels"][SNAPSHOT],
            made_at(i),
            i["description"],
            complete=i["status"] == "available",
            broken=i["status"] == "unavailable",
            size=size(i),
        )
        for i in images
    ]
    return sorted(listed, key=lambda s: (s.taken_at, s.name))


def backups(images: Iterable[Mapping[str, Any]]) -> list[Backup]:
    listed = [
        Backup(
            str(i["id"]),
            made_at(i),
            size(i),
            f"vmbridge {i['labels'][OPERATION]}" if OPERATION in i["labels"] else "",
            automatic=True,
        )
        for i in images
        if i["status"] == "available"
    ]
    return sorted(listed, key=lambda b: (b.made_at, b.archive))


def kept(api: Api) -> Kept:
    """Of all machines of the project at once."""
    whole = Kept({}, {})
    for image in api.pages("/images", "images", type="snapshot", label_selector=f"{LABEL},{SNAPSHOT}"):
        whole.snapshots.setdefault(image["labels"][LABEL], []).extend(snapshots([image]))
    for image in api.pages("/images", "images", type="backup"):
        whole.backups.setdefault(str(image["bound_to"]), []).extend(backups([image]))
    return whole


def named(api: Api, uuids: Collection[str], name: str) -> dict[str, Any] | None:
    """The snapshot of a service that we called so, as the provider lists it."""
    return next((i for i in listed(api, uuids) if i["labels"][SNAPSHOT] == name), None)


def proven(api: Api, image: str, server: str, uuids: Collection[str]) -> dict[str, Any] | None:
    """An image that is this machine's: bound to its server, or labelled; None when it is gone. Raises NotOurs."""
    try:
        row: dict[str, Any] = api.get(f"/images/{int(image)}")["image"]
    except NotFound:
        return None
    if str(row["bound_to"]) != server and row["labels"].get(LABEL) not in uuids:
        raise NotOurs(detail=f"image {image} belongs to another server")
    return row


def remove(api: Api, image: Mapping[str, Any], held: list[str] | None = None) -> None:
    """One that is protected is added to `held`; without it Protected is raised."""
    if (image.get("protection") or {}).get("delete"):
        what = f"{image['type']} {image['id']} ({image['description'] or image['name']})"
        if held is None:
            raise protected(what)
        held.append(what)
        return
    with suppress(NotFound):
        api.delete(f"/images/{image['id']}")


def remove_failed(api: Api, server: str, operation: str) -> None:
    """What an earlier try of a backup has left: it would take a slot."""
    for image in api.pages(
        "/images", "images", type="backup", bound_to=server, label_selector=f"{OPERATION} in ({operation})"
    ):
        if image["status"] == "unavailable":
            remove(api, image)


def keep_newest(api: Api, server: str, uuid: str) -> None:
    """All backups go with their server: the newest stays as a snapshot, which costs by its size until staff removes it.
    Once: a repeat finds the one that is kept."""
    kept = api.pages("/images", "images", type="snapshot", label_selector=f"{LABEL} in ({uuid}),{KEPT}")
    if any(str((i.get("created_from") or {}).get("id")) == server for i in kept):
        return
    available = [
        i for i in api.pages("/images", "images", type="backup", bound_to=server) if i["status"] == "available"
    ]
    if available:
        newest = max(available, key=lambda i: (made_at(i), i["id"]))
        api.put(
            f"/images/{newest['id']}",
            type="snapshot",
            labels={LABEL: uuid, KEPT: "yes"},
            description=f"kept backup of server {server}",
        )


def system(api: Api, template: str, images: Mapping[str, str], architecture: str) -> dict[str, Any]:
    """The image that a template stands for: the plan's own choice by id, else the provider's by name. One whose end is
    announced is sold until its day. Raises Permanent."""
    wanted = images.get(template, template)
    if wanted.isdigit():
        try:
            candidates = [api.get(f"/images/{wanted}")["image"]]
        except NotFound:
            candidates = []
    else:
        candidates = api.get(
            "/images", name=wanted, architecture=architecture, type="system", include_deprecated="true"
        )["images"]
    usable = [i for i in candidates if i["architecture"] == architecture and i["status"] == "available"]
    if not usable:
        raise Permanent(
            "The plan names an image that the provider does not have.",
            code="plan_impossible",
            detail=f"image {wanted!r} for {architecture}",
        )
    image: dict[str, Any] = usable[0]
    end, date = retires(image)
    if end and end <= api.now():
        raise Permanent(
            "The plan names an image that the provider does not sell any more.",
            code="plan_impossible",
            detail=f"image {wanted!r} for {architecture}, since {date}",
        )
    return image


def snapshot(api: Api, ref: VmRef, verb: str, name: str, description: str) -> str:
    server, image = proof.present(api, ref), named(api, ref.uuids, name)
    if verb == "rollback":
        if image is None or image["status"] != "available":
            raise Permanent("This snapshot is not there any more.", code="snapshot_gone", detail=name)
        return rebuild(api, server, image["id"])
    if verb == "delete":
        if image:
            remove(api, image)
        return ""
    if image and image["status"] == "available":
        return ""
    if image and (running := tasks.running(api, server["id"], "create_image")):
        return tasks.of(server["id"], running)
    if image:  # what an action that failed has left
        remove(api, image)
    return _keep(api, server, "snapshot", {SNAPSHOT: name}, ref, description or name)


def backup(api: Api, ref: VmRef, verb: str, archive: str, mark: str) -> str:
    if verb == "take":
        remove_failed(api, ref.vm_id, mark)
        return _keep(api, proof.present(api, ref), "backup", {OPERATION: mark}, ref, f"vmbridge {mark}")
    image = proven(api, archive, ref.vm_id, ref.uuids)
    if verb == "delete":
        if image:
            remove(api, image)
        return ""
    if image is None or image["status"] != "available":
        raise Permanent("This backup is not there any more.", code="backup_gone", detail=archive)
    return rebuild(api, proof.present(api, ref), image["id"])


def _keep(api: Api, server: Mapping[str, Any], kind: str, labels: dict[str, str], ref: VmRef, description: str) -> str:
    return tasks.act(
        api, server["id"], "create_image", type=kind, description=description, labels={LABEL: ref.uuids[0], **labels}
    )


def rebuild(api: Api, server: Mapping[str, Any], image: int | str, **values: Any) -> str:
    """Raises Permanent where somebody has protected what is on the server; nothing has begun then."""
    try:
        return tasks.act(api, server["id"], "rebuild", image=str(image), **values)
    except Protected as e:
        raise Permanent(
            "It is protected against being set up anew; nothing was changed.",
            code="rebuild_protected",
            detail=e.detail,
            next_action=PROTECTED_CONTENT,
        ) from None
