"""Whose the store's files are: what root makes beside somebody's store is theirs, or the service could not open it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def model(path: str | Path) -> Path:
    """Whose owner a file beside the store gets: the store's own file, before there is one its folder."""
    return Path(path) if Path(path).exists() else Path(path).absolute().parent


def give(file: str | Path, like: Path) -> None:
    """The owner and group of `like`, where we may give that: as root."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def begin(path: str | Path) -> None:
    """The empty file of a store that is made now, for its owner alone."""
    if Path(path).exists():
        return
    folder = model(path)
    with suppress(FileExistsError):  # another thread was first, and may hold SQLite's locks on it by now
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        give(path, folder)
