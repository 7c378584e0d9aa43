"""Who may import whom, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
KERNEL = {"bridge.model", "bridge.errors", "bridge.clock", "bridge.kinds"}
LOW = {
    "bridge.config",
    "bridge.store",
    "bridge.permissions",
    "bridge.names",
    "bridge.amounts",
    "bridge.direct",
    "bridge.limits",
    "bridge.schedules",
    "drivers.base",
    "drivers.http",
}
NOUNS = {
    "bridge.orders",
    "bridge.room",
    "bridge.packages",
    "bridge.status",
    "bridge.whmcs",
    "bridge.outbox",
    "bridge.logs",
    "bridge.addresses",
    "bridge.passwords",
    "bridge.servers",
    "bridge.console",
    "bridge.rfb",
    "bridge.assets",
    "bridge.charts",
    "bridge.isos",
    "bridge.dns",
    "bridge.usage",
}
MIDDLE = {"bridge.services", "bridge.recipes", "bridge.operations", "bridge.upgrades", "bridge.findings"}
ONLY = {
    "proxmoxer": "drivers/proxmox/",
    "hcloud": "drivers/hetzner/",
    "flask": "bridge/web/|bridge/app.py|bridge/wsgi.py",
    "apscheduler": "bridge/worker.py",
    "time": "bridge/clock.py",
    "sqlite3": "bridge/store/",
    "sqlite_utils": "bridge/store/",
    "websockets": "bridge/console_relay.py",
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def sources() -> list[Path]:
    return [p for folder in ("bridge", "drivers", "hooks") for p in sorted((ROOT / folder).rglob("*.py"))]


def within(name: str, group: set[str]) -> bool:
    return any(name == g or name.startswith(g + ".") for g in group)


def test_layers() -> None:
    allowed = [KERNEL, KERNEL | LOW, KERNEL | LOW | NOUNS, KERNEL | LOW | NOUNS | MIDDLE]
    wrong = []
    for path in sources():
        name = module(path)
        for level, group in enumerate((KERNEL, LOW, NOUNS, MIDDLE)):
            if within(name, group):
                ours = {
                    i
                    for i in imports(path)
                    if i.startswith("bridge.") or i.startswith("drivers.") or i.startswith("hooks.")
                }
                wrong += [
                    f"{name} imports {i}"
                    for i in ours
                    if not within(i, allowed[level] | {name}) and i != "drivers.base"
                ]
        if name.startswith("drivers.") and name != "drivers.base":
            ours = {i for i in imports(path) if i.startswith("bridge.") or i.startswith("hooks.")}
            wrong += [f"{name} imports {i}" for i in ours if not within(i, KERNEL)]
    assert not wrong


def test_libraries_stay_in_their_place() -> None:
    wrong = []
    for path in sources():
        where = str(path.relative_to(ROOT))
        for name in {i.split(".")[0] for i in imports(path)} & set(ONLY):
            if not any(where.startswith(place) for place in ONLY[name].split("|")):
                wrong.append(f"{where} imports {name}")
    assert not wrong


def test_the_package_file_is_empty_and_there_is_no_junk_drawer() -> None:
    assert (ROOT / "bridge/__init__.py").read_text() == ""
    assert not [p for p in sources() if p.stem in ("utils", "helpers", "common", "manager")]
