"""Building a catalog anew from what it keeps, and its duplicates."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.build import build_catalog
from catalog_tools.changes import NewPicture, add_pictures
from catalog_tools.draft import create_draft
from catalog_tools.duplicates import (
    Duplicate,
    decide_duplicate,
    find_duplicates,
    read_decisions,
)
from catalog_tools.listing import list_catalog_items
from catalog_tools.originals import Originals
from catalog_tools.rebuild import rebuild_catalog
from pipeline.catalog import Catalog
from pipeline.catalog_format import generation_folder
from pipeline.errors import CatalogError, ConfigError, NotInCatalogError
from pipeline.types import ItemId
from tests.catalog_tools.conftest import Run
from tests.catalog_tools.drawn_pictures import draw
from tests.fake_networks import EMBEDDER_SHA256, FakeEmbedder, make_networks

OTHER = "cd" * 32


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Three items that were built from a folder, which is gone."""
    for seed, name in enumerate(("tea/1", "tea/2", "milk/1", "rice/1")):
        draw(tmp_path / "images" / f"{name}.png", seed)
    build_catalog(tmp_path / "images", tmp_path / "shelf", make_networks())
    (tmp_path / "images").rename(tmp_path / "gone")
    return tmp_path / "shelf"


def test_a_rebuild_describes_every_picture_by_other_weights(shelf: Path) -> None:
    (generation_folder(shelf, 1) / "calibration.json").write_text("{}")
    before = Catalog.load(shelf, EMBEDDER_SHA256)
    embed = FakeEmbedder()
    report = rebuild_catalog(shelf, make_networks(embed, OTHER))
    assert (report.generation, report.n_pictures, report.n_from_small) == (2, 4, 0)
    assert embed.n_pictures == 4
    after = Catalog.load(shelf, OTHER, verify=True)
    assert after.items == before.items
    assert np.allclose(after.embeddings, before.embeddings, atol=0.05)
    assert [p.record for p in after.stored_pictures()] == [
        p.record for p in before.stored_pictures()
    ]
    assert not (after.folder / "calibration.json").exists(), "it is of the old weights"
    assert not (shelf / ".work").exists()


def test_what_was_sent_is_rebuilt_to_the_very_same(tmp_path: Path) -> None:
    large = cv2.resize(cv2.imread(str(draw(tmp_path / "a.png", 1))), (1500, 2000))
    data = cv2.imencode(".png", large)[1].tobytes()
    create_draft(tmp_path / "shelf")
    picture = NewPicture(ItemId("tea"), "a.png", lambda: data)
    add_pictures(tmp_path / "shelf", [picture], make_networks())
    before = Catalog.load(tmp_path / "shelf", None)
    rebuild_catalog(tmp_path / "shelf", make_networks(sha256=OTHER))
    after = Catalog.load(tmp_path / "shelf", OTHER)
    assert np.array_equal(after.embeddings, before.embeddings)
    assert after.picture_jpeg(0) == before.picture_jpeg(0)
    assert after.stored_pictures()[0].record.size_wh == (1500, 2000)


def test_missing_and_damaged_originals_are_replaced_by_what_is_stored(shelf: Path) -> None:
    originals = sorted(Originals(shelf).folder.iterdir())
    originals[0].unlink()
    originals[1].write_bytes(b"text")
    report = rebuild_catalog(shelf, make_networks(sha256=OTHER))
    assert (report.n_pictures, report.n_from_small, report.left_out) == (4, 2, ())
    assert [item["pictures"] for item in list_catalog_items(shelf)] == [1, 1, 2]


def test_a_rebuild_that_fails_leaves_the_catalog_as_it_was(shelf: Path) -> None:
    embed = FakeEmbedder()
    embed.fail_after = 0
    with pytest.raises(KeyboardInterrupt):
        rebuild_catalog(shelf, make_networks(embed, OTHER))
    assert Catalog.load(shelf, EMBEDDER_SHA256, verify=True).generation == 1
    assert len(list(Originals(shelf).folder.iterdir())) == 4


def test_a_build_may_keep_no_originals(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "a.png", 1)
    out = tmp_path / "out"
    build_catalog(tmp_path / "images", out, make_networks(), keep_originals=False)
    assert not Originals(out).are_kept
    build_catalog(tmp_path / "images", out, make_networks())
    assert len(list(Originals(out).folder.iterdir())) == 1, "of a picture that was known"
    build_catalog(tmp_path / "images", out, make_networks(), keep_originals=False)
    assert not Originals(out).are_kept
    assert rebuild_catalog(out, make_networks(sha256=OTHER)).n_from_small == 1


def with_copies(tmp_path: Path, shelf: Path) -> list[Duplicate]:
    """Add a smaller, harder compressed copy of a picture as another item's; return the pairs."""
    picture = cv2.imread(str(tmp_path / "gone" / "tea" / "1.png"))
    small = cv2.resize(picture, (120, 160), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
    add_pictures(shelf, [NewPicture(ItemId("tea2"), "copy.jpg", lambda: data)], make_networks())
    return find_duplicates(shelf)


def test_a_copy_is_found_and_keep_is_remembered(tmp_path: Path, shelf: Path) -> None:
    assert find_duplicates(shelf) == []
    (pair,) = with_copies(tmp_path, shelf)
    assert {pair.one.image, pair.other.image} == {"tea/1.png", "copy.jpg"}
    assert pair.hash_distance <= 8 and pair.similarity > 0.9
    decide_duplicate(shelf, pair.one, pair.other, "keep")
    assert find_duplicates(shelf) == []
    rebuild_catalog(shelf, make_networks(sha256=OTHER))
    assert find_duplicates(shelf) == [], "decisions outlive generations"
    assert [decision.choice for decision in read_decisions(shelf)] == ["keep"]


def test_merge_and_remove(tmp_path: Path, shelf: Path) -> None:
    (pair,) = with_copies(tmp_path, shelf)
    with pytest.raises(CatalogError, match="must keep a picture"):
        decide_duplicate(shelf, pair.one, pair.other, "remove")
    decide_duplicate(shelf, pair.one, pair.other, "merge")
    assert {item["item_id"]: item["pictures"] for item in list_catalog_items(shelf)} == {
        "milk": 1,
        "rice": 1,
        "tea": 3,
    }
    assert find_duplicates(shelf) == []
    merged = pair.other.__class__("tea", pair.other.image, pair.other.sha256)
    with pytest.raises(ConfigError, match="merge is of pictures of two items"):
        decide_duplicate(shelf, pair.one, merged, "merge")
    decide_duplicate(shelf, pair.one, merged, "remove")
    assert {item["item_id"]: item["pictures"] for item in list_catalog_items(shelf)}["tea"] == 2
    with pytest.raises(NotInCatalogError):
        decide_duplicate(shelf, pair.one, merged, "keep")


def test_rebuild_duplicates_and_label_as_commands(run: Run, shelf: Path, tmp_path: Path) -> None:
    assert run("rebuild", shelf)[1].endswith("4 pictures, generation 2 in use\n")
    with_copies(tmp_path, shelf)
    code, said, _ = run("duplicates", shelf, "--json")
    assert code == 0 and '"copy.jpg"' in said
    assert run("duplicates", shelf)[1].endswith("1 pairs\n")
    assert run("label", shelf, "tea", "Green tea")[0] == 0
    assert run("rebuild", tmp_path / "nowhere")[0] == 2
