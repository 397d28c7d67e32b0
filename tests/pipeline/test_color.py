"""Colours survive the way camera → planes → crop, in every matrix and range."""

import numpy as np
import pytest

from pipeline.color import (
    crop_bgr,
    frame_bgr,
    frame_from_bgr,
    letterbox_rgb,
    planes_from_bgr,
)
from pipeline.types import ColorMatrix, ColorRange, Frame

# white, black, mid gray, red, green, blue, skin, dark yellow: sRGB
PATCHES_RGB = np.array(
    [
        (255, 255, 255),
        (0, 0, 0),
        (128, 128, 128),
        (200, 30, 40),
        (20, 160, 60),
        (30, 50, 190),
        (224, 172, 140),
        (150, 130, 10),
    ],
    np.float64,
)
PATCH_PX = 40
LUMA_WEIGHTS = {
    ColorMatrix.BT601: (0.299, 0.587, 0.114),
    ColorMatrix.BT709: (0.2126, 0.7152, 0.0722),
}


def patch_frame(matrix: ColorMatrix, color_range: ColorRange) -> Frame:
    """Eight patches in a row as planes, written out by the standards' own formulas."""
    kr, kg, kb = LUMA_WEIGHTS[matrix]
    red, green, blue = PATCHES_RGB.T / 255
    luma = kr * red + kg * green + kb * blue
    cb, cr = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    if color_range is ColorRange.FULL:
        yuv = (255 * luma, 255 * cb + 128, 255 * cr + 128)
    else:
        yuv = (219 * luma + 16, 224 * cb + 128, 224 * cr + 128)
    rows = [np.clip(np.round(plane), 0, 255).astype(np.uint8) for plane in yuv]
    y = np.repeat(np.tile(rows[0], (PATCH_PX, 1)), PATCH_PX, axis=1)
    u, v = (np.repeat(np.tile(row, (PATCH_PX // 2, 1)), PATCH_PX // 2, axis=1) for row in rows[1:])
    return Frame("c", 0, 0, 0, y, u, v, matrix, color_range)


def lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0..255 (N, 3) to CIE L*a*b*, D65."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
         [0.0193339, 0.1191920, 0.9503041]]
    )  # fmt: skip
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    curve = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = curve.T
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=1)


def delta_e(one_rgb: np.ndarray, other_rgb: np.ndarray) -> np.ndarray:
    """CIE76 difference of two lists of colours."""
    return np.linalg.norm(lab(one_rgb) - lab(other_rgb), axis=1)


@pytest.mark.parametrize("matrix", list(ColorMatrix))
@pytest.mark.parametrize("color_range", list(ColorRange))
def test_eight_patches_come_back_from_a_crop(matrix: ColorMatrix, color_range: ColorRange) -> None:
    frame = patch_frame(matrix, color_range)
    seen = []
    for index in range(len(PATCHES_RGB)):
        left = index * PATCH_PX
        box = np.array([left + 8, 8, left + 31, 30], np.float32)
        image_bgr, _ = crop_bgr(frame, box)
        seen.append(image_bgr.reshape(-1, 3).mean(axis=0)[::-1])
    assert delta_e(np.array(seen), PATCHES_RGB).max() < 3


def test_a_wrong_matrix_or_range_would_be_seen() -> None:
    """The patches tell the four cases apart, so that the test above means something."""
    frame = patch_frame(ColorMatrix.BT709, ColorRange.LIMITED)
    for matrix, color_range in (
        (ColorMatrix.BT601, ColorRange.LIMITED),
        (ColorMatrix.BT709, ColorRange.FULL),
    ):
        wrong = Frame("c", 0, 0, 0, frame.y, frame.u, frame.v, matrix, color_range)
        centres = frame_bgr(wrong)[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX, ::-1]
        assert delta_e(centres.astype(float), PATCHES_RGB).max() > 5


@pytest.mark.parametrize("matrix", list(ColorMatrix))
@pytest.mark.parametrize("color_range", list(ColorRange))
def test_the_network_input_has_the_same_colours(
    matrix: ColorMatrix, color_range: ColorRange
) -> None:
    frame = patch_frame(matrix, color_range)  # 320x40 into 160x96: half size, 20 rows, centred
    image = np.zeros((96, 160, 3), np.uint8)
    box = letterbox_rgb(frame, image)
    assert box.offset_xy == (0, 38) and box.scale_xy == (0.5, 0.5)
    centres = image[48, PATCH_PX // 4 :: PATCH_PX // 2]
    assert delta_e(centres.astype(float), PATCHES_RGB).max() < 3
    assert (image[:38] == 114).all() and (image[58:] == 114).all()


def test_letterbox_boxes_come_back_to_the_frame() -> None:
    frame = patch_frame(ColorMatrix.BT601, ColorRange.FULL)
    box = letterbox_rgb(frame, np.zeros((96, 160, 3), np.uint8))
    boxes = np.array([[10, 40, 20, 50], [-5, 0, 200, 96]], np.float32)
    expected = [[20, 4, 40, 24], [0, 0, 320, 40]]
    np.testing.assert_allclose(box.to_frame(boxes), expected)
    assert box.to_frame(np.zeros((0, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("matrix", list(ColorMatrix))
@pytest.mark.parametrize("color_range", list(ColorRange))
@pytest.mark.parametrize("size_wh", [(64, 48), (63, 47), (64, 47), (1, 1)])
def test_photo_to_planes_and_back(
    matrix: ColorMatrix, color_range: ColorRange, size_wh: tuple[int, int]
) -> None:
    width, height = size_wh
    columns = np.linspace(20, 230, width)[None, :, None]
    rows = np.linspace(0.4, 1, height)[:, None, None]
    image = np.round(columns * rows * np.array([1.0, 0.8, 0.5])).astype(np.uint8)
    y, u, v = planes_from_bgr(image, matrix, color_range)
    assert y.shape == (height, width) and u.shape == v.shape == (
        (height + 1) // 2,
        (width + 1) // 2,
    )
    back = frame_bgr(Frame("c", 0, 0, 0, y, u, v, matrix, color_range))
    assert np.abs(back.astype(int) - image).max() <= 5


def test_a_crop_lies_where_it_says() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:50] = (10, 200, 250)
    crop, box = crop_bgr(frame_from_bgr(image), np.array([29.5, 19.2, 50.1, 41], np.float32))
    np.testing.assert_array_equal(box, [28, 18, 52, 42])
    assert crop.shape == (24, 24, 3)
    where = np.argwhere(crop[:, :, 2] > 125)
    np.testing.assert_array_equal(where.min(axis=0), [2, 2])
    np.testing.assert_array_equal(where.max(axis=0), [21, 21])


def test_a_crop_is_clipped_and_scaled_down() -> None:
    frame = frame_from_bgr(np.full((101, 201, 3), 90, np.uint8))
    crop, box = crop_bgr(frame, np.array([-50, -50, 500, 500], np.float32), max_side_px=100)
    np.testing.assert_array_equal(box, [0, 0, 201, 101])
    assert crop.shape == (50, 100, 3)
    crop[:] = 0  # its own memory
    assert frame.y.min() > 80


@pytest.mark.parametrize("xyxy", [(300, 0, 400, 50), (10, 10, 10, 10), (-9, 0, 0, 10)])
def test_an_empty_crop_is_an_error(xyxy: tuple[int, ...]) -> None:
    frame = frame_from_bgr(np.zeros((100, 200, 3), np.uint8))
    with pytest.raises(ValueError, match="must lie in the frame of 200x100"):
        crop_bgr(frame, np.array(xyxy, np.float32))
