"""What is wrong in a configuration is said in people's words, with the key's path and never with what was given: it may
be a secret."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from marshmallow import Schema, fields

from bridge import config
from bridge.config.plans import PlanSchema
from bridge.config.pools import PoolSchema
from bridge.config.reader import Reader
from bridge.config.schemas import SINGLE, WhmcsSchema
from bridge.errors import ConfigError
from drivers import folder
from tests.configs import raw_config

LIBRARYS = re.compile(
    r"Not a valid|Missing data|may not be null|minimum length|maximum length|Length must|Must be (greater|less|one of)"
    r"|expected pattern|Invalid (input|type|value)|Unknown field|too large\."
)
WRONG = (
    None,
    "",
    "hush-hush\n",
    "x" * 300,
    10**30,
    -1,
    1.5,
    True,
    [],
    [None],
    [[]],
    ["hush-hush"],
    {},
    {"hush-hush": []},
    [{"id": 1}],
)


def schemas() -> list[Schema]:
    drivers = [folder.load(n) for n in folder.names()]
    return [
        *(s() for s in SINGLE.values()),
        WhmcsSchema(),
        PlanSchema(),
        PoolSchema(),
        *(d.server_schema() for d in drivers),
        *(d.plan_schema() for d in drivers),
    ]


def test_no_message_is_the_librarys_own() -> None:
    told = 0
    for schema in schemas():
        for key in schema.fields:
            for value in WRONG:
                r = Reader()
                r.load(schema, {key: copy.deepcopy(value)}, "table")
                for path, code, text in r.faults:
                    assert path.startswith("table"), (key, value, text)
                    assert code, (key, value, text)
                    assert text, (key, value, text)
                    assert not LIBRARYS.search(text), (key, value, text)
                    told += path == f"table.{key}"
    assert told > 400


@pytest.mark.parametrize(
    ("path", "value", "where", "text"),
    [
        ("whmcs/main/keys/0/secret", "hush", "whmcs.main.keys[0].secret", "must have at least 16 characters"),
        ("whmcs/main/keys/0/secret", 7, "whmcs.main.keys[0].secret", "must be a text in quotes"),
        ("whmcs/main/keys", [], "whmcs.main.keys", "must have 1 to 2 entries"),
        ("whmcs/main/keys", ["hush"], "whmcs.main.keys[0]", "must be a table"),
        ("whmcs/main/keys/0/id", "a b", "whmcs.main.keys[0].id", "must be 1 to 64 letters, digits, dots, _ or -"),
        (
            "plans/kvm-s/manual_url",
            "hush",
            "plans.kvm-s.manual_url",
            "must be a web address, e.g. https://host.example.com",
        ),
        ("whmcs/main/mail_templates", {"redy": "x"}, "whmcs.main.mail_templates.redy", "must be one of: "),
        ("plans/kvm-s/cores", 0, "plans.kvm-s.cores", "must be from 1 to 512"),
        ("plans/kvm-s/cores", "two", "plans.kvm-s.cores", "must be a whole number"),
        ("plans/kvm-s/templates", [], "plans.kvm-s.templates", "must name at least one"),
        ("plans/kvm-s/clone", "half", "plans.kvm-s.clone", "must be one of: full, linked"),
        ("plans/kvm-s/onboot", "maybe", "plans.kvm-s.onboot", "must be true or false"),
        ("servers/pve1/token_secret", "", "servers.pve1.token_secret", "must not be empty"),
        ("pools/public-v4/gateway", "gate", "pools.public-v4.gateway", "must be an IP address"),
    ],
)
def test_the_words(path: str, value: Any, where: str, text: str) -> None:
    raw: Any = copy.deepcopy(raw_config())
    *parents, last = path.split("/")
    at = raw
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    at[last] = value
    with pytest.raises(ConfigError) as caught:
        config.from_dict(raw)
    said = {p: t for p, _, t in caught.value.faults}
    assert said[where].startswith(text), said
    assert "hush" not in str(caught.value)


def test_a_field_of_every_kind_is_known() -> None:
    """A new kind of field or check shows up here: its message needs words."""
    kinds = {type(f) for s in schemas() for f in s.fields.values()}
    assert kinds <= {
        fields.Str,
        fields.String,
        fields.Int,
        fields.Integer,
        fields.Bool,
        fields.Boolean,
        fields.List,
    } | {
        fields.Dict,
        fields.Url,
        fields.URL,
        fields.IP,
        fields.Nested,
        fields.Float,
        fields.Raw,
    }, kinds
