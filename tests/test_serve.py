"""`vmbridge serve` as a process: both children, what happens when one dies, and the command line's refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.processes import children
from tests.system import ROOT, System


def test_serve_ends_when_one_child_dies(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.05) as s:
        serve = s.processes.pop("serve")
        pids = children(serve.pid)
        assert len(pids) == 3
        os.kill(pids[0], signal.SIGKILL)
        assert serve.wait(timeout=45) == 1
        assert not [p for p in pids if Path(f"/proc/{p}/cmdline").exists() and Path(f"/proc/{p}/cmdline").read_bytes()]
        assert "worker has ended" in s.log("serve")
        s.start("serve", [sys.executable, "-m", "bridge.cli", "serve", "--config", str(s.config)])
        s.wait_for(lambda: s.order(1) == "success", 30)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_a_broken_configuration_ends_with_all_faults(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[web]\nlisten = 'x'\n[nonsense]\n")
    done = run("serve", "--config", str(path))
    assert done.returncode == 2
    assert "web.listen" in done.stderr
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_operations_commands(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.05) as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        config = ("--config", str(s.config))
        key = s.operation(1)["id"]
        assert key in run("operations", "list", "--all", *config).stdout
        assert '"state": "done"' in run("operations", "show", key, *config).stdout
        refused = run("operations", "retry", key, *config)
        assert refused.returncode == 1
        assert "it is done" in refused.stderr
        assert "there is no operation" in run("operations", "show", "nope", *config).stderr
        assert "proven" not in run("adopt", "9", "4711", "--plan", "kvm-s", "--client", "7", *config).stdout
        checked = run("check", *config)
        assert checked.returncode == 0, checked.stdout
        assert run("migrate", *config).stdout.strip() == "nothing to do"
