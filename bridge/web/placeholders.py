"""The two things that only WHMCS knows, its form token and the page's address: `%%VMBRIDGE_TOKEN%%` and
`%%VMBRIDGE_URL%%`, which the shim fills in. They count where a template has them. The same text anywhere else is
somebody's (a description, a host name), whatever way it took into the page, and stays text."""

from __future__ import annotations

import re
import secrets

from flask import g
from jinja2 import Environment
from jinja2.ext import Extension
from markupsafe import Markup

WRITTEN, INDENTED = re.compile("%%VMBRIDGE_(TOKEN|URL)%%"), re.compile(r"\n[ \t]+")


class Placeholders(Extension):
    """In a template's source they become calls: what is printed meanwhile nobody can guess."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals["whmcs_fills"] = mark

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """How the source is indented is no part of the page: it would be a tenth of its weight."""
        return WRITTEN.sub(r"{{ whmcs_fills('\1') }}", INDENTED.sub("\n", source))


def mark(name: str) -> Markup:
    """For the page of this request."""
    if "marker" not in g:
        g.marker = secrets.token_hex(16)
    return Markup(f"{g.marker}{name}.")


def placed(html: str) -> str:
    """A rendered page as the shim gets it."""
    html = html.replace("%%VMBRIDGE_", "&#37;%VMBRIDGE_")
    marker = g.get("marker")
    for name in ("TOKEN", "URL") if marker else ():
        html = html.replace(f"{marker}{name}.", f"%%VMBRIDGE_{name}%%")
    return html
