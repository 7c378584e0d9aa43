"""What the store asks of a database: the verbs that its queries stand on. Two engines give them, `sqlite` and
`postgres`; the text of a query is the same for both, with `?` or `?1` for a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from bridge.errors import StoreUnavailable
from bridge.store.holdings import Holdings, Ranges, Restored

Rows = list[tuple[Any, ...]]


class Cursor(Protocol):
    """`rowcount`: rows touched."""

    @property
    def rowcount(self) -> int: ...

    @property
    def description(self) -> Sequence[Any] | None: ...  # of each column one whose first part is its name

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    def execute(self, sql: str, args: Sequence[Any] = ..., /) -> Cursor: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Cursor: ...


class Writing(Protocol):
    """A change that has begun."""

    @property
    def conn(self) -> Connection: ...


class Database(Protocol):
    """One store's, opened once per process, for any thread. Raises StoreUnavailable where it takes no changes now or
    does not answer, StoreDamaged where it cannot be read. `patience`: seconds that a change waits for its turn."""

    patience: float
    begins_itself: bool  # an empty one is a first start, since something beside it tells when there was one before

    @property
    def place(self) -> str:
        """What people know it by; never with a password."""
        ...

    def hold(self) -> None:
        """Say that this process uses it, until `close`."""
        ...

    def stands(self) -> None:
        """Raises StoreDamaged when it was here and is not any more, or may not be worked with; StoreUnavailable when it
        does not answer."""
        ...

    def whole(self) -> None:
        """Look at all of it, where nobody else does. Raises StoreDamaged."""
        ...

    def told(self, e: StoreUnavailable, key: str, config: str) -> str:
        """One line for whoever sits at the command line: what is wrong with it, what to do."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """While nobody else uses it, and nobody can begin to. Raises Refused when somebody does."""
        ...

    def tables(self) -> dict[str, list[str]]:
        """Our tables, by name: their columns."""
        ...

    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, sql: str, args: tuple[Any, ...]) -> tuple[list[str], Rows]:
        """(names of the columns, rows), in the change that this thread has begun, else of what is there."""
        ...

    def write(self) -> AbstractContextManager[Writing]:
        """One change, all or nothing, alone among all writers from its first statement. Nested use joins the outer
        one."""
        ...

    def migrate(self, allowed: Callable[[], None] = ...) -> list[str]:
        """Bring it to this release, alone; names of what was applied. `allowed` raises what stands against it, before
        anything is touched."""
        ...

    def pending(self) -> list[str]: ...

    def applied(self) -> list[str]: ...

    def fits(self, key: str) -> bool:
        """Whether what is sealed here can be read with the key; an empty one fits any."""
        ...

    def take(self, target: Path, force: bool) -> tuple[int, Holdings]:
        """Copy it, also while it is used, into a file that must not be there yet, unless `force`; bytes written and
        what they hold. Raises Refused."""
        ...

    def put_back(
        self,
        copy: Path,
        key: str,
        ranges: Ranges,
        now: float,
        stamp: str,
        skip: int | None,
        without_key: bool,
        /,
    ) -> Restored:
        """Replace it by a copy, alone. `ranges` are the configured VM ids per server, `stamp` ends the name that the
        replaced one gets. Raises Refused, and has then changed nothing."""
        ...

    def close(self) -> None: ...
