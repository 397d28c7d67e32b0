"""Batches for the detector: composed scenes, photos with real boxes, and pictures of nothing."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np

from catalog_tools.catalog_pictures import read_items
from catalog_tools.synthesize.compose import Scene, compose_scene
from catalog_tools.synthesize.made_things import draw_thing
from catalog_tools.synthesize.scenes import camera_effects, make_background
from catalog_tools.synthesize.views import flat_bgr
from catalog_tools.train.batches_ahead import Clock
from catalog_tools.train.options import DetectorOptions
from catalog_tools.train.pack_bank import PackBank, to_rgb_batch
from catalog_tools.train.pool import LabelledPicture, Pool, cut_out, decode, open_pool
from catalog_tools.train.user_boxes import UserBoxes, read_user_boxes
from pipeline.errors import ConfigError

# Width and height of the pictures of a batch; small ones first, since most is learnt from them at a
# third of the cost.
SIZES_WH_BY_PROGRESS = (
    (0.4, ((256, 192), (224, 224))),
    (0.85, ((320, 192), (256, 256), (352, 224))),
    (1.0, ((416, 256), (320, 320), (480, 288))),
)
ITEM = "item"
# Of the pictures, where the pool has real boxes. At 0.12 their recall was 0.30; at 0.3 plain things
# that such photos show without a box were no longer found.
REAL_SHARE = 0.2
REAL_SHARE_OF_USERS = 0.8  # a user's few pictures are all that shows the classes
MOSAIC_SHARE = 0.35  # of the pictures with real boxes
NOTHING_SHARE = 0.1  # of the composed ones: photos and backgrounds without an item
CROWD_SHARE = 0.15
CLOSE_UP_SHARE = 0.35
MADE_SHARE = 0.2  # of the items: long things of several parts
CUT_OUT_SHARE = 0.45  # of the other items: real things; the rest are packs
FRAMED_SHARE = 0.1  # of the items: a framed picture, a card, a drawing on paper
CATALOG_SHARE = 0.5  # of the items in scenes, when there is a catalog
BACKGROUND_SOURCES = ("boofcv", "foodish", "clothing_cc0", "grocery_fruitveg")
CUT_OUT_SOURCES = ("fluent3d", "trashnet", "magento")
FRAMED_SOURCES = ("caltech101", "boofcv", "fluent3d", "eshop_dalle3")

Labelled = tuple[np.ndarray, np.ndarray]  # (H, W, 3) uint8 BGR; (N, 5) float32 xyxy px and class


class DetectorBatches:
    """Makes the batch of any step out of the seed, the step and the clock's progress."""

    def __init__(self, options: DetectorOptions, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self.pool = open_pool(options.pool) if options.pool else Pool({}, {})
        users = read_user_boxes(options.boxes) if options.boxes else None
        self.names = users.names if users else (ITEM,)
        self._item_class = self.names.index(ITEM) if ITEM in self.names else None
        items = read_items(options.catalog) if options.catalog else []
        self.items = [picture for pictures in items for picture in pictures]
        if self.items and self._item_class is None:
            rule = f"names.txt must have '{ITEM}', the class of a catalog's items"
            raise ConfigError.at("--catalog with --boxes", rule, ", ".join(self.names))
        self._real, self.real_held_out = _real_pictures(self.pool, users)
        self._real_odds = _odds(self._real)
        self._real_share = REAL_SHARE_OF_USERS if users else REAL_SHARE
        self._bank = PackBank(options.seed, capacity=1200, first=16, side_px=224, twins=1)

    def __reduce__(self) -> tuple[object, ...]:
        # A process that makes batches reads the pictures by itself: cheaper than a pickle of them.
        return DetectorBatches, (self._options, self._clock)

    def make(self, step: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Make the batch of this step: images (B, 3, H, W) uint8 RGB, and of each its boxes (N, 5)
        float32: xyxy px and the class's number.
        """
        rng = np.random.default_rng([self._options.seed, step])
        now = self._clock.progress()
        sizes = next(sizes for until, sizes in SIZES_WH_BY_PROGRESS if now <= until)
        size_wh = sizes[int(rng.integers(len(sizes)))]
        made = [self._make_one(rng, step, size_wh) for _ in range(self._options.batch)]
        return to_rgb_batch([image for image, _ in made]), [boxes for _, boxes in made]

    def odds_of(self, source: str) -> float:
        """Give how likely a picture with real boxes is of this source."""
        return float(sum(self._real_odds[[p.source == source for p in self._real]]))

    def _make_one(self, rng: np.random.Generator, step: int, size_wh: tuple[int, int]) -> Labelled:
        if self._real and rng.random() < self._real_share:
            chosen = rng.choice(len(self._real), 4, p=self._real_odds)
            picks = [self._real[int(pick)] for pick in chosen]
            if rng.random() < MOSAIC_SHARE:
                return real_mosaic(rng, picks, size_wh)
            return real_scene(rng, picks[0], size_wh)
        if self._item_class is None or rng.random() < NOTHING_SHARE:
            return self._show_nothing(rng, size_wh)
        scene = self._compose(rng, step, size_wh)
        return scene.image_bgr, with_class(scene.xyxy, self._item_class)

    def _compose(self, rng: np.random.Generator, step: int, size_wh: tuple[int, int]) -> Scene:
        is_crowd = rng.random() < CROWD_SHARE
        count = int(rng.integers(12, 31)) if is_crowd else int(rng.integers(1, 9))
        families = self._bank.draw(rng, step, count)
        pictures = [self._draw_item(rng, family) for _, family in families]
        backgrounds = [self._draw_background(rng)] if rng.random() < 0.75 else []
        largest = min(size_wh) * (0.35 if is_crowd else 1.2 if count < 4 else 0.7)
        strength = float(rng.uniform(0.2, 1))
        is_close_up = not is_crowd and rng.random() < CLOSE_UP_SHARE
        return compose_scene(
            rng, size_wh, pictures, backgrounds, (22, largest), strength, is_close_up=is_close_up
        )

    def _draw_item(self, rng: np.random.Generator, family: list[np.ndarray]) -> np.ndarray:
        if self.items and rng.random() < CATALOG_SHARE:
            return self.items[int(rng.integers(len(self.items)))]
        if rng.random() < MADE_SHARE:
            return draw_thing(rng)
        if rng.random() < FRAMED_SHARE:
            framed = self._draw_picture(rng, FRAMED_SOURCES)
            if framed is not None:
                return framed_print(rng, framed)
        picture = self._draw_picture(rng, CUT_OUT_SOURCES) if rng.random() < CUT_OUT_SHARE else None
        if picture is not None and picture.shape[2] == 3:
            picture = cut_out(picture)
        return family[int(rng.integers(len(family)))] if picture is None else picture

    def _show_nothing(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Labelled:
        """A whole photo of a place, or a drawn background; nothing in it is an item."""
        photo = self._draw_picture(rng, BACKGROUND_SOURCES[:1]) if rng.random() < 0.6 else None
        pictures = [] if photo is None else [photo[..., :3]]
        image = make_background(rng, size_wh, pictures)
        return camera_effects(image, rng, float(rng.uniform(0, 1))), np.zeros((0, 5), np.float32)

    def _draw_background(self, rng: np.random.Generator) -> np.ndarray:
        # Photographs of places are worth more here than close-ups, so they come half of the time.
        sources = BACKGROUND_SOURCES[:1] if rng.random() < 0.6 else BACKGROUND_SOURCES[1:]
        picture = self._draw_picture(rng, sources)
        return np.zeros((8, 8, 3), np.uint8) if picture is None else picture[..., :3]

    def _draw_picture(
        self, rng: np.random.Generator, sources: tuple[str, ...]
    ) -> np.ndarray | None:
        known = [source for source in sources if source in self.pool.groups]
        if not known:
            return None
        groups = self.pool.groups[known[int(rng.integers(len(known)))]]
        return self.pool.read(groups[int(rng.integers(len(groups)))][0])


def _real_pictures(
    pool: Pool, users: UserBoxes | None
) -> tuple[list[LabelledPicture], list[LabelledPicture]]:
    """Pictures with real boxes to learn from, and to measure on."""
    if users:  # the pool's boxes have none of the user's classes
        return users.train, users.check
    return pool.labelled.get("train", []), pool.labelled.get("val", [])


def _odds(pictures: list[LabelledPicture]) -> np.ndarray:
    """How likely each picture is drawn: a source counts by the root of its size, so that the
    largest does not drown the others and the smallest is not learnt by heart.
    """
    counts = Counter(picture.source for picture in pictures)
    odds = np.array([counts[picture.source] ** -0.5 for picture in pictures])
    return odds / odds.sum()


def with_class(xyxy: np.ndarray, number: int) -> np.ndarray:
    """Give boxes (N, 4) a fifth column, their class."""
    return np.c_[xyxy, np.full(len(xyxy), number)].astype(np.float32)


def framed_print(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Give a picture, or a line drawing of it, with a margin and a frame: (h, w, 3) uint8 BGR."""
    print_bgr = flat_bgr(picture, int(rng.integers(150, 256)))
    scale = 180 / max(print_bgr.shape[:2])
    print_bgr = cv2.resize(print_bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        grey = cv2.cvtColor(print_bgr, cv2.COLOR_BGR2GRAY)
        lines = cv2.adaptiveThreshold(
            grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 11, float(rng.uniform(4, 12))
        )
        print_bgr = cv2.cvtColor(lines, cv2.COLOR_GRAY2BGR)
    for widest in (24, 16):  # a margin of paper, then a frame; either may be missing
        width = int(rng.integers(0, widest))
        shade = int(rng.choice((0, 30, 255, int(rng.integers(256)))))
        print_bgr = cv2.copyMakeBorder(
            print_bgr, *[width] * 4, cv2.BORDER_CONSTANT, value=(shade, shade, shade)
        )
    return print_bgr


def real_scene(
    rng: np.random.Generator,
    labelled: LabelledPicture,
    size_wh: tuple[int, int],
    strength: float = 0.8,
) -> Labelled:
    """Cut a labelled photo to the size, larger or smaller, mirrored half of the time, in another
    light: (H, W, 3) uint8 BGR and its boxes (N, 5) xyxy px and class.
    """
    image = decode(labelled.encoded)
    if image is None:
        raise ConfigError.at("--boxes or --pool", "a labelled picture cannot be decoded")
    height, width = image.shape[:2]
    fill = max(size_wh[0] / width, size_wh[1] / height)
    stretch = np.exp(rng.normal(0, 0.12, 2) * strength)
    scale = fill * float(np.exp(rng.uniform(np.log(0.5), np.log(1.7)))) * stretch
    shift = rng.uniform(0, 1, 2) * (np.array(size_wh) - np.array([width, height]) * scale)
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    flags = cv2.INTER_AREA if scale.max() < 1 else cv2.INTER_LINEAR
    paper = tuple(int(channel) for channel in rng.uniform(60, 190, 3))
    source = image[..., :3]
    if scale.max() < 0.7:  # warpAffine does not average
        source = cv2.GaussianBlur(source, (0, 0), 0.4 / float(scale.max()))
    out = cv2.warpAffine(source, matrix, size_wh, flags=flags, borderValue=paper)
    xyxy = labelled.xyxy_share * np.array([width, height] * 2) * np.tile(scale, 2) + np.tile(
        shift, 2
    )
    whole = np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
    xyxy = np.clip(xyxy, 0, np.array([*size_wh, *size_wh]))
    kept = np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1) > np.maximum(whole * 0.25, 64)
    boxes = np.c_[xyxy, labelled.classes][kept].astype(np.float32)
    if rng.random() < 0.5:
        out = np.ascontiguousarray(out[:, ::-1])
        boxes[:, [0, 2]] = size_wh[0] - boxes[:, [2, 0]]
    return camera_effects(out, rng, float(rng.uniform(0, strength))), boxes


def real_mosaic(
    rng: np.random.Generator, labelled: list[LabelledPicture], size_wh: tuple[int, int]
) -> Labelled:
    """Four labelled photos side by side, as `real_scene` gives one."""
    width, height = size_wh
    across, down = (int(side * rng.uniform(0.35, 0.65)) for side in size_wh)
    out = np.empty((height, width, 3), np.uint8)
    boxes = []
    for number, picture in enumerate(labelled):
        left, right = (0, across) if number % 2 == 0 else (across, width)
        top, bottom = (0, down) if number < 2 else (down, height)
        tile, found = real_scene(rng, picture, (right - left, bottom - top))
        out[top:bottom, left:right] = tile
        boxes.append(found + np.array([left, top, left, top, 0], np.float32))
    return out, np.concatenate(boxes)
