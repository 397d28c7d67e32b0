"""Pairs of pictures with known geometry, to train and check the correspondence network.

A pair is a clean view of something and a camera-like crop in which the view lies under a known
warp, partly hidden and photographed badly. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from catalog_tools.synthesize.views import flat_bgr
from catalog_tools.train.pack_bank import PackBank
from catalog_tools.train.pool import open_pool
from pipeline.keypoints import Extractor, resize_by, to_gray
from pipeline.types import F32, F64, U8, Keypoints

SCENE_SIDE_PX = 320
VIEW_SIDES_PX = (160, 330)
DIFFERENT_PRINT = 12  # grey levels between a pack and its near-twin
POSITIVE_PX = 3.0  # at the scene's scale; between this and NEGATIVE_PX a keypoint is left out
NEGATIVE_PX = 5.0
IGNORED, UNMATCHED = -2, -1

Draw = Callable[[np.random.Generator], U8]


@dataclass(frozen=True, slots=True)
class Pair:
    """Keypoints of a view and of a scene, and where the view's keypoints lie in the scene.

    projected_xy: (N0, 2) float32 px of the scene; NaN where hidden, outside or, on a near-twin,
    printed otherwise.
    covered: (N1,) bool, scene keypoints that lie on the visible view.
    homography: (3, 3) float64 view px -> scene px; None when the view is bent (a can) or absent.
    """

    view: Keypoints
    scene: Keypoints
    projected_xy: F32
    covered: np.ndarray
    homography: F64 | None


@dataclass(frozen=True, slots=True)
class Warped:
    """A view drawn into a scene. visible: (H, W) uint8, 1 where the view shows and is itself."""

    scene_gray: U8
    visible: U8
    homography: F64
    bend: float  # 0: flat; else the half angle in radian that the view takes on a cylinder


@dataclass(frozen=True, slots=True)
class Photographed:
    """A view and the scene that shows it as a camera gives them, (H, W) uint8 gray.

    clean_view: before the camera; the clean scene is warped.scene_gray.
    """

    view: U8
    scene: U8
    clean_view: U8
    warped: Warped


class Drawer:
    """Draws gray pictures: synthetic packs and pictures of the pool, sources evenly.

    Raises ConfigError when the pool is missing or holds no picture.
    """

    def __init__(self, pool: Path, seed: int, pack_share: float = 0.5) -> None:
        self._pool, self._pack_share = open_pool(pool), pack_share
        self._bank = PackBank(seed, capacity=400, first=24, side_px=VIEW_SIDES_PX[1], twins=1)

    def at(self, step: int) -> Draw:
        """A function that draws for this step: the same pictures from the same generator."""
        return partial(self._draw, step=step)

    def draw_twins(self, rng: np.random.Generator, step: int) -> tuple[U8, U8]:
        """A pack and its near-twin, of one size."""
        ((_, family),) = self._bank.draw(rng, step, 1)
        first, second = rng.permutation(2)
        return to_gray(family[first]), to_gray(family[second])

    def _draw(self, rng: np.random.Generator, step: int) -> U8:
        if rng.random() < self._pack_share:
            ((_, family),) = self._bank.draw(rng, step, 1)
            return to_gray(family[int(rng.random() < 0.2)])
        group = self._pool.draw_group(rng)
        picture = self._pool.read(group[int(rng.integers(len(group)))])
        return to_gray(flat_bgr(picture, int(rng.integers(0, 256))))


def make_pair(
    rng: np.random.Generator,
    draw: Draw,
    extractor: Extractor,
    twins: tuple[U8, U8] | None = None,
) -> Pair:
    """One view and one scene that shows it, or its near-twin when two are given."""
    made = make_photo(rng, draw, twins)
    keypoints0, keypoints1 = extractor.extract(made.view), extractor.extract(made.scene)
    projected = project(keypoints0.xy_scale_ori[:, :2], made.view.shape, made.warped)
    return Pair(
        keypoints0,
        keypoints1,
        seen(made.warped, projected),
        _on(made.warped.visible, keypoints1.xy_scale_ori[:, :2]),
        made.warped.homography if made.warped.bend == 0 else None,
    )


def make_photo(
    rng: np.random.Generator, draw: Draw, twins: tuple[U8, U8] | None = None
) -> Photographed:
    """The pictures of a pair."""
    drawn, shown = twins if twins else (draw(rng), None)
    side_px = int(rng.integers(*VIEW_SIDES_PX))
    view = _fit(drawn, side_px)
    scene = _background(rng, draw)
    if shown is None:
        placed = _place(rng, view, scene)
    else:
        twin = _fit(shown, side_px)
        placed = _place(rng, twin, scene, _same_print(view, twin))
    warped = _occlude(rng, draw, placed)
    photo = photograph(rng, warped.scene_gray)
    return Photographed(photograph(rng, view, strength=0.15), photo, view, warped)


def seen(warped: Warped, projected: F64) -> F32:
    """(N, 2) float32: points of the scene, NaN where the view is hidden or printed otherwise."""
    on = _on(warped.visible, projected)
    return np.where(on[:, None], projected, np.nan).astype(np.float32)


def _same_print(first: U8, second: U8) -> U8:
    """(H, W) uint8, 1 where two packs of one size are printed alike, less a margin."""
    other = (cv2.absdiff(first, second) > DIFFERENT_PRINT).astype(np.uint8)
    return np.asarray(1 - cv2.dilate(other, np.ones((9, 9), np.uint8)), np.uint8)


def assign(pair: Pair, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The true partner of each of the strongest `n` keypoints: (n0,) and (n1,) int64 indices.

    UNMATCHED where there is none, IGNORED where the distance does not decide.
    """
    projected, found = pair.projected_xy[:n], pair.scene.xy_scale_ori[:n, :2]
    partner0 = np.full(len(projected), UNMATCHED)
    partner1 = np.full(len(found), UNMATCHED)
    if len(projected) == 0 or len(found) == 0:
        return partner0, partner1
    distance = np.linalg.norm(projected[:, None] - found[None], axis=2)
    distance[np.isnan(distance)] = np.inf
    distance[:, ~pair.covered[:n]] = np.inf
    nearest0, nearest1 = distance.argmin(1), distance.argmin(0)
    rows = np.arange(len(projected))
    mutual = (nearest1[nearest0] == rows) & (distance[rows, nearest0] <= POSITIVE_PX)
    partner0[(distance.min(1) <= NEGATIVE_PX) & ~mutual] = IGNORED
    partner1[distance.min(0) <= NEGATIVE_PX] = IGNORED
    partner0[mutual] = nearest0[mutual]
    partner1[nearest0[mutual]] = rows[mutual]
    return partner0, partner1


