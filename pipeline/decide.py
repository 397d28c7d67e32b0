"""From evidence to a verdict: one probability for each candidate, added up over a track's views.

A candidate's features join in a logistic; the candidates of one view compete with each other and
with "unknown", which always stands beside them; and what several views of a track say adds up, so
that a blurred view never takes back what a sharp one has shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.boxes import area, bounds, carry, intersection_matrix
from pipeline.calibration import LIMIT, Calibration, family_sign, sigmoid
from pipeline.options import DecideOptions
from pipeline.types import (
    F32,
    Alternative,
    Candidate,
    Crop,
    ItemId,
    Match,
    Tier,
    Track,
    Verification,
)

FURTHER_VIEW_GAIN = 0.5  # what a further view adds: views of one track err together
FURTHER_VIEWS_CAP = 1.0  # and all of them at most, in log-odds
MAX_ALTERNATIVES = 3
RIVAL_SHARE = 0.3  # of the smaller outline that two candidates share if they claim one object
FAILURES_WITH_OTHER = 2  # views in a row without the believed item that end the belief
FAILURES_ALONE = 4
PROVED_OTHER = 3.0  # log-odds of another item that end the belief at once
# `exact` asks for two witnesses, or is told too often of near-twins: the comparer must take the
# print for the same as well, from so much on in log-odds, or a listed near-twin be so close (of
# family_sign) that what an unlisted one would differ in was looked at.
CONFIRMED_SAMENESS = 0.25
CLOSE_FAMILY = 0.5


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one view of a track says about one candidate.

    log_odds: that it is this item, against unknown and against the other candidates.
    design_log_odds: that it is this item or a near-twin that is not listed.
    crop: the view it was judged by. margin: similarity minus the best other item's.
    """

    candidate: Candidate
    margin: float
    verification: Verification | None
    log_odds: float
    design_log_odds: float
    crop: Crop

    @property
    def is_verified(self) -> bool:
        return self.verification is not None and self.verification.homography is not None

    @property
    def is_confirmed(self) -> bool:
        """Whether details agree and there is a second witness: the comparer, where asked, or a
        close near-twin that is listed, and competes.
        """
        if self.verification is None or self.verification.homography is None:
            return False
        if family_sign(self.verification) >= CLOSE_FAMILY:
            return True
        sameness = self.verification.sameness
        return sameness is None or sameness >= CONFIRMED_SAMENESS

    def outline(self) -> F32 | None:
        """Return the item's outline as it lay in the frame of its crop: (4, 2) px, or None."""
        if self.verification is None or self.verification.outline is None:
            return None
        return self.crop.to_frame(self.verification.outline)


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a track is taken for, by all its views so far: the best of them, and how sure."""

    best: Judgement
    probability: float
    tier: Tier | None
    alternatives: tuple[Alternative, ...]


@dataclass(slots=True)
class Belief:
    """What is believed of one track; each further view is added.

    A view that fails to show the item takes nothing back: items turn, blur and hide. Only
    failures in a row end a belief, soon when another item shows instead, at once when it is proved.
    """

    _best: dict[ItemId, Judgement] = field(default_factory=dict)
    _further: dict[ItemId, float] = field(default_factory=dict)
    _confirmed: set[ItemId] = field(default_factory=set)
    _n_failures: int = 0
    n_looks: int = 0

    def add(self, judgements: Sequence[Judgement]) -> None:
        """Take in one more view's judgements, the likeliest first."""
        self.n_looks += 1
        if self._is_refuted(judgements):
            self._best.clear()
            self._further.clear()
            self._confirmed.clear()
            self._n_failures = 0
        for judgement in judgements:
            item_id = judgement.candidate.item_id
            if judgement.is_confirmed and judgement.log_odds > 0:
                self._confirmed.add(item_id)
            known = self._best.get(item_id)
            weaker = judgement
            if known is None or judgement.log_odds > known.log_odds:
                self._best[item_id] = judgement
                weaker = known or judgement
            if known is not None and weaker.log_odds > 0:
                gained = self._further.get(item_id, 0.0) + FURTHER_VIEW_GAIN * weaker.log_odds
                self._further[item_id] = min(FURTHER_VIEWS_CAP, gained)

    def item(self) -> Candidate | None:
        """Return the item that, or a near-twin of which, is likelier than unknown, or None."""
        if not self._best:
            return None
        item_id = max(self._best, key=self._log_odds)
        if self._log_odds(item_id) > 0 or _shown([self._best[item_id]]):
            return self._best[item_id].candidate
        return None

    def _is_refuted(self, judgements: Sequence[Judgement]) -> bool:
        believed = self.item()
        if believed is None:
            return False
        shown = _shown(judgements)
        is_other = any(j.is_verified and j.log_odds >= PROVED_OTHER for j in judgements)
        if believed.item_id in shown:
            self._n_failures = 0
            return False
        self._n_failures += 1
        if is_other:
            return True
        return self._n_failures >= (FAILURES_WITH_OTHER if shown else FAILURES_ALONE)

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last look did not show what is believed."""
        return self._n_failures > 0

    def verdict(self, options: DecideOptions, calibration: Calibration) -> Verdict | None:
        """Return what the track is taken for; None before its first view with a candidate."""
        if not self._best:
            return None
        ranked = sorted(self._best, key=self._log_odds, reverse=True)
        first = self._best[ranked[0]]
        probability = sigmoid(self._log_odds(ranked[0]))
        alternatives = tuple(
            Alternative(item_id, sigmoid(self._log_odds(item_id)))
            for item_id in ranked[1 : 1 + MAX_ALTERNATIVES]
        )
        is_confirmed = ranked[0] in self._confirmed
        tier = choose_tier(first, probability, is_confirmed, options, calibration)
        return Verdict(first, probability, tier, alternatives)

    def _log_odds(self, item_id: ItemId) -> float:
        total = self._best[item_id].log_odds + self._further.get(item_id, 0.0)
        return min(LIMIT, total)


def _shown(judgements: Sequence[Judgement]) -> set[ItemId]:
    """Return the items that a view shows; those of the shown design when none is shown itself."""
    shown = {j.candidate.item_id for j in judgements if j.log_odds > 0}
    return shown or {
        j.candidate.item_id for j in judgements if j.is_verified and j.design_log_odds > 0
    }


def match_of(verdict: Verdict, tier: Tier, track: Track, label: str) -> Match:
    """Return the match of a track: the evidence of its best view, carried to where it is now.

    A fixed region's box is the outline that was found in it; other tracks keep their own.
    """
    best = verdict.best
    outline = best.outline()
    box = track.xyxy
    if outline is not None:
        outline = carry(outline, best.crop.track.xyxy, track.xyxy)
        if track.is_whole_frame:
            inside = np.clip(bounds(outline), np.tile(box[:2], 2), np.tile(box[2:], 2))
            box = inside.astype(np.float32)
    found = best.verification
    return Match(
        item_id=best.candidate.item_id,
        label=label,
        view_index=best.candidate.view_index,
        tier=tier,
        probability=verdict.probability,
        similarity=best.candidate.similarity,
        margin=best.margin,
        inliers=found.inliers if found is not None and best.is_verified else 0,
        agreement=found.agreement if found is not None else 0.0,
        box_xyxy=box,
        outline=outline,
        angle_deg=found.angle_deg if found is not None and best.is_verified else 0.0,
        alternatives=verdict.alternatives,
    )


def choose_tier(
    judgement: Judgement,
    probability: float,
    is_confirmed: bool,
    options: DecideOptions,
    calibration: Calibration,
) -> Tier | None:
    """Return the tier of a judgement, or None when it is below the lowest that is published.

    `exact` and `very_similar` need details that agree: similarity alone proves no identity.
    is_confirmed: whether this view or another of the track confirmed the item's print.
    """
    exact, very_similar, similar = (
        chosen if chosen is not None else default
        for chosen, default in (
            (options.exact, calibration.least_exact(judgement.verification)),
            (options.very_similar, calibration.very_similar),
            (options.similar, calibration.similar),
        )
    )
    design = sigmoid(judgement.design_log_odds) if judgement.is_verified else 0.0
    tier: Tier | None = None
    if probability >= exact and is_confirmed and judgement.is_verified:
        tier = Tier.EXACT
    elif design >= very_similar:
        tier = Tier.VERY_SIMILAR
    elif max(probability, design) >= similar:
        tier = Tier.SIMILAR
    if tier is None or tier.rank < Tier(options.publish).rank:
        return None
    return tier


def _margins(similarities: Sequence[float]) -> list[float]:
    """Return each similarity minus the best of the others; 0 for a single candidate."""
    if len(similarities) < 2:
        return [0.0] * len(similarities)
    first, second = sorted(similarities, reverse=True)[:2]
    return [s - (second if s == first else first) for s in similarities]
