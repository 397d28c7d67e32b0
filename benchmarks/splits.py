"""Which rows of an evaluation set are for choosing (dev) and which only for confirming (check)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pipeline.errors import ConfigError

SPLITS = Path(__file__).with_name("splits.toml")
Row = TypeVar("Row")


class Split(StrEnum):
    """What an evaluation looks at."""

    DEV = "dev"
    CHECK = "check"
    ALL = "all"


def of_split(name: str, rows: Sequence[Row], split: Split, key: Callable[[Row], str]) -> list[Row]:
    """Return the rows of an evaluation set that belong to the split.

    key: gives what the split goes by (item or image) of a row. ConfigError: a set without a split.
    """
    if split is Split.ALL:
        return list(rows)
    splits = tomllib.loads(SPLITS.read_text())
    if name not in splits:
        raise ConfigError.at("--split", f"expected one of {', '.join(splits)}", name)
    beginnings = tuple(splits[name]["check"])
    return [row for row in rows if key(row).startswith(beginnings) == (split is Split.CHECK)]
