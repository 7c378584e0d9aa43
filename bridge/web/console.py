"""The console's page, and CONNECT: a code that is good for one page within seconds."""

from __future__ import annotations

from typing import Any

from flask import render_template

from bridge import console
from bridge.errors import Refused
from bridge.model import Sentence, Service
from bridge.services import Caller
from bridge.web import language
from bridge.web.auth import context

PER_HOUR = 60  # of one service by its customer: each costs calls that a provider may count


def card(service: Service) -> dict[str, Any]:
    """What templates/console.html needs: `why` CONNECT is dimmed, empty when it works, and how long its link is good for."""
    at = context()
    why = console.reason(service, at.store, at.config, at.drivers[service.server].capabilities)
    return {"why": language.translate(why), "seconds": at.config.console["code_seconds"]}


def connect(service: Service, who: Caller) -> dict[str, Any]:
    """The reply to the form: a whole page that posts the code to the console by itself. Raises Refused with the reason."""
    at = context()
    if who.client and at.store.spend(f"consoles {service.id}", PER_HOUR, 0.0):
        raise Refused(
            Sentence("The console was opened very often. Please try again in a few minutes."), code="too_often"
        )
    code = console.issue(
        service, who.actor, at.store, at.config, at.drivers[service.server].capabilities, language.current()
    )
    target = f"{at.config.web['public_url'].rstrip('/')}/console"
    html = render_template(
        "console_connect.html",
        code=code,
        target=target,
        origin=console.origin(target),
        seconds=at.config.console["code_seconds"],
        language=language.current().replace("_", "-"),
        direction=language.direction(),
    )
    return {"html": html, "redirect": "", "title": language.translate("Console"), "no_store": True}
