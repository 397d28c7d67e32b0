"""Printed packs drawn from nothing but a seed: the project's own pictures for training, tests and
the demo.

A pack is the front of a box, can, pouch or card: background, brand, picture, flavour line, small
print. Everything is derived from the seed, so a pack never has to be stored; a twin is the same
pack with another word or colour, as sold side by side in shops. Fonts are those inside OpenCV and
Pillow.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import cv2
import numpy as np

from catalog_tools.synthesize.pack_art import (
    Canvas,
    draw_background,
    draw_barcode,
    draw_facts_table,
    draw_panel,
    draw_seal,
    draw_small_print,
    draw_text,
)
from catalog_tools.synthesize.pack_pictures import draw_picture

DEMO_SEED_START = 1_000_000_000
"""Training draws seeds below this one only; the demo and the tests draw from here on."""

KINDS = ("box", "can", "pouch", "card")
_ASPECT_RANGE = {"box": (0.55, 1.05), "can": (0.6, 0.95), "pouch": (0.65, 0.9), "card": (0.62, 1.5)}
_RENDER_SIDE_PX = 320

_ONSETS = "b bl br c ch cl d dr f fl g gl gr h j k kr l m n p pl pr r s sh sl st t tr v w z".split()
_VOWELS = "a e i o u a e i o ai ea oo ou ia".split()
_CODAS = " l m n r s t x nd nt ck ll sh".split(" ")
_FLAVOURS = (
    "Apple Mango Cherry Lemon Vanilla Cocoa Hazelnut Almond Ginger Mint Berry Peach Tomato "
    "Basil Pepper Garlic Onion Paprika Honey Coconut Banana Orange Lime Melon Coffee Caramel "
    "Classic Original Light Extra Strong Mild Spicy Natural Organic Crunchy Creamy Smooth "
    "Whole Roasted Salted Sweet Sour Wild Forest Ocean Fresh Dark Gold"
).split()
_NOUNS = (
    "Juice Flakes Soup Tea Coffee Biscuits Chips Pasta Rice Beans Sauce Milk Yoghurt Cereal "
    "Crackers Noodles Cookies Muesli Syrup Jam Soap Powder Tabs Filter Bulbs Screws Glue Tape "
    "Paint Seeds Cards Game Batteries Cream Tonic Water"
).split()
_UNITS = (
    "250 g",
    "500 g",
    "1 kg",
    "330 ml",
    "750 ml",
    "1 L",
    "12 x",
    "100 pcs",
    "40 tabs",
    "2 x 125 g",
)


@dataclass(frozen=True, slots=True)
class PackDesign:
    """What is printed on one pack; colours are BGR 0..255."""

    seed: int
    kind: str
    paper: tuple[int, int, int]
    main: tuple[int, int, int]
    accent: tuple[int, int, int]
    ink: tuple[int, int, int]
    picture_colors: tuple[tuple[int, int, int], ...]
    brand: str
    product: str
    flavour: str
    quantity: str
    picture_seed: int


def _bgr(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(
        hue % 1.0, min(max(saturation, 0), 1), min(max(value, 0), 1)
    )
    return int(blue * 255), int(green * 255), int(red * 255)


def _draw_word(rng: np.random.Generator, syllables: int) -> str:
    parts = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)]
    return ("".join(parts) + rng.choice(_CODAS)).capitalize()


def design_pack(seed: int, twin: int = 0) -> PackDesign:
    """Draw the design of a pack; twin 0 is the pack itself, 1, 2, 3… its near-twins.

    Twins change one thing in turn: the flavour word, the accent colour, or word, colour and picture
    together.
    """
    rng = np.random.default_rng([seed, 0xA11])
    hue = rng.random()
    accent_hue = hue + rng.choice([0.08, 0.33, 0.5, 0.6]) + rng.normal(0, 0.04)
    pale = rng.random() < 0.45
    paper = (
        _bgr(hue, rng.uniform(0, 0.35), rng.uniform(0.82, 1))
        if pale
        else _bgr(hue, rng.uniform(0.45, 1), rng.uniform(0.2, 0.95))
    )
    main = _bgr(hue + rng.normal(0, 0.05), rng.uniform(0.6, 1), rng.uniform(0.25, 0.8))
    ink = _bgr(rng.random(), rng.uniform(0, 0.6), rng.uniform(0, 0.25))
    if not pale and rng.random() < 0.75:
        ink = _bgr(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.88, 1))
    colors = tuple(_bgr(rng.random(), rng.uniform(0.3, 1), rng.uniform(0.35, 1)) for _ in range(5))
    brand = _draw_word(rng, int(rng.integers(1, 4)))
    kind = str(rng.choice(KINDS, p=(0.45, 0.2, 0.2, 0.15)))
    accent = _bgr(accent_hue, rng.uniform(0.55, 1), rng.uniform(0.5, 1))
    brand = brand.upper() if rng.random() < 0.4 else brand
    product = str(rng.choice(_NOUNS))
    n_words = 2 if rng.random() < 0.4 else 1
    flavour = " ".join(str(rng.choice(_FLAVOURS)) for _ in range(n_words))
    design = PackDesign(
        seed=seed,
        kind=kind,
        paper=paper,
        main=main,
        accent=accent,
        ink=ink,
        picture_colors=colors,
        brand=brand,
        product=product,
        flavour=flavour,
        quantity=str(rng.choice(_UNITS)),
        picture_seed=seed,
    )
    return design if twin == 0 else _vary(design, twin)


def _vary(design: PackDesign, twin: int) -> PackDesign:
    rng = np.random.default_rng([design.seed, 0x7717, twin])
    mode = (twin - 1) % 3
    flavour, accent = design.flavour, design.accent
    while flavour == design.flavour:
        flavour = str(rng.choice(_FLAVOURS))
    blue, green, red = (channel / 255 for channel in design.accent)
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    accent = _bgr(hue + rng.uniform(0.25, 0.75), saturation, value)
    if mode == 0:
        return replace(design, flavour=flavour)
    if mode == 1:
        return replace(design, accent=accent)
    colors = tuple(_bgr(rng.random(), rng.uniform(0.3, 1), rng.uniform(0.35, 1)) for _ in range(5))
    picture_seed = int(rng.integers(0, 2**31))
    return replace(
        design, flavour=flavour, accent=accent, picture_colors=colors, picture_seed=picture_seed
    )


def natural_size_wh(seed: int, long_side_px: int) -> tuple[int, int]:
    """Give the pack's own proportions as (width, height) px with the longer side as wanted."""
    kind = design_pack(seed).kind
    low, high = _ASPECT_RANGE[kind]
    aspect = float(np.random.default_rng([seed, 0xA59]).uniform(low, high))
    if aspect > 1:
        return long_side_px, max(1, round(long_side_px / aspect))
    return max(1, round(long_side_px * aspect)), long_side_px


