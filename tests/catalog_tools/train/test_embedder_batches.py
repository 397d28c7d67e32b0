"""The embedder's batches: the same for the same step, with catalogs, twins and positives."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.build import build_catalog
from catalog_tools.catalog_pictures import read_items
from catalog_tools.synthesize.views import recolour
from catalog_tools.train.batches_ahead import made_ahead
from catalog_tools.train.embedder_batches import EmbedderBatches
from catalog_tools.train.options import EmbedderOptions
from pipeline.errors import MagpieError
from tests.fake_networks import make_networks


class FixedClock:
    """A training that has come so far and no further."""

    def __init__(self, progress: float) -> None:
        self._progress = progress

    def progress(self) -> float:
        return self._progress


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Four items, the last one with two views; a broken picture beside them."""
    rng = np.random.default_rng(0)
    for item in range(4):
        for view in range(2 if item == 3 else 1):
            path = tmp_path / "items" / f"item{item}" / f"{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (96, 72))
            cv2.imwrite(str(path), noise)
    (tmp_path / "items" / "item0" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "items"


def make_batches(tmp_path: Path, progress: float = 0.0, **given: object) -> EmbedderBatches:
    options = EmbedderOptions(out=tmp_path, minutes=1, batch=8, **given)
    return EmbedderBatches(options, 64, FixedClock(progress))


def test_a_step_has_its_batch_whatever_was_made_before(catalog: Path, tmp_path: Path) -> None:
    batches = make_batches(tmp_path, catalog=catalog)
    for step in (0, 1, 9):  # 1 and 9 draw packs from the same shelf
        images, labels = batches.make(step)
    resumed = make_batches(tmp_path, catalog=catalog).make(9)
    np.testing.assert_array_equal(images, resumed[0])
    np.testing.assert_array_equal(labels, resumed[1])
    other = make_batches(tmp_path, catalog=catalog, seed=1).make(9)
    assert not np.array_equal(images, other[0])


@pytest.mark.slow
def test_processes_make_the_batches_that_a_thread_makes(catalog: Path, tmp_path: Path) -> None:
    batches = make_batches(tmp_path, catalog=catalog)
    made = made_ahead(batches.make, 5, workers=2)
    for step in (5, 6, 7):
        images, labels = next(made)
        expected = batches.make(step)
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(labels, expected[1])
    made.close()


def test_half_of_a_batch_are_the_catalogs_items(catalog: Path, tmp_path: Path) -> None:
    images, labels = make_batches(tmp_path, catalog=catalog, progress=1.0).make(0)
    assert images.shape == (16, 3, 64, 64) and images.dtype == np.uint8
    np.testing.assert_array_equal(labels[:8], labels[8:])
    items = labels[:8][labels[:8] < 4]
    assert 2 <= len(items) <= 4
    assert len(np.unique(labels[:8])) >= 6, "what is no item has a label of its own"


def test_the_real_pictures_of_a_batch_are_of_two_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        path = tmp_path / "pool" / f"source{number % 6}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (40, 40, 3)).astype(np.uint8))
    batches = make_batches(tmp_path, pool=tmp_path / "pool")
    read: list[str] = []
    found = type(batches.pool).read
    monkeypatch.setattr(
        type(batches.pool), "read", lambda pool, name: read.append(name) or found(pool, name)
    )
    kinds = set()
    for step in range(8):
        read.clear()
        _, labels = batches.make(step)
        assert len(np.unique(labels)) == 8 and len(read) == len(set(read)) >= 3
        assert len({name.split("/")[0] for name in read}) <= 2
        assert not batches.held_out & set(read)
        kinds |= {name.split("/")[0] for name in read}
    assert len(kinds) >= 5


def test_photos_are_drawn_from_real_places_and_boxes(tmp_path: Path) -> None:
    shades = {"boofcv": 10, "grocery_fruitveg": 60, "magento": 200}
    for source, shade in shades.items():
        (tmp_path / "pool" / source).mkdir(parents=True)
        for number in range(9):
            picture = np.full((20, 20, 3), shade, np.uint8)
            cv2.imwrite(str(tmp_path / "pool" / source / f"{number}.png"), picture)
    photos = make_batches(tmp_path, pool=tmp_path / "pool").photos(8)
    assert sorted(int(p[0, 0, 0]) for p in photos) == [10] * 4 + [60] * 4
    for source in ("boofcv", "grocery_fruitveg"):
        shutil.rmtree(tmp_path / "pool" / source)
    others = make_batches(tmp_path, pool=tmp_path / "pool").photos(8)
    assert [int(p[0, 0, 0]) for p in others] == [200] * 8


def test_pictures_grow_as_training_goes_on(tmp_path: Path, catalog: Path) -> None:
    (catalog / "item0" / "broken.png").unlink()
    sides = [make_batches(tmp_path, p, pool=catalog).make(0)[0].shape[2] for p in (0, 1)]
    assert sides == [32, 64]


def test_items_of_a_folder_keep_their_views_and_leave_the_unreadable(
    catalog: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = read_items(catalog)
    assert [len(pictures) for pictures in items] == [1, 1, 1, 2]
    assert "broken.png" in caplog.text and "left out" in caplog.text


def test_a_built_catalog_gives_each_picture_once(catalog: Path, tmp_path: Path) -> None:
    build_catalog(catalog, tmp_path / "built", make_networks(), turns=True)
    folder, built = read_items(catalog), read_items(tmp_path / "built")
    assert [len(pictures) for pictures in built] == [1, 1, 1, 2]
    for drawn, stored in zip(folder, built, strict=True):
        assert [p.shape for p in drawn] == [p.shape for p in stored]
        assert np.abs(drawn[0].astype(int) - stored[0]).mean() < 12, "a JPEG of the same picture"


def test_a_catalog_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MagpieError, match="nowhere"):
        read_items(tmp_path / "nowhere")


def test_recoloured_twin_differs_in_one_colour_alone() -> None:
    picture = np.full((40, 40, 3), 240, np.uint8)
    picture[5:20, 5:35] = (40, 40, 220)
    picture[25:35, 5:35] = (20, 20, 20)
    twins = recolour(np.random.default_rng(0), [picture, picture])
    assert twins is not None
    changed = (twins[0] != picture).any(2)
    expected = np.zeros((40, 40), bool)
    expected[5:20, 5:35] = True
    np.testing.assert_array_equal(changed, expected)
    np.testing.assert_array_equal(twins[0], twins[1])
    gray = np.full((40, 40, 3), 128, np.uint8)
    assert recolour(np.random.default_rng(0), [gray]) is None
