"""The documents stay true: every configuration key and every command is named where people look."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import click
import pytest
from marshmallow import Schema

from bridge import cli, config
from bridge.store import tables
from drivers import folder
from drivers.dns import contract

ROOT = Path(__file__).parent.parent


def test_every_key_is_in_the_example() -> None:
    text = (ROOT / "config.example.toml").read_text("utf-8")
    schemas: list[Schema] = [
        s()
        for s in (*config.SINGLE.values(), config.WhmcsSchema, config.KeySchema, config.PlanSchema, config.PoolSchema)
    ]
    schemas += [
        made() for driver in map(folder.load, folder.names()) for made in (driver.server_schema, driver.plan_schema)
    ]
    schemas += [contract.load(name).schema() for name in contract.names()]
    missing = [f"{type(s).__name__}.{key}" for s in schemas for key in s.fields if not re.search(rf"\b{key} =", text)]
    assert not missing
    assert [name for name in config.SINGLE if f"[{name}]" not in text] == []


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    missing = []
    for name, command in cli.main.commands.items():
        if isinstance(command, click.Group):
            missing += [
                f"{name} {sub}"
                for sub in command.commands
                if f"`{sub}`" not in text and f"`vmbridge {name} {sub}`" not in text
            ]
        elif f"`vmbridge {name}" not in text:
            missing.append(name)
    assert not missing


def test_every_command_takes_config() -> None:
    for name, command in cli.main.commands.items():
        for c in command.commands.values() if isinstance(command, click.Group) else [command]:
            assert name == "keygen" or any("--config" in p.opts for p in c.params), c.name


def test_the_project_speaks_of_itself_alone() -> None:
    words = re.compile(
        "|".join(
            (
                r"developer sess[i]on",
                r"this sess[i]on",
                r"\bissue #?\d",
                "/wor[k]/",
                r"registry\.npm[j]s",
                r"pypi\.or[g]",
                "pythonhoste[d]",
            )
        )
    )
    lines = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.suffix in {".py", ".php", ".md", ".toml", ".cfg", ".json", ".lock", ".tpl", ".html", ".js"} and not any(
            p.startswith(".") or p in ("node_modules", "build", "dist") for p in parts
        ):
            lines += [
                str(path.relative_to(ROOT)) for line in path.read_text("utf-8").splitlines() if words.search(line)
            ]
    assert not lines


def test_sql_is_plain_enough_to_read() -> None:
    assert "operations_running" in tables.FIRST
    assert "operations_waiting" in tables.FIRST


def test_the_blocks_for_nginx_are_whole(tmp_path: Path) -> None:
    """As the README prints them, with the certificate's files in place."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    text = (ROOT / "README.md").read_text("utf-8")
    printed = textwrap.dedent(re.search(r"^3\. \*\*nginx.*?```\n(.*?)^ *```", text, re.M | re.S)[1])
    own, inside = printed.split("# in the billing server's block", 1)
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*make, "-subj", "/CN=x", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    own = re.sub(r"/\S+/privkey\.pem", str(key), re.sub(r"/\S+/fullchain\.pem", str(certificate), own))
    logs = "".join(f"{w}_temp_path {tmp_path}/{w};" for w in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    billing = f"server {{ listen 8444;\n#{inside}}}"
    whole = f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{ {logs} access_log off;\n{own}\n{billing} }}"
    (tmp_path / "nginx.conf").write_text(whole)
    done = subprocess.run(
        [nginx, "-t", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(certificate) in whole
    assert str(key) in whole


def test_the_way_of_an_order_names_files_that_are_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    table = re.search(r"## How an order flows\n(.*?)\n## ", text, re.DOTALL)
    assert table
    shim, driver = ROOT / "whmcs-shim/modules/servers/vmbridge", ROOT / "drivers/proxmox"
    named = re.findall(r"`([\w/-]+(?:\.(?:py|php)|/))`", table[1])
    assert len(named) > 20
    assert [n for n in named if not any((root / n).exists() for root in (ROOT, ROOT / "bridge", shim, driver))] == []
