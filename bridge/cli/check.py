"""Commands about the installation: check and keygen."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click
from cryptography.fernet import Fernet

from bridge import logs
from bridge.cli.base import main, opened, with_config
from bridge.staff import doctor


@main.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@click.option("--write-test", is_flag=True, help="Write a TXT record into each DNS zone, and remove it again.")
def check(path: str, as_json: bool, write_test: bool) -> None:
    """Look for faults in configuration, servers, pools, DNS zones and WHMCS; exit 1 when there is one."""
    context = opened(path, migrated=False, fit=False)
    log = context.config.log
    if log["level"] == "info":  # between the lines of the report only what is wrong
        logs.setup(context.config.secrets(), "warning", log["format"])
    context.store.database.whole()
    findings = doctor.check(context, write_test)
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings]))
    else:
        marks = {"ok": "ok     ", "warning": "WARNING", "fault": "FAULT  "}
        for f in findings:
            click.echo(f"{marks[f.level]} {f.subject}: {f.text}" + (f"\n        fix: {f.fix}" if f.fix else ""))
    sys.exit(1 if any(f.level == "fault" for f in findings) else 0)


@main.command()
def keygen() -> None:
    """Print a new key for [store] secret_key."""
    click.echo(Fernet.generate_key().decode())
