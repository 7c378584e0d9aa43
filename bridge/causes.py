"""Why an operation failed and what was kept, in its customer's words: one sentence for each code of an error, never
staff's words, a node's, a storage's or a back end's. No I/O."""

from __future__ import annotations

from bridge.kinds import KINDS
from bridge.model import Operation, Sentence

HOST = Sentence("The host of your server did not answer.")
BUSY = Sentence("The host of your server was too busy.")
HELD = Sentence("Another task, such as a backup, is holding your server.")
REFUSED = Sentence("The host of your server refused it.")
ACCESS = Sentence("Our own access to the host of your server has to be mended first.")
NO_ROOM = Sentence("There was no free place for it.")
LIMIT = Sentence("A limit of our own account is reached, which only our staff can have raised.")
NO_SPACE = Sentence("The storage has not enough free space.")
IMPOSSIBLE = Sentence("This is not possible with your server as it is.")
UNSURE = Sentence("It was not certain that what is found there is your server, so nothing of it was touched.")
GONE = Sentence("Your server is not found on its host.")
IMAGE = Sentence("The image of the system cannot be used just now.")
OURS = Sentence("Something unforeseen happened in our own systems.")
RECORDS = Sentence("Our own records could not be written.")
INPUT = Sentence("What was asked for was not accepted.")

CAUSES: dict[str, Sentence] = {
    # the host and the way to it
    **dict.fromkeys(
        (
            "server_unreachable",
            "server_down",
            "connect_timeout",
            "connection_refused",
            "no_route",
            "name_unresolved",
            "tls_failed",
            "proxy_failed",
            "ca_file",
        ),
        HOST,
    ),
    **dict.fromkeys(("transient", "calls_used_up", "too_many_reads", "too_many_of_one", "not_read"), BUSY),
    "reply_lost": Sentence("The host of your server did not say whether it was done."),
    **dict.fromkeys(("upstream", "upstream_refused", "upstream_error", "upstream_failed", "bad_reply"), REFUSED),
    "upstream_parameter": REFUSED,
    "template_locked": IMAGE,
    **dict.fromkeys(("upstream_credentials", "upstream_privilege"), ACCESS),
    # room
    **dict.fromkeys(("no_capacity", "vm_ids_exhausted", "pool_empty", "no_pool"), NO_ROOM),
    "account_limit": LIMIT,
    "no_backup_storage": Sentence("There is no storage for backups."),
    "storage_away": Sentence("The storage of your server does not answer just now."),
    "backup_storage_away": Sentence("The storage for backups does not answer just now."),
    # the machine
    **dict.fromkeys(("vm_locked", "locked"), HELD),
    "needs_operator": Sentence("Something still holds your server."),
    **dict.fromkeys(("vm_absent", "vm_missing", "no_uuid"), GONE),
    **dict.fromkeys(("not_ours", "id_taken", "name_taken", "vm_taken", "vm_present", "is_template"), UNSURE),
    "not_running": Sentence("The server is off: start it instead."),
    "server_off": Sentence("Start the server first."),
    "no_reaction": Sentence("The system inside did not react; a hard stop turns it off."),
    "state_not_reached": Sentence("The server did not come to the state that was asked for."),
    "no_system_disk": Sentence("The system disk of your server was not found."),
    "rebuild_protected": Sentence(
        "Your server is protected against being written anew. Please ask our staff to take the protection off."
    ),
    "protected": Sentence("This is protected against removal. Please ask our staff to take the protection off."),
    **dict.fromkeys(("plan_impossible", "cannot_change", "cannot_close", "not_built", "not_supported"), IMPOSSIBLE),
    # snapshots and backups
    "no_snapshots": Sentence("A disk of your server is on a storage that takes no snapshots."),
    "snapshot_gone": Sentence("This snapshot is not there any more."),
    "backup_gone": Sentence("This backup is not on the storage any more."),
    "backup_failed": Sentence("The backup could not be made."),
    "backup_incomplete": Sentence("This backup is without one of your server's disks."),
    "foreign_archive": Sentence("This backup is not one of your server's."),
    "restore_failed": Sentence("The restore did not work; it can be tried again, or the server reinstalled."),
    # systems and passwords
    "no_template": Sentence("This system is not available where your server is."),
    "template_unfit": IMAGE,
    "no_agent": Sentence(
        "The system inside runs no guest agent (qemu-guest-agent) that could set a password. Install it there, or"
        " reinstall the server."
    ),
    "password_forgotten": Sentence("The new password was not used in time and is forgotten."),
    # reverse records, ISOs, the console
    "not_own_address": Sentence("This is not an address of your server."),
    "no_drive": Sentence("Your server has no drive for ISOs that could be used."),
    "no_iso": Sentence("No ISO was mounted."),
    "iso_gone": Sentence("This ISO is not there any more."),
    **dict.fromkeys(("console_refused", "console_address"), HOST),
    # ourselves
    **dict.fromkeys(("internal_error", "unknown_step", "unknown_driver", "addon_refused", "config"), OURS),
    **dict.fromkeys(("store_unavailable", "store_unknown", "store_damaged", "lease_lost"), RECORDS),
    **dict.fromkeys(
        ("bad_request", "unauthorized", "forbidden", "not_found", "refused", "service_busy", "suspended", "too_often"),
        INPUT,
    ),
}
SPACE = (
    "take_snapshot",
    "take_backup",
    "scheduled_backup",
    "restore",
    "rollback",
)  # for these a lack of room is one of the storage
WRAPPED = ("backup_failed", "restore_failed")  # say only what failed; why stands in `Memory.cause`
FAILED = Sentence("%(what)s did not work.")
CANCELLED = Sentence("%(what)s was cancelled.")
WAITS = Sentence("%(what)s waits for our staff.")
UNCHANGED = Sentence("Nothing was changed: the server is as it was before.")


def cause(op: Operation) -> Sentence:
    """Why it failed, or why it is not done yet; empty when nothing is wrong with it."""
    code = op.error_code
    if not code:
        return Sentence("")
    inner = op.memory.cause
    if code in WRAPPED and inner in CAUSES and inner not in WRAPPED:
        code = inner
    if CAUSES.get(code) is NO_ROOM and op.kind in SPACE:
        return NO_SPACE
    return CAUSES.get(code, OURS)


def kept(op: Operation) -> Sentence:
    """What is as it was after it failed."""
    if op.memory.unchanged:
        return UNCHANGED
    return KINDS[op.kind].kept if op.kind in KINDS else Sentence("")


def failed(op: Operation) -> Sentence:
    """What failed, in one sentence."""
    words = KINDS[op.kind].failed if op.kind in KINDS else op.kind
    return Sentence(FAILED.template, what=words)


def waits(op: Operation) -> Sentence:
    """What cannot go on before a member of staff has acted, in one sentence."""
    words = KINDS[op.kind].failed if op.kind in KINDS else op.kind
    return Sentence(WAITS.template, what=words)


def cancelled(op: Operation) -> Sentence:
    words = KINDS[op.kind].failed if op.kind in KINDS else op.kind
    return Sentence(CANCELLED.template, what=words)
