"""How WHMCS's service ids stand in addresses: what no table of WHMCS can have is an unknown address."""

from __future__ import annotations

from werkzeug.routing import BaseConverter


class ServiceId(BaseConverter):
    """`<service:service_id>`: a whole number from 1, in at most ten ASCII digits (an id of MySQL has no more)."""

    regex = "[1-9][0-9]{0,9}"

    def to_python(self, value: str) -> int:
        return int(value)
