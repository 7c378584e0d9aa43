"""The driver's own configuration keys. Only shapes, no calls."""

from __future__ import annotations

from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from drivers.urls import url_fault

WORD = validate.Regexp(r"^[a-z0-9][a-z0-9-]{0,62}\Z", error="Must be a name as the provider lists it.")
LABEL_KEY = validate.Regexp(
    r"^(?!vmbridge)(?!hetzner\.cloud/)([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z",
    error="Must be a label's key that is not ours and not the provider's.",
)
LABEL_VALUE = validate.Regexp(
    r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z",
    error="Must be a label's value: letters, digits, inner . _ -, at most 63.",
)
LARGEST = 24 * 1024  # bytes; ours and the frame around both come to it, and the provider takes 32 KiB


def _user_data(text: str) -> None:
    if text and not text.startswith(("#cloud-config", "#!")):
        raise ValidationError("Must begin with #cloud-config or #!.")
    if len(text.encode()) > LARGEST:
        raise ValidationError(f"Must be at most {LARGEST} bytes.")


class Strict(Schema):
    class Meta:
        unknown = RAISE


def _endpoint(text: str) -> None:
    if fault := url_fault(text):
        raise ValidationError(fault)
    if not urlsplit(text).path.strip("/"):
        raise ValidationError("Must have the API's path too, e.g. https://api.hetzner.cloud/v1.")


class Server(Strict):
    endpoint = fields.Str(load_default="https://api.hetzner.cloud/v1", validate=_endpoint)
    token = fields.Str(required=True, validate=validate.Length(min=1))
    ca_file = fields.Str(load_default="")
    calls_per_hour = fields.Int(load_default=3600, validate=validate.Range(100, 1_000_000))


class Plan(Strict):
    server_type = fields.Str(required=True, validate=WORD)
    location = fields.Str(required=True, validate=WORD)
    fallback_locations = fields.List(fields.Str(validate=WORD), load_default=list)
    networks = fields.List(fields.Str(validate=validate.Length(min=1)), load_default=list)
    firewalls = fields.List(
        fields.Str(validate=validate.Length(min=1)), load_default=list, validate=validate.Length(max=5)
    )
    own_firewall = fields.Bool(load_default=False)  # one for each server, which its customer changes
    placement_group = fields.Str(load_default="")
    user_data = fields.Str(load_default="", validate=_user_data)
    labels = fields.Dict(
        keys=fields.Str(validate=LABEL_KEY), values=fields.Str(validate=LABEL_VALUE), load_default=dict
    )
    suspend = fields.Str(load_default="poweroff", validate=validate.OneOf(["poweroff", "firewall"]))
    images = fields.Dict(keys=fields.Str(), values=fields.Str(validate=validate.Length(min=1)), load_default=dict)
