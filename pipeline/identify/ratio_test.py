"""Correspondences without a network: the ratio test."""

from __future__ import annotations

import numpy as np

from pipeline.identify.tuning import RATIO
from pipeline.types import Keypoints


def pair_by_ratio(first: Keypoints, second: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of mutual nearest descriptors that stand out from the runner-up.

    Method: Lowe, "Distinctive Image Features from Scale-Invariant Keypoints" (IJCV 2004). The
    ratio is taken over the crop's keypoints: those of the view repeat on the pack itself.
    """
    if not len(first.descriptors) or not len(second.descriptors):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    cosine = np.asarray(first.descriptors, np.float32) @ np.asarray(
        second.descriptors.T, np.float32
    )
    squared = np.maximum(2 - 2 * cosine, 0)
    rows_of = squared.argmin(0)
    columns = np.arange(squared.shape[1])
    two_best = np.partition(squared, min(1, len(squared) - 1), axis=0)[:2]
    stands_out = two_best[0] < RATIO**2 * two_best[-1]
    keep = stands_out & (squared.argmin(1)[rows_of] == columns)
    return rows_of[keep], columns[keep]
