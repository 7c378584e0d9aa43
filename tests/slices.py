"""What `make test` plays of a product of kinds and points, of which `make matrix` plays all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, cycle, islice
from typing import TypeVar

Kind, Point = TypeVar("Kind"), TypeVar("Point")


def covering(
    kinds: Sequence[Kind], points: Iterable[Point], each: int = 3, turn: int = 0
) -> dict[Point, tuple[Kind, ...]]:
    """The kinds that each point meets: `each` of them, at the next point those that follow, so that each kind has its
    points, and each point its kinds. Where there are few points they meet as many as it takes. `turn`: with which kind
    it begins; another one for each verb, so that the same point meets other kinds there."""
    places = list(points)
    if not places:
        return {}
    many = min(len(kinds), max(each, -(-len(kinds) // len(places))))
    first = turn % len(kinds)
    line = cycle(chain(kinds[first:], kinds[:first]))
    return {place: tuple(islice(line, many)) for place in places}
