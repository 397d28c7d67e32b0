"""The peers do what they are said to do."""

import itertools
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.peer_loops import _padded, _TrackNames
from benchmarks.peer_parts import MIN_INLIERS, CropIdentifier, _stand_in_for_lap
from pipeline.color import frame_from_bgr
from pipeline.keypoints import KeypointExtractor
from pipeline.options import VerifyOptions
from pipeline.types import Detections

FRAME = frame_from_bgr(np.zeros((64, 64, 3), np.uint8))
BOX = np.array([8, 8, 40, 40], np.float32)


class Tracker:
    def track(self, boxes: Detections, now_s: float, size_wh: tuple[int, int]) -> list[Any]:
        return [SimpleNamespace(track_id=7, xyxy=BOX)]


class Identifier:
    """Knows nothing at first, then an item."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, ...]] = []

    def identify(self, crop_bgr: np.ndarray) -> str | None:
        self.asked.append(crop_bgr.shape)
        return self.answers.pop(0)


def test_the_strong_loop_names_a_track_once_and_tries_again_after_half_a_second() -> None:
    identifier = Identifier(None, "soup")
    names = _TrackNames(Tracker(), identifier)
    seen = [
        names.follow(FRAME, Detections.empty(), now_s) for now_s in (0.0, 0.1, 0.4, 0.5, 0.6, 9.0)
    ]
    assert seen == [[], [], [], ["soup"], ["soup"], ["soup"]]
    assert names.n_identified == len(identifier.asked) == 2
    assert identifier.asked[0] == (32, 32, 3)


def test_padding_takes_no_part_in_static_shapes() -> None:
    shapes: list[tuple[int, ...]] = []

    def lightglue(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        shapes.extend(array.shape for array in arrays)
        assert (arrays[0][:, 64:, 2] == 0).all()  # scale 0: not there
        return (np.arange(256 * 256).reshape(1, 256, 256),)

    rows, descriptors = np.ones((1, 64, 4)), np.ones((1, 64, 128))
    size = np.ones((1, 2))
    (found,) = _padded(lightglue)(rows, rows, descriptors, descriptors, size, size)
    assert shapes == [(1, 256, 4)] * 2 + [(1, 256, 128)] * 2 + [(1, 2)] * 2
    assert found.shape == (1, 64, 64) and found[0, 1, 0] == 256


def test_a_crop_is_named_by_the_view_with_most_inliers() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (12, 12, 3)).astype(np.uint8) for _ in range(3)]
    pictures = [np.kron(p, np.ones((16, 16, 1), np.uint8)) for p in pictures]
    extractor = KeypointExtractor(VerifyOptions())
    catalog = SimpleNamespace(
        embeddings=np.eye(3, 4, dtype=np.float32),
        keypoints=lambda row: extractor.extract(pictures[row]),
        items=[SimpleNamespace(item_id=f"item-{i}") for i in range(3)],
        view_item=np.arange(3),
    )

    def lightglue(rows0: Any, rows1: Any, first: Any, second: Any, *sizes: Any) -> tuple[Any, ...]:
        return ((first @ second.transpose(0, 2, 1) > 0.999).astype(np.float32),)

    def embed(pixels: np.ndarray) -> tuple[np.ndarray]:
        return (np.full((1, 4), 0.5, np.float32),)

    identifier = CropIdentifier(catalog, embed, lightglue)  # type: ignore[arg-type]
    assert [identifier.identify(picture) for picture in pictures] == ["item-0", "item-1", "item-2"]
    assert identifier.identify(np.zeros((50, 50, 3), np.uint8)) is None
    assert identifier.identify(pictures[0][:10, :10]) is None
    assert MIN_INLIERS > 4


def test_the_stand_in_for_lap_pairs_at_least_cost_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "lap", None)
    _stand_in_for_lap()
    lap: Any = sys.modules["lap"]
    rng = np.random.default_rng(0)
    for _ in range(20):
        cost = rng.random((3, 4))
        total, rows, columns = lap.lapjv(cost, extend_cost=True, cost_limit=2.0)
        least = min(
            sum(cost[i, j] for i, j in enumerate(chosen))
            for chosen in itertools.permutations(range(4), 3)
        )
        assert total == pytest.approx(least)
        assert all(columns[j] == i for i, j in enumerate(rows) if j >= 0)
    _, rows, columns = lap.lapjv(np.array([[0.9, 0.1], [0.95, 0.99]]), cost_limit=0.5)
    assert list(rows) == [1, -1] and list(columns) == [-1, 0]
