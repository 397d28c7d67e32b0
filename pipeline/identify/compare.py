"""Looks closely at a crop laid over a view: the same print, or a near-twin's?

Agreement (agreement.py) measures how alike the pictures are; a network has learnt which differences
a hand, a bent pack or a lamp makes, and which only another print. Beside the view it sees the
listed picture that is most like it, for what tells these two apart tells other siblings apart, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.identify.agreement import NearTwin, Placed
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.types import F32, U8
from pipeline.weights import find_weights, read_kind, read_spec

LIMIT = 6.0  # of its log-odds: it has seen no million pairs


@dataclass(frozen=True, slots=True)
class Overlay:
    """A view with a crop and its near-twin laid over it, stretched to a square.

    view, crop, twin: (S, S, 3) uint8 BGR, 0 where they are not. inside, twin_inside: (S, S) bool,
    where crop and twin are; without a near-twin it is nowhere.
    """

    view: U8
    crop: U8
    inside: np.ndarray
    twin: U8
    twin_inside: np.ndarray


class Comparer:
    """Tells whether overlays show the same print."""

    def __init__(self, engine: Engine, side_px: int, batch: int) -> None:
        self._engine = engine
        self._batch = batch_size(engine, batch, cpu=1, gpu=32)
        self.side_px = side_px

    def compare(self, overlays: Sequence[Overlay]) -> F32:
        """Return the log-odds, within ±LIMIT, that each shows the same print: (N,) float32."""
        parts = [np.zeros(0, np.float32)]
        for piece in split_batch(len(overlays), self._batch):
            some = overlays[piece]
            parts += self._engine(
                _to_input([overlay.view for overlay in some]),
                _to_input([overlay.crop for overlay in some]),
                _to_mask([overlay.inside for overlay in some]),
                _to_input([overlay.twin for overlay in some]),
                _to_mask([overlay.twin_inside for overlay in some]),
            )
        return np.concatenate(parts).clip(-LIMIT, LIMIT)


def load_comparer(engine: EngineOptions, options: VerifyOptions) -> Comparer:
    """The comparer that the options name, ready to run; WeightsError or EngineError."""
    weights = find_weights("comparer", options.comparer_weights)
    read_kind(weights, "comparer")
    side_px = int(read_spec(weights)["side_px"])
    return Comparer(load_engine(weights, engine), side_px, options.batch)


def lay_over(placed: Placed, near_twin: NearTwin | None, side_px: int) -> Overlay:
    """Lay a crop over a view, and beside it the view's near-twin."""
    size = side_px, side_px
    laid = placed.lay(size)
    crop = np.where(laid.inside[..., None], laid.picture_bgr, 0).astype(np.uint8)
    twin, twin_inside = np.zeros_like(crop), np.zeros_like(laid.inside)
    if near_twin is not None:
        known = near_twin.laid
        shrinks = min(known.inside.shape) >= side_px
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        picture = np.where(known.inside[..., None], known.picture_bgr, 0).astype(np.uint8)
        twin = np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
        mask = known.inside.astype(np.uint8)
        twin_inside = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 0
    return Overlay(laid.view_bgr, crop, laid.inside, twin, twin_inside)


def _to_input(pictures_bgr: Sequence[U8]) -> F32:
    """(N, 3, S, S) float32 RGB 0..1."""
    stacked = np.stack(pictures_bgr)[..., ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked, np.float32) / np.float32(255)


def _to_mask(inside: Sequence[np.ndarray]) -> F32:
    """(N, 1, S, S) float32, 0 or 1."""
    return np.stack(inside)[:, None].astype(np.float32)
