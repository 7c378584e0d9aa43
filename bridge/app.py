"""create_app: wires blueprints, nothing else."""

from __future__ import annotations

from flask import Flask

from bridge import logs
from bridge.context import Context
from bridge.customer.direct import Reads
from bridge.origin import origin
from bridge.web import (
    actions,
    admin,
    assets,
    auth,
    charts,
    dashboard,
    errors,
    files,
    filters,
    health,
    language,
    low_credit,
    openapi,
    page,
    pages,
    reading,
    routing,
    servers,
    service_tab,
    status,
)
from bridge.web.auth import Guard
from bridge.web.placeholders import Placeholders


def create_app(context: Context) -> Flask:
    """The web process's application: routes, languages, templates and what every reply carries."""
    page.load()
    app = Flask(__name__)
    app.jinja_options = {**app.jinja_options, "extensions": ["jinja2.ext.i18n", Placeholders]}
    app.url_map.converters["service"] = routing.ServiceId
    app.config["MAX_CONTENT_LENGTH"] = 256 * 1024
    app.extensions["vmbridge"] = context
    app.extensions["vmbridge_guard"] = Guard(context)
    app.extensions["vmbridge_reads"] = Reads(context.clock, context.config.web["threads"])
    app.before_request(_nobody)
    app.after_request(auth.write_down)
    errors.install(app)
    app.jinja_env.globals["files"] = files
    app.jinja_env.filters |= {f.__name__: f for f in filters.FILTERS}
    install = app.jinja_env.install_gettext_callables  # type: ignore[attr-defined]
    install(language.translate, language.translate_many, newstyle=True)
    for blueprint in (
        actions.routes,
        servers.routes,
        pages.routes,
        service_tab.routes,
        status.routes,
        health.routes,
        admin.routes,
        assets.routes,
        charts.routes,
        dashboard.routes,
        reading.routes,
        openapi.routes,
        low_credit.routes,
    ):
        app.register_blueprint(blueprint)
    return app


def _nobody() -> None:
    """A thread that served another request knows nothing of it any more."""
    logs.clear()
    origin.set(None)
