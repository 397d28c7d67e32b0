"""Checks in detail whether a crop shows a view: correspondences, one sane geometry, agreement.

Only evidence comes from here; what it is worth is `decide`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.errors import WeightsError
from pipeline.geometry import (
    MIN_POINTS,
    angle_deg,
    corners_of,
    fit_outline,
    fit_view,
    project_points,
)
from pipeline.identify.agreement import Agreement, NearTwin, Placed
from pipeline.identify.compare import Comparer, Overlay, lay_over, load_comparer
from pipeline.identify.orb_ssim import compare_by_orb
from pipeline.keypoints import Extractor, KeypointExtractor
from pipeline.learned_keypoints import extractor_maker
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.types import F32, F64, U8, Keypoints, Verification
from pipeline.weights import find_weights, read_kind, read_spec

COUNT_STEP = 64  # few different shapes: a new one costs the engine some preparation
# From either on a crop may show a near-twin; for others no near-twin is looked for.
TWIN_INLIERS, TWIN_AGREEMENT = 10, 0.3
RATIO = 0.8  # Lowe's ratio test, for `verifier: sift`
MATCHER_OF = {"aliked": "aliked-lightglue", "xfeat": "xfeat-lighterglue"}  # else the shipped one


@dataclass(frozen=True, slots=True)
class Picture:
    """A crop or a view with its keypoints.

    image_bgr: (H, W, 3) uint8; may be smaller or larger than `keypoints.image_size_wh` says, as
    long as it shows the same: the keypoints' px are what verification speaks in.
    near_twin: finds the catalog's picture that is most like a view; see family.py.
    """

    keypoints: Keypoints
    image_bgr: U8
    near_twin: Callable[[], NearTwin | None] | None = None

    def place(self, view: Picture, homography: F64) -> Placed:
        """Return this picture with a view that lies in it. homography: view px -> its px."""
        sizes = self.keypoints.image_size_wh, view.keypoints.image_size_wh
        return Placed(self.image_bgr, view.image_bgr, homography, *sizes)


class Verifier:
    """Tells how well crops and views agree in their details."""

    def __init__(
        self,
        engine: Engine | None,
        options: VerifyOptions,
        extractor: Extractor | None = None,
        comparer: Comparer | None = None,
    ) -> None:
        """engine: the LightGlue network; None with other verifiers, which need none.

        extractor: what finds the keypoints; None: RootSIFT. comparer: None: no sameness is told.
        """
        if engine is None and options.verifier == "lightglue":
            raise ValueError("verifier 'lightglue' needs its engine, got None")
        self._engine = engine if options.verifier == "lightglue" else None
        self._options = options
        self._batch = 1 if engine is None else batch_size(engine, options.batch, cpu=1, gpu=32)
        self._extractor = extractor or KeypointExtractor(options)
        self._comparer = comparer

    @property
    def extractor(self) -> str:
        """The name of its keypoints: a catalog must have been built with their method."""
        return self._extractor.name

    def prepare(self, image_bgr: U8) -> Picture:
        """Find a crop's keypoints, once for all views that it is checked against."""
        return Picture(self._extractor.extract(image_bgr), image_bgr)

    def verify(
        self,
        pairs: Sequence[tuple[Picture, Picture]],
        outlines: Sequence[F32 | None] | None = None,
    ) -> list[Verification]:
        """Check (crop, view) pairs: one verification a pair, in the given order.

        outlines: where each view's corners may lie, (4, 2) px of the crop, for views whose
        keypoints are too few to tell; none: only the keypoints do.
        A pair's answer does not depend on the others in the call. Too few keypoints on either
        side give a verification without inliers, not an error.
        """
        outlines = outlines or [None] * len(pairs)
        usable = [
            i
            for i, (crop, view) in enumerate(pairs)
            if min(len(crop.keypoints), len(view.keypoints)) >= MIN_POINTS
        ]
        found: dict[int, tuple[F32, float | None]] = {}
        for piece in split_batch(len(usable), self._batch):
            rows = usable[piece]
            found.update(zip(rows, self._correspond([pairs[i] for i in rows]), strict=True))
        judged = [
            self._judge(crop, view, *found.get(i, (NO_POINTS, None)), outline)
            for i, ((crop, view), outline) in enumerate(zip(pairs, outlines, strict=True))
        ]
        return self._look_closely(pairs, judged)

    def _correspond(self, pairs: list[tuple[Picture, Picture]]) -> list[tuple[F32, float | None]]:
        """(M, 4) float32 a pair, x y in the view and x y in the crop; and the agreement of methods
        that do not measure it on the aligned pictures.
        """
        if self._options.verifier == "orb_ssim":
            return [
                compare_by_orb(
                    crop.image_bgr,
                    view.image_bgr,
                    crop.keypoints.image_size_wh,
                    view.keypoints.image_size_wh,
                    self._options.max_keypoints,
                )
                for crop, view in pairs
            ]
        keypoints = [(view.keypoints, crop.keypoints) for crop, view in pairs]
        if self._engine is None:
            chosen = [pair_by_ratio(view, crop) for view, crop in keypoints]
        else:
            assignment = run_lightglue(self._engine, keypoints, self._options.max_keypoints)
            chosen = [pair_by_assignment(a, self._options.min_assignment) for a in assignment]
        return [
            (np.hstack([view.xy_scale_ori[rows, :2], crop.xy_scale_ori[columns, :2]]), None)
            for (view, crop), (rows, columns) in zip(keypoints, chosen, strict=True)
        ]

    def _look_closely(
        self,
        pairs: Sequence[tuple[Picture, Picture]],
        judged: Sequence[tuple[Verification, NearTwin | None]],
    ) -> list[Verification]:
        """The verifications with their sameness, where a homography lays the crop over the view."""
        found = [verification for verification, _ in judged]
        if self._comparer is None:
            return found
        overlays: dict[int, Overlay] = {}
        for i, ((crop, view), (verification, near_twin)) in enumerate(
            zip(pairs, judged, strict=True)
        ):
            if verification.homography is not None:
                placed = crop.place(view, verification.homography)
                overlays[i] = lay_over(placed, near_twin, self._comparer.side_px)
        sameness = dict(zip(overlays, self._comparer.compare(list(overlays.values())), strict=True))
        return [
            replace(v, sameness=float(sameness[i])) if i in sameness else v
            for i, v in enumerate(found)
        ]

    def _judge(
        self,
        crop: Picture,
        view: Picture,
        correspondences_xyxy: F32,
        agreement: float | None,
        outline: F32 | None,
    ) -> tuple[Verification, NearTwin | None]:
        """What a pair's correspondences are worth, and the near-twin that it was held against."""
        view_wh, crop_wh = view.keypoints.image_size_wh, crop.keypoints.image_size_wh
        # Keypoints are as exact as the scale at which they were found allows.
        threshold_px = self._options.inlier_px * max(crop_wh) / self._options.keypoint_side_px
        view_xy, crop_xy = correspondences_xyxy[:, :2], correspondences_xyxy[:, 2:]
        fits = [fit_view(view_xy, crop_xy, view_wh, crop_wh, threshold_px)]
        if outline is not None:
            fits.append(fit_outline(outline, view_xy, crop_xy, view_wh, crop_wh, threshold_px))
        found = [
            _verification(crop, view, homography, correspondences_xyxy, agrees, agreement)
            for homography, agrees in fits
            if homography is not None
        ]
        if not found:
            n_found = len(correspondences_xyxy)
            none = replace(NOT_VERIFIED, correspondences=n_found) if n_found else NOT_VERIFIED
            return none, None
        return max(found, key=lambda judged: judged[0].agreement)


