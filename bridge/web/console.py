"""The console's page, and CONNECT: a code that is good for one page within seconds."""

from __future__ import annotations

from typing import Any

from flask import render_template

from bridge import limits
from bridge.console import codes
from bridge.model import Capability, Operation, Sentence, Service
from bridge.services import Caller
from bridge.web import language
from bridge.web.auth import context
from bridge.web.page import Page, register


def card(service: Service) -> dict[str, Any]:
    """What templates/console.html needs: `why` CONNECT is dimmed, empty when it works, and how long its link is good
    for."""
    at = context()
    why = codes.reason(service, at.store, at.config, at.drivers[service.server].capabilities, told=True)
    return {"why": language.translate(why), "seconds": at.config.console["code_seconds"]}


def connect(service: Service, who: Caller) -> dict[str, Any]:
    """The reply to the form: a whole page that posts the code to the console by itself. Raises Refused with the
    reason."""
    at = context()
    limits.count("console", service.id, who.client, at.store, at.config)
    code = codes.issue(
        service, who.actor, at.store, at.config, at.drivers[service.server].capabilities, language.current()
    )
    target = f"{at.config.web['public_url'].rstrip('/')}/console"
    html = render_template(
        "console_connect.html",
        code=code,
        target=target,
        origin=codes.origin(target),
        seconds=at.config.console["code_seconds"],
        language=language.current().replace("_", "-"),
        direction=language.direction(),
    )
    return {"html": html, "redirect": "", "title": language.translate("noVNC"), "no_store": True}


def hindrance(service: Service, capability: Capability, current: Operation | None) -> str:
    at = context()
    return codes.reason(service, at.store, at.config, at.drivers[service.server].capabilities, told=True)


register(Page(Capability.CONSOLE, Sentence("noVNC"), "fas fa-desktop", 30, card, hindrance=hindrance))
