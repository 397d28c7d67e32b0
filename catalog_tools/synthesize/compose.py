"""Whole scenes of packs and cut-outs, loosely placed or on a shelf, with the truth beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from catalog_tools.synthesize.scenes import (
    camera_effects,
    draw_hand,
    draw_shadow,
    make_background,
    paste_pack,
    tilted_quad,
)

MAX_ON_SHELVES = 120


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
    shelf_share: float = 0.3,
    is_close_up: bool = False,
) -> Scene:
    """Compose a scene of these pictures (BGR packs or BGRA cut-outs), loosely placed once each or
    on full shelves, several of each side by side.

    size_range_px: longer side of an item, drawn evenly on a log scale. shelf_share: of the scenes
    of three pictures or more. is_close_up: the last picture is held before the others, large and
    about in the middle. Items that are hidden for the most part are not in the truth.
    """
    image = make_background(rng, size_wh, backgrounds)
    behind = pictures[:-1] if is_close_up else pictures
    is_shelf = len(behind) > 2 and rng.random() < shelf_share
    if is_shelf:
        placed = stock_shelves(rng, image, behind, size_range_px)
    else:
        placed = list(enumerate(_loose_quads(rng, size_wh, behind, size_range_px)))
    if is_close_up:
        placed.append((len(pictures) - 1, _close_quad(rng, size_wh, pictures[-1])))
    owner = np.full(image.shape[:2], -1, np.int16)
    # One light for a shelf: what tells its neighbours apart is their print and their edges.
    light, spread = (rng.uniform(0.75, 1.15), 0.06) if is_shelf else (0.95, 0.25)
    for place, (index, quad) in enumerate(placed):
        if not is_shelf and rng.random() < 0.5:
            draw_shadow(image, quad, rng)
        own_light = float(light + rng.uniform(-spread, spread))
        coverage = paste_pack(image, pictures[index], quad, own_light)
        owner[coverage > 127] = place
        is_held = is_close_up and place == len(placed) - 1
        if rng.random() < (0.4 if is_held else 0.03 if is_shelf else 0.25):
            box = (*quad.min(0), *quad.max(0))
            owner[draw_hand(image, rng, box, float(rng.uniform(0.05, 0.6))) > 127] = -1
    return _with_truth(camera_effects(image, rng, strength), owner, placed, pictures)


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


def _close_quad(
    rng: np.random.Generator, size_wh: tuple[int, int], picture: np.ndarray
) -> np.ndarray:
    """Outline of a thing that fills half of the picture or more, (4, 2) float32 px."""
    fill = min(size_wh[0] / picture.shape[1], size_wh[1] / picture.shape[0])
    scale = fill * float(rng.uniform(0.5, 1.15))
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    center = (size_wh[0] * rng.normal(0.5, 0.07), size_wh[1] * rng.normal(0.5, 0.07))
    angle = rng.normal(0, 10) if rng.random() < 0.85 else rng.uniform(0, 360)
    return tilted_quad(rng, center, size, float(rng.uniform(0, 0.8)), float(angle))


def _box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    low, high = np.maximum(first.min(0), second.min(0)), np.minimum(first.max(0), second.max(0))
    return float(np.prod(np.maximum(high - low, 0)))


def stock_shelves(
    rng: np.random.Generator,
    image: np.ndarray,
    pictures: Sequence[np.ndarray],
    size_range_px: tuple[float, float],
) -> list[tuple[int, np.ndarray]]:
    """Fill the picture with shelves seen from a little aside; their boards are drawn in place.

    Items touch their neighbours, and one to six facings of each stand side by side. Returns which
    picture stands where: its number and its outline (4, 2) float32 px.
    """
    height, width = image.shape[:2]
    low, high = size_range_px
    row_h = float(np.exp(rng.uniform(np.log(max(low, height / 7)), np.log(max(high, height / 3)))))
    view = _seen_from_aside(rng, (width, height))
    gap = rng.uniform(0, 0.03) if rng.random() < 0.7 else rng.uniform(0.03, 0.15)
    board = tuple(int(channel) for channel in rng.uniform(30, 240, 3))
    placed: list[tuple[int, np.ndarray]] = []
    floor = float(rng.uniform(0.3, 1.0)) * row_h
    while floor - row_h < height * 1.1 and len(placed) < MAX_ON_SHELVES:
        edge = [(-width, floor), (2 * width, floor), (2 * width, floor + row_h * 0.1)]
        outline = _seen(view, [*edge, (-width, floor + row_h * 0.1)])
        cv2.fillConvexPoly(image, np.clip(outline, -8000, 8000).astype(np.int32), board)
        x = float(rng.uniform(-0.3, 0.05)) * width
        while x < width * 1.1 and len(placed) < MAX_ON_SHELVES:
            index = int(rng.integers(len(pictures)))
            item_h = row_h * rng.uniform(0.6, 0.97)
            item_w = item_h * pictures[index].shape[1] / pictures[index].shape[0]
            for _ in range(int(rng.choice((1, 1, 2, 2, 3, 4, 6)))):
                top, right = floor - item_h, x + item_w
                box = [(x, top), (right, top), (right, floor), (x, floor)]
                placed.append((index, _seen(view, box)))
                x = right + gap * item_w
            if rng.random() < 0.08:  # sold out
                x += item_w
        floor += row_h * 1.12
    return placed


def _seen_from_aside(rng: np.random.Generator, size_wh: tuple[int, int]) -> np.ndarray:
    width, height = size_wh
    tilt, turn = float(rng.uniform(0, 0.5)), float(rng.normal(0, 4))
    quad = tilted_quad(rng, (width / 2, height / 2), (width, height), tilt, turn)
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    return cv2.getPerspectiveTransform(frame, quad)


def _seen(view: np.ndarray, points: Sequence[tuple[float, float]]) -> np.ndarray:
    return cv2.perspectiveTransform(np.array([points], np.float32), view)[0]


def _with_truth(
    image: np.ndarray,
    owner: np.ndarray,
    placed: Sequence[tuple[int, np.ndarray]],
    pictures: Sequence[np.ndarray],
) -> Scene:
    boxes, kept, shares = [], [], []
    for place, (index, quad) in enumerate(placed):
        x0, y0 = np.maximum(np.floor(quad.min(0)).astype(int) - 1, 0)
        x1, y1 = np.maximum(np.ceil(quad.max(0)).astype(int) + 2, 0)
        ys, xs = np.nonzero(owner[y0:y1, x0:x1] == place)
        area = cv2.contourArea(quad)
        if pictures[index].shape[2] == 4:
            area *= float((pictures[index][..., 3] > 127).mean())
        share = xs.size / max(area, 1.0)
        if xs.size < 60 or share < 0.3:
            continue
        boxes.append((x0 + xs.min(), y0 + ys.min(), x0 + xs.max() + 1, y0 + ys.max() + 1))
        kept.append(place)
        shares.append(min(share, 1.0))
    return Scene(
        image_bgr=image,
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        item_index=np.array([placed[place][0] for place in kept], np.int32),
        outlines=np.array([placed[place][1] for place in kept], np.float32).reshape(-1, 4, 2),
        visible=np.array(shares, np.float32),
    )
