"""What the numbers of options mean, and which of them are too doubtful to be sold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import amounts
from bridge import config as config_module
from bridge.errors import BadRequest, ConfigError
from tests.configs import raw_config
from tests.test_packages import resolve


def config(**options: str) -> config_module.Config:
    return config_module.from_dict(raw_config(options=options))


def sold(name: str, value: Any, word: str, **options: str) -> Any:
    return getattr(resolve(config(**options), configoptions={name: value}).package, word)


@pytest.mark.parametrize(
    ("name", "value", "likely"),
    [
        ("RAM", "2048|2 GB", "2 GiB"),
        ("RAM", "2048", "2 GiB"),
        ("RAM", "512|512 MB RAM", "0.5 GiB"),
        ("RAM", 4096, "4 GiB"),
        ("RAM", "4|8 GB", "8 GiB"),
        ("Disk", "20480", "20 GiB"),
        ("Disk", "20480|20 GB SSD", "20 GiB"),
        ("Disk", "1", "1024 GiB"),
        ("Disk", "2|2 TB NVMe", "2048 GiB"),
        ("Additional Disk", "102400", "100 GiB"),
        ("Network", "1", "1000 Mbit/s"),
        ("Network", "1|1 Gbit/s unmetered", "1000 Mbit/s"),
        ("Network", "1000000", "1000 Mbit/s"),
        ("Network", "100|1 Gbps", "1000 Mbit/s"),
        ("Network", "100|100 MB/s", "800 Mbit/s"),
        ("Network", "1000|1 GBps", "8000 Mbit/s"),
        ("CPU Cores", "4|8 vCPU", "8 cores"),
        ("CPU Cores", "8|4 cores (AMD)", "4 cores"),
        ("System Disk Read MB/s", "100|500 MB/s", "500 MB/s"),
        ("System Disk Write IOPS", "500|5000 IOPS", "5000 IOPS"),
    ],
)
def test_a_doubtful_value_is_refused_by_name(name: str, value: Any, likely: str) -> None:
    with pytest.raises(BadRequest) as caught:
        sold(name, value, "cores")
    sentence = caught.value.sentence
    assert caught.value.code == "doubtful_option"
    assert f"configurable option {name!r}: " in sentence
    assert f"did you mean {likely}?" in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 250


@pytest.mark.parametrize("value", ["2048|2 GB", "2048|512 MB"])
def test_the_products_own_field_says_its_unit_but_not_against_its_label(value: str) -> None:
    with pytest.raises(BadRequest, match="did you mean"):
        resolve(configoption5=value)
    assert resolve(configoption5="2048").package.ram_mib == 2048 * 1024


@pytest.mark.parametrize(
    ("word", "value", "field", "want"),
    [
        ("ram_mib", "2048|2 GB", "ram_mib", 2048),
        ("ram_mib", "1536", "ram_mib", 1536),
        ("ram_gib", "2048|2 TB", "ram_mib", 2048 * 1024),
        ("ram_gib", "1024", "ram_mib", 1024 * 1024),
        ("disk_mib", "20480|20 GB", "disk_gib", 20),
        ("disk_tib", "1|1 TB", "disk_gib", 1024),
        ("disk_tib", "0.5", "disk_gib", 512),
        ("additional_disk_tib", "2", "additional_disk_gib", 2048),
        ("rate_gbit", "1|1 Gbit", "rate_mbit", 1000),
        ("rate_gbit", "2.5|2.5 Gbit/s", "rate_mbit", 2500),
        ("rate_kbit", "10000|10 Mbit", "rate_mbit", 10),
        ("rate_mbit", "1|1 Mbit/s", "rate_mbit", 1),
    ],
)
def test_the_table_says_the_unit(word: str, value: str, field: str, want: int) -> None:
    name = {"r": "RAM", "d": "Disk", "a": "Additional Disk"}[word[0]] if not word.startswith("rate") else "Network"
    assert sold(name, value, field, **{name: word}) == want


@pytest.mark.parametrize(
    ("name", "value", "field", "want"),
    [
        ("RAM", "2|2 GB", "ram_mib", 2048),
        ("RAM", "0.5|512 MB", "ram_mib", 512),
        ("RAM", "256|256 GB ECC", "ram_mib", 256 * 1024),
        ("Disk", "1000|1 TB", "disk_gib", 1000),
        ("Disk", "1024|1 TB", "disk_gib", 1024),
        ("Disk", "80|80 GB + 2 TB traffic", "disk_gib", 80),
        ("Disk", "80|Plan 2 GB", "disk_gib", 80),
        ("Network", "1000|1 Gbit", "rate_mbit", 1000),
        ("Network", "100|100 Mb/s", "rate_mbit", 100),
        ("Network", "800|100 MB/s", "rate_mbit", 800),
        ("Network", "0|unlimited", "rate_mbit", 0),
        ("CPU", "4|8 threads", "cores", 4),
    ],
)
def test_what_agrees_with_its_label_is_sold(name: str, value: str, field: str, want: int) -> None:
    assert sold(name, value, field) == want


@pytest.mark.parametrize(
    ("name", "value", "write"),
    [
        ("RAM", "512 MB", "0.5"),
        ("RAM", "2GB", "2"),
        ("Disk", "1 TB", "1024"),
        ("Disk", "10G", "10"),
        ("Disk", "1,024", "1024"),
        ("Disk", "1'024", "1024"),
        ("Disk", "10 240", "10240"),
        ("Network", "1 Gbit/s", "1000"),
        ("Network", "unlimited", "0"),
        ("Additional Disk", "none", "0"),
        ("CPU", "4 vCPU", "4"),
    ],
)
def test_a_value_with_a_unit_is_refused_with_the_number_to_write(name: str, value: str, write: str) -> None:
    with pytest.raises(BadRequest, match=rf"Write {write} if that is meant\.$") as caught:
        sold(name, value, "cores")
    assert caught.value.code == "bad_option"


@pytest.mark.parametrize(
    "value", ["-2", "NaN", "1e3", "\u0662", "\uff12", "9" * 400, "2 Gbit", "2,5", "2..5", "0x10", "\u221e", "2 GB RAM"]
)
def test_what_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(BadRequest, match="must be a number in steps") as caught:
        sold("RAM", value, "ram_mib")
    assert "Write" not in caught.value.sentence


@pytest.mark.parametrize(
    ("word", "value"), [("ram_mib", "2"), ("ram_mib", "100"), ("disk_mib", "20000"), ("disk_mib", "512")]
)
def test_the_range_holds_in_every_unit(word: str, value: str) -> None:
    name = "RAM" if word == "ram_mib" else "Disk"
    with pytest.raises(BadRequest, match="of GiB once it is converted"):
        sold(name, value, "ram_mib", **{name: word})


def test_two_units_of_the_same_thing_may_agree() -> None:
    made = config(Memory="ram_mib", RAM="ram_gib")
    assert resolve(made, configoptions={"Memory": "2048", "RAM": "2"}).package.ram_mib == 2048
    with pytest.raises(BadRequest, match="of the same thing"):
        resolve(made, configoptions={"Memory": "2048", "RAM": "4"})


def test_an_unknown_unit_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        config(RAM="ram_mb")
    path, code, text = caught.value.faults[0]
    assert (path, code) == ("options.RAM", "unknown_word")
    assert "ram_mib" in text
    assert "rate_gbit" in text


@given(st.decimals(min_value=0, max_value=10**8, places=4))
def test_a_number_is_written_as_it_is_read(value: Decimal) -> None:
    assert Decimal(amounts.plain(value)) == value
    assert "E" not in amounts.plain(value)
