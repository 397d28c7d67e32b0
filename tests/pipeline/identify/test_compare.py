"""A crop laid over a view, and what the comparer's network is asked."""

import numpy as np
import pytest

from pipeline.engines import Array
from pipeline.identify.agreement import NearTwin, Placed
from pipeline.identify.compare import MOST, Comparer, Overlay, lay_over
from pipeline.types import ItemId

SIDE_PX = 32


class DifferenceEngine:
    """A stand-in for the network: sure of sameness where the pictures are equal inside."""

    name = "fake"
    device = "cpu"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        views, crops, inside, twins, twin_inside = arrays
        assert views.shape == crops.shape == twins.shape
        assert inside.shape == twin_inside.shape == (len(views), 1, SIDE_PX, SIDE_PX)
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
        self.batches.append(len(views))
        apart = np.abs(views - crops * inside).mean((1, 2, 3))
        return (np.where(apart < 0.06, 50.0, -2.0).astype(np.float32),)


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.asarray(rng.integers(0, 255, (8, 6, 3)), np.uint8).repeat(15, 0).repeat(15, 1)


def overlay_of(picture: np.ndarray, homography: np.ndarray, crop: np.ndarray) -> Overlay:
    return lay_over(placed(picture, homography, crop), None, SIDE_PX)


def placed(picture: np.ndarray, homography: np.ndarray, crop: np.ndarray) -> Placed:
    crop_wh, view_wh = (crop.shape[1], crop.shape[0]), (picture.shape[1], picture.shape[0])
    return Placed(crop, picture, homography, crop_wh, view_wh)


def test_a_moved_crop_comes_to_lie_on_its_view(picture: np.ndarray) -> None:
    canvas = np.full((200, 220, 3), 128, np.uint8)
    canvas[30 : 30 + picture.shape[0], 50 : 50 + picture.shape[1]] = picture
    shift = np.array([[1, 0, 50], [0, 1, 30], [0, 0, 1.0]])
    overlay = overlay_of(picture, shift, canvas)
    assert overlay.inside.all()
    assert np.abs(overlay.view.astype(int) - overlay.crop).mean() < 12


def test_what_lies_beyond_the_crop_is_black_and_marked(picture: np.ndarray) -> None:
    left_half = picture[:, : picture.shape[1] // 2]
    overlay = overlay_of(picture, np.eye(3), left_half)
    assert overlay.inside[:, : SIDE_PX // 2 - 1].all()
    assert not overlay.inside[:, SIDE_PX // 2 + 1 :].any()
    assert not overlay.crop[~overlay.inside].any()


def test_a_near_twin_lies_beside_its_view_and_is_black_where_it_is_not(picture: np.ndarray) -> None:
    left_half = np.ascontiguousarray(picture[:, : picture.shape[1] // 2])
    laid = placed(picture, np.eye(3), left_half).lay_to_measure()
    near_twin = NearTwin(ItemId("twin"), laid, np.full((4, 4), 255, np.uint8), 0.5, 0.5)
    overlay = lay_over(placed(picture, np.eye(3), picture), near_twin, SIDE_PX)
    assert overlay.inside.all()
    assert overlay.twin_inside[:, : SIDE_PX // 2 - 2].all()
    assert not overlay.twin_inside[:, SIDE_PX // 2 + 2 :].any()
    assert not overlay.twin[~overlay.twin_inside].any()
    left = slice(None), slice(0, SIDE_PX // 2 - 2)
    assert np.abs(overlay.twin[left].astype(int) - overlay.view[left]).mean() < 12


def test_without_a_near_twin_the_network_is_shown_none(picture: np.ndarray) -> None:
    overlay = overlay_of(picture, np.eye(3), picture)
    assert not overlay.twin.any() and not overlay.twin_inside.any()


def test_each_pair_has_its_answer_whatever_the_batch(picture: np.ndarray) -> None:
    same = overlay_of(picture, np.eye(3), picture)
    other = overlay_of(picture, np.eye(3), np.ascontiguousarray(picture[::-1]))
    engine = DifferenceEngine()
    answers = Comparer(engine, SIDE_PX, batch=2).tell_sameness([same, other, same, other, other])
    assert answers.tolist() == [MOST, -2.0, MOST, -2.0, -2.0]
    assert engine.batches == [2, 2, 1]
    assert Comparer(engine, SIDE_PX, batch=2).tell_sameness([]).shape == (0,)
