"""What is known of one camera between its frames: tracks, what they are taken for, sightings."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from pipeline.attend import Attention, Chosen, State
from pipeline.boxes import area, bounds, iou_matrix
from pipeline.crop import Cropper
from pipeline.identify.belief import Belief, match_of
from pipeline.identify.shelf import Shelf
from pipeline.identify.tuning import HOPELESS
from pipeline.identify.types import Answer, Judgement, Look
from pipeline.motion import MotionGate
from pipeline.options import MatcherOptions, Regions
from pipeline.panels import Panel, panel_of
from pipeline.sightings import Identified, Sightings
from pipeline.timing import FrameClock, FrameStamp
from pipeline.track import WHOLE_FRAME_ID, Tracker
from pipeline.types import (
    F32,
    Detections,
    Evidence,
    Frame,
    Match,
    Proposal,
    Sighting,
    Tier,
    Track,
)

LOOKS_PER_FRAME = 2  # tracks identified in a frame at most; the others wait for the next
LIES_IN_IOU = 0.3  # of a proposal's outline and the track's box; half an item may be out of view
WHOLE_FRAME_FILLED = 0.25  # share of the frame that an item covers to be told as the whole frame


_trackings = itertools.count()


class Camera:
    """One camera's state, which the follow lane alone touches.

    With each frame: `follow`, `attend`, then `step`, or `coast`, or `stay`. With each answer:
    `learn`; where it comes later than its frame's step, `ask` before and `tell` after. regions:
    fixed regions of this camera, shares of the frame. tracking: a number that no other camera, nor
    this one after it starts anew, has.
    """

    def __init__(self, name: str, shelf: Shelf, options: MatcherOptions, regions: Regions) -> None:
        self.shelf = shelf
        self.tracking = next(_trackings)
        self.clock = FrameClock()
        catalog = shelf.catalog
        self.sightings = Sightings(options.decide, catalog.name, catalog.generation)
        self._options = options
        self._tracker = Tracker(name, options.track, options.detect.whole_frame, regions)
        self._attention = Attention(options.crop)
        self._beliefs: dict[int, Belief] = {}
        self._confirmed: set[int] = set()  # tracks whose belief a look at this frame bore out
        self._tracks: list[Track] = []  # of the last frame that was looked at
        self._tracked_s = 0.0
        self._motion: dict[int, F32] = {}  # px a second of a track's box, by track number
        self._pending: Counter[int] = Counter()  # looks that are not answered yet, by track number
        self._unsure: set[int] = set()  # tracks that may have been exchanged, until an answer
        self._gate = MotionGate()

    def follow(self, detections: Detections, now_s: float, size_wh: tuple[int, int]) -> list[Track]:
        """Return the tracks in a frame; start a belief for new ones, forget those that are gone."""
        self._gate.searched(now_s)
        tracks = self._tracker.track(detections, now_s, size_wh, self.clock.slowness)
        self._note_motion(tracks, now_s)
        alive = self._tracker.alive()
        self._beliefs = {track_id: self._beliefs.get(track_id, Belief()) for track_id in alive}
        self._attention.forget(alive)
        self._unsure &= alive
        return tracks

    def coast(self, frame: Frame) -> list[Sighting]:
        """Return what changed with a frame that is not looked at: boxes go on as they moved."""
        now_s = self.clock.advance(frame)
        limit = np.array([*frame.size_wh, *frame.size_wh], np.float32)
        step_s = np.float32(now_s - self._tracked_s)
        tracks = []
        for track in self._tracks:
            motion = self._motion.get(track.track_id)
            if motion is not None:
                xyxy = np.clip(track.xyxy + motion * step_s, 0, limit)
                if (xyxy[2:] - xyxy[:2]).min() < 1:
                    continue  # it has left the picture
                track = replace(track, xyxy=xyxy)
            tracks.append(track)
        return self.step(FrameStamp.of(frame), tracks, now_s, {})

    def is_still(self, frame: Frame, look_again_s: float) -> bool:
        """Whether a search of this frame would find what the last one found.

        Nothing has moved since, no track is lost, and the last search is less than look_again_s
        ago.
        """
        is_still = self._gate.is_still(frame.y, self.clock.would_be(frame), look_again_s)
        is_any_lost = self._tracker.alive() != {track.track_id for track in self._tracks}
        return is_still and not is_any_lost

    def stay(self, frame: Frame, waiting: Collection[int] = ()) -> tuple[list[Chosen], float]:
        """Let tracks stay as they are with a frame in which nothing moves; return those that are to
        be identified in it all the same, and the camera's time.

        waiting: as for `attend`.
        """
        now_s = self.clock.advance(frame)
        self._tracker.stay(now_s)
        self._motion.clear()
        self._tracked_s = now_s
        states = self._states(self._tracks)
        rests_s = self._gate.rests_s
        if waiting or self._attention.is_any_due(frame, self._tracks, states, now_s, rests_s):
            return self.attend(frame, self._tracks, now_s, waiting), now_s
        return [], now_s

    @property
    def tracks(self) -> list[Track]:
        """What stays where nothing moves: the tracks of the frame last searched."""
        return self._tracks

    def _note_motion(self, tracks: Sequence[Track], now_s: float) -> None:
        before = {track.track_id: track.xyxy for track in self._tracks}
        step_s = now_s - self._tracked_s
        self._motion = {
            track.track_id: (track.xyxy - before[track.track_id]) / np.float32(step_s)
            for track in tracks
            if track.track_id in before and step_s > 0 and not track.is_whole_frame
        }
        self._tracks, self._tracked_s = list(tracks), now_s

    def attend(
        self, frame: Frame, tracks: Sequence[Track], now_s: float, waiting: Collection[int] = ()
    ) -> list[Chosen]:
        """Return the tracks to identify in this frame. waiting: those whose look is to be newer."""
        states = self._states(tracks)
        self._confirmed.clear()
        chosen = self._attention.choose(
            frame, tracks, states, now_s, LOOKS_PER_FRAME, self._pending, waiting
        )
        self._unsure |= {each.track.track_id for each in chosen if each.is_suspect}
        return chosen

    def _states(self, tracks: Sequence[Track]) -> dict[int, State]:
        """Return how far each track has been identified, by its number; none: not at all."""
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
        return states

    def believed(self, track: Track) -> tuple[Proposal | None, int]:
        """Return what the track is taken for so far, and after how many looks."""
        belief = self._beliefs[track.track_id]
        return belief.item(), belief.n_looks

    def looks_at(
        self,
        frame: Frame,
        chosen: Sequence[Chosen],
        cropper: Cropper,
        panels: Sequence[Panel],
        now_s: float,
    ) -> list[Look]:
        """Return the looks at tracks that are to be identified, cut out of a frame."""
        crops = cropper.crop(frame, [each.track for each in chosen])
        return [
            Look(
                crop,
                self.shelf,
                *self.believed(each.track),
                panel_of(each.track.xyxy, panels),
                FrameStamp.of(frame),
                now_s,
                self.tracking,
                each.overdue,
                each.is_glance,
            )
            for crop, each in zip(crops, chosen, strict=True)
        ]

    def ask(self, track: Track) -> None:
        """A look at a track was handed on; it must be answered, or given up."""
        self._pending[track.track_id] += 1

    def learn(self, answer: Answer) -> None:
        """Take in what one more look at a track has shown."""
        track = answer.track
        self.give_up(track)
        self._unsure.discard(track.track_id)
        belief = self._beliefs.get(track.track_id)
        if belief is None:
            return
        if answer.borne_out is not None:
            if belief.bear_out(answer.borne_out):
                self._confirmed.add(track.track_id)
            return
        belief.add([judgement for judgement in answer.judgements if _lies_in(judgement, track)])
        if all(judgement.log_odds < HOPELESS for judgement in answer.judgements):
            self._attention.note_hopeless(track)
        if belief.item() is not None and not belief.is_in_doubt:
            self._confirmed.add(track.track_id)

    def give_up(self, track: Track) -> None:
        """A look at a track has its answer, or will have none."""
        self._pending[track.track_id] -= 1
        self._pending += Counter()  # drops what is down to none

    def step(
        self, stamp: FrameStamp, tracks: Sequence[Track], now_s: float, stage_ms: dict[str, float]
    ) -> list[Sighting]:
        """Return what changed with this frame."""
        known = self._identify(tracks)
        boxed = [track for track in tracks if not track.is_whole_frame]
        awaited = {track.track_id for track in boxed if self._is_awaited(track)}
        return self.sightings.step(
            stamp, known, now_s, stage_ms, self.clock.slowness, boxed, awaited
        )

    def _is_awaited(self, track: Track) -> bool:
        """Whether an answer about a track is to come, or its first look."""
        return track.track_id in self._pending or not self._beliefs[track.track_id].n_looks

    def tell(self, answer: Answer) -> list[Sighting]:
        """Return what an answer changes that came after its frame's step.

        A track that is gone by now is told as well, by this look alone: it appeared, and left.
        """
        track_id = answer.track.track_id
        is_gone = track_id not in self._beliefs
        if is_gone:
            belief = Belief()
            belief.add([j for j in answer.judgements if _lies_in(j, answer.track)])
        else:
            belief = self._beliefs[track_id]
        one = self._taken_for(answer.track, belief)
        if one is None:
            return []
        stage_ms = {**answer.frame_ms, **answer.stage_ms}
        return self.sightings.tell(
            answer.stamp, one, self._identify(self._tracks), answer.now_s, stage_ms, is_gone
        )

    def _identify(self, tracks: Sequence[Track]) -> list[Identified]:
        """Return the tracks of a frame that are taken for an item well enough to be told."""
        found = (self._taken_for(track, self._beliefs[track.track_id]) for track in tracks)
        return [one for one in found if one is not None]

    def _taken_for(self, track: Track, belief: Belief) -> Identified | None:
        verdict = belief.verdict(self._options.decide, self.shelf.calibration)
        if verdict is None or verdict.tier is None:
            return None
        label = self.shelf.label[verdict.best.proposal.item_id]
        match = match_of(verdict, verdict.tier, track, label)
        if track.is_whole_frame and not _fills(match, track):
            return None
        evidence = self._evidence(verdict.best)
        return Identified(track, match, evidence, self._is_doubtful(track))

    def _is_doubtful(self, track: Track) -> bool:
        """Whether the track may have been exchanged with another, and no look has told yet."""
        belief = self._beliefs.get(track.track_id)
        if belief is None or track.track_id in self._confirmed:
            return False
        is_unsure = track.track_id in self._unsure or self._attention.is_suspect(track)
        return belief.is_in_doubt or is_unsure

    def _evidence(self, judgement: Judgement) -> Evidence | None:
        if not self._options.keep_evidence or judgement.verification is None:
            return None
        return Evidence(
            judgement.crop.image_bgr,
            judgement.proposal.view_index,
            judgement.verification.correspondences_xyxy,
        )


def _lies_in(judgement: Judgement, track: Track) -> bool:
    """Whether a proposal was found where the track is, not beside it in the same crop."""
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