def project(xy: F32, view_shape: tuple[int, ...], warped: Warped) -> F64:
    """(N, 2) float64 px of the scene for (N, 2) px of the view."""
    points = np.asarray(xy, np.float64)
    if warped.bend:
        half = view_shape[1] / 2
        angle = (points[:, 0] - half) / half * warped.bend
        bent = half + half * np.sin(angle) / np.sin(warped.bend)
        points = np.stack([bent, points[:, 1]], 1)
    homogeneous = np.c_[points, np.ones(len(points))] @ warped.homography.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def random_homography(
    rng: np.random.Generator, view_wh: tuple[int, int], scene_wh: tuple[int, int]
) -> F64:
    """A view px -> scene px homography: a card turned in space before a camera."""
    w, h = view_wh
    full_turn = rng.random() < 0.4
    roll = rng.uniform(-np.pi, np.pi) if full_turn else rng.normal(0, 0.2)
    tilt_x, tilt_y = np.clip(rng.normal(0, 0.35, 2), -0.95, 0.95)
    half = np.array([w, h]) / 2
    corners = np.array([[-half[0], -half[1]], [half[0], -half[1]], half, [-half[0], half[1]]])
    turn = (
        cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0]
        @ cv2.Rodrigues(np.array([tilt_x, 0.0, 0.0]))[0]
        @ cv2.Rodrigues(np.array([0.0, tilt_y, 0.0]))[0]
    )
    space = np.c_[corners, np.zeros(4)] @ turn.T
    distance = max(w, h) * rng.uniform(1.3, 4.0)
    quad = space[:, :2] * (distance / (distance + space[:, 2:]))
    # a detector's crop is mostly filled by the item; a whole photo may not be
    wanted = rng.uniform(0.45, 1.1) if rng.random() < 0.7 else rng.uniform(0.1, 0.5)
    area = cv2.contourArea(quad.astype(np.float32))
    quad *= np.sqrt(wanted * scene_wh[0] * scene_wh[1] / max(area, 1.0))
    centre = np.array(scene_wh) * (0.5 + rng.normal(0, 0.10, 2).clip(-0.35, 0.35))
    source = (corners + half).astype(np.float32)
    return np.asarray(
        cv2.getPerspectiveTransform(source, (quad + centre).astype(np.float32)), np.float64
    )


