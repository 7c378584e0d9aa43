"""Host names are made in one place, from any text, and every back end takes them."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from bridge import names

DNS_NAME = re.compile(
    r"([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
)  # pve-common
LABELS = st.text("abxyz019-_", max_size=70)
TEXTS = st.one_of(st.text(max_size=300), st.lists(LABELS, max_size=6).map(".".join), st.from_regex(r"[^.]{50,70}\.com"))


@given(TEXTS)
@example("x" * 62 + "-shop.example.com")
@example("x" * 63 + ".example.com")
@example("a" * 30 + "." + "b" * 31 + "-c.com")
@example("\u65e5\u672c\u8a9e" * 30)
@example("\u0130.\u1e9e.\u2024")
@example("..")
@example("")
def test_any_text_becomes_a_name(text: str) -> None:
    name = names.host_name(text)
    labels = name.split(".")
    assert 0 < len(name) <= 63
    assert all(0 < len(label) <= 63 for label in labels)
    assert DNS_NAME.fullmatch(name)
    assert names.is_host_name(name)
    assert name == name.lower()
    assert names.host_name(name) == name == names.host_name(text)
    assert isinstance(
        yaml.safe_load(f"hostname: {labels[0]}")["hostname"], str
    )  # as Proxmox writes it into cloud-init's data


@given(st.from_regex(r"[a-z][a-z0-9]{1,10}[a-z]x(\.[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?){0,3}", fullmatch=True))
def test_a_good_name_stays_as_it_is(name: str) -> None:
    assert names.host_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Shop_1.Example.COM.", "shop-1.example.com"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("M\u00fcller & S\u00f6hne", "xn--mller-shne-kcb9d"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a--b.example", "a--b.example"),
        ("-a-.-b-", "a.b"),
        ("203.0.113.5", "vm-203.0.113.5"),
        ("no.example", "vm-no.example"),
        ("2026-01-01", "vm-2026-01-01"),
        ("x" * 40 + ".y." + "z" * 40 + ".com", "x" * 40 + ".y"),
        (" \t\n", "fallback"),
    ],
)
def test_how_a_name_is_made(text: str, name: str) -> None:
    assert names.host_name(text, "fallback") == name
