"""Near-twins of a catalog's pictures: found when it is built, stored, and held against a crop."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.build import (
    BuildReport,
    add_to_catalog,
    build_catalog,
)
from catalog_tools.changes import remove_from_catalog
from catalog_tools.near_twins import compare_pictures
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack, render_twin
from pipeline.catalog import Catalog
from pipeline.catalog_format import MAP_PX
from pipeline.engines import Array
from pipeline.identify.agreement import NearTwin, Picture
from pipeline.identify.check import Checker
from pipeline.identify.compare import Comparer
from pipeline.identify.tuning import TWIN_AGREEMENT, TWIN_INLIERS
from pipeline.options import VerifyOptions
from pipeline.types import ItemId, Keypoints
from tests.fake_networks import make_networks
from tests.pipeline.checking import verify

WH = (240, 320)
SEEDS = [DEMO_SEED_START + i for i in (1, 2, 3, 4, 5, 6)]
CHECKER = Checker(None, VerifyOptions(method="rootsift"))


def pack(seed: int, twin: int = 0) -> np.ndarray:
    return render_twin(seed, twin, WH) if twin else render_pack(seed, WH)


def near_twin(view: Picture, other: Picture, item: str = "other") -> NearTwin | None:
    """What a catalog of two items that show these would list for the view."""
    found = compare_pictures(view, other)
    if found is None or found.is_same:
        return None
    laid = other.place(view, found.homography).lay_to_measure()
    return NearTwin(ItemId(item), laid, found.difference, found.distance, found.apart)


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


def test_other_packs_are_no_near_twins_and_the_same_picture_is_told() -> None:
    view = CHECKER.prepare(pack(SEEDS[0]))
    for seed in SEEDS[1:]:
        assert compare_pictures(view, CHECKER.prepare(pack(seed))) is None
    blank = CHECKER.prepare(np.full((80, 60, 3), 128, np.uint8))
    assert compare_pictures(view, blank) is None and compare_pictures(blank, view) is None
    smaller = cv2.resize(pack(SEEDS[0]), None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    stored = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    same = compare_pictures(view, CHECKER.prepare(cv2.imdecode(stored, cv2.IMREAD_COLOR)))
    assert same is not None and same.is_same


def test_plain_pictures_of_one_shape_are_laid_corner_on_corner() -> None:
    shade = np.linspace(90, 200, 200, dtype=np.uint8)[:, None, None]
    sign = np.broadcast_to(shade, (200, 150, 3)).copy()
    first, second = CHECKER.prepare(sign), CHECKER.prepare(sign[::-1].copy())
    same = CHECKER.prepare(cv2.resize(sign, (300, 400)))
    assert len(first.keypoints) < 15
    alike = compare_pictures(first, same)
    assert alike is not None and alike.is_same
    assert compare_pictures(first, second) is None


def test_another_colour_of_what_is_flat_is_not_the_same_picture() -> None:
    def on_ground(color: tuple[int, int, int]) -> Picture:
        framed = cv2.copyMakeBorder(pack(SEEDS[0]), 80, 80, 80, 80, 0, None, color)
        return CHECKER.prepare(framed)

    found = compare_pictures(on_ground((60, 60, 200)), on_ground((200, 60, 60)))
    assert found is not None and not found.is_same
    again = compare_pictures(on_ground((60, 60, 200)), on_ground((60, 60, 200)))
    assert again is not None and again.is_same


def test_a_photo_held_against_a_near_twin_tells_whose_it_is_and_how_close() -> None:
    view, twin = CHECKER.prepare(pack(SEEDS[0])), CHECKER.prepare(pack(SEEDS[0], 1))
    found = near_twin(view, twin)
    assert found is not None and 0 < found.distance < 0.5
    shot = CHECKER.prepare(photo(pack(SEEDS[0])))
    alone, beside = verify(CHECKER, [(shot, view)] * 2, [None, found])
    assert alone.near_twin_item is alone.near_twin_distance is None
    assert beside.near_twin_item == found.item_id == "other"
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


def build(images: Path, out: Path) -> BuildReport:
    return build_catalog(images, out, make_networks())


def draw_items(images: Path, **pictures: np.ndarray) -> None:
    images.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        assert cv2.imwrite(str(images / f"{name}.png"), picture)


def near_twins_of(directory: Path) -> dict[str, str]:
    """The near-twin of each item that has one."""
    catalog = Catalog.load(directory, None)
    names = [item.item_id for item in catalog.items]
    rows = catalog.near_twins()
    return {names[i]: names[int(row["item"])] for i, row in enumerate(rows) if row["item"] >= 0}


def test_a_build_stores_near_twins_and_names_items_with_the_same_picture(tmp_path: Path) -> None:
    large, small = pack(SEEDS[0]), cv2.resize(pack(SEEDS[0]), (180, 240), None, 0, 0, 3)
    draw_items(tmp_path / "images", a_large=large, b_small=small, other=pack(SEEDS[2]))
    draw_items(tmp_path / "images", tea=pack(SEEDS[1]), tea_twin=pack(SEEDS[1], 1))
    report = build(tmp_path / "images", tmp_path / "catalog")
    assert [(p.item_id, p.other_id) for p in report.same_pictures] == [("a_large", "b_small")]
    assert near_twins_of(tmp_path / "catalog") == {"tea": "tea_twin", "tea_twin": "tea"}
    catalog = Catalog.load(tmp_path / "catalog", None)
    assert catalog.near_twins()["same_as"].tolist() == [0, 0, 2, 3, 4]


def test_changes_keep_near_twins_that_are_there_and_find_those_of_what_is_new(
    tmp_path: Path,
) -> None:
    """Added: a near-twin of a listed item. Removed: that one, and an item that comes before it."""
    draw_items(tmp_path / "images", milk=pack(SEEDS[0]), soap=pack(SEEDS[2]), tea=pack(SEEDS[1]))
    draw_items(tmp_path / "images", milk_twin=pack(SEEDS[0], 1))
    build(tmp_path / "images", tmp_path / "catalog")
    milks = {"milk": "milk_twin", "milk_twin": "milk"}
    assert near_twins_of(tmp_path / "catalog") == milks
    draw_items(tmp_path / "new", another=pack(SEEDS[1], 1), same_tea=pack(SEEDS[1]))
    report = add_to_catalog(tmp_path / "catalog", tmp_path / "new", make_networks())
    assert [(p.item_id, p.other_id) for p in report.same_pictures] == [("same_tea", "tea")]
    added = near_twins_of(tmp_path / "catalog")
    assert added.items() >= (milks | {"tea": "another"}).items()
    assert added["another"] in ("tea", "same_tea")
    remove_from_catalog(tmp_path / "catalog", ["another", "milk", "same_tea"])
    assert near_twins_of(tmp_path / "catalog") == {}
