"""Boxes followed through one camera's frames, so that one object is identified once.

Method: ByteTrack (Zhang et al., 2022: sure boxes are matched first, then the unsure ones, so that a
half-hidden object keeps its track) with the widened boxes of C-BIoU (Yang et al., 2023) for low
frame rates. Our own on numpy because the `trackers` package brings supervision, scipy and requests
with it: 0.7 to 1.0 s of the matcher's 3 s to be ready, and 67 MB (docs/matching.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipeline.boxes import iou_matrix
from pipeline.options import TrackOptions
from pipeline.types import F32, F64, Detections, Track

WIDENED = 0.3  # share of the side added all around in the second pass
MIN_IOU_SURE = 0.25
MIN_IOU_WIDENED = 0.2
MIN_IOU_UNSURE = 0.4
SAME_BOX_IOU = 0.7  # a box so like a followed one is that one told twice, no new object
MEASURED_STD = 0.03  # of a box coordinate, in box sides
ACCELERATION_STD = 4.0  # box sides per second², how abruptly held things move
MAX_STEP_S = 1.0  # a longer gap says nothing about motion
WHOLE_FRAME_ID = 0


@dataclass(slots=True)
class _Motion:
    """A box moving at constant velocity: a Kalman filter, its covariance in box sides."""

    centre_wh: F64  # (4,) cx cy w h px
    velocity: F64  # (4,) px per second
    covariance: F64 = field(default_factory=lambda: np.diag([MEASURED_STD**2, 1.0]))

    def predict(self, step_s: float) -> None:
        transition = np.array([[1.0, step_s], [0.0, 1.0]])
        push = np.array([step_s**2 / 2, step_s])
        self.centre_wh = self.centre_wh + self.velocity * step_s
        self.centre_wh[2:] = np.maximum(self.centre_wh[2:], 1.0)
        noise = ACCELERATION_STD**2 * np.outer(push, push)
        self.covariance = transition @ self.covariance @ transition.T + noise

    def correct(self, measured: F64) -> None:
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + MEASURED_STD**2)
        error = measured - self.centre_wh
        self.centre_wh = self.centre_wh + gain[0] * error
        self.velocity = self.velocity + gain[1] * error
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])


@dataclass(slots=True)
class _Followed:
    track_id: int
    motion: _Motion
    xyxy: F32
    score: float
    class_id: int
    age_frames: int
    seen_s: float


class Tracker:
    """Follows the boxes of one camera. Number 0 and up are the whole frame and fixed regions."""

    def __init__(
        self,
        camera: str,
        options: TrackOptions,
        whole_frame: bool = False,
        regions: tuple[tuple[float, float, float, float], ...] = (),
    ) -> None:
        self._camera = camera
        self._options = options
        self._fixed = {WHOLE_FRAME_ID: (0.0, 0.0, 1.0, 1.0)} if whole_frame else {}
        self._fixed |= {i + 1: region for i, region in enumerate(regions)}
        self._next_id = len(regions) + 1
        self._followed: list[_Followed] = []
        self._now_s = 0.0
        self._n_frames = 0

    def track(self, detections: Detections, now_s: float, size_wh: tuple[int, int]) -> list[Track]:
        """Return the tracks seen in this frame: fixed regions first, then one a matched box.

        now_s: the frame's time on a clock that never goes back.
        """
        step_s = min(max(now_s - self._now_s, 0.0), MAX_STEP_S) if self._n_frames else 0.0
        self._now_s = now_s
        keep_s = self._options.keep_s
        self._followed = [t for t in self._followed if now_s - t.seen_s <= keep_s]
        for followed in self._followed:
            followed.motion.predict(step_s)
        seen = self._associate(detections)
        tracks = [
            Track(self._camera, t.track_id, t.xyxy, t.score, t.class_id, t.age_frames) for t in seen
        ]
        fixed = self._fixed_tracks(size_wh)
        self._n_frames += 1
        return fixed + tracks

    def alive(self) -> set[int]:
        """Return the numbers of the tracks that are seen, or lost for less than keep_s."""
        return {t.track_id for t in self._followed} | set(self._fixed)

    def _associate(self, detections: Detections) -> list[_Followed]:
        is_sure = detections.score >= self._options.min_score
        sure, unsure = np.flatnonzero(is_sure).tolist(), np.flatnonzero(~is_sure).tolist()
        waiting = list(range(len(self._followed)))
        seen: list[_Followed] = []
        for rows, min_iou, widened in (
            (sure, MIN_IOU_SURE, 0.0),
            (sure, MIN_IOU_WIDENED, WIDENED),
            (unsure, MIN_IOU_UNSURE, 0.0),
        ):
            for track_row, row in self._pairs(waiting, rows, detections, min_iou, widened):
                waiting.remove(track_row)
                rows.remove(row)
                seen.append(self._see(self._followed[track_row], detections, row))
        for row in sure:
            told = np.array([t.xyxy for t in seen], np.float32).reshape(-1, 4)
            if iou_matrix(detections.xyxy[[row]], told).max(initial=0.0) < SAME_BOX_IOU:
                seen.append(self._start(detections, row))
        return sorted(seen, key=lambda followed: followed.track_id)

    def _pairs(
        self,
        waiting: list[int],
        rows: list[int],
        detections: Detections,
        min_iou: float,
        widened: float,
    ) -> list[tuple[int, int]]:
        """Return (track, detection) rows that overlap most, each at most once."""
        if not waiting or not rows:
            return []
        predicted = np.array([_to_xyxy(self._followed[i].motion.centre_wh) for i in waiting])
        overlap = iou_matrix(_widen(predicted, widened), _widen(detections.xyxy[rows], widened))
        pairs = []
        while overlap.size and overlap.max() >= min_iou:
            i, j = np.unravel_index(int(overlap.argmax()), overlap.shape)
            pairs.append((waiting[int(i)], rows[int(j)]))
            overlap[i, :] = -1.0
            overlap[:, j] = -1.0
        return pairs

    def _see(self, followed: _Followed, detections: Detections, row: int) -> _Followed:
        followed.motion.correct(_to_centre_wh(detections.xyxy[row]))
        followed.xyxy = detections.xyxy[row]
        followed.score = float(detections.score[row])
        followed.class_id = int(detections.class_id[row])
        followed.age_frames += 1
        followed.seen_s = self._now_s
        return followed

    def _start(self, detections: Detections, row: int) -> _Followed:
        motion = _Motion(_to_centre_wh(detections.xyxy[row]), np.zeros(4))
        followed = _Followed(self._next_id, motion, detections.xyxy[row], 0.0, 0, -1, self._now_s)
        self._next_id += 1
        self._followed.append(followed)
        return self._see(followed, detections, row)

    def _fixed_tracks(self, size_wh: tuple[int, int]) -> list[Track]:
        scale = np.array([*size_wh, *size_wh], np.float32)
        return [
            Track(
                self._camera,
                track_id,
                np.asarray(region, np.float32) * scale,
                score=1.0,
                class_id=0,
                age_frames=self._n_frames,
                is_whole_frame=True,
            )
            for track_id, region in self._fixed.items()
        ]


def _to_centre_wh(xyxy: F32) -> F64:
    x0, y0, x1, y1 = (float(v) for v in xyxy)
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, 1.0), max(y1 - y0, 1.0)])


def _to_xyxy(centre_wh: F64) -> F64:
    half = centre_wh[2:] / 2
    return np.concatenate([centre_wh[:2] - half, centre_wh[:2] + half])


def _widen(xyxy: F64 | F32, share: float) -> F64:
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * share
    return np.concatenate([xyxy[:, :2] - margin, xyxy[:, 2:] + margin], axis=1).astype(np.float64)
