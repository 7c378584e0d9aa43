"""What has to say in words what its signature does not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONG = 20  # lines that are read at one look
UNCLEAR = re.compile(
    r"float\b|.*\b(Any|object)\b|(dict|Mapping)\[|(\w+\[)?tuple\[(?!.*, \.\.\.\])"
)  # units, shapes, words
CONTRACTS = ("drivers/base.py", "drivers/optional.py", "drivers/dns/contract.py", "bridge/errors.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))


def functions(node: ast.AST) -> Iterator[Function]:
    return (n for n in ast.iter_child_nodes(node) if isinstance(n, Function))


def public(node: ast.AST) -> Iterator[tuple[str, Function]]:
    """(its class or "", the function) of what others may call."""
    yield from (("", f) for f in functions(node) if not f.name.startswith("_"))
    for owner in ast.iter_child_nodes(node):
        if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_"):
            yield from ((owner.name, f) for f in functions(owner) if not f.name.startswith("_"))


@cache
def sources() -> dict[str, ast.Module]:
    """The program's files by their path."""
    return {
        str(p.relative_to(ROOT)): ast.parse(p.read_text("utf-8"))
        for folder in ("bridge", "drivers", "hooks")
        for p in sorted((ROOT / folder).rglob("*.py"))
    }


@cache
def bases() -> dict[str, list[str]]:
    """What each class is made of."""
    every = (c for tree in sources().values() for c in classes(tree))
    return {c.name: [ast.unparse(b).split("[")[0] for b in c.bases] for c in every}


@cache
def told() -> set[tuple[str, str]]:
    """(class, method) of what says what it is for."""
    every = (c for tree in sources().values() for c in classes(tree))
    return {(c.name, f.name) for c in every for f in functions(c) if ast.get_docstring(f)}


def told_above(owner: str, name: str) -> bool:
    """Whether a class that it is made of says what the method is for."""
    return any((base, name) in told() or told_above(base, name) for base in bases().get(owner, ()) if base != owner)


def stub(function: Function) -> bool:
    """Of a protocol: what it stands for says it."""
    return ast.unparse(function.body[-1]) == "..."


def test_what_is_long_says_what_it_is_for() -> None:
    silent = [
        f"{where}:{f.lineno} {f.name}"
        for where, tree in sources().items()
        for f in ast.walk(tree)
        if isinstance(f, Function) and (f.end_lineno or 0) - f.lineno >= LONG and not ast.get_docstring(f)
    ]
    assert silent == []


def test_shapes_and_units_that_no_type_names_are_told() -> None:
    silent = [
        f"{where}:{f.lineno} {f.name}"
        for where, tree in sources().items()
        for owner, f in public(tree)
        if f.returns and UNCLEAR.match(ast.unparse(f.returns))
        if not (ast.get_docstring(f) or stub(f) or told_above(owner, f.name))
    ]
    assert silent == []


def test_the_contracts_and_the_errors_are_told_whole() -> None:
    silent = [
        f"{where}:{c.lineno} {c.name}"
        for where in CONTRACTS
        for c in classes(sources()[where])
        if not (ast.get_docstring(c) or c.name == "Meta")
    ]
    silent += [
        f"{where}:{f.lineno} {owner}.{f.name}"
        for where in CONTRACTS
        for owner, f in public(sources()[where])
        if not (ast.get_docstring(f) or stub(f) or told_above(owner, f.name))
    ]
    assert silent == []


def test_what_is_told_above_is_found_by_its_class() -> None:
    assert told_above("Proxmox", "place")
    assert not told_above("Proxmox", "calls_of_nobody")
