"""The replies that the shim takes for success: only what says so is."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from bridge.web.placeholders import placed


def success(**values: Any) -> Response:
    """200 with `"result": "success"` beside the values; `html` with the shim's placeholders."""
    if "html" in values:
        values["html"] = placed(values["html"])
    return jsonify({"result": "success", **values})
