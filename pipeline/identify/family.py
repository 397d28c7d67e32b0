"""The listed picture that is most like a view, and where the two differ.

Packs of one brand share most of their print. What tells them apart is in a few places: the fruit,
the name, the fat content. Two listed siblings show where, and there a third one, which is not
listed, differs as well; so agreement counts most there (docs/matching.md has what that brings).
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from pipeline.geometry import fit_view
from pipeline.identify.agreement import NearTwin, Picture, local_correlation, near_twin_of, to_lab
from pipeline.identify.ratio_test import pair_by_ratio
from pipeline.types import F32, ItemId

MAP_PX = 32
MIN_INLIERS = 15
MIN_SHARED = 0.5  # of the picture that the sibling covers
INLIER_SHARE = 1 / 80  # of the sibling's longer side that a correspondence may be off
SAME_PICTURE = 0.2  # greatest difference below which two items show one picture


def find_near_twin(view: Picture, others: Iterable[tuple[ItemId, Picture]]) -> NearTwin | None:
    """Return the sibling that is most like a view.

    others: other items and their pictures. None: none of them is a sibling, that is, shares the
    view's print under one geometry. Its difference is (MAP_PX, MAP_PX).
    """
    siblings = [found for other in others if (found := _as_sibling(view, *other)) is not None]
    if not siblings:
        return None
    # A distant relative differs everywhere, which tells nothing.
    return min(siblings, key=lambda sibling: sibling.distance)


def _as_sibling(view: Picture, item_id: ItemId, other: Picture) -> NearTwin | None:
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
    laid = other.place(view, homography).lay_to_measure()
    if laid.inside.mean() < MIN_SHARED:
        return None
    labs = to_lab(laid.view_bgr), to_lab(laid.picture_bgr)
    alike = local_correlation(*labs, laid.inside).min(axis=2).clip(0, 1)
    difference = _shrunk(np.where(laid.inside, 1 - alike, 0))
    share = _shrunk(laid.inside)
    if difference.max() < SAME_PICTURE:
        return None
    # What the sibling does not show may be the view's own.
    own = difference + 1 - share
    places = np.asarray(own / own.max() * 255, np.uint8)
    return near_twin_of(item_id, laid, places, float(difference.sum() / share.sum()))


def _shrunk(places: np.ndarray) -> F32:
    size = (MAP_PX, MAP_PX)
    return np.asarray(
        cv2.resize(places.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32
    )