def render_pack(seed: int, size_wh: tuple[int, int] | None = None) -> np.ndarray:
    """Draw the pack of this seed: (h, w, 3) uint8 BGR; the same picture for the same seed at every
    size.

    size_wh: width and height in px; None gives the pack's own proportions, 400 px on the longer
    side.
    """
    return render_design(design_pack(seed), size_wh)


def render_twin(seed: int, twin: int, size_wh: tuple[int, int] | None = None) -> np.ndarray:
    """Draw near-twin number `twin` (from 1) of the pack of this seed: (h, w, 3) uint8 BGR."""
    if twin < 1:
        raise ValueError(
            f"render_twin: twin numbers start at 1, got {twin}; use render_pack for the pack itself"
        )
    return render_design(design_pack(seed, twin), size_wh)


def render_design(design: PackDesign, size_wh: tuple[int, int] | None = None) -> np.ndarray:
    """Draw a design: (h, w, 3) uint8 BGR."""
    width, height = size_wh or natural_size_wh(design.seed, 400)
    scale = max(1.0, _RENDER_SIDE_PX / max(width, height))
    canvas = Canvas.blank(round(width * scale), round(height * scale), design.paper)
    # Layout draws come from the seed alone, so a twin keeps the layout and differs only in what
    # changed.
    layout = np.random.default_rng([design.seed, 0x1A7])
    draw_background(canvas, layout, design.paper, design.main, design.accent)
    _LAYOUTS[int(layout.integers(len(_LAYOUTS)))](canvas, layout, design)
    _draw_extras(canvas, layout, design)
    image = _finish(canvas.image, design.kind, np.random.default_rng([design.seed, 0xF1]))
    if (canvas.width, canvas.height) != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return image


