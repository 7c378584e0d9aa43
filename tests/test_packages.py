"""The table of options: every position and every configurable word, what is inherited, what is refused and in which
words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bridge import config as config_module
from bridge.config import Config
from bridge.errors import BadRequest, NotBuilt, Refused, RequestError
from bridge.model import LIMITS, OPTION_WORDS, PERMISSIONS, Package
from bridge.orders import packages
from tests.configs import raw_config

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
PLAN = {
    "cores": 2,
    "ram_mib": 2048,
    "disk_gib": 20,
    "rate_mbit": 200,
    "additional_disk_gib": 5,
    "extra_ipv4": 1,
    "extra_ipv6": 1,
    **{word: 50 for word in LIMITS},
}


def made(**options: str) -> Config:
    raw = raw_config(options=options)
    raw["pools"]["public-v6"] = {"ranges": ["2001:db8::10-2001:db8::ff"], "prefix": 64, "gateway": "2001:db8::1"}
    raw["plans"]["kvm-s"] |= {
        "locations": ["pve1", "pve2"],
        "templates": ["debian-12", "ubuntu-24.04"],
        "pools": ["public-v4", "public-v6"],
        "ssh_keys_field": "SSH key",
        "allow": ["console"],
        **{k: v for k, v in PLAN.items()},
    }
    raw["plans"]["bare"] = {
        k: v
        for k, v in raw["plans"]["kvm-s"].items()
        if k in ("server", "cores", "ram_mib", "disk_gib", "storage", "pools")
    } | {"templates": ["debian-12"]}
    raw["servers"]["pve9"] = {**raw["servers"]["pve1"]}
    raw["plans"]["elsewhere"] = {**raw["plans"]["bare"], "server": "pve9"}
    return config_module.from_dict(raw)


CONFIG = made()


def resolve(config: Config = CONFIG, before: Package | None = None, **params: Any) -> packages.Resolved:
    return packages.resolve({"configoption1": "kvm-s", **params}, "pve1", config, before)


def package(**params: Any) -> Package:
    return resolve(**params).package


def has(package_: Package, word: str) -> Any:
    if word in LIMITS:
        return package_.limits.get(word, 0)
    return getattr(package_, {"ram_gib": "ram_mib"}.get(word, word))


# word, position (0 = configurable option only), a usual name, value, what the package has then
TABLE = [
    ("location", 2, "Location", "pve2", "pve2"),
    ("cores", 4, "CPU", "4", 4),
    ("ram_gib", 5, "Memory", "8", 8192),
    ("ram_gib", 5, "RAM", "0.5", 512),
    ("ram_gib", 5, "RAM", "1.25", 1280),
    ("disk_gib", 6, "Disk", "80", 80),
    ("additional_disk_gib", 7, "Additional Disk", "100", 100),
    ("rate_mbit", 8, "Network", "1000", 1000),
    ("extra_ipv4", 9, "Extra IPv4", "3", 3),
    ("extra_ipv6", 10, "Extra IPv6", "2", 2),
    ("template", 0, "Operating System", "ubuntu-24.04", "ubuntu-24.04"),
    *[(word, 0, word, "120", 120) for word in LIMITS],
]
CLOUDS = dataclasses.replace(
    CONFIG.plans["kvm-s"],
    values={**CONFIG.plans["kvm-s"].values, **dict.fromkeys(("rate_mbit", "additional_disk_gib", *LIMITS), 0)},
)
NAMED = made(**({word: word for word in OPTION_WORDS} | {row[2]: row[0] for row in TABLE}))


@pytest.mark.parametrize(("word", "name", "value", "want"), [(w, n, v, x) for w, _, n, v, x in TABLE])
@pytest.mark.parametrize("style", ["plain", "with a label", "number"])
def test_every_configurable_word(word: str, name: str, value: str, want: Any, style: str) -> None:
    given: Any = {
        "plain": value,
        "with a label": f" {value} |{value} of it",
        "number": int(value) if value.isdigit() else value,
    }[style]
    resolved = resolve(NAMED, configoptions={name: given})
    assert has(resolved.package, word) == want
    assert resolved.warnings == ()
    assert dataclasses.replace(resolved.package, **_set(resolved.package, word)) == package()


def _set(package_: Package, word: str) -> dict[str, Any]:
    """Undo one word: all the others must be the plan's."""
    if word in LIMITS:
        return {"limits": {**package_.limits, word: PLAN[word]}}
    field = {"ram_gib": "ram_mib"}.get(word, word)
    return {field: {"location": "", "template": "debian-12"}.get(field, PLAN.get(field))}


