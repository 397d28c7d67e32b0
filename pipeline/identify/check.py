"""Checks in detail how a crop may show a view: correspondences, and one sane geometry.

Only evidence comes from here; what it is worth is `weigh`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.errors import WeightsError
from pipeline.geometry import MIN_POINTS, fit_outline, fit_view
from pipeline.identify.agreement import Picture
from pipeline.identify.orb_ssim import compare_by_orb
from pipeline.identify.ratio_test import pair_by_ratio
from pipeline.identify.types import Alignment, Check, Checked
from pipeline.keypoints import Extractor, KeypointExtractor
from pipeline.learned_keypoints import extractor_maker
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.types import F32, U8, Keypoints
from pipeline.weights import find_weights, read_kind, read_spec

COUNT_STEP = 64  # few different shapes: a new one costs the engine some preparation
MATCHER_OF = {"aliked": "aliked-lightglue", "xfeat": "xfeat-lighterglue"}  # else the shipped one
NO_POINTS = np.zeros((0, 4), np.float32)


class Checker:
    """Finds what crops and views have in common."""

    def __init__(
        self, engine: Engine | None, options: VerifyOptions, extractor: Extractor | None = None
    ) -> None:
        """engine: the LightGlue network; None with other methods, which need none.

        extractor: what finds the keypoints; None: RootSIFT.
        """
        if engine is None and options.is_paired_by_network:
            raise ValueError(f"method {options.method!r} needs its engine, got None")
        self._engine = engine if options.is_paired_by_network else None
        self._options = options
        self._batch = 1 if engine is None else batch_size(engine, options.batch, cpu=1, gpu=32)
        self._extractor = extractor or KeypointExtractor(options)

    @property
    def extractor(self) -> str:
        """The name of its keypoints: a catalog must have been built with their method."""
        return self._extractor.name

    def prepare(self, image_bgr: U8) -> Picture:
        """Find a crop's keypoints, once for all views that it is checked against."""
        return Picture(self._extractor.extract(image_bgr), image_bgr)

    def check(self, checks: Sequence[Check]) -> list[Checked]:
        """Return what each check finds, in the given order.

        A check's answer does not depend on the others in the call. Too few keypoints on either
        side give no alignment, not an error.
        """
        usable = [
            i
            for i, one in enumerate(checks)
            if min(len(one.crop.keypoints), len(one.view.keypoints)) >= MIN_POINTS
        ]
        found: dict[int, tuple[F32, float | None]] = {}
        for piece in split_batch(len(usable), self._batch):
            rows = usable[piece]
            found.update(zip(rows, self._correspond([checks[i] for i in rows]), strict=True))
        return [self._align(one, *found.get(i, (NO_POINTS, None))) for i, one in enumerate(checks)]

    def _correspond(self, checks: Sequence[Check]) -> list[tuple[F32, float | None]]:
        """(M, 4) float32 a check, x y in the view and x y in the crop; and the agreement of methods
        that do not measure it on the aligned pictures.
        """
        if self._options.method == "orb_ssim":
            return [
                compare_by_orb(
                    one.crop.image_bgr,
                    one.view.image_bgr,
                    one.crop.keypoints.image_size_wh,
                    one.view.keypoints.image_size_wh,
                    self._options.max_keypoints,
                )
                for one in checks
            ]
        keypoints = [(one.view.keypoints, one.crop.keypoints) for one in checks]
        if self._engine is None:
            chosen = [pair_by_ratio(view, crop) for view, crop in keypoints]
        else:
            assignment = run_lightglue(self._engine, keypoints, self._options.max_keypoints)
            chosen = [pair_by_assignment(a, self._options.min_assignment) for a in assignment]
        return [
            (np.hstack([view.xy_scale_ori[rows, :2], crop.xy_scale_ori[columns, :2]]), None)
            for (view, crop), (rows, columns) in zip(keypoints, chosen, strict=True)
        ]

    def _align(self, check: Check, correspondences_xyxy: F32, agreement: float | None) -> Checked:
        """Return the sane ways in which the view may lie in the crop by its correspondences."""
        view_wh = check.view.keypoints.image_size_wh
        crop_wh = check.crop.keypoints.image_size_wh
        # Keypoints are as exact as the scale at which they were found allows.
        threshold_px = self._options.inlier_px * max(crop_wh) / self._options.keypoint_side_px
        view_xy, crop_xy = correspondences_xyxy[:, :2], correspondences_xyxy[:, 2:]
        fits = [fit_view(view_xy, crop_xy, view_wh, crop_wh, threshold_px)]
        if check.outline is not None:
            fits.append(
                fit_outline(check.outline, view_xy, crop_xy, view_wh, crop_wh, threshold_px)
            )
        alignments = tuple(Alignment(h, agrees) for h, agrees in fits if h is not None)
        return Checked(check, correspondences_xyxy, alignments, agreement)


def load_checker(engine: EngineOptions, options: VerifyOptions) -> Checker:
    """The checker that the options name, ready to run; WeightsError or EngineError."""
    extractor = extractor_maker(engine, options)()
    if not options.is_paired_by_network:
        return Checker(None, options, extractor)
    weights = find_weights("matcher", options.weights, MATCHER_OF.get(options.keypoints, ""))
    _refuse_other_keypoints(weights, options.keypoints, extractor.descriptor_dim)
    return Checker(load_engine(weights, engine), options, extractor)


def _refuse_other_keypoints(weights: Path, keypoints: str, dim: int) -> None:
    """WeightsError when the correspondence network was trained on other keypoints."""
    read_kind(weights, "matcher")
    spec = read_spec(weights)
    made_for, of_dim = spec.get("keypoints", "rootsift"), spec.get("input_dim", 128)
    if (made_for, of_dim) == (keypoints, dim):
        return
    raise WeightsError.at(
        f"verify.weights {weights}",
        f"expected LightGlue for {keypoints} keypoints of {dim} numbers, as verify.method says",
        f"for {made_for} of {of_dim}",
        remedy=f"name LightGlue weights for these keypoints, or set verify.method: {keypoints}",
    )


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
