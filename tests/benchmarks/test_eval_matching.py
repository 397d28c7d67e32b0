"""Corner errors of pairs with a known homography."""

import cv2
import numpy as np
import pytest

from benchmarks.eval_matching import (
    Case,
    corner_error,
    held_out_drawer,
    make_cases,
    pair_mutual,
    read_box,
    read_evd,
    score_errors,
)
from catalog_tools.synthesize.packs import render_pack
from pipeline.geometry import project_points
from pipeline.keypoints import KeypointExtractor, to_gray
from pipeline.options import VerifyOptions
from pipeline.types import Keypoints

OPTIONS = VerifyOptions()


def keypoints(xy: np.ndarray, size_wh: tuple[int, int]) -> Keypoints:
    rows = np.c_[xy, np.ones(len(xy)), np.zeros(len(xy))].astype(np.float32)
    return Keypoints(rows, np.eye(len(xy), 128, dtype=np.float32), size_wh)


def known_case(shift_px: float) -> Case:
    """Points under a homography, all moved by some px of a scene of 640 px."""
    rng = np.random.default_rng(0)
    homography = np.array([[1.1, 0.2, 30], [-0.1, 0.9, 60], [1e-4, 2e-4, 1]])
    view_xy = rng.uniform(0, 300, (60, 2))
    scene_xy = project_points(homography, view_xy) + np.array([shift_px, 0])
    return Case(
        "evd", "x", keypoints(view_xy, (300, 300)), keypoints(scene_xy, (640, 480)), homography
    )


def in_order(view: Keypoints, scene: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(view)), np.arange(len(scene))


@pytest.mark.parametrize(("shift_px", "error_px"), [(0.0, 0.0), (8.0, 4.0)])
def test_the_error_is_in_px_of_the_side_at_which_keypoints_are_found(
    shift_px: float, error_px: float
) -> None:
    assert corner_error(known_case(shift_px), in_order, OPTIONS) == pytest.approx(
        error_px, abs=0.05
    )


def test_without_points_or_without_sense_there_is_no_fit() -> None:
    case = known_case(0)
    nothing = Case("evd", "x", keypoints(np.zeros((0, 2)), (9, 9)), case.scene, case.homography)
    assert corner_error(nothing, in_order, OPTIONS) == float("inf")
    none_found = corner_error(case, lambda *_: (np.zeros(0, int), np.zeros(0, int)), OPTIONS)
    assert none_found == float("inf")


def test_held_out_pairs_are_made_of_the_given_pictures_too_and_follow_the_seed() -> None:
    extractor = KeypointExtractor(OPTIONS)
    plain = np.full((40, 30), 77, np.uint8)
    draw = held_out_drawer([plain])
    drawn = [draw(np.random.default_rng(i)) for i in range(8)]
    assert any(picture is plain for picture in drawn) and any(p.shape != (40, 30) for p in drawn)
    cases, again = (list(make_cases(3, 5, extractor, [])) for _ in range(2))
    assert len(cases) == 3 and {case.kind for case in cases} == {"held-out"}
    for one, same in zip(cases, again, strict=True):
        assert np.array_equal(one.homography, same.homography)


def test_real_pairs_are_read(tmp_path) -> None:
    extractor = KeypointExtractor(OPTIONS)
    for name in ("1", "2", "h"):
        (tmp_path / "evd" / name).mkdir(parents=True)
    pack = to_gray(render_pack(1_000_500_001, (300, 400)))
    homography = np.array([[0.8, 0.1, 40], [-0.05, 0.7, 60], [1e-4, 0, 1]])
    warped = cv2.warpPerspective(pack, homography, (420, 420))
    cv2.imwrite(str(tmp_path / "evd/1/x.jpg"), pack)
    cv2.imwrite(str(tmp_path / "evd/2/x.jpg"), warped)
    np.savetxt(tmp_path / "evd/h/x.txt", homography)
    (case,) = read_evd(tmp_path / "evd", extractor)
    assert case.name == "x" and np.allclose(case.homography, homography)
    (tmp_path / "box").mkdir()
    cv2.imwrite(str(tmp_path / "box/box.png"), pack)
    cv2.imwrite(str(tmp_path / "box/box_in_scene.png"), warped)
    (box,) = read_box(tmp_path / "box", extractor)
    corners = np.array([[0, 0], [300, 0], [300, 400], [0, 400]])
    off = project_points(box.homography, corners) - project_points(homography, corners)
    assert np.linalg.norm(off, axis=1).max() < 2


def test_shares_and_the_gain_are_told_by_kind() -> None:
    case = known_case(0)
    held_out = Case("held-out", "y", case.view, case.scene, case.homography)
    errors = {
        "lightglue": [(held_out, 1.0), (held_out, 4.0), (case, float("inf"))],
        "ratio": [(held_out, 2.0), (held_out, 9.0), (case, float("inf"))],
    }
    figures = score_errors(errors)
    assert figures["held-out"]["lightglue"]["below_5_px"] == 1.0
    assert figures["held-out"]["ratio"] == {
        "n_pairs": 2, "below_3_px": 0.5, "below_5_px": 0.5, "below_10_px": 1.0, "median_px": 5.5,
    }  # fmt: skip
    assert figures["evd"]["ratio"]["median_px"] is None
    assert figures["gain_points"] == {"held-out": 50.0, "real": 0.0}
    alone = score_errors({"mutual": errors["ratio"]})
    assert set(alone) == {"held-out", "evd"}, "no gain to tell without LightGlue"


def test_mutual_nearest_keeps_what_is_nearest_from_both_sides() -> None:
    first = keypoints(np.zeros((3, 2)), (9, 9))
    two = np.array([[0, 1, 0], [0.9, 0.1, 0]], np.float32)
    second = Keypoints(np.ones((2, 4), np.float32), np.pad(two, ((0, 0), (0, 125))), (9, 9))
    rows, columns = pair_mutual(first, second)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
