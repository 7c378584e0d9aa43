"""The shapes of requests and answers as marshmallow schemas: what scripts ask is checked by them, and the OpenAPI
document is made of them."""

from __future__ import annotations

from marshmallow import EXCLUDE, RAISE, Schema, fields, validate

from bridge.model import Desired, State

MOST = 500  # rows of a page
WIDEST = 2**63 - 1
MOMENT = {"description": "Seconds since 1970, UTC."}


class Asked(Schema):
    class Meta:
        unknown = RAISE


class Told(Schema):
    class Meta:
        unknown = EXCLUDE


class PageQuery(Asked):
    after = fields.Int(
        load_default=0, validate=validate.Range(0, WIDEST), metadata={"description": "`next` of the page before."}
    )
    limit = fields.Int(load_default=100, validate=validate.Range(1, MOST))
    server = fields.Str(load_default="", validate=validate.Length(max=63))
    service = fields.Int(
        load_default=0, validate=validate.Range(0, WIDEST), metadata={"description": "WHMCS's number; 0: all."}
    )


class ServicesQuery(PageQuery):
    desired = fields.Str(load_default="", validate=validate.OneOf(["", *(d.value for d in Desired)]))


class OperationsQuery(PageQuery):
    state = fields.Str(load_default="", validate=validate.OneOf(["", *(s.value for s in State)]))


class FindingsQuery(PageQuery):
    pass


class NoQuery(Asked):
    pass


class ServiceShape(Told):
    id = fields.Int()
    whmcs = fields.Str()
    service = fields.Int(metadata={"description": "WHMCS's number."})
    generation = fields.Int()
    client = fields.Int()
    desired = fields.Str()
    plan = fields.Str()
    server = fields.Str()
    node = fields.Str()
    vm = fields.Str()
    hostname = fields.Str()
    provisioned = fields.Bool()
    created_at = fields.Float(metadata=MOMENT)
    updated_at = fields.Float(metadata=MOMENT)
    status = fields.Str(allow_none=True, metadata={"description": "As last read; null of one never seen."})
    seen_at = fields.Float(allow_none=True, metadata=MOMENT)


class OperationShape(Told):
    id = fields.Str()
    number = fields.Int()
    whmcs = fields.Str()
    service = fields.Int()
    server = fields.Str()
    kind = fields.Str()
    state = fields.Str()
    step = fields.Str()
    attempt = fields.Int()
    actor = fields.Str()
    request = fields.Str(metadata={"description": "Of the call that ordered it, as in the log."})
    created_at = fields.Float(metadata=MOMENT)
    started_at = fields.Float(allow_none=True, metadata=MOMENT)
    ended_at = fields.Float(allow_none=True, metadata=MOMENT)
    error_code = fields.Str()
    error = fields.Str()
    next_action = fields.Str()


class FindingShape(Told):
    id = fields.Int()
    whmcs = fields.Str(allow_none=True)
    service = fields.Int(allow_none=True)
    server = fields.Str()
    kind = fields.Str()
    subject = fields.Str()
    text = fields.Str()
    fix = fields.Str()
    found_at = fields.Float(metadata=MOMENT)
    seen_at = fields.Float(metadata=MOMENT)
    dismissed = fields.Bool()


class PoolShape(Told):
    name = fields.Str()
    family = fields.Int()
    total = fields.Int()
    taken = fields.Int()
    cooling = fields.Int()
    free = fields.Int()
    percent = fields.Float()


class Page(Told):
    result = fields.Constant("success")
    next = fields.Int(allow_none=True, metadata={"description": "`after` of the next page; null on the last."})


class ServicesShape(Page):
    services = fields.List(fields.Nested(ServiceShape))


class OperationsShape(Page):
    operations = fields.List(fields.Nested(OperationShape))


class FindingsShape(Page):
    findings = fields.List(fields.Nested(FindingShape))


class PoolsShape(Told):
    result = fields.Constant("success")
    pools = fields.List(fields.Nested(PoolShape))


# -- what the shim sends --------------------------------------------------------------------------
class ActorShape(Told):
    kind = fields.Str(validate=validate.OneOf(["client", "admin", "system"]))
    id = fields.Int()
    name = fields.Str()
    ip = fields.Str(metadata={"description": "Of the person's browser, as WHMCS sees it."})


class ParamsShape(Told):
    """WHMCS's own keys; others are plain values too."""

    serviceid = fields.Int()
    userid = fields.Int()
    domain = fields.Str()
    status = fields.Str()
    password = fields.Str()
    configoption1 = fields.Str(metadata={"description": "The plan's name."})
    configoptions = fields.Dict(keys=fields.Str(), values=fields.Raw())
    customfields = fields.Dict(keys=fields.Str(), values=fields.Raw())
    clientsdetails = fields.Dict(keys=fields.Str(), values=fields.Raw())


class ActionBody(Told):
    params = fields.Nested(ParamsShape)
    actor = fields.Nested(ActorShape)
    server = fields.Str(metadata={"description": "The access hash of WHMCS's server record."})


class FormBody(Told):
    params = fields.Nested(ParamsShape)
    actor = fields.Nested(ActorShape)
    form = fields.Dict(keys=fields.Str(), values=fields.Str())


class AdminBody(Told):
    actor = fields.Nested(ActorShape)
    form = fields.Dict(keys=fields.Str(), values=fields.Str())


class UsageBody(Told):
    service_id = fields.Int(validate=validate.Range(1, WIDEST))
    billed = fields.Bool()


class AnyBody(Told):
    """An object."""


class SuccessShape(Told):
    result = fields.Constant("success")


class FaultShape(Told):
    code = fields.Str(metadata={"description": "Stable; for programs."})
    message = fields.Str(metadata={"description": "For people."})
    reference = fields.Str(metadata={"description": "Of a signed call the beginning of its nonce; in the log too."})


class ErrorShape(Told):
    error = fields.Nested(FaultShape)