@pytest.mark.parametrize(("position", "word", "value", "want"), [(p, w, v, x) for w, p, _, v, x in TABLE if p])
@pytest.mark.parametrize("label", ["", "|with a label"])
def test_every_position(position: int, word: str, value: str, want: Any, label: str) -> None:
    assert has(package(**{f"configoption{position}": value + label}), word) == want


@pytest.mark.parametrize("blank", ["", "  ", None, "|nothing"])
@pytest.mark.parametrize("how", ["position", "option"])
def test_blank_inherits(blank: Any, how: str) -> None:
    if how == "position":
        assert package(**{f"configoption{i}": blank for i in range(2, 25)}) == package()
    else:
        assert resolve(NAMED, configoptions=dict.fromkeys(OPTION_WORDS, blank)) == resolve(NAMED)


def test_the_plan_alone() -> None:
    of_plan = package()
    assert {w: has(of_plan, w) for w in PLAN if w not in LIMITS} == {k: v for k, v in PLAN.items() if k not in LIMITS}
    assert of_plan.limits == {w: 50 for w in LIMITS}
    assert of_plan.template == "debian-12"
    assert of_plan.location == ""
    assert of_plan.templates == ("debian-12", "ubuntu-24.04")
    assert set(of_plan.permissions.values()) == {"plan"}


@pytest.mark.parametrize("zero", ["0", 0, "0|None", "0.0"])
@pytest.mark.parametrize("word", ["additional_disk_gib", "extra_ipv4", "extra_ipv6", "rate_mbit", *LIMITS])
def test_zero_is_none_or_unlimited(word: str, zero: Any) -> None:
    assert has(resolve(NAMED, configoptions={word: zero}).package, word) == 0


@pytest.mark.parametrize("position", [7, 8, 9, 10])
def test_zero_at_a_position(position: int) -> None:
    assert has(package(**{f"configoption{position}": "0"}), packages.WORDS[position]) == 0


@pytest.mark.parametrize("position", [2, 14, 24])
def test_zero_where_nothing_is_built_or_named(position: int) -> None:
    assert package(**{f"configoption{position}": "0"}) == package()


def test_an_option_beats_the_position_and_the_position_beats_the_plan() -> None:
    assert has(package(configoption4="8"), "cores") == 8
    assert has(package(configoption4="8", configoptions={"CPU": "16"}), "cores") == 16
    assert has(package(configoption4="8", configoptions={"CPU": ""}), "cores") == 8
    assert has(package(configoption7="10", configoptions={"Additional Disk": 0}), "additional_disk_gib") == 0


# -- refused ----------------------------------------------------------------------------------------
WRONG = [
    (
        "cores",
        "CPU",
        "CPU",
        "512",
        ["0", "513", "-1", "1.5", "two", "1e2", "+4", "1_0", "٤", "4 vCPU", "9" * 200, "NaN", "Infinity", "0x4"],
    ),
    ("ram_gib", "RAM", "0.25 to 16384", "steps of 0.0625", ["0", "0.1", "2.3", "16385", "lots"]),
    ("disk_gib", "Disk", "1 to 65536", "whole number", ["0", "65537", "10G"]),
    ("additional_disk_gib", "Additional Disk", "0 to 65536", "whole number", ["-1", "none", "0.5"]),
    ("rate_mbit", "Network", "0 to 1000000", "whole number", ["unlimited", "1000001"]),
    ("extra_ipv4", "Extra IPv4", "0 to 256", "whole number", ["257", "yes"]),
    ("extra_ipv6", "Extra IPv6", "0 to 256", "whole number", ["257", "/64"]),
    *[(word, word, "0 to 1000000", "whole number", ["1000001", "fast"]) for word in LIMITS],
    ("location", "Location", "pve1, pve2", "is not one of", ["pve3", "PVE1"]),
    ("template", "Operating System", "debian-12, ubuntu-24.04", "is not one of", ["windows", "0"]),
]


