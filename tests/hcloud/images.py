"""A project's images: what the provider offers, and snapshots and backups, which are made by actions and locked
meanwhile."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tests.hcloud.failures import Failure

if TYPE_CHECKING:
    from tests.hcloud.project import Project, Server

CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/images"): {
        "name": str,
        "architecture": str,
        "type": str,
        "label_selector": str,
        "bound_to": str,
        "include_deprecated": str,
        "page": str,
        "per_page": str,
    },
    ("GET", "/images/{id}"): {},
    ("PUT", "/images/{id}"): {"description": str, "type": str, "labels": dict},
    ("DELETE", "/images/{id}"): {},
    ("POST", "/servers/{id}/actions/create_image"): {"type": str, "description": str, "labels": dict},
    ("POST", "/servers/{id}/actions/rebuild"): {"!image": str, "user_data": str},
    ("POST", "/servers/{id}/actions/enable_backup"): {},
    ("POST", "/servers/{id}/actions/disable_backup"): {},
    ("POST", "/servers/{id}/actions/reset_password"): {},
}
SLOTS = 7


@dataclass
class Image:
    id: int
    type: str
    architecture: str
    disk: int
    name: str | None = None
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    status: str = "available"
    created: float = 0.0
    bound_to: int | None = None
    made_of: int | None = None
    size: float | None = None
    content: str = ""
    protected: bool = False
    deprecation: dict[str, str] | None = None  # announced, unavailable_after


class Images:
    """Mixed into Project."""

    def _told_image(self, image: Image) -> dict[str, Any]:
        return {
            "id": image.id,
            "type": image.type,
            "status": image.status,
            "name": image.name,
            "description": image.description,
            "labels": image.labels,
            "image_size": image.size if image.status == "available" else None,
            "disk_size": image.disk,
            "architecture": image.architecture,
            "created": datetime.fromtimestamp(image.created, UTC).isoformat(timespec="seconds"),
            "bound_to": image.bound_to,
            "created_from": {"id": image.made_of, "name": "x"} if image.made_of else None,
            "deprecation": image.deprecation,
            "protection": {"delete": image.protected},
        }

    def _find_image(self: Project, text: str, architecture: str) -> Image:
        images = [
            i for i in self.images.values() if (str(i.id) == text or i.name == text) and i.architecture == architecture
        ]
        images = [i for i in images if not self.ended(i.deprecation)]
        if not images or images[0].status != "available":
            raise Failure("invalid_input", "image not found")
        return images[0]

    def _get_images(self: Project, values: dict[str, Any], _: None) -> dict[str, Any]:
        if values.get("include_deprecated") not in (None, "true", "false"):
            raise Failure("invalid_input", "invalid input in field 'include_deprecated'")
        old = values.get("include_deprecated") == "true"
        rows = [i for i in self.images.values() if not self.ended(i.deprecation) and (old or not i.deprecation)]
        for key, of in (("type", "type"), ("name", "name"), ("architecture", "architecture")):
            if key in values:
                rows = [i for i in rows if getattr(i, of) == values[key]]
        if "bound_to" in values:
            rows = [i for i in rows if str(i.bound_to) == values["bound_to"]]
        if "label_selector" in values:
            rows = [i for i in rows if selected(i.labels, values["label_selector"])]
        return self._page("images", rows, values, self._told_image)

    def _get_images_one(self: Project, values: dict[str, Any], image: Image) -> dict[str, Any]:
        return {"image": self._told_image(image)}

    def _put_images_one(self: Project, values: dict[str, Any], image: Image) -> dict[str, Any]:
        if values.get("type") not in (None, "snapshot"):
            raise Failure("invalid_input", "invalid input in field 'type'")
        if "type" in values:
            image.type, image.bound_to = "snapshot", None
        image.labels = values.get("labels", image.labels)
        image.description = values.get("description", image.description)
        return {"image": self._told_image(image)}

    def _delete_images_one(self: Project, values: dict[str, Any], image: Image) -> dict[str, Any]:
        if image.type == "system":
            raise Failure("forbidden", "not yours")
        if image.protected:
            raise Failure("protected", "image deletion is protected")
        del self.images[image.id]
        return {}

    def _post_servers_one_actions_create_image(self: Project, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        kind = values.get("type", "snapshot")
        if kind not in ("snapshot", "backup") or (kind == "backup" and not server.window):
            raise Failure("invalid_input", "backups are not enabled")
        if kind == "snapshot":
            self.allow("snapshot_limit", sum(i.type == "snapshot" for i in self.images.values()) + 1)
        image = self.keep(server, kind, values.get("labels", {}), values.get("description", ""))
        action = self.act("create_image", server, "")
        action.makes = image.id
        return {"image": self._told_image(image), "action": self.told(action)}

    def keep(self: Project, server: Server, kind: str, labels: dict[str, str], description: str) -> Image:
        """A new image of a server; of backups only the newest stay."""
        self.ids += 1
        made = self.images[self.ids] = Image(
            self.ids,
            kind,
            self.types[server.kind][3],
            server.disk,
            None,
            description,
            labels,
            "creating",
            self.clock.now(),
            server.id if kind == "backup" else None,
            server.id,
            1.25,
            server.content,
        )
        old = sorted((i for i in self.images.values() if i.bound_to == server.id), key=lambda i: i.id)
        for image in old[:-SLOTS]:
            del self.images[image.id]
        return made

    def automatic_backup(self: Project, server: Server) -> Image:
        """What the provider does every night."""
        made = self.keep(server, "backup", {}, "")
        made.status = "available"
        return made

    def _post_servers_one_actions_rebuild(self: Project, values: dict[str, Any], server: Server) -> dict[str, Any]:
        self._free(server)
        image = self._find_image(values["image"], self.types[server.kind][3])
        if server.rebuild_protected:
            raise Failure("protected", "server rebuild is protected")
        if image.disk > server.disk:
            raise Failure("invalid_input", "image disk is bigger than server disk")
        server.status, server.image, server.content = (
            "rebuilding",
            image.name or "",
            image.content or f"fresh {image.name}",
        )
        server.user_data = values.get("user_data", server.user_data)
        return {
            "action": self.told(self.act("rebuild_server", server, "running")),
            "root_password": "another-one-time-Secret",
        }

    def _post_servers_one_actions_enable_backup(
        self: Project, values: dict[str, Any], server: Server
    ) -> dict[str, Any]:
        self._free(server)
        action = self.act("enable_backup", server, "")
        before, server.window = server.window, server.window or "22-02"
        action.undo = lambda: setattr(server, "window", before)
        return {"action": self.told(action)}

    def _post_servers_one_actions_disable_backup(
        self: Project, values: dict[str, Any], server: Server
    ) -> dict[str, Any]:
        self._free(server)
        server.window = None
        self.images = {k: i for k, i in self.images.items() if i.bound_to != server.id}
        return {"action": self.told(self.act("disable_backup", server, ""))}

    def _post_servers_one_actions_reset_password(
        self: Project, values: dict[str, Any], server: Server
    ) -> dict[str, Any]:
        self._free(server)
        if server.status != "running":
            raise Failure("invalid_input", "server must be running")
        self.ids += 1
        action = self.act("reset_server_password", server, "")
        if server.agent_after > self.clock.now():
            action.error, action.code = "The guest agent does not answer", "guest_agent_unavailable"
        else:
            before, server.password = server.password, f"Reset-{self.ids}"
            action.undo = lambda: setattr(server, "password", before)
        return {"action": self.told(action), "root_password": f"Reset-{self.ids}"}


@lru_cache(maxsize=1000)
def wanted(selector: str) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
    """(label, its allowed values or none for any, whether it must not be there) of each part."""
    parts = re.findall(r"!?[\w./-]+(?: in \([^)]*\)|=[\w.-]+)?", selector)
    if ",".join(parts) != selector:
        raise Failure("invalid_input", "invalid input in field 'label_selector'")
    split = [part.replace("=", " in ").partition(" in ") for part in parts]
    return tuple((k.lstrip("!"), tuple(v.strip("()").split(",")) if v else (), k[0] == "!") for k, _, v in split)


def selected(labels: dict[str, str], selector: str) -> bool:
    """`k`, `!k`, `k=v`, `k in (a,b)`, joined by commas."""
    for key, values, absent in wanted(selector):
        if (key in labels) is absent or (values and not absent and labels[key] not in values):
            return False
    return True
