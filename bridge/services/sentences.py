"""What customers are told of operations: one that runs, so that nothing else can be done, and one that failed."""

from __future__ import annotations

from bridge.model import Sentence, Service
from bridge.obstacles import busy_words
from bridge.store import Store

UNFINISHED_RESTORE = Sentence("The last restore did not end well: restore a backup or reinstall the server first.")
CUSTOMERS_OWN = {  # failures that customers are told in full
    "not_running": Sentence("The server is off: start it instead."),
    "server_off": Sentence("Start the server first."),
    "no_reaction": Sentence("The system inside did not react; a hard stop turns it off."),
    "backup_gone": Sentence("This backup is not on the storage any more."),
    "restore_failed": Sentence("The restore did not work; it can be tried again, or the server reinstalled."),
    "backup_failed": Sentence("The backup could not be made."),
    "no_agent": Sentence(
        "The system inside runs no guest agent (qemu-guest-agent) that could set a password. Install it there, or reinstall the server."
    ),
    "protected": Sentence("This is protected against removal. Please ask our staff to take the protection off."),
    "snapshot_gone": Sentence("This snapshot is not there any more."),
    "no_template": Sentence("This system is not available where your server is."),
}


def busy_reason(service: Service, store: Store) -> str:
    return busy_words(store.current_operation(service.id))
