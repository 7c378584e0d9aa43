"""What is set up at the first use must be set up before threads use it."""

from __future__ import annotations

import subprocess
import sys

import pytest

MANY = """
import sys, threading
{prepare}
sys.setswitchinterval(1e-5)
start, wrong = threading.Barrier(12), []
def once():
    start.wait()
    try:
        {act}
    except BaseException as e:
        wrong.append(repr(e))
threads = [threading.Thread(target=once) for _ in range(12)]
[t.start() for t in threads]
[t.join() for t in threads]
print(wrong)
sys.exit(bool(wrong))
"""


@pytest.mark.parametrize(
    ("prepare", "act"),
    [
        ("from bridge import passwords", "passwords.hashed('Secret-pass-1')"),
        ("from bridge import languages", "languages.in_language('de', 'Overview'); languages.number_in('fr', 0.5, 1)"),
        (
            "from drivers.proxmox.api import Api; from tests.configs import raw_config\n"
            "api = Api(raw_config()['servers']['pve1'])",
            "api._client(False); api._client(True)",
        ),
        (
            "from bridge.clock import Clock; from drivers.hetzner.api import Api\n"
            "api = Api({'token': 't', 'endpoint': 'https://api.test/v1', 'ca_file': ''}, Clock())",
            "api._client()",
        ),
        (
            "from bridge import config; from tests.configs import raw_config",
            "config.from_dict(raw_config())",
        ),
    ],
    ids=["hashing", "catalogues", "proxmox client", "hetzner client", "schemas"],
)
def test_the_first_use_by_many_threads_at_once(prepare: str, act: str) -> None:
    done = subprocess.run([sys.executable, "-c", MANY.format(prepare=prepare, act=act)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hashing_library_is_set_up_when_its_module_is_loaded() -> None:
    code = "from bridge import passwords; from passlib.utils import binary; print(type(binary.h64).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "Base64Engine", done.stderr
