"""Verification on packs of known geometry: the right pair passes, the wrong one fails."""

import cv2
import numpy as np
import pytest

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.synthesize.scenes import camera_effects, make_background
from pipeline.errors import WeightsError
from pipeline.geometry import angle_deg, project_points, warp_picture
from pipeline.identify.agreement import Picture
from pipeline.identify.check import Checker, load_checker, pair_by_assignment, run_lightglue
from pipeline.identify.compare import NOT_VERIFIED
from pipeline.identify.orb_ssim import compare_by_orb, measure_ssim
from pipeline.identify.ratio_test import pair_by_ratio
from pipeline.options import EngineOptions, VerifyOptions
from pipeline.types import Keypoints, Verification
from pipeline.weights import find_weights
from tests.pipeline.checking import verify

CROP_WH = (300, 320)
VIEW_TO_CROP = np.array([[0.62, -0.22, 110.0], [0.20, 0.70, 30.0], [0.0003, -0.0002, 1.0]])


def view_of(seed: int) -> np.ndarray:
    return render_pack(DEMO_SEED_START + seed)


def crop_of(seed: int) -> np.ndarray:
    """The pack tilted before a textured background, through a bad camera."""
    rng = np.random.default_rng([9, seed])
    view = view_of(seed)
    drawn, inside = warp_picture(view, np.linalg.inv(VIEW_TO_CROP), CROP_WH)
    scene = np.where(inside[..., None], drawn, make_background(rng, CROP_WH))
    return camera_effects(scene.astype(np.uint8), rng, 0.5)


class TrueEngine:
    """Says what the geometry says: keypoints that the homography carries onto each other."""

    name, device = "scripted", "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        views, crops = arrays[0], arrays[1]
        self.batches.append(len(views))
        rows = []
        for view, crop in zip(views, crops, strict=True):
            there = project_points(VIEW_TO_CROP, view[:, :2])
            distance = np.linalg.norm(there[:, None] - crop[None, :, :2], axis=2)
            real = (view[:, 2] > 0)[:, None] & (crop[:, 2] > 0)[None]
            rows.append(np.exp(-((distance / 2) ** 2)) * real)
        return (np.stack(rows).astype(np.float32),)


def make_checker(kind: str) -> Checker:
    if kind == "sift":
        return Checker(None, VerifyOptions(method="rootsift", batch=4))
    if kind == "scripted":
        return Checker(TrueEngine(), VerifyOptions(batch=4))
    try:
        find_weights("matcher")
    except WeightsError:
        pytest.skip("no LightGlue weights in this checkout")
    return load_checker(EngineOptions(engine="torch", device="cpu"), VerifyOptions(batch=4))


@pytest.mark.parametrize("kind", ["scripted", "sift", "lightglue"])
def test_the_right_pack_is_verified_and_a_wrong_one_is_not(kind: str) -> None:
    checker = make_checker(kind)
    crop = checker.prepare(crop_of(1))
    view, other = checker.prepare(view_of(1)), checker.prepare(view_of(2))
    right, wrong = verify(checker, [(crop, view), (crop, other)])
    assert right.homography is not None and right.outline is not None
    assert right.inliers >= 15
    height, width = view_of(1).shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    error = np.linalg.norm(right.outline - project_points(VIEW_TO_CROP, corners), axis=1)
    assert error.max() <= 8
    assert right.angle_deg == pytest.approx(angle_deg(VIEW_TO_CROP, (width, height)), abs=2)
    assert right.agreement > 0.5 and right.coverage > 0.9
    assert right.correspondences_xyxy.shape == (right.inliers, 4)
    assert wrong.homography is None or kind == "scripted" or wrong.inliers < 8
    assert wrong.agreement < 0.35
    assert right.correspondences >= right.inliers


@pytest.mark.parametrize("kind", ["scripted", "sift", "lightglue"])
def test_a_batch_gives_the_same_verdicts_as_one_pair_at_a_time(kind: str) -> None:
    checker = make_checker(kind)
    crops = [checker.prepare(crop_of(seed)) for seed in (1, 2, 3)]
    views = [checker.prepare(view_of(seed)) for seed in (1, 2, 3, 4)]
    pairs = [(crop, view) for crop in crops for view in views]
    together = verify(checker, pairs)
    alone = [verify(checker, [pair])[0] for pair in pairs]
    assert [v.homography is None for v in together] == [v.homography is None for v in alone]
    for one, other in zip(together, alone, strict=True):
        assert abs(one.inliers - other.inliers) <= 1  # float32 sums in another order
        assert one.agreement == pytest.approx(other.agreement, abs=0.03)


