"""Boxes `xyxy` in px, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.types import F32, F64


def area(xyxy: NDArray[np.floating]) -> F64:
    """Return the areas of (..., 4) boxes, px²; 0 for a box turned inside out."""
    sides = np.maximum(xyxy[..., 2:] - xyxy[..., :2], 0.0)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float64)


def intersection_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> F64:
    """Return (N, M) areas that each of (N, 4) shares with each of (M, 4), px²."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0.0)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float64)


def iou_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> F64:
    """Return (N, M) intersections over union of (N, 4) and (M, 4) boxes, 0..1."""
    shared = intersection_matrix(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float64)


def pad_and_clip(xyxy: F32, pad: float, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box widened by a share of its sides and kept inside the picture, whole px.

    x1 and y1 are exclusive; a box outside the picture gives an empty one.
    """
    width, height = size_wh
    margin_x, margin_y = (xyxy[2] - xyxy[0]) * pad, (xyxy[3] - xyxy[1]) * pad
    x0 = int(np.clip(np.floor(xyxy[0] - margin_x), 0, width))
    y0 = int(np.clip(np.floor(xyxy[1] - margin_y), 0, height))
    x1 = int(np.clip(np.ceil(xyxy[2] + margin_x), x0, width))
    y1 = int(np.clip(np.ceil(xyxy[3] + margin_y), y0, height))
    return x0, y0, x1, y1


def bounds(points: NDArray[np.floating]) -> F32:
    """Return the box around (N, 2) points."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


def carry(points: F32, from_xyxy: F32, to_xyxy: F32) -> F32:
    """Return (N, 2) points moved and scaled as one box became the other."""
    scale = (to_xyxy[2:] - to_xyxy[:2]) / np.maximum(from_xyxy[2:] - from_xyxy[:2], 1e-6)
    return np.asarray((points - from_xyxy[:2]) * scale + to_xyxy[:2], np.float32)
