"""The driver's own configuration keys. Only shapes, no calls."""

from __future__ import annotations

from marshmallow import RAISE, Schema, fields, validate

WORD = validate.Regexp(r"^[a-z0-9][a-z0-9-]{0,62}$", error="Must be a name as the provider lists it.")


class Strict(Schema):
    class Meta:
        unknown = RAISE


class Server(Strict):
    endpoint = fields.Url(load_default="https://api.hetzner.cloud/v1", require_tld=False, schemes={"https"})
    token = fields.Str(required=True, validate=validate.Length(min=1))
    ca_file = fields.Str(load_default="")
    calls_per_hour = fields.Int(load_default=3600, validate=validate.Range(100, 1_000_000))


class Plan(Strict):
    server_type = fields.Str(required=True, validate=WORD)
    location = fields.Str(required=True, validate=WORD)
    os_user = fields.Str(load_default="root", validate=validate.OneOf(["root"]))
    images = fields.Dict(keys=fields.Str(), values=fields.Str(validate=validate.Length(min=1)), load_default=dict)
