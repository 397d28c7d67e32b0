"""Dev and check share nothing and leave nothing out."""

import pytest

from benchmarks.splits import Split, of_split
from pipeline.errors import ConfigError

ITEMS = ["Alpro-Milk", "Arla-Milk", "Oatly-Oat-Milk", "Yoggi-Vanilla"]


def test_dev_and_check_share_nothing_and_leave_nothing_out() -> None:
    dev = of_split("grocery", ITEMS, Split.DEV, str)
    check = of_split("grocery", ITEMS, Split.CHECK, str)
    assert dev == ["Arla-Milk", "Yoggi-Vanilla"] and check == ["Alpro-Milk", "Oatly-Oat-Milk"]
    assert of_split("grocery", ITEMS, Split.ALL, str) == ITEMS


def test_a_set_may_be_all_check_or_all_dev() -> None:
    assert of_split("medicine", ITEMS, Split.DEV, str) == []
    assert of_split("banknotes", ITEMS, Split.DEV, str) == ITEMS


def test_a_set_without_a_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="--split"):
        of_split("my shop", ITEMS, Split.DEV, str)
