"""What evidence is worth: two logistic models over it, and the thresholds of the tiers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from pipeline.errors import CatalogError
from pipeline.identify.tuning import EXACT_ALONE, LIMIT
from pipeline.types import Proposal, Verification

VERIFIED_FEATURES = (
    "constant",
    "similarity",
    "margin",
    "inliers",
    "inlier share",
    "agreement of a fair photo",
    "agreement beyond it",
    "fragment",
    "sameness",
    "sign of a twin",
)
UNVERIFIED_FEATURES = ("constant", "similarity", "margin", "vote lead")

Ten = tuple[float, float, float, float, float, float, float, float, float, float]
Four = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients, in log-odds, and the probabilities from which on a tier is told.

    item: that a verified proposal is what is shown, against everything else, its near-twins
    included. design: that it is the item or a near-twin of it. Both of VERIFIED_FEATURES.
    unverified: that a proposal without a sane homography is what is shown; UNVERIFIED_FEATURES.
    exact: probability of the item, whose print the comparer must confirm as well (decide.py);
    very_similar: of the design; similar: of either.
    `magpie catalog calibrate` fits them; a catalog's own replace the defaults, which come from 360
    shots of 180 made-up packs and pool pictures, near-twins of them and strangers (docs/matching.md
    says how the weight of the sameness, and with it the constant, came to be).
    """

    item: Ten = (-4.60, 0.77, 0.76, 4.96, 0.31, 2.62, 4.28, -11.94, 1.85, -4.25)
    design: Ten = (-3.80, 1.07, 0.38, 4.60, 0.34, 2.41, 4.74, -11.61, 1.00, -1.07)
    unverified: Four = (-6.75, 5.05, 5.87, 2.02)
    exact: float = 0.70
    very_similar: float = 0.85
    similar: float = 0.70

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

    def log_odds(self, proposal: Proposal, margin: float, found: Verification | None) -> float:
        """Return how much speaks for the proposal, by itself, before the sign of a twin counts."""
        if found is None or found.homography is None:
            return _weighed(self.unverified, unverified_features(proposal, margin))
        return _weighed(self.item[:-1], verified_features(proposal, margin, found)[:-1])

    def least_exact(self, found: Verification | None) -> float:
        """Return the probability from which on `exact` is told: higher where no comparer looked."""
        if found is None or found.sameness is None:
            return max(self.exact, EXACT_ALONE)
        return self.exact

    def log_odds_of_no_twin(self, found: Verification | None) -> float:
        """Return how much speaks against the object being an unlisted near-twin of the proposal:
        <= 0, the less the closer the nearest listed one is, which competes with it.
        """
        if found is None or found.homography is None:
            return 0.0
        return self.item[-1] * unlisted_twin_sign(found)

    def log_odds_of_design(
        self, proposal: Proposal, margin: float, found: Verification | None
    ) -> float:
        """Return how much speaks for the proposal or a near-twin of it being shown."""
        if found is None or found.homography is None:
            return _weighed(self.unverified, unverified_features(proposal, margin))
        return _weighed(self.design, verified_features(proposal, margin, found))


def verified_features(proposal: Proposal, margin: float, found: Verification) -> Ten:
    """Return what is weighed for a proposal with a sane homography, as VERIFIED_FEATURES says.

    inliers: saturating, 0.5 at 12. fragment: little of the view lies in the crop, and a near-twin
    may share just that. sameness: the comparer's log-odds, 0 without it. sign of a twin: as
    twin_sign.
    """
    agreement = found.agreement
    return (
        1.0,
        proposal.similarity,
        margin,
        found.inliers / (found.inliers + 12.0),
        found.inliers / max(1, found.correspondences),
        _ramp(agreement, 0.0, 0.45),
        _ramp(agreement, 0.45, 0.9),
        _ramp(-found.coverage, -0.55, -0.3),
        (found.sameness or 0.0) / 3.0,
        twin_sign(found),
    )


def twin_sign(found: Verification) -> float:
    """Return 0..1: many inliers and yet places that disagree.

    A poor view of the item itself has few inliers where it disagrees; a near-twin has many.
    """
    return _ramp(found.inliers, 15, 50) * _ramp(-found.agreement, -0.75, -0.25)


def unlisted_twin_sign(found: Verification) -> float:
    """Return 0..1: the sign of a twin that is not listed, by which the item alone is judged."""
    return twin_sign(found) * (1 - family_sign(found))


def family_sign(found: Verification) -> float:
    """Return 0..1: a near-twin is listed that is as close as another flavour of a pack."""
    distance = found.near_twin_distance
    return 0.0 if distance is None else _ramp(-distance, -0.6, -0.55)


def unverified_features(proposal: Proposal, margin: float) -> Four:
    """Return what is weighed for a proposal without one, as UNVERIFIED_FEATURES says."""
    return (1.0, proposal.similarity, margin, proposal.vote_lead)


def _weighed(weights: tuple[float, ...], features: tuple[float, ...]) -> float:
    total = sum(w * f for w, f in zip(weights, features, strict=True))
    return max(-LIMIT, min(LIMIT, total))


def _ramp(value: float, zero: float, one: float) -> float:
    return max(0.0, min(1.0, (value - zero) / (one - zero)))


def sigmoid(log_odds: float) -> float:
    """Return the probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-log_odds))
