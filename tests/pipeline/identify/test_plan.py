"""Which proposals of a look are checked, and when it is enough."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from catalog_tools.build import build_catalog
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack, render_twin
from pipeline.catalog import Catalog
from pipeline.identify import Stages, identify
from pipeline.identify.check import Checker
from pipeline.identify.compare import Comparer
from pipeline.identify.plan import plan
from pipeline.identify.shelf import Shelf
from pipeline.identify.tuning import CAMERA, PICTURE, Budget, Region
from pipeline.identify.types import Judged, Look, Proposed
from pipeline.identify.weigh import weigh
from pipeline.options import SearchOptions, VerifyOptions
from pipeline.timing import StageTimer
from pipeline.types import Crop, ItemId, Proposal, Track, Verification
from tests.fake_networks import colors_embedder, make_networks

WH = (220, 300)
CHECKER = Checker(None, VerifyOptions(method="rootsift"))
NO_NETWORK = Comparer(None)
NOT_IT = Verification(0, 5, None, None, 0.0, 0.0, 0.0)
PATIENT: Budget = {Region.TRACK: PICTURE[Region.ASIDE]}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Of a pack, its near-twin and two others, named so that their order says nothing."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "images").mkdir()
    pictures = {"tea": pack(0), "zz-twin": render_twin(DEMO_SEED_START, 1, WH)}
    for name, picture in (pictures | {"milk": pack(1), "soap": pack(2)}).items():
        cv2.imwrite(str(folder / "images" / f"{name}.png"), picture)
    build_catalog(folder / "images", folder / "catalog", make_networks())
    return Shelf(Catalog.load(folder / "catalog", None), SearchOptions(k=4))


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Of ten packs."""
    folder = tmp_path_factory.mktemp("ten")
    (folder / "images").mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / "images" / f"{number}.png"), pack(number))
    build_catalog(folder / "images", folder / "catalog", make_networks())
    return Shelf(Catalog.load(folder / "catalog", None), SearchOptions(k=10))


def pack(number: int) -> np.ndarray:
    return render_pack(DEMO_SEED_START + number, WH)


def propose(shelf: Shelf, shown: np.ndarray, *first: str) -> Proposed:
    """A look at a crop for which `first` are proposed before the others."""
    box = np.array([0, 0, *WH], np.float32)
    crop = Crop(Track("door", 1, box, 0.9, 0, 5), box, shown)
    of_item = {item.item_id: i for i, item in enumerate(shelf.catalog.items)}
    names = [*first, *(name for name in of_item if name not in first)]
    ranked = tuple(Proposal(ItemId(name), of_item[ItemId(name)], 0.5) for name in names)
    embedding = np.zeros(shelf.catalog.embeddings.shape[1], np.float32)
    return Proposed(Look(crop, shelf), CHECKER.prepare(shown), embedding, ranked, ranked)


def walk(one: Proposed, budget: Budget, comparer: Comparer = NO_NETWORK) -> Judged:
    """What is known in the end."""
    judged = weigh([one])
    while checks := plan([one], judged, budget):
        judged = weigh([one], judged, checks, comparer.compare(CHECKER.check(checks)))
    return judged[0]


def checked(shelf: Shelf, shown: np.ndarray, *first: str, budget: Budget) -> list[str]:
    return list(walk(propose(shelf, shown, *first), budget).found)


def test_an_item_is_held_against_its_near_twin_and_the_next_proposal(shelf: Shelf) -> None:
    """Whichever comes next: what came instead of a known item may be neither of the two."""
    for budget in (CAMERA, PATIENT):
        beside_milk = checked(shelf, pack(0), "tea", "milk", budget=budget)
        assert beside_milk == ["tea", "milk", "zz-twin"]
        beside_twin = checked(shelf, pack(0), "tea", "zz-twin", budget=budget)
        assert beside_twin == ["tea", "zz-twin"]
        of_soap = checked(shelf, pack(2), "tea", "milk", budget=budget)
        assert of_soap == ["tea", "milk"], "it is not tea"
    assert checked(shelf, pack(1), "milk", "tea", budget=CAMERA) == ["milk"], "proved"


