"""What every provider of DNS can do with a zone's record sets. One module per provider in this folder, found by its
name; each has a `PROVIDER`. A provider knows its own server and the kernel: never the store, WHMCS or the web."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, fields, validate

import drivers.dns
from bridge.clock import Clock
from bridge.errors import Permanent, Refused, VmbridgeError
from bridge.model import Finding, RecordSet
from drivers.folder import modules
from drivers.urls import url_fault

NOT_PROVIDERS = frozenset({"contract", "web"})
PROBE = "_vmbridge-check"  # the name below a zone that a test writes and removes
NAMES = ("PTR", "NS", "CNAME")  # types whose values are names
MARK = "vmbridge"  # said beside a record where the provider has room for it
TTL = 3600
NO_ZONE = "zone_unknown"
READ_ONLY = "zone_secondary"
NO_KEY = "upstream_credentials"
NO_RIGHT = "upstream_privilege"
BAD_VALUE = "upstream_parameter"
NOT_YET = "record_not_yet"  # this record cannot be changed as things are; others of its zone can


def endpoint(text: str) -> None:
    """Raises ValidationError for what is no address of an API."""
    if fault := url_fault(text, ("https", "http")):
        raise ValidationError(fault)


class Strict(Schema):
    """The keys of every zone; a provider's schema adds its own."""

    class Meta:
        unknown = RAISE

    ttl = fields.Int(load_default=TTL, validate=validate.Range(60, 604800))
    range = fields.Str(load_default="")  # of a zone that holds some addresses of a bigger one's (RFC 2317)


class Provider(ABC):
    """One zone at one provider. Methods look before they change, may be repeated after any fault, and end within some
    seconds. They raise UpstreamError: Permanent with BAD_VALUE when one record is not taken, with NOT_YET when it may
    be later, with another code when nothing in this zone would be."""

    schema: ClassVar[type[Strict]] = Strict
    secrets: ClassVar[frozenset[str]] = frozenset()  # keys of the schema that nobody may read
    place: ClassVar[tuple[str, ...]] = ()  # keys of the schema that say where the zone is kept

    def __init__(self, zone: str, settings: Mapping[str, Any], clock: Clock, prepare: Any = None) -> None:
        """`prepare` is given to each new session of an HTTP client (tests answer there)."""
        self.zone, self.settings, self.clock, self._prepare = zone, settings, clock, prepare

    @property
    def table(self) -> str:
        """The zone's table in the configuration, as sentences name it."""
        return f'[dns."{self.zone}"]'

    @abstractmethod
    def get(self, name: str, kind: str) -> RecordSet | None:
        """What is there of this name and type now, by the provider and not by a cache; None when there is nothing."""
        raise NotImplementedError

    @abstractmethod
    def set(self, wanted: RecordSet, seen: RecordSet | None = None) -> None:
        """These records, and no others, of this name and type. A repeat is harmless and makes nothing double. `seen`:
        what `get` has answered just now, one without values for nothing; it spares another look."""
        raise NotImplementedError

    @abstractmethod
    def remove(self, name: str, kind: str, seen: RecordSet | None = None) -> None:
        """No record of this name and type; nothing to do is no error. `seen` as with `set`."""
        raise NotImplementedError

    @abstractmethod
    def nameservers(self) -> tuple[str, ...]:
        """The names of the zone's servers as the provider says them; empty where it does not."""
        raise NotImplementedError

    def roles(self) -> list[Finding]:
        """What the key may do, where that can be told without an effect."""
        return []

    def check(self, write_test: bool = False) -> list[Finding]:
        """The doctor's look: the zone is there and takes changes. With `write_test` a TXT is written, read and
        removed."""
        try:
            left_over = self.get(f"{PROBE}.{self.zone}", "TXT")
            rights = self.roles()
            if write_test:
                self._probe()
        except VmbridgeError as e:
            return [Finding("fault", f"dns {self.zone}", f"{e.sentence} {e.detail}".strip(), e.next_action)]
        if left_over and left_over.values and not write_test:
            left = "an earlier test's TXT record is still there"
            rights.append(
                Finding("warning", f"dns {self.zone}", left, f"remove {left_over.name} TXT, or run --write-test")
            )
        said = "takes changes: a test record was written and removed" if write_test else "is there"
        return [Finding("ok", f"dns {self.zone}", said), *rights]

    def _probe(self) -> None:
        wanted = RecordSet(f"{PROBE}.{self.zone}", "TXT", (f"{MARK} {self.clock.now():.0f}",), 60)
        self.set(wanted)
        seen = self.get(wanted.name, "TXT")
        self.remove(wanted.name, "TXT")
        if seen is None or seen.values != wanted.values or self.get(wanted.name, "TXT") is not None:
            raise Permanent(
                "A test record was taken and is not there as it was written.",
                code="not_written",
                next_action="See whether this server is the one that keeps the zone, not a copy.",
            )


def tidy(value: str, kind: str) -> str:
    """A value as `RecordSet` has it, from whatever spelling a server uses."""
    if kind in NAMES:
        return value.strip().rstrip(".").lower()
    if kind in ("A", "AAAA"):
        try:
            return str(ip_address(value.strip()))
        except ValueError:
            return value.strip()
    return value.strip().removeprefix('"').removesuffix('"') if kind == "TXT" else value


def written(value: str, kind: str) -> str:
    """As a zone's file has it."""
    return f"{value}." if kind in NAMES else f'"{value}"' if kind == "TXT" else value


def names() -> list[str]:
    """The providers that are installed, by module name."""
    return sorted(n for n in modules(drivers.dns.__path__) if n not in NOT_PROVIDERS)


def load(name: str) -> type[Provider]:
    """The class of a provider. Raises Refused naming those found."""
    if name not in names():
        raise Refused(f"there is no DNS provider {name!r}; found: {', '.join(names())}", code="unknown_provider")
    provider: type[Provider] = importlib.import_module(f"drivers.dns.{name}").PROVIDER
    return provider
