"""The shim's files by themselves: a direct hit ends quietly, and what validates validates to the end of the text."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
import requests

from tests.system import ROOT, free_port

SHIM = ROOT / "whmcs-shim"
FILES = sorted(p.relative_to(SHIM).as_posix() for p in SHIM.rglob("*") if p.suffix in (".php", ".tpl", ".json"))
LOUD = re.compile(r"Fatal error|Warning:|Notice:|Deprecated:|Uncaught|Stack trace")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    port = free_port()
    options = ["-d", "display_errors=1", "-d", "error_reporting=-1"]
    process = subprocess.Popen(
        ["php", *options, "-S", f"127.0.0.1:{port}", "-t", str(SHIM)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        subprocess.run(
            ["curl", "-s", "--retry-connrefused", "--retry", "50", "--retry-delay", "1", f"http://127.0.0.1:{port}/x"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("file", FILES)
def test_a_direct_hit_ends_quietly(server: str, file: str) -> None:
    reply = requests.get(server + file, timeout=20)
    assert reply.status_code == 200
    assert not LOUD.search(reply.text)
    if file.endswith(".php"):
        assert len(reply.text) < 60
        done = subprocess.run(
            ["php", "-d", "display_errors=1", "-d", "error_reporting=-1", "-f", str(SHIM / file)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0
        assert not LOUD.search(done.stdout + done.stderr)


def test_patterns_end_with_the_text() -> None:
    """`$` lets a line feed follow."""
    for path in SHIM.rglob("*.php"):
        for pattern in re.findall(r"preg_\w+\(\s*'([^']*)'", path.read_text()):
            assert not re.search(r"(?<!\\)\$/\w*$", pattern), (path, pattern)
    for folder in ("bridge", "drivers", "hooks"):
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text("utf-8").splitlines():
                ends = re.search(r"""r["'][^"'\n]*(?<!\\)\$["']""", line)
                assert not ends or "MULTILINE" in line, (path, line)
