"""What gunicorn loads in each of its workers."""

from __future__ import annotations

import os

from flask import Flask

from bridge import logs
from bridge.app import create_app
from bridge.context import load_context


def application() -> Flask:
    context = load_context(os.environ["VMBRIDGE_CONFIG"])
    logs.setup(context.config.secrets())
    return create_app(context)