def _verification(
    crop: Picture,
    view: Picture,
    homography: F64,
    correspondences_xyxy: F32,
    agrees: np.ndarray,
    agreement: float | None,
) -> tuple[Verification, NearTwin | None]:
    """What a homography, view px -> crop px, is worth, and the near-twin that it was held against.

    agrees: (M,) bool, its inliers.
    """
    view_wh = view.keypoints.image_size_wh
    n_agree = int(agrees.sum())
    aligned = Agreement(crop.place(view, homography))
    measured = aligned.everywhere()
    may_be_twin = n_agree >= TWIN_INLIERS or measured >= TWIN_AGREEMENT
    near_twin = view.near_twin() if view.near_twin is not None and may_be_twin else None
    if near_twin is not None:
        measured = aligned.beside(near_twin)
    verification = Verification(
        inliers=n_agree,
        correspondences=len(correspondences_xyxy),
        homography=homography,
        outline=project_points(homography, corners_of(view_wh)).astype(np.float32),
        angle_deg=angle_deg(homography, view_wh),
        agreement=measured if agreement is None else agreement,
        coverage=aligned.coverage,
        correspondences_xyxy=correspondences_xyxy[agrees],
        near_twin_item=None if near_twin is None else near_twin.item_id,
        near_twin_distance=None if near_twin is None else near_twin.distance,
    )
    return verification, near_twin


