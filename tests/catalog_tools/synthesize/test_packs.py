"""Packs come from their seed alone, and twins differ in one thing."""

import cv2
import numpy as np
import pytest

from catalog_tools.synthesize.packs import (
    DEMO_SEED_START,
    design_pack,
    natural_size_wh,
    render_pack,
    render_twin,
)
from catalog_tools.train.pack_bank import HELD_OUT_SEED_START, SHELVES, PackBank, to_rgb_batch


def test_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    first = render_pack(DEMO_SEED_START, (120, 160))
    assert first.shape == (160, 120, 3) and first.dtype == np.uint8
    assert np.array_equal(first, render_pack(DEMO_SEED_START, (120, 160)))
    assert not np.array_equal(first, render_pack(DEMO_SEED_START + 1, (120, 160)))


def test_a_pack_looks_the_same_at_every_size() -> None:
    large = render_pack(DEMO_SEED_START + 2, (300, 400))
    small = render_pack(DEMO_SEED_START + 2, (150, 200))
    shrunk = cv2.resize(large, (150, 200), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small).mean() < 12


def test_twins_keep_the_layout_and_change_word_or_colour() -> None:
    seed = DEMO_SEED_START + 3
    own, word, colour = (design_pack(seed, twin) for twin in range(3))
    assert word.flavour != own.flavour and word.accent == own.accent
    assert colour.flavour == own.flavour and colour.accent != own.accent
    pack, twin = render_pack(seed, (150, 200)), render_twin(seed, 1, (150, 200))
    changed = (np.abs(pack.astype(int) - twin).max(2) > 25).mean()
    assert 0 < changed < 0.25


def test_twin_numbers_start_at_one() -> None:
    with pytest.raises(ValueError, match="start at 1, got 0"):
        render_twin(DEMO_SEED_START, 0)


def test_packs_are_rich_enough_for_keypoints() -> None:
    sift = cv2.SIFT_create()
    for seed in range(DEMO_SEED_START, DEMO_SEED_START + 12):
        image = render_pack(seed, natural_size_wh(seed, 300))
        assert len(sift.detect(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))) >= 100, seed


def test_natural_size_keeps_the_long_side() -> None:
    sizes = [natural_size_wh(seed, 200) for seed in range(DEMO_SEED_START, DEMO_SEED_START + 30)]
    assert all(max(size) == 200 and min(size) >= 100 for size in sizes)
    assert len(set(sizes)) > 10


def test_bank_draws_training_seeds_only_and_forgets_the_oldest() -> None:
    bank = PackBank(seed=5, capacity=3 * SHELVES, first=3, side_px=32, twins=1)
    rng = np.random.default_rng(0)
    before, after = ({seed for seed, _ in bank.draw(rng, step, 9)} for step in (0, SHELVES))
    assert len(before) == 3 and len(before & after) == 2
    assert max(before | after) < HELD_OUT_SEED_START < DEMO_SEED_START
    other = {seed for seed, _ in bank.draw(rng, 1, 9)}
    assert not other & before, "the next step draws from a shelf of its own"


def test_bank_draws_the_same_for_a_step_whatever_was_drawn_before() -> None:
    used, fresh = (PackBank(5, 64, first=4, side_px=32, twins=0) for _ in range(2))
    for step in range(20):
        drawn = used.draw(np.random.default_rng(step), step, 2)
    again = fresh.draw(np.random.default_rng(19), 19, 2)
    assert [seed for seed, _ in drawn] == [seed for seed, _ in again]
    assert np.array_equal(drawn[0][1][0], again[0][1][0])


def test_rgb_batch_swaps_channels_and_axes() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0] = 7  # blue
    batch = to_rgb_batch([image])
    assert batch.shape == (1, 3, 2, 3)
    assert batch[0, 2].min() == 7 and batch[0, :2].max() == 0
