"""What translators get, and that a language is a file put in its place."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from flask import Flask, g

from bridge import kinds, languages
from bridge.model import Sentence
from bridge.web import filters, frame, language
from tests import messages


def test_the_template_is_one_that_gettext_takes(tmp_path: Path) -> None:
    catalog = messages.collect()
    assert len(catalog) > 250
    assert catalog.get("of %(n)d core").id == ("of %(n)d core", "of %(n)d cores")
    if shutil.which("msgfmt"):
        with (tmp_path / "x.pot").open("wb") as file:
            write_po(file, catalog)
        subprocess.run(
            ["msgfmt", "--check-format", "-o", "/dev/null", str(tmp_path / "x.pot")], check=True, capture_output=True
        )


def test_it_has_what_is_said_in_python_templates_and_steps() -> None:
    ids = {m.id if isinstance(m.id, str) else m.id[0] for m in messages.collect()}
    assert {
        "Take Snapshot",
        "Not part of your plan.",
        "Copying the template",
        "The system disk has %(size)s GB and cannot shrink to %(wanted)s GB.",
        "as of %(time)s ago",
        "%(what)s, as you ordered; try again when this is done.",
        "%(n)s %%",
        "Confirmation: type %(word)s in capital letters, exactly.",
    } <= ids
    assert not [
        m for m in ids if re.search(r"\{\w+\}", m)
    ]  # a value put in before the sentence is looked up would never be found
    words = [
        *frame.STATES.values(),
        *frame.SCRIPT.values(),
        *(s for k in kinds.ALL for s in (k.running, k.failed, k.succeeded)),
        *(s for k in kinds.ALL for s in (k.ask, k.ask_where_kept, k.ask_button) if s),
    ]
    assert {w.template for w in words} <= ids


def test_a_catalogue_in_its_place_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .po as translators hand it in; `make messages` compiles it, brings it up to the code and keeps what is
    translated."""
    monkeypatch.setattr(messages, "LOCALE", tmp_path)
    monkeypatch.setattr(messages, "POT", tmp_path / "vmbridge.pot")
    monkeypatch.setattr(messages, "ROOT", tmp_path.parent)
    german = Catalog(locale="de")
    for one, other in {
        "%(what)s; try again when this is done.": "%(what)s; danach geht es weiter.",
        "A backup is being made": "Eine Sicherung läuft",
        "%(time)s ago": "vor %(time)s",
    }.items():
        german.add(one, other)
    (tmp_path / "de/LC_MESSAGES").mkdir(parents=True)
    with (tmp_path / "de/LC_MESSAGES/vmbridge.po").open("wb") as file:
        write_po(file, german)
    monkeypatch.setattr(messages, "collect", lambda: german)
    messages.main()
    monkeypatch.setenv("VMBRIDGE_LOCALE", str(tmp_path))
    languages._catalogue.cache_clear()
    try:
        with Flask("x").app_context():
            g.language = languages.code_of("german")
            busy = Sentence("%(what)s; try again when this is done.", what=Sentence("A backup is being made"))
            assert language.translate(busy) == "Eine Sicherung läuft; danach geht es weiter."
            assert (filters.size(3 << 29), filters.when(86400, "Europe/Berlin"), filters.ago(120)) == (
                "1,5 GiB",
                "02.01.1970, 01:00",
                "vor 2 min",
            )
    finally:
        languages._catalogue.cache_clear()
    assert str(busy) == "A backup is being made; try again when this is done."  # English wherever it is only text


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.3, fr;q=0.9", "fr"),
        ("xx, pt-BR", "pt_BR"),
        ("pt-PT", "pt"),
        ("", "en"),
        ("*;q=x,,;", "en"),
        ("tlh", "en"),
    ],
)
def test_the_browsers_language_is_chosen_by_what_it_likes_best(header: str, code: str) -> None:
    assert languages.accepted(header) == code


def test_every_language_of_whmcs_has_its_numbers_dates_plurals_and_direction() -> None:
    for code in languages.CODES.values():
        assert re.fullmatch(r"1234[.,]5", languages.number_in(code, 1234.5, 1)), code
        said = languages.moment_in(code, datetime(2026, 1, 5, 2, 30, tzinfo=UTC))
        assert set(re.findall(r"\d+", said)) == {"2026", "01", "05", "02", "30"}, code
        assert said.endswith("02:30"), code
        assert languages.direction_of(code) == ("rtl" if code[:2] in ("ar", "fa", "he") else "ltr")
        forms = languages.plurals_in(code, "%(n)d day", "%(n)d days")
        assert all(forms[Locale.parse(languages.PSEUDO.get(code, code)).plural_form(n)] for n in range(1000)), code


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "run `qm unlock 20000` on <pve1>, `x<y`",
            "run <code>qm unlock 20000</code> on &lt;pve1&gt;, <code>x&lt;y</code>",
        ),
        ("one ` alone", "one ` alone"),
        ("", ""),
    ],
)
def test_commands_in_staffs_sentences(text: str, shown: str) -> None:
    assert filters.commands(text) == shown
