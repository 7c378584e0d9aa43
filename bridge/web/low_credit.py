"""POST /v1/low-credit: once a day by WHMCS's cron, of the clients who want to be told."""

from __future__ import annotations

from flask import Blueprint, Response, g

from bridge.services import low_credit
from bridge.web.auth import body, context, signed
from bridge.web.replies import success

routes = Blueprint("low_credit", __name__)


@routes.post("/v1/low-credit")
@signed
def tell() -> Response:
    at = context()
    zone, address = at.config.worker["usage_time_zone"], at.config.whmcs[g.whmcs]["system_url"]
    answer = low_credit.tell(body(), g.whmcs, address, at.store, zone)
    return success(told=answer.told, not_read=answer.not_read)
