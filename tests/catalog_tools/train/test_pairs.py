"""Pairs with known geometry: the truth they carry is the truth of their pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.train.pair_batches import collate, sample_batch, turn_quarters
from catalog_tools.train.pairs import (
    IGNORED,
    UNMATCHED,
    Draw,
    Drawer,
    Pair,
    assign,
    make_pair,
    motion_kernel,
    photograph,
)
from pipeline.errors import ConfigError
from pipeline.geometry import project_points
from pipeline.keypoints import KeypointExtractor, no_keypoints
from pipeline.options import VerifyOptions

EXTRACTOR = KeypointExtractor(VerifyOptions())


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Drawer:
    pool = tmp_path_factory.mktemp("pool")
    (pool / "printed").mkdir()
    for seed in range(4):
        picture = render_pack(DEMO_SEED_START + 900 + seed, (180, 240))
        cv2.imwrite(str(pool / "printed" / f"{seed}.jpg"), picture)
    cut_out = np.dstack([picture, np.full((240, 180), 200, np.uint8)])
    cv2.imwrite(str(pool / "printed" / "cut.png"), cut_out)
    return Drawer(pool, seed=0, pack_share=0.1)


@pytest.fixture(scope="module")
def draw(drawer: Drawer) -> Draw:
    return drawer.at(0)


@pytest.fixture(scope="module")
def pairs(draw: Draw) -> list[Pair]:
    rng = np.random.default_rng(3)
    return [make_pair(rng, draw, EXTRACTOR) for _ in range(12)]


def test_an_empty_pool_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pictures"):
        Drawer(tmp_path, seed=0)


def test_the_same_seed_makes_the_same_pair(draw: Draw) -> None:
    first, second = (make_pair(np.random.default_rng(8), draw, EXTRACTOR) for _ in range(2))
    np.testing.assert_array_equal(first.scene.descriptors, second.scene.descriptors)
    np.testing.assert_array_equal(first.projected_xy, second.projected_xy)


def test_true_partners_look_alike_and_others_do_not(pairs: list[Pair]) -> None:
    """Descriptors are not used to make the truth, so their agreement proves it."""
    alike, unlike = [], []
    for pair in pairs:
        partner0, _ = assign(pair, 256)
        rows = np.flatnonzero(partner0 >= 0)
        cosine = pair.view.descriptors @ pair.scene.descriptors.T
        alike += list(cosine[rows, partner0[rows]])
        unlike += list(np.median(cosine[rows], axis=1)) if len(rows) else []
    assert len(alike) > 100
    assert np.median(alike) > np.median(unlike) + 0.15


def test_partners_are_mutual_near_and_visible(pairs: list[Pair]) -> None:
    for pair in pairs:
        partner0, partner1 = assign(pair, 100)
        assert len(partner0) == min(100, len(pair.view))
        for row in np.flatnonzero(partner0 >= 0):
            column = partner0[row]
            assert partner1[column] == row
            gap = pair.projected_xy[row] - pair.scene.xy_scale_ori[column, :2]
            assert np.linalg.norm(gap) <= 3 and pair.covered[column]
        hidden = np.isnan(pair.projected_xy[:100, 0])
        assert (partner0[hidden] == UNMATCHED).all()
        assert (partner1[~pair.covered[:100]] == UNMATCHED).all()


def test_flat_views_carry_their_homography(pairs: list[Pair]) -> None:
    flat = [pair for pair in pairs if pair.homography is not None]
    assert len(flat) >= 6
    for pair in flat:
        expected = project_points(pair.homography, pair.view.xy_scale_ori[:, :2])
        shown = ~np.isnan(pair.projected_xy[:, 0])
        np.testing.assert_allclose(pair.projected_xy[shown], expected[shown], atol=1e-2)


def test_what_a_near_twin_has_printed_otherwise_has_no_partner(drawer: Drawer) -> None:
    """The same twins with and without their difference: only keypoints on it lose their partner."""
    checked = 0
    for seed in range(4):
        first, second = drawer.draw_twins(np.random.default_rng(seed), 0)
        differs = cv2.absdiff(first, second) > 12
        assert first.shape == second.shape and 0 < differs.mean() < 0.9
        rng = np.random.default_rng(seed)
        pair = make_pair(rng, drawer.at(0), EXTRACTOR, (first, second))
        height, width = pair.view.image_size_wh[::-1]
        small = cv2.resize(differs.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA)
        xy = pair.view.xy_scale_ori[:, :2].astype(int)
        on_it = small[xy[:, 1].clip(0, height - 1), xy[:, 0].clip(0, width - 1)] > 0
        assert np.isnan(pair.projected_xy[on_it, 0]).all()
        checked += int(on_it.sum())
    assert checked > 20


def test_a_pair_without_keypoints_has_no_partners(pairs: list[Pair]) -> None:
    nothing = no_keypoints((50, 50))
    empty = Pair(nothing, pairs[0].scene, np.zeros((0, 2), np.float32), pairs[0].covered, None)
    partner0, partner1 = assign(empty, 256)
    assert len(partner0) == 0
    assert (partner1 == UNMATCHED).all() and len(partner1) == len(pairs[0].scene)


def test_photographs_keep_their_size_and_change_their_pixels() -> None:
    gray = cv2.cvtColor(render_pack(DEMO_SEED_START, (90, 120)), cv2.COLOR_BGR2GRAY)
    for seed in range(8):
        photo = photograph(np.random.default_rng(seed), gray)
        assert photo.shape == gray.shape and photo.dtype == np.uint8
        assert (photo != gray).any()
        assert motion_kernel(np.random.default_rng(seed)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_keypoints_are_those_of_the_turned_picture(quarters: int) -> None:
    picture = render_pack(DEMO_SEED_START + 3, (210, 310))
    turned = turn_quarters(EXTRACTOR.extract(picture), quarters)
    found = EXTRACTOR.extract(np.ascontiguousarray(np.rot90(picture, -quarters)))
    assert turned.image_size_wh == found.image_size_wh
    distance = np.linalg.norm(
        turned.xy_scale_ori[:, None, :2] - found.xy_scale_ori[None, :, :2], axis=2
    )
    assert np.median(distance.min(1)) < 0.1
    turn = turned.xy_scale_ori[:, 3] - found.xy_scale_ori[distance.argmin(1), 3]
    assert np.median(np.abs(np.angle(np.exp(1j * turn)))) < 0.02


def test_batches_pad_and_ignore_what_is_padded(pairs: list[Pair]) -> None:
    short = EXTRACTOR.extract(np.full((60, 60), 90, np.uint8))
    truth = np.array([], np.int64)
    batch = collate([(short, pairs[0].scene, truth, np.full(5, UNMATCHED))], 96)
    assert not batch.inputs[0].any() and batch.inputs[1].any()
    assert (batch.partner0 == IGNORED).all()
    assert (batch.partner1[0, 5:] == IGNORED).all() and (batch.partner1[0, :5] == UNMATCHED).all()


def test_sampled_batches_keep_the_truth_through_their_changes(pairs: list[Pair]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(6):
        batch = sample_batch(pairs, rng, 8)
        rows = torch.nonzero(batch.partner0 >= 0)
        columns = batch.partner0[rows[:, 0], rows[:, 1]]
        assert (batch.partner1[rows[:, 0], columns] == rows[:, 1]).all()
        first = batch.inputs[2][rows[:, 0], rows[:, 1]]
        second = batch.inputs[3][rows[:, 0], columns]
        assert (first * second).sum(1).median() > 0.7
