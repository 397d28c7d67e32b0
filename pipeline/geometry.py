"""Plane geometry between a view and a crop: fitting, judging and using a homography.

Points are px with the centre of the first pixel at (0.5, 0.5); OpenCV's image functions put it at
(0, 0), so `warp_picture` moves by half a pixel where the two meet.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from pipeline.types import F32, F64, U8

MIN_POINTS = 4  # cv2.findHomography raises below
MAGSAC_ITERATIONS = 2000
MAGSAC_CONFIDENCE = 0.999

MAX_STRETCH = 5.0  # longest against shortest direction at the centre: a card turned by 78 degrees
MAX_SCALE_CHANGE = 5.0  # nearest against farthest corner: beyond, the fit leans on a few points
MIN_AREA_SHARE = 0.01  # the view's outline against the crop
MAX_AREA_SHARE = 40.0


def fit_view(
    view_xy: F32,
    crop_xy: F32,
    view_wh: tuple[int, int],
    crop_wh: tuple[int, int],
    threshold_px: float,
) -> tuple[F64 | None, np.ndarray]:
    """The sane homography, view px -> crop px, that most points agree with, and which do.

    view_xy, crop_xy: (N, 2) px. threshold_px: the largest error, px of the crop.
    Returns ((3, 3) float64 or None, (N,) bool). The same points always give the same answer.
    A homography from points on a small part of the view, or on a bent one, often falls over
    elsewhere; then an affine map, which has no perspective to get wrong, is tried.
    """
    for fit in (fit_homography, fit_affine):
        homography, agrees = fit(view_xy, crop_xy, threshold_px)
        if homography is not None and is_sane_homography(homography, view_wh, crop_wh):
            return homography, agrees
    return None, np.zeros(len(view_xy), bool)


def fit_outline(
    outline: F32,
    view_xy: F32,
    crop_xy: F32,
    view_wh: tuple[int, int],
    crop_wh: tuple[int, int],
    threshold_px: float,
) -> tuple[F64 | None, np.ndarray]:
    """The homography that carries the view's corners to an outline, and which points agree.

    outline: (4, 2) px of the crop. As `fit_view` else; None where no flat view can look so.
    """
    homography = np.asarray(cv2.getPerspectiveTransform(corners_of(view_wh), outline), np.float64)
    if not is_sane_homography(homography, view_wh, crop_wh):
        return None, np.zeros(len(view_xy), bool)
    error_px = np.linalg.norm(project_points(homography, view_xy) - crop_xy, axis=1)
    return homography, error_px <= threshold_px


def fit_homography(from_xy: F32, to_xy: F32, threshold_px: float) -> tuple[F64 | None, np.ndarray]:
    """The homography that most points agree with, sane or not, and which do.

    Method: Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator" (CVPR 2020).
    """
    if len(from_xy) < MIN_POINTS:
        return None, np.zeros(len(from_xy), bool)
    homography, mask = cv2.findHomography(
        np.asarray(from_xy, np.float64),
        np.asarray(to_xy, np.float64),
        cv2.USAC_MAGSAC,
        threshold_px,
        maxIters=MAGSAC_ITERATIONS,
        confidence=MAGSAC_CONFIDENCE,
    )
    return _checked(homography, mask, len(from_xy))


def fit_affine(from_xy: F32, to_xy: F32, threshold_px: float) -> tuple[F64 | None, np.ndarray]:
    """The affine map, as a homography, that most points agree with, and which do."""
    if len(from_xy) < MIN_POINTS:
        return None, np.zeros(len(from_xy), bool)
    affine, mask = cv2.estimateAffine2D(
        np.asarray(from_xy, np.float64),
        np.asarray(to_xy, np.float64),
        method=cv2.USAC_MAGSAC,
        ransacReprojThreshold=threshold_px,
        maxIters=MAGSAC_ITERATIONS,
        confidence=MAGSAC_CONFIDENCE,
    )
    homography = None if affine is None else np.vstack([affine, [0.0, 0.0, 1.0]])
    return _checked(homography, mask, len(from_xy))


def _checked(
    homography: np.ndarray | None, mask: np.ndarray | None, n_points: int
) -> tuple[F64 | None, np.ndarray]:
    if homography is None or mask is None or not np.isfinite(homography).all():
        return None, np.zeros(n_points, bool)
    agrees = np.asarray(mask).ravel().astype(bool)
    if agrees.sum() < MIN_POINTS:
        return None, np.zeros(n_points, bool)
    return np.asarray(homography, np.float64), agrees


def is_sane_homography(homography: F64, view_wh: tuple[int, int], crop_wh: tuple[int, int]) -> bool:
    """Whether a flat view before a camera can look like this in the crop.

    It keeps its orientation (is not mirrored), lies before the camera as a whole, stays convex, is
    neither a speck nor a sliver, and does not fall away too steeply.
    """
    corners = corners_of(view_wh).astype(np.float64)
    depth = np.c_[corners, np.ones(4)] @ homography[2]
    if homography[2, 2] < 0:  # the sign of a homography is free
        depth = -depth
        homography = -homography
    if (depth <= 1e-9).any():
        return False
    determinant = float(np.linalg.det(homography))
    if determinant <= 0:  # with all depths positive: mirrored
        return False
    # The local area scale is determinant / depth^3.
    if (depth.max() / depth.min()) ** 1.5 > MAX_SCALE_CHANGE:
        return False
    outline = project_points(homography, corners)
    if not cv2.isContourConvex(outline.astype(np.float32)):
        return False
    share = cv2.contourArea(outline.astype(np.float32)) / (crop_wh[0] * crop_wh[1])
    if not MIN_AREA_SHARE <= share <= MAX_AREA_SHARE:
        return False
    singular = np.linalg.svd(jacobian_at(homography, corners.mean(0)), compute_uv=False)
    return bool(singular[0] <= MAX_STRETCH * singular[1])


def corners_of(size_wh: tuple[int, int]) -> F32:
    """(4, 2) float32 px: a picture's corners, clockwise from the top left."""
    width, height = size_wh
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)


