"""Colours come through a file as they went in, whatever the pixel format."""

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.types import ColorMatrix, ColorRange
from tests.pipeline.test_color import LUMA_WEIGHTS, PATCH_PX, PATCHES_RGB, delta_e, patch_frame
from tests.streamer.clips import frame_of_planes, write_clip
from tests.streamer.sources.reading import bgr, pictures_of

_TAG = {ColorMatrix.BT709: 1, ColorMatrix.BT601: 5}
_RANGE_TAG = {ColorRange.LIMITED: 1, ColorRange.FULL: 2}


def patch_planes(matrix: ColorMatrix, color_range: ColorRange, pixel_format: str) -> av.VideoFrame:
    """The eight patches as planes of a pixel format, made from the 4:2:0 ones by numpy."""
    patches = patch_frame(matrix, color_range)
    size_wh = patches.size_wh
    steps = {"yuv420p": (2, 2), "yuv422p": (2, 1), "yuv444p": (1, 1)}[pixel_format.split("10")[0]]
    chroma = [
        np.repeat(np.repeat(plane, 2 // steps[0], axis=1), 2 // steps[1], axis=0)
        for plane in (patches.u, patches.v)
    ]
    planes = [patches.y, *chroma]
    if pixel_format.endswith("10le"):
        planes = [(plane.astype("<u2") * 4).view(np.uint8) for plane in planes]
    return frame_of_planes(planes, pixel_format, size_wh)


@pytest.mark.parametrize("matrix", list(ColorMatrix))
@pytest.mark.parametrize("color_range", list(ColorRange))
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_eight_patches_come_through_a_file(
    tmp_path: Path, matrix: ColorMatrix, color_range: ColorRange, pixel_format: str
) -> None:
    frame = patch_planes(matrix, color_range, pixel_format)
    clip = write_clip(
        tmp_path / "a.mkv", [frame], codec="ffv1", pixel_format=pixel_format,
        size_wh=(frame.width, frame.height),
        tags={"colorspace": _TAG[matrix], "color_range": _RANGE_TAG[color_range]},
    )  # fmt: skip
    picture = pictures_of(clip)[0]
    assert (picture.matrix, picture.range) == (matrix, color_range)
    centres = bgr(picture)[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX, ::-1]
    assert delta_e(centres.astype(float), PATCHES_RGB).max() < 3


@pytest.mark.parametrize("pixel_format", ["bgr0", "gbrp10le"])
def test_rgb_video_keeps_its_colours(tmp_path: Path, pixel_format: str) -> None:
    image = np.repeat(np.repeat(PATCHES_RGB[None], PATCH_PX, 1), PATCH_PX, 0).astype(np.uint8)
    clip = write_clip(
        tmp_path / "a.mkv", [image], codec="ffv1", pixel_format=pixel_format,
        size_wh=(image.shape[1], image.shape[0]),
    )  # fmt: skip
    centres = bgr(pictures_of(clip)[0])[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX, ::-1]
    assert delta_e(centres.astype(float), PATCHES_RGB).max() < 3


def test_grayscale_is_gray(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 256, dtype=np.uint8), (64, 1))
    frame = frame_of_planes([ramp], "gray", (256, 64))
    clip = write_clip(
        tmp_path / "a.mkv", [frame], codec="ffv1", pixel_format="gray", size_wh=(256, 64)
    )
    shown = bgr(pictures_of(clip)[0]).astype(int)
    assert np.abs(shown - ramp[:, :, None]).max() <= 1


@pytest.mark.parametrize(("height", "matrix"), [(718, "bt601"), (720, "bt709")])
def test_an_unspecified_matrix_goes_by_the_lines(tmp_path: Path, height: int, matrix: str) -> None:
    clip = write_clip(tmp_path / "a.mp4", 1, size_wh=(64, height))
    picture = pictures_of(clip)[0]
    assert (picture.matrix, picture.range) == (matrix, "limited")


def test_the_luma_weights_of_the_patches_sum_to_one() -> None:
    assert [sum(weights) for weights in LUMA_WEIGHTS.values()] == pytest.approx([1, 1])
