"""What the comparer learns from: pairs that show the same, and pairs that must not pass for it."""

from pathlib import Path

import numpy as np
import pytest

from catalog_tools.train import comparer_batches
from catalog_tools.train.comparer_batches import ComparerBatches
from catalog_tools.train.options import ComparerOptions
from tests.catalog_tools.drawn_pictures import draw

SIDE_PX = 64


@pytest.fixture
def batches(tmp_path: Path) -> ComparerBatches:
    """Batches of packs and drawn pictures."""
    for number in range(60):
        draw(tmp_path / "pool" / "drawn" / f"{number}.png", number)
    options = ComparerOptions(pool=tmp_path / "pool", out=tmp_path, minutes=1, batch=48)
    return ComparerBatches(options, SIDE_PX)


def test_a_batch_is_a_function_of_its_step(batches: ComparerBatches) -> None:
    first, again, other = batches.make(3), batches.make(3), batches.make(4)
    assert np.array_equal(first.crops, again.crops) and np.array_equal(first.same, again.same)
    assert not np.array_equal(first.crops, other.crops)


def test_pictures_are_aligned_squares_and_black_outside(batches: ComparerBatches) -> None:
    pairs = batches.make(0)
    assert pairs.views.shape == pairs.crops.shape == (48, 3, SIDE_PX, SIDE_PX)
    assert pairs.inside.shape == (48, 1, SIDE_PX, SIDE_PX)
    assert not (pairs.crops * (1 - pairs.inside)).any()
    assert 0 < pairs.inside.mean() < 1, "some photos end within the view"


def test_most_views_have_a_near_twin_that_is_more_like_them_than_another_thing(
    batches: ComparerBatches,
) -> None:
    pairs = batches.make(2)
    assert not (pairs.twins * (1 - pairs.twin_inside)).any()
    has_twin = pairs.twin_inside.any((1, 2, 3))
    assert 0.4 < has_twin.mean() < 0.9
    assert not pairs.twins[~has_twin].any()
    another = np.roll(pairs.views, 1, axis=0)
    apart = [
        (np.abs(pairs.views.astype(np.float32) - other) * pairs.twin_inside).mean((1, 2, 3))
        for other in (pairs.twins, another)
    ]
    assert np.mean(apart[0][has_twin] < apart[1][has_twin]) > 0.8


def test_same_things_look_more_alike_than_others_and_both_are_common(
    batches: ComparerBatches,
) -> None:
    pairs = batches.make(1)
    same = pairs.same > 0.5
    assert 0.25 < same.mean() < 0.75
    apart = np.abs(pairs.views.astype(np.float32) - pairs.crops)
    mean = (apart * pairs.inside).sum((1, 2, 3)) / (3 * pairs.inside.sum((1, 2, 3)))
    assert np.median(mean[same]) < np.median(mean[~same])


def test_what_differs_in_a_character_must_not_pass_for_the_same(
    batches: ComparerBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs of a series alone. Result: both kinds, and others differ in a part, not as a whole."""
    monkeypatch.setattr(comparer_batches, "SERIES_SHARE", 1.0)
    monkeypatch.setattr(comparer_batches, "BOX_SHARE", 0.0)
    pairs = batches.make(5)
    same = pairs.same > 0.5
    assert 0.25 < same.mean() < 0.75
    has_twin = pairs.twin_inside.any((1, 2, 3))
    apart = np.abs(pairs.views.astype(np.float32) - pairs.twins).mean(1)[has_twin]
    seen = pairs.twin_inside[has_twin, 0] > 0
    shares = [float((a[s] > 60).mean()) for a, s in zip(apart, seen, strict=True)]
    assert 0 < np.median(shares) < 0.25


def test_a_check_shows_what_no_batch_shows(batches: ComparerBatches) -> None:
    check, again = batches.make_check(12), batches.make_check(12)
    assert np.array_equal(check.views, again.views)
    assert batches.make_check(2).same.tolist() == [1.0, 0.0], "the smallest has both kinds"
    seen = {view.tobytes() for step in range(3) for view in batches.make(step).views}
    assert not seen & {view.tobytes() for view in check.views}
