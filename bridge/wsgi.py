"""What gunicorn loads in each of its workers."""

from __future__ import annotations

import os
import threading

from flask import Flask

from bridge import logs, metrics
from bridge.app import create_app
from bridge.context import load_context

PATIENCE = 5.0  # seconds that a request waits for a place to write, while WHMCS waits twelve for the answer


def application() -> Flask:
    context = load_context(os.environ["VMBRIDGE_CONFIG"])
    logs.setup(context.config.secrets(), context.config.log["level"], context.config.log["format"])
    context.store.patience = PATIENCE
    metrics.saving(context, threading.Event())
    return create_app(context)
