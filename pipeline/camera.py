"""What is known of one camera between its frames: tracks, what they are taken for, sightings."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.attend import Attention, State
from pipeline.boxes import area, bounds, iou_matrix
from pipeline.decide import Belief, Judgement, match_of
from pipeline.options import MatcherOptions, Regions
from pipeline.shelf import Shelf
from pipeline.sightings import Identified, Sightings
from pipeline.timing import FrameClock
from pipeline.track import WHOLE_FRAME_ID, Tracker
from pipeline.types import Candidate, Detections, Evidence, Frame, Match, Tier, Track

LOOKS_PER_FRAME = 2  # tracks identified in a frame at most; the others wait for the next
LIES_IN_IOU = 0.3  # of a candidate's outline and the track's box; half an item may be out of view
WHOLE_FRAME_FILLED = 0.25  # share of the frame that an item covers to be told as the whole frame


class Camera:
    """One camera's state; the matcher calls `follow`, `attend`, `learn`, `identify` in this order.

    regions: fixed regions of this camera, shares of the frame.
    """

    def __init__(self, name: str, shelf: Shelf, options: MatcherOptions, regions: Regions) -> None:
        self.shelf = shelf
        self.clock = FrameClock()
        catalog = shelf.catalog
        self.sightings = Sightings(options.decide, catalog.name, catalog.generation)
        self._options = options
        self._tracker = Tracker(name, options.track, options.detect.whole_frame, regions)
        self._attention = Attention(options.crop)
        self._beliefs: dict[int, Belief] = {}
        self._confirmed: set[int] = set()  # tracks whose belief a look at this frame bore out

    def follow(self, detections: Detections, now_s: float, size_wh: tuple[int, int]) -> list[Track]:
        """Return the tracks in a frame; start a belief for new ones, forget those that are gone."""
        tracks = self._tracker.track(detections, now_s, size_wh, self.clock.slowness)
        alive = self._tracker.alive()
        self._beliefs = {track_id: self._beliefs.get(track_id, Belief()) for track_id in alive}
        self._attention.forget(alive)
        return tracks

    def attend(self, frame: Frame, tracks: Sequence[Track], now_s: float) -> list[Track]:
        """Return the tracks to identify in this frame."""
        states: dict[int, State] = {}
        for track in tracks:
            belief = self._beliefs[track.track_id]
            verdict = belief.verdict(self._options.decide, self.shelf.calibration)
            if verdict is None or verdict.tier is None:
                continue
            if track.is_whole_frame and not _fills(
                match_of(verdict, verdict.tier, track, ""), track
            ):
                continue  # an item somewhere in it, which has a box of its own: no news
            is_settled = verdict.tier is Tier.EXACT and not belief.is_in_doubt
            states[track.track_id] = State.SETTLED if is_settled else State.LIKELY
        self._confirmed.clear()
        return self._attention.choose(frame, tracks, states, now_s, LOOKS_PER_FRAME)

    def believed(self, track: Track) -> tuple[Candidate | None, int]:
        """Return what the track is taken for so far, and after how many looks."""
        belief = self._beliefs[track.track_id]
        return belief.item(), belief.n_looks

    def learn(self, track: Track, judgements: Sequence[Judgement]) -> None:
        """Take in what one more look at a track has shown."""
        belief = self._beliefs[track.track_id]
        belief.add([judgement for judgement in judgements if _lies_in(judgement, track)])
        if belief.item() is not None and not belief.is_in_doubt:
            self._confirmed.add(track.track_id)

    def identify(self, tracks: Sequence[Track]) -> list[Identified]:
        """Return the tracks of a frame that are taken for an item well enough to be told."""
        identified = []
        for track in tracks:
            belief = self._beliefs[track.track_id]
            verdict = belief.verdict(self._options.decide, self.shelf.calibration)
            if verdict is None or verdict.tier is None:
                continue
            label = self.shelf.label[verdict.best.candidate.item_id]
            match = match_of(verdict, verdict.tier, track, label)
            if track.is_whole_frame and not _fills(match, track):
                continue
            evidence = self._evidence(verdict.best)
            identified.append(Identified(track, match, evidence, self._is_doubtful(track)))
        return identified

    def _is_doubtful(self, track: Track) -> bool:
        """Whether the track may have been exchanged with another, and no look has told yet."""
        if track.track_id in self._confirmed:
            return False
        is_in_doubt = self._beliefs[track.track_id].is_in_doubt
        return is_in_doubt or self._attention.is_suspect(track)

    def _evidence(self, judgement: Judgement) -> Evidence | None:
        if not self._options.keep_evidence or judgement.verification is None:
            return None
        return Evidence(
            judgement.crop.image_bgr,
            judgement.candidate.view_index,
            judgement.verification.correspondences_xyxy,
        )


def _lies_in(judgement: Judgement, track: Track) -> bool:
    """Whether a candidate was found where the track is, not beside it in the same crop."""
    outline = judgement.outline()
    if outline is None or track.is_whole_frame:
        return True
    found_at = bounds(outline)[None]
    return float(iou_matrix(found_at, track.xyxy[None])[0, 0]) >= LIES_IN_IOU


def _fills(match: Match, track: Track) -> bool:
    """Whether a match in a fixed region is verified, and large enough to stand for the region."""
    if match.outline is None:
        return False
    is_whole = track.track_id == WHOLE_FRAME_ID
    needed = WHOLE_FRAME_FILLED if is_whole else 0.0
    return float(area(match.box_xyxy)) >= needed * float(area(track.xyxy))
