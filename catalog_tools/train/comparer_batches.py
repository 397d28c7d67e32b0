"""Batches for the comparer: views and crops laid over them, of the same thing or of a near-twin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from catalog_tools.synthesize.laid_photos import lay_photo, lay_sibling, to_square
from catalog_tools.synthesize.scenes import camera_effects
from catalog_tools.synthesize.shots import change_in, draw_patch, make_twin, shrink
from catalog_tools.synthesize.signs import relabelled, render_series
from catalog_tools.synthesize.views import flat_bgr
from catalog_tools.train.options import ComparerOptions
from catalog_tools.train.pack_bank import HELD_OUT_SEED_START, PackBank, render_family, to_rgb_batch
from catalog_tools.train.pool import Pool, hold_out, open_pool
from pipeline.types import F32, U8

PACK_SHARE, SAME_SHARE = 0.6, 0.5
SERIES_SHARE = 0.2  # of the pairs are of a series: signs or labels that differ in a character
SIBLING_SHARE = 0.65  # of the views have a listed near-twin
BOX_SHARE = 0.5  # of the references show a box from a corner: its front and a side, or its top
PACK_SIDE_PX = 176
TWINS_A_PACK = 4
CHECK_SEED = 0xC0DE


@dataclass(frozen=True, slots=True)
class ComparedPairs:
    """A batch: views, crops, twins (B, 3, S, S) uint8 RGB; inside, twin_inside (B, 1, S, S) uint8,
    0 or 1, all 0 without a listed near-twin; same (B,) float32, 1 where view and crop show the
    same thing.
    """

    views: U8
    crops: U8
    inside: U8
    twins: U8
    twin_inside: U8
    same: F32


@dataclass(slots=True)
class _Design:
    """A thing's picture, those of others of its design, as far as they were not used yet, and the
    places, (h, w) uint8 masks, where edited ones differ: none of a series, whose others are all
    there are.
    """

    picture: U8
    others: list[U8]
    places: list[U8]


class ComparerBatches:
    """Makes the batch of any step out of the seed and the step; held-out things are never in one.

    Half of the pairs show the same: bent, in other light, behind a hand, with another face of the
    box at one side, cut off by the border. The others show what must not pass for it: near-twins
    that the pack's maker would print, edited ones, others of a series that differ in a character,
    and packs that share a logo and no more. Most views have a listed near-twin, as in a catalog;
    what a crop shows is then mostly a third one.
    """

    def __init__(self, options: ComparerOptions, side_px: int) -> None:
        self._options, self._side_px = options, side_px
        self._pool = open_pool(options.pool) if options.pool else Pool({}, {})
        self._held_out = hold_out(self._pool)
        self._bank = PackBank(
            options.seed, capacity=1500, first=24, side_px=PACK_SIDE_PX, twins=TWINS_A_PACK
        )

    def __reduce__(self) -> tuple[object, ...]:
        return ComparerBatches, (self._options, self._side_px)

    def make(self, step: int) -> ComparedPairs:
        """Make the batch of this step."""
        rng = np.random.default_rng([self._options.seed, step])
        families = [family for _, family in self._bank.draw(rng, step, self._options.batch)]
        return self._stack(rng, families, self._options.batch, is_check=False)

    def make_check(self, count: int) -> ComparedPairs:
        """Make pairs of things that no batch shows, always the same ones."""
        rng = np.random.default_rng(CHECK_SEED)
        seeds = range(HELD_OUT_SEED_START, HELD_OUT_SEED_START + max(8, count // 6))
        families = [render_family(seed, TWINS_A_PACK, PACK_SIDE_PX) for seed in seeds]
        return self._stack(rng, families, count, is_check=True)

    def _stack(
        self, rng: np.random.Generator, families: list[list[np.ndarray]], count: int, is_check: bool
    ) -> ComparedPairs:
        made = [
            # A check has some of both, however small it is.
            self._make_pair(rng, families, is_check, i % 2 == 0 if is_check else None)
            for i in range(count)
        ]
        views, crops, inside, twins, twin_inside, same = zip(*made, strict=True)
        return ComparedPairs(
            to_rgb_batch(views),
            to_rgb_batch(crops),
            np.stack(inside)[:, None],
            to_rgb_batch(twins),
            np.stack(twin_inside)[:, None],
            np.array(same, np.float32),
        )

    def _make_pair(
        self,
        rng: np.random.Generator,
        families: list[list[np.ndarray]],
        is_check: bool,
        is_same: bool | None,
    ) -> tuple[U8, U8, U8, U8, U8, bool]:
        side_px = self._side_px
        other = self._draw(rng, families, is_check).picture
        design = self._draw(rng, families, is_check)
        if rng.random() < SERIES_SHARE:
            design = _draw_series(rng, design.picture, is_check)
        view = design.picture
        sibling = _listed_sibling(rng, design, other) if rng.random() < SIBLING_SHARE else None
        if is_same is None:
            is_same = rng.random() < SAME_SHARE
        shown = view
        if not is_same:
            third = self._draw(rng, families, is_check).picture
            shown = _other_thing(rng, design, sibling, other, third)
        if rng.random() < BOX_SHARE:
            beside = self._draw(rng, families, is_check).picture
            state = int(rng.integers(1 << 31))  # the same box for view and sibling
            box = partial(show_box, view=view, beside=beside, other=other)
            if sibling is not None:
                sibling, _ = box(np.random.default_rng(state), view=sibling, shown=view)
            view, shown = box(np.random.default_rng(state), shown=shown)
        crop, inside = lay_photo(rng, shown, other, side_px)
        twin = np.zeros((side_px, side_px, 3), np.uint8)
        twin_inside = np.zeros((side_px, side_px), np.uint8)
        if sibling is not None:
            twin, twin_inside = lay_sibling(rng, sibling, side_px)
        view = to_square(camera_effects(view, rng, 0.1), side_px)
        return view, crop, inside, twin, twin_inside, is_same

    def _draw(
        self, rng: np.random.Generator, families: list[list[np.ndarray]], is_check: bool
    ) -> _Design:
        if rng.random() < PACK_SHARE or not self._pool.groups:
            family = families[int(rng.integers(len(families)))]
            first, *others = (family[int(i)] for i in rng.permutation(len(family)))
            return _Design(first, others, _draw_places(rng, first))
        while True:
            group = self._pool.draw_group(rng)
            if (group[0] in self._held_out) == is_check:
                break
        read = flat_bgr(self._pool.read(group[int(rng.integers(len(group)))]))
        picture = shrink(np.asarray(read, np.uint8), PACK_SIDE_PX)
        return _Design(picture, [], _draw_places(rng, picture))


def _draw_series(rng: np.random.Generator, picture: U8, is_check: bool) -> _Design:
    """Three of a series: signs, or this picture with labels on it."""
    changed = 1 if rng.random() < 0.7 else 2
    if rng.random() < 0.5:
        seed = int(rng.integers(HELD_OUT_SEED_START)) + is_check * HELD_OUT_SEED_START
        first, *others = render_series(seed, 3, PACK_SIDE_PX, changed)
    else:
        first, *others = relabelled(rng, picture, 3, changed)
    return _Design(first, others, [])


def _draw_places(rng: np.random.Generator, picture: U8) -> list[U8]:
    height, width = picture.shape[:2]
    count = 1 if rng.random() < 0.5 else 2
    return [draw_patch(rng, (width, height), 0.04, 0.3) for _ in range(count)]


def _sibling(rng: np.random.Generator, design: _Design, other: U8) -> U8:
    """Another one of a design, of the same size: printed by its maker, or edited."""
    view, kind = design.picture, rng.random()
    if design.others and (kind < 0.55 or not design.places):
        return _resized(design.others.pop(), view)
    if design.places and kind < 0.85:
        edited = view
        for place in design.places:
            edited = change_in(rng, edited, other, place)
        return edited
    return other_flavour(rng, view, _resized(other, view))


def _listed_sibling(rng: np.random.Generator, design: _Design, other: U8) -> U8:
    """Mostly a near-twin; sometimes what has only a logo or the like in common with the thing."""
    if rng.random() < 0.15:
        return make_twin(rng, _resized(other, design.picture), design.picture)
    return _sibling(rng, design, other)


def _other_thing(
    rng: np.random.Generator, design: _Design, sibling: U8 | None, other: U8, third: U8
) -> U8:
    """What must not pass for the thing: mostly one of its design that is not listed."""
    view, kind = design.picture, rng.random()
    if kind < 0.08:
        return _resized(other, view)
    if kind < 0.16:  # a logo in common and no more: correspondences lie on it alone
        return np.asarray(make_twin(rng, _resized(other, view), view), np.uint8)
    if kind < 0.26 and sibling is not None:
        return sibling
    return _sibling(rng, design, third)


def _resized(picture: U8, view: U8) -> U8:
    return np.asarray(cv2.resize(picture, (view.shape[1], view.shape[0])), np.uint8)


def other_flavour(rng: np.random.Generator, view: U8, other: U8) -> U8:
    """Return the same design in another flavour: one colour of it is another, and a small part of
    the print, about where that colour is.
    """
    hsv = cv2.cvtColor(view, cv2.COLOR_BGR2HSV)
    colored = np.argwhere((hsv[..., 1] > 60) & (hsv[..., 2] > 50))
    if len(colored) < 50:
        return make_twin(rng, view, other)
    y, x = (int(value) for value in colored[int(rng.integers(len(colored)))])
    apart = np.abs(hsv[..., 0].astype(np.int16) - int(hsv[y, x, 0]))
    alike = (np.minimum(apart, 180 - apart) < 14) & (hsv[..., 1] > 50)
    hsv[..., 0] = np.where(alike, (hsv[..., 0] + int(rng.integers(12, 169))) % 180, hsv[..., 0])
    flavour = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
    if float(np.abs(flavour.astype(np.int16) - view).mean()) < 2:
        return make_twin(rng, view, other)
    if rng.random() < 0.7:
        height, width = view.shape[:2]
        across, down = (int(side * rng.uniform(0.08, 0.3)) for side in (width, height))
        left, top = (
            int(np.clip(x - across // 2, 0, width - across)),
            int(np.clip(y - down // 2, 0, height - down)),
        )
        patch = other[top : top + down, left : left + across]
        flavour[top : top + down, left : left + across] = patch
    return flavour


def show_box(rng: np.random.Generator, view: U8, shown: U8, beside: U8, other: U8) -> tuple[U8, U8]:
    """Return the reference and what is shown as the front of a box with another face beside it.

    A homography lays the front over the front; of the other face a photo shows less, more, in
    another shape, or what stands behind the box.
    """
    share = float(rng.uniform(0.12, 0.42))
    side, is_first = int(rng.integers(2)), rng.random() < 0.5
    height, width = view.shape[:2]
    face_wh = (max(4, int(width * share)), height) if side else (width, max(4, int(height * share)))
    face = cv2.resize(beside, face_wh, interpolation=cv2.INTER_AREA)
    face = np.asarray(face * rng.uniform(0.55, 1.0), np.uint8)
    kind = rng.random()
    if kind < 0.5:  # what stands behind, in its own light
        seen = cv2.resize(other, face_wh, interpolation=cv2.INTER_AREA)
    elif kind < 0.65:
        seen = np.full_like(face, rng.integers(0, 256, 3))
    else:  # the same face, seen from elsewhere
        right, bottom = face_wh
        corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float32)
        moved = corners + (rng.normal(0, 0.2, (4, 2)) * face_wh).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
        border = cv2.BORDER_REPLICATE
        seen = cv2.warpPerspective(face, matrix, face_wh, borderMode=border)
    axis = 1 if side else 0
    pairs = [(view, face), (shown, np.asarray(seen, np.uint8))]
    joined = [np.concatenate((b, a) if is_first else (a, b), axis) for a, b in pairs]
    return np.asarray(joined[0], np.uint8), np.asarray(joined[1], np.uint8)
