"""No sentence and no page of the bridge has a back end's own words: what staff has to type or to look for there comes
from the driver."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import folder

ROOT = Path(__file__).parent.parent
TOOLS = "qm|pvesm|pvesh|pveum|pvecm|vzdump|hcloud|proxmox|hetzner|pve|template ids?|vmid|vmgenid|smbios1?|onboot"
TOOLS += "|lxc|lvm|zfs|ceph|cicustom|cipassword|net0|scsi0|server type|rebuild protection"
FOREIGN = re.compile(rf"(?<![\w/.-])({TOOLS}|nodes?)(?![\w/-])", re.IGNORECASE)
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|WITH|ON CONFLICT|FROM|AND|WHERE|,|\w+ = )")


def docstrings(tree: ast.AST) -> set[int]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = [n.body[0] for n in ast.walk(tree) if isinstance(n, owners) and n.body]
    return {id(s.value) for s in first if isinstance(s, ast.Expr)}


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Texts of a module that people may read: with a blank, no docstring, no statement of the store."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            columns = path.parent.name == "store" and ", " in node.value
            if " " in node.value.strip() and not columns and not SQL.match(node.value):
                yield node.lineno, node.value


def shown(path: Path) -> Iterator[tuple[int, str]]:
    """A template's text, and the texts within its expressions; its names are ours."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        inside = re.findall(r"\{[{%].*?[%}]\}", line)
        yield number, re.sub(r"\{[{%#].*?[%}#]\}|<[^>]*>", " ", line)
        for text in (t for part in inside for t in re.findall(r'"([^"]*)"', part)):
            yield number, text


def foreign(text: str) -> list[str]:
    return [m.group(1) for m in FOREIGN.finditer(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Run `qm unlock 7`, then retry.",
        "free it on its node",
        "add a node",
        "see Proxmox",
        "template id 9",
    ],
)
def test_such_words_are_found(text: str) -> None:
    assert foreign(text)


def test_no_sentence_has_a_back_ends_words() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {foreign(text)} in {text!r}"
        for path in sorted((ROOT / "bridge").rglob("*.py"))
        if path.name not in ("schema.py", "tables.py", "numbered.py") or path.parent.name != "store"
        for number, text in sentences(path)
        if foreign(text)
    ]
    assert not wrong


def test_no_page_has_a_back_ends_words() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {foreign(text)} in {text.strip()!r}"
        for path in sorted((ROOT / "bridge/templates").glob("*.html"))
        for number, text in shown(path)
        if foreign(text)
    ]
    assert not wrong


def test_no_module_names_a_driver() -> None:
    """Not in a comment or a name either."""
    names = re.compile(rf"\b({'|'.join(folder.names())})\b", re.IGNORECASE)
    assert [p for p in (ROOT / "bridge").rglob("*.py") if names.search(p.read_text("utf-8"))] == []
