"""Looks closely at a crop laid over a view: the same print, or a near-twin's?

Agreement (agreement.py) measures how alike the pictures are; a network has learnt which differences
a hand, a bent pack or a lamp makes, and which only another print. Beside the view it sees the
listed picture that is most like it, for what tells these two apart tells other siblings apart, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.geometry import angle_deg, corners_of, project_points
from pipeline.identify.agreement import Agreement, NearTwin, Placed
from pipeline.identify.tuning import TWIN_AGREEMENT, TWIN_INLIERS
from pipeline.identify.types import Alignment, Checked
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.types import F32, U8, Verification
from pipeline.weights import find_weights, read_kind, read_spec

MOST = 6.0  # of its log-odds: it has seen no million pairs
NOT_VERIFIED = Verification(0, 0, None, None, 0.0, 0.0, 0.0)


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
    """Looks at crops laid over views: how alike are they, and do they show the same print?"""

    def __init__(self, engine: Engine | None, side_px: int = 0, batch: int = 0) -> None:
        """engine: the network; None: no sameness is told. side_px: of its input."""
        self._engine = engine
        self._batch = batch_size(engine, batch, cpu=1, gpu=32) if engine is not None else 1
        self.side_px = side_px

    def compare(self, checked: Sequence[Checked]) -> list[Verification]:
        """Return what each check has found, with how the aligned pictures agree."""
        measured = [_measure(one) for one in checked]
        if self._engine is None:
            return [verification for verification, _ in measured]
        overlays: dict[int, Overlay] = {}
        for i, (one, (verification, near_twin)) in enumerate(zip(checked, measured, strict=True)):
            if verification.homography is not None:
                placed = one.check.crop.place(one.check.view, verification.homography)
                overlays[i] = lay_over(placed, near_twin, self.side_px)
        sameness = dict(zip(overlays, self.tell_sameness(list(overlays.values())), strict=True))
        return [
            replace(v, sameness=float(sameness[i])) if i in sameness else v
            for i, (v, _) in enumerate(measured)
        ]

    def tell_sameness(self, overlays: Sequence[Overlay]) -> F32:
        """Return the log-odds, within ±MOST, that each shows the same print: (N,) float32."""
        assert self._engine is not None
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
        return np.concatenate(parts).clip(-MOST, MOST)


def _measure(checked: Checked) -> tuple[Verification, NearTwin | None]:
    """Return what the alignment that agrees most is worth, and the near-twin that it was held
    against.
    """
    found = [_verification(checked, alignment) for alignment in checked.alignments]
    if not found:
        n_found = len(checked.correspondences_xyxy)
        return (replace(NOT_VERIFIED, correspondences=n_found) if n_found else NOT_VERIFIED), None
    return max(found, key=lambda one: one[0].agreement)


def _verification(checked: Checked, alignment: Alignment) -> tuple[Verification, NearTwin | None]:
    check, homography = checked.check, alignment.homography
    view_wh = check.view.keypoints.image_size_wh
    n_agree = int(alignment.agrees.sum())
    aligned = Agreement(check.crop.place(check.view, homography))
    measured = aligned.everywhere()
    may_be_twin = n_agree >= TWIN_INLIERS or measured >= TWIN_AGREEMENT
    near_twin = check.near_twin if may_be_twin else None
    if near_twin is not None:
        measured = aligned.beside(near_twin)
    verification = Verification(
        inliers=n_agree,
        correspondences=len(checked.correspondences_xyxy),
        homography=homography,
        outline=project_points(homography, corners_of(view_wh)).astype(np.float32),
        angle_deg=angle_deg(homography, view_wh),
        agreement=measured if checked.agreement is None else checked.agreement,
        coverage=aligned.coverage,
        colour_unseen=aligned.colour_unseen,
        correspondences_xyxy=checked.correspondences_xyxy[alignment.agrees],
        near_twin_item=None if near_twin is None else near_twin.item_id,
        near_twin_distance=None if near_twin is None else near_twin.distance,
    )
    return verification, near_twin


def load_comparer(engine: EngineOptions, options: VerifyOptions) -> Comparer:
    """The comparer that the options name, ready to run; WeightsError or EngineError."""
    if not options.comparer or options.method == "orb_ssim":
        return Comparer(None)
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