def project_points(homography: F64, xy: np.ndarray) -> F64:
    """(N, 2) float64: points carried through a homography; NaN for points at its horizon."""
    carried = np.c_[np.asarray(xy, np.float64), np.ones(len(xy))] @ homography.T
    depth = np.where(np.abs(carried[:, 2:]) < 1e-12, np.nan, carried[:, 2:])
    return np.asarray(carried[:, :2] / depth, np.float64)


def jacobian_at(homography: F64, xy: np.ndarray) -> F64:
    """(2, 2) float64: the homography's linear part at a point."""
    x, y, depth = homography @ np.array([xy[0], xy[1], 1.0])
    top = homography[:2, :2] * depth - np.outer([x, y], homography[2, :2])
    return np.asarray(top / depth**2, np.float64)


def angle_deg(homography: F64, view_wh: tuple[int, int]) -> float:
    """The view's turn in the crop's plane, -180..180 degrees, clockwise on the screen."""
    linear = jacobian_at(homography, np.array(view_wh, np.float64) / 2)
    # the closest rotation to the linear part
    return math.degrees(math.atan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))


def resized_homography(
    homography: F64,
    from_wh: tuple[int, ...],
    new_from_wh: tuple[int, ...],
    to_wh: tuple[int, ...],
    new_to_wh: tuple[int, ...],
) -> F64:
    """(3, 3) float64: the same homography after the pictures on both sides were resized."""
    before = np.diag([from_wh[0] / new_from_wh[0], from_wh[1] / new_from_wh[1], 1.0])
    after = np.diag([new_to_wh[0] / to_wh[0], new_to_wh[1] / to_wh[1], 1.0])
    return np.asarray(after @ homography @ before, np.float64)


def warp_picture(image: U8, homography: F64, size_wh: tuple[int, int]) -> tuple[U8, np.ndarray]:
    """What the picture shows where the homography carries the target's pixels.

    image: (H, W, 3) uint8. homography: target px -> image px. Returns ((h, w, 3) uint8,
    (h, w) bool: where the target lies inside the image).
    """
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    matrix = np.linalg.inv(half) @ homography @ half
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(
        image, matrix, size_wh, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    ones = np.ones(image.shape[:2], np.uint8)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    inside = cv2.warpPerspective(ones, matrix, size_wh, flags=flags)
    return np.asarray(warped, np.uint8), inside.astype(bool)
