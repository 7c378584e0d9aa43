"""The trial driver by somebody who has not come to the network yet: it says so, and no plan can sell a rate or an
address."""

from __future__ import annotations

from drivers.trial import Trial


class Sloppy(Trial):
    name = "sloppy"
    delivers = frozenset()


DRIVER = Sloppy
