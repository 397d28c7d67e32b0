"""Near-twins of a catalog show where its pictures are their own, and agreement there is told."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack, render_twin
from pipeline.engines import Array
from pipeline.identify.agreement import NearTwin, Picture
from pipeline.identify.check import Checker
from pipeline.identify.compare import Comparer
from pipeline.identify.family import MAP_PX, find_near_twin
from pipeline.identify.tuning import TWIN_AGREEMENT, TWIN_INLIERS
from pipeline.options import VerifyOptions
from pipeline.types import ItemId, Keypoints
from tests.pipeline.checking import verify

WH = (240, 320)
SEEDS = [DEMO_SEED_START + i for i in (1, 2, 3, 4, 5, 6)]
CHECKER = Checker(None, VerifyOptions(verifier="sift"))


def pack(seed: int, twin: int = 0) -> np.ndarray:
    return render_twin(seed, twin, WH) if twin else render_pack(seed, WH)


def near_twin(view: Picture, *others: Picture) -> NearTwin | None:
    return find_near_twin(view, [(ItemId(f"other-{i}"), p) for i, p in enumerate(others)])


def photo(image: np.ndarray) -> np.ndarray:
    """A darker, blurred shot, turned by ten degrees."""
    turn = cv2.getRotationMatrix2D((WH[0] / 2, WH[1] / 2), 10, 0.8)
    shot = cv2.warpAffine(cv2.GaussianBlur(image, (0, 0), 1.2), turn, WH, borderValue=(80, 90, 99))
    return (shot * 0.8).astype(np.uint8)


def test_the_difference_is_where_a_near_twin_differs() -> None:
    for seed in SEEDS:
        view, twin = CHECKER.prepare(pack(seed)), CHECKER.prepare(pack(seed, 1))
        found = near_twin(view, twin)
        assert found is not None and found.difference.shape == (MAP_PX, MAP_PX)
        changed = np.abs(view.image_bgr.astype(int) - twin.image_bgr).max(axis=2)
        changed = cv2.resize(changed.astype(np.float32), (MAP_PX, MAP_PX), None, 0, 0, 3) > 20
        near = cv2.dilate(changed.astype(np.uint8), np.ones((9, 9))) > 0
        assert found.difference[changed].mean() > 3 * found.difference[~near].mean()


def test_other_packs_and_the_same_picture_tell_nothing() -> None:
    view = CHECKER.prepare(pack(SEEDS[0]))
    strangers = [CHECKER.prepare(pack(seed)) for seed in SEEDS[1:]]
    blank = CHECKER.prepare(np.full((80, 60, 3), 128, np.uint8))
    assert near_twin(view, *strangers) is None
    assert near_twin(view, view, blank) is None
    assert near_twin(blank, view) is None
    assert near_twin(view) is None


def test_of_several_near_twins_the_most_alike_counts() -> None:
    view = CHECKER.prepare(pack(SEEDS[1]))
    twins = [CHECKER.prepare(pack(SEEDS[1], number)) for number in (1, 2)]
    both, first, second = (near_twin(view, *some) for some in (twins, twins[:1], twins[1:]))
    assert first is not None and second is not None
    assert both is not None
    pictures = [found.laid.picture_bgr for found in (both, first, second)]
    assert any(np.array_equal(pictures[0], other) for other in pictures[1:])
    assert not np.array_equal(pictures[1], pictures[2])
    assert both.distance == min(first.distance, second.distance)
    assert both.item_id == f"other-{int(second.distance < first.distance)}"


def test_a_photo_held_against_a_near_twin_tells_whose_it_is_and_how_close() -> None:
    view, twin = CHECKER.prepare(pack(SEEDS[0])), CHECKER.prepare(pack(SEEDS[0], 1))
    found = near_twin(view, twin)
    assert found is not None and 0 < found.distance < 0.5
    shot = CHECKER.prepare(photo(pack(SEEDS[0])))
    alone, beside = verify(CHECKER, [(shot, view)] * 2, [None, found])
    assert alone.near_twin_item is alone.near_twin_distance is None
    assert beside.near_twin_item == found.item_id == "other-0"
    assert beside.near_twin_distance == found.distance


@pytest.mark.parametrize("seed", SEEDS)
def test_a_near_twin_agrees_less_once_it_is_known_where_it_differs(seed: int) -> None:
    listed, twin = CHECKER.prepare(pack(seed)), CHECKER.prepare(pack(seed, 1))
    shown = [CHECKER.prepare(photo(pack(seed, number))) for number in (0, 1)]
    pairs = [(crop, listed) for crop in shown]
    right, wrong = verify(CHECKER, pairs)
    right_now, wrong_now = verify(CHECKER, pairs, [near_twin(listed, twin)] * 2)
    assert right_now.agreement > right.agreement - 0.06
    assert right_now.agreement - wrong_now.agreement > right.agreement - wrong.agreement + 0.03


def test_an_unlisted_sibling_agrees_less_by_what_a_listed_one_shows() -> None:
    """Listed: a pack and a near-twin. Shown: another near-twin, which differs in the same place."""
    first, second, third = (with_fruit(color) for color in ((40, 40, 200), (40, 200, 200), 60))
    listed = CHECKER.prepare(first)
    found = near_twin(listed, CHECKER.prepare(second))
    crop = CHECKER.prepare(photo(third))
    before, now = verify(CHECKER, [(crop, listed)] * 2, [None, found])
    assert before.agreement > 0.7 and now.agreement < before.agreement - 0.2


def test_the_comparer_sees_the_near_twin_even_when_that_left_little_agreement() -> None:
    """Few inliers and, without the near-twin, enough agreement to look for one."""
    listed, sibling = (CHECKER.prepare(pack(SEEDS[0], number)) for number in (0, 2))
    found = near_twin(listed, sibling)
    few = fewer_keypoints(listed, TWIN_INLIERS - 1)
    engine = TwinWatch()
    comparer = Comparer(engine, 32, batch=1)
    before, now = verify(CHECKER, [(sibling, few)] * 2, [None, found], comparer)
    assert 0 < now.inliers < TWIN_INLIERS
    assert before.agreement >= TWIN_AGREEMENT > now.agreement
    assert engine.has_twin == [False, True]


def test_what_a_partial_sibling_does_not_show_counts_as_the_views_own() -> None:
    """The sibling is photographed without its lower third."""
    view = CHECKER.prepare(pack(SEEDS[0]))
    upper = CHECKER.prepare(pack(SEEDS[0], 1)[: int(WH[1] * 0.65)])
    found = near_twin(view, upper)
    assert found is not None
    assert found.difference[-MAP_PX // 4 :].min() > 200
    assert not found.laid.inside[-10:].any()


class TwinWatch:
    """A stand-in for the comparer's network: notes whether it is shown a near-twin."""

    name = "fake"
    device = "cpu"

    def __init__(self) -> None:
        self.has_twin: list[bool] = []

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        self.has_twin += [bool(mask.any()) for mask in arrays[4]]
        return (np.zeros(len(arrays[0]), np.float32),)


def fewer_keypoints(picture: Picture, count: int) -> Picture:
    """The picture with so many of its keypoints, all over it."""
    known = picture.keypoints
    rows = np.linspace(0, len(known) - 1, count).astype(int)
    kept = Keypoints(known.xy_scale_ori[rows], known.descriptors[rows], known.image_size_wh)
    return replace(picture, keypoints=kept)


def with_fruit(color: tuple[int, int, int] | int) -> np.ndarray:
    """A pack with a circle of this colour, or with a square of this grey, in its middle."""
    picture = pack(SEEDS[0])
    if isinstance(color, int):
        cv2.rectangle(picture, (90, 130), (150, 190), (color,) * 3, -1)
    else:
        cv2.circle(picture, (120, 160), 35, color, -1)
    return picture
