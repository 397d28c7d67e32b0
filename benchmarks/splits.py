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
    splits = _checks()
    if name not in splits:
        raise ConfigError.at("--split", f"expected one of {', '.join(splits)}", name)
    beginnings = tuple(splits[name])
    return [row for row in rows if key(row).startswith(beginnings) == (split is Split.CHECK)]


def choose_split(name: str, asked: Split | None) -> Split:
    """Return what was asked for; else dev, or all of a set that has no split.

    ConfigError: the dev part of a set that is wholly check.
    """
    check = _checks().get(name)
    split = asked or (Split.ALL if check is None else Split.DEV)
    if is_kept_back(name) and split is Split.DEV:
        rule = "is kept for an issue's end, to be looked at only once"
        raise ConfigError.at(f"data set {name!r}", rule, remedy="then: --split check")
    return split


def is_kept_back(name: str) -> bool:
    """Whether all of a set is check."""
    return "" in _checks().get(name, ())


def _checks() -> dict[str, list[str]]:
    """Return what the check rows of each set begin with."""
    splits = tomllib.loads(SPLITS.read_text())
    return {name: split["check"] for name, split in splits.items()}
