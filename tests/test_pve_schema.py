"""The simulator's own table of calls, compared with the official description where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pve import schema

SHARED = Path(__file__).parent.parent.parent / "shared/reference"


def flatten(raw: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): info for path, methods in raw["paths"].items() for method, info in methods.items()}


@pytest.mark.parametrize("major", [8, 9])
def test_every_call_and_parameter_is_official(major: int) -> None:
    path = SHARED / f"pve-api-schema-{major}.json"
    if not path.exists():
        pytest.skip("the official API description is not beside this checkout")
    official = flatten(json.loads(path.read_text("utf-8")))
    wrong = []
    for (method, name), (params, _, _) in schema.CALLS.items():
        info = official.get((method, name))
        if info is None:
            wrong.append(f"{method} {name}")
            continue
        known = info.get("parameters", {}).get("properties", {})
        families = {k.split("[")[0] for k in known if "[" in k}
        for key in (k for k in params if major >= 9 or k not in schema.ONLY_9):
            if key not in known and key.rstrip("0123456789") not in families:
                wrong.append(f"{method} {name} {key}")
            kind = known.get(key, {}).get("type")
            if kind in ("integer", "boolean", "number") and params[key] != kind:
                wrong.append(f"{method} {name} {key}: {params[key]} is {kind}")
    assert not wrong
