from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.color import frame_from_bgr
from pipeline.crop import Cropper
from pipeline.options import CropOptions
from pipeline.types import Frame, Track


def track(*xyxy: float, whole: bool = False) -> Track:
    return Track("door", 1, np.array(xyxy, np.float32), 0.9, 0, 0, is_whole_frame=whole)


@pytest.fixture
def frame() -> Frame:
    """320 x 200: blue grows to the right, red downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, 320), np.linspace(0, 255, 200))
    return frame_from_bgr(np.dstack([x, np.full_like(x, 90), y]).astype(np.uint8))


def test_crop_is_the_box_and_its_margin(frame: Frame) -> None:
    crop = Cropper(CropOptions(pad=0.1)).crop(frame, [track(100, 50, 200, 150)])[0]
    assert crop.xyxy.tolist() == [90, 40, 210, 160]
    assert crop.image_bgr.shape == (120, 120, 3)
    blue, _, red = crop.image_bgr[60, 60]
    assert abs(int(blue) - 150 / 319 * 255) < 6 and abs(int(red) - 100 / 199 * 255) < 6


def test_points_of_a_scaled_crop_come_back_to_the_frame(frame: Frame) -> None:
    crop = Cropper(CropOptions(pad=0.0, max_side_px=64)).crop(frame, [track(40, 20, 296, 148)])[0]
    assert crop.image_bgr.shape == (32, 64, 3)
    points = crop.to_frame(np.array([[0, 0], [64, 32], [32, 16]], np.float32))
    assert points.tolist() == [[40, 20], [296, 148], [168, 84]]


def test_crop_at_the_border_is_clipped_and_regions_get_no_margin(frame: Frame) -> None:
    cropper = Cropper(CropOptions(pad=0.2))
    corner, whole = cropper.crop(frame, [track(0, 0, 50, 50), track(0, 0, 320, 200, whole=True)])
    assert corner.xyxy.tolist() == [0, 0, 60, 60]
    assert whole.xyxy.tolist() == [0, 0, 320, 200]


def test_crop_owns_its_pixels(frame: Frame) -> None:
    crop = Cropper(CropOptions()).crop(frame, [track(100, 50, 200, 150)])[0]
    before = crop.image_bgr.copy()
    for plane in (frame.y, frame.u, frame.v):
        plane[:] = 0
    assert np.array_equal(crop.image_bgr, before)


def test_box_outside_the_frame_is_an_error(frame: Frame) -> None:
    with pytest.raises(ValueError, match="must lie in the frame"):
        Cropper(CropOptions()).crop(frame, [track(500, 500, 600, 600)])
    assert Cropper(CropOptions()).crop(frame, []) == []


def painted(width: int, height: int) -> Frame:
    """The same picture in any size: blue grows to the right, red downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return frame_from_bgr(np.dstack([x, np.full_like(x, 90), y]).astype(np.uint8))


def test_crop_of_a_frame_with_a_sharper_picture_is_cut_from_that_one() -> None:
    small = replace(painted(320, 200), sharper=painted(1280, 400))
    crop = Cropper(CropOptions(pad=0.0)).crop(small, [track(100, 50, 200, 150)])[0]
    assert crop.image_bgr.shape == (200, 400, 3)
    assert crop.xyxy.tolist() == [100, 50, 200, 150]
    blue, _, red = crop.image_bgr[100, 200]
    assert abs(int(blue) - 150 / 319 * 255) < 6 and abs(int(red) - 100 / 199 * 255) < 6
    points = crop.to_frame(np.array([[0, 0], [400, 200], [40, 100]], np.float32))
    assert points.tolist() == [[100, 50], [200, 150], [110, 100]]
    assert crop.from_frame(points).tolist() == [[0, 0], [400, 200], [40, 100]]


def test_box_that_is_widened_to_even_pixels_of_the_sharper_picture_tells_where_it_lies() -> None:
    small = replace(painted(320, 240), sharper=painted(1024, 768))
    crop = Cropper(CropOptions(pad=0.0)).crop(small, [track(11, 11, 20, 20)])[0]
    assert crop.image_bgr.shape == (30, 30, 3)
    assert crop.xyxy.tolist() == pytest.approx([34 / 3.2, 34 / 3.2, 64 / 3.2, 64 / 3.2])
