"""Camera-like shots of a picture, and near-twins of it: what calibration is tried on.

A shot has everything that comes between a reference picture and a photo of the thing: the print is
bent, one side is another face, a hand or a neighbour covers a part, the camera is poor.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from catalog_tools.synthesize.scenes import (
    camera_effects,
    draw_hand,
    make_background,
    paste_pack,
    tilted_quad,
)
from pipeline.types import U8

PICTURE_SIDE_PX = 320
LEAST_CHANGE = 2.5  # mean grey levels; a twin that differs by less is the same to any camera


def take_shot(rng: np.random.Generator, picture: U8, others: Sequence[U8]) -> U8:
    """Return a photo that shows the picture's thing in its middle: (H, W, 3) uint8 BGR.

    picture: (h, w, 3) uint8 BGR. others: what may stand beside, behind and before it.
    """
    printed = shrink(picture, PICTURE_SIDE_PX)
    if rng.random() < 0.85:
        printed = crumple(rng, printed)
    if rng.random() < 0.5:
        printed = show_other_face(rng, printed, others)
    printed = relight(rng, printed)
    height, width = printed.shape[:2]
    if rng.random() < 0.6:
        printed = np.dstack([printed, _silhouette(rng, (width, height))])
    longer_px = float(np.exp(rng.uniform(np.log(70), np.log(320))))
    scale = longer_px / max(width, height)
    turn = float(rng.normal(0, 10)) if rng.random() < 0.85 else float(rng.uniform(-180, 180))
    quad = tilted_quad(rng, (0, 0), (width * scale, height * scale), float(rng.uniform(0, 1)), turn)
    low, high = quad.min(0), quad.max(0)
    pad = rng.uniform(-0.05, 0.35, 4) * np.tile(high - low, 2)
    low, high = low - pad[:2], high + pad[2:]
    size_wh = (max(24, round(float(high[0] - low[0]))), max(24, round(float(high[1] - low[1]))))
    quad = (quad - low).astype(np.float32)
    scene = make_background(rng, size_wh, [shrink(other, 320) for other in others[:4]])
    if others and rng.random() < 0.4:
        step = np.array([np.ptp(quad[:, 0]) * 1.05, 0.0]) * rng.choice([-1.0, 1.0])
        neighbour = picture if rng.random() < 0.5 else others[int(rng.integers(len(others)))]
        paste_pack(scene, neighbour, (quad + step).astype(np.float32))
    paste_pack(scene, printed, quad, float(rng.uniform(0.7, 1.1)))
    if rng.random() < 0.4:
        draw_hand(scene, rng, (*quad.min(0), *quad.max(0)), float(rng.uniform(0.1, 0.6)))
    return np.asarray(camera_effects(scene, rng, float(rng.uniform(0.5, 1.7))), np.uint8)


def crumple(rng: np.random.Generator, picture: U8) -> U8:
    """Return the picture as printed on something soft or round: points move by up to some 3 %."""
    height, width = picture.shape[:2]
    amplitude = float(rng.uniform(0.003, 0.03)) * max(height, width)
    coarse = rng.normal(0, amplitude, (4, 4, 2)).astype(np.float32)
    shift = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(
        cv2.remap(
            picture,
            columns + shift[..., 0],
            rows + shift[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def show_other_face(rng: np.random.Generator, picture: U8, others: Sequence[U8]) -> U8:
    """Return the picture with one side strip unlike it: references show corners of a box that a
    camera sees from elsewhere.
    """
    height, width = picture.shape[:2]
    share, side = float(rng.uniform(0.06, 0.4)), int(rng.integers(4))
    mask = np.zeros((height, width), np.uint8)
    strip = (
        (slice(None), slice(0, int(width * share))),
        (slice(None), slice(int(width * (1 - share)), None)),
        (slice(0, int(height * share)), slice(None)),
        (slice(int(height * (1 - share)), None), slice(None)),
    )[side]
    mask[strip] = 255
    if others and rng.random() < 0.6:
        filling = cv2.resize(others[int(rng.integers(len(others)))], (width, height))
    else:
        filling = np.full_like(picture, rng.integers(0, 256, 3))
    return _mixed(picture, np.asarray(filling, np.uint8), mask)


def relight(rng: np.random.Generator, picture: U8) -> U8:
    """Return the print as another press, lamp and gloss give it: tones, shades, a glare."""
    height, width = picture.shape[:2]
    tone = (picture.astype(np.float32) / 255) ** np.float32(np.exp(rng.normal(0, 0.35)))
    grey = tone.mean(axis=2, keepdims=True)
    tone = grey + (tone - grey) * np.float32(rng.uniform(0.5, 1.2))
    coarse = np.exp(rng.normal(0, 0.3, (3, 3))).astype(np.float32)
    shade = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    out = tone * shade[..., None] * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32)
    if rng.random() < 0.35:
        glare = np.zeros((height, width), np.float32)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(width * rng.uniform(0.05, 0.3)) + 1, int(height * rng.uniform(0.05, 0.3)) + 1)
        cv2.ellipse(glare, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        soft = cv2.GaussianBlur(glare, (0, 0), max(height, width) / 30)
        out = out + soft[..., None] * np.float32(rng.uniform(0.15, 0.7))
    return np.asarray(np.clip(out, 0, 1) * 255, np.uint8)


def make_twin(rng: np.random.Generator, picture: U8, other: U8) -> U8:
    """Return a near-twin: the same design with another picture, colour or text in one or two
    places.

    picture, other: (h, w, 3) uint8 BGR.
    """
    twin = picture
    for _ in range(1 if rng.random() < 0.6 else 2):
        changed = _change(rng, twin, other)
        twin = changed if _difference(changed, twin) > LEAST_CHANGE else twin
    if _difference(twin, picture) > LEAST_CHANGE:
        return twin
    height, width = picture.shape[:2]
    filling = np.asarray(cv2.resize(other, (width, height)), np.uint8)
    return _mixed(picture, filling, draw_patch(rng, (width, height), 0.12, 0.4))


def _silhouette(rng: np.random.Generator, size_wh: tuple[int, int]) -> U8:
    """Return (h, w) uint8, 255 inside the outline of a thing that does not fill its picture."""
    width, height = size_wh
    corners = np.array([[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]])
    inward = rng.uniform(0, 0.16, (8, 1)) * (0.5 - corners) * 2
    points = ((corners + inward) * (width, height)).astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [points], 255)
    return mask


def _change(rng: np.random.Generator, picture: U8, other: U8) -> U8:
    height, width = picture.shape[:2]
    return change_in(rng, picture, other, draw_patch(rng, (width, height), 0.05, 0.4))


def change_in(rng: np.random.Generator, picture: U8, other: U8, patch: U8) -> U8:
    """Return the picture with another picture, colour or text in a patch, or all in another colour.

    patch: (h, w) uint8, 255 inside.
    """
    height, width = picture.shape[:2]
    kind = rng.random()
    if kind < 0.45:
        return _mixed(picture, np.asarray(cv2.resize(other, (width, height)), np.uint8), patch)
    if kind < 0.65:
        return _mixed(picture, _recolored(rng, picture), patch)
    if kind < 0.75:
        return _recolored(rng, picture)
    if kind < 0.9:  # other words of the same print
        rolled = np.roll(
            picture,
            (int(rng.integers(height // 5, height)), int(rng.integers(width // 5, width))),
            (0, 1),
        )
        return _mixed(picture, rolled, patch)
    flat = np.full_like(picture, np.median(picture[patch > 0], axis=0).astype(np.uint8))
    return _mixed(picture, flat, patch)


def _recolored(rng: np.random.Generator, picture: U8) -> U8:
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(np.int32)
    hsv[..., 0] = (hsv[..., 0] + int(rng.integers(18, 162))) % 180
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR), np.uint8)


def draw_patch(rng: np.random.Generator, size_wh: tuple[int, int], least: float, most: float) -> U8:
    """Return (h, w) uint8, 255 in a rectangle or ellipse of that share of the picture."""
    width, height = size_wh
    area, aspect = (
        float(rng.uniform(least, most)) * width * height,
        float(np.exp(rng.normal(0, 0.5))),
    )
    wide, high = (
        min(np.sqrt(area * aspect), width * 0.95),
        min(np.sqrt(area / aspect), height * 0.95),
    )
    x, y = float(rng.uniform(0, width - wide)), float(rng.uniform(0, height - high))
    mask = np.zeros((height, width), np.uint8)
    if rng.random() < 0.6:
        cv2.rectangle(mask, (int(x), int(y)), (int(x + wide), int(y + high)), 255, -1)
    else:
        centre, axes = (
            (int(x + wide / 2), int(y + high / 2)),
            (int(wide / 2) + 1, int(high / 2) + 1),
        )
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    return mask


def _mixed(picture: U8, filling: U8, mask: U8) -> U8:
    share = cv2.GaussianBlur(mask, (0, 0), 1.0).astype(np.float32)[..., None] / 255
    return np.asarray(picture * (1 - share) + filling * share, np.uint8)


def _difference(first: U8, second: U8) -> float:
    return float(np.abs(first.astype(np.int16) - second).mean())


def shrink(picture: U8, side_px: int) -> U8:
    """Return the picture with its longer side at most `side_px`: (h, w, 3) uint8 BGR."""
    factor = side_px / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = (max(8, round(picture.shape[1] * factor)), max(8, round(picture.shape[0] * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