def _contrast(color: tuple[int, int, int], design: PackDesign) -> tuple[int, int, int]:
    """Pick ink, white or near-black, whichever is readable on this colour."""
    luma = float(np.dot(color, (0.11, 0.59, 0.30)))
    ink_luma = float(np.dot(design.ink, (0.11, 0.59, 0.30)))
    if abs(ink_luma - luma) > 90:
        return design.ink
    return (250, 250, 250) if luma < 128 else (20, 20, 20)


def _draw_brand(
    canvas: Canvas, rng: np.random.Generator, design: PackDesign, box: tuple[float, ...]
) -> None:
    fill = design.main if rng.random() < 0.7 else design.accent
    inner = draw_panel(canvas, rng, box, fill, design.accent)
    draw_text(canvas, rng, design.brand, inner, _contrast(fill, design), outline=design.paper)


def _draw_flavour(
    canvas: Canvas, rng: np.random.Generator, design: PackDesign, box: tuple[float, ...]
) -> None:
    inner = draw_panel(canvas, rng, box, design.accent, design.main)
    x0, y0, x1, y1 = inner
    split = y0 + (y1 - y0) * 0.55
    draw_text(canvas, rng, design.flavour, (x0, y0, x1, split), _contrast(design.accent, design))
    draw_text(canvas, rng, design.product, (x0, split, x1, y1), _contrast(design.accent, design))


def _art(canvas: Canvas, design: PackDesign, box: tuple[float, ...]) -> None:
    rng = np.random.default_rng([design.picture_seed, 0xA47])
    draw_picture(canvas, rng, box, design.picture_colors, design.paper)


def _layout_stacked(canvas: Canvas, rng: np.random.Generator, design: PackDesign) -> None:
    brand_h, flavour_h = rng.uniform(0.16, 0.3), rng.uniform(0.14, 0.26)
    y = 0.04
    for part in rng.permutation(["brand", "picture", "flavour"]):
        height = {"brand": brand_h, "flavour": flavour_h, "picture": 0.86 - brand_h - flavour_h}[
            str(part)
        ]
        box = (0.06, y, 0.94, y + height)
        if part == "picture":
            _art(canvas, design, box)
        else:
            (_draw_brand if part == "brand" else _draw_flavour)(canvas, rng, design, box)
        y += height + 0.03


def _layout_poster(canvas: Canvas, rng: np.random.Generator, design: PackDesign) -> None:
    _art(canvas, design, (0.0, 0.0, 1.0, 1.0))
    top = rng.uniform(0.03, 0.5)
    _draw_brand(canvas, rng, design, (0.08, top, 0.92, top + rng.uniform(0.15, 0.25)))
    low = rng.uniform(0.7, 0.8)
    _draw_flavour(
        canvas, rng, design, (rng.uniform(0.05, 0.3), low, rng.uniform(0.7, 0.95), low + 0.17)
    )


def _layout_columns(canvas: Canvas, rng: np.random.Generator, design: PackDesign) -> None:
    split = rng.uniform(0.35, 0.65)
    boxes = [(0.04, 0.3, split - 0.02, 0.95), (split + 0.02, 0.3, 0.96, 0.95)]
    order = rng.permutation(2)
    _draw_brand(canvas, rng, design, (0.04, 0.04, 0.96, 0.27))
    _art(canvas, design, boxes[order[0]])
    x0, y0, x1, y1 = boxes[order[1]]
    middle = y0 + (y1 - y0) * rng.uniform(0.3, 0.55)
    _draw_flavour(canvas, rng, design, (x0, y0, x1, middle))
    draw_small_print(canvas, rng, (x0, middle + 0.02, x1, y1), _contrast(design.paper, design))