def photograph(rng: np.random.Generator, gray: U8, strength: float = 1.0) -> U8:
    """The picture as a camera gives it: light, blur, lost resolution, noise, compression."""
    image = gray.astype(np.float32) / 255
    height, width = gray.shape
    if rng.random() < 0.8 * strength:
        slope = rng.normal(0, 0.35, 2)
        ramp_x = np.linspace(-1, 1, width, dtype=np.float32)[None] * slope[0]
        ramp_y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * slope[1]
        image *= np.clip(1 + ramp_x + ramp_y, 0.25, 1.8)
    if rng.random() < 0.8 * strength:
        image = np.clip(image, 0, 1) ** np.exp(rng.normal(0, 0.35)).astype(np.float32)
        image = (image - 0.5) * rng.uniform(0.5, 1.25) + 0.5 + rng.normal(0, 0.1)
    if rng.random() < 0.2 * strength:  # a glare
        spot = np.zeros_like(image)
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(width * rng.uniform(0.03, 0.25)), int(height * rng.uniform(0.03, 0.25)))
        cv2.ellipse(spot, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
        image += cv2.blur(spot, (31, 31)) * rng.uniform(0.3, 1.0)
    if rng.random() < 0.5 * strength:  # fewer pixels on the item than the crop has
        small = resize_by((np.clip(image, 0, 1) * 255).astype(np.uint8), rng.uniform(0.35, 0.9))
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) / np.float32(255)
    if rng.random() < 0.5 * strength:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.25 * strength:
        image = cv2.filter2D(image, -1, motion_kernel(rng))
    if rng.random() < 0.7 * strength:
        image += rng.normal(0, rng.uniform(0.005, 0.05), image.shape).astype(np.float32)
    out = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = int(rng.integers(30, 95))
        out = cv2.imdecode(
            cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
        )
    return np.asarray(out, np.uint8)


def motion_kernel(rng: np.random.Generator) -> F32:
    """A line of 3 to 9 px that a moving camera draws each point into."""
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return np.asarray(kernel / kernel.sum(), np.float32)


def _fit(gray: U8, side_px: int) -> U8:
    return resize_by(gray, min(side_px / max(gray.shape), 1.0))


