"""The pieces that a printed pack is made of: panels, lettering, pictures made of shapes, small
print.

Every function draws on a `Canvas` in fractions of its size (boxes are x0, y0, x1, y1 in 0..1), so
that the same random draws give the same print at every resolution. Colours are BGR 0..255.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Box = Sequence[float]
_TEXT_SIDE_PX = 64
_FACTS = ("Energy", "Fat", "Salt", "Fibre", "Sugar", "Protein")


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture to draw on, (h, w, 3) uint8 BGR."""

    image: np.ndarray

    @classmethod
    def blank(cls, width: int, height: int, color: Color) -> Canvas:
        """Give a canvas filled with one colour."""
        return cls(np.full((height, width, 3), color, np.uint8))

    @property
    def width(self) -> int:
        """Width in px."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in px."""
        return int(self.image.shape[0])

    def pixels(self, box: Box) -> tuple[int, int, int, int]:
        """Give the box in whole pixels, clipped, at least one pixel wide and high."""
        x0 = int(np.clip(round(box[0] * self.width), 0, self.width - 1))
        y0 = int(np.clip(round(box[1] * self.height), 0, self.height - 1))
        x1 = int(np.clip(round(box[2] * self.width), x0 + 1, self.width))
        y1 = int(np.clip(round(box[3] * self.height), y0 + 1, self.height))
        return x0, y0, x1, y1

    def view(self, box: Box) -> np.ndarray:
        """Give the pixels of the box as a writable view (h, w, 3)."""
        x0, y0, x1, y1 = self.pixels(box)
        return self.image[y0:y1, x0:x1]

    def rectangle(self, box: Box, color: Color) -> None:
        """Fill the box."""
        self.view(box)[:] = color

    def polygon(self, points_xy: np.ndarray, color: Color) -> None:
        """Fill a polygon of (N, 2) fractions with smooth edges."""
        points = np.round(points_xy * (self.width, self.height) * 16).astype(np.int32)
        cv2.fillPoly(self.image, [points], color, cv2.LINE_AA, 4)


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return ys / max(height - 1, 1), xs / max(width - 1, 1)


def mix(first: np.ndarray | Color, second: Color, share: np.ndarray) -> np.ndarray:
    """Give `first` where share (h, w) is 0, `second` where it is 1: (h, w, 3) uint8 BGR."""
    share = share[..., None]
    return (
        np.asarray(first, np.float32) * (1 - share) + np.asarray(second, np.float32) * share
    ).astype(np.uint8)


def draw_background(
    canvas: Canvas, rng: np.random.Generator, paper: Color, main: Color, accent: Color
) -> None:
    """Cover the canvas with a gradient, stripes, dots, rays, checks or waves."""
    ys, xs = _grid(canvas.height, canvas.width)
    style, angle, count = int(rng.integers(7)), rng.uniform(0, np.pi), rng.uniform(4, 16)
    strength = rng.uniform(0.15, 0.8)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    center_x, center_y = rng.uniform(0.2, 0.8, 2)
    other = main if rng.random() < 0.6 else accent
    if style == 0:
        share = np.clip(along, 0, 1)
    elif style == 1:
        share = (np.sin(along * count * np.pi) > 0).astype(np.float32)
    elif style == 2:
        share = ((np.sin(xs * count * np.pi) * np.sin(ys * count * np.pi)) > 0.4).astype(np.float32)
    elif style == 3:
        rays = np.arctan2(ys - center_y, xs - center_x) * round(count)
        share = (np.sin(rays) > 0).astype(np.float32)
    elif style == 4:
        share = (np.sin(ys * count * np.pi + np.sin(xs * 9) * 1.5) > 0).astype(np.float32)
    elif style == 5:
        share = (ys + 0.15 * np.sin(xs * count * 0.7 + angle) > center_y).astype(np.float32)
        strength = 1.0
    else:
        share = np.zeros_like(xs)
    canvas.image[:] = mix(paper, other, share * strength)


