"""One crop on its way through embed, search and verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.attend import FIRST_CANDIDATES, PROVED_LOG_ODDS, checks_after, first_checks
from pipeline.identify.calibration import family_sign
from pipeline.identify.check import Picture, Verifier
from pipeline.identify.shelf import Shelf
from pipeline.identify.types import Judgement
from pipeline.identify.weigh import judge
from pipeline.panels import Panel
from pipeline.timing import FrameStamp
from pipeline.types import F32, Candidate, Crop, ItemId, Keypoints, Track, Verification

NO_FRAME = FrameStamp("", 0, (0, 0), 0, 0, "file")  # of a single picture


@dataclass(slots=True)
class Look:
    """A crop, and what the stages have found out about it so far.

    believed: what its track is taken for. n_looks: at this track before. panel: the panel that
    the crop shows. stamp, now_s: of its frame; frame_ms: what the stages took for it. tracking: the
    camera's, when it was taken. overdue: how urgent it is (attend.py). first_checks: candidates to
    check first; none: chosen from the shortlist.
    """

    crop: Crop
    shelf: Shelf
    believed: Candidate | None = None
    n_looks: int = 0
    panel: Panel | None = None
    stamp: FrameStamp = NO_FRAME
    now_s: float = 0.0
    tracking: int = 0
    overdue: float = 0.0
    frame_ms: dict[str, float] = field(default_factory=dict)
    first_checks: list[Candidate] = field(default_factory=list)
    embedding: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    shortlist: list[Candidate] = field(default_factory=list)
    verifications: dict[ItemId, Verification] = field(default_factory=dict)
    judgements: list[Judgement] = field(default_factory=list)

    @property
    def camera(self) -> str:
        return self.crop.track.camera

    @property
    def best_log_odds(self) -> float:
        """Of the likeliest item; 0 without any."""
        return self.judgements[0].log_odds if self.judgements else 0.0

    @property
    def is_proved(self) -> bool:
        """Whether an item is proved that has no near-twin in the catalog: no other can be it.

        Plain pictures have too few keypoints to tell their near-twins by.
        """
        if self.best_log_odds < PROVED_LOG_ODDS or self.panel is not None:
            return False
        best = self.judgements[0]
        return best.is_verified and not self.shelf.has_near_twin(best.candidate.view_index)

    def answer(self, stage_ms: dict[str, float]) -> Answer:
        """Return what the look has shown, after stages that took so long."""
        return Answer(
            self.crop.track,
            self.stamp,
            self.now_s,
            self.tracking,
            tuple(self.judgements),
            self.frame_ms,
            stage_ms,
        )

    def unchecked_near_twin(self) -> list[Candidate]:
        """Return the near-twin of the likeliest item, unless it was checked: one or none.

        It must be checked to compete, and to be a witness (decide.py). One that is not on the
        shortlist is neither.
        """
        if not self.judgements or self.judgements[0].design_log_odds <= 0:
            return []
        best = self.verifications.get(self.judgements[0].candidate.item_id)
        if best is None or not family_sign(best) or best.near_twin_item in self.verifications:
            return []
        return [c for c in self.shortlist if c.item_id == best.near_twin_item]

    def with_near_twin(self, todo: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates to check, and the likeliest item's near-twin unless it is there."""
        return [*todo, *(c for c in self.unchecked_near_twin() if c not in todo)]

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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a look has shown. judgements: of its shortlist, the likeliest first. stage_ms: what the
    stages of its batch took. Others: as the look's.
    """

    track: Track
    stamp: FrameStamp
    now_s: float
    tracking: int
    judgements: tuple[Judgement, ...]
    frame_ms: dict[str, float]
    stage_ms: dict[str, float]


def verify_looks(
    verifier: Verifier,
    looks: Sequence[Look],
    rounds: int = 1,
    at_first: int = FIRST_CANDIDATES,
    one_by_one: bool = False,
) -> None:
    """Check the nearest candidates; in a second round more of what proved nothing yet; and the
    listed near-twin of the likeliest item.

    one_by_one: the nearest alone at first; where it is proved the others are left out.
    """
    pictures = [verifier.prepare(look.crop.image_bgr) for look in looks]
    for look, picture in zip(looks, pictures, strict=True):
        look.widen_shortlist(picture.keypoints)
    todo = [
        look.first_checks or first_checks(look.shortlist, look.believed, look.n_looks, at_first)
        for look in looks
    ]
    if one_by_one:
        _check(verifier, looks, pictures, [candidates[:1] for candidates in todo])
        todo = [
            [] if look.is_proved else look.with_near_twin(candidates[1:])
            for look, candidates in zip(looks, todo, strict=True)
        ]
    for _ in range(rounds):
        _check(verifier, looks, pictures, todo)
        todo = [
            checks_after(look.shortlist, look.verifications, look.best_log_odds) for look in looks
        ]
    while not one_by_one and any(todo := [look.unchecked_near_twin() for look in looks]):
        _check(verifier, looks, pictures, todo)


def _check(
    verifier: Verifier,
    looks: Sequence[Look],
    pictures: Sequence[Picture],
    todo: Sequence[Sequence[Candidate]],
) -> None:
    """Verify each look's candidates, and judge all of its shortlist by what is known now."""
    pairs = [(i, candidate) for i, wanted in enumerate(todo) for candidate in wanted]
    results = verifier.verify(
        [(pictures[i], looks[i].shelf.view(c.view_index)) for i, c in pairs],
        [looks[i].outline_of(c) for i, c in pairs],
    )
    for (i, candidate), result in zip(pairs, results, strict=True):
        looks[i].verifications[candidate.item_id] = result
    for look in looks:
        look.judgements = judge(
            look.crop, look.shortlist, look.verifications, look.shelf.calibration
        )
