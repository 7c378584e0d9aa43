"""A new server: where it is sold, the create that is sent once, and how its own addresses become ours."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.errors import Capacity, Permanent, Refused
from bridge.model import Order, Package, Placement, Vm, VmRef
from drivers.hetzner import addresses, convert, images, named, proof, tasks
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL
from drivers.hetzner.errors import ROOM


def place(api: Api, package: Package, full: Mapping[str, str]) -> Placement:
    """The plan's location, or the first of its `fallback_locations` that has room where the order names none."""
    kind = named.kind_of(api, package.options["server_type"])
    image = images.system(api, package.template, package.options["images"], kind["architecture"])
    networks = named.networks(api, package)
    zones, why = named.zones(api) if networks else {}, []
    for location in wanted(package):
        place = named.sold_in(kind, location, api.now())
        named.joined(networks, location, zones.get(location, ""))
        if place["available"] and location not in full:
            return Placement(location, image["name"] or str(image["id"]), kind["name"])
        sold_out = f"{kind['name']} is sold out in {location}"
        why.append(f"{location}: {full[location]}" if location in full else sold_out)
    raise Capacity(detail="; ".join(why), next_action=ROOM)


def wanted(package: Package) -> list[str]:
    """Where it may be made, in this order."""
    if package.location:
        return [package.location]
    return list(dict.fromkeys((package.options["location"], *package.options["fallback_locations"])))


def create(api: Api, order: Order, placement: Placement) -> str:
    """The task of a server that is not started; one that has our name and label already is that task's."""
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
    """The create's own action, also one that has failed meanwhile, with what still runs there."""
    server = proof.labelled(api, (order.uuid,))
    if server is None:
        return ""
    rows = api.get(f"/servers/{server['id']}/actions", sort="id:desc", per_page=25)["actions"]
    return tasks.of(server["id"], [a for a in rows if a["command"] == "create_server" or a["status"] == "running"])


def identify(api: Api, order: Order, ref: VmRef) -> Vm:
    """The label came with the create; the server's own addresses get theirs and a name."""
    server = proof.present(api, ref)
    addresses.mark(api, server, order.uuid)
    return convert.vm(server)
