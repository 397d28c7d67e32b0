"""Batches for a network of keypoints: pairs of pictures, which points of them are one, and where
both have something to hold on to.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from catalog_tools.train.options import KeypointsOptions
from catalog_tools.train.pairs import Drawer, Photographed, make_photo, project, seen
from pipeline.types import F32, U8

SIDE_PX = 320  # of the pictures; smaller ones are continued by their border
CELL_PX = 8  # XFeat names at most one keypoint in such a cell
POINTS = 256  # a pair, drawn among those that both pictures show
TAUGHT = 400  # corners a picture
CORNER_QUALITY, CORNER_APART_PX = 0.01, 4.0
NO_CORNER = CELL_PX * CELL_PX  # the class of cells without one
CHECK_SEED = 0x4E1D0000  # above the seeds that trainings are given


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """Pairs of pictures: (B, 1, S, S) uint8 gray.

    points: (2, B, P, 2) float32 px, pixel centres from 0, what is one in view and scene; NaN fills.
    corners: (2, B, S / 8, S / 8) int64, the pixel of each cell (row by row) that the teacher names,
    or NO_CORNER.
    sizes_wh: (2, B, 2) float32, what of each picture shows something.
    """

    views: U8
    scenes: U8
    points: F32
    corners: np.ndarray
    sizes_wh: F32


class KeypointBatches:
    """Makes the batch of any step out of the seed and the step."""

    def __init__(self, options: KeypointsOptions, seed: int | None = None) -> None:
        assert options.pool is not None, "the options see to it"
        self._options, self._seed = options, options.seed if seed is None else seed
        self._drawer = Drawer(options.pool, self._seed)

    def __reduce__(self) -> tuple[object, ...]:
        # A process that makes batches reads the pool by itself: cheaper than a pickle of it.
        return KeypointBatches, (self._options, self._seed)

    def make(self, step: int, count: int | None = None) -> PictureBatch:
        """Make the pairs of a step."""
        rng = np.random.default_rng([self._seed, step])
        draw = self._drawer.at(step)
        made = [make_photo(rng, draw) for _ in range(count or self._options.batch)]
        clean = [(m.clean_view, m.warped.scene_gray) for m in made]
        return PictureBatch(
            np.stack([fill(m.view) for m in made])[:, None],
            np.stack([fill(m.scene) for m in made])[:, None],
            np.stack([draw_points(rng, m) for m in made], 1),
            np.stack([[teach(picture) for picture in pair] for pair in clean], 1),
            np.stack([[_shown_wh(picture) for picture in pair] for pair in clean], 1),
        )


def make_check(options: KeypointsOptions) -> PictureBatch:
    """Make pairs that no batch shows, the same ones for the same seed."""
    batches = KeypointBatches(options, options.seed + CHECK_SEED)
    return batches.make(0, options.check_count)


def fill(picture: U8) -> U8:
    """Return a picture as a square of SIDE_PX: cut there, continued by its border before."""
    height, width = picture.shape
    right, below = max(0, SIDE_PX - width), max(0, SIDE_PX - height)
    whole = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(whole[:SIDE_PX, :SIDE_PX], np.uint8)


def _shown_wh(picture: U8) -> F32:
    height, width = picture.shape
    return np.minimum(np.array([width, height], np.float32), SIDE_PX)


def draw_points(rng: np.random.Generator, made: Photographed) -> F32:
    """Return (2, POINTS, 2) px, pixel centres from 0, in view and scene, NaN where there are fewer.

    They are drawn from the view's corners and from as many places, 2 * POINTS in all or more.
    """
    height, width = (min(side, SIDE_PX) for side in made.view.shape)
    anywhere = rng.uniform(0, 1, (2 * POINTS, 2)) * (width, height)
    corners = find_corners(made.clean_view)
    corners = corners[(corners < SIDE_PX).all(1)] + 0.5
    drawn = np.concatenate([corners, anywhere[: max(POINTS, 2 * POINTS - len(corners))]])
    found = seen(made.warped, project(drawn.astype(np.float32), made.view.shape, made.warped))
    rows = rng.permutation(np.flatnonzero(~np.isnan(found[:, 0])))[:POINTS]
    points = np.full((2, POINTS, 2), np.nan, np.float32)
    points[0, : len(rows)] = drawn[rows] - 0.5  # pair geometry has pixel centres at +0.5
    points[1, : len(rows)] = found[rows] - 0.5
    return points


def teach(picture: U8) -> np.ndarray:
    """Return the pixel of each cell that holds a clean picture's corner: (S / 8, S / 8) int64.

    Of two in a cell the stronger stays. Corners are those of Shi and Tomasi (CVPR 1994).
    """
    side = SIDE_PX // CELL_PX
    cells = np.full((side, side), NO_CORNER)
    x, y = find_corners(picture)[::-1].astype(int).T  # the strongest last
    kept = (x < SIDE_PX) & (y < SIDE_PX)
    x, y = x[kept], y[kept]
    cells[y // CELL_PX, x // CELL_PX] = y % CELL_PX * CELL_PX + x % CELL_PX
    return cells


def find_corners(gray: U8) -> F32:
    """Return (N, 2) px, pixel centres from 0, of a picture's corners, the strongest first."""
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
    found = cv2.goodFeaturesToTrack(smooth, TAUGHT, CORNER_QUALITY, CORNER_APART_PX)
    return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)
