"""What a simulated project answers instead."""

from __future__ import annotations

STATUS = {
    "unauthorized": 401,
    "token_readonly": 401,
    "forbidden": 403,
    "resource_limit_exceeded": 403,
    "not_found": 404,
    "uniqueness_error": 409,
    "conflict": 409,
    "resource_unavailable": 412,
    "invalid_input": 422,
    "server_not_stopped": 422,
    "invalid_server_type": 422,
    "must_be_unassigned": 422,
    "resource_in_use": 422,
    "locked": 423,
    "protected": 423,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "a_code_of_tomorrow": 500,
    "unavailable": 503,
}


class Failure(Exception):
    def __init__(self, code: str, message: str = "") -> None:
        self.code, self.message = code, message or code


class Lost(Exception):
    """The connection is cut; the fault's kind tells whether the work was done."""
