"""Which method does a simulated call: the parts of the API in one."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from tests.pve import schema
from tests.pve.firewalls import Firewalls
from tests.pve.guests import Guests
from tests.pve.hosts import Hosts
from tests.pve.machines import Machines


@cache
def handler_of(method: str, name: str) -> str:
    short = name.replace(schema.VM, "vm").strip("/")
    word = re.sub(r"\W+", "_", re.sub(r"/?\{\w+\}", lambda m: "_" + m.group(0).strip("/{}"), short)).strip("_")
    return f"{method.lower()}_{word}"


class Handlers(Hosts, Guests, Machines, Firewalls):
    def call(self, method: str, name: str, words: dict[str, str], p: dict[str, str]) -> Any:
        return getattr(self, handler_of(method, name))(words, p)
