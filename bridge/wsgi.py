"""What gunicorn loads in each of its workers."""

from __future__ import annotations

import os

from flask import Flask

from bridge import logs
from bridge.app import create_app
from bridge.context import load_context

PATIENCE = 5.0  # seconds that a request waits for a place to write, while WHMCS waits twelve for the answer


def application() -> Flask:
    context = load_context(os.environ["VMBRIDGE_CONFIG"])
    logs.setup(context.config.secrets())
    context.store.patience = PATIENCE
    return create_app(context)
