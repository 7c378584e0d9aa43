"""The quick answer whether a reply fits its shape is the thorough one's."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.hetzner import replies as hetzner
from drivers.proxmox import replies as proxmox
from drivers.shapes import ANYTHING, FLAG, NUMBER, SCALAR, TEXT, ByKey, Each, Maybe, all_fit, checking, matching, wrong

SINGLE = st.sampled_from([TEXT, NUMBER, FLAG, SCALAR, ANYTHING, matching("[a-c]+")])
KEYS = st.sampled_from(["a", "b", "c"])
SHAPES = st.recursive(
    SINGLE,
    lambda inner: st.one_of(
        inner.map(Maybe),
        inner.map(Each),
        inner.map(lambda s: [s]),
        st.dictionaries(KEYS, inner, max_size=3),
        st.builds(ByKey, KEYS, st.dictionaries(st.sampled_from(["abc", "12"]), inner, max_size=2)),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.sampled_from(
        [None, True, 0, 1, -3, 2**64, 2**64 - 1, -(2**64), 1.5, math.inf, math.nan, "", "abc", "12", "9" * 25]
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(SHAPES, VALUES)
@settings(max_examples=400, deadline=None)
def test_both_say_the_same(shape: Any, value: Any) -> None:
    assert all_fit(shape)([value]) is (wrong(shape, value) == "")
    assert checking(shape)(value) == wrong(shape, value).strip()


@pytest.mark.parametrize("value", [None, [], {}, "", 3, [{"vmid": "x"}], {"servers": [{"id": None}]}])
@pytest.mark.parametrize("shapes", [proxmox.SHAPES, hetzner.SHAPES])
def test_of_every_reply(shapes: list[tuple[str, str, Any]], value: Any) -> None:
    for _, _, shape in shapes:
        assert checking(shape)(value) == wrong(shape, value).strip()
