"""What several looks at a track say together: what it is taken for, and how sure.

What they say adds up, so that a blurred view never takes back what a sharp one has shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.boxes import bounds, carry
from pipeline.identify.calibration import Calibration, log_odds_of, sigmoid
from pipeline.identify.tuning import (
    FAILURES_ALONE,
    FAILURES_WITH_OTHER,
    FURTHER_VIEW_GAIN,
    FURTHER_VIEWS_CAP,
    LIMIT,
    MAX_ALTERNATIVES,
    PROVED_OTHER,
)
from pipeline.identify.types import Judgement
from pipeline.options import DecideOptions
from pipeline.types import Alternative, ItemId, Match, Proposal, Tier, Track


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
    _n_failures: int = 0
    n_looks: int = 0
    # What the views so far say: it is asked several times a frame.
    _order: list[ItemId] | None = None
    _told: tuple[DecideOptions, Calibration, Verdict] | None = None

    def add(self, judgements: Sequence[Judgement]) -> None:
        """Take in one more view's judgements, the likeliest first."""
        self.n_looks += 1
        if self._is_refuted(judgements):
            self._best.clear()
            self._further.clear()
            self._n_failures = 0
        self._order = self._told = None
        for judgement in judgements:
            item_id = judgement.proposal.item_id
            known = self._best.get(item_id)
            weaker = judgement
            if known is None or judgement.log_odds > known.log_odds:
                self._best[item_id] = judgement
                weaker = known or judgement
            if known is not None and weaker.lead_log_odds > 0:
                gained = self._further.get(item_id, 0.0) + FURTHER_VIEW_GAIN * weaker.lead_log_odds
                self._further[item_id] = min(FURTHER_VIEWS_CAP, gained)

    def bear_out(self, item_id: ItemId) -> bool:
        """Take in that a glance still resembled an item; whether that is what is believed."""
        believed = self.item()
        if believed is None or believed.item_id != item_id:
            return False
        self._n_failures = 0
        return True

    def item(self) -> Proposal | None:
        """Return the item that, or a near-twin of which, is likelier than unknown, or None."""
        if not self._best:
            return None
        item_id = self._ranked()[0]
        if self._log_odds(item_id) > 0 or _shown([self._best[item_id]]):
            return self._best[item_id].proposal
        return None

    def _is_refuted(self, judgements: Sequence[Judgement]) -> bool:
        believed = self.item()
        if believed is None:
            return False
        shown = _shown(judgements)
        is_other = any(j.is_verified and j.lead_log_odds >= PROVED_OTHER for j in judgements)
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
        """Return what the track is taken for; None before its first view with a proposal."""
        if not self._best:
            return None
        if self._told is not None and self._told[0] is options and self._told[1] is calibration:
            return self._told[2]
        ranked = self._ranked()
        first = self._best[ranked[0]]
        probability = sigmoid(self._log_odds(ranked[0]))
        alternatives = tuple(
            Alternative(item_id, sigmoid(self._log_odds(item_id)))
            for item_id in ranked[1 : 1 + MAX_ALTERNATIVES]
        )
        tier = choose_tier(first, probability, options, calibration)
        verdict = Verdict(first, probability, tier, alternatives)
        self._told = options, calibration, verdict
        return verdict

    def _ranked(self) -> list[ItemId]:
        """Return the items, the likeliest first; what is equally likely in the catalog's order."""

        def order(item_id: ItemId) -> tuple[float, int]:
            log_odds = round(self._log_odds(item_id), 9)
            return -log_odds, self._best[item_id].proposal.view_index

        if self._order is None:
            self._order = sorted(self._best, key=order)
        return self._order

    def _log_odds(self, item_id: ItemId) -> float:
        """More views prove the design; that it is a near-twin they can't refute: all of them see
        the same print.
        """
        best = self._best[item_id]
        lead = min(LIMIT, best.lead_log_odds + self._further.get(item_id, 0.0))
        return log_odds_of(best.own_share * sigmoid(lead))


def _shown(judgements: Sequence[Judgement]) -> set[ItemId]:
    """Return the items that a view shows; those of the shown design when none is shown itself."""
    shown = {j.proposal.item_id for j in judgements if j.log_odds > 0}
    return shown or {
        j.proposal.item_id for j in judgements if j.is_verified and j.design_log_odds > 0
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
        item_id=best.proposal.item_id,
        label=label,
        view_index=best.proposal.view_index,
        tier=tier,
        probability=verdict.probability,
        similarity=best.proposal.similarity,
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
    options: DecideOptions,
    calibration: Calibration,
) -> Tier | None:
    """Return the tier of a judgement, or None when it is below the lowest that is published.

    `exact` and `very_similar` need details that agree: similarity alone proves no identity.
    """
    exact, very_similar, similar = (
        chosen if chosen is not None else default
        for chosen, default in (
            (options.exact, calibration.exact),
            (options.very_similar, calibration.very_similar),
            (options.similar, calibration.similar),
        )
    )
    design = sigmoid(judgement.design_log_odds) if judgement.is_verified else 0.0
    tier: Tier | None = None
    if probability >= exact and judgement.is_verified:
        tier = Tier.EXACT
    elif design >= very_similar:
        tier = Tier.VERY_SIMILAR
    elif max(probability, design) >= similar:
        tier = Tier.SIMILAR
    if tier is None or tier.rank < Tier(options.publish).rank:
        return None
    return tier
