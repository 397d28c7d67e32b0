"""Things made of several parts: tools, brushes, scissors, cutlery, lamps that nobody sells.

Packs teach a detector that one thing is one printed surface. Most goods are not: a handle and a
head differ in colour and are as long as a hand. These are drawn from a random generator alone, as
cut-outs (h, w, 4) uint8 BGRA.
"""

from __future__ import annotations

import cv2
import numpy as np

_SIDE_PX = 224
_PARTS_ODDS = (0.2, 0.4, 0.25, 0.15)  # of one to four parts in a row
_CROSSED_SHARE = 0.15  # two of a kind across each other: scissors, pliers, tongs
_HEADS = ("none", "bristles", "ring", "blade", "fork", "disc", "knob")


def draw_thing(rng: np.random.Generator) -> np.ndarray:
    """Draw one, lying in any direction: (h, w, 4) uint8 BGRA, no wider than what is drawn."""
    canvas = np.zeros((_SIDE_PX, _SIDE_PX, 4), np.uint8)
    direction = rng.uniform(0, 2 * np.pi)
    length = _SIDE_PX * 0.86
    if rng.random() < _CROSSED_SHARE:
        angle = rng.uniform(0.08, 0.5)
        state = rng.bit_generator.state
        for sign in (1, -1):
            rng.bit_generator.state = state  # both halves are alike
            _draw_row(canvas, rng, direction + sign * angle, length, "ring")
    else:
        _draw_row(canvas, rng, direction, length, str(rng.choice(_HEADS)))
    columns = np.flatnonzero(canvas[..., 3].any(0))
    rows = np.flatnonzero(canvas[..., 3].any(1))
    return np.ascontiguousarray(canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _draw_row(
    canvas: np.ndarray, rng: np.random.Generator, direction: float, length: float, head: str
) -> None:
    """Draw parts one after another along a line through the canvas's middle, then the head."""
    axis = np.array([np.cos(direction), np.sin(direction)])
    start = np.array(canvas.shape[1::-1]) / 2 - axis * length / 2
    count = 1 + int(rng.choice(len(_PARTS_ODDS), p=_PARTS_ODDS))
    head_length = 0.0 if head == "none" else length * float(rng.uniform(0.12, 0.4))
    ends = np.cumsum(rng.dirichlet(np.full(count, 2.0))) * (length - head_length)
    width = length * float(np.exp(rng.uniform(np.log(0.025), np.log(0.22))))
    begin = 0.0
    for end in ends:
        own = width * float(rng.uniform(0.5, 1.3))
        _draw_part(canvas, rng, start + axis * begin, start + axis * float(end), own)
        begin = float(end) - length * 0.01
    if head_length:
        tip = start + axis * length
        _draw_head(canvas, rng, head, start + axis * begin, tip, width * rng.uniform(1, 2.5))


def _draw_part(
    canvas: np.ndarray, rng: np.random.Generator, begin: np.ndarray, end: np.ndarray, width: float
) -> None:
    """One body: tapered or bulged, round (dark at its sides) or flat, some with stripes."""
    axis, across = _axes(begin, end)
    steps = np.linspace(0, 1, 12)
    taper, bulge = rng.normal(0, 0.3), rng.normal(0, 0.25)
    halves = width / 2 * np.clip(1 + taper * (steps - 0.5) + bulge * np.sin(steps * np.pi), 0.3, 2)
    middle = begin + (end - begin) * steps[:, None]
    outline = np.r_[middle + across * halves[:, None], (middle - across * halves[:, None])[::-1]]
    color = _color(rng)
    round_share = float(rng.choice((0.0, 0.35, 0.6)))
    ys, xs = np.mgrid[: canvas.shape[0], : canvas.shape[1]].astype(np.float32)
    offset = (xs - begin[0]) * across[0] + (ys - begin[1]) * across[1]
    side = np.clip(np.abs(offset / max(width / 2, 1) - rng.uniform(-0.3, 0.3)), 0, 1)
    shade = 1 - round_share * side**2
    along = (xs - begin[0]) * axis[0] + (ys - begin[1]) * axis[1]
    if rng.random() < 0.25:
        pitch = float(rng.uniform(6, 40))
        shade = np.where(along % pitch < pitch * 0.4, shade * rng.uniform(0.4, 0.9), shade)
    if round_share and rng.random() < 0.6:  # a gleam along it
        shade = shade + 0.6 * np.exp(-(((side - rng.uniform(0, 0.4)) / 0.12) ** 2))
    _fill(canvas, outline, color, shade)


def _draw_head(
    canvas: np.ndarray,
    rng: np.random.Generator,
    head: str,
    begin: np.ndarray,
    tip: np.ndarray,
    width: float,
) -> None:
    """What is at a thing's end."""
    axis, across = _axes(begin, tip)
    reach = float(np.linalg.norm(tip - begin))
    middle = (begin + tip) / 2
    color = _color(rng)
    flat = np.ones(canvas.shape[:2], np.float32)
    if head == "bristles":
        base = rng.random() < 0.5  # to one side of the row, or all around
        for share in np.linspace(0, 1, int(rng.integers(12, 40))):
            root = begin + (tip - begin) * share
            for sign in (1,) if base else (1, -1):
                lean = across * sign + axis * rng.normal(0, 0.15)
                ending = root + lean * width * rng.uniform(0.8, 1.1)
                shown = np.clip(color * rng.uniform(0.8, 1.15), 0, 255)
                _line(canvas, root, ending, shown, max(1, int(reach / 30)))
    elif head in ("ring", "disc", "knob"):
        half = max(width, 4.0) / 2 * (1.6 if head != "knob" else 0.9)
        turn = float(np.degrees(np.arctan2(axis[1], axis[0])))
        axes = (max(3, int(reach / 2)), max(3, int(half)))
        mask = np.zeros(canvas.shape[:2], np.uint8)
        thick = -1 if head != "ring" else max(2, int(width * 0.35))
        cv2.ellipse(mask, _point(middle), axes, turn, 0, 360, 255, thick, cv2.LINE_AA)
        _paint(canvas, mask, color, flat)
    elif head == "blade":
        edge = across * width * rng.uniform(0.3, 0.8)
        _fill(canvas, np.array([begin - edge, begin + edge, tip]), color, flat)
    elif head == "fork":
        for share in np.linspace(-0.5, 0.5, int(rng.integers(2, 5))):
            root = begin + across * width * share
            _line(canvas, root, root + axis * reach, color, max(2, int(width / 8)))
        ends = [begin - across * width * 0.5, begin + across * width * 0.5]
        _line(canvas, ends[0], ends[1], color, max(3, int(width / 5)))


def _axes(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axis = (end - begin) / max(float(np.linalg.norm(end - begin)), 1e-6)
    return axis, np.array([-axis[1], axis[0]])


def _color(rng: np.random.Generator) -> np.ndarray:
    """Metal, black and white plastic, wood, or any: (3,) float BGR."""
    kind = rng.random()
    if kind < 0.45:
        return np.full(3, rng.uniform(15, 245)) * rng.uniform(0.92, 1.08, 3)
    if kind < 0.6:
        return np.array([90, 140, 190]) * rng.uniform(0.5, 1.2)
    return rng.uniform(10, 245, 3)


def _fill(canvas: np.ndarray, outline: np.ndarray, color: np.ndarray, shade: np.ndarray) -> None:
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255, cv2.LINE_AA)
    _paint(canvas, mask, color, shade)


def _line(
    canvas: np.ndarray, begin: np.ndarray, end: np.ndarray, color: np.ndarray, thick: int
) -> None:
    shown = (*(float(channel) for channel in color), 255.0)
    cv2.line(canvas, _point(begin), _point(end), shown, thick)  # smooth, it would end in black


def _paint(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray, shade: np.ndarray) -> None:
    x, y, width, height = cv2.boundingRect(mask)
    part = np.s_[y : y + height, x : x + width]
    area, covered = canvas[part], mask[part]
    share = (covered.astype(np.float32) / 255)[..., None]
    share[area[..., 3] == 0] = 1  # a cut-out's edge has the thing's colour, not the canvas's
    shown = np.clip(color * shade[part][..., None], 0, 255)
    area[..., :3] = (area[..., :3] * (1 - share) + shown * share).astype(np.uint8)
    area[..., 3] = np.maximum(area[..., 3], covered)


def _point(xy: np.ndarray) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))
