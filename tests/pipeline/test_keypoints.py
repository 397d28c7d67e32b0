"""Keypoints: pixels, order, and pictures in which there is nothing to find."""

import cv2
import numpy as np
import pytest

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from pipeline.keypoints import KeypointExtractor, to_rootsift
from pipeline.options import VerifyOptions

OPTIONS = VerifyOptions()


def pack(seed: int = 1, size_wh: tuple[int, int] = (210, 310)) -> np.ndarray:
    return render_pack(DEMO_SEED_START + seed, size_wh)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.full((3, 200, 3), 90, np.uint8),
        np.full((120, 90, 3), 128, np.uint8),
        np.full((120, 90), 128, np.uint8),
    ],
)
def test_empty_tiny_and_flat_pictures_have_no_keypoints(picture: np.ndarray) -> None:
    found = KeypointExtractor(OPTIONS).extract(picture)
    assert len(found) == 0
    assert found.xy_scale_ori.shape == (0, 4) and found.descriptors.shape == (0, 128)
    assert found.image_size_wh == (picture.shape[1], picture.shape[0])


@pytest.mark.parametrize(
    "picture",
    [np.zeros((9, 9, 3), np.float32), np.zeros((9, 9, 4), np.uint8), np.zeros(9, np.uint8)],
)
def test_anything_but_an_8_bit_bgr_or_gray_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture must be"):
        KeypointExtractor(OPTIONS).extract(picture)


def test_a_printed_pack_has_many_keypoints_inside_it() -> None:
    found = KeypointExtractor(OPTIONS).extract(pack())
    assert 100 <= len(found) <= OPTIONS.max_keypoints
    assert found.xy_scale_ori.dtype == found.descriptors.dtype == np.float32
    assert (found.xy_scale_ori[:, :2] >= 0).all()
    assert (found.xy_scale_ori[:, :2] <= (210, 310)).all()
    assert (found.xy_scale_ori[:, 2] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-3)


def test_fewer_keypoints_are_the_strongest_and_the_same_every_time() -> None:
    many = KeypointExtractor(OPTIONS).extract(pack())
    few = KeypointExtractor(VerifyOptions(max_keypoints=40)).extract(pack())
    assert len(few) == 40
    np.testing.assert_array_equal(few.xy_scale_ori, many.xy_scale_ori[:40])
    again = KeypointExtractor(OPTIONS).extract(pack())
    np.testing.assert_array_equal(again.descriptors, many.descriptors)


def test_keypoints_turn_with_their_picture_about_its_centre() -> None:
    """The first pixel's centre is (0.5, 0.5): without it the turned ones are a pixel off."""
    upright = KeypointExtractor(OPTIONS).extract(pack())
    turned = KeypointExtractor(OPTIONS).extract(cv2.rotate(pack(), cv2.ROTATE_90_CLOCKWISE))
    cosine = upright.descriptors @ turned.descriptors.T
    sure = cosine.max(1) > 0.97
    assert sure.sum() > 80
    there = turned.xy_scale_ori[cosine.argmax(1)[sure]]
    here = upright.xy_scale_ori[sure]
    expected = np.stack([310 - here[:, 1], here[:, 0]], 1)
    assert np.abs(np.median(there[:, :2] - expected, axis=0)).max() < 0.05
    turn = np.mod(there[:, 3] - here[:, 3], 2 * np.pi)
    assert np.median(turn) == pytest.approx(np.pi / 2, abs=0.01)  # clockwise on the screen


@pytest.mark.parametrize("size_wh", [(105, 155), (420, 620)])
def test_keypoints_come_back_in_the_pictures_own_pixels(size_wh: tuple[int, int]) -> None:
    whole = KeypointExtractor(OPTIONS).extract(pack())
    resized = cv2.resize(pack(), size_wh, interpolation=cv2.INTER_AREA)
    other = KeypointExtractor(OPTIONS).extract(resized)
    cosine = whole.descriptors @ other.descriptors.T
    sure = cosine.max(1) > 0.95
    assert sure.sum() > 30
    ratio = size_wh[0] / 210
    there, here = other.xy_scale_ori[cosine.argmax(1)[sure]], whole.xy_scale_ori[sure]
    assert np.abs(np.median(there[:, :2] / ratio - here[:, :2], axis=0)).max() < 0.3
    assert np.median(there[:, 2] / ratio / here[:, 2]) == pytest.approx(1, abs=0.1)


def test_padding_keeps_the_strongest_and_fills_with_zeros() -> None:
    found = KeypointExtractor(VerifyOptions(max_keypoints=40)).extract(pack())
    rows, descriptors = found.padded(64)
    assert rows.shape == (64, 4) and descriptors.shape == (64, 128)
    np.testing.assert_array_equal(rows[:40], found.xy_scale_ori)
    assert not rows[40:].any() and not descriptors[40:].any()
    np.testing.assert_array_equal(found.padded(8)[0], found.xy_scale_ori[:8])


def test_rootsift_compares_by_the_hellinger_kernel() -> None:
    histograms = np.random.default_rng(3).integers(0, 200, (5, 128)).astype(np.float32)
    shares = histograms / histograms.sum(1, keepdims=True)
    expected = np.sqrt(shares[0] * shares[1]).sum()
    first, second = to_rootsift(histograms)[:2]
    assert first @ second == pytest.approx(expected, abs=1e-5)
    assert not to_rootsift(np.zeros((1, 128), np.float32)).any()
