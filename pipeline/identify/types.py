"""What passes between the steps of a look: judgements."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.identify.calibration import family_sign
from pipeline.types import F32, Candidate, Crop, Verification

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
