"""Where the object is in a picture that has a plain margin all around."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import U8


def object_box(image: U8, tolerance: int) -> tuple[int, int, int, int] | None:
    """Return x0 y0 x1 y1 (whole px, the last two exclusive) of what stands out from the margin.

    image: (h, w) or (h, w, 3) uint8. tolerance: levels by which the corners may differ from the
    margin's colour; the object differs by twice as much. None where the corners do not share one
    colour, or nothing stands out.
    """
    levels = image[..., None] if image.ndim == 2 else image
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    color = np.median(border, axis=0).astype(np.float32)
    if np.abs(levels[[0, 0, -1, -1], [0, -1, 0, -1]] - color).max() > tolerance:
        return None
    low, high = np.ceil(color - 2 * tolerance), np.floor(color + 2 * tolerance)
    is_margin = cv2.inRange(np.ascontiguousarray(image), tuple(low.tolist()), tuple(high.tolist()))
    is_object = cv2.bitwise_not(is_margin)
    is_object = cv2.morphologyEx(is_object, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    x, y, width, height = cv2.boundingRect(is_object)
    return (x, y, x + width, y + height) if width else None
