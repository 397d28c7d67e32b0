"""Small clips that the tests of sources make for themselves, with PyAV."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE_WH = (320, 240)


def moving_square(number: int, size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    """(H, W, 3) uint8 RGB: a bright square on gray that moves four pixels a frame."""
    width, height = size_wh
    image = np.full((height, width, 3), 60, np.uint8)
    left = number * 4 % max(1, width - 40)
    image[height // 3 : height // 3 + 40, left : left + 40] = (250, 200, 20)
    return image


def write_clip(
    path: Path,
    pictures: Iterable[np.ndarray | av.VideoFrame] | int = 25,
    *,
    fps: int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    size_wh: tuple[int, int] = SIZE_WH,
    rotation_deg: int = 0,
    aspect: Fraction | None = None,
    times_s: Sequence[float] | None = None,
    tags: dict[str, int] | None = None,
) -> Path:
    """Write a clip and return its path.

    pictures: RGB arrays, frames, or how many moving squares. options: the encoder's. times_s: when
    each picture is shown (default: evenly). aspect: width by height of a pixel. tags: colorspace,
    color_range of the encoder.
    """
    if isinstance(pictures, int):
        pictures = [moving_square(number, size_wh) for number in range(pictures)]
    with av.open(str(path), "w") as container:
        defaults = {"bf": "0", "g": "10", "threads": "1"} if codec == "libx264" else {}
        stream: Any = container.add_stream(codec, rate=fps, options=defaults | (options or {}))
        stream.width, stream.height = size_wh
        stream.pix_fmt = pixel_format
        time_base = Fraction(1, fps) if times_s is None else Fraction(1, 1000)
        stream.codec_context.time_base = time_base
        for tag, value in (tags or {}).items():
            setattr(stream.codec_context, tag, value)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation_deg:
            stream.set_display_rotation(rotation_deg)
        for number, picture in enumerate(pictures):
            if isinstance(picture, np.ndarray):
                picture = av.VideoFrame.from_ndarray(picture, format="rgb24")
            picture.pts = number if times_s is None else round(times_s[number] * 1000)
            picture.time_base = time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def frame_of_planes(
    planes: Sequence[np.ndarray], pixel_format: str, size_wh: tuple[int, int]
) -> av.VideoFrame:
    """A frame of the given planes: (rows, bytes) uint8 each, as they lie in memory."""
    frame = av.VideoFrame(*size_wh, pixel_format)
    for plane, rows in zip(frame.planes, planes, strict=True):
        content = np.zeros((plane.height, plane.line_size), np.uint8)
        content[:, : rows.shape[1]] = rows
        plane.update(content.tobytes())
    return frame
