"""One crop on its way through embed, search and verify."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.decide import Judgement
from pipeline.panels import Panel
from pipeline.shelf import Shelf
from pipeline.types import F32, Candidate, Crop, ItemId, Keypoints, Verification


@dataclass(slots=True)
class Look:
    """A crop, and what the stages have found out about it so far.

    believed: what its track is taken for. n_looks: at this track before. panel: the panel that
    the crop shows. first_checks: candidates to check first; none: chosen from the shortlist.
    """

    crop: Crop
    shelf: Shelf
    believed: Candidate | None = None
    n_looks: int = 0
    panel: Panel | None = None
    first_checks: list[Candidate] = field(default_factory=list)
    embedding: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    shortlist: list[Candidate] = field(default_factory=list)
    verifications: dict[ItemId, Verification] = field(default_factory=dict)
    judgements: list[Judgement] = field(default_factory=list)

    def widen_shortlist(self, keypoints: Keypoints) -> None:
        """Add what the crop's keypoints vote for, what its panel is like, what is to be checked."""
        self.shortlist = self.shelf.join_votes(self.shortlist, self.embedding, keypoints)
        if self.panel is not None:
            self._put_panel_first(self.panel)
        known = {candidate.item_id for candidate in self.shortlist}
        self.shortlist += [c for c in self.first_checks if c.item_id not in known]

    def _put_panel_first(self, panel: Panel) -> None:
        like = self.shelf.candidates_of(panel.view_indices, self.shortlist, self.embedding)
        item_ids = {candidate.item_id for candidate in like}
        also = [*self.first_checks, *([self.believed] if self.believed else [])]
        self.shortlist = like + [c for c in self.shortlist if c.item_id not in item_ids]
        self.first_checks = like + [c for c in also if c.item_id not in item_ids]

    def outline_of(self, candidate: Candidate) -> F32 | None:
        """Return where a candidate's corners lie in the crop if a panel told it, (4, 2) px."""
        if self.panel is None or candidate.view_index not in self.panel.view_indices:
            return None
        return self.crop.from_frame(self.panel.outline)
