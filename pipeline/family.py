"""Where a picture of the catalog differs from the items that look most like it.

Packs of one brand share most of their print. What tells them apart is in a few places: the fruit,
the name, the fat content. Two listed siblings show where, and there a third one, which is not
listed, differs as well; so agreement counts most there (docs/matching.md has what that brings).
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from pipeline.agreement import SIDE_PX, lay_crop, local_correlation, scaled_size, to_lab
from pipeline.geometry import fit_view
from pipeline.types import F32, U8
from pipeline.verify import Picture, pair_by_ratio

MAP_PX = 32
MIN_INLIERS = 15
MIN_SHARED = 0.5  # of the picture that the sibling covers
INLIER_SHARE = 1 / 80  # of the sibling's longer side that a correspondence may be off
SAME_PICTURE = 0.2  # greatest difference below which two items show one picture


def find_own_print(view: Picture, others: Iterable[Picture]) -> U8 | None:
    """Return how much each place differs from the sibling that is most like the view.

    others: pictures of other items. (MAP_PX, MAP_PX) uint8, 255 where it differs most; None: none
    of them is a sibling, that is, shares the view's print under one geometry.
    """
    differences = [d for other in others if (d := _difference(view, other)) is not None]
    if not differences:
        return None
    # A distant relative differs everywhere, which tells nothing.
    nearest, _ = min(differences, key=lambda difference: difference[1])
    return np.asarray(nearest / nearest.max() * 255, np.uint8)


def _difference(view: Picture, other: Picture) -> tuple[F32, float] | None:
    """Return (MAP_PX, MAP_PX) 0..1 and the mean over what both show; None: no sibling."""
    view_wh, other_wh = view.keypoints.image_size_wh, other.keypoints.image_size_wh
    if min(len(view.keypoints), len(other.keypoints)) < MIN_INLIERS:
        return None
    rows, columns = pair_by_ratio(view.keypoints, other.keypoints)
    homography, agrees = fit_view(
        view.keypoints.xy_scale_ori[rows, :2],
        other.keypoints.xy_scale_ori[columns, :2],
        view_wh,
        other_wh,
        INLIER_SHARE * max(other_wh),
    )
    if homography is None or agrees.sum() < MIN_INLIERS:
        return None
    size_wh = scaled_size(view_wh, SIDE_PX / max(view_wh))
    laid, warped, inside = lay_crop(
        other.image_bgr, view.image_bgr, homography, other_wh, view_wh, size_wh
    )
    if inside.mean() < MIN_SHARED:
        return None
    alike = local_correlation(to_lab(laid), to_lab(warped), inside).min(axis=2).clip(0, 1)
    difference = _shrunk(np.where(inside, 1 - alike, 0))
    share = _shrunk(inside)
    if difference.max() < SAME_PICTURE:
        return None
    # What the sibling does not show may be the view's own.
    own = np.asarray(difference + 1 - share, np.float32)
    return own, float(difference.sum() / share.sum())


def _shrunk(places: np.ndarray) -> F32:
    size = (MAP_PX, MAP_PX)
    return np.asarray(
        cv2.resize(places.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )
