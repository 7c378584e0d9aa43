"""[webhooks.<name>]: addresses of the operator's own that are told what happens."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate

from bridge.config.schemas import Strict
from bridge.model import WEBHOOK_EVENTS, Webhook
from drivers.urls import url_fault

HERE = ("127.0.0.1", "::1")


def _url(value: str) -> None:
    if fault := url_fault(value, ("https", "http")):
        raise ValidationError(fault)
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in HERE:
        raise ValidationError("Must be https; plain http only to this machine, by 127.0.0.1 or [::1].")


class WebhookSchema(Strict):
    url = fields.Str(required=True, validate=_url)
    secret = fields.Str(required=True, validate=validate.Length(min=16))
    events = fields.List(
        fields.Str(validate=validate.OneOf(WEBHOOK_EVENTS)),
        load_default=lambda: list(WEBHOOK_EVENTS),
        validate=validate.Length(min=1),
    )
    whmcs = fields.List(fields.Str(), load_default=list)


def webhook_of(name: str, value: dict[str, Any], whmcs: dict[str, Any]) -> Webhook:
    """Of the installations that it names, of all where it names none; `whmcs` is the configuration's own table."""
    of = tuple(value["whmcs"] or sorted(whmcs))
    servers = frozenset(s for n in of for s in whmcs[n]["servers"])
    return Webhook(name, value["url"], value["secret"], frozenset(value["events"]), of, servers)
