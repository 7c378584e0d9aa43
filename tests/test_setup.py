"""The set-up of `make demo` and `make test`: what it does while the machine's own updates are under way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.system import ROOT

# As apt 2.6 and dpkg 1.21 of Debian 12 say it
LOCKS = [
    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)",
    "E: Unable to lock directory /var/lib/apt/lists/",
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)",
    "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
    "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 4711 (apt-get)",
    (
        "dpkg: error: dpkg frontend lock was locked by another process with pid 4711\ndpkg frontend lock is locked by"
        " another process"
    ),
]


def install(folder: Path, refusals: int, words: str, only: str = "", tries: int = 9) -> tuple[int, list[str], str]:
    """apt-install with an apt-get that fails so often: (exit status, the calls, what was said)."""
    (folder / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "apt-get").write_text(f"""#!/bin/sh
echo "$1" >> {folder}/calls
[ -z "{only}" ] || [ "$1" = "{only}" ] || exit 0
[ "$(grep -c "^$1$" {folder}/calls)" -gt {refusals} ] && exit 0
cat {folder}/words >&2; exit 100
""")
    (folder / "words").write_text(words)
    for name in ("sudo", "apt-get"):
        (folder / name).chmod(0o755)
    ended = subprocess.run(
        [str(ROOT / ".ci" / "apt-install"), "a-package"],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "APT_PAUSE": "0", "APT_TRIES": str(tries)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, (folder / "calls").read_text().split(), ended.stderr


@pytest.mark.parametrize("words", LOCKS)
@pytest.mark.parametrize("verb", ["update", "install"])
def test_set_up_waits_while_another_apt_holds_a_lock(verb: str, words: str, tmp_path: Path) -> None:
    status, calls, said = install(tmp_path, 3, words, only=verb)
    assert status == 0
    assert calls.count(verb) == 4
    assert said == "waiting for another apt to end\n"


def test_any_other_failure_is_told_at_once(tmp_path: Path) -> None:
    status, calls, said = install(tmp_path, 99, "E: Unable to locate package a-package", only="install")
    assert status != 0
    assert calls == ["update", "install"]
    assert "Unable to locate package" in said


def test_a_lock_that_never_goes_is_told_in_the_end(tmp_path: Path) -> None:
    status, calls, said = install(tmp_path, 99, LOCKS[0])
    assert status != 0
    assert calls == ["update"] * 9
    assert "Could not get lock" in said


def test_the_makefile_installs_by_nothing_else() -> None:
    assert "apt-get" not in (ROOT / "Makefile").read_text()
