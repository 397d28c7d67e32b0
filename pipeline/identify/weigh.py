"""From evidence to a judgement: one probability for each candidate of a look.

A candidate's features join in a logistic; the candidates of one look compete with each other and
with "unknown", which always stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.boxes import area, bounds, intersection_matrix
from pipeline.identify.calibration import Calibration
from pipeline.identify.types import Judgement
from pipeline.types import Candidate, Crop, ItemId, Verification

RIVAL_SHARE = 0.3  # of the smaller outline that two candidates share if they claim one object


def judge(
    crop: Crop,
    candidates: Sequence[Candidate],
    verifications: Mapping[ItemId, Verification],
    calibration: Calibration,
) -> list[Judgement]:
    """Return a judgement of each candidate, the likeliest first.

    candidates: the crop's shortlist, nearest first. verifications: of those that were checked.
    """
    margins = _margins([candidate.similarity for candidate in candidates])
    found = [_with_witness(verifications, candidate.item_id) for candidate in candidates]
    alone = np.array(
        [
            calibration.log_odds(c, margin, verification)
            for c, margin, verification in zip(candidates, margins, found, strict=True)
        ]
    )
    odds = np.exp(alone)
    judgements = []
    for i, candidate in enumerate(candidates):
        rivals = [j for j in range(len(odds)) if j != i and _is_rival(found[i], found[j])]
        # Whether the object is a twin of its likeliest design says nothing about which listed item
        # is the likelier: of two listed twins, the one with more of everything is.
        likeliest = max([i, *rivals], key=lambda j: odds[j])
        no_twin = calibration.log_odds_of_no_twin(found[likeliest])
        value = float(alone[i] - np.log1p(odds[rivals].sum()) + no_twin)
        design = calibration.log_odds_of_design(candidate, margins[i], found[i])
        judgements.append(Judgement(candidate, margins[i], found[i], value, design, crop))
    return sorted(judgements, key=lambda j: -j.log_odds)


def _with_witness(
    verifications: Mapping[ItemId, Verification], item_id: ItemId
) -> Verification | None:
    """What was found of an item, without its near-twin unless that was checked as well, and not
    found apart from it: only what competes for the object is a witness.
    """
    found = verifications.get(item_id)
    if found is None or found.near_twin_item is None:
        return found
    near_twin = verifications.get(found.near_twin_item)
    if near_twin is not None and _is_rival(found, near_twin):
        return found
    return replace(found, near_twin_item=None, near_twin_distance=None)


def _is_rival(one: Verification | None, other: Verification | None) -> bool:
    """Whether two candidates claim the same object: not when both are found, apart."""
    if one is None or other is None or one.outline is None or other.outline is None:
        return True
    a, b = bounds(one.outline)[None], bounds(other.outline)[None]
    smaller = max(1.0, min(float(area(a)[0]), float(area(b)[0])))
    return float(intersection_matrix(a, b)[0, 0]) >= RIVAL_SHARE * smaller


def _margins(similarities: Sequence[float]) -> list[float]:
    """Return each similarity minus the best of the others; 0 for a single candidate."""
    if len(similarities) < 2:
        return [0.0] * len(similarities)
    first, second = sorted(similarities, reverse=True)[:2]
    return [s - (second if s == first else first) for s in similarities]
