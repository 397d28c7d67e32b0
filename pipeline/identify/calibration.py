"""What evidence is worth: logistic models over it, and the thresholds of the tiers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from pipeline.errors import CatalogError
from pipeline.identify.tuning import (
    BEST_MARGIN,
    CLOSE_DISTANCE,
    DESIGN,
    EXACT,
    LIMIT,
    LISTED_FAMILY,
    NEXT_TO_NOTHING,
    OWN,
    OWN_UNSEEN,
    PRINT_AGREES,
    SIMILAR,
    UNVERIFIED,
    VERY_SIMILAR,
    WORST_MARGIN,
    Eight,
    Four,
    Three,
)
from pipeline.types import Proposal, Verification

DESIGN_FEATURES = (
    "constant",
    "similarity",
    "margin",
    "inliers",
    "agreement of a fair photo",
    "agreement beyond it",
    "fragment",
    "sameness",
)
OWN_FEATURES = ("constant", "sameness", "colour unseen")
OWN_UNSEEN_FEATURES = (
    "constant",
    "agreement of a fair photo",
    "agreement beyond it",
    "colour unseen",
)
UNVERIFIED_FEATURES = ("constant", "similarity", "margin", "vote lead")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients, in log-odds, and the probabilities from which on a tier is told.

    design: that what is shown has a verified proposal's design (it is the item, or a near-twin of
    it that is not listed), against unknown; of DESIGN_FEATURES. own: that it is the item itself
    then, and no unlisted near-twin; of OWN_FEATURES; own_unseen: the same where no comparer looked.
    unverified: that a proposal without a sane homography is what is shown; UNVERIFIED_FEATURES.
    exact: probability of the item; very_similar: of the design; similar: of either.
    `magpie catalog calibrate` fits them; a catalog's own replace the defaults (tuning.py).
    """

    design: Eight = DESIGN
    own: Three = OWN
    own_unseen: Four = OWN_UNSEEN
    unverified: Four = UNVERIFIED
    exact: float = EXACT
    very_similar: float = VERY_SIMILAR
    similar: float = SIMILAR

    @classmethod
    def of_catalog(cls, folder: Path) -> Self:
        """Return the calibration stored beside a catalog's generation, or the default."""
        path = folder / "calibration.json"
        if not path.is_file():
            return cls()
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValueError) as error:  # pydantic's error is a ValueError
            raise CatalogError.at(
                f"calibration {path}",
                "cannot be used",
                str(error).splitlines()[0],
                "magpie catalog calibrate",
            ) from error

    def design_log_odds(
        self, proposal: Proposal, margin: float, found: Verification | None
    ) -> float:
        """Return how much speaks for the proposal, or an unlisted near-twin of it, being shown."""
        if found is None or found.homography is None:
            return _weighed(self.unverified, unverified_features(proposal, margin))
        return _weighed(self.design, design_features(proposal, margin, found))

    def own_share(self, found: Verification | None) -> float:
        """Return 0..1: of what has this design, how likely it is the item itself and no unlisted
        near-twin of it; 1 where nothing was verified that would speak of it.
        """
        if found is None or found.homography is None:
            return 1.0
        if found.sameness is None:
            log_odds = _weighed(self.own_unseen, own_unseen_features(found))
        else:
            log_odds = _weighed(self.own, own_features(found))
        return sigmoid(log_odds + LISTED_FAMILY * family_sign(found) * (1 - found.colour_unseen))


def design_features(proposal: Proposal, margin: float, found: Verification) -> Eight:
    """Return what is weighed for a proposal with a sane homography, as DESIGN_FEATURES says.

    margin: within WORST_MARGIN..BEST_MARGIN; a turned or half hidden item may resemble others much
    more. inliers: saturating, 0.5 at 12. fragment: little of the view lies in the crop, and a
    near-twin may share just that. sameness: the comparer's log-odds, 0 without it.
    """
    agreement = found.agreement
    return (
        1.0,
        proposal.similarity,
        max(WORST_MARGIN, min(BEST_MARGIN, margin)),
        found.inliers / (found.inliers + 12.0),
        _ramp(agreement, 0.0, 0.45),
        _ramp(agreement, 0.45, 0.9),
        _ramp(-found.coverage, -0.55, -0.3),
        (found.sameness or 0.0) / 3.0,
    )


def own_features(found: Verification) -> Three:
    """Return what tells an item from its unlisted near-twins, as OWN_FEATURES says."""
    return (1.0, (found.sameness or 0.0) / 3.0, found.colour_unseen)


def own_unseen_features(found: Verification) -> Four:
    """Return the same where no comparer looked, as OWN_UNSEEN_FEATURES says."""
    agreement = found.agreement
    fair, beyond = _ramp(agreement, 0.0, 0.45), _ramp(agreement, 0.45, 0.9)
    return (1.0, fair, beyond, found.colour_unseen)


def closeness(found: Verification) -> float:
    """Return 0..1: a near-twin is listed that is as close as another flavour of a pack."""
    distance = found.near_twin_distance
    far, close = CLOSE_DISTANCE
    return 0.0 if distance is None else _ramp(-distance, -far, -close)


def family_sign(found: Verification) -> float:
    """Return 0..1: how much a listed near-twin speaks for all of its family being listed.

    One that differs in a character or a word speaks only as far as the print agrees: a series of
    signs goes on beyond what is listed.
    """
    close = closeness(found)
    if not close or found.sameness is None or found.near_twin_distance is None:
        return close
    differs = _ramp(found.near_twin_distance, *NEXT_TO_NOTHING)
    return close * max(differs, _ramp(found.sameness, *PRINT_AGREES))


def unverified_features(proposal: Proposal, margin: float) -> Four:
    """Return what is weighed for a proposal without one, as UNVERIFIED_FEATURES says."""
    return (1.0, proposal.similarity, margin, proposal.vote_lead)


def _weighed(weights: tuple[float, ...], features: tuple[float, ...]) -> float:
    total = sum(w * f for w, f in zip(weights, features, strict=True))
    return max(-LIMIT, min(LIMIT, total))


def _ramp(value: float, zero: float, one: float) -> float:
    return max(0.0, min(1.0, (value - zero) / (one - zero)))


def log_odds_of(probability: float) -> float:
    """Return the log-odds of a probability, within ±LIMIT."""
    least = sigmoid(-LIMIT)
    within = min(max(probability, least), 1.0 - least)
    return math.log(within / (1.0 - within))


def sigmoid(log_odds: float) -> float:
    """Return the probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-log_odds))
