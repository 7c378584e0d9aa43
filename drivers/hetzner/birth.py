"""A new server: where it is sold, the create that is sent once, and how its own addresses become ours."""

from __future__ import annotations

from bridge.errors import Capacity, Permanent, Refused
from bridge.model import Order, Package, Placement, Vm, VmRef
from drivers.hetzner import addresses, convert, images, named, proof, tasks
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL
from drivers.hetzner.errors import ROOM


def place(api: Api, package: Package) -> Placement:
    if not_sold := convert.not_sold(package):
        raise Permanent(
            "The plan sells what this provider does not have.", code="plan_impossible", detail=", ".join(not_sold)
        )
    kind, location = package.options["server_type"], package.location or package.options["location"]
    found = named.kind_of(api, kind)
    place = next((p for p in found["locations"] if p["name"] == location), None)
    if place is None:
        raise Permanent(
            "The plan names a location where its type is not sold.",
            code="plan_impossible",
            detail=f"{kind} in {location}",
        )
    if not place["available"]:
        raise Capacity(detail=f"{kind} is sold out in {location}", next_action=ROOM)
    image = images.system(api, package.template, package.options["images"], found["architecture"])
    return Placement(location, image["name"] or str(image["id"]), kind)


def create(api: Api, order: Order, placement: Placement) -> str:
    options, more = order.package.options, named.surroundings(api, order)
    try:
        made = api.post(
            "/servers",
            name=convert.name(order),
            server_type=placement.storage,
            image=placement.source,
            location=placement.node,
            labels={**options["labels"], LABEL: order.uuid},
            user_data=convert.user_data(order),
            start_after_create=False,
            **more,
        )
    except Refused as e:
        ours = find_create(api, order) if e.code == "name_taken" else ""
        if ours:
            return ours
        raise Permanent(
            "Another server of the project has the name.", code="name_taken", detail=convert.name(order)
        ) from None
    actions = [made["action"], *made.get("next_actions", ())]
    return tasks.of(made["server"]["id"], actions)


def find_create(api: Api, order: Order) -> str:
    found = proof.labelled(api, (order.uuid,))
    return tasks.of(found["id"], tasks.running(api, found["id"])) if found else ""


def identify(api: Api, order: Order, ref: VmRef) -> Vm:
    """The label came with the create; the server's own addresses get theirs and a name."""
    server = proof.present(api, ref)
    addresses.mark(api, server, order.uuid)
    return convert.vm(server)
