"""What older systems verify by, to compare with: ORB features and structural similarity, averaged.

Both are cheap and neither sees much: SSIM compares the pictures as they lie, unaligned.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.types import F32, U8

SIDE_PX = 320  # of the pictures that ORB looks at
SSIM_SIDE_PX = 128
RATIO = 0.75
ENOUGH_SHARE = 0.25  # of the poorer picture's features: that many partners count as all
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def compare_by_orb(
    crop_bgr: U8, view_bgr: U8, crop_wh: tuple[int, int], view_wh: tuple[int, int], most: int
) -> tuple[F32, float]:
    """Return correspondences (M, 4) float32, x y in the view and x y in the crop, px of pictures of
    the given sizes, and the mean of match share and SSIM, 0..1.

    Methods: Rublee et al., "ORB" (ICCV 2011); Wang et al., "Image Quality Assessment: From Error
    Visibility to Structural Similarity" (2004).
    """
    view_xy, view_bits = _features(view_bgr, view_wh, most)
    crop_xy, crop_bits = _features(crop_bgr, crop_wh, most)
    ssim = measure_ssim(crop_bgr, view_bgr)
    if min(len(view_xy), len(crop_xy)) < 2:
        return np.zeros((0, 4), np.float32), ssim / 2
    found = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(view_bits, crop_bits, k=2)
    good = [best for best, second in found if best.distance < RATIO * second.distance]
    rows, columns = [m.queryIdx for m in good], [m.trainIdx for m in good]
    share = min(1.0, len(good) / (ENOUGH_SHARE * min(len(view_xy), len(crop_xy))))
    return np.hstack([view_xy[rows], crop_xy[columns]]), (share + ssim) / 2


def measure_ssim(first_bgr: U8, second_bgr: U8) -> float:
    """Return the mean structural similarity of two pictures stretched to one square, 0..1."""
    first, second = (_to_square(picture) for picture in (first_bgr, second_bgr))
    mean0, mean1 = _smooth(first), _smooth(second)
    variance0 = _smooth(first * first) - mean0**2
    variance1 = _smooth(second * second) - mean1**2
    covariance = _smooth(first * second) - mean0 * mean1
    alike = (2 * mean0 * mean1 + C1) * (2 * covariance + C2)
    whole = (mean0**2 + mean1**2 + C1) * (variance0 + variance1 + C2)
    return float(np.clip((alike / whole).mean(), 0, 1))


def _features(picture_bgr: U8, size_wh: tuple[int, int], most: int) -> tuple[F32, U8]:
    """Positions (N, 2) float32 px of a picture of `size_wh`, and descriptors (N, 32) uint8."""
    gray = cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2GRAY)
    factor = SIDE_PX / max(gray.shape)
    size = tuple(max(8, round(side * factor)) for side in gray.shape[::-1])
    scaled = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    orb = cv2.ORB_create(nfeatures=most)  # type: ignore[attr-defined]
    points, bits = orb.detectAndCompute(scaled, None)
    if bits is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8)
    xy = np.array([point.pt for point in points], np.float32) + np.float32(0.5)
    scale = np.array(size_wh, np.float32) / np.array(size, np.float32)
    return np.asarray(xy * scale, np.float32), np.asarray(bits, np.uint8)


def _to_square(picture_bgr: U8) -> F32:
    gray = cv2.cvtColor(picture_bgr, cv2.COLOR_BGR2GRAY)
    square = cv2.resize(gray, (SSIM_SIDE_PX, SSIM_SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(square, np.float32)


def _smooth(picture: F32) -> F32:
    return np.asarray(cv2.GaussianBlur(picture, (11, 11), 1.5), np.float32)
