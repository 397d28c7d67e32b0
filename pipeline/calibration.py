"""What evidence is worth: coefficients of the logistic, its features, when identity is proved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from pipeline.errors import CatalogError
from pipeline.types import Verification

LIMIT = 12.0  # of log-odds: nothing is surer than 1 in 160,000


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients of the logistic, in log-odds, and what tier `exact` asks beside probability.

    verified: for candidates with a sane homography; of the features that `features_of` lists.
    unknown_twin: constant and `twin_sign`, for the object being a near-twin that is not listed,
    against the likeliest item.
    unverified: constant, similarity, margin.
    The defaults come from synthetic packs (200 camera-like crops of catalog items, near-twins and
    others against 52 views) with the shipped weights, leaning to the lower agreement that real
    photos of the same item have (0.2-0.6 against 0.75-0.98). A catalog's calibration replaces them.
    """

    verified: tuple[float, float, float, float, float, float, float, float] = (
        -5.8, 1.0, 2.0, 5.0, 1.0, 5.0, 6.0, -12.0
    )  # fmt: skip
    unverified: tuple[float, float, float] = (-7.0, 5.0, 6.0)
    unknown_twin: tuple[float, float] = (-6.0, 11.0)
    exact_inliers: int = 12
    exact_agreement: tuple[float, float] = (0.35, 0.75)  # with 20 and with 60 inliers

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

    def log_odds(self, similarity: float, margin: float, found: Verification | None) -> float:
        """Return how much speaks for the candidate being the item, alone against unknown."""
        if found is None or found.homography is None:
            features: Sequence[float] = (1.0, similarity, margin)
            weights: Sequence[float] = self.unverified
        else:
            features = features_of(similarity, margin, found)
            weights = self.verified
        total = sum(w * f for w, f in zip(weights, features, strict=True))
        return max(-LIMIT, min(LIMIT, total))

    def log_odds_of_twin(self, found: Verification | None) -> float:
        """Return how much speaks for a near-twin that is not listed, against this item."""
        constant, weight = self.unknown_twin
        return constant + weight * twin_sign(found)

    def is_proved(self, found: Verification | None) -> bool:
        """Whether the details prove identity; the more of them are seen, the more must agree."""
        if found is None or found.homography is None or found.inliers < self.exact_inliers:
            return False
        fair, full = self.exact_agreement
        return found.agreement >= fair + (full - fair) * _ramp(found.inliers, 20, 60)


def features_of(similarity: float, margin: float, found: Verification) -> tuple[float, ...]:
    """Return what the logistic weighs for a verified candidate.

    constant, similarity, margin; inliers, saturating (0.5 at 12); inliers / correspondences;
    agreement up to that of a fair photo; agreement beyond it; the sign of a fragment: little of the
    view lies in the crop, and a near-twin may share just that.
    """
    agreement = found.agreement
    return (
        1.0,
        similarity,
        margin,
        found.inliers / (found.inliers + 12.0),
        found.inliers / max(1, found.correspondences),
        _ramp(agreement, 0.0, 0.45),
        _ramp(agreement, 0.45, 0.9),
        _ramp(-found.coverage, -0.55, -0.3),
    )


def twin_sign(found: Verification | None) -> float:
    """Return 0..1: many inliers and yet places that disagree.

    A poor view of the item itself has few inliers where it disagrees; a near-twin has many.
    """
    if found is None or found.homography is None:
        return 0.0
    return _ramp(found.inliers, 15, 50) * _ramp(-found.agreement, -0.75, -0.25)


def _ramp(value: float, zero: float, one: float) -> float:
    return max(0.0, min(1.0, (value - zero) / (one - zero)))


def sigmoid(log_odds: float) -> float:
    """Return the probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-log_odds))
