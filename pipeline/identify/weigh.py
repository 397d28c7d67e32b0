"""From evidence to a judgement: one probability for each proposal of a look.

A proposal's features join in a logistic; the proposals of one look compete with each other and
with "unknown", which always stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.boxes import area, bounds, intersection_matrix
from pipeline.identify.calibration import Calibration
from pipeline.identify.tuning import RIVAL_SHARE
from pipeline.identify.types import Check, Judged, Judgement, Proposed
from pipeline.types import Crop, ItemId, Proposal, Verification


def weigh(
    proposed: Sequence[Proposed],
    judged: Sequence[Judged] = (),
    checks: Sequence[Check] = (),
    found: Sequence[Verification] = (),
) -> list[Judged]:
    """Return what is known of each look after one more round.

    judged: what was before; none: nothing is checked yet. checks, found: of this round.
    """
    judged = judged or [Judged({}, ()) for _ in proposed]
    new: list[dict[ItemId, Verification]] = [{} for _ in proposed]
    extra: list[list[Proposal]] = [[] for _ in proposed]
    for check, verification in zip(checks, found, strict=True):
        new[check.look][check.proposal.item_id] = verification
        extra[check.look].append(check.proposal)
    return [
        _judged(one, known, of_look, also) if of_look or not known.judgements else known
        for one, known, of_look, also in zip(proposed, judged, new, extra, strict=True)
    ]


def _judged(
    one: Proposed, known: Judged, new: Mapping[ItemId, Verification], also: Sequence[Proposal]
) -> Judged:
    """also: what was checked; some of it was proposed by other regions of the picture."""
    ranked = {proposal.item_id: proposal for proposal in one.ranked}
    for proposal in (*(j.proposal for j in known.judgements), *also):
        ranked.setdefault(proposal.item_id, proposal)
    found = {**known.found, **new}
    look = one.look
    judgements = judge(look.crop, list(ranked.values()), found, look.shelf.calibration)
    return Judged(found, tuple(judgements), known.n_rounds + bool(new))


def judge(
    crop: Crop,
    proposals: Sequence[Proposal],
    verifications: Mapping[ItemId, Verification],
    calibration: Calibration,
) -> list[Judgement]:
    """Return a judgement of each proposal, the likeliest first.

    proposals: the crop's shortlist, nearest first. verifications: of those that were checked.
    """
    margins = _margins([proposal.similarity for proposal in proposals])
    found = [_with_witness(verifications, proposal.item_id) for proposal in proposals]
    alone = np.array(
        [
            calibration.log_odds(c, margin, verification)
            for c, margin, verification in zip(proposals, margins, found, strict=True)
        ]
    )
    odds = np.exp(alone)
    judgements = []
    for i, proposal in enumerate(proposals):
        rivals = [j for j in range(len(odds)) if j != i and _is_rival(found[i], found[j])]
        # Whether the object is a twin of its likeliest design says nothing about which listed item
        # is the likelier: of two listed twins, the one with more of everything is.
        likeliest = max([i, *rivals], key=lambda j: odds[j])
        no_twin = calibration.log_odds_of_no_twin(found[likeliest])
        value = float(alone[i] - np.log1p(odds[rivals].sum()) + no_twin)
        design = calibration.log_odds_of_design(proposal, margins[i], found[i])
        judgements.append(Judgement(proposal, margins[i], found[i], value, design, crop))
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
    """Whether two proposals claim the same object: not when both are found, apart."""
    if one is None or other is None or one.outline is None or other.outline is None:
        return True
    a, b = bounds(one.outline)[None], bounds(other.outline)[None]
    smaller = max(1.0, min(float(area(a)[0]), float(area(b)[0])))
    return float(intersection_matrix(a, b)[0, 0]) >= RIVAL_SHARE * smaller


def _margins(similarities: Sequence[float]) -> list[float]:
    """Return each similarity minus the best of the others; 0 for a single proposal."""
    if len(similarities) < 2:
        return [0.0] * len(similarities)
    first, second = sorted(similarities, reverse=True)[:2]
    return [s - (second if s == first else first) for s in similarities]