def draw_panel(
    canvas: Canvas, rng: np.random.Generator, box: Box, fill: Color, edge: Color
) -> tuple[float, ...]:
    """Draw the plate under a text (or none) and give the box left for the text."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    style = int(rng.integers(6))
    if style == 0:
        canvas.rectangle(box, fill)
    elif style == 1:
        canvas.polygon(ellipse_points((x0, y0, x1, y1)), edge)
        canvas.polygon(ellipse_points((x0 + 0.015, y0 + 0.015, x1 - 0.015, y1 - 0.015)), fill)
        return x0 + width * 0.14, y0 + height * 0.2, x1 - width * 0.14, y1 - height * 0.2
    elif style == 2:
        slant = rng.uniform(-0.06, 0.06)
        canvas.polygon(
            np.array([(x0, y0 + slant), (x1, y0 - slant), (x1, y1 - slant), (x0, y1 + slant)]), fill
        )
    elif style == 3:
        canvas.rectangle(box, edge)
        canvas.rectangle((x0 + 0.012, y0 + 0.01, x1 - 0.012, y1 - 0.01), fill)
    elif style == 4:
        notch = width * 0.06
        middle = (y0 + y1) / 2
        canvas.polygon(
            np.array(
                [(x0, y0), (x1, y0), (x1 - notch, middle), (x1, y1), (x0, y1), (x0 + notch, middle)]
            ),
            fill,
        )
    else:
        canvas.rectangle(box, fill)
        canvas.rectangle((x0, y1 - height * 0.06, x1, y1), edge)
    return x0 + width * 0.07, y0 + height * 0.1, x1 - width * 0.07, y1 - height * 0.1


def ellipse_points(box: Box) -> np.ndarray:
    """Give the ellipse that fills the box as a polygon (48, 2)."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x0, y0, x1, y1 = box
    return np.stack(
        [
            (x0 + x1) / 2 + np.cos(angle) * (x1 - x0) / 2,
            (y0 + y1) / 2 + np.sin(angle) * (y1 - y0) / 2,
        ],
        1,
    )


@functools.cache
def _font(name: str) -> cv2.FontFace | ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_SIDE_PX) if name == "pillow" else cv2.FontFace(name)


