"""The driver's own configuration keys. Only shapes, no calls."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from drivers.urls import url_fault

RANGE = re.compile(r"^(\d{3,9})(?:-(\d{3,9}))?\Z")


def _ranges(values: list[str]) -> list[tuple[int, int]]:
    ranges = []
    for text in values:
        match = RANGE.match(text)
        if not match or int(match.group(2) or match.group(1)) < int(match.group(1)):
            raise ValidationError(f"{text!r} is not FIRST-LAST.")
        ranges.append((int(match.group(1)), int(match.group(2) or match.group(1))))
    return ranges


class Strict(Schema):
    class Meta:
        unknown = RAISE


class Overcommit(Strict):
    """How much of a node's memory and processors may be sold: 1.5 sells half as much again, 0.9 keeps a tenth for the
    node itself."""

    ram = fields.Float(load_default=1.0, validate=validate.Range(0.1, 100))
    cores = fields.Float(load_default=0.0, validate=validate.Range(0, 1000))  # 0 = as many as are ordered


def _endpoint(text: str) -> None:
    """A path is for a proxy before PVE, which itself serves at the root; 8006 is PVE's port, not the proxy's."""
    if fault := url_fault(text):
        raise ValidationError(fault)
    parts = urlsplit(text)
    if "api2" in parts.path.split("/"):
        raise ValidationError("Must end before /api2: that part is added by itself.")
    if parts.path.strip("/") and parts.port is None:
        raise ValidationError("Must name the proxy's port before the path, e.g. https://HOST:443/pve.")


class Server(Strict):
    endpoint = fields.Str(required=True, validate=_endpoint)
    token_id = fields.Str(
        required=True, validate=validate.Regexp(r"^[^@!\s]+@[^@!\s]+![^@!\s]+\Z", error="Must be USER@REALM!TOKEN.")
    )
    token_secret = fields.Str(required=True, validate=validate.Length(min=1))
    ca_file = fields.Str(load_default="")
    vm_ids = fields.List(fields.Str(), required=True, validate=validate.Length(min=1))
    backup_storage = fields.Str(load_default="")
    iso_storage = fields.Str(load_default="")
    overcommit = fields.Nested(Overcommit, load_default=lambda: {"ram": 1.0, "cores": 0.0})

    @pre_load
    def _one_or_many(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {k: [v] if k == "vm_ids" and isinstance(v, str) else v for k, v in data.items()}

    @validates_schema(skip_on_field_errors=False)
    def _free_ranges(self, data: dict[str, Any], **_: Any) -> None:
        taken: list[tuple[int, int]] = []
        try:
            spans = _ranges(data.get("vm_ids") or [])
        except ValidationError as e:
            raise ValidationError({"vm_ids": e.messages}) from None
        for first, last in spans:
            if any(a <= last and first <= b for a, b in taken):
                raise ValidationError({"vm_ids": [f"{first}-{last} overlaps another range; an id must have one use."]})
            taken.append((first, last))

    @post_load
    def _parsed(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {k: _ranges(v) if k == "vm_ids" else v for k, v in data.items()}


class Plan(Strict):
    storage = fields.Str(required=True)
    template_pool = fields.Str(load_default="")  # only templates of this pool are meant
    clone = fields.Str(load_default="full", validate=validate.OneOf(["full", "linked"]))
    node = fields.Str(
        load_default="",
        validate=validate.Regexp(r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?\Z", error="Must be a node's name."),
    )
    nic_model = fields.Str(
        load_default="virtio", validate=validate.OneOf(["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"])
    )
    firewall = fields.Bool(load_default=True)
    mac_filter = fields.Bool(load_default=True)
    onboot = fields.Bool(load_default=True)
    tags = fields.List(
        fields.Str(
            validate=validate.Regexp(r"^[a-z0-9_][a-z0-9_+.-]*\Z", error="must be lower-case letters, digits, _ + . -")
        ),
        load_default=list,
    )
    additional_storage = fields.Str(load_default="")
    bridge = fields.Str(load_default="vmbr0")
    vlan = fields.Int(load_default=0, validate=validate.Range(0, 4094))
    startup_order = fields.Int(load_default=0, validate=validate.Range(0, 10000))
