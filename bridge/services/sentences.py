"""What customers are told of operations: one that runs, so that nothing else can be done, and one that failed."""

from __future__ import annotations

from bridge.model import Sentence, Service
from bridge.obstacles import busy_words
from bridge.store import Store

UNFINISHED_RESTORE = Sentence("The last restore did not end well: restore a backup or reinstall the server first.")


def busy_reason(service: Service, store: Store) -> str:
    return busy_words(store.current_operation(service.id))
