"""The steps of the release whose operations stood at a number, so that theirs go on at a name."""

from __future__ import annotations

from sqlite_utils import Database

FORMER = {
    "create": "place copy copied identify configure start running answering addresses ready",
    "suspend": "settle remember_power autostart_off close_network off stopped",
    "unsuspend": "open_network configure start running unsuspended configure_again",
    "terminate": "settle prove traffic off stopped destroy gone sweep release backups",
    "converge": "configure",
    "change_package": "configure start running changed",
    "change_while_suspended": "settle remember_power autostart_off close_network off stopped configure",
    "change_password": "tell_password",
    "redeploy": "begin_anew settle prove traffic off stopped destroy gone sweep renew_identity place copy copied"
    " identify configure start running answering addresses ready",
    "clean_up": "absent remove removed",
    "restore": "check_archive remember off stopped restore restored configure start running told",
    "reinstall": "password remember check off stopped replace_disks configure start running answering mail",
    "reset_password": "reset mail",
    "take_snapshot": "take taken",
    "delete_snapshot": "delete deleted",
    "rollback": "remember roll_back rolled_back configure start running",
    "take_backup": "room back_up backed_up",
    "scheduled_backup": "room back_up backed_up rotate",
    "delete_backup": "delete deleted",
    "power": "act settled",
}
VARIANTS = {
    **dict.fromkeys(("start", "stop", "reboot", "hard_stop"), ("power",)),
    "unsuspend": ("unsuspend", "create", "redeploy"),
    "change_package": ("change_package", "create", "redeploy", "change_while_suspended"),
    "change_package of an unfinished one": ("change_package", "create", "redeploy", "suspend"),
}


def place(db: Database, key: str, kind: str, number: int) -> tuple[str, str]:
    """(recipe, step) of an operation that has gone on to a number: the recipe whose names its log has."""
    logged = {r[0]: r[1] for r in db.execute("SELECT position, name FROM steps WHERE operation = ?", [key])}
    for recipe in VARIANTS.get(kind, (kind,)):
        names = FORMER[recipe].split()
        if all(at < len(names) and names[at] == name for at, name in logged.items()):
            return recipe, names[number] if number < len(names) else "end"
    return kind, f"number {number}"  # no step is called so: it waits for staff