def first_of(one: Proposed, n_looks: int = 0, believed: Proposal | None = None) -> list[str]:
    """The items that are checked of a track where the first of them proves nothing."""
    one = replace(one, look=replace(one.look, n_looks=n_looks, believed=believed))
    judged = weigh([one])
    names = []
    while checks := plan([one], judged, CAMERA):
        names += [check.proposal.item_id for check in checks]
        judged = weigh([one], judged, checks, [NOT_IT] * len(checks))
    return names


def test_looks_at_an_unknown_object_go_through_all_that_is_proposed(shelf: Shelf) -> None:
    one = propose(shelf, pack(9))
    names = [proposal.item_id for proposal in one.ranked]
    first = [first_of(one, n) for n in range(8)]
    assert first[0] == first[2] == names[:2]
    assert all(some[0] == names[0] and len(some) == 2 for some in first)
    assert {name for some in first for name in some} == set(names)
    alone = replace(one, ranked=one.ranked[:1])
    assert first_of(alone, 1) == names[:1]


def test_what_is_believed_is_checked_first_beside_the_nearest_other(shelf: Shelf) -> None:
    one = propose(shelf, pack(9))
    nearest, second, *_ = one.ranked
    assert first_of(one, believed=second) == [second.item_id, nearest.item_id]
    assert first_of(one, believed=nearest) == [nearest.item_id]


@pytest.mark.parametrize(
    ("log_odds", "n_further"), [(-2.0, 6), (1.0, 3), (5.0, 0)], ids=["none", "likely", "proved"]
)
def test_a_pictures_middle_is_checked_against_the_rest_until_something_is_likely_or_proved(
    ten: Shelf, log_odds: float, n_further: int
) -> None:
    one = propose(ten, pack(20))
    ranked = one.ranked
    one = replace(one, look=replace(one.look, region=Region.MIDDLE))
    before = weigh([one])
    checks = plan([one], before, PICTURE)
    assert [check.proposal for check in checks] == list(ranked[:4])
    (known,) = weigh([one], before, checks, [NOT_IT] * 4)
    best, *rest = known.judgements
    known = replace(known, judgements=(replace(best, lead_log_odds=log_odds), *rest))
    further = [check.proposal for check in plan([one], [known], PICTURE)]
    assert further == list(ranked[4:][:n_further])


def test_regions_that_hold_a_pictures_middle_wait_and_speak_of_the_same_items(shelf: Shelf) -> None:
    def region(kind: Region, *first: str) -> Proposed:
        one = propose(shelf, pack(0), *first)
        return replace(one, look=replace(one.look, region=kind))

    regions = [region(Region.MIDDLE), region(Region.WHOLE, "soap"), region(Region.ASIDE, "milk")]
    judged = weigh(regions)
    rounds = []
    while checks := plan(regions, judged, PICTURE):
        rounds.append([(check.look, check.proposal.item_id) for check in checks])
        judged = weigh(regions, judged, checks, NO_NETWORK.compare(CHECKER.check(checks)))
    assert {number for number, _ in rounds[0]} == {0, 2}
    likeliest = [judgement.proposal.item_id for judgement in judged[0].judgements[:2]]
    assert [item for some in rounds for number, item in some if number == 1][:2] == likeliest
    assert next(item for number, item in rounds[0] if number == 2) == "milk"


def test_of_items_with_the_same_picture_one_is_checked(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = propose(shelf, pack(9), "milk", "tea", "soap")
    monkeypatch.setattr(Shelf, "same_picture", lambda self, view_index: min(view_index, 1))
    known = walk(one, {Region.TRACK: PICTURE[Region.MIDDLE]})
    of_item = {item.item_id: i for i, item in enumerate(shelf.catalog.items)}
    assert [of_item[name] for name in ("milk", "soap", "tea")] == [0, 1, 2]
    assert set(known.found) == set(of_item), "the others have what was found of it"
    assert known.found[ItemId("tea")] is known.found[ItemId("soap")]
    assert known.found[ItemId("milk")] is not known.found[ItemId("tea")]


def test_regions_that_the_budget_leaves_out_are_described_only(shelf: Shelf) -> None:
    looks = [propose(shelf, pack(0)).look, replace(propose(shelf, pack(1)).look, picture=1)]
    looks = [
        replace(look, region=r) for look, r in zip(looks, (Region.WHOLE, Region.INNER), strict=True)
    ]
    stages = Stages(colors_embedder(), CHECKER, NO_NETWORK)
    found = identify(looks, stages, PICTURE, StageTimer())
    assert [one.look.region for one, _ in found] == [Region.WHOLE]
