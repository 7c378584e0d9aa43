"""What becomes of a machine's contents: snapshots, backups, a new system, a new password."""

from __future__ import annotations

from bridge.kinds.record import CLIENT, SCHEDULE, Kind, Mail
from bridge.model import Sentence

CONTENTS = [
    Kind(
        "take_snapshot",
        Sentence("Snapshot"),
        Sentence("A snapshot is being taken"),
        Sentence("The snapshot"),
        Sentence("The snapshot is ready"),
        Sentence("Your server and your other snapshots are as they were."),
        frozenset({CLIENT}),
        costly=True,
    ),
    Kind(
        "rollback",
        Sentence("Rollback to a snapshot"),
        Sentence("The server goes back to a snapshot"),
        Sentence("Going back to the snapshot"),
        Sentence("The server is back at the snapshot"),
        Sentence("The snapshot is kept, so that you can go back to it again."),
        frozenset({CLIENT}),
        costly=True,
        ask=Sentence(
            "Goes back to snapshot %(name)s: the server stops, and everything since then is lost. This cannot be"
            " undone."
        ),
        ask_button=Sentence("Rollback"),
        away=True,
    ),
    Kind(
        "delete_snapshot",
        Sentence("Removal of a snapshot"),
        Sentence("A snapshot is being removed"),
        Sentence("Removing the snapshot"),
        Sentence("The snapshot is removed"),
        Sentence("Your server is as it was; the snapshot may still be there."),
        frozenset({CLIENT, SCHEDULE}),
        ask=Sentence("Removes snapshot %(name)s. This cannot be undone."),
        ask_button=Sentence("Remove"),
    ),
    Kind(
        "take_backup",
        Sentence("Backup"),
        Sentence("A backup is being made"),
        Sentence("The backup"),
        Sentence("The backup is ready"),
        Sentence("Your server and your earlier backups are as they were."),
        frozenset({CLIENT}),
        costly=True,
    ),
    Kind(
        "scheduled_backup",
        Sentence("Scheduled backup"),
        Sentence("The scheduled backup is running"),
        Sentence("The scheduled backup"),
        Sentence("The scheduled backup is ready"),
        Sentence("Your server and your earlier backups are as they were."),
        frozenset({SCHEDULE}),
    ),
    Kind(
        "delete_backup",
        Sentence("Removal of a backup"),
        Sentence("A backup is being removed"),
        Sentence("Removing the backup"),
        Sentence("The backup is removed"),
        Sentence("Your server is as it was; the backup may still be there."),
        frozenset({CLIENT}),
        ask=Sentence("Removes the backup of %(name)s. This cannot be undone."),
        ask_button=Sentence("Remove"),
    ),
    Kind(
        "restore",
        Sentence("Restore"),
        Sentence("A backup is being restored"),
        Sentence("The restore"),
        Sentence("The backup is restored"),
        Sentence(
            "Your backups are kept. The server may not start before a backup is restored or the server is reinstalled."
        ),
        frozenset({CLIENT}),
        costly=True,
        watched=True,
        ask=Sentence(
            "Restores the backup of %(name)s: the server stops, everything since then and all snapshots are lost."
            " This cannot be undone."
        ),
        ask_where_kept=Sentence(
            "Restores the backup of %(name)s: the server stops, and everything since then is lost. This cannot be"
            " undone."
        ),
        ask_button=Sentence("Restore"),
        away=True,
    ),
    Kind(
        "reinstall",
        Sentence("Reinstallation"),
        Sentence("The server is being reinstalled"),
        Sentence("The reinstallation"),
        Sentence("The server is reinstalled"),
        Sentence(
            "Your addresses and your backups are kept. The server may not start before it is reinstalled or a backup"
            " is restored."
        ),
        frozenset({CLIENT}),
        costly=True,
        watched=True,
        away=True,
        by_link=True,
        ask=Sentence(
            "Reinstalls your server with %(name)s: everything on its disks and all snapshots are lost. This cannot"
            " be undone."
        ),
        ask_where_kept=Sentence(
            "Reinstalls your server with %(name)s: everything on its disk is lost. This cannot be undone."
        ),
        ask_button=Sentence("Reinstall"),
        mail=Mail("reinstalled", "Your server was reinstalled", "your server <strong>%s</strong> was reinstalled."),
    ),
    Kind(
        "reset_password",
        Sentence("New password"),
        Sentence("A new password is being set"),
        Sentence("Setting a new password"),
        Sentence("The new password is set"),
        Sentence("Unless a new password was sent to you by e-mail, the old one still works."),
        frozenset({CLIENT}),
        costly=True,
        mail=Mail("reset", "Your new password", "the password of your server <strong>%s</strong> was reset."),
    ),
]
