"""Who may import whom, read from the source."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Lowest first. A module may import what stands lower, and its own room (the entry that names it); nothing beside or
# above it.
LAYERS: list[tuple[str, set[str]]] = [
    ("kernel", {"bridge.model", "bridge.errors", "bridge.clock"}),
    (
        "facts of verbs, what is around a driver's call",
        {"bridge.kinds", "drivers.calls", "drivers.reads", "drivers.urls", "drivers.optional"},
    ),
    ("the drivers' contract", {"drivers.base", "drivers.dns.contract"}),
    ("who drives", {"drivers.folder"}),
    (
        "ground",
        {
            "bridge.permissions",
            "bridge.names",
            "bridge.accounts",
            "bridge.amounts",
            "bridge.schedules",
            "bridge.languages",
            "bridge.passwords",
            "bridge.assets",
            "bridge.logs",
            "bridge.room",
            "bridge.firewall",
            "bridge.causes",
            "bridge.alive",
            "bridge.counts",
            "bridge.durations",
            "bridge.origin",
            "drivers.answers",
            "drivers.http",
            "drivers.shapes",
        },
    ),
    ("names in DNS", {"bridge.zones"}),
    ("configuration", {"bridge.config"}),
    ("the store, WHMCS's API", {"bridge.store", "bridge.whmcs"}),
    ("what stands in the way", {"bridge.obstacles"}),
    (
        "nouns",
        {
            "bridge.orders",
            "bridge.metering",
            "bridge.outbox",
            "bridge.limits",
            "bridge.budget",
            "bridge.console.codes",
            "bridge.console.rfb",
            "bridge.staff.servers",
            "bridge.customer.direct",
            "bridge.firewall.writing",
        },
    ),
    ("what stands in DNS", {"bridge.dns"}),
    ("what a client's account costs", {"bridge.costs"}),
    (
        "nouns read directly",
        {"bridge.customer.charts", "bridge.customer.isos", "bridge.customer.dns", "bridge.customer.firewalls"},
    ),
    ("what an operation is made of", {"bridge.steps"}),
    ("what becomes of one that fails", {"bridge.retries"}),
    ("the engine", {"bridge.operations"}),
    ("recipes", {"bridge.recipes"}),
    ("what WHMCS and staff order", {"bridge.services"}),
    ("what customers and sweeps do", {"bridge.customer", "bridge.staff.findings"}),
    ("what sweeps find in turn, and its mending", {"bridge.staff.contents", "bridge.staff.mending"}),
    ("what a process opens", {"bridge.context"}),
    ("looking after it all", {"bridge.staff.doctor", "bridge.readiness", "bridge.watch"}),
    ("what is measured", {"bridge.metrics"}),
    ("a console's connection", {"bridge.console.front"}),
    ("a console's page", {"bridge.console.page"}),
    ("processes", {"bridge.web", "bridge.worker", "bridge.console.relay"}),
    ("wiring", {"bridge.app"}),
    ("start", {"bridge.wsgi", "bridge.cli"}),
]
DRIVERS = (
    "hooks",
    *(f"drivers.{p.name}" for p in sorted((ROOT / "drivers").iterdir()) if p.is_dir()),
)  # and hooks: own modules
FACES = {
    "bridge",
    "bridge.console",
    "bridge.staff",
    "bridge.orders",
    "bridge.metering",
    "bridge.dns",
    "bridge.accounts",
    "bridge.costs",
    "drivers",
    "drivers.dns",
}  # docstrings alone
ONLY = {
    "proxmoxer": "drivers/proxmox/",
    "hcloud": "drivers/hetzner/",
    "flask": "bridge/web/|bridge/app.py|bridge/wsgi.py",
    "apscheduler": "bridge/worker.py",
    "time": "bridge/clock.py",
    "sqlite3": "bridge/store/",
    "sqlite_utils": "bridge/store/",
    "psycopg": "bridge/store/postgres/",
    "psycopg_pool": "bridge/store/postgres/",
    "websockets": "bridge/console/",
    "prometheus_client": "bridge/metrics.py",
    "apispec": "bridge/web/openapi.py",
    "dns": "drivers/dns/rfc2136.py|bridge/dns/lookup.py",
}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{a.name}" for a in node.names}
    return names


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def sources() -> list[Path]:
    return [p for folder in ("bridge", "drivers", "hooks") for p in sorted((ROOT / folder).rglob("*.py"))]


def room_of(name: str) -> tuple[int, str] | None:
    """(layer, entry) by the longest entry that names the module; None for drivers' and hooks' own modules."""
    rooms = [
        (len(e), n, e) for n, (_, group) in enumerate(LAYERS) for e in group if name == e or name.startswith(e + ".")
    ]
    return max(rooms)[1:] if rooms else None


def test_every_module_has_its_layer_and_imports_only_what_is_below() -> None:
    modules, wrong = {module(p) for p in sources()}, []
    for path in sources():
        name = module(path)
        if name in FACES or name.startswith(DRIVERS):
            continue
        here = room_of(name)
        if here is None:
            wrong.append(f"{name} has no layer")
            continue
        for other in imports(path) & modules:
            there = room_of(other)
            if other in FACES or there == here or (there and there[0] < here[0]):
                continue
            if (name, other) == ("bridge.worker", "hooks"):
                continue  # they are found by the folder
            wrong.append(f"{name} imports {other}")
    assert not wrong


def test_drivers_and_hooks_see_only_the_kernel_and_their_contract() -> None:
    wrong = []
    for path in sources():
        name, own = module(path), module(path).split(".")[:2]
        if not name.startswith(DRIVERS):
            continue
        allowed = {"bridge.model", "bridge.errors", "bridge.clock"} | {
            f"drivers.{n}" for n in ("answers", "base", "calls", "folder", "http", "reads", "shapes", "urls")
        }
        allowed |= {"bridge.whmcs"} if name.startswith("hooks") else set()
        for i in imports(path):
            if not i.startswith(("bridge.", "drivers.", "hooks.")) or i.split(".")[:2] == own:
                continue
            if not any(i == a or i.startswith(a + ".") for a in allowed):
                wrong.append(f"{name} imports {i}")
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


def test_no_circle() -> None:
    """Not even of what only types need, or a function imports when it runs."""
    names, above = {module(p) for p in sources()}, dict[str, set[str]]()
    for path in sources():
        needs = above.setdefault(module(path), set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                needs |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{a.name}" for a in node.names}
                needs |= {name if name in names else str(node.module) for name in full}
    TopologicalSorter({name: needs & names - {name} for name, needs in above.items()}).prepare()  # raises CycleError


WIDE, LONG, LONG_TEST = 120, 400, 600  # columns, lines
WHOLE = {"bridge/model.py"}  # the records that everybody knows
GIVEN = ("bridge/static/novnc/", "bridge/static/idiomorph/", "bridge/static/sortable/", "bridge/static/uplot/")


def written() -> list[Path]:
    """What is ours and no formatter of Python's keeps in its columns."""
    kinds = (".php", ".js", ".css", ".html", ".tpl")
    folders = ("bridge", "whmcs-shim", "tests/whmcs_host")
    paths = [p for folder in folders for p in sorted((ROOT / folder).rglob("*")) if p.suffix in kinds]
    return [p for p in paths if not str(p.relative_to(ROOT)).startswith(GIVEN)]


def test_what_no_formatter_keeps_in_the_columns_is_within_them() -> None:
    """No formatter does this for templates: those that there are change what is rendered."""
    given = [ROOT / "Makefile", ROOT / "config.example.toml", *(ROOT / ".ci").iterdir()]
    given += [p for p in (ROOT / "docs").iterdir() if p.suffix in (".sql", ".yml")]
    assert len(written()) > 80
    assert len(given) > 4
    wide = [
        f"{p.relative_to(ROOT)}:{n}"
        for p in [*written(), *given]
        for n, line in enumerate(p.read_text("utf-8").splitlines(), 1)
        if len(line) > WIDE
    ]
    assert wide == []


def test_files_are_split_by_noun() -> None:
    here = [p.relative_to(ROOT) for p in {*sources(), *written(), *(ROOT / "tests").rglob("*.py")}]
    long = {str(p): lines for p in here if (lines := len((ROOT / p).read_text("utf-8").splitlines())) > LONG}
    assert len(here) > 500
    assert {p for p in long if not p.startswith("tests/")} == WHOLE
    assert {p for p in long if p.startswith("tests/") and long[p] > LONG_TEST} == set()
