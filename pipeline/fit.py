"""How a picture becomes the square that an embedding network sees, in training as in use."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import U8

PAPER = 128  # grey level around a letterboxed picture


def stretched(image_bgr: U8, side_px: int) -> U8:
    """Return (side, side, 3) uint8 BGR: the picture without its shape."""
    return _resized(image_bgr, side_px, side_px)


def letterboxed(image_bgr: U8, side_px: int) -> U8:
    """Return (side, side, 3) uint8 BGR: the picture whole, in the middle of grey."""
    height, width = image_bgr.shape[:2]
    scale = side_px / max(height, width)
    fit_w, fit_h = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.full((side_px, side_px, 3), PAPER, np.uint8)
    x, y = (side_px - fit_w) // 2, (side_px - fit_h) // 2
    square[y : y + fit_h, x : x + fit_w] = _resized(image_bgr, fit_w, fit_h)
    return square


FITS = {"stretch": stretched, "letterbox": letterboxed}


def _resized(image_bgr: U8, width: int, height: int) -> U8:
    # Area averaging shrinks without the moiré that printed text would leave.
    shrinks = image_bgr.shape[0] >= height and image_bgr.shape[1] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_bgr, (width, height), interpolation=how), np.uint8)
