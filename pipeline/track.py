"""Boxes followed through one camera's frames, so that one object is identified once.

Method: ByteTrack (Zhang et al., 2022: sure boxes are matched first, then the unsure ones, so that a
half-hidden object keeps its track) over the widened boxes of C-BIoU (Yang et al., 2023), for low
frame rates; both of the library `trackers`.
"""

from __future__ import annotations

import numpy as np
import supervision
from trackers import BIoU, ByteTrackTracker

from pipeline.options import TrackOptions
from pipeline.types import Detections, Track

WIDENED = 0.3  # share of the side added all around before boxes are compared
MIN_IOU_WIDENED = 0.2
SAME_BOX_IOU = 0.7  # of two boxes so alike the worse tells the same object again
BUFFER_FPS = 30.0  # the unit in which the library counts how long it keeps a lost track
SHORTEST_STEP_S = 1e-6  # the library complains of a clock that stands still
WHOLE_FRAME_ID = 0


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
        self._fixed = {WHOLE_FRAME_ID: (0.0, 0.0, 1.0, 1.0)} if whole_frame else {}
        self._fixed |= {i + 1: region for i, region in enumerate(regions)}
        self._next_id = len(regions) + 1
        self._ages: dict[int, int] = {}  # frames in which a track was seen before
        self._now_s = 0.0  # the library's
        self._frame_s = 0.0
        self._n_frames = 0
        self._min_score = options.min_score
        self._bytetrack = ByteTrackTracker(
            lost_track_buffer=round(options.keep_s * BUFFER_FPS),
            frame_rate=BUFFER_FPS,
            track_activation_threshold=options.min_score,
            high_conf_det_threshold=options.min_score,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=MIN_IOU_WIDENED,
            iou=BIoU(WIDENED),
        )

    def track(
        self, detections: Detections, now_s: float, size_wh: tuple[int, int], slowness: float = 1.0
    ) -> list[Track]:
        """Return the tracks seen in this frame: fixed regions first, then one a matched box.

        now_s: the frame's time on a clock that never goes back. slowness: by how much further
        apart the camera's pictures are than usual (timing.py): a track lives so much longer.
        """
        step_s = max(SHORTEST_STEP_S, (now_s - self._frame_s) / slowness)
        self._now_s, self._frame_s = self._now_s + step_s, now_s
        rows_by_id = self._associate(detections)
        self._ages = {i: age + (i in rows_by_id) for i, age in self._ages.items()}
        self._ages = {i: self._ages.get(i, 0) for i in self._alive()}
        tracks = self._fixed_tracks(size_wh) + [
            Track(
                self._camera,
                track_id,
                detections.xyxy[row],
                float(detections.score[row]),
                int(detections.class_id[row]),
                self._ages[track_id],
            )
            for track_id, row in sorted(rows_by_id.items())
        ]
        self._n_frames += 1
        return tracks

    def stay(self, now_s: float) -> None:
        """Nothing moves until now: no box goes on, no track grows older."""
        self._frame_s = now_s

    def alive(self) -> set[int]:
        """Return the numbers of the tracks that are seen, or lost for less than keep_s."""
        return self._alive() | set(self._fixed)

    def _alive(self) -> set[int]:
        return {followed.tracker_id for followed in self._bytetrack.tracks}

    def _associate(self, detections: Detections) -> dict[int, int]:
        """Return the row of the detection by the number of the track that it shows."""
        found = supervision.Detections(
            detections.xyxy,
            confidence=detections.score,
            data={"row": np.arange(len(detections.xyxy))},
        )
        found = found.with_nms(SAME_BOX_IOU, class_agnostic=True)
        told = self._bytetrack.update(found, timestamp=self._now_s)
        ids, rows = np.asarray(told.tracker_id), np.asarray(told.data.get("row", []), np.int64)
        # The library numbers a track in its second frame; an item is to be told in its first one.
        # Sure boxes without a number are the new tracks, in the same order.
        score = detections.score[rows].astype(np.float64)  # as the library compares it
        is_new = (ids < 0) & (score >= self._min_score)
        started = [followed for followed in self._bytetrack.tracks if followed.tracker_id < 0]
        for followed in started:
            followed.tracker_id = self._next_id
            self._next_id += 1
        ids[is_new] = [followed.tracker_id for followed in started]
        return {int(i): int(row) for i, row in zip(ids, rows, strict=True) if i >= 0}

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