def _layout_banded(canvas: Canvas, rng: np.random.Generator, design: PackDesign) -> None:
    n_bands = int(rng.integers(2, 5))
    edges = np.sort(rng.uniform(0.1, 0.9, n_bands))
    for index, edge in enumerate(edges):
        color = (design.main, design.accent, *design.picture_colors)[index]
        canvas.rectangle((0.0, float(edge), 1.0, float(edge + rng.uniform(0.02, 0.12))), color)
    _art(canvas, design, (rng.uniform(0.02, 0.3), 0.4, rng.uniform(0.65, 0.98), 0.8))
    _draw_brand(canvas, rng, design, (0.05, 0.08, 0.95, rng.uniform(0.28, 0.38)))
    _draw_flavour(canvas, rng, design, (0.1, 0.8, 0.9, 0.96))


_LAYOUTS = (_layout_stacked, _layout_poster, _layout_columns, _layout_banded)


def _draw_extras(canvas: Canvas, rng: np.random.Generator, design: PackDesign) -> None:
    corner = int(rng.integers(4))
    x, y = (0.03, 0.72)[corner % 2], (0.02, 0.8)[corner // 2]
    if rng.random() < 0.7:
        draw_seal(canvas, rng, (x, y, x + 0.25, y + 0.18), design.accent, design.paper)
    draw_text(
        canvas,
        rng,
        design.quantity,
        (0.7 - x * 0.6, 0.92, 0.95 - x * 0.6, 0.98),
        _contrast(design.paper, design),
    )
    if rng.random() < 0.5:
        left = rng.uniform(0.05, 0.6)
        draw_barcode(canvas, rng, (left, 0.84, left + 0.32, 0.97))
    if rng.random() < 0.5:
        left, top = rng.uniform(0.02, 0.6), rng.uniform(0.3, 0.7)
        draw_facts_table(
            canvas, rng, (left, top, left + 0.36, top + 0.22), design.ink, design.paper
        )
    if rng.random() < 0.7:
        top = rng.uniform(0.05, 0.85)
        draw_small_print(
            canvas,
            rng,
            (0.05, top, rng.uniform(0.5, 0.95), top + 0.1),
            _contrast(design.paper, design),
        )


def _finish(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Shade the flat print as the kind of pack bends it."""
    height, width = image.shape[:2]
    across = np.linspace(-1, 1, width, dtype=np.float32)
    if kind == "can":
        shade = (
            0.55
            + 0.5 * np.cos(across * 1.25)
            + 0.18 * np.exp(-((across + rng.uniform(-0.5, 0.5)) ** 2) / 0.02)
        )
        image = _shaded(image, np.tile(shade, (height, 1)))
        rim = max(2, height // 40)
        image[:rim], image[-rim:] = (190, 190, 195), (160, 160, 165)
    elif kind == "pouch":
        image = _shaded(image, np.tile(1.05 - 0.3 * across**4, (height, 1)))
        crimp = max(4, height // 24)
        stripes = (0.8 + 0.25 * np.sin(np.arange(width) * 2 * np.pi / max(3, width / 60))).astype(
            np.float32
        )
        image[:crimp] = _shaded(image[:crimp], np.tile(stripes, (crimp, 1)))
        image[-crimp:] = _shaded(image[-crimp:], np.tile(stripes, (crimp, 1)))
    elif kind == "card":
        border = max(2, min(width, height) // 40)
        image[:border] = image[-border:] = 250
        image[:, :border] = image[:, -border:] = 250
    else:
        image = _shaded(image, np.tile(1.0 - rng.uniform(0, 0.2) * (across + 1) / 2, (height, 1)))
    return image


def _shaded(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return np.clip(image * gain[..., None], 0, 255).astype(np.uint8)
