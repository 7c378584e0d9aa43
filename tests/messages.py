"""`make messages`: every sentence that a customer may read, as a gettext template for translators."""

from __future__ import annotations

import ast
from pathlib import Path

from jinja2 import Environment

ROOT = Path(__file__).parent.parent
POT = ROOT / "bridge/locale/vmbridge.pot"
WORDS = {"Sentence": 0, "translate": 0, "Step": 1}  # call -> which argument is the sentence
Message = tuple[str | None, str, str | None]  # context, sentence, plural
STAFF = ("admin", "service_tab")


def in_python(path: Path) -> list[tuple[int, Message]]:
    found: list[tuple[int, Message]] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.id
            if isinstance(node.func, ast.Name)
            else node.func.attr
            if isinstance(node.func, ast.Attribute)
            else ""
        )
        texts = [
            t.value for a in node.args for t in ast.walk(a) if isinstance(t, ast.Constant) and isinstance(t.value, str)
        ]
        if name == "pgettext" and len(texts) == 2:
            found.append((node.lineno, (texts[0], texts[1], None)))
        elif name in WORDS and len(node.args) > WORDS[name]:
            inside = [
                t.value
                for t in ast.walk(node.args[WORDS[name]])
                if isinstance(t, ast.Constant) and isinstance(t.value, str)
            ]
            found += [
                (node.lineno, (None, text, None))
                for text in inside
                if text and not isinstance(node.args[WORDS[name]], (ast.Subscript, ast.Call))
            ]
    return found


def in_template(path: Path) -> list[tuple[int, Message]]:
    found: list[tuple[int, Message]] = []
    for line, function, texts in Environment(extensions=["jinja2.ext.i18n"], autoescape=True).extract_translations(
        path.read_text("utf-8")
    ):
        if function == "ngettext" and isinstance(texts, tuple):
            found.append((line, (None, str(texts[0]), str(texts[1]))))
        else:
            text = texts[0] if isinstance(texts, tuple) else texts
            if text:
                found.append((line, (None, text, None)))
    return found


def collect() -> dict[Message, list[str]]:
    """Sentence -> where it stands."""
    found: dict[Message, list[str]] = {}
    for path in sorted(
        [
            *(ROOT / "bridge").rglob("*.py"),
            *(ROOT / "drivers").rglob("*.py"),
            *(ROOT / "bridge/templates").glob("*.html"),
        ]
    ):
        if path.stem.startswith(STAFF):
            continue
        for line, message in in_python(path) if path.suffix == ".py" else in_template(path):
            found.setdefault(message, []).append(f"{path.relative_to(ROOT)}:{line}")
    return found


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def template() -> str:
    parts = [
        'msgid ""\nmsgstr ""\n"Project-Id-Version: vmbridge\\n"\n"MIME-Version: 1.0\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n'
    ]
    for (context, one, many), places in collect().items():
        lines = [f"#: {place}" for place in places]
        if "%(" in one or "%" in one:
            lines.append("#, python-format")
        lines += [f"msgctxt {quoted(context)}"] if context else []
        lines.append(f"msgid {quoted(one)}")
        lines += [f"msgid_plural {quoted(many)}", 'msgstr[0] ""', 'msgstr[1] ""'] if many else ['msgstr ""']
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    POT.parent.mkdir(parents=True, exist_ok=True)
    POT.write_text(template(), "utf-8")
    print(f"{POT.relative_to(ROOT)}: {len(collect())} sentences")
