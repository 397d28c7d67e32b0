from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.boxes import iou_matrix, pad_and_clip
from pipeline.options import TrackOptions
from pipeline.track import Tracker
from pipeline.types import Detections

SIZE_WH = (640, 360)
FPS = 25


def detections(*boxes: tuple[float, float, float, float], score: float = 0.9) -> Detections:
    n = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(n, 4)
    return Detections(xyxy, np.full(n, score, np.float32), np.zeros(n, np.int32))


def box_at(x: float, y: float, side: float = 40) -> tuple[float, float, float, float]:
    return (x, y, x + side, y + side)


@pytest.mark.parametrize(
    ("name", "step_px", "fps", "score"),
    [
        ("nothing moves", 0.0, 25, 0.9),
        ("slow", 3.0, 25, 0.9),
        ("fast: half its side a frame", 20.0, 25, 0.9),
        ("few frames a second", 25.0, 4, 0.9),
    ],
)
def test_one_object_keeps_its_number(name: str, step_px: float, fps: int, score: float) -> None:
    tracker = Tracker("door", TrackOptions())
    seen = []
    for i in range(12):
        found = detections(box_at(10 + step_px * i, 100), score=score)
        seen += tracker.track(found, i / fps, SIZE_WH)
    assert {t.track_id for t in seen} == {1}, name
    assert [t.age_frames for t in seen] == list(range(12))


def test_objects_that_cross_keep_their_numbers() -> None:
    tracker = Tracker("door", TrackOptions())
    for i in range(20):
        right, left = box_at(50 + 10 * i, 100), box_at(250 - 10 * i, 125)
        tracks = tracker.track(detections(right, left), i / FPS, SIZE_WH)
    by_id = {t.track_id: t.xyxy[0] for t in tracks}
    assert by_id == {1: pytest.approx(240), 2: pytest.approx(60)}


def test_half_hidden_object_is_kept_by_its_weak_box_but_starts_no_track() -> None:
    tracker = Tracker("door", TrackOptions(min_score=0.25))
    assert tracker.track(detections(box_at(50, 50), score=0.15), 0.0, SIZE_WH) == []
    tracker.track(detections(box_at(50, 50)), 0.04, SIZE_WH)
    weak = tracker.track(detections(box_at(52, 50), score=0.15), 0.08, SIZE_WH)
    assert [t.track_id for t in weak] == [1] and weak[0].score == pytest.approx(0.15)


def test_a_score_that_rounds_to_the_least_one_upsets_nothing() -> None:
    """0.7 is a little less as float32, in which scores come, than as the option's float64."""
    tracker = Tracker("door", TrackOptions(min_score=0.7))
    found = detections(box_at(50, 50), box_at(200, 50))
    found = replace(found, score=np.array([0.9, 0.7], np.float32))
    assert [t.xyxy[0] for t in tracker.track(found, 0.0, SIZE_WH)][:1] == [50]


def test_lost_object_is_found_again_within_keep_s_only() -> None:
    options = TrackOptions(keep_s=0.5)
    for away_s, expected in ((0.4, 1), (0.7, 2)):
        tracker = Tracker("door", options)
        tracker.track(detections(box_at(50, 50)), 0.0, SIZE_WH)
        assert tracker.track(detections(), 0.1, SIZE_WH) == []
        back = tracker.track(detections(box_at(52, 50)), away_s, SIZE_WH)
        assert [t.track_id for t in back] == [expected]
        assert tracker.alive() == {expected}


def test_whole_frame_and_regions_stand_in_every_frame() -> None:
    tracker = Tracker("door", TrackOptions(), whole_frame=True, regions=((0.5, 0.0, 1.0, 0.5),))
    tracks = tracker.track(detections(box_at(5, 5)), 0.0, SIZE_WH)
    assert [(t.track_id, t.is_whole_frame) for t in tracks] == [(0, True), (1, True), (2, False)]
    assert tracks[0].xyxy.tolist() == [0, 0, 640, 360]
    assert tracks[1].xyxy.tolist() == [320, 0, 640, 180]


def test_time_that_stands_still_or_jumps_breaks_nothing() -> None:
    tracker = Tracker("door", TrackOptions())
    for at_s in (0.0, 0.0, 500.0, 500.0):
        tracks = tracker.track(detections(box_at(50, 50)), at_s, SIZE_WH)
        assert np.isfinite(tracks[0].xyxy).all()


def test_iou_against_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 20, (6, 4)).astype(np.float32)
    b = rng.integers(0, 20, (5, 4)).astype(np.float32)
    for boxes in (a, b):
        boxes[:, 2:] = boxes[:, :2] + rng.integers(0, 12, (len(boxes), 2))

    def mask(box: np.ndarray) -> np.ndarray:
        canvas = np.zeros((40, 40), bool)
        x0, y0, x1, y1 = box.astype(int)
        canvas[y0:y1, x0:x1] = True
        return canvas

    for i, j in np.ndindex(6, 5):
        both, either = mask(a[i]) & mask(b[j]), mask(a[i]) | mask(b[j])
        expected = both.sum() / either.sum() if either.any() else 0.0
        assert iou_matrix(a, b)[i, j] == pytest.approx(expected)
    assert iou_matrix(a[:0], b).shape == (0, 5)


def test_padded_box_stays_inside() -> None:
    assert pad_and_clip(np.array([-5, 10, 20, 30], np.float32), 0.1, (100, 32)) == (0, 8, 23, 32)
    assert pad_and_clip(np.array([200, 0, 220, 9], np.float32), 0.1, (100, 32))[::2] == (100, 100)


def test_a_box_told_twice_is_one_object_and_neighbours_are_two() -> None:
    tracker = Tracker("door", TrackOptions())
    twice = detections(box_at(50, 50), box_at(53, 51), box_at(80, 50))
    twice = replace(twice, score=np.array([0.9, 0.8, 0.7], np.float32))
    assert [t.xyxy[0] for t in tracker.track(twice, 0.0, SIZE_WH)] == [50, 80]
    assert len(tracker.track(twice, 0.04, SIZE_WH)) == 2
