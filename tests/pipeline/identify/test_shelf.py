"""A shelf reads a view's near-twin from the catalog and keeps the last ones."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import pipeline.identify.shelf
from catalog_tools.near_twins import write_near_twins
from catalog_tools.synthesize.packs import render_pack, render_twin
from pipeline.catalog import Catalog, Item, Recipe, StoredPicture, write_generation
from pipeline.catalog_format import Manifest, PictureRecord
from pipeline.identify.shelf import Shelf
from pipeline.keypoints import KeypointExtractor
from pipeline.options import SearchOptions, VerifyOptions
from pipeline.types import ItemId

EXTRACTOR = KeypointExtractor(VerifyOptions())
WH = (240, 320)


def stored(item: int, image_bgr: np.ndarray) -> StoredPicture:
    jpeg = cv2.imencode(".jpg", image_bgr)[1].tobytes()
    record = PictureRecord(image=str(item), sha256="0" * 64, size_wh=(1, 1))
    embedding = np.zeros((1, 8), np.float32)
    embedding[0, 0] = 1.0  # all alike: the keypoints' votes tell
    keypoints = EXTRACTOR.extract(image_bgr)
    return StoredPicture(ItemId(str(item)), record, embedding, lambda: (keypoints, jpeg))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Two packs that are near-twins of each other, and one of another design."""
    pictures = [render_pack(3, WH), render_twin(3, 1, WH), render_pack(9, WH)]
    recipe = Recipe(embedder_sha256="0" * 64, embedder="none", extractor=EXTRACTOR.name)
    items = [Item(ItemId(str(i)), str(i)) for i in range(len(pictures))]
    packs = [stored(i, picture) for i, picture in enumerate(pictures)]
    write_generation(tmp_path, recipe, items, packs, add_files=add_near_twins)
    return Shelf(Catalog.load(tmp_path, None), SearchOptions(k=4))


def add_near_twins(folder: Path, manifest: Manifest) -> None:
    write_near_twins(Catalog.open_folder(folder, folder, manifest), None)


def test_listed_near_twins_are_each_others(shelf: Shelf) -> None:
    first, second, other = (shelf.near_twin(i) for i in range(3))
    assert first is not None and second is not None and other is None
    assert [shelf.has_near_twin(i) for i in range(3)] == [True, True, False]
    assert [shelf.catalog.items[i].item_id for i in (1, 0)] == [first.item_id, second.item_id]
    shown = shelf.view(1).image_bgr.astype(int).mean()
    assert abs(first.laid.picture_bgr[first.laid.inside].mean() - shown) < 12
    assert shelf.near_twin(0) is first, "read once"


def test_only_the_last_near_twins_are_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.identify.shelf, "NEAR_TWINS_KEPT", 1)
    first = shelf.near_twin(0)
    assert first is not None and shelf.near_twin(0) is first
    assert shelf.near_twin(1) is not None
    again = shelf.near_twin(0)
    assert again is not None and again is not first
    assert np.array_equal(again.difference, first.difference)
