"""The product's application with one bare route beside it, for comparison in one gunicorn."""

from __future__ import annotations

from flask import Flask, jsonify

from bridge.wsgi import application as product


def application() -> Flask:
    app = product()
    app.add_url_rule("/bare", "bare", lambda: jsonify({"status": "ok"}))
    return app
