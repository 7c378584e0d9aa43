"""What is known of each kind of operation, in one record: its words, what it is for, how long it is tried, who may
order it, what it asks first. How it is done stands in recipes. A new verb is a record here and its recipe. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from bridge.model import Desired, Sentence


class Orderer(enum.StrEnum):
    """Who may order an operation."""

    WHMCS = "whmcs"  # billing: its cron, its staff by WHMCS's own buttons
    CLIENT = "client"  # on the pages of the service
    STAFF = "staff"  # by the service tab, the addon or the command line
    SCHEDULE = "schedule"  # the worker's jobs


@dataclass(frozen=True)
class Mail:
    """A new password's way to its customer: `reason` is the word by which a host names its own template, `text` has
    `%s` for the server's name and stands in English, as WHMCS's own mails to edit."""

    reason: str
    subject: str
    text: str


@dataclass(frozen=True)
class Kind:
    """One kind of operation.

    `title`, `running`, `failed`, `succeeded` and `kept` are what customers read; `title` names the deed in a list,
    where what became of it stands beside, and `failed` in a sentence; `kept` is what is as it was when it failed with
    an unknown part of it done. The two `ask` words are the question before a customer's order and the button that says
    yes; `ask_where_kept` is the question where snapshots outlive it."""

    name: str
    title: Sentence
    running: Sentence
    failed: Sentence
    succeeded: Sentence
    kept: Sentence
    by: frozenset[Orderer]
    recipe: str = ""  # the kind's own name when empty
    wants: Desired | None = None  # what must still be ordered for an old one to make sense; None: anything
    billing: bool = (
        False  # writes the desired state: never refused for being busy, the newest takes the place of others
    )
    power: bool = False  # one of the power buttons
    endless: bool = False  # goes on until it is done or cancelled
    may_restart: bool = False  # may switch a running machine off: its customer was told, or has no use of it yet
    costly: bool = False  # takes the back end long: customers may order only some in an hour
    watched: bool = False  # long and decisive: its steps are shown without a click
    away: bool = False  # the machine is not there to be looked at meanwhile
    by_link: bool = False  # asks only where it is ordered by a link of WHMCS's menu, or once more after it failed
    ordered: Sentence | None = None  # what is told while it runs, where what was ordered is not what one sees yet
    ask: Sentence | None = None
    ask_where_kept: Sentence | None = None
    ask_button: Sentence | None = None
    mail: Mail | None = None  # the mail with a new password
    staff: str = ""  # what its own button in the addon says; else staff read the title as customers do


W, C, S, J = Orderer.WHMCS, Orderer.CLIENT, Orderer.STAFF, Orderer.SCHEDULE
ALL = [
    Kind(
        "create",
        Sentence("Set-up"),
        Sentence("The server is being set up"),
        Sentence("Setting up the server"),
        Sentence("The server is ready"),
        Sentence("Your order and your addresses are kept: nothing has to be ordered again."),
        frozenset({W}),
        wants=Desired.ACTIVE,
        billing=True,
        watched=True,
        away=True,
    ),
    Kind(
        "suspend",
        Sentence("Suspension"),
        Sentence("The server is being suspended"),
        Sentence("The suspension"),
        Sentence("The server is suspended"),
        Sentence("Your data is kept."),
        frozenset({W}),
        wants=Desired.SUSPENDED,
        billing=True,
        endless=True,
        away=True,
    ),
    Kind(
        "unsuspend",
        Sentence("Reactivation"),
        Sentence("The server is being switched on again"),
        Sentence("Switching the server on again"),
        Sentence("The server is active again"),
        Sentence("Your data and your addresses are kept."),
        frozenset({W}),
        wants=Desired.ACTIVE,
        billing=True,
        may_restart=True,
    ),
    Kind(
        "terminate",
        Sentence("Removal of the server"),
        Sentence("The server is being removed"),
        Sentence("Removing the server"),
        Sentence("The server is removed"),
        Sentence("Nothing has to be done by you."),
        frozenset({W}),
        wants=Desired.TERMINATED,
        billing=True,
        endless=True,
        away=True,
    ),
    Kind(
        "change_package",
        Sentence("Change of package"),
        Sentence("The package is being changed"),
        Sentence("The change of the package"),
        Sentence("The package is changed"),
        Sentence("Your data and your addresses are kept."),
        frozenset({W}),
        billing=True,
        may_restart=True,
    ),
    Kind(
        "rename",
        Sentence("Change of the name"),
        Sentence("The server is getting its new name"),
        Sentence("The change of the name"),
        Sentence(
            "The server has its new name. The system inside takes it at its next restart, or keeps its own until it is"
            " changed there."
        ),
        Sentence("Your data and your addresses are kept."),
        frozenset({W}),
        recipe="change_package",
        billing=True,
    ),
    Kind(
        "change_password",
        Sentence("Change of password"),
        Sentence("The password is being changed"),
        Sentence("The change of the password"),
        Sentence("The password is changed"),
        Sentence(
            "Unless you can log in with the new password, the old one still works. Please choose it again under"
            " Change Password."
        ),
        frozenset({W, C}),
        wants=Desired.ACTIVE,
        costly=True,
    ),
    Kind(
        "converge",
        Sentence("Check of the configuration"),
        Sentence("The configuration is being checked"),
        Sentence("The check"),
        Sentence("The configuration is as ordered"),
        Sentence("Your data is kept."),
        frozenset({S}),
        staff="Converge",
    ),
    Kind(
        "redeploy",
        Sentence("New set-up"),
        Sentence("The server is being set up anew"),
        Sentence("Setting the server up anew"),
        Sentence("The server is set up anew"),
        Sentence("Your addresses and your backups are kept."),
        frozenset({S}),
        wants=Desired.ACTIVE,
        watched=True,
        away=True,
        staff="Redeploy",
        mail=Mail("redeployed", "Your server was set up anew", "your server <strong>%s</strong> was set up anew."),
    ),
    Kind(
        "clean_up",
        Sentence("Removal of what was left"),
        Sentence("What the server left is being removed"),
        Sentence("Removing what the server left"),
        Sentence("What the server left is removed"),
        Sentence("Nothing has to be done by you."),
        frozenset({S}),
    ),
    Kind(
        "start",
        Sentence("Start"),
        Sentence("The server is starting"),
        Sentence("Starting the server"),
        Sentence("The server is running"),
        Sentence("What is stored on its disks is kept."),
        frozenset({C, S}),
        recipe="power",
        wants=Desired.ACTIVE,
        power=True,
        by_link=True,
        ordered=Sentence("Start ordered; this takes a moment."),
        ask=Sentence("Starts your server."),
        ask_button=Sentence("Start"),
    ),
    Kind(
        "stop",
        Sentence("Stop"),
        Sentence("The server is stopping"),
        Sentence("Stopping the server"),
        Sentence("The server is off"),
        Sentence("What is stored on its disks is kept."),
        frozenset({C, S}),
        recipe="power",
        wants=Desired.ACTIVE,
        power=True,
        by_link=True,
        ordered=Sentence("Stop ordered; the server runs until the system inside has shut down."),
        ask=Sentence("Stops your server: the system inside is asked to shut down."),
        ask_button=Sentence("Stop"),
    ),
    Kind(
        "reboot",
        Sentence("Restart"),
        Sentence("The server is restarting"),
        Sentence("Restarting the server"),
        Sentence("The server has restarted"),
        Sentence("What is stored on its disks is kept."),
        frozenset({C, S}),
        recipe="power",
        wants=Desired.ACTIVE,
        power=True,
        by_link=True,
        ordered=Sentence("Restart ordered; the system inside shuts down first."),
        ask=Sentence("Restarts your server: the system inside is asked to shut down first."),
        ask_button=Sentence("Restart"),
    ),
    Kind(
        "hard_stop",
        Sentence("Hard stop"),
        Sentence("The server is being switched off"),
        Sentence("Switching the server off"),
        Sentence("The server is off"),
        Sentence("What is stored on its disks is kept."),
        frozenset({C, S}),
        recipe="power",
        wants=Desired.ACTIVE,
        power=True,
        ordered=Sentence("Hard stop ordered; this takes a moment."),
        ask=Sentence("Turns your server off like pulling the plug: unsaved data is lost."),
        ask_button=Sentence("Hard stop"),
    ),
    Kind(
        "boot_iso",
        Sentence("Start from the ISO"),
        Sentence("The server is restarting from the ISO"),
        Sentence("The start from the ISO"),
        Sentence("The server has started from the ISO"),
        Sentence("What is stored on its disks is kept."),
        frozenset({C}),
        wants=Desired.ACTIVE,
        watched=True,
        ask=Sentence(
            "Restarts your server once from the mounted ISO: the system inside is asked to shut down first, and"
            " switched off if it does not within a minute. The restart after that is from its own disk again."
        ),
        ask_button=Sentence("Boot from the ISO once"),
    ),
    Kind(
        "boot_disk",
        Sentence("Own disk first again"),
        Sentence("The server's own disk is being put first again"),
        Sentence("Putting the server's own disk first"),
        Sentence("The server starts from its own disk again"),
        Sentence("What is stored on its disks is kept."),
        frozenset({J}),
    ),
    Kind(
        "take_snapshot",
        Sentence("Snapshot"),
        Sentence("A snapshot is being taken"),
        Sentence("The snapshot"),
        Sentence("The snapshot is ready"),
        Sentence("Your server and your other snapshots are as they were."),
        frozenset({C}),
        costly=True,
    ),
    Kind(
        "rollback",
        Sentence("Rollback to a snapshot"),
        Sentence("The server goes back to a snapshot"),
        Sentence("Going back to the snapshot"),
        Sentence("The server is back at the snapshot"),
        Sentence("The snapshot is kept, so that you can go back to it again."),
        frozenset({C}),
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
        frozenset({C, J}),
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
        frozenset({C}),
        costly=True,
    ),
    Kind(
        "scheduled_backup",
        Sentence("Scheduled backup"),
        Sentence("The scheduled backup is running"),
        Sentence("The scheduled backup"),
        Sentence("The scheduled backup is ready"),
        Sentence("Your server and your earlier backups are as they were."),
        frozenset({J}),
    ),
    Kind(
        "delete_backup",
        Sentence("Removal of a backup"),
        Sentence("A backup is being removed"),
        Sentence("Removing the backup"),
        Sentence("The backup is removed"),
        Sentence("Your server is as it was; the backup may still be there."),
        frozenset({C}),
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
        frozenset({C}),
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
        frozenset({C}),
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
        frozenset({C}),
        costly=True,
        mail=Mail("reset", "Your new password", "the password of your server <strong>%s</strong> was reset."),
    ),
]
KINDS = {k.name: k for k in ALL}


def where(fits: Callable[[Kind], bool]) -> tuple[str, ...]:
    """The names of the kinds that fit."""
    return tuple(k.name for k in ALL if fits(k))


BILLING = where(lambda k: k.billing)
MAILS = ("ready", *(k.mail.reason for k in ALL if k.mail), "restored", "backup_failed")  # to customers
POWER = where(lambda k: k.power)


def running(name: str) -> str:
    """What customers read while it runs; of a kind that this release does not know, its name."""
    return KINDS[name].running if name in KINDS else name


def title(name: str) -> str:
    return KINDS[name].title if name in KINDS else name


def deed(name: str) -> str:
    """What staff read: the word of the button that they press, else what its customer reads too."""
    return (name in KINDS and KINDS[name].staff) or title(name)
