"""structlog for every process: one line on standard error, as key=value or as JSON, with every known secret masked.
What a line is about (request, operation, service, server ...) is bound where the work begins, and stands in every line
until it ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import structlog

from drivers.calls import Call, after_call

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("text", "json")
FIRST = ["timestamp", "level", "event"]
bound = structlog.contextvars.bound_contextvars
bind = structlog.contextvars.bind_contextvars
clear = structlog.contextvars.clear_contextvars


def about() -> dict[str, str]:
    """The operation and the call that this thread works for, as far as there are any: to be kept with what is done
    later."""
    known = structlog.contextvars.get_contextvars()
    return {k: known[k] for k in ("operation", "request") if known.get(k)}


class Line(structlog.PrintLogger):
    """A line that cannot be written, on a full disk, is lost: it must not turn an answer into a fault."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _about(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What was bound and is empty is left out; what the line itself says holds."""
    for key, value in structlog.contextvars.get_contextvars().items():
        if value not in ("", None):
            event.setdefault(key, value)
    return event


def setup(secrets: list[str], level: str = "info", form: str = "text") -> None:
    """`level` of LEVELS, `form` of FORMATS."""
    known = [s for s in secrets if len(s) >= 6]

    def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in event.items():
            if isinstance(value, str):
                for secret in known:
                    value = value.replace(secret, "***")
                event[key] = value
        return event

    def ordered(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**{k: event[k] for k in FIRST if k in event}, **event}

    last: Any = structlog.processors.LogfmtRenderer(key_order=FIRST)
    if form == "json":
        last = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    structlog.configure(
        processors=[
            _about,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask,
            ordered,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: Line(sys.stderr),
    )


def _called(call: Call) -> None:
    """Changes and what failed stand in the log; reads that went well only at level debug. The level is judged first:
    there are thousands of reads."""
    told = log.info if call.change or call.outcome != "ok" else log.debug
    told(
        "upstream_call",
        server=call.server,
        method=call.method,
        path=call.path,
        outcome=call.outcome,
        code=call.code,
        ms=round(call.seconds * 1000),
    )


log = structlog.get_logger()
after_call.append(_called)
