"""Whole scenes of packs and cut-outs, loosely placed or on a shelf, with the truth beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from catalog_tools.scenes import (
    camera_effects,
    draw_hand,
    draw_shadow,
    make_background,
    paste_pack,
    tilted_quad,
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One composed picture and what is in it.

    image_bgr: (H, W, 3) uint8; xyxy: (N, 4) float32 px, the visible part of each item; item_index:
    (N,) which of the given pictures it is; outlines: (N, 4, 2) float32 px; visible: (N,) share of
    the outline that is seen.
    """

    image_bgr: np.ndarray
    xyxy: np.ndarray
    item_index: np.ndarray
    outlines: np.ndarray
    visible: np.ndarray


def compose_scene(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    pictures: Sequence[np.ndarray],
    backgrounds: Sequence[np.ndarray] = (),
    size_range_px: tuple[float, float] = (40, 400),
    strength: float = 1.0,
) -> Scene:
    """Compose a scene of these pictures (BGR packs or BGRA cut-outs), loosely placed or side by
    side as on a shelf.

    size_range_px: longer side of an item, drawn evenly on a log scale. Items that are hidden for
    the most part are not in the truth.
    """
    image = make_background(rng, size_wh, backgrounds)
    place = _shelf_quads if len(pictures) > 2 and rng.random() < 0.3 else _loose_quads
    quads = place(rng, size_wh, pictures, size_range_px)
    owner = np.full(image.shape[:2], -1, np.int16)
    for index, quad in enumerate(quads):
        if place is _loose_quads and rng.random() < 0.5:
            draw_shadow(image, quad, rng)
        coverage = paste_pack(image, pictures[index], quad, float(rng.uniform(0.7, 1.2)))
        owner[coverage > 127] = index
        if rng.random() < 0.25:
            box = (*quad.min(0), *quad.max(0))
            owner[draw_hand(image, rng, box, float(rng.uniform(0.05, 0.6))) > 127] = -1
    return _with_truth(camera_effects(image, rng, strength), owner, quads, pictures)


def _loose_quads(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    pictures: Sequence[np.ndarray],
    size_range_px: tuple[float, float],
) -> list[np.ndarray]:
    quads: list[np.ndarray] = []
    low, high = np.log(size_range_px)
    for picture in pictures:
        side = float(np.exp(rng.uniform(low, high)))
        scale = side / max(picture.shape[:2])
        size = (picture.shape[1] * scale, picture.shape[0] * scale)
        angle = rng.normal(0, 15) if rng.random() < 0.75 else rng.uniform(0, 360)
        best = None
        for _ in range(
            6
        ):  # The least covered of a few draws: items mostly stand beside each other.
            center = rng.uniform(0, size_wh[0]), rng.uniform(0, size_wh[1])
            quad = tilted_quad(rng, center, size, float(rng.uniform(0, 0.8)), float(angle))
            overlap = sum(_box_overlap(quad, other) for other in quads)
            if best is None or overlap < best[0]:
                best = (overlap, quad)
            if overlap == 0:
                break
        if best is not None:
            quads.append(best[1])
    return quads


def _box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    low, high = np.maximum(first.min(0), second.min(0)), np.minimum(first.max(0), second.max(0))
    return float(np.prod(np.maximum(high - low, 0)))


def _shelf_quads(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    pictures: Sequence[np.ndarray],
    size_range_px: tuple[float, float],
) -> list[np.ndarray]:
    """Place the pictures in touching rows, as on a shelf seen from a little aside."""
    width, height = size_wh
    row_h = float(np.exp(rng.uniform(*np.log(size_range_px))))
    gap = rng.uniform(0, 0.08) * row_h
    x, y = rng.uniform(-0.2, 0.1) * width, rng.uniform(0.3, 1.1) * row_h
    quads = []
    for picture in pictures:
        item_h = row_h * rng.uniform(0.75, 1.0)
        item_w = item_h * picture.shape[1] / picture.shape[0]
        if x > width:
            x, y = rng.uniform(-0.2, 0.1) * width, y + row_h * 1.12
        quads.append(
            np.array(
                [(x, y - item_h), (x + item_w, y - item_h), (x + item_w, y), (x, y)], np.float32
            )
        )
        x += item_w + gap
    view = tilted_quad(
        rng,
        (width / 2, height / 2),
        (width, height),
        float(rng.uniform(0, 0.5)),
        float(rng.normal(0, 4)),
    )
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    homography = cv2.getPerspectiveTransform(frame, view)
    return [cv2.perspectiveTransform(quad[None], homography)[0] for quad in quads]


def _with_truth(
    image: np.ndarray,
    owner: np.ndarray,
    quads: Sequence[np.ndarray],
    pictures: Sequence[np.ndarray],
) -> Scene:
    boxes, kept, shares = [], [], []
    for index, quad in enumerate(quads):
        ys, xs = np.nonzero(owner == index)
        area = cv2.contourArea(quad)
        if pictures[index].shape[2] == 4:
            area *= float((pictures[index][..., 3] > 127).mean())
        share = xs.size / max(area, 1.0)
        if xs.size < 60 or share < 0.3:
            continue
        boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
        kept.append(index)
        shares.append(min(share, 1.0))
    return Scene(
        image_bgr=image,
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        item_index=np.array(kept, np.int32),
        outlines=np.array([quads[index] for index in kept], np.float32).reshape(-1, 4, 2),
        visible=np.array(shares, np.float32),
    )
