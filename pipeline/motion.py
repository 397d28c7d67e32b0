"""Whether a frame shows anything that the frame last searched did not: the motion gate of a camera.

Both are compared as thumbnails of their luma, 80 cells wide. Against the frame last searched, not
the one before: what moves slowly adds up until it counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.types import F32, U8

WIDTH_CELLS = 80
LEAST_ROWS = 4  # of a cell that are read
BLOCK_CELLS = 3  # cells are judged by the mean of so many by so many around them
LEAST_LEVELS = 1.0  # of luma, a block's mean difference that counts when there is no noise
MOST_LEVELS = 6.0  # that always counts, however noisy the picture
NOISE_QUANTILE = 0.75  # of blocks; what moves covers a quarter, or counts by MOST_LEVELS
TIMES_NOISE = 2.5
MOST_GAIN = 1.25  # a brighter or darker picture is undone up to so much, and so many levels
MOST_SHIFT_LEVELS = 24.0
HOLD_S = 0.5  # searched so long after something moved: what just came in may be blurred


def thumbnail(y: U8) -> U8:
    """Return (rows, up to 160) uint8: the mean luma of square cells, of whole px each.

    Of large cells only every second or fourth row is read: it is the reading that takes time. A
    strip that is narrower than a cell is left out at the right and the bottom.
    """
    height, width = y.shape
    side_px = max(1, width // WIDTH_CELLS)
    size_wh = max(1, width // side_px), max(1, height // side_px)
    step = next((n for n in (4, 2) if side_px % n == 0 and side_px // n >= LEAST_ROWS), 1)
    whole = y[: size_wh[1] * side_px : step, : size_wh[0] * side_px]
    return np.asarray(cv2.resize(whole, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def has_moved(before: U8, now: U8) -> bool:
    """Whether two thumbnails differ anywhere by more than noise and light explain."""
    if before.shape != now.shape:
        return True
    differences = np.abs(_without_light(before.astype(np.float32), now.astype(np.float32)))
    blocks = np.asarray(cv2.blur(differences, (BLOCK_CELLS, BLOCK_CELLS)), np.float32)
    noise = _quantile(blocks)
    limit = min(max(TIMES_NOISE * noise, LEAST_LEVELS), MOST_LEVELS)
    return bool(blocks.max() > limit)


def _without_light(before: F32, now: F32) -> F32:
    """Return what differs (levels) once a change of the whole picture's brightness is undone.

    A line through the cells' levels then and now, fitted twice: the second time without the
    quarter that fits worst, which may be what moved.
    """
    gain, shift = _fit(before, now)
    errors = np.abs(now - (gain * before + shift))
    kept = errors <= _quantile(errors)
    gain, shift = _fit(before[kept], now[kept])
    return now - (gain * before + shift)


def _quantile(values: F32) -> float:
    row = int(NOISE_QUANTILE * (values.size - 1))
    return float(np.partition(values.ravel(), row)[row])


def _fit(before: F32, now: F32) -> tuple[np.float32, np.float32]:
    """Return gain and shift of the line through the levels, no steeper and no higher than light."""
    mean_before, mean_now = before.mean(), now.mean()
    spread = before - mean_before
    variance = (spread * spread).mean()
    gain = (spread * (now - mean_now)).mean() / variance if variance > 1.0 else np.float32(1.0)
    gain = np.clip(gain, 1 / MOST_GAIN, MOST_GAIN)
    shift = np.clip(mean_now - mean_before, -MOST_SHIFT_LEVELS, MOST_SHIFT_LEVELS)
    return np.float32(gain), np.float32(mean_before + shift - gain * mean_before)


@dataclass(frozen=True, slots=True)
class _Searched:
    thumbnail: U8
    at_s: float


class MotionGate:
    """One camera's. With each frame `is_still`; where it is searched after all, `searched`."""

    def __init__(self) -> None:
        self._searched: _Searched | None = None
        self._now: U8 | None = None
        self._open_until_s = 0.0
        self.rests_s = 0.0  # since when nothing has moved

    def is_still(self, y: U8, now_s: float, look_again_s: float) -> bool:
        """Whether nothing has moved since the frame last searched, which is not long ago.

        now_s: on a clock that never goes back. look_again_s: the longest without a search.
        """
        self._now = thumbnail(y)
        last = self._searched
        if last is None or has_moved(last.thumbnail, self._now):
            self.rests_s = now_s
            self.hold(now_s)
            return False
        return self._open_until_s <= now_s < last.at_s + look_again_s

    def hold(self, now_s: float) -> None:
        """Something has changed: stay open for a while."""
        self._open_until_s = now_s + HOLD_S

    def searched(self, now_s: float) -> None:
        """The frame of the last `is_still` was searched; nothing where none was asked about."""
        if self._now is not None:
            self._searched = _Searched(self._now, now_s)
