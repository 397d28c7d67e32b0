"""Which candidates of a crop are checked, before a catalog with a near-twin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from catalog_tools.build import build_catalog
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack, render_twin
from pipeline.catalog import Catalog
from pipeline.engines import Array
from pipeline.identify.check import Verifier
from pipeline.identify.compare import Comparer
from pipeline.identify.look import Look, verify_looks
from pipeline.identify.shelf import Shelf
from pipeline.options import SearchOptions, VerifyOptions
from pipeline.types import Candidate, Crop, Track
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


class DoubtingEngine:
    """A stand-in for the comparer's network: nothing is the same print."""

    name = "fake"
    device = "cpu"

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        return (np.full(len(arrays[0]), -1.0, np.float32),)


def look_at(
    shelf: Shelf, shown: np.ndarray, *first: str, one_by_one: bool, verifier: Verifier = VERIFIER
) -> Look:
    """The look at a crop for which `first` are to be checked first."""
    box = np.array([0, 0, *WH], np.float32)
    crop = Crop(Track("door", 1, box, 0.9, 0, 5), box, shown)
    items = enumerate(shelf.catalog.items)
    shortlist = [Candidate(item.item_id, number, 0.5) for number, item in items]
    first_checks = [one for name in first for one in shortlist if one.item_id == name]
    look = Look(crop, shelf, first_checks=first_checks, shortlist=shortlist)
    look.embedding = np.zeros(shelf.catalog.embeddings.shape[1], np.float32)
    verify_looks(verifier, [look], one_by_one=one_by_one)
    return look


def checked(shelf: Shelf, shown: np.ndarray, *first: str, one_by_one: bool) -> list[str]:
    return list(look_at(shelf, shown, *first, one_by_one=one_by_one).verifications)


def test_an_item_is_held_against_its_near_twin_and_the_next_candidate(shelf: Shelf) -> None:
    """Whichever comes next: what came instead of a known item may be neither of the two."""
    for one_by_one in (True, False):
        beside_milk = checked(shelf, pack(0), "tea", "milk", one_by_one=one_by_one)
        assert beside_milk == ["tea", "milk", "zz-twin"]
        beside_twin = checked(shelf, pack(0), "tea", "zz-twin", one_by_one=one_by_one)
        assert beside_twin == ["tea", "zz-twin"]
        of_soap = checked(shelf, pack(2), "tea", "milk", one_by_one=one_by_one)
        assert of_soap == ["tea", "milk"], "it is not tea"
    assert checked(shelf, pack(1), "milk", "tea", one_by_one=True) == ["milk"], "proved"


def test_the_near_twin_that_was_checked_confirms_what_the_comparer_doubts(shelf: Shelf) -> None:
    comparer = Comparer(DoubtingEngine(), 32, batch=4)
    doubting = Verifier(None, VerifyOptions(verifier="sift"), comparer=comparer)
    for shown, item_id, is_confirmed in ((pack(0), "tea", True), (pack(1), "milk", False)):
        look = look_at(shelf, shown, item_id, "soap", one_by_one=True, verifier=doubting)
        best = look.judgements[0]
        assert best.candidate.item_id == item_id and best.is_verified
        assert best.is_confirmed is is_confirmed