@pytest.mark.parametrize(
    ("name", "first", "second", "value"), [(n, a, b, v) for _, n, a, b, values in WRONG for v in values]
)
def test_a_wrong_option_is_named_with_what_is_allowed(name: str, first: str, second: str, value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        resolve(NAMED, configoptions={name: value})
    sentence = caught.value.sentence
    assert f"configurable option {name!r}: " in sentence
    assert first in sentence
    assert second in sentence
    assert caught.value.code == "bad_option"
    assert value[:50] in sentence
    assert len(sentence) < 250
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("position", "value", "words"),
    [
        (2, "pve3", ("location: 'pve3'", "pve1, pve2")),
        (3, "debian-12,windows", ("OS templates: 'windows'", "debian-12, ubuntu-24.04")),
        (4, "0", ("cores: '0'", "1 to 512")),
        (5, "x", ("RAM GiB: 'x'", "0.25 to 16384")),
        (6, "0", ("system disk GiB: '0'", "1 to 65536")),
        (7, "-5", ("additional disk GiB: '-5'", "0 to 65536")),
        (8, "fast", ("network Mbit/s: 'fast'", "0 to 1000000")),
        (11, "all", ("backup quota: 'all'", "0 to 1000")),
        (12, "2.5", ("snapshot quota: '2.5'", "0 to 100")),
        (9, "1.5", ("extra IPv4: '1.5'", "0 to 256")),
        (10, "999", ("extra IPv6: '999'", "0 to 256")),
        *[(15 + i, "yes", (f"permission {name}: 'yes'", "plan, allow or deny")) for i, name in enumerate(PERMISSIONS)],
    ],
)
def test_a_wrong_position_is_named_with_what_is_allowed(position: int, value: str, words: tuple[str, str]) -> None:
    with pytest.raises(BadRequest) as caught:
        package(**{f"configoption{position}": value})
    assert all(w in caught.value.sentence for w in words), caught.value.sentence


@pytest.mark.parametrize(("position", "name"), [(24, "option 24")])
def test_what_is_not_built_is_refused_by_name(position: int, name: str) -> None:
    with pytest.raises(NotBuilt, match=f"cannot be delivered yet: .*{name}.*Leave it blank or 0"):
        package(**{f"configoption{position}": "3"})


def test_everything_that_is_not_built_is_named_at_once() -> None:
    with pytest.raises(NotBuilt) as caught:
        package(configoption14="3", configoption24="7")
    assert "ticket department" not in caught.value.sentence
    assert "option 24" in caught.value.sentence


def test_a_department_for_reverse_dns_is_a_name_or_a_number() -> None:
    assert package().rdns_department == package(configoption14="0").rdns_department == ""
    assert package(configoption14="3|Support").rdns_department == "3"
    assert package(configoption14="Technical support").rdns_department == "Technical support"
    with pytest.raises(BadRequest, match="ticket department"):
        package(configoption14="x" * 101)


@pytest.mark.parametrize(("position", "field"), [(11, "backups"), (12, "snapshots"), (13, "snapshot_lifetime_h")])
def test_quotas_come_from_plan_product_and_option(position: int, field: str) -> None:
    assert getattr(package(**{f"configoption{position}": "5|five"}), field) == 5
    assert getattr(package(**{f"configoption{position}": "0"}), field) == 0
    with pytest.raises(BadRequest, match="must be a whole number from 0 to"):
        package(**{f"configoption{position}": "-1"})


@pytest.mark.parametrize(
    ("plan", "server", "kind", "words"),
    [
        ("nothing", "pve1", BadRequest, ("plan: 'nothing'", "bare, kvm-s")),
        ("", "pve1", BadRequest, ("plan: ''", "bare, kvm-s")),
        ("nothing", "pve5", BadRequest, ("none (server 'pve5' has no plans)",)),
        ("elsewhere", "pve1", Refused, ("'pve1'", "'elsewhere'", "'pve9'")),
    ],
)
def test_a_wrong_plan(plan: str, server: str, kind: type[RequestError], words: tuple[str, ...]) -> None:
    with pytest.raises(kind) as caught:
        packages.resolve({"configoption1": plan}, server, CONFIG)
    assert all(w in caught.value.sentence for w in words), caught.value.sentence


def test_a_location_of_a_plan_without_locations() -> None:
    with pytest.raises(BadRequest, match=r"none \(plan 'bare' has no locations\)"):
        package(configoption1="bare", configoption2="pve1")


@pytest.mark.parametrize("table", ["configoptions", "customfields"])
def test_tables_must_be_tables(table: str) -> None:
    assert package(**{table: []}) == package(**{table: None}) == package()  # PHP writes an empty table as []
    with pytest.raises(BadRequest, match=table):
        package(**{table: ["x"]})


# -- names of configurable options ------------------------------------------------------------------
@pytest.mark.parametrize("name", ["cpu", " CPU ", "Cpu", "CPU|Number of processors"])
def test_names_are_compared_without_case_blanks_and_label(name: str) -> None:
    assert has(package(configoptions={name: "6"}), "cores") == 6


@pytest.mark.parametrize("value", ["3", "0", "", "x" * 500])
def test_an_unknown_name_gives_a_warning(value: str) -> None:
    resolved = resolve(configoptions={"Support level": value})
    assert resolved.package == package()
    assert len(resolved.warnings) == 1
    assert len(resolved.warnings[0]) < 200
    assert "'Support level'" in resolved.warnings[0]
    assert "[options]" in resolved.warnings[0]


