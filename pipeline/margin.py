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
    levels = (image[..., None] if image.ndim == 2 else image).astype(np.int16)
    border = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    color = np.median(border, axis=0)
    if np.abs(levels[[0, 0, -1, -1], [0, -1, 0, -1]] - color).max() > tolerance:
        return None
    is_object = (np.abs(levels - color).max(axis=2) > 2 * tolerance).astype(np.uint8)
    is_object = cv2.morphologyEx(is_object, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    rows, columns = np.flatnonzero(is_object.any(1)), np.flatnonzero(is_object.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
