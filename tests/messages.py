"""`make messages`: every sentence that a customer may read, as a gettext template for translators, by Babel. What staff
reads is English."""

from __future__ import annotations

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "bridge/locale"
POT = LOCALE / "vmbridge.pot"
CALLS = {  # call -> which of its arguments are the sentence, its plural and its context; None: the first
    "_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "translate": None,
    "plural": (1, 2),
    "Sentence": None,
    "Step": (2,),
}
STAFF = ("admin", "service_tab")


def collect() -> Catalog:
    """Every sentence with where it stands."""
    catalogue = Catalog(project="vmbridge", charset="utf-8")
    for path in sorted(p for folder in ("bridge", "drivers") for p in (ROOT / folder).rglob("*") if p.is_file()):
        method = {".py": "python", ".html": "jinja2.ext:babel_extract"}.get(path.suffix)
        if method and not path.stem.startswith(STAFF) and "static" not in path.parts:
            with path.open("rb") as file:
                for line, message, _, context in extract(method, file, CALLS, options={"encoding": "utf-8"}):
                    catalogue.add(message, None, [(str(path.relative_to(ROOT)), line)], context=context)
    return catalogue


def main() -> None:
    """Write the template, bring each language's catalogue up to it and compile it."""
    LOCALE.mkdir(parents=True, exist_ok=True)
    template = collect()
    with POT.open("wb") as file:
        write_po(file, template, width=120)
    print(f"{POT.relative_to(ROOT)}: {len(template)} sentences")
    for path in sorted(LOCALE.glob("*/LC_MESSAGES/vmbridge.po")):
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.parent.parent.name)
        catalogue.update(template)
        with path.open("wb") as file:
            write_po(file, catalogue, width=120)
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, catalogue)
        missing = sum(not m.string or not any(m.string) for m in catalogue if m.id)
        print(f"{path.relative_to(ROOT)}: {missing} to translate")


if __name__ == "__main__":
    main()
