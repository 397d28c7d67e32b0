"""`test:` — a moving picture made in numpy, for trying things without a camera.

test:?size=1280x720&fps=25&frames=100&paced=0

size: width x height. fps: pace. frames: how many, then the stream ends (default: for ever).
paced=0: as fast as they are taken and every one delivered, as from a file.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs

import numpy as np

from pipeline.errors import ConfigError
from pipeline.types import U8, ColorMatrix, ColorRange
from streamer.sources.base import Damaged, Picture, SourceOptions, Wait

# white, yellow, cyan, green, magenta, red, blue, black at 75 %: BT.601, limited range
_BARS_YUV = np.array(
    [
        (180, 128, 128),
        (162, 44, 142),
        (131, 156, 44),
        (112, 72, 58),
        (84, 184, 198),
        (65, 100, 212),
        (35, 212, 114),
        (16, 128, 128),
    ],
    np.uint8,
)
_KEYS = ("size", "fps", "frames", "paced")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a `test:` url asks for."""

    size_wh: tuple[int, int] = (1280, 720)
    fps: float = 25.0
    frames: int = 0
    paced: bool = True


def parse_pattern(url: str) -> Pattern:
    """Return what a `test:` url asks for; raises ConfigError naming the wrong part."""
    where, query = f"source {url!r}", url.removeprefix("test:").removeprefix("?")
    given = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
    unknown = [key for key in given if key not in _KEYS]
    if unknown or (query and not given):
        raise ConfigError.at(
            where, f"expected test:?size=WxH&fps=F&frames=N&paced=0|1 ({', '.join(_KEYS)})", query
        )
    try:
        width, height = (int(part) for part in given.get("size", "1280x720").split("x"))
        fps, frames = float(given.get("fps", 25)), int(given.get("frames", 0))
        paced = {"0": False, "1": True}[given.get("paced", "1")]
    except (ValueError, KeyError):
        raise ConfigError.at(
            where, "expected size=WIDTHxHEIGHT, fps=NUMBER, frames=NUMBER, paced=0|1", query
        ) from None
    if not (2 <= width <= 16384 and 2 <= height <= 16384 and 0 < fps <= 1000 and frames >= 0):
        raise ConfigError.at(where, "expected size 2..16384 and fps above 0, at most 1000", query)
    return Pattern((width, height), fps, frames, paced)


class PatternSource:
    """Colour bars with a square that moves every frame."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self.pattern = parse_pattern(options.url)

    def pictures(self, wait: Wait) -> Iterator[Picture | Damaged]:
        pattern = self.pattern
        background = _bars(pattern.size_wh)
        period_ns = round(1e9 / pattern.fps)
        start_ns = time.monotonic_ns()
        number = 0
        while not pattern.frames or number < pattern.frames:
            delay_s = (start_ns + number * period_ns - time.monotonic_ns()) / 1e9
            if wait(max(0.0, delay_s) if pattern.paced else 0.0):
                return
            began_ns = time.monotonic_ns()
            y, u, v = (plane.copy() for plane in background)
            _draw_square(y, u, v, number)
            yield Picture(
                y, u, v, ColorMatrix.BT601, ColorRange.LIMITED,
                captured_ns=began_ns,
                wall_ns=time.time_ns(),
                clock="arrival" if pattern.paced else "file",
                media_ns=-1 if pattern.paced else number * period_ns,
                decode_ms=(time.monotonic_ns() - began_ns) / 1e6,
            )  # fmt: skip
            number += 1


def _bars(size_wh: tuple[int, int]) -> tuple[U8, U8, U8]:
    """Return the planes of eight upright colour bars."""
    width, height = size_wh
    chroma_width, chroma_height = (width + 1) // 2, (height + 1) // 2
    luma_bar = np.arange(width) * 8 // width
    chroma_bar = np.arange(chroma_width) * 8 // chroma_width
    y = np.broadcast_to(_BARS_YUV[luma_bar, 0], (height, width))
    u = np.broadcast_to(_BARS_YUV[chroma_bar, 1], (chroma_height, chroma_width))
    v = np.broadcast_to(_BARS_YUV[chroma_bar, 2], (chroma_height, chroma_width))
    return y.copy(), u.copy(), v.copy()


def _draw_square(y: U8, u: U8, v: U8, number: int) -> None:
    """Draw the square of frame `number`; its left edge moves by two pixels a frame."""
    height, width = y.shape
    side = max(2, min(width, height) // 4 // 2 * 2)
    left = (number * 2) % max(1, width - side + 1) // 2 * 2
    top = (height - side) // 2 // 2 * 2
    y[top : top + side, left : left + side] = 235
    for chroma in (u, v):
        area = (slice(top // 2, (top + side) // 2), slice(left // 2, (left + side) // 2))
        chroma[area] = 128
