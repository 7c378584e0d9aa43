"""What the tables may hold that are of fixed keys: [store], [web], [console], [metrics], [log], [audit],
[worker] and [whmcs.<name>]. Plans, pools, servers and options have modules of their own."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

from bridge.config import database
from bridge.kinds import MAILS
from bridge.logs import FORMATS, LEVELS
from bridge.schedules import is_zone
from drivers import urls


def _listen(value: str) -> None:
    host, _, port = value.rpartition(":")
    if (
        host not in ("127.0.0.1", "[::1]", "localhost", "0.0.0.0", "[::]")
        or not port.isascii()
        or not port.isdigit()
        or not 0 < int(port) < 65536
    ):
        raise ValidationError(
            "Must be HOST:PORT with HOST 127.0.0.1, [::1], localhost, 0.0.0.0 or [::] and PORT 1 to 65535."
        )


URL = validate.URL(require_tld=False, schemes={"https", "http"})


def _address(value: str) -> None:
    """Where somebody reaches a web site: scheme, host, port and folder are used, and there is nothing else."""
    if not value:
        return
    if fault := urls.url_fault(value, ("https", "http")):
        raise ValidationError(fault)
    if value.rstrip("/").endswith((".php", ".html")):
        raise ValidationError("Must be the folder, without a file's name.")


class Strict(Schema):
    class Meta:
        unknown = RAISE


ISO_NAMES = validate.Regexp(
    r"^[^/,\x00-\x1f]{1,200}\Z",
    error='Must be the name of an ISO or a pattern of names without a folder, e.g. "debian-*".',
)


class IsosSchema(Strict):
    offered = fields.List(fields.Str(validate=ISO_NAMES), load_default=list)  # to every plan; none here nor there: all


def _fernet_key(value: str) -> None:
    try:
        Fernet(value)
    except (ValueError, TypeError):
        raise ValidationError("Must be a Fernet key; `vmbridge keygen` prints one.") from None


def _zone(value: str) -> None:
    if not is_zone(value):
        raise ValidationError(f"{value!r} is not a time zone, e.g. Europe/Berlin.")


class StoreSchema(Strict):
    """One of `path`, a file, and `url`, a database that several machines share."""

    path = fields.Str(load_default="", validate=validate.Length(min=1))
    url = fields.Str(load_default="", validate=database.fitting)
    password = fields.Str(load_default="")  # counts before the one in `url`
    connections = fields.Int(load_default=0, validate=validate.Range(2, 200))  # at most, of each process; 0: as it is
    secret_key = fields.Str(required=True, validate=_fernet_key)

    @validates_schema
    def _one(self, data: dict[str, Any], **_: Any) -> None:
        if data["path"] and data["url"]:
            raise ValidationError("Goes without path: the store is either a file or a database.", "url")
        for name in ("password", "connections"):
            if data[name] and not data["url"]:
                raise ValidationError("Goes only with url.", name)

    @post_load
    def _file(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**data, "path": data["path"] or ("" if data["url"] else "vmbridge.db")}


class WebSchema(Strict):
    listen = fields.Str(load_default="127.0.0.1:8080", validate=_listen)
    public_url = fields.Str(load_default="", validate=_address)
    workers = fields.Int(load_default=2, validate=validate.Range(1, 32))
    threads = fields.Int(load_default=32, validate=validate.Range(1, 256))
    costly_per_hour = fields.Int(load_default=6, validate=validate.Range(1, 1000))
    power_per_hour = fields.Int(load_default=30, validate=validate.Range(1, 1000))
    edits_per_hour = fields.Int(load_default=60, validate=validate.Range(1, 1000))
    consoles_per_hour = fields.Int(load_default=60, validate=validate.Range(1, 1000))


class ConsoleSchema(Strict):
    listen = fields.Str(load_default="127.0.0.1:8081", validate=_listen)
    code_seconds = fields.Int(load_default=10, validate=validate.Range(1, 60))
    nonce_seconds = fields.Int(load_default=30, validate=validate.Range(1, 120))
    idle_min = fields.Int(load_default=30, validate=validate.Range(1, 1440))
    absolute_h = fields.Int(load_default=8, validate=validate.Range(1, 168))
    per_service = fields.Int(load_default=3, validate=validate.Range(1, 50))
    sessions = fields.Int(load_default=500, validate=validate.Range(1, 5000))


class MetricsSchema(Strict):
    listen = fields.Str(load_default="", validate=lambda v: _listen(v) if v else None)


class LogSchema(Strict):
    level = fields.Str(load_default="info", validate=validate.OneOf(tuple(LEVELS)))
    format = fields.Str(load_default="text", validate=validate.OneOf(FORMATS))


class AuditSchema(Strict):
    keep_days = fields.Int(load_default=400, validate=validate.Range(1, 36500))


class WorkerSchema(Strict):
    threads = fields.Int(load_default=8, validate=validate.Range(1, 64))
    per_node = fields.Int(load_default=2, validate=validate.Range(1, 50))
    per_storage = fields.Int(load_default=2, validate=validate.Range(1, 50))
    address_cool_down_h = fields.Int(load_default=24, validate=validate.Range(0, 8760))
    history_days = fields.Int(load_default=400, validate=validate.Range(1, 36500))
    wait_for_room_h = fields.Int(load_default=24, validate=validate.Range(0, 8760))
    usage_time_zone = fields.Str(load_default="UTC", validate=_zone)


class KeySchema(Strict):
    id = fields.Str(
        required=True,
        validate=validate.Regexp(r"^[A-Za-z0-9._-]{1,64}\Z", error="must be 1 to 64 letters, digits, dots, _ or -"),
    )
    secret = fields.Str(required=True, validate=validate.Length(min=16))


class WhmcsSchema(Strict):
    system_url = fields.Str(required=True, validate=[validate.Length(min=1), _address])
    api_identifier = fields.Str(required=True)
    api_secret = fields.Str(required=True)
    hold_welcome_mail = fields.Bool(load_default=True)
    mail_templates = fields.Dict(
        keys=fields.Str(validate=validate.OneOf(MAILS)), values=fields.Str(), load_default=dict
    )
    servers = fields.List(fields.Str(), load_default=None, validate=validate.Length(min=1))
    ticket_department = fields.Int(
        load_default=0, validate=validate.Range(0, 1_000_000)
    )  # WHMCS's id; 0: customers choose
    keys = fields.List(fields.Nested(KeySchema), required=True, validate=validate.Length(1, 2))


SINGLE = {
    "store": StoreSchema,
    "web": WebSchema,
    "console": ConsoleSchema,
    "metrics": MetricsSchema,
    "log": LogSchema,
    "audit": AuditSchema,
    "worker": WorkerSchema,
    "isos": IsosSchema,
}
