"""The pictures on printed packs, made of shapes: fruit, mosaic, landscape, emblem, blobs, icons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from catalog_tools.synthesize.pack_art import Box, Canvas, Color, draw_text, ellipse_points, mix


def draw_picture(
    canvas: Canvas, rng: np.random.Generator, box: Box, colors: Sequence[Color], paper: Color
) -> None:
    """Draw one of the pictures made of shapes into the box, on tinted ground or not."""
    art = Canvas(canvas.view(box))
    if rng.random() < 0.5:
        art.image[:] = mix(
            art.image, paper if rng.random() < 0.5 else colors[0], np.full(art.image.shape[:2], 0.7)
        )
    painter = (
        _paint_fruit,
        _paint_mosaic,
        _paint_landscape,
        _paint_emblem,
        _paint_blobs,
        _paint_icons,
    )
    painter[int(rng.integers(len(painter)))](art, rng, colors)


def _ball(
    art: Canvas, rng: np.random.Generator, center: np.ndarray, radius: float, color: Color
) -> None:
    """Paint a shaded ball, a dot of light and a leaf."""
    for step in range(6):
        shrink = 1 - step * 0.14
        tone = tuple(int(min(255, channel * (0.65 + step * 0.1) + step * 6)) for channel in color)
        middle = center - radius * 0.05 * step
        half = np.array([radius * shrink, radius * shrink * art.width / art.height])
        art.polygon(
            ellipse_points((*(middle - half), *(middle + half))), (tone[0], tone[1], tone[2])
        )
    tip = center + np.array([rng.uniform(-0.1, 0.1), -radius * 1.6])
    leaf = np.array([center - (0, radius), tip, center - (radius * 0.4, radius * 1.1)])
    art.polygon(leaf, (40, int(rng.integers(90, 200)), 60))


def _paint_fruit(art: Canvas, rng: np.random.Generator, colors: Sequence[Color]) -> None:
    for _ in range(int(rng.integers(3, 12))):
        color = colors[int(rng.integers(2))]
        _ball(art, rng, rng.uniform(0.15, 0.85, 2), float(rng.uniform(0.08, 0.24)), color)


def _paint_mosaic(art: Canvas, rng: np.random.Generator, colors: Sequence[Color]) -> None:
    columns, rows = (int(n) for n in rng.integers(3, 9, 2))
    for row in range(rows):
        for column in range(columns):
            x0, y0, x1, y1 = column / columns, row / rows, (column + 1) / columns, (row + 1) / rows
            corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
            art.polygon(corners, colors[int(rng.integers(len(colors)))])
            start = int(rng.integers(4))
            kept = np.roll(corners, start, axis=0)[: int(rng.integers(2, 5))]
            if len(kept) > 2:
                art.polygon(kept, colors[int(rng.integers(len(colors)))])


def _paint_landscape(art: Canvas, rng: np.random.Generator, colors: Sequence[Color]) -> None:
    _ball(
        art, rng, np.array([rng.uniform(0.2, 0.8), 0.25]), float(rng.uniform(0.08, 0.18)), colors[4]
    )
    xs = np.linspace(0, 1, 24)
    for layer in range(4):
        base = 0.35 + layer * 0.16
        ridge = (
            base
            + rng.normal(0, 0.05, xs.size) * (rng.random() < 0.6)
            + 0.08 * np.sin(xs * rng.uniform(3, 14))
        )
        hill = np.concatenate([np.stack([xs, ridge], 1), [(1, 1), (0, 1)]])
        art.polygon(hill, colors[layer])
    for _ in range(int(rng.integers(3, 12))):
        x, y, size = rng.uniform(0, 0.9), rng.uniform(0.45, 0.8), rng.uniform(0.04, 0.12)
        art.polygon(
            np.array([(x, y + size), (x + size / 2, y - size), (x + size, y + size)]), colors[3]
        )


def _paint_emblem(art: Canvas, rng: np.random.Generator, colors: Sequence[Color]) -> None:
    count = int(rng.integers(3, 13))
    for ring in range(int(rng.integers(3, 7))):
        radius = 0.48 * (1 - ring * 0.16)
        angle = np.arange(count * 2) * np.pi / count + rng.uniform(0, 1)
        wave = np.where(np.arange(count * 2) % 2, rng.uniform(0.55, 1.0), 1.0) * radius
        points = 0.5 + np.stack([np.cos(angle) * wave, np.sin(angle) * wave], 1)
        art.polygon(points, colors[ring % len(colors)])


def _paint_blobs(art: Canvas, rng: np.random.Generator, colors: Sequence[Color]) -> None:
    for _ in range(int(rng.integers(8, 30))):
        angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 12))))
        radius = rng.uniform(0.04, 0.22) * rng.uniform(0.6, 1.2, angle.size)
        points = rng.uniform(0, 1, 2) + np.stack(
            [np.cos(angle) * radius, np.sin(angle) * radius], 1
        )
        art.polygon(points, colors[int(rng.integers(len(colors)))])


def _paint_icons(art: Canvas, rng: np.random.Generator, colors: Sequence[Color]) -> None:
    columns, rows = (int(n) for n in rng.integers(2, 5, 2))
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) / columns, (row + 0.5) / rows
            half_x, half_y = 0.4 / columns, 0.4 / rows
            color = colors[int(rng.integers(len(colors)))]
            sides = int(rng.integers(3, 9))
            angle = np.arange(sides) * 2 * np.pi / sides + rng.uniform(0, np.pi)
            art.polygon(
                np.array((x, y)) + np.stack([np.cos(angle) * half_x, np.sin(angle) * half_y], 1),
                color,
            )
            letter = str(rng.choice(list("ABCDEFGHKMNPRSTXYZ23456789&%")))
            inner = (x - half_x / 2, y - half_y / 2, x + half_x / 2, y + half_y / 2)
            draw_text(art, rng, letter, inner, colors[int(rng.integers(len(colors)))])
