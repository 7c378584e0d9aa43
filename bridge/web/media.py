"""The pages of ISOs and of reverse records, and their forms: direct edits, no operations."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from flask import current_app, request

from bridge import customer
from bridge.customer import Ask, dns, isos
from bridge.customer.direct import Reads
from bridge.dns import records
from bridge.errors import BadRequest
from bridge.model import Capability, Sentence, Service
from bridge.web import language
from bridge.web.auth import body, context
from bridge.web.page import PAGES, Page, edited, register

# the entry and the page, where the provider's own addresses have them
PROVIDERS_RECORDS, RECORDS = Sentence("Open PTR record"), Sentence("PTR records")

LONGEST_ADDRESS, LONGEST_NAME = 64, 254


def reads() -> Reads:
    return cast(Reads, current_app.extensions["vmbridge_reads"])


def why(service: Service, capability: Capability) -> str:
    at = context()
    return language.translate(customer.edit_reason(service, capability, at.drivers, at.store, at.config, told=True))


def iso(service: Service) -> dict[str, Any]:
    """With what is searched for, when a browser without script sent its form."""
    at = context()
    driver, names = at.drivers[service.server], at.config.isos_of(service.package.plan)
    form = body().get("form") if request.method == "POST" else None
    words = " ".join(str((form or {}).get("find") or "").split())[:100]
    shelf = isos.view(service, words, names, reads(), at.store, driver)
    return {
        **shelf,
        "mounted": shelf["drive"].iso,
        "folders": isos.folders(shelf["isos"], language.translate(isos.OTHER)),
        "find": words,
        "why": why(service, Capability.ISO),
        "boots_once": driver.boots_once,
        "problem": language.translate(shelf["problem"]),
    }


def rdns(service: Service) -> dict[str, Any]:
    """The records of a service's addresses; `records_state` changes with what is shown of them."""
    at = context()
    if records.keeps(service.server, at.config):
        view = dns.view_own(service, at.store, at.config)
    else:
        view = dns.view(service, reads(), at.store, at.drivers[service.server])
    for row in view["singles"]:
        row["why"] = language.translate(row.get("why", ""))
    reason, shown = why(service, Capability.RDNS), [view["singles"], [(n.cidr, n.rows) for n in view["networks"]]]
    return {
        **view,
        "why": reason,
        "heading": PAGES[Capability.RDNS].heading(service),
        "problem": language.translate(view["problem"]),
        "records_state": hashlib.sha256(repr([reason, shown]).encode()).hexdigest()[:12],
    }


# -- forms ----------------------------------------------------------------------------------------
def mount(ask: Ask) -> None:
    service = customer.allow_edit(Capability.ISO, ask)
    names = ask.config.isos_of(service.package.plan)
    isos.mount(service, str(ask.form.get("iso") or ""), names, reads(), ask.store, ask.drivers[service.server])


def unmount(ask: Ask) -> None:
    service = customer.allow_edit(Capability.ISO, ask)
    isos.unmount(service, reads(), ask.store, ask.drivers[service.server])


def save(ask: Ask) -> None:
    service = customer.allow_edit(Capability.RDNS, ask)
    address = dns.address_of(ask.text("address", Sentence("Address"), LONGEST_ADDRESS))
    name = (
        ""
        if ask.form.get("remove")
        else dns.name_of(address, ask.text("name", Sentence("Host name of %(address)s", address=address), LONGEST_NAME))
    )
    if not name and ask.form.get("network"):  # a record that is added has one
        raise BadRequest(
            Sentence("Host name: please write one, such as mail.example.com."), code="no_host_name", field="name"
        )
    if records.keeps(service.server, ask.config):
        records.wish(service, address, name, ask.store, ask.config)
    else:
        dns.save(service, address, name, reads(), ask.store, ask.drivers[service.server])


def renamed(service: Service) -> Sentence | None:
    """The provider's own addresses have pointers of the provider."""
    return PROVIDERS_RECORDS if context().drivers[service.server].late_addresses else None


def headed(service: Service) -> Sentence | None:
    return RECORDS if renamed(service) else None


register(
    Page(
        Capability.ISO,
        Sentence("ISO"),
        "fas fa-compact-disc",
        90,
        iso,
        hindrance=edited,
        listed=True,
        edits={"mount": mount, "unmount": unmount},
        looks=frozenset({"search"}),
    )
)
register(
    Page(
        Capability.RDNS,
        Sentence("Reverse DNS"),
        "fas fa-globe",
        80,
        rdns,
        button=Sentence("revDNS"),
        renamed=renamed,
        headed=headed,
        hindrance=edited,
        listed=True,
        edits={"save": save},
    )
)