def load_verifier(engine: EngineOptions, options: VerifyOptions) -> Verifier:
    """The verifier that the options name, ready to run; WeightsError or EngineError."""
    extractor = extractor_maker(engine, options)()
    comparer = load_comparer(engine, options) if options.comparer else None
    if options.verifier != "lightglue":
        return Verifier(None, options, extractor, comparer)
    weights = find_weights("matcher", options.weights, MATCHER_OF.get(options.keypoints, ""))
    _refuse_other_keypoints(weights, options.keypoints, extractor.descriptor_dim)
    return Verifier(load_engine(weights, engine), options, extractor, comparer)


def _refuse_other_keypoints(weights: Path, keypoints: str, dim: int) -> None:
    """WeightsError when the correspondence network was trained on other keypoints."""
    read_kind(weights, "matcher")
    spec = read_spec(weights)
    made_for, of_dim = spec.get("keypoints", "rootsift"), spec.get("input_dim", 128)
    if (made_for, of_dim) == (keypoints, dim):
        return
    raise WeightsError.at(
        f"verify.weights {weights}",
        f"expected LightGlue for {keypoints} keypoints of {dim} numbers, as verify.keypoints says",
        f"for {made_for} of {of_dim}",
        remedy="name LightGlue weights for these keypoints, or set verify.verifier: sift",
    )


NOT_VERIFIED = Verification(0, 0, None, None, 0.0, 0.0, 0.0)
NO_POINTS = np.zeros((0, 4), np.float32)


def run_lightglue(engine: Engine, pairs: Sequence[tuple[Keypoints, Keypoints]], most: int) -> F32:
    """(B, N, N) float32: probabilities that keypoints of first and second correspond.

    N is the longest list, at most `most`, rounded up to COUNT_STEP: the network's cost grows with
    it, and padding takes no part in the answer.
    """
    longest = min(most, max(len(k) for pair in pairs for k in pair))
    count = min(most, -(-longest // COUNT_STEP) * COUNT_STEP)
    first, second = zip(*pairs, strict=True)
    arrays0 = [k.padded(count) for k in first]
    arrays1 = [k.padded(count) for k in second]
    (assignment,) = engine(
        np.stack([a[0] for a in arrays0]),
        np.stack([a[0] for a in arrays1]),
        np.stack([a[1] for a in arrays0]),
        np.stack([a[1] for a in arrays1]),
        np.array([k.image_size_wh for k in first], np.float32),
        np.array([k.image_size_wh for k in second], np.float32),
    )
    return np.asarray(assignment, np.float32)


def pair_by_assignment(assignment: F32, min_assignment: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that are each other's best and likely enough, (M,) and (M,) int64.

    assignment: (N0, N1) float32 probabilities, padding 0.
    """
    columns = assignment.argmax(1)
    rows = np.arange(len(assignment))
    mutual = assignment.argmax(0)[columns] == rows
    likely = assignment[rows, columns] >= max(min_assignment, 1e-6)  # never a padded row
    keep = mutual & likely
    return rows[keep], columns[keep]


def pair_by_ratio(first: Keypoints, second: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of mutual nearest descriptors that stand out from the runner-up.

    Method: Lowe, "Distinctive Image Features from Scale-Invariant Keypoints" (IJCV 2004). The
    ratio is taken over the crop's candidates: those of the view repeat on the pack itself.
    """
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
