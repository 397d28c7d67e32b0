"""Which candidates of a crop are checked, before a catalog with a near-twin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from catalog_tools.build import build_catalog
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack, render_twin
from pipeline.catalog import Catalog
from pipeline.look import Look, verify_looks
from pipeline.options import SearchOptions, VerifyOptions
from pipeline.shelf import Shelf
from pipeline.types import Candidate, Crop, Track
from pipeline.verify import Verifier
from tests.fake_networks import make_networks

WH = (220, 300)
VERIFIER = Verifier(None, VerifyOptions(verifier="sift"))


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


def pack(number: int) -> np.ndarray:
    return render_pack(DEMO_SEED_START + number, WH)


def checked(shelf: Shelf, shown: np.ndarray, *first: str, one_by_one: bool) -> list[str]:
    """The items that a crop is checked against when `first` are to be the first."""
    box = np.array([0, 0, *WH], np.float32)
    crop = Crop(Track("door", 1, box, 0.9, 0, 5), box, shown)
    items = enumerate(shelf.catalog.items)
    shortlist = [Candidate(item.item_id, number, 0.5) for number, item in items]
    first_checks = [one for name in first for one in shortlist if one.item_id == name]
    look = Look(crop, shelf, first_checks=first_checks, shortlist=shortlist)
    look.embedding = np.zeros(shelf.catalog.embeddings.shape[1], np.float32)
    verify_looks(VERIFIER, [look], one_by_one=one_by_one)
    return [str(item_id) for item_id in look.verifications]


def test_beside_an_item_its_listed_near_twin_is_checked_and_not_the_next_nearest(
    shelf: Shelf,
) -> None:
    assert checked(shelf, pack(0), "tea", "milk", one_by_one=True) == ["tea", "zz-twin"]
    assert checked(shelf, pack(1), "milk", "tea", one_by_one=True) == ["milk"], "it has none"
    assert checked(shelf, pack(2), "tea", "milk", one_by_one=True) == ["tea", "milk"], "not tea"


def test_a_pictures_likeliest_item_is_held_against_its_near_twin_after_all_others(
    shelf: Shelf,
) -> None:
    found = checked(shelf, pack(0), "tea", "milk", one_by_one=False)
    assert found == ["tea", "milk", "zz-twin"]
    assert checked(shelf, pack(1), "milk", "tea", one_by_one=False) == ["milk", "tea"]
