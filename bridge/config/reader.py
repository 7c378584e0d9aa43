"""One table through its schema: values of `env:` and `file:`, and every fault with its path. What a table may hold is
not known here."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields

from bridge.config.wording import MISSING, UNKNOWN, in_words, inner


class Reader:
    """One pass over the file; collects (path, code, text)."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, str, str]] = []
        self.sound: dict[str, dict[str, Any]] = {}  # path of a table with faults -> what is right in it

    def fault(self, path: str, code: str, text: str) -> None:
        self.faults.append((path, code, text))

    def resolve(self, value: Any, path: str) -> Any:
        """A value with `env:NAME` and `file:PATH` put in, at any depth; what is not there is a fault and an empty
        text."""
        if isinstance(value, dict):
            return {k: self.resolve(v, f"{path}.{k}") for k, v in value.items()}
        if isinstance(value, list):
            return [self.resolve(v, f"{path}[{i}]") for i, v in enumerate(value)]
        if isinstance(value, str) and value.startswith("env:"):
            if value[4:] not in os.environ:
                self.fault(path, "env_missing", f"the environment has no variable {value[4:]}")
                return ""
            return os.environ[value[4:]]
        if isinstance(value, str) and value.startswith("file:"):
            try:
                return Path(value[5:]).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as e:
                self.fault(path, "file_missing", f"cannot read {value[5:]}: {type(e).__name__}")
                return ""
        return value

    def unknown(self, path: str, known: Iterable[str]) -> None:
        near = difflib.get_close_matches(path.rsplit(".", 1)[-1], list(known), 1)
        self.fault(path, "unknown_key", "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))

    def load(self, schema: Schema, raw: Any, path: str, also: Iterable[str] = ()) -> dict[str, Any] | None:
        """`also` are keys known elsewhere, named in suggestions."""
        if not isinstance(raw, dict):
            self.fault(path, "not_a_table", "must be a table")
            return None
        unresolved = len(self.faults)
        value = self.resolve(raw, path)
        missing = {p for p, _, _ in self.faults[unresolved:]}
        try:
            return dict(schema.load(value))
        except ValidationError as e:
            self.sound[path] = {**self.sound.get(path, {}), **(e.valid_data if isinstance(e.valid_data, dict) else {})}
            self._walk(e.messages, path, schema, [*schema.fields, *also], missing)
            return None

    def _walk(self, messages: Any, path: str, at: Any, known: list[str], missing: set[str]) -> None:
        """`at` is the schema or field that the messages are of."""
        if isinstance(messages, dict):
            for key, more in messages.items():
                if isinstance(at, fields.Dict) and isinstance(more, dict):  # of its names and of its values
                    for part in more.values():
                        self._walk(part, f"{path}.{key}", None, known, missing)
                    continue
                where = path if key == "_schema" else f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
                self._walk(more, where, at if key == "_schema" else inner(at, key), known, missing)
            return
        if path in missing:
            return
        for text in messages:
            if text == UNKNOWN:
                self.unknown(path, known)
            else:
                self.fault(path, "missing" if text == MISSING else "invalid", in_words(text, at))
