"""Looks closely at a crop laid over a view: the same print, or a near-twin's?

Agreement (agreement.py) measures how alike the pictures are; a network has learnt which differences
a hand, a bent pack or a lamp makes, and which only another print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.agreement import lay_crop
from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.types import F32, F64, U8
from pipeline.weights import find_weights, read_kind, read_spec

LIMIT = 6.0  # of its log-odds: it has seen no million pairs


@dataclass(frozen=True, slots=True)
class Overlay:
    """A view and a crop laid over it, stretched to a square.

    view, crop: (S, S, 3) uint8 BGR; the crop is 0 outside. inside: (S, S) bool, where it was.
    """

    view: U8
    crop: U8
    inside: np.ndarray


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
            inside = np.stack([o.inside for o in some])[:, None].astype(np.float32)
            views, crops = ([getattr(o, name) for o in some] for name in ("view", "crop"))
            parts += self._engine(_to_input(views), _to_input(crops), inside)
        return np.concatenate(parts).clip(-LIMIT, LIMIT)


def load_comparer(engine: EngineOptions, options: VerifyOptions) -> Comparer:
    """The comparer that the options name, ready to run; WeightsError or EngineError."""
    weights = find_weights("comparer", options.comparer_weights)
    read_kind(weights, "comparer")
    side_px = int(read_spec(weights)["side_px"])
    return Comparer(load_engine(weights, engine), side_px, options.batch)


def lay_over(
    crop_bgr: U8,
    view_bgr: U8,
    homography: F64,
    crop_wh: tuple[int, int],
    view_wh: tuple[int, int],
    side_px: int,
) -> Overlay:
    """Lay a crop over a view.

    homography: view px -> crop px, for pictures of `view_wh` and `crop_wh`; the given pictures
    may have other sizes.
    """
    view, warped, inside = lay_crop(
        crop_bgr, view_bgr, homography, crop_wh, view_wh, (side_px, side_px)
    )
    return Overlay(view, np.where(inside[..., None], warped, 0).astype(np.uint8), inside)


def _to_input(pictures_bgr: Sequence[U8]) -> F32:
    """(N, 3, S, S) float32 RGB 0..1."""
    stacked = np.stack(pictures_bgr)[..., ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked, np.float32) / np.float32(255)
