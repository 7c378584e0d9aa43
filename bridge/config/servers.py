"""[servers.<name>]: which driver, and the driver's own keys by the driver's own schema."""

from __future__ import annotations

from typing import Any

from bridge.config.reader import Reader
from bridge.errors import Refused
from drivers import folder


def server_of(r: Reader, raw: Any, path: str) -> dict[str, Any] | None:
    """`[servers.<name>]` as its driver's schema loads it, with `driver`; None where it has faults."""
    if not isinstance(raw, dict):
        r.fault(path, "not_a_table", "must be a table")
        return None
    try:
        if "driver" not in raw:
            raise Refused(f"is required; found: {', '.join(folder.names())}", code="missing")
        driver = folder.load(str(raw["driver"]))
    except Refused as e:
        r.fault(f"{path}.driver", e.code, e.sentence)
        known = folder.words("server_schema")
        for key in set(raw) - known - {"driver"}:
            r.unknown(f"{path}.{key}", known)
        return None
    value = r.load(driver.server_schema(), {k: v for k, v in raw.items() if k != "driver"}, path)
    return None if value is None else {"driver": raw["driver"], **value}
