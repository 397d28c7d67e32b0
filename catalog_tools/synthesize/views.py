"""One thing as a catalog shows it, as a camera sees it, and as its near-twin would look."""

from __future__ import annotations

import cv2
import numpy as np

from catalog_tools.synthesize.scenes import (
    camera_effects,
    draw_hand,
    make_background,
    paste_pack,
    tilted_quad,
)
from pipeline.fit import FITS


def flat_bgr(picture: np.ndarray, paper: int = 255) -> np.ndarray:
    """Lay a cut-out on plain paper: (h, w, 3) uint8 BGR; a BGR picture comes back as it is."""
    if picture.shape[2] == 3:
        return picture
    share = picture[..., 3:].astype(np.float32) / 255
    return (picture[..., :3] * share + paper * (1 - share)).astype(np.uint8)


def clean_view(
    rng: np.random.Generator, picture: np.ndarray, side: int, fit: str = "stretch"
) -> np.ndarray:
    """Give the picture as a catalog shows it, trimmed or framed by a hair: (side, side, 3).

    fit: how it becomes a square (pipeline/fit.py).
    """
    image = flat_bgr(picture, int(rng.integers(200, 256)))
    height, width = image.shape[:2]
    left, top, right, bottom = rng.uniform(0, 0.05, 4) * (width, height, width, height)
    cut = image[int(top) : height - int(bottom), int(left) : width - int(right)]
    return FITS[fit](cut, side)


def camera_view(
    rng: np.random.Generator,
    picture: np.ndarray,
    side: int,
    neighbours: list[np.ndarray],
    hard: float = 1.0,
    turns: bool = False,
    fit: str = "stretch",
) -> np.ndarray:
    """Give the picture as a detector cuts it out of a camera's frame: (side, side, 3) uint8 BGR.

    Turned, tilted, framed loosely or tightly, over clutter, beside and behind neighbours, with
    hands, in poor light. turns: by any angle, instead of mostly about upright. fit: how the cut-out
    becomes a square (pipeline/fit.py).
    """
    height, width = picture.shape[:2]
    upright = not turns and rng.random() < 0.85
    angle = rng.normal(0, 12 * hard) if upright else rng.uniform(0, 360)
    tilt = float(rng.uniform(0, 0.85) * hard)
    quad = tilted_quad(rng, (0, 0), (width / height, 1.0), tilt, float(angle))
    low, high = quad.min(0), quad.max(0)
    pad = rng.uniform(-0.06, 0.2, 4) if rng.random() < 0.8 else rng.uniform(-0.15, 0.7, 4)
    extent = high - low
    low, high = low - pad[:2] * extent, high + pad[2:] * extent
    scale = side / (high - low)
    if fit == "letterbox":
        scale = np.full(2, scale.min())
    size_wh = np.maximum(8, np.round((high - low) * scale)).astype(int)
    quad = ((quad - low) * scale).astype(np.float32)
    pictures = [flat_bgr(seen) for seen in neighbours[-8:]]
    view = make_background(rng, (int(size_wh[0]), int(size_wh[1])), pictures)
    size = np.ptp(quad, axis=0)
    if neighbours and rng.random() < 0.4:
        shift = np.array([size[0], 0]) * rng.choice([-1.05, 1.05])
        beside = neighbours[int(rng.integers(len(neighbours)))]
        paste_pack(view, beside, (quad + shift).astype(np.float32))
    paste_pack(view, picture, quad, float(rng.uniform(0.75, 1.15)))
    if neighbours and rng.random() < 0.12 * hard:  # something stands in front of one side
        shift = rng.choice([-1, 1], 2) * rng.uniform(0.55, 1.0, 2) * size
        before = neighbours[int(rng.integers(len(neighbours)))]
        paste_pack(view, before, (quad + shift).astype(np.float32))
    if rng.random() < 0.35 * hard:
        draw_hand(view, rng, (*quad.min(0), *quad.max(0)), float(rng.uniform(0.1, 0.55)))
    return FITS[fit](camera_effects(view, rng, hard * float(rng.uniform(0.3, 1.0))), side)


def recolour(rng: np.random.Generator, pictures: list[np.ndarray]) -> list[np.ndarray] | None:
    """Give near-twins of pictures of one thing: one of its colours is another, all else the same.

    pictures: (h, w, 3 or 4) uint8 each. None when too little of the first is coloured.
    """
    hsv = cv2.cvtColor(pictures[0][..., :3], cv2.COLOR_BGR2HSV)
    colored = (hsv[..., 1] > 70) & (hsv[..., 2] > 50)
    if colored.mean() < 0.08:
        return None
    hues = hsv[..., 0][colored]
    hue, shift = int(hues[int(rng.integers(len(hues)))]), int(rng.integers(30, 151))
    changed = [_shift_hue(picture, hue, shift) for picture in pictures]
    return (
        None
        if changed[0] is None
        else [
            picture if twin is None else twin
            for picture, twin in zip(pictures, changed, strict=True)
        ]
    )


def _shift_hue(picture: np.ndarray, hue: int, shift: int, width: int = 12) -> np.ndarray | None:
    """Move one colour round OpenCV's circle of 180 hues; None when it is hardly there."""
    hsv = cv2.cvtColor(picture[..., :3], cv2.COLOR_BGR2HSV)
    distance = np.abs((hsv[..., 0].astype(int) - hue + 90) % 180 - 90)
    chosen = (distance <= width) & (hsv[..., 1] > 50)
    if chosen.mean() < 0.05:
        return None
    hsv[..., 0] = np.where(chosen, (hsv[..., 0].astype(int) + shift) % 180, hsv[..., 0])
    out = picture.copy()
    out[..., :3] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return out
