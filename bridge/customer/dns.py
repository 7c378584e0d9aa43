"""Reverse records. What is wished is kept in the store until it is written: at once when the back end takes it, else by
the worker."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import structlog

from bridge import names
from bridge.config import Config
from bridge.customer.direct import NOT_TAKEN, Reads, not_done, sentence, settled, whose
from bridge.dns import lookup, records
from bridge.errors import BadRequest, NotOurs, Refused, StoreUnavailable, UpstreamError, VmbridgeError
from bridge.model import Pointers, Sentence, Service, TaskResult
from bridge.store import Store
from bridge.store.pointers import PointerWish, Written
from bridge.store.records import RecordRow
from drivers.optional import Keeper

log = structlog.get_logger()
SEEN = 20.0  # seconds that one read serves everybody
LEASE = 90.0  # longer than a web request's edit and than a worker's calls
FIRST, LONGEST = 15.0, 900.0  # seconds between two tries
ASK_AGAIN = 3.0  # seconds until a task that still runs is asked for
MOST = 100  # wishes of one service
NOT_BUILT = Sentence("The server is not set up yet.")
NOT_OWN = "not_own_address"
NO_ADDRESS = Sentence("Your server has no address yet.")


# -- what people write ----------------------------------------------------------------------------
def address_of(text: str) -> str:
    """As the standard writes it. Raises BadRequest."""
    try:
        if "%" in text or "/" in text:
            raise ValueError(text)
        return str(ip_address(text))
    except ValueError:
        raise BadRequest(
            Sentence("Address: “%(text)s” is not a single IPv4 or IPv6 address.", text=text[:60]),
            code="bad_address",
            field="address",
        ) from None


def _full(name: str) -> bool:
    last = name.rpartition(".")[2]
    return names.is_host_name(name) and "." in name and bool(last) and not last.isdigit()


def name_of(address: str, text: str) -> str:
    """A full host name without its last dot; empty stays empty. Raises BadRequest."""
    name = text.removesuffix(".")
    if not name and not text:
        return ""
    if not _full(name):
        said = Sentence(
            "Host name of %(address)s: “%(name)s” cannot be one. Please write one like mail.example.com:"
            " letters, digits and inner hyphens in parts of at most 63 characters, joined by dots, 253 in all.",
            address=address,
            name=text[:80],
        )
        if not name.isascii() and _full(written := lookup.in_ascii(name)):
            said = Sentence(
                "Host name of %(address)s: DNS knows “%(name)s” as %(ascii)s. Please write it like that.",
                address=address,
                name=text[:80],
                ascii=written,
            )
        raise BadRequest(said, code="bad_host_name", field="name")
    return name


@dataclass(frozen=True)
class Block:
    """A network of the machine's with the records that are set in it; `start` is its first address."""

    cidr: str
    start: str
    rows: list[dict[str, Any]]


# -- the page -------------------------------------------------------------------------------------
def view(service: Service, reads: Reads, store: Store, keeper: Keeper) -> dict[str, Any]:
    """{singles, networks, takes, problem}: a row is as `_row` makes it. With a problem (a sentence for people) only
    the wishes are known."""
    wishes = {w["address"]: w for w in store.pointer_wishes(service.id)}
    pointers, problem, failed = Pointers(), "", False
    if not service.provisioned:
        problem = NOT_BUILT
    else:
        try:
            pointers = _read(service, reads, store, keeper)
        except VmbridgeError as e:
            problem, failed = sentence(e), True
    names_of = {p.address: p.name for p in pointers.records} | {a: w["name"] for a, w in wishes.items()}
    rows = [_row(a, names_of[a], wishes.get(a), store) for a in sorted(names_of, key=_order)]
    networks = [
        Block(n, str(ip_network(n).network_address), [r for r in rows if ip_address(r["address"]) in ip_network(n)])
        for n in pointers.networks
    ]
    inside = {r["address"] for n in networks for r in n.rows}
    return {
        "singles": [r for r in rows if r["address"] not in inside],
        "networks": networks,
        "takes": pointers.takes,
        "problem": problem,
        "failed": failed,
        "waiting": any(r["state"] == "waiting" for r in rows),
    }


def _read(service: Service, reads: Reads, store: Store, keeper: Keeper) -> Pointers:
    def once() -> Pointers:
        with reads.turn_of(service, keeper, store):
            return keeper.pointers(service.ref)

    return reads.shared(
        (service.id, service.client_id, "pointers", service.vm_id, store.edits(service.id)), SEEN, once, whose(service)
    )


def _order(address: str) -> tuple[int, int]:
    parsed = ip_address(address)
    return parsed.version, int(parsed)


def _row(address: str, name: str, wish: PointerWish | None, store: Store) -> dict[str, Any]:
    """{address, name, state, leads} and, of our own zones, {default, why, asked_at}. `state` is waiting or refused
    while the store keeps a wish; `leads` says whether the name leads to the address: yes, no, or empty while nobody
    knows."""
    return {
        "address": address,
        "name": name,
        "state": "" if wish is None else "refused" if wish["refused"] else "waiting",
        "leads": lookup.hint(name, address, store),
    }


