"""What passes from step to step of a look. All of it is frozen: a step gives new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from pipeline.identify.agreement import NearTwin, Picture
from pipeline.identify.calibration import log_odds_of, sigmoid
from pipeline.identify.shelf import Shelf
from pipeline.identify.tuning import Region
from pipeline.panels import Panel
from pipeline.timing import FrameStamp
from pipeline.types import F32, F64, Crop, ItemId, Proposal, Track, Verification

NO_FRAME = FrameStamp("", 0, (0, 0), 0, 0, "file")  # of a single picture


@dataclass(frozen=True, slots=True)
class Look:
    """One crop to identify.

    believed: what its track is taken for. n_looks: at this track before. panel: the panel that
    the crop shows. stamp, now_s: of its frame; frame_ms: what the stages took for it. tracking: the
    camera's, when it was taken. overdue: how urgent it is (attend.py). is_glance: its embedding may
    do (glance.py). picture: which of the pictures that are asked about together it is a region of.
    """

    crop: Crop
    shelf: Shelf
    believed: Proposal | None = None
    n_looks: int = 0
    panel: Panel | None = None
    stamp: FrameStamp = NO_FRAME
    now_s: float = 0.0
    tracking: int = 0
    overdue: float = 0.0
    is_glance: bool = False
    frame_ms: Mapping[str, float] = field(default_factory=dict)
    region: Region = Region.TRACK
    picture: int = 0

    @property
    def camera(self) -> str:
        return self.crop.track.camera


@dataclass(frozen=True, slots=True)
class Proposed:
    """A look and what is proposed for it.

    picture: its crop with keypoints. embedded: what its embedding is near, the nearest first.
    ranked: that joined with the votes of its keypoints, and what its panel is like before all.
    like_panel: how many these are. embedding: (D,) float32 unit vector.
    """

    look: Look
    picture: Picture
    embedding: F32
    embedded: tuple[Proposal, ...]
    ranked: tuple[Proposal, ...]
    like_panel: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """A crop to be checked in detail against a proposal's view. look: the number of its look.

    near_twin: the view's, if the catalog lists one. outline: (4, 2) float32 px of the crop, where
    the view's corners may lie, for views whose keypoints are too few to tell; or None.
    """

    look: int
    proposal: Proposal
    crop: Picture
    view: Picture
    near_twin: NearTwin | None = None
    outline: F32 | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """One sane way in which a view may lie in a crop.

    homography: (3, 3) float64, view px -> crop px. agrees: (M,) bool, which correspondences do.
    """

    homography: F64
    agrees: np.ndarray


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found.

    correspondences_xyxy: (M, 4) float32, x y in the view and x y in the crop. alignments: none,
    one, or two where a panel tells another. agreement: 0..1, of methods that do not measure it on
    the aligned pictures, or None.
    """

    check: Check
    correspondences_xyxy: F32
    alignments: tuple[Alignment, ...]
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one look says about one proposal.

    lead_log_odds: that what is shown is this item, or an unlisted near-twin of the likeliest,
    against unknown and the other proposals. own_share: 0..1, that it is no unlisted near-twin then.
    design_log_odds: that it is this item or an unlisted near-twin of it, against unknown alone.
    crop: the view it was judged by. margin: similarity minus the best other item's. n_alike: items
    whose picture shows the same as this one's, itself included: each has its share.
    """

    proposal: Proposal
    margin: float
    verification: Verification | None
    lead_log_odds: float
    own_share: float
    design_log_odds: float
    crop: Crop
    n_alike: int = 1

    @property
    def log_odds(self) -> float:
        """That it is this item, against everything else."""
        return log_odds_of(self.own_share * sigmoid(self.lead_log_odds))

    @property
    def is_verified(self) -> bool:
        return self.verification is not None and self.verification.homography is not None

    def outline(self) -> F32 | None:
        """Return the item's outline as it lay in the frame of its crop: (4, 2) px, or None."""
        if self.verification is None or self.verification.outline is None:
            return None
        return self.crop.to_frame(self.verification.outline)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of a look after some rounds of checks.

    found: of the items that were checked. judgements: of all that was proposed or checked, the
    likeliest first. n_rounds: in which something of it was checked.
    """

    found: Mapping[ItemId, Verification]
    judgements: tuple[Judgement, ...]
    n_rounds: int = 0

    @property
    def best_lead(self) -> float:
        """Log-odds of the likeliest item, or of all whose picture shows the same, whether or not it
        may be an unlisted near-twin; 0 without any.
        """
        if not self.judgements:
            return 0.0
        best = self.judgements[0]
        if best.n_alike == 1:
            return best.lead_log_odds
        return log_odds_of(best.n_alike * sigmoid(best.lead_log_odds))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look at a track has shown. judgements: the likeliest first. borne_out: the item that a
    glance bore out; then there are none. stage_ms: what the stages of its batch took. Others: as
    the look's.
    """

    track: Track
    stamp: FrameStamp
    now_s: float
    tracking: int
    judgements: tuple[Judgement, ...]
    frame_ms: Mapping[str, float]
    stage_ms: Mapping[str, float]
    borne_out: ItemId | None = None

    @classmethod
    def to(
        cls, look: Look, judgements: tuple[Judgement, ...] | None, stage_ms: Mapping[str, float]
    ) -> Self:
        """Return the answer to a look. judgements: None of one that a glance has borne out."""
        believed = look.believed
        borne_out = believed.item_id if judgements is None and believed is not None else None
        return cls(
            look.crop.track,
            look.stamp,
            look.now_s,
            look.tracking,
            judgements or (),
            look.frame_ms,
            stage_ms,
            borne_out,
        )