def text_mask(text: str, font: str, weight: int) -> np.ndarray:
    """Give the text as (h, w) uint8 coverage, cropped to its ink, about 64 px high.

    font: sans, italic or uni (inside OpenCV) or pillow; weight: 100 (thin) .. 900 (black).
    """
    if font == "pillow":
        sheet = Image.new("L", (_TEXT_SIDE_PX * (len(text) + 2), _TEXT_SIDE_PX * 2))
        ImageDraw.Draw(sheet).text((8, 8), text, fill=255, font=_font("pillow"))
        mask = np.asarray(sheet)
    else:
        mask = np.zeros((_TEXT_SIDE_PX * 2, _TEXT_SIDE_PX * (len(text) + 2), 3), np.uint8)
        cv2.putText(
            mask,
            text,
            (8, round(_TEXT_SIDE_PX * 1.4)),
            (255, 255, 255),
            _font(font),
            _TEXT_SIDE_PX,
            weight,
        )
        mask = mask[..., 0]
    rows, columns = np.flatnonzero(mask.max(1)), np.flatnonzero(mask.max(0))
    if rows.size == 0:
        return np.zeros((1, 1), np.uint8)
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def draw_text(
    canvas: Canvas,
    rng: np.random.Generator,
    text: str,
    box: Box,
    color: Color,
    outline: Color | None = None,
) -> None:
    """Letter a text into the box, stretched to fill most of it, sometimes sheared, arched or
    outlined.
    """
    font = str(rng.choice(["sans", "italic", "uni", "pillow"], p=(0.4, 0.2, 0.2, 0.2)))
    mask = text_mask(text, font, int(rng.integers(2, 10)) * 100)
    style, arch, keep = rng.random(), rng.uniform(-0.3, 0.3), rng.uniform(0.75, 1.0)
    area = canvas.view(box)
    height, width = area.shape[:2]
    # A stretch of more than 1.8 to one side makes letters unreadable: keep the rest of the box free
    # instead.
    natural = mask.shape[1] / mask.shape[0]
    text_w = min(width, max(1, round(height * keep * natural * 1.8)))
    text_h = max(1, min(round(height * keep), round(text_w / natural * 1.8)))
    mask = cv2.resize(mask, (max(1, text_w), text_h), interpolation=cv2.INTER_AREA)
    if style < 0.25 and text_h > 8:
        bend = (arch * text_h * (np.linspace(-1, 1, text_w) ** 2 - 0.5)).astype(np.float32)
        ys, xs = np.mgrid[0:text_h, 0:text_w].astype(np.float32)
        mask = cv2.remap(
            mask, xs, ys * (1 + abs(arch)) - abs(arch) * text_h / 2 + bend, cv2.INTER_LINEAR
        )
    top, left = (height - text_h) // 2, (width - text_w) // 2
    target = area[top : top + text_h, left : left + text_w]
    if outline is not None and style > 0.6:
        size = max(3, text_h // 10) | 1
        thick = cv2.dilate(mask, np.ones((size, size), np.uint8))
        target[:] = mix(target, outline, thick.astype(np.float32) / 255)
    target[:] = mix(target, color, mask.astype(np.float32) / 255)


def draw_small_print(canvas: Canvas, rng: np.random.Generator, box: Box, color: Color) -> None:
    """Fill the box with lines of small lettering."""
    letters = list("abcdefghijklmnopqrstuvwxyz     ,.0123456789")
    n_lines = int(rng.integers(3, 7))
    y0, step = box[1], (box[3] - box[1]) / n_lines
    for line in range(n_lines):
        text = "".join(rng.choice(letters, 26)).strip() or "x"
        end = box[0] + (box[2] - box[0]) * (1.0 if line < n_lines - 1 else rng.uniform(0.3, 0.9))
        area = canvas.view((box[0], y0 + line * step, end, y0 + (line + 0.8) * step))
        mask = cv2.resize(
            text_mask(text, "sans", 500), area.shape[1::-1], interpolation=cv2.INTER_AREA
        )
        area[:] = mix(area, color, mask.astype(np.float32) / 255)


def draw_facts_table(
    canvas: Canvas, rng: np.random.Generator, box: Box, ink: Color, paper: Color
) -> None:
    """Draw a table of figures as on the back of food."""
    canvas.rectangle(box, ink)
    x0, y0, x1, y1 = box
    rows = int(rng.integers(4, 8))
    step = (y1 - y0) / rows
    for row in range(rows):
        canvas.rectangle(
            (x0 + 0.006, y0 + row * step + 0.005, x1 - 0.006, y0 + (row + 1) * step), paper
        )
        label = f"{rng.choice(_FACTS)} {rng.integers(1, 999)} g"
        area = canvas.view((x0 + 0.02, y0 + (row + 0.2) * step, x1 - 0.02, y0 + (row + 0.9) * step))
        mask = cv2.resize(
            text_mask(label, "uni", 400), area.shape[1::-1], interpolation=cv2.INTER_AREA
        )
        area[:] = mix(area, ink, mask.astype(np.float32) / 255)


def draw_barcode(canvas: Canvas, rng: np.random.Generator, box: Box) -> None:
    """Draw black bars on white with a number under them."""
    canvas.rectangle(box, (255, 255, 255))
    x0, y0, x1, y1 = box
    x = x0 + 0.02
    while x < x1 - 0.02:
        width = rng.choice([0.004, 0.008, 0.012])
        canvas.rectangle((x, y0 + 0.01, x + width, y1 - 0.03), (10, 10, 10))
        x += width + rng.choice([0.004, 0.008])


def draw_seal(
    canvas: Canvas, rng: np.random.Generator, box: Box, color: Color, paper: Color
) -> None:
    """Draw a star or round stamp with a letter or number in it."""
    points = int(rng.integers(8, 22))
    angle = np.arange(points * 2) * np.pi / points
    radius = np.where(np.arange(points * 2) % 2, rng.uniform(0.7, 0.95), 1.0)
    x0, y0, x1, y1 = box
    center = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    extent = np.array([(x1 - x0) / 2, (y1 - y0) / 2])
    star = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    canvas.polygon(center + star * extent, color)
    canvas.polygon(center + star * extent * 0.75, paper)
    label = str(rng.choice(["NEW", "BIO", "-20%", "No. 1", "+1", "ECO", "XL", "A+"]))
    inner = center - extent * 0.5, center + extent * 0.5
    draw_text(canvas, rng, label, (*inner[0], *inner[1]), color)
