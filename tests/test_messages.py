"""What translators get, and that a language is a file put in its place."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from flask import Flask, g

from bridge import kinds, languages
from bridge.model import Sentence
from bridge.web import filters, frame, language
from tests import messages


def test_the_template_is_one_that_gettext_takes(tmp_path: Path) -> None:
    text = messages.template()
    assert (
        text.count("\nmsgid ") == len(messages.collect()) > 250
        and 'msgctxt "decimal separator"' in text
        and 'msgid_plural "%% of %(n)d cores"' in text
    )
    if shutil.which("msgfmt"):
        (tmp_path / "x.pot").write_text(text, "utf-8")
        subprocess.run(
            ["msgfmt", "--check-format", "-o", "/dev/null", str(tmp_path / "x.pot")], check=True, capture_output=True
        )


def test_it_has_what_is_said_in_python_templates_and_steps() -> None:
    found = {one for _, one, _ in messages.collect()}
    assert {
        "Take Snapshot",
        "Not part of your plan.",
        "Copying the template",
        "The system disk has %(size)s GB and cannot shrink to %(wanted)s GB.",
        "as of %(time)s ago",
        "%(what)s; try again when this is done.",
        "%% of %(n)d core",
        "%Y-%m-%d %H:%M",
        "Confirmation: type %(word)s in capital letters, exactly.",
    } <= found
    assert not [
        m for m in found if re.search(r"\{\w+\}", m)
    ]  # a value put in before the sentence is looked up would never be found
    words = [
        *frame.STATES.values(),
        *frame.SCRIPT.values(),
        *(s for k in kinds.ALL for s in (k.running, k.failed, k.succeeded)),
        *(s for k in kinds.ALL for s in (k.ask, k.ask_where_kept, k.ask_button) if s),
    ]
    assert {w.template for w in words} <= found


def mo(entries: dict[str, str]) -> bytes:
    """A gettext catalogue."""
    keys = sorted(entries)
    ids, texts = [k.encode() for k in keys], [entries[k].encode() for k in keys]
    at, tables = 28 + 16 * len(keys), b""
    for group in (ids, texts):
        for text in group:
            tables += struct.pack("<II", len(text), at)
            at += len(text) + 1
    return (
        struct.pack("<7I", 0x950412DE, 0, len(keys), 28, 28 + 8 * len(keys), 0, 0)
        + tables
        + b"".join(t + b"\0" for t in ids + texts)
    )


def test_a_catalogue_in_its_place_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "de/LC_MESSAGES").mkdir(parents=True)
    (tmp_path / "de/LC_MESSAGES/vmbridge.mo").write_bytes(
        mo(
            {
                "": "Content-Type: text/plain; charset=UTF-8\n",
                "%(what)s; try again when this is done.": "%(what)s; danach geht es weiter.",
                "A backup is being made": "Eine Sicherung läuft",
                "decimal separator\x04.": ",",
                "%Y-%m-%d %H:%M": "%d.%m.%Y %H:%M",
                "%(time)s ago": "vor %(time)s",
            }
        )
    )
    monkeypatch.setenv("VMBRIDGE_LOCALE", str(tmp_path))
    languages._catalogue.cache_clear()
    try:
        with Flask("x").app_context():
            g.language = languages.code_of("german")
            busy = Sentence("%(what)s; try again when this is done.", what=Sentence("A backup is being made"))
            assert language.translate(busy) == "Eine Sicherung läuft; danach geht es weiter."
            assert (filters.size(3 << 29), filters.when(86400, "Europe/Berlin"), filters.ago(120)) == (
                "1,5 GiB",
                "02.01.1970 01:00",
                "vor 2 min",
            )
    finally:
        languages._catalogue.cache_clear()
    assert str(busy) == "A backup is being made; try again when this is done."  # English wherever it is only text
