"""Where the work of identifying goes: which tracks deserve a look now.

A track is looked at when it first looks good, again when a better view comes or the last look
decided nothing (ever less often, so that unknown objects do not eat the CPU), and seldom once it
is settled: then it costs detection and tracking, and glances where it may have been exchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np

from pipeline.boxes import area, intersection_matrix, iou_matrix, pad_and_clip
from pipeline.options import CropOptions
from pipeline.types import F32, Frame, Track

SURE_SCORE = 0.5  # a box surer than this is looked at in its first frame, others in their second
BETTER_VIEW = 1.3  # ratio of qualities that makes a view worth a look of its own
RENEWED_VIEW = 0.8  # a look that waits is made anew unless the view is so much worse
WORSE_VIEW = 0.5  # a settled track is not checked again in a view so much worse than its best
FIRST_WAIT_S = 0.1  # after a look that decided nothing; doubles with each
LONGEST_WAIT_S = 3.0
LOOKS_AT_REST = 4  # at a track that is not settled, in a picture that stays the same
RECHECK_S = 2.0  # a settled track
FEW_NEW = 2  # tracks to see for the first time, or much better: a frame with half the looks does
SUSPECT_RECHECK_S = 0.3  # a settled track that met another: the two may have been exchanged
AT_REST_IOU = 0.9  # of its box now and when it was last looked at: it stands beside the other
MEETING_SHARE = 0.1  # of the smaller box that two tracks share when they meet
OTHER_COLOR = 6.0  # levels of chroma, mean or spread, that a box differs from when it was looked at
JUMP_IOU = 0.4  # of a track's boxes in two frames; less: it may have jumped onto another object
REGION_RECHECK_S = 0.4  # a fixed region, which does not end when its item leaves
BORDER_PX = 3.0
FULL_SIDE_PX = 200.0  # more pixels do not make a view better
HALF_SHARPNESS = 60.0  # variance of the Laplacian at which a view counts half
SHARPNESS_SIDE_PX = 128


class State(IntEnum):
    """How far a track has been identified."""

    UNDECIDED = 0
    LIKELY = 1
    SETTLED = 2


@dataclass(frozen=True, slots=True)
class Chosen:
    """A track to look at. overdue: the time since its last look in waits; inf: never seen so.

    is_suspect: it may have been exchanged with another since it was last looked at. is_glance: its
    embedding may do (identify/glance.py), as it was looked at in detail lately.
    """

    track: Track
    overdue: float
    is_suspect: bool
    is_glance: bool = False


@dataclass(slots=True)
class _Looked:
    at_s: float
    in_detail_s: float
    quality: float
    n_undecided: int
    color: F32
    xyxy: F32


class Attention:
    """Chooses one camera's tracks to look at."""

    def __init__(self, options: CropOptions) -> None:
        self._min_side_px = options.min_side_px
        self._looked: dict[int, _Looked] = {}
        # Met another track, jumped, or changed colour since they were last looked at alone.
        self._suspects: set[int] = set()
        self._changed: set[int] = set()  # those of them that jumped or changed colour
        self._boxes: dict[int, F32] = {}  # of the last frame

    def choose(
        self,
        frame: Frame,
        tracks: Sequence[Track],
        states: Mapping[int, State],
        now_s: float,
        at_most: int,
        pending: Collection[int] = (),
        waiting: Collection[int] = (),
    ) -> list[Chosen]:
        """Return the tracks to look at in this frame, the most urgent first.

        New ones and those that show much more than before come first, of them the surest that are
        not cut off by the border, as what is just coming in is; then the longest overdue in
        proportion to its wait. Unless many are new, half of `at_most` are looked at: a frame that
        is done sooner lets the next one in, and with it what comes into view now.
        states: by track number; a track that is missing is undecided. pending: tracks whose last
        look has not been answered yet; only a much better view of them is worth another. waiting:
        of these, the ones that nobody has begun with; a newer view takes the place of theirs.
        """
        due: list[tuple[float, bool, bool, float, Track]] = []
        meeting = _meeting(tracks)
        self._changed |= self._jumped(tracks)
        for track in tracks:
            looked = self._looked.get(track.track_id)
            if looked and np.abs(box_color(frame, track) - looked.color).max() > OTHER_COLOR:
                self._changed.add(track.track_id)
        self._suspects |= meeting | self._changed
        for track in tracks:
            looked = self._looked.get(track.track_id)
            state = states.get(track.track_id, State.UNDECIDED)
            if self._may_look(frame, track, looked, state, now_s):
                overdue = self._overdue(looked, state, now_s, track, frame)
                is_asked = track.track_id in pending and overdue < np.inf
                if overdue >= 1.0 and not is_asked:
                    is_cut = not _is_inside(track, frame.size_wh)
                    urgency = -overdue, track.is_whole_frame, is_cut, -track.score
                    due.append((*urgency, track))
        due.sort(key=lambda entry: entry[:-1])
        n_new = sum(overdue == -np.inf for overdue, *_ in due)
        count = at_most if n_new > FEW_NEW else max(1, at_most // 2)
        chosen = [
            Chosen(
                track,
                -urgency,
                track.track_id in self._suspects,
                self._is_glance(track, states.get(track.track_id), now_s),
            )
            for urgency, *_, track in due[:count]
        ]
        chosen += self._renewed(frame, tracks, set(waiting) - {c.track.track_id for c in chosen})
        for each in chosen:
            state = states.get(each.track.track_id, State.UNDECIDED)
            self._note(frame, each, state, now_s, each.track.track_id in pending)
        self._suspects -= {each.track.track_id for each in chosen} - meeting
        self._changed -= {each.track.track_id for each in chosen}
        return chosen

    def _is_glance(self, track: Track, state: State | None, now_s: float) -> bool:
        """Whether a settled track was looked at in detail lately."""
        looked = self._looked.get(track.track_id)
        return (
            state is State.SETTLED and looked is not None and looked.in_detail_s > now_s - RECHECK_S
        )

    def _renewed(
        self, frame: Frame, tracks: Sequence[Track], waiting: Collection[int]
    ) -> list[Chosen]:
        """Return the tracks whose waiting look is to be newer, unless it would be much worse."""
        found = []
        for track in tracks:
            looked = self._looked.get(track.track_id)
            if looked is None or track.track_id not in waiting:
                continue
            if view_quality(frame, track) >= RENEWED_VIEW * looked.quality:
                found.append(Chosen(track, 1.0, track.track_id in self._suspects))
        return found

    def is_any_due(
        self,
        frame: Frame,
        tracks: Sequence[Track],
        states: Mapping[int, State],
        now_s: float,
        rests_s: float,
    ) -> bool:
        """Whether a track needs a look now, though the picture has stayed the same since rests_s.

        One that was never looked at does, or not since it may have been exchanged, or that is not
        settled and has waited, for its first looks. Others do not: they show what they showed.
        """
        for track in tracks:
            looked = self._looked.get(track.track_id)
            if looked is None:
                if self._is_large_enough(frame, track):
                    return True
                continue
            if states.get(track.track_id) is State.SETTLED:
                if track.track_id in self._suspects and looked.at_s < rests_s:
                    return True
            elif looked.n_undecided < LOOKS_AT_REST:
                if now_s - looked.at_s >= _undecided_wait_s(looked):
                    return True
        return False

    def is_suspect(self, track: Track) -> bool:
        """Whether the track met another, or jumped, since it was last looked at alone."""
        return track.track_id in self._suspects

    def _jumped(self, tracks: Sequence[Track]) -> set[int]:
        """Return the numbers of the tracks whose box is not where it was in the last frame."""
        before, self._boxes = self._boxes, {t.track_id: t.xyxy for t in tracks}
        return {
            t.track_id
            for t in tracks
            if t.track_id in before
            and iou_matrix(before[t.track_id][None], t.xyxy[None])[0, 0] < JUMP_IOU
        }

    def note_hopeless(self, track: Track) -> None:
        """A look at a track has shown nothing like any item: further ones come twice as late."""
        looked = self._looked.get(track.track_id)
        if looked is not None:
            looked.n_undecided += 1

    def forget(self, alive: set[int]) -> None:
        """Drop what is known of tracks that are gone."""
        self._looked = {k: v for k, v in self._looked.items() if k in alive}
        self._suspects &= alive
        self._changed &= alive

    def _may_look(
        self, frame: Frame, track: Track, looked: _Looked | None, state: State, now_s: float
    ) -> bool:
        if not self._is_large_enough(frame, track):
            return False
        if looked is None:
            return track.score >= SURE_SCORE or track.age_frames > 0
        return now_s - looked.at_s >= FIRST_WAIT_S or state is State.SETTLED

    def _is_large_enough(self, frame: Frame, track: Track) -> bool:
        """Whether a crop of the track would be, in px of the picture that it is cut from."""
        sides = (track.xyxy[2:] - track.xyxy[:2]) * frame.detail_xy
        return bool(min(sides) >= self._min_side_px)

    def _overdue(
        self, looked: _Looked | None, state: State, now_s: float, track: Track, frame: Frame
    ) -> float:
        """Return the time since the last look, in waits: from 1 on another one is due."""
        if looked is None:
            return np.inf
        waited_s = now_s - looked.at_s
        if state is State.SETTLED:
            if track.is_whole_frame:
                return waited_s / REGION_RECHECK_S
            if track.track_id in self._suspects and not self._rests(track, looked):
                return waited_s / SUSPECT_RECHECK_S
            if waited_s < RECHECK_S or view_quality(frame, track) < WORSE_VIEW * looked.quality:
                return 0.0
            return waited_s / RECHECK_S
        if view_quality(frame, track) > BETTER_VIEW * looked.quality:
            return np.inf
        return waited_s / _undecided_wait_s(looked)

    def _rests(self, track: Track, looked: _Looked) -> bool:
        """Whether a track stands where it was looked at, beside another: they were not exchanged.

        Packs on a shelf touch; looked at every 0.3 s they would leave no time for what comes in.
        """
        if track.track_id in self._changed:
            return False
        return float(iou_matrix(looked.xyxy[None], track.xyxy[None])[0, 0]) >= AT_REST_IOU

    def _note(
        self, frame: Frame, chosen: Chosen, state: State, now_s: float, is_pending: bool
    ) -> None:
        track = chosen.track
        before = self._looked.get(track.track_id)
        quality = view_quality(frame, track)
        n_undecided = 0
        if before and state is not State.SETTLED:
            n_undecided = before.n_undecided + (not is_pending)
        best = max(quality, before.quality) if before else quality
        color = box_color(frame, track)
        in_detail_s = before.in_detail_s if before and chosen.is_glance else now_s
        self._looked[track.track_id] = _Looked(
            now_s, in_detail_s, best, n_undecided, color, track.xyxy
        )


def _undecided_wait_s(looked: _Looked) -> float:
    return min(FIRST_WAIT_S * 2.0 ** min(looked.n_undecided, 8), LONGEST_WAIT_S)


def _meeting(tracks: Sequence[Track]) -> set[int]:
    """Return the numbers of the tracks whose boxes overlap another's in this frame."""
    boxed = [track for track in tracks if not track.is_whole_frame]
    if len(boxed) < 2:
        return set()
    boxes = np.stack([track.xyxy for track in boxed])
    areas = np.maximum(area(boxes), 1.0)
    shared = intersection_matrix(boxes, boxes) / np.minimum(areas[:, None], areas[None, :])
    np.fill_diagonal(shared, 0.0)
    met = shared.max(axis=1) >= MEETING_SHARE
    return {track.track_id for track, is_met in zip(boxed, met, strict=True) if is_met}


def box_color(frame: Frame, track: Track) -> F32:
    """Return mean and spread of both chroma planes in a box: (4,) float32; light hardly counts.

    It tells cheaply when a track has slid onto another object.
    """
    x0, y0, x1, y1 = (value // 2 for value in pad_and_clip(track.xyxy, 0.0, frame.size_wh))
    if x1 <= x0 or y1 <= y0:
        return np.zeros(4, np.float32)
    chroma = (plane[y0:y1:2, x0:x1:2] for plane in (frame.u, frame.v))
    (u_mean, u_spread), (v_mean, v_spread) = map(_mean_and_spread, chroma)
    return np.array([u_mean, v_mean, u_spread, v_spread], np.float32)


def view_quality(frame: Frame, track: Track) -> float:
    """Return 0..1: how good a look this frame gives at a track, by size, sharpness and border.

    Its size counts in px of the picture that a crop would be cut from.
    """
    x0, y0, x1, y1 = pad_and_clip(track.xyxy, 0.0, frame.size_wh)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return 0.0
    luma = frame.y[y0:y1, x0:x1]
    factor = SHARPNESS_SIDE_PX / max(luma.shape)
    if factor < 1:
        size = (max(1, round(luma.shape[1] * factor)), max(1, round(luma.shape[0] * factor)))
        luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    variance = _mean_and_spread(np.asarray(cv2.Laplacian(luma, cv2.CV_32F)))[1] ** 2
    sharp = variance / (variance + HALF_SHARPNESS)
    size_px = float(np.sqrt((x1 - x0) * (y1 - y0) * np.prod(frame.detail_xy)))
    large = min(1.0, size_px / FULL_SIDE_PX)
    is_whole = track.is_whole_frame or _is_inside(track, frame.size_wh)
    return large * sharp * (1.0 if is_whole else 0.6)


def _mean_and_spread(plane: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation: OpenCV's, in a tenth of numpy's time."""
    mean, spread = cv2.meanStdDev(np.ascontiguousarray(plane))
    return float(mean[0, 0]), float(spread[0, 0])


def _is_inside(track: Track, size_wh: tuple[int, int]) -> bool:
    """Whether a box keeps clear of the frame's border: what it shows is not cut off."""
    x0, y0, x1, y1 = track.xyxy
    width, height = size_wh
    return bool(min(x0, y0) > BORDER_PX and x1 < width - BORDER_PX and y1 < height - BORDER_PX)
