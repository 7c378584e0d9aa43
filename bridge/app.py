"""create_app: wires blueprints, nothing else."""

from __future__ import annotations

from flask import Flask

from bridge.context import Context
from bridge.web import actions, admin, errors, filters, pages, servers, status
from bridge.web.auth import Guard


def create_app(context: Context) -> Flask:
    app = Flask(__name__)
    app.jinja_options = {**app.jinja_options, "finalize": filters.inert}
    app.config["MAX_CONTENT_LENGTH"] = 256 * 1024
    app.extensions["vmbridge"] = context
    app.extensions["vmbridge_guard"] = Guard(context)
    errors.install(app)
    app.jinja_env.filters |= {"size": filters.size, "span": filters.span, "moment": filters.moment, "ago": filters.ago, "took": filters.took}
    for blueprint in (actions.routes, servers.routes, pages.routes, status.routes, admin.routes):
        app.register_blueprint(blueprint)
    return app
