"""What a simulated project answers instead."""

from __future__ import annotations

STATUS = {
    "json_error": 400,
    "unauthorized": 401,
    "token_readonly": 401,
    "forbidden": 403,
    "maintenance": 403,
    "resource_limit_exceeded": 403,
    "not_found": 404,
    "firewall_resource_not_found": 404,
    "uniqueness_error": 409,
    "conflict": 409,
    "deprecated_api_endpoint": 410,
    "resource_unavailable": 412,
    "primary_ip_version_mismatch": 412,
    "invalid_input": 422,
    "service_error": 422,
    "unsupported_error": 422,
    "placement_error": 422,
    "primary_ip_assigned": 422,
    "primary_ip_datacenter_mismatch": 422,
    "floating_ip_assigned": 422,
    "firewall_already_applied": 422,
    "firewall_managed_by_label_selector": 422,
    "server_already_attached": 422,
    "no_subnet_available": 422,
    "server_not_stopped": 422,
    "invalid_server_type": 422,
    "must_be_unassigned": 422,
    "resource_in_use": 422,
    "locked": 423,
    "protected": 423,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "a_code_of_tomorrow": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "timeout": 504,
}


class Failure(Exception):
    """`limits`: what an account has no more of, as the provider names it."""

    def __init__(self, code: str, message: str = "", limits: tuple[str, ...] = ()) -> None:
        self.code, self.message, self.limits = code, message or code, limits


class Lost(Exception):
    """The connection is cut; the fault's kind tells whether the work was done."""
