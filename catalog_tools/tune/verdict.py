"""Whether one set of answers about photos is better than another, and not by chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from catalog_tools.evaluation.scores import Photo
from pipeline.types import Tier

CHANCE = 0.05  # so likely may it be that photos got better by chance alone
RULE = (
    "a candidate takes the place of the best before it when it tells no more photos wrongly as "
    "exact, and more photos got better than worse by what is told as exact (or, when no fewer are "
    "told rightly so, by the likeliest item), by more than chance would give in one of twenty cases"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a photo's answer was worth.

    exact: 1 the right item is told as `exact` and no other; -1 another one is, or any in a photo of
    nothing known; 0 none is. is_first: the right item is the likeliest, whatever its tier.
    """

    exact: int
    is_first: bool

    @classmethod
    def of(cls, photo: Photo) -> Outcome:
        item_id = photo.label.item_id
        told = photo.at_centre(Tier.EXACT)
        if item_id is None:
            told = told + photo.elsewhere(Tier.EXACT)  # in others, neighbours may be true items
        is_wrong = any(not photo.is_right(match) for match in told)
        is_first = item_id is not None and photo.ranked[:1] == [item_id]
        return cls(-1 if is_wrong else int(bool(told)), is_first)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a candidate compares with the best before it, over the same photos.

    exact, first: how many photos got better and worse by what is told as `exact`, and by the
    likeliest item. n_wrong: photos told wrongly as `exact`, before and now.
    """

    is_better: bool
    why: str
    n_wrong: tuple[int, int]
    exact: tuple[int, int]
    first: tuple[int, int]


def compare(old: Sequence[Outcome], new: Sequence[Outcome]) -> Verdict:
    """Return whether `new` is better by RULE; both are of the same photos, in the same order."""
    n_wrong = (sum(o.exact < 0 for o in old), sum(o.exact < 0 for o in new))
    exact = _changed(old, new, lambda outcome: outcome.exact)
    first = _changed(old, new, lambda outcome: outcome.is_first)
    n_right = (sum(o.exact > 0 for o in old), sum(o.exact > 0 for o in new))
    if n_wrong[1] > n_wrong[0]:
        is_better, why = False, f"{n_wrong[1]} photos told wrongly as exact, {n_wrong[0]} before"
    elif is_beyond_chance(*exact):
        is_better, why = True, f"what is told as exact got {_told(exact)}"
    elif n_right[1] >= n_right[0] and is_beyond_chance(*first):
        is_better, why = True, f"the likeliest item got {_told(first)}"
    else:
        is_better = False
        why = "no gain beyond chance"
    return Verdict(is_better, why, n_wrong, exact, first)


def is_beyond_chance(n_better: int, n_worse: int) -> bool:
    """Return whether so many of the photos that changed got better as a coin would hardly give.

    Method: the sign test, one-sided. Five better and none worse is the least that counts.
    """
    n = n_better + n_worse
    likely = sum(math.comb(n, k) for k in range(n_better, n + 1)) / 2**n
    return n_better > n_worse and likely <= CHANCE


def _changed(
    old: Sequence[Outcome], new: Sequence[Outcome], worth: Callable[[Outcome], Any]
) -> tuple[int, int]:
    pairs = [(worth(a), worth(b)) for a, b in zip(old, new, strict=True)]
    return sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)


def _told(changed: tuple[int, int]) -> str:
    return f"better in {changed[0]} photos and worse in {changed[1]}"
