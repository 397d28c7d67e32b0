from __future__ import annotations

import numpy as np
import pytest

from pipeline.color import frame_from_bgr
from pipeline.detect import Detector, input_size_wh, load_detector
from pipeline.engines import Array
from pipeline.errors import ConfigError
from pipeline.options import DetectOptions, EngineOptions
from pipeline.types import Frame


class CornerEngine:
    """Finds the bright rectangle of each input exactly, and a weak box."""

    name = "fake"

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        images = arrays[0]
        self.shapes.append(images.shape)
        found = np.zeros((len(images), 300, 6), np.float32)
        for rows, image in zip(found, images, strict=True):
            ys, xs = np.nonzero(image.min(axis=2) > 190)
            rows[0] = (0, 0, 10, 10, 0.05, 0)
            rows[1] = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0.8, 0)
        return (found,)


def bright_box(size_wh: tuple[int, int], xyxy: tuple[int, int, int, int]) -> Frame:
    image = np.full((size_wh[1], size_wh[0], 3), 20, np.uint8)
    image[xyxy[1] : xyxy[3], xyxy[0] : xyxy[2]] = 250
    return frame_from_bgr(image)


@pytest.mark.parametrize(
    ("size_wh", "side_px", "expected"),
    [
        ((1920, 1080), 640, (640, 384)),
        ((1280, 720), 640, (640, 384)),
        ((640, 480), 640, (640, 480)),
        ((720, 1280), 640, (384, 640)),
        ((348, 348), 320, (320, 320)),
        ((1001, 77), 640, (640, 64)),
        ((5000, 3), 640, (640, 32)),
        ((1000, 100), 320, (320, 64)),
        ((1280, 720), 128, (128, 128)),
    ],
)
def test_input_is_the_smallest_of_whole_strides(
    size_wh: tuple[int, int], side_px: int, expected: tuple[int, int]
) -> None:
    assert input_size_wh(size_wh, side_px) == expected


@pytest.mark.parametrize("size_wh", [(1280, 720), (1600, 90)])
def test_the_smallest_input_that_options_allow_runs(size_wh: tuple[int, int]) -> None:
    """The network's 300 best of fewer cells: OpenVINO refused such a shape without a word."""
    options = DetectOptions(input_side_px=128)
    load_detector(EngineOptions(threads=1), options).detect([bright_box(size_wh, (8, 8, 60, 60))])


@pytest.mark.parametrize("size_wh", [(1280, 720), (641, 479), (333, 777), (320, 320)])
def test_boxes_come_back_in_px_of_the_frame(size_wh: tuple[int, int]) -> None:
    w, h = size_wh
    truth = (w // 5 // 2 * 2, h // 4 // 2 * 2, w // 2 // 2 * 2, h * 3 // 4 // 2 * 2)
    found = Detector(CornerEngine(), DetectOptions()).detect([bright_box(size_wh, truth)])[0]
    assert len(found) == 1, "the weak box is left out"
    px_of_input = max(size_wh) / 640
    assert np.abs(found.xyxy[0] - truth).max() <= 1.0 + px_of_input


@pytest.mark.parametrize(("device", "batches"), [("cuda:0", [1, 2]), ("cpu", [1, 1, 1])])
def test_frames_of_one_shape_share_a_call_on_a_gpu_and_keep_their_order(
    device: str, batches: list[int]
) -> None:
    engine = CornerEngine(device)
    boxes = [(100, 100, 200, 200), (40, 60, 90, 150), (300, 100, 420, 300)]
    shapes = [(640, 360), (480, 640), (640, 360)]
    frames = [bright_box(s, b) for s, b in zip(shapes, boxes, strict=True)]
    found = Detector(engine, DetectOptions()).detect(frames)
    assert sorted(s[0] for s in engine.shapes) == batches
    for detections, box in zip(found, boxes, strict=True):
        assert np.abs(detections.xyxy[0] - box).max() <= 2.5


def test_no_frames_is_no_call() -> None:
    engine = CornerEngine()
    assert Detector(engine, DetectOptions()).detect([]) == [] and engine.shapes == []


class ZooEngine:
    """Finds one box of each of three classes, the best of class 0."""

    name, device = "fake", "cpu"

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        found = np.zeros((len(arrays[0]), 300, 6), np.float32)
        for number in range(3):
            left = 50.0 * number
            found[:, number] = (left, 10, left + 40, 90, 0.9 - number / 10, number)
        return (found,)


def test_only_the_named_classes_are_kept() -> None:
    frame = bright_box((640, 384), (10, 10, 50, 50))
    names = ("person", "bottle", "cup")
    everything = Detector(ZooEngine(), DetectOptions(), names).detect([frame])[0]
    assert everything.class_id.tolist() == [0, 1, 2]
    options = DetectOptions(classes=("cup", "bottle"), max_boxes=1)
    found = Detector(ZooEngine(), options, names).detect([frame])[0]
    assert found.class_id.tolist() == [1] and found.xyxy[0].tolist() == [50, 10, 90, 90]


def test_an_unknown_class_is_told_with_the_known_ones() -> None:
    options = DetectOptions(classes=("dog", "cup"))
    told = r"detect\.classes: expected names of the detector's classes: person, cup, got 'dog'"
    with pytest.raises(ConfigError, match=told):
        Detector(ZooEngine(), options, ("person", "cup"))