def test_the_table_maps_renames_and_ignores() -> None:
    config = made(**{"Prozessoren": "cores", "CPU": "", "Support level": "", "Memory": "disk_gib"})
    resolved = resolve(config, configoptions={"Prozessoren": "8", "CPU": "64", "Support level": "gold", "memory": "33"})
    assert (resolved.package.cores, resolved.package.disk_gib, resolved.package.ram_mib, resolved.warnings) == (
        8,
        33,
        2048,
        (),
    )


def test_two_options_of_the_same_thing() -> None:
    with pytest.raises(BadRequest) as caught:
        package(configoptions={"CPU": "4", "Cores": "8|8 cores"})
    assert all(w in caught.value.sentence for w in ("'CPU'", "'Cores'", "'4'", "'8'", "same thing"))
    assert has(package(configoptions={"CPU": "4", "Cores": "4|four"}), "cores") == 4
    assert has(package(configoptions={"CPU": "", "Cores": "4"}), "cores") == 4


@pytest.mark.parametrize("word", ["additional_disk_gib", "rate_mbit", *LIMITS])
def test_words_that_the_plans_server_does_not_deliver(word: str) -> None:
    config = dataclasses.replace(NAMED, servers={"pve1": {"driver": "hetzner"}}, plans={"kvm-s": CLOUDS})
    with pytest.raises(NotBuilt) as caught:
        resolve(config, configoptions={word: "10", "CPU": "2"})
    sentence = caught.value.sentence
    assert "plan 'kvm-s'" in sentence
    assert f"{word!r}" in sentence
    assert "'CPU'" not in sentence
    assert "It can have: backups, cores, disk_gib, extra_ipv4, extra_ipv6, ram_gib" in sentence
    assert not has(resolve(config, configoptions={word: "0"}).package, word)


# -- templates, locations, permissions, keys ---------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "want", "default"),
    [
        ("", ("debian-12", "ubuntu-24.04"), "debian-12"),
        ("ubuntu-24.04", ("ubuntu-24.04",), "ubuntu-24.04"),
        (" ubuntu-24.04 , debian-12,", ("ubuntu-24.04", "debian-12"), "ubuntu-24.04"),
        ("debian-12,debian-12", ("debian-12",), "debian-12"),
    ],
)
def test_the_products_templates(given: str, want: tuple[str, ...], default: str) -> None:
    ordered = package(configoption3=given)
    assert ordered.templates == want
    assert ordered.template == default


def test_a_template_that_the_product_does_not_offer() -> None:
    with pytest.raises(BadRequest, match=r"'ubuntu-24\.04' is not one of: debian-12"):
        package(configoption3="debian-12", configoptions={"OS": "ubuntu-24.04"})


@pytest.mark.parametrize(("i", "name"), list(enumerate(PERMISSIONS)))
@pytest.mark.parametrize("value", ["plan", "allow", "deny", "deny|Not for you"])
def test_permissions(i: int, name: str, value: str) -> None:
    assert package(**{f"configoption{15 + i}": value}).permissions == {
        **dict.fromkeys(PERMISSIONS, "plan"),
        name: value.partition("|")[0],
    }


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (KEY, KEY),
        (f"  {KEY}  me@home \r\n\r\n", f"{KEY} me@home"),
        (f"{KEY}\n{KEY}", KEY),
        ("", ""),
        (None, ""),
    ],
)
@pytest.mark.parametrize("field", ["SSH key", "ssh KEY", "SSH key|Your public key"])
def test_keys_of_the_custom_field(given: Any, want: str, field: str) -> None:
    assert package(customfields={field: given, "Other": "x"}).ssh_keys == want


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ("rubbish", 1),
        (f"{KEY}\nssh-rsa AAAA", 2),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", 1),
        (f'command="x" {KEY}', 1),
    ],
)
def test_bad_keys_are_named_by_line_and_never_shown(bad: str, line: int) -> None:
    with pytest.raises(BadRequest) as caught:
        package(customfields={"SSH key": bad})
    assert caught.value.sentence.startswith(f"SSH key: line {line} is not a public SSH key")
    assert "PRIVATE" not in caught.value.sentence


def test_a_change_keeps_the_birth_values() -> None:
    before = package(customfields={"SSH key": KEY}, configoptions={"OS": "ubuntu-24.04"})
    after = resolve(
        before=before, customfields={"SSH key": "rubbish"}, configoptions={"OS": "debian-12", "CPU": "9"}
    ).package
    assert (after.template, after.ssh_keys, after.cores) == ("ubuntu-24.04", KEY, 9)