def test_pairs_without_keypoints_are_answered_in_their_place() -> None:
    engine = TrueEngine()
    checker = Checker(engine, VerifyOptions(batch=2))
    crop, view = checker.prepare(crop_of(1)), checker.prepare(view_of(1))
    flat = checker.prepare(np.full((80, 80, 3), 127, np.uint8))
    found = verify(checker, [(flat, view), (crop, view), (crop, flat), (crop, view), (crop, view)])
    assert [v.inliers > 0 for v in found] == [False, True, False, True, True]
    assert found[0] is NOT_VERIFIED
    assert engine.batches == [2, 1]
    assert verify(checker, []) == []


def test_a_view_shown_smaller_than_its_keypoints_say_changes_nothing_but_sharpness() -> None:
    checker = make_checker("scripted")
    crop, view = checker.prepare(crop_of(3)), checker.prepare(view_of(3))
    small = cv2.resize(view.image_bgr, (160, 240), interpolation=cv2.INTER_AREA)
    whole, thumbnail = verify(checker, [(crop, view), (crop, Picture(view.keypoints, small))])
    np.testing.assert_array_equal(whole.homography, thumbnail.homography)
    assert thumbnail.agreement == pytest.approx(whole.agreement, abs=0.05)


def test_lightglue_without_its_network_is_refused() -> None:
    with pytest.raises(ValueError, match="needs its engine"):
        Checker(None, VerifyOptions())


def test_only_mutual_likely_pairs_count_and_padding_never_does() -> None:
    assignment = np.zeros((4, 4), np.float32)
    assignment[0, 1], assignment[2, 1], assignment[1, 0], assignment[3, 3] = 0.9, 0.5, 0.05, 0.2
    rows, columns = pair_by_assignment(assignment, 0.1)
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (3, 3)]
    rows, _ = pair_by_assignment(np.zeros((4, 4), np.float32), 0.0)
    assert len(rows) == 0


@pytest.mark.parametrize(
    ("found", "most", "expected"), [(256, 300, 256), (100, 256, 128), (100, 90, 90)]
)
def test_the_network_gets_views_first_padded_no_further_than_needed(
    found: int, most: int, expected: int
) -> None:
    seen: list[tuple[np.ndarray, ...]] = []

    class Recorder(TrueEngine):
        def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            seen.append(arrays)
            return super().__call__(*arrays)

    checker = Checker(None, VerifyOptions(method="rootsift", max_keypoints=found))
    view, crop = checker.prepare(view_of(1)), checker.prepare(crop_of(1))
    assert max(len(view.keypoints), len(crop.keypoints)) == found
    n = expected
    assignment = run_lightglue(Recorder(), [(view.keypoints, crop.keypoints)], most)
    assert assignment.shape == (1, n, n)
    shapes = [array.shape for array in seen[0]]
    assert shapes == [(1, n, 4), (1, n, 4), (1, n, 128), (1, n, 128), (1, 2), (1, 2)]
    np.testing.assert_array_equal(seen[0][4], [view.keypoints.image_size_wh])


def test_nothing_found_says_nothing() -> None:
    assert NOT_VERIFIED == Verification(
        0, 0, None, None, 0.0, 0.0, 0.0, NOT_VERIFIED.correspondences_xyxy
    )
    assert NOT_VERIFIED.correspondences_xyxy.shape == (0, 4)


def test_orb_and_ssim_prefer_the_right_pack() -> None:
    checker = load_checker(EngineOptions(), VerifyOptions(method="orb_ssim"))
    crop = checker.prepare(crop_of(1))
    view, other = checker.prepare(view_of(1)), checker.prepare(view_of(2))
    right, wrong = verify(checker, [(crop, view), (crop, other)])
    assert right.homography is not None and right.inliers > wrong.inliers
    assert right.agreement > wrong.agreement


def test_structural_similarity_is_one_for_the_same_picture_and_low_for_another() -> None:
    same, other = measure_ssim(view_of(1), view_of(1)), measure_ssim(view_of(1), view_of(2))
    assert same > 0.99 and 0 <= other < 0.6


def test_orb_says_how_much_of_a_picture_it_found_again() -> None:
    wh = (view_of(1).shape[1], view_of(1).shape[0])
    correspondences, agreement = compare_by_orb(view_of(1), view_of(1), wh, wh, 256)
    assert agreement > 0.95
    assert np.abs(correspondences[:, :2] - correspondences[:, 2:]).max() < 1
    flat = np.full((80, 80, 3), 127, np.uint8)
    nothing, agreement = compare_by_orb(flat, view_of(1), (80, 80), wh, 256)
    assert nothing.shape == (0, 4) and 0 <= agreement < 0.5


def test_the_ratio_test_pairs_nothing_where_a_picture_has_no_keypoints() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.random((5, 128), dtype=np.float32)
    some = Keypoints(np.zeros((5, 4), np.float32), descriptors, (64, 64))
    none = Keypoints(np.zeros((0, 4), np.float32), descriptors[:0], (64, 64))
    for first, second in ((some, none), (none, some), (none, none)):
        rows, columns = pair_by_ratio(first, second)
        assert len(rows) == len(columns) == 0
