"""Style sheets and scripts of pages. They stand inside the page until a browser has had them from the public path
(bridge/static/first.js sees to that and keeps it in the cookie that the shim sends as `have`); from then on pages name
their addresses, which browsers keep."""

from __future__ import annotations

import json
import re
from functools import cache

from flask import request
from markupsafe import Markup

from bridge import assets
from bridge.web.assets import OF_PAGES, THROUGH_SHIM
from bridge.web.auth import context


@cache
def _text(path: str) -> str:
    return assets.text(path)


def _at() -> str:
    public = str(context().config.web["public_url"]).rstrip("/")
    return f"{public}/assets/{assets.version()}/" if public else ""


def _paths(names: tuple[str, ...]) -> dict[str, str]:
    """What is built of them; a page works without what is not."""
    return {n: THROUGH_SHIM[n] for n in names if assets.built(THROUGH_SHIM[n])}


def linked() -> bool:
    return bool(_at()) and request.args.get("have") == assets.version()


@cache
def _bare(path: str) -> str:
    """One of our scripts without indentation and remarks."""
    return re.sub(r"^(//.*\n|[ \t]+(//.*\n)?)", "", _text(path), flags=re.MULTILINE)


def first() -> Markup:
    """The script that begins every page."""
    at, every = _at(), [p for p in OF_PAGES.values() if assets.built(p)]
    return Markup('<script data-version="{}" data-at="{}" data-all="{}" data-linked="{}">{}</script>').format(
        assets.version(), at, json.dumps(every), "1" if linked() else "", Markup(_bare("first.js"))
    )


def sheets(*names: str) -> Markup:
    paths = _paths(names)
    if not linked():
        return Markup("<style>{}</style>").format(Markup("\n".join(_text(p) for p in paths.values())))
    tag = Markup(
        '<link rel="stylesheet" crossorigin="anonymous" href="{}" data-file="{}" onload="vmbridgeFiles.came(this)"'
        ' onerror="vmbridgeFiles.near(this)">'
    )
    return Markup("").join(tag.format(_at() + path, name) for name, path in paths.items())


def scripts(*names: str) -> Markup:
    paths = _paths(names)
    if not linked():
        return Markup("").join(Markup("<script>{}</script>").format(Markup(_text(p))) for p in paths.values())
    return Markup("<script>vmbridgeFiles.load({})</script>").format(Markup(json.dumps(paths)))
