"""Starting once from the ISO in the drive. Which comes first is written before and put back after it; a row of the
store remembers that from before the first write until the disk is seen to come first again, whatever becomes of the
operation."""

from __future__ import annotations

from dataclasses import replace

from bridge.errors import Refused
from bridge.model import Sentence
from bridge.recipes.back import running_back, start_back
from bridge.recipes.machine import look, must_exist, ref
from bridge.recipes.switching import OFF, found_again, power_settled, running, start
from bridge.steps import Again, Done, Job, Outcome, Step

NO_DISC = Sentence("No ISO is mounted. Mount one first.")
DISC_GONE = Sentence("The mounted ISO cannot be read any more where your server is. Mount another one.")
SERVES_BOTH = Sentence("This server starts from an ISO as long as it is mounted: restart it.")


def disc_first(job: Job) -> Outcome:
    if not job.driver.boots_once:
        raise Refused(SERVES_BOTH, code="not_supported")
    vm = must_exist(job, look(job))
    drive = job.driver.drive(ref(job))
    if drive.iso is None or drive.missing:
        raise Refused(DISC_GONE, code="iso_gone") if drive.missing else Refused(NO_DISC, code="no_iso")
    found_again(job, vm)
    if job.memory.ran is None:
        job.save(replace(job.memory, ran=vm.status != "stopped"))
    if not drive.starts:
        with job.store.write():
            job.save_birth(replace(job.birth, disc_was_first=True))
            job.store.disc_comes_first(job.service.id)
        job.driver.boot_first(ref(job), True)
    return Done(drive.iso.name)


def start_from_disc(job: Job) -> Outcome:
    if not job.memory.start_task and job.driver.take_out_missing(ref(job)):
        raise Refused(DISC_GONE, code="iso_gone")
    return start(job)


def running_from_disc(job: Job) -> Outcome:
    waiting = running(job)
    if isinstance(waiting, Done):
        power_settled(job)
    return waiting


def disk_first(job: Job) -> Outcome:
    """Written, and seen to be so: only then nobody has to look any more."""
    if job.service.provisioned and job.store.disc_order(job.service.id):
        if look(job) is not None and job.driver.boot_first(ref(job), False):
            return Again(0.0)
        job.store.disk_comes_first(job.service.id)
    return Done()


def put_back(job: Job) -> Outcome:
    job.save(replace(job.memory, unchanged=True, start_task="", start_ended=False, waited=0))
    return disk_first(job)


LAST = "Putting your server's own disk first again"
BOOT_ISO = (
    Step("disc_first", "Putting the ISO first", disc_first),
    *OFF,
    Step("start", "Switching it on", start_from_disc),
    Step("running", "Waiting until it runs", running_from_disc),
    Step("disk_first", LAST, disk_first),
    Step("put_back", LAST, put_back, undo=True),
    Step("start_back", "Switching it on again", start_back, undo=True),
    Step("running_back", "Waiting until it runs", running_back, undo=True),
)
BOOT_DISK = (Step("disk_first", LAST, disk_first),)

RECIPES = {"boot_iso": BOOT_ISO, "boot_disk": BOOT_DISK}
