"""Checks and comparisons of single pairs, as the tests of both need them."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.identify.agreement import NearTwin, Picture
from pipeline.identify.check import Checker
from pipeline.identify.compare import Comparer
from pipeline.identify.types import Check
from pipeline.types import ItemId, Proposal, Verification

NO_NETWORK = Comparer(None)


def verify(
    checker: Checker,
    pairs: Sequence[tuple[Picture, Picture]],
    near_twins: Sequence[NearTwin | None] = (),
    comparer: Comparer = NO_NETWORK,
) -> list[Verification]:
    """Return what checks of (crop, view) pairs find. near_twins: of the views; none: no view's."""
    checks = [
        Check(i, Proposal(ItemId("item"), 0, 0.5), crop, view, near_twin)
        for i, ((crop, view), near_twin) in enumerate(
            zip(pairs, near_twins or [None] * len(pairs), strict=True)
        )
    ]
    return comparer.compare(checker.check(checks))
