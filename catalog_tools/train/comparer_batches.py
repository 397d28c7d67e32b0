"""Batches for the comparer: views and crops laid over them, of the same thing or of a near-twin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from catalog_tools.synthesize.scenes import camera_effects, draw_hand
from catalog_tools.synthesize.shots import crumple, make_twin, relight, show_other_face, shrink
from catalog_tools.synthesize.views import flat_bgr
from catalog_tools.train.options import ComparerOptions
from catalog_tools.train.pack_bank import HELD_OUT_SEED_START, PackBank, render_family, to_rgb_batch
from catalog_tools.train.pool import Pool, hold_out, open_pool
from pipeline.types import F32, U8

PACK_SHARE, SAME_SHARE = 0.55, 0.5
BOX_SHARE = 0.5  # of the references show a box from a corner: its front and a side, or its top
PACK_SIDE_PX = 160
TWINS_A_PACK = 3
CHECK_SEED = 0xC0DE


@dataclass(frozen=True, slots=True)
class ComparedPairs:
    """A batch: views, crops (B, 3, S, S) uint8 RGB; inside (B, 1, S, S) uint8, 0 or 1; same (B,)
    float32, 1 where both show the same thing.
    """

    views: U8
    crops: U8
    inside: U8
    same: F32


class ComparerBatches:
    """Makes the batch of any step out of the seed and the step; held-out things are never in one.

    Half of the pairs show the same: bent, in other light, behind a hand, with another face of the
    box at one side, cut off by the border. The others show what must not pass for it: near-twins
    that the pack's maker would print, edited ones, and packs that share a logo and no more.
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
        views, crops, inside, same = [], [], [], []
        for _ in range(count):
            is_same = rng.random() < SAME_SHARE
            other = self._draw(rng, families, is_check)[0]
            view, twin = self._draw(rng, families, is_check)
            shown = view if is_same else _other_thing(rng, view, twin, other)
            if rng.random() < BOX_SHARE:
                beside = self._draw(rng, families, is_check)[0]
                view, shown = show_box(rng, view, shown, beside, other)
            seen, within = lay_over(rng, shown, other, self._side_px)
            views.append(_square(camera_effects(view, rng, 0.15), self._side_px))
            crops.append(seen)
            inside.append(within)
            same.append(is_same)
        return ComparedPairs(
            to_rgb_batch(views),
            to_rgb_batch(crops),
            np.stack(inside)[:, None],
            np.array(same, np.float32),
        )

    def _draw(
        self, rng: np.random.Generator, families: list[list[np.ndarray]], is_check: bool
    ) -> tuple[U8, U8 | None]:
        """A thing's picture and, where its maker prints one, a near-twin's of the same size."""
        if rng.random() < PACK_SHARE or not self._pool.groups:
            family = families[int(rng.integers(len(families)))]
            first, second = (int(pick) for pick in rng.permutation(len(family))[:2])
            return family[first], family[second]
        while True:
            group = self._pool.draw_group(rng)
            if (group[0] in self._held_out) == is_check:
                break
        picture = flat_bgr(self._pool.read(group[int(rng.integers(len(group)))]))
        return shrink(np.asarray(picture, np.uint8), PACK_SIDE_PX), None


def _other_thing(rng: np.random.Generator, view: U8, twin: U8 | None, other: U8) -> U8:
    kind = rng.random()
    filling = np.asarray(cv2.resize(other, (view.shape[1], view.shape[0])), np.uint8)
    if twin is not None and kind < 0.5:
        return np.asarray(cv2.resize(twin, (view.shape[1], view.shape[0])), np.uint8)
    if kind < 0.7:
        return make_twin(rng, view, filling)
    if kind < 0.82:
        return other_flavour(rng, view, filling)
    if kind < 0.92:  # a logo in common and no more: correspondences lie on it alone
        return np.asarray(make_twin(rng, filling, view), np.uint8)
    return filling


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


def lay_over(rng: np.random.Generator, shown: U8, other: U8, side_px: int) -> tuple[U8, U8]:
    """Photograph a thing and lay the photo over its view, as well as a homography can.

    Returns the square picture (side, side, 3) uint8 BGR, 0 outside the photo, and where it is
    inside: (side, side) uint8 0 or 1.
    """
    scale = float(np.exp(rng.uniform(np.log(52), np.log(160)))) / max(shown.shape[:2])
    size = (max(24, round(shown.shape[1] * scale)), max(24, round(shown.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    photo = np.asarray(cv2.resize(shown, size, interpolation=method), np.uint8)
    photo = _misplaced(rng, photo)
    if rng.random() < 0.7:
        photo = crumple(rng, photo)
    if rng.random() < 0.35:
        photo = show_other_face(rng, photo, [other])
    if rng.random() < 0.6:
        photo = relight(rng, photo)
    if rng.random() < 0.4:
        draw_hand(photo, rng, (0, 0, *size), float(rng.uniform(0.1, 0.5)))
    if rng.random() < 0.2:
        photo = _behind(rng, photo, other)
    photo = np.asarray(camera_effects(photo, rng, float(rng.uniform(0.2, 1.0))), np.uint8)
    square = _square(photo, side_px)
    inside = np.ones((side_px, side_px), np.uint8)
    if rng.random() < 0.3:
        inside = (_side_of_line(rng, side_px, -0.05) < 0).astype(np.uint8)
    return square * inside[..., None], inside


def _misplaced(rng: np.random.Generator, photo: U8) -> U8:
    """A homography that few points or a bent thing gave is off by some hundredths."""
    height, width = photo.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    off = abs(rng.normal(0, 0.015)) + 0.003
    moved = corners + (rng.normal(0, off, (4, 2)) * (width, height)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    border = cv2.BORDER_REPLICATE
    return np.asarray(
        cv2.warpPerspective(photo, matrix, (width, height), borderMode=border), np.uint8
    )


def _behind(rng: np.random.Generator, photo: U8, other: U8) -> U8:
    """The photo with something in front of one side of it."""
    height, width = photo.shape[:2]
    side = max(height, width)
    beyond = cv2.resize(_side_of_line(rng, side, 0.12), (width, height)) > 0
    filling = cv2.resize(other, (width, height))
    if rng.random() < 0.4:
        filling = np.full_like(photo, rng.integers(0, 256, 3))
    return np.where(beyond[..., None], filling, photo).astype(np.uint8)


def _side_of_line(rng: np.random.Generator, side_px: int, least: float) -> F32:
    """(side, side) float32: > 0 beyond a line across the square, `least` to 0.45 from its middle"""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(least, 0.45)
    rows, columns = np.mgrid[:side_px, :side_px].astype(np.float32) / side_px - 0.5
    return np.asarray(columns * np.cos(angle) + rows * np.sin(angle) - distance, np.float32)


def _square(picture: np.ndarray, side_px: int) -> U8:
    shrinks = min(picture.shape[:2]) >= side_px
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=method), np.uint8)