def view_own(service: Service, store: Store, config: Config) -> dict[str, Any]:
    """As `view`, of addresses whose records stand in our own zones: all of it is in the store."""
    own, kept = records.held(service, store, config), {}
    for row in store.records_of(service.id):
        if row["type"] == records.PTR:
            kept[row["address"]] = row
    rows = [_own_row(service, h.address, kept.get(h.address), store, config) for h in own]
    return {
        "singles": rows,
        "networks": [],
        "takes": (0.0, 0.0),
        "own_zones": True,
        "problem": NOT_BUILT if not service.provisioned else "" if rows else NO_ADDRESS,
        "failed": False,
        "waiting": any(r["state"] == "waiting" for r in rows),
    }


def _own_row(service: Service, address: str, row: RecordRow | None, store: Store, config: Config) -> dict[str, Any]:
    default = records.default_of(service, address, config)
    base = _row(address, "", None, store) | {"default": default, "why": "", "asked_at": None}
    if row is None:
        covered = records.kept_here(service, address, config)
        return base | {"why": "" if covered else records.NOT_HERE}
    there = row["seen"] if row["due_at"] is None and row["wanted"] != row["written"] else row["wanted"]
    waits = row["due_at"] is not None and not row["asked_at"] and row["wanted"] != row["seen"]
    return base | {
        "name": there,
        "state": "refused" if row["refused"] else "waiting" if waits else "",
        "asked_at": row["asked_at"],
        "leads": lookup.hint(there, address, store),
    }


# -- writing --------------------------------------------------------------------------------------
def save(service: Service, address: str, name: str, reads: Reads, store: Store, keeper: Keeper) -> None:
    """Write it now; what fails for a while stays a wish, which the worker writes. Raises Refused for what will never be
    taken."""
    wishes = store.pointer_wishes(service.id)
    if len(wishes) >= MOST and address not in {w["address"] for w in wishes}:
        raise Refused(
            Sentence("Many changes wait already. Please try again when they are written."), code="too_many_wishes"
        )
    number = store.wish_pointer(service.id, address, name, LEASE)
    if not number:
        return  # the worker writes it after the one who does so now
    wish: Written = {"service": service.id, "address": address, "number": number, "attempt": 0}
    try:
        with reads.edit_of(service, keeper, store):
            task = keeper.set_pointer(service.ref, address, name)
            _ended(wish, task, settled(keeper, task, store.clock), store, keeper)
    except StoreUnavailable:  # the wish itself is saved: the worker goes on with it when the lease is over
        return
    except VmbridgeError as e:
        if _later(wish, e, store):
            return
        store.pointer_written(service.id, address, number)  # nobody tries it again
        field = {NOT_OWN: "address", "upstream_parameter": "name"}.get(e.code, "")
        raise Refused(_refusal(address, e), code=e.code, detail=e.detail, field=field) from None


def _refusal(address: str, e: VmbridgeError) -> str:
    if e.code == NOT_OWN:
        return Sentence("%(address)s is not an address of your server.", address=address)
    if e.code == "upstream_parameter":
        return Sentence("%(address)s: this name is not accepted. Please choose another one.", address=address)
    return NOT_TAKEN if isinstance(e, NotOurs) else not_done(e)


def write_due(server: str, keeper: Keeper, store: Store, limit: int = 20) -> int:
    """The wishes that are due, each once; how many were looked at."""
    done = 0
    while done < limit:
        wish = store.claim_pointer(server, LEASE)
        if wish is None:
            break
        done += 1
        for service in store.services_by([wish["service"]]):
            _try(wish, service, store, keeper)
    return done


def _try(wish: PointerWish, service: Service, store: Store, keeper: Keeper) -> None:
    try:
        if wish["task"]:
            _ended(wish, wish["task"], keeper.poll([wish["task"]])[wish["task"]], store, keeper)
        else:
            task = keeper.set_pointer(service.ref, wish["address"], wish["name"])
            _ended(wish, task, TaskResult("running" if task else "done"), store, keeper)
    except StoreUnavailable:  # no refusal: the wish stays
        raise
    except VmbridgeError as e:
        log.warning(
            "pointer_not_written", service=service.service_id, address=wish["address"], code=e.code, detail=e.detail
        )
        if not _later(wish, e, store):
            store.pointer_later(wish["service"], wish["address"], wish["number"], 0.0, refused=e.code)


def _ended(wish: Written, task: str, result: TaskResult, store: Store, keeper: Keeper) -> None:
    """Raises the error that a failed task means."""
    if result.state == "failed":
        raise keeper.task_error(result.text)
    if result.state == "done":
        store.pointer_written(wish["service"], wish["address"], wish["number"])
    else:  # a task that nobody knows any more: what is written is looked up
        store.pointer_later(
            wish["service"], wish["address"], wish["number"], ASK_AGAIN, task if result.state == "running" else ""
        )


def _later(wish: Written, e: VmbridgeError, store: Store) -> bool:
    """Whether trying again makes sense; then it is due again."""
    if not isinstance(e, UpstreamError) or not e.retryable:
        return False
    pause = max(min(LONGEST, FIRST * 2 ** min(wish["attempt"], 10)), e.retry_after or 0.0)
    store.pointer_later(wish["service"], wish["address"], wish["number"], pause)
    return True
