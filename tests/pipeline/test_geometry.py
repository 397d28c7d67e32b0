"""Homographies: found, judged and used."""

import cv2
import numpy as np
import pytest

from pipeline.geometry import (
    angle_deg,
    corners_of,
    fit_view,
    is_sane_homography,
    jacobian_at,
    project_points,
    resized_homography,
    warp_picture,
)

VIEW_WH, CROP_WH = (200, 300), (240, 320)


def turned(degrees: float, scale: float = 0.9, tilt: float = 0.0004) -> np.ndarray:
    """View px -> crop px: about the centres, a turn, a scale, and a little perspective."""
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    centre = np.array([[1, 0, -VIEW_WH[0] / 2], [0, 1, -VIEW_WH[1] / 2], [0, 0, 1]])
    turn = np.array([[c, -s, 0], [s, c, 0], [tilt, 0, 1]])
    back = np.array([[1, 0, CROP_WH[0] / 2], [0, 1, CROP_WH[1] / 2], [0, 0, 1]])
    return back @ turn @ centre


def points_in_view(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (n, 2)).astype(np.float32) * VIEW_WH


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_points_have_no_homography(n: int) -> None:
    points = points_in_view(n).astype(np.float32)
    homography, agrees = fit_view(points, points, VIEW_WH, CROP_WH, 3.0)
    assert homography is None and agrees.shape == (n,) and not agrees.any()


@pytest.mark.parametrize("degrees", [0, 35, 90, -140, 180])
def test_the_true_homography_is_found_among_wrong_points(degrees: float) -> None:
    truth = turned(degrees)
    view_xy = points_in_view(60)
    crop_xy = project_points(truth, view_xy)
    rng = np.random.default_rng(2)
    crop_xy += rng.normal(0, 0.5, crop_xy.shape)
    crop_xy[40:] = rng.uniform(0, 1, (20, 2)) * CROP_WH
    found, agrees = fit_view(view_xy, crop_xy.astype(np.float32), VIEW_WH, CROP_WH, 3.0)
    assert found is not None
    assert agrees[:40].sum() >= 38 and agrees[40:].sum() <= 2
    corners = corners_of(VIEW_WH)
    error = np.linalg.norm(project_points(found, corners) - project_points(truth, corners), axis=1)
    assert error.max() < 3
    assert angle_deg(found, VIEW_WH) == pytest.approx(angle_deg(truth, VIEW_WH), abs=2)
    again, _ = fit_view(view_xy, crop_xy.astype(np.float32), VIEW_WH, CROP_WH, 3.0)
    np.testing.assert_array_equal(again, found)


def test_an_angle_is_clockwise_on_the_screen() -> None:
    assert angle_deg(turned(30, tilt=0.0), VIEW_WH) == pytest.approx(30)
    x, y = project_points(turned(90, tilt=0.0), np.array([[200.0, 150.0]]))[0]
    assert y > CROP_WH[1] / 2 + 50 and x == pytest.approx(CROP_WH[0] / 2)  # right turned to down


def test_points_of_a_bent_view_still_give_an_affine_answer() -> None:
    """From a small corner noise decides the perspective; the fit must not fall over."""
    rng = np.random.default_rng(5)
    view_xy = (points_in_view(14) * 0.25 + (20, 30)).astype(np.float32)
    crop_xy = project_points(turned(10), view_xy) + rng.normal(0, 1.5, (14, 2))
    found, agrees = fit_view(view_xy, crop_xy.astype(np.float32), VIEW_WH, CROP_WH, 4.0)
    assert found is not None and agrees.sum() >= 8
    assert is_sane_homography(found, VIEW_WH, CROP_WH)


def test_what_no_camera_can_show_is_not_sane() -> None:
    assert is_sane_homography(turned(25), VIEW_WH, CROP_WH)
    assert is_sane_homography(-turned(25), VIEW_WH, CROP_WH)  # the sign is free
    mirror = np.diag([-1.0, 1.0, 1.0])
    mirror[0, 2] = VIEW_WH[0]
    bad = {
        "mirrored": turned(0) @ mirror,
        "speck": turned(0, scale=0.02),
        "huge": turned(0, scale=30),
        "sliver": turned(0) @ np.diag([1.0, 0.1, 1.0]),
        "falls away": turned(0, tilt=0.009),
        "collapsed": np.outer([1.0, 1.0, 0.01], [0.1, 0.2, 1.0]),
    }
    accepted = [name for name, h in bad.items() if is_sane_homography(h, VIEW_WH, CROP_WH)]
    assert accepted == []


def test_the_jacobian_is_the_slope() -> None:
    homography, at, step = turned(40), np.array([60.0, 200.0]), 1e-4
    ahead = project_points(homography, at + np.array([(step, 0), (0, step)]))
    slope = (ahead - project_points(homography, at[None])).T / step
    np.testing.assert_allclose(jacobian_at(homography, at), slope, rtol=1e-3)


def test_a_homography_follows_resized_pictures() -> None:
    homography = turned(20)
    half = resized_homography(homography, VIEW_WH, (100, 150), CROP_WH, (480, 640))
    point = np.array([[30.0, 70.0]])
    expected = project_points(homography, point) * 2
    np.testing.assert_allclose(project_points(half, point / 2), expected, rtol=1e-9)


def test_warping_back_gives_the_view_again() -> None:
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 255, (30, 20, 3), dtype=np.uint8)
    view = np.asarray(cv2.resize(coarse, VIEW_WH, interpolation=cv2.INTER_CUBIC), np.uint8)
    truth = turned(15, scale=1.0)
    crop, _ = warp_picture(view, np.linalg.inv(truth), CROP_WH)
    back, inside = warp_picture(crop, truth, VIEW_WH)
    assert inside.mean() > 0.9
    inner = inside.copy()
    inner[:5], inner[-5:], inner[:, :5], inner[:, -5:] = False, False, False, False
    assert np.abs(back[inner].astype(int) - view[inner]).mean() < 3


def test_a_picture_warped_by_nothing_is_itself() -> None:
    picture = np.random.default_rng(6).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    same, inside = warp_picture(picture, np.eye(3), (30, 40))
    np.testing.assert_array_equal(same, picture)
    assert inside.all()
