"""ISOs: what fits a machine, in folders, and what lies in its drive. A direct edit: one call with a deadline, nothing
is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from bridge.customer.direct import Reads, not_done, sentence, settled, whose
from bridge.errors import Refused, StoreUnavailable, VmbridgeError
from bridge.model import Drive, Iso, Sentence, Service
from bridge.store import Store
from drivers.base import Driver

LISTED, SEEN = 600.0, 20.0  # seconds that one read serves everybody: the list, a drive
OTHER = Sentence("OTHER")
GONE = Sentence("This ISO is not offered any more. Choose another one.")
NOT_BUILT = Sentence("The server is not set up yet.")


@dataclass(frozen=True)
class Folder:
    name: str
    isos: tuple[Iso, ...]


def folders(isos: Iterable[Iso], other: str = OTHER) -> list[Folder]:
    """By what stands before the first hyphen, as it was first written; names without one come last."""
    spelt: dict[str, str] = {}
    rows: dict[str, list[Iso]] = {}
    for iso in isos:
        before, hyphen, _ = iso.name.partition("-")
        key = before.strip().lower() if hyphen else ""
        spelt.setdefault(key, before.strip() if key else other)
        rows.setdefault(key, []).append(iso)
    return [
        Folder(spelt[k], tuple(sorted(rows[k], key=lambda i: i.name.lower())))
        for k in sorted(rows, key=lambda k: (not k, k))
    ]


def matching(isos: Iterable[Iso], words: str) -> list[Iso]:
    """Those in whose name or description all the words stand."""
    wanted = words.lower().split()
    return [i for i in isos if all(w in f"{i.name} {i.description}".lower() for w in wanted)]


def offered(listed: Iterable[Iso], names: Collection[str]) -> list[Iso]:
    """Those whose name is one of `names` or fits a pattern among them, whatever their case; all where nothing is
    named."""
    patterns = [n.lower() for n in names]

    def fits(name: str) -> bool:  # brackets may be part of a name
        return not patterns or name in patterns or any(fnmatchcase(name, p) for p in patterns)

    return [i for i in listed if fits(i.name.lower())]


def view(
    service: Service, words: str, names: Collection[str], reads: Reads, store: Store, driver: Driver
) -> dict[str, Any]:
    """{drive, isos (those with `words`), count (of all), problem}; a problem is a sentence for people, and nothing else
    is known then. `names` are the ISOs that the plan offers, as in `offered`."""
    nothing: dict[str, Any] = {"drive": Drive(), "isos": [], "count": 0}
    if not service.provisioned:
        return {**nothing, "problem": NOT_BUILT}
    try:
        drive, listed = _shelf(service, reads, store, driver)
    except VmbridgeError as e:
        return {**nothing, "problem": sentence(e), "failed": True}
    isos = offered(listed, names)
    return {"drive": drive, "isos": matching(isos, words), "count": len(isos), "problem": ""}


def mount(service: Service, wanted: str, names: Collection[str], reads: Reads, store: Store, driver: Driver) -> None:
    """Put one that is offered in place of what lies there. Raises Refused with what the page says."""
    try:
        isos = offered(_shelf(service, reads, store, driver)[1], names)
    except VmbridgeError as e:
        raise Refused(not_done(e), code=e.code, detail=e.detail) from None
    ids = {i.id for i in isos}
    wanted = wanted if wanted in ids else wanted.strip()  # an ISO's own name may have any spaces in it
    if wanted not in ids:
        raise Refused(GONE, code="iso_gone")
    _change(service, wanted, reads, store, driver)


def unmount(service: Service, reads: Reads, store: Store, driver: Driver) -> None:
    """Take out what lies there. Raises Refused with what the page says."""
    _change(service, "", reads, store, driver)


def _change(service: Service, wanted: str, reads: Reads, store: Store, driver: Driver) -> None:
    try:
        with reads.edit_of(service, driver, store):
            result = settled(driver, driver.mount(service.ref, wanted), store.clock)
            if result.state == "failed":
                raise driver.task_error(result.text)
    except StoreUnavailable:
        raise
    except VmbridgeError as e:
        said = GONE if e.code == "iso_gone" else e.sentence if e.code == "no_drive" else not_done(e)
        raise Refused(said, code=e.code, detail=e.detail) from None
    finally:
        store.edited(service.id)


def _shelf(service: Service, reads: Reads, store: Store, driver: Driver) -> tuple[Drive, list[Iso]]:
    """The drive and what fits into it, within one turn."""

    def once() -> tuple[Drive, list[Iso]]:
        with reads.turn_of(service, driver, store):
            drive = driver.drive(service.ref)
            return drive, reads.shared((service.server, "isos", drive.fits), LISTED, lambda: driver.isos(drive.fits))

    return reads.shared(
        (service.id, service.client_id, "drive", service.vm_id, store.edits(service.id)), SEEN, once, whose(service)
    )