def _background(rng: np.random.Generator, draw: Draw) -> U8:
    """What lies behind the item: one picture, a mosaic of neighbours, or nothing much."""
    aspect = np.exp(rng.normal(0, 0.25))
    width = int(SCENE_SIDE_PX * min(1, aspect))
    height = int(SCENE_SIDE_PX * min(1, 1 / aspect))
    kind = rng.random()
    if kind < 0.45:
        return np.asarray(cv2.resize(draw(rng), (width, height)), np.uint8)
    if kind < 0.75:
        scene = np.empty((height, width), np.uint8)
        cell_w, cell_h = -(-width // int(rng.integers(1, 4))), -(-height // int(rng.integers(1, 3)))
        for y in range(0, height, cell_h):
            for x in range(0, width, cell_w):
                cell = scene[y : y + cell_h, x : x + cell_w]
                cell[:] = cv2.resize(draw(rng), cell.shape[::-1])
        return scene
    coarse = rng.uniform(0, 255, (int(rng.integers(2, 12)), int(rng.integers(2, 12))))
    return np.asarray(cv2.resize(coarse.astype(np.uint8), (width, height)), np.uint8)


def _place(rng: np.random.Generator, view: U8, scene: U8, same: U8 | None = None) -> Warped:
    """Draw the view into the scene. same: (h, w) uint8, the part of it that has true partners."""
    bend = float(rng.uniform(0.5, 1.2)) if rng.random() < 0.15 else 0.0
    height, width = view.shape
    homography = random_homography(rng, (width, height), (scene.shape[1], scene.shape[0]))
    flat = _bend(view, bend) if bend else view
    # Pixel centres lie at +0.5 in our coordinates, at 0 in OpenCV's.
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    matrix = np.linalg.inv(shift) @ homography @ shift
    shrink = np.sqrt(abs(np.linalg.det(homography[:2, :2])))
    if shrink < 0.7:  # warpPerspective does not average
        flat = cv2.GaussianBlur(flat, (0, 0), 0.45 / shrink)
    size = (scene.shape[1], scene.shape[0])
    covered = cv2.warpPerspective(np.ones_like(flat), matrix, size, flags=cv2.INTER_NEAREST)
    drawn = cv2.warpPerspective(flat, matrix, size, flags=cv2.INTER_LINEAR)
    visible = covered
    if same is not None:
        same = _bend(same, bend) if bend else same
        visible = cv2.warpPerspective(same, matrix, size, flags=cv2.INTER_NEAREST)
    return Warped(np.where(covered > 0, drawn, scene).astype(np.uint8), visible, homography, bend)


def _bend(view: U8, bend: float) -> U8:
    """The view as printed round a can: columns crowd towards the sides."""
    height, width = view.shape
    half = width / 2
    x = (np.arange(width) + 0.5 - half) / half
    source = half + half * np.arcsin(np.clip(x * np.sin(bend), -1, 1)) / bend - 0.5
    map_x = np.broadcast_to(source.astype(np.float32), (height, width)).copy()
    map_y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, 1)
    return np.asarray(cv2.remap(view, map_x, map_y, cv2.INTER_LINEAR), np.uint8)


def _occlude(rng: np.random.Generator, draw: Draw, warped: Warped) -> Warped:
    """Fingers, neighbours and cut-outs in front of the view."""
    scene, visible = warped.scene_gray.copy(), warped.visible.copy()
    height, width = scene.shape
    for _ in range(int(rng.choice([0, 0, 1, 2, 3]))):
        mask = np.zeros_like(visible)
        start = rng.uniform(0, 1, 2) * (width, height)
        if rng.random() < 0.6:  # a finger
            end = start + rng.normal(0, 0.4, 2) * (width, height)
            line = [tuple(int(v) for v in p) for p in (start, end)]
            cv2.line(mask, line[0], line[1], 1, int(rng.integers(15, 60)))
            filling = np.full_like(scene, rng.integers(40, 230))
        else:
            corners = start + rng.normal(0, 0.2, (5, 2)) * (width, height)
            cv2.fillConvexPoly(mask, cv2.convexHull(corners.astype(np.int32)), 1)
            filling = cv2.resize(draw(rng), (width, height))
        scene[mask > 0] = filling[mask > 0]
        visible[mask > 0] = 0
    return Warped(scene, visible, warped.homography, warped.bend)


def _on(visible: U8, xy: np.ndarray) -> np.ndarray:
    """(N,) bool: whether points lie on the visible view."""
    height, width = visible.shape
    column, row = np.floor(xy[:, 0]).astype(int), np.floor(xy[:, 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return inside & (visible[row.clip(0, height - 1), column.clip(0, width - 1)] > 0)
