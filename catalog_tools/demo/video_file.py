"""Writes and reads the demo's own clips: H.264 in MP4, colours tagged BT.709, limited range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange

_BT709 = 1  # the code of matrix, primaries and transfer alike (ITU-T H.273)
# BT.709, limited range: rows Y, Cb, Cr for the columns B, G, R and the offset.
_BGR_TO_YCC = np.array(
    [
        [0.0722 * 219 / 255, 0.7152 * 219 / 255, 0.2126 * 219 / 255, 16],
        [112 / 255, -0.7152 / 1.8556 * 224 / 255, -0.2126 / 1.8556 * 224 / 255, 128],
        [-0.0722 / 1.5748 * 224 / 255, -0.7152 / 1.5748 * 224 / 255, 112 / 255, 128],
    ]
)


def write_clip(
    path: Path, frames_bgr: Iterable[np.ndarray], size_wh: tuple[int, int], fps: int, crf: int = 23
) -> int:
    """Encode the frames and give their number; the file appears under its name only when complete.

    frames_bgr: (H, W, 3) uint8 BGR each. crf: x264's quality, lower is better.
    """
    part = path.with_name(path.name + ".part")
    n_frames = 0
    # a file, not its name: FFmpeg reads some names as protocols and patterns
    with part.open("wb") as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size_wh
        stream.pix_fmt = "yuv420p"
        # No B-frames and a key frame a second, as cameras send them.
        stream.options = {"preset": "veryfast", "crf": str(crf), "bf": "0", "g": str(fps)}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        for image in frames_bgr:
            frame = av.VideoFrame.from_ndarray(_planes_of(image), format="yuv420p")
            frame.pts, frame.time_base = n_frames, Fraction(1, fps)
            container.mux(stream.encode(frame))
            n_frames += 1
        container.mux(stream.encode(None))
    part.replace(path)
    return n_frames


def _planes_of(image_bgr: np.ndarray) -> np.ndarray:
    """Give y, u, v below each other, (H * 3 / 2, W) uint8; swscale would darken by two levels."""
    height, width = image_bgr.shape[:2]
    full = cv2.transform(image_bgr, _BGR_TO_YCC)
    half = cv2.resize(full, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    planes = [np.ascontiguousarray(p).reshape(-1, width) for p in (half[..., 1], half[..., 2])]
    return np.concatenate([full[..., 0], *planes])


def read_clip(path: Path) -> Iterator[np.ndarray]:
    """Give the frames of a clip one after the other, (H, W, 3) uint8 BGR."""
    with path.open("rb") as file, av.open(file) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="bgr24")
