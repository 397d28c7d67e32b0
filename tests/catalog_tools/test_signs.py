"""Made signs of one series."""

import numpy as np

from catalog_tools.synthesize.signs import relabelled, render_series


def test_signs_of_a_series_differ_in_a_small_place_and_are_drawn_the_same_every_time() -> None:
    for seed in range(8):
        first, second, third = render_series(seed, 3, 200)
        assert first.shape == second.shape == third.shape and max(first.shape) == 200
        for other in (second, third):
            differs = (np.abs(first.astype(int) - other) > 40).any(axis=2)
            assert 0.001 < differs.mean() < 0.25
        assert np.array_equal(first, render_series(seed, 3, 200)[0])


def test_series_look_different() -> None:
    one, other = render_series(1, 1, 120)[0], render_series(3, 1, 120)[0]
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_things_labelled_alike_differ_within_the_label_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    for seed in range(8):
        first, *others = relabelled(np.random.default_rng(seed), picture, 3)
        labelled = (first != picture).any(axis=2)
        assert 0.005 < labelled.mean() < 0.6
        for other in others:
            differs = (first != other).any(axis=2)
            assert differs.any() and differs.mean() < labelled.mean() + 0.05
            ys, xs = np.nonzero(labelled | (other != picture).any(axis=2))
            inside = differs[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
            assert inside.sum() == differs.sum()
