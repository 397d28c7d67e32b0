"""Signs of one series, and things labelled alike: another word or number on each, all else same."""

from __future__ import annotations

import cv2
import numpy as np

from catalog_tools.synthesize.pack_art import Canvas, Color, draw_text
from pipeline.types import U8

LETTERS, DIGITS = "ABCDEFGHJKLMNPRSTUVWXYZ", "0123456789"
SHAPES_WH = ((4, 3), (3, 2), (2, 1), (1, 1))
FIXED = ("AISLE", "ROOM", "GATE", "SHELF", "DOOR", "LANE", "BAY", "ZONE")


def render_series(seed: int, count: int, side_px: int, changed: int = 1) -> list[U8]:
    """Return so many signs of one series, (h, w, 3) uint8 BGR, `side_px` on the longer side.

    Their texts differ in `changed` characters; all else is the same. Half of the series count
    (digits), half have words.
    """
    rng = np.random.default_rng([seed, 0x516])
    alphabet = DIGITS if seed % 2 else LETTERS
    n_characters = int(rng.integers(2, 5)) if seed % 2 else int(rng.integers(4, 8))
    texts = _texts(rng, count, alphabet, n_characters, min(changed, n_characters))
    shape = np.array(SHAPES_WH[int(rng.integers(len(SHAPES_WH)))])
    size_wh = np.round(shape * side_px / shape.max()).astype(int)
    style = int(rng.integers(2**32))
    return [_render(style, text, (int(size_wh[0]), int(size_wh[1]))) for text in texts]


def relabelled(rng: np.random.Generator, picture: U8, count: int, changed: int = 1) -> list[U8]:
    """Return the picture, (h, w, 3) uint8 BGR, so many times with a label on it.

    Their texts differ in `changed` characters; plate, place and lettering are the same.
    """
    alphabet = DIGITS if rng.random() < 0.5 else LETTERS
    n_characters = int(rng.integers(1, 7))
    texts = _texts(rng, count, alphabet, n_characters, min(changed, n_characters))
    across = min(0.9, n_characters * float(rng.uniform(0.09, 0.22)))
    down = min(0.6, across / n_characters * float(rng.uniform(1.0, 2.2)))
    left, top = rng.uniform(0.02, 0.98 - across), rng.uniform(0.02, 0.98 - down)
    box = (left, top, left + across, top + down)
    ground, ink = _colors(rng)
    has_plate, style = rng.random() < 0.6, int(rng.integers(2**32))
    labelled = []
    for text in texts:
        canvas = Canvas(picture.copy())
        if has_plate:
            canvas.rectangle(box, ground)
        draw_text(canvas, np.random.default_rng(style), text, box, ink)
        labelled.append(canvas.image)
    return labelled


def _texts(
    rng: np.random.Generator, count: int, alphabet: str, n_characters: int, changed: int
) -> list[str]:
    """Texts of one length; each differs from the first in these places."""
    first = rng.choice(list(alphabet), n_characters)
    places = rng.choice(n_characters, changed, replace=False)
    texts = ["".join(first)]
    while len(texts) < count:
        other = first.copy()
        for place in places:
            other[place] = rng.choice([c for c in alphabet if c != first[place]])
        if "".join(other) not in texts:
            texts.append("".join(other))
    return texts


def _render(style: int, text: str, size_wh: tuple[int, int]) -> U8:
    rng = np.random.default_rng(style)  # the same for a series
    ground, ink = _colors(rng)
    canvas = Canvas.blank(*size_wh, ground)
    edge = float(rng.uniform(0.02, 0.05))
    if rng.random() < 0.6:
        canvas.rectangle((0, 0, 1, 1), ink)
        canvas.rectangle((edge, edge, 1 - edge, 1 - edge), ground)
    has_head = rng.random() < 0.6
    if has_head:
        draw_text(canvas, rng, str(rng.choice(FIXED)), (0.12, 0.1, 0.88, 0.36), ink)
    if rng.random() < 0.4:
        _draw_arrow(canvas, rng, ink)
    draw_text(canvas, rng, text, (0.12, 0.44 if has_head else 0.2, 0.88, 0.84), ink)
    return np.asarray(cv2.GaussianBlur(canvas.image, (0, 0), 0.6), np.uint8)


def _colors(rng: np.random.Generator) -> tuple[Color, Color]:
    """Ground and ink, BGR: one dark, one light."""
    strong = tuple(int(c) for c in rng.uniform(0, 150, 3))
    light = tuple(int(c) for c in rng.uniform(215, 256, 3))
    pair = (strong, light) if rng.random() < 0.5 else (light, strong)
    return (pair[0][0], pair[0][1], pair[0][2]), (pair[1][0], pair[1][1], pair[1][2])


def _draw_arrow(canvas: Canvas, rng: np.random.Generator, ink: Color) -> None:
    points = np.array([(0.06, 0.9), (0.16, 0.86), (0.16, 0.94)])
    if rng.random() < 0.5:
        points[:, 0] = 1 - points[:, 0]
    canvas.polygon(points, ink)
