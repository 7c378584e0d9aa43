"""[dns."<zone>"]: which provider answers for a zone, with the provider's own keys by the provider's own schema."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from bridge import zones
from bridge.config.reader import Reader
from bridge.errors import Refused
from bridge.zones import Zone
from drivers.dns import contract


class TicketSchema(contract.Strict):
    """Of a zone that a person keeps: the department by its name or number, as WHMCS has it."""

    department = fields.Str(required=True, validate=validate.Length(min=1))


def schema_of(provider: str) -> contract.Strict:
    """Raises Refused naming the providers that there are."""
    if provider == zones.TICKET:
        return TicketSchema()
    try:
        return contract.load(provider).schema()
    except Refused:
        known = ", ".join([*contract.names(), zones.TICKET])
        raise Refused(f"there is no DNS provider {provider!r}; found: {known}", code="unknown_provider") from None


def zone_of(r: Reader, key: str, raw: Any) -> Zone | None:
    path = f"dns.{key}"
    if not isinstance(raw, dict):
        r.fault(path, "not_a_table", "must be a table")
        return None
    if fault := zones.name_fault(key):
        r.fault(path, "bad_zone", fault)
    provider = str(raw.get("provider", ""))
    try:
        schema = schema_of(provider)
    except Refused as e:
        r.fault(f"{path}.provider", "missing" if "provider" not in raw else e.code, e.sentence)
        return None
    value = r.load(schema, {k: v for k, v in raw.items() if k != "provider"}, path)
    network = None
    try:
        network = zones.network_of(key, str(raw.get("range", "")))
    except ValueError as e:
        r.fault(f"{path}.range", "invalid", str(e))
    return None if value is None else Zone(key, provider, value["ttl"], network, value)


def secrets_of(zone: Zone) -> list[str]:
    """What of a zone's settings nobody may read."""
    if zone.provider == zones.TICKET:
        return []
    return [str(zone.settings[k]) for k in contract.load(zone.provider).secrets if zone.settings.get(k)]


def kept_at(zone: Zone) -> str:
    """Who keeps a zone, and where, as people read it: another text is another place."""
    keys = () if zone.provider == zones.TICKET else contract.load(zone.provider).place
    return " ".join([zone.provider, *(str(zone.settings[k]) for k in keys if zone.settings.get(k))])
